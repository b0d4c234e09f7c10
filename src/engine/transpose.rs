//! Fused experts `[experts, inputs, outputs]` seen as blocks along the inputs.
//!
//! Sixteen rows of such a matrix hold one block a column. Kernels take blocks one after the other,
//! so weights are brought into that order before, and packed codes out of it after.

use crate::format::nvfp4::{BLOCK_BYTES, BLOCK_LEN};

/// Rearranges weights of whole groups of 16 rows: all blocks of a group, column by column.
pub fn weights_to_blocks(weights: &[u8], element_bytes: usize, columns: usize, blocks: &mut [u8]) {
    transpose(weights, element_bytes, BLOCK_LEN, columns, blocks);
}

/// Packed codes in the order of blocks, rearranged into rows: the two rows of a pair share bytes.
pub fn codes_to_rows(codes: &[u8], columns: usize) -> Vec<u8> {
    transposed(codes, 1, columns, BLOCK_BYTES)
}

/// Packed codes in rows, rearranged into the order of blocks.
pub fn codes_to_blocks(codes: &[u8], columns: usize) -> Vec<u8> {
    transposed(codes, 1, BLOCK_BYTES, columns)
}

fn transposed(data: &[u8], element_bytes: usize, rows: usize, columns: usize) -> Vec<u8> {
    let mut result = vec![0; data.len()];
    transpose(data, element_bytes, rows, columns, &mut result);
    result
}

/// Each consecutive `rows` × `columns` matrix of `data`, transposed.
fn transpose(data: &[u8], element_bytes: usize, rows: usize, columns: usize, result: &mut [u8]) {
    let matrix_bytes = rows * columns * element_bytes;
    for (from, to) in data.chunks_exact(matrix_bytes).zip(result.chunks_exact_mut(matrix_bytes)) {
        for (row, elements) in from.chunks_exact(columns * element_bytes).enumerate() {
            for (column, element) in elements.chunks_exact(element_bytes).enumerate() {
                let at = (column * rows + row) * element_bytes;
                to[at..at + element_bytes].copy_from_slice(element);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_a_column_of_sixteen_rows() {
        let columns = 3;
        let weights: Vec<u8> = (0..2 * BLOCK_LEN * columns).map(|i| i as u8).collect();
        let mut blocks = vec![0; weights.len()];
        weights_to_blocks(&weights, 1, columns, &mut blocks);
        let column_one: Vec<u8> = (0..BLOCK_LEN).map(|row| (row * columns + 1) as u8).collect();
        assert_eq!(blocks[BLOCK_LEN..2 * BLOCK_LEN], column_one);
        assert_eq!(
            blocks[BLOCK_LEN * columns],
            (BLOCK_LEN * columns) as u8,
            "the next group follows"
        );
    }

    #[test]
    fn codes_go_there_and_back() {
        let codes: Vec<u8> = (0..2 * BLOCK_BYTES * 5).map(|i| i as u8).collect();
        let rows = codes_to_rows(&codes, 5);
        assert_eq!(rows[1], codes[BLOCK_BYTES], "second column of the first row");
        assert_eq!(codes_to_blocks(&rows, 5), codes);
    }

    #[test]
    fn wide_elements_stay_whole() {
        let weights: Vec<u8> = (0..BLOCK_LEN * 2 * 2).map(|i| i as u8).collect();
        let mut blocks = vec![0; weights.len()];
        weights_to_blocks(&weights, 2, 2, &mut blocks);
        assert_eq!(blocks[..4], [0, 1, 4, 5]);
    }
}
