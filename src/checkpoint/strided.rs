//! Parts of a stored tensor whose elements do not follow one another: columns read as rows.

use super::{CheckpointError, Tensor, TensorFile};

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
    /// Elements of a column are near one another in the file, so it reads the rows it needs column by
    /// column, and needs memory for a part of one column.
    pub fn read(
        &self,
        file: &TensorFile,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<(), CheckpointError> {
        let width = self.element_bytes as usize;
        let first = offset / self.element_bytes;
        let end = first + buffer.len() as u64 / self.element_bytes;
        if first == end {
            return Ok(());
        }
        let (top, bottom) = (first / self.columns, (end - 1) / self.columns);
        let span = (bottom - top) * self.row_stride + 1;
        let mut column_bytes = vec![0; (span * self.element_bytes) as usize];
        for column in 0..self.columns {
            let begin = top * self.row_stride + column * self.column_stride;
            file.read_at(&mut column_bytes, self.offset + begin * self.element_bytes)?;
            for row in top..=bottom {
                let element = row * self.columns + column;
                if (first..end).contains(&element) {
                    let from = ((row - top) * self.row_stride) as usize * width;
                    let to = (element - first) as usize * width;
                    buffer[to..to + width].copy_from_slice(&column_bytes[from..from + width]);
                }
            }
        }
        Ok(())
    }
}
