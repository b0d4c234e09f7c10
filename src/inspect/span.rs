//! Parts of a sheet whose weights share a scale.

use std::ops::Range;

use super::{BlockCoder, Sheet};
use crate::format::Scope;

/// Which numbers are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Numbers {
    /// The weights, as they are stored.
    Weights,
    /// What codes stand for, where no weights are stored.
    Values,
}

impl Numbers {
    /// What they are called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Values => "dequantized values",
        }
    }
}

/// Weights that share a scale: a block, or a row where scales are of rows or of the tensor, or where
/// there are none. What fills up blocks is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Which one it is, counted down and across the matrix.
    pub at: (u64, u64),
    /// Its rows in the matrix.
    pub rows: Range<u64>,
    /// Its columns.
    pub columns: Range<usize>,
}

impl Sheet {
    /// Its weights, or what its codes stand for where there are none.
    pub fn numbers(&self) -> (&[f32], Numbers) {
        match &self.weights {
            Some(weights) => (weights, Numbers::Weights),
            None => (&self.values, Numbers::Values),
        }
    }

    /// Places in `weights` and `values` of columns of a row; none where they are not in the sheet.
    pub fn line(&self, row: u64, columns: Range<usize>) -> Range<usize> {
        match (self.place(row, columns.start), columns.end <= self.columns) {
            (Some(first), true) => first..first + columns.len(),
            _ => 0..0,
        }
    }

    /// Rows and columns of a span; the last ones of a matrix may have fewer.
    fn span_size(&self) -> (u64, usize) {
        match self.scope() {
            Some(Scope::Group(len)) => (1, len),
            Some(Scope::Tile(len)) => (len as u64, len),
            Some(Scope::Row | Scope::Tensor) | None => (1, self.weight_columns.max(1)),
        }
    }

    /// The span that a weight is in; `None` if it is in no row of the sheet, or only fills up a block.
    pub fn span_of(&self, row: u64, column: usize) -> Option<Span> {
        if !self.rows.contains(&row) || column >= self.weight_columns {
            return None;
        }
        let (down, across) = self.span_size();
        let at = ((row / down), (column / across) as u64);
        let (top, left) = (at.0 * down, at.1 as usize * across);
        Some(Span {
            at,
            rows: top.max(self.rows.start)..(top + down).min(self.rows.end),
            columns: left..(left + across).min(self.weight_columns),
        })
    }

    /// Its spans, row of spans by row of spans. A sheet begins where spans do.
    pub fn spans(&self) -> impl Iterator<Item = Span> + '_ {
        let (down, across) = self.span_size();
        let (rows, width) = (self.rows.clone(), self.weight_columns);
        let lines = rows.clone().step_by(down as usize);
        lines.flat_map(move |row| {
            let end = (row + down).min(rows.end);
            (0..width.div_ceil(across)).map(move |number| Span {
                at: (row / down, number as u64),
                rows: row..end,
                columns: number * across..((number + 1) * across).min(width),
            })
        })
    }

    /// What a code would stand for under the scale of a weight; rounded once to f32, as the kernels do.
    pub fn value_of(&self, row: u64, column: usize, code: u32) -> Option<f32> {
        let scale = self.scale(row, column)?;
        Some(BlockCoder::of(self.chunk.as_ref()?).decode(code, &scale))
    }
}
