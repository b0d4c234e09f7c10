//! Parts of a stored tensor whose elements do not follow one another: columns read as rows.

use std::ops::Range;

use super::{CheckpointError, Tensor, TensorFile};

/// Columns that are read before their elements are put into rows: enough to fill whole cache lines.
const COLUMNS_AT_ONCE: usize = 32;

/// Elements between columns in memory. Without them the same row of columns whose lengths are powers of two
/// would want the same few lines of the cache.
const SPACING: usize = 16;

/// A matrix, or a vector as a matrix of one column, in strides.
pub struct Strided {
    offset: u64,
    element_bytes: u64,
    columns: u64,
    row_stride: u64,
    column_stride: u64,
}

impl Strided {
    /// How a tensor lies in its file; `None` if its elements follow one another.
    pub fn of(tensor: &Tensor) -> Option<Self> {
        let (columns, row_stride, column_stride) = match tensor.strides.as_ref()?[..] {
            [stride] => (1, stride, 0),
            [row_stride, column_stride] => (*tensor.shape.get(1)?, row_stride, column_stride),
            _ => return None,
        };
        let element_bytes = tensor.dtype.bitsize() as u64 / 8;
        Some(Self { offset: tensor.offset, element_bytes, columns, row_stride, column_stride })
    }

    /// Fills `buffer` with bytes of the matrix in row-major order, from `offset` of its own bytes;
    /// both are whole elements.
    ///
    /// Where elements of a column are near one another in the file, it reads the rows it needs column by
    /// column, and needs memory for that part of a few columns.
    pub fn read(
        &self,
        file: &TensorFile,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<(), CheckpointError> {
        match self.element_bytes {
            1 => self.read_elements::<1>(file, buffer, offset),
            2 => self.read_elements::<2>(file, buffer, offset),
            4 => self.read_elements::<4>(file, buffer, offset),
            _ => self.read_elements::<8>(file, buffer, offset),
        }
    }

    /// The same of elements of `WIDTH` bytes: a width that is known is what makes moving them fast.
    fn read_elements<const WIDTH: usize>(
        &self,
        file: &TensorFile,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<(), CheckpointError> {
        let width = WIDTH as u64;
        let (elements, _) = buffer.as_chunks_mut::<WIDTH>();
        let first = offset / width;
        let end = first + elements.len() as u64;
        if first == end {
            return Ok(());
        }
        let (top, bottom) = (first / self.columns, (end - 1) / self.columns);
        // Which of the elements asked for are in a row, in columns from one to another.
        let own = |row: u64, left: u64, right: u64| {
            let at = |column: u64| (row * self.columns + column).clamp(first, end);
            at(left)..at(right)
        };
        let place = |own: &Range<u64>| (own.start - first) as usize..(own.end - first) as usize;
        if self.column_stride == 1 {
            for row in top..=bottom {
                let own = own(row, 0, self.columns);
                let begin = row * self.row_stride + own.start - row * self.columns;
                let into = elements[place(&own)].as_flattened_mut();
                file.read_at(into, self.offset + begin * width)?;
            }
            return Ok(());
        }
        let span = ((bottom - top) * self.row_stride + 1) as usize;
        let spaced = span + SPACING;
        let mut parts = vec![[0; WIDTH]; COLUMNS_AT_ONCE.min(self.columns as usize) * spaced];
        for left in (0..self.columns).step_by(COLUMNS_AT_ONCE) {
            let right = self.columns.min(left + COLUMNS_AT_ONCE as u64);
            for (column, part) in (left..right).zip(parts.chunks_exact_mut(spaced)) {
                let begin = top * self.row_stride + column * self.column_stride;
                let part = part[..span].as_flattened_mut();
                file.read_at(part, self.offset + begin * width)?;
            }
            for row in top..=bottom {
                let own = own(row, left, right);
                let skipped = (own.start - row * self.columns).saturating_sub(left) as usize;
                let at = ((row - top) * self.row_stride) as usize;
                let parts = parts.chunks_exact(spaced).skip(skipped);
                let into = elements[place(&own)].iter_mut();
                into.zip(parts).for_each(|(element, part)| *element = part[at]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use prost::bytes::Bytes;

    use super::*;
    use crate::checkpoint::Dtype;

    /// Reads a part of a matrix that begins at element 5 of a file of bytes that all differ.
    fn check(dtype: Dtype, shape: [u64; 2], strides: [u64; 2], range: Range<u64>) {
        let width = dtype.bitsize() as u64 / 8;
        let count = 6 + (shape[0] - 1) * strides[0] + (shape[1] - 1) * strides[1];
        let bytes: Vec<u8> = (0..count * width).map(|i| (i * 31 % 251) as u8).collect();
        let tensor = Tensor {
            name: "weight".to_owned(),
            dtype,
            shape: shape.to_vec(),
            file: 0,
            offset: 5 * width,
            bytes: shape[0] * shape[1] * width,
            strides: Some(strides.to_vec()),
        };
        let file = TensorFile::memory(Path::new("file"), Bytes::from(bytes.clone()));
        let mut read = vec![0; ((range.end - range.start) * width) as usize];
        let strided = Strided::of(&tensor).unwrap();
        strided.read(&file, &mut read, range.start * width).unwrap();
        let element = |i: u64| {
            let at = 5 + i / shape[1] * strides[0] + i % shape[1] * strides[1];
            bytes[(at * width) as usize..][..width as usize].to_vec()
        };
        let expected: Vec<u8> = range.flat_map(element).collect();
        assert_eq!(read, expected, "{dtype:?} {shape:?} {strides:?}");
    }

    #[test]
    fn elements_are_read_from_where_they_are() {
        for dtype in [Dtype::U8, Dtype::BF16, Dtype::F32, Dtype::F64] {
            // Transposed; every second of a transposed one's rows; every second row.
            for (shape, strides) in [
                ([7, 70], [1, 7]),
                ([40, 33], [1, 40]),
                ([5, 64], [2, 10]),
                ([6, 9], [18, 1]),
                ([9, 1], [3, 1]),
            ] {
                let all = shape[0] * shape[1];
                for range in [0..all, 0..0, 1..all, 3..4, all / 2..all - 1, all - 1..all] {
                    check(dtype, shape, strides, range);
                }
            }
        }
    }

    #[test]
    fn a_vector_may_have_strides() {
        let bytes = Bytes::from((0..30).collect::<Vec<u8>>());
        let file = TensorFile::memory(Path::new("file"), bytes);
        let tensor = Tensor {
            name: "bias".to_owned(),
            dtype: Dtype::U8,
            shape: vec![9],
            file: 0,
            offset: 2,
            bytes: 9,
            strides: Some(vec![3]),
        };
        let mut read = [0; 4];
        Strided::of(&tensor).unwrap().read(&file, &mut read, 1).unwrap();
        assert_eq!(read, [5, 8, 11, 14]);
    }
}
