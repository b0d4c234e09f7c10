use crate::backend::GridCell;

/// A grid half as high and half as wide, with the largest of each word. Twin of `shaders/halve.wgsl`.
pub fn halve(cells: &[GridCell], columns: usize) -> Vec<GridCell> {
    if cells.is_empty() || columns == 0 {
        return Vec::new();
    }
    let rows = cells.len() / columns;
    let half = columns.div_ceil(2);
    let mut coarser = vec![[0; 3]; rows.div_ceil(2) * half];
    for (row, line) in cells.chunks_exact(columns).enumerate() {
        let coarser = &mut coarser[row / 2 * half..][..half];
        for (column, cell) in line.iter().enumerate() {
            let into = &mut coarser[column / 2];
            for (word, other) in into.iter_mut().zip(cell) {
                *word = (*word).max(*other);
            }
        }
    }
    coarser
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_in_one_coarser_cell() {
        let cells: Vec<GridCell> = (1..=15).map(|i| [i, 100 - i, i % 7]).collect();
        let coarser = halve(&cells, 5);
        assert_eq!(coarser.len(), 6);
        assert_eq!(coarser[0], [7, 99, 6], "cells 1, 2, 6, 7");
        assert_eq!(coarser[5], [15, 85, 1], "the last alone");
        assert!(halve(&[], 0).is_empty());
    }
}
