//! One block: its weights, their codes, and how its scale came about.

use std::ops::Range;

use super::coder::BlockCoder;
use super::table::table;
use super::{BlockScale, Cell, Sheet, Tile};
use crate::numeric::FloatKind;

/// A block, or where a format has none a part of a row.
#[derive(Debug, Clone)]
pub struct Block {
    /// Its size, but at the edges of the matrix.
    pub tile: Tile,
    /// Its rows in the matrix.
    pub rows: Range<u64>,
    /// Its columns.
    pub columns: Range<usize>,
    /// Its weights, row by row.
    pub cells: Vec<Cell>,
    /// Its scale.
    pub scale: BlockScale,
    /// The float type of its weights.
    pub kind: FloatKind,
    /// The first cell of the largest magnitude, where weights are known.
    pub amax_at: Option<usize>,
    /// What its weights are encoded with.
    pub coder: BlockCoder,
}

impl Block {
    /// The block that a weight is in; `None` if the sheet has no codes, or not all of its rows.
    pub fn of(sheet: &Sheet, row: u64, column: usize) -> Option<Self> {
        let tile = sheet.tile();
        let first = row / tile.rows as u64 * tile.rows as u64;
        let rows = first..(first + tile.rows as u64).min(sheet.rows.end);
        let begin = column / tile.columns * tile.columns;
        let columns = begin..(begin + tile.columns).min(sheet.columns);
        let cells: Option<Vec<Cell>> = rows
            .clone()
            .flat_map(|row| columns.clone().map(move |column| (row, column)))
            .map(|(row, column)| sheet.cell(row, column))
            .collect();
        let cells = cells.filter(|cells| !cells.is_empty())?;
        let magnitudes = || cells.iter().map(|cell| cell.weight.map_or(0.0, f32::abs));
        let amax = magnitudes().fold(0.0, f32::max);
        let known = cells.iter().any(|cell| cell.weight.is_some());
        let amax_at = magnitudes().position(|magnitude| magnitude == amax).filter(|_| known);
        Some(Self {
            tile,
            scale: sheet.scale(first, begin)?,
            kind: sheet.kind,
            coder: BlockCoder::of(sheet.chunk.as_ref()?),
            rows,
            columns,
            amax_at,
            cells,
        })
    }

    /// Its largest magnitude, where weights are known.
    pub fn amax(&self) -> Option<f32> {
        self.cells[self.amax_at?].weight.map(f32::abs)
    }

    /// Its weights, where they are known.
    pub fn weights(&self) -> Option<Vec<f32>> {
        self.cells.iter().map(|cell| cell.weight).collect()
    }

    /// Number of the cell at a place of the matrix.
    pub fn index(&self, row: u64, column: usize) -> Option<usize> {
        let is_in = self.rows.contains(&row) && self.columns.contains(&column);
        is_in.then(|| {
            (row - self.rows.start) as usize * self.columns.len() + column - self.columns.start
        })
    }

    /// Σ error², and Σ weight², in f64.
    pub fn squares(&self) -> Option<(f64, f64)> {
        let errors: Option<f64> =
            self.cells.iter().map(|cell| cell.error().map(|error| error * error)).sum();
        let weights = self.weights()?.iter().map(|weight| f64::from(*weight).powi(2)).sum();
        Some((errors?, weights))
    }

    /// Every weight with what is known of it, as CSV.
    pub fn csv(&self) -> String {
        let width = usize::from(self.coder.codec().bits());
        let scale = &self.scale;
        let line = |cell: &Cell| {
            let code = (format!("{:#x}", cell.code), format!("{:0width$b}", cell.code));
            let text = |value: f32| value.to_string();
            let of_scale = (text(scale.value), format!("{:#x}", scale.code), text(scale.step));
            let error = cell.error().map(|error| error.to_string());
            let values = (text(cell.number), text(cell.value), error);
            let weight = cell.weight.map(text);
            (cell.row, cell.column, weight, code, values, of_scale)
        };
        let header = [
            "row",
            "column",
            "weight",
            "code",
            "bits",
            "number",
            "value",
            "error",
            "scale",
            "scale_code",
            "step",
        ];
        table(&header, self.cells.iter().map(line))
    }
}
