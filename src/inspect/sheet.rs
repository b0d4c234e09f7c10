//! Rows of a matrix, with all that is known of each number in them.

use std::ops::Range;

use super::codec::Codec;
use super::coder::BlockCoder;
use super::{InspectError, Matrix};
use crate::backend::{Backend, Weights};
use crate::format::Scope;
use crate::format::nvfp4::BLOCK_LEN;
use crate::numeric::FloatKind;
use crate::quantized::Chunk;

/// Weights that a tile of formats without blocks has: all of a row, or of the tensor, share a scale there,
/// and so many are shown together.
const WINDOW: usize = 128;

/// Rows of a matrix.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// Which rows.
    pub rows: Range<u64>,
    /// Length of a row, with what fills up blocks.
    pub columns: usize,
    /// Columns that weights have; what follows are zeros.
    pub weight_columns: usize,
    /// The float type of the weights; f32 where only codes are known.
    pub kind: FloatKind,
    /// The weights, exact; `None` where only codes are known.
    pub weights: Option<Vec<f32>>,
    /// Codes and scales; `None` for floats alone.
    pub chunk: Option<Chunk>,
    /// What the codes stand for, as the backend's kernels say; empty without codes.
    pub values: Vec<f32>,
}

/// Rows and columns that are looked at together: a block, or where a format has none a part of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Whether its weights have a scale of their own.
    pub is_block: bool,
}

/// All that is known of one weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// Its row in the matrix.
    pub row: u64,
    /// Its column.
    pub column: usize,
    /// The weight; `None` where only its code is known.
    pub weight: Option<f32>,
    /// Its code, as many bits as the type has.
    pub code: u32,
    /// The number that the code is.
    pub number: f32,
    /// What it stands for.
    pub value: f32,
}

impl Cell {
    /// What quantizing did to it: value − weight. Exact but for one rounding to f64's 53 bits.
    pub fn error(&self) -> Option<f64> {
        self.weight.map(|weight| f64::from(self.value) - f64::from(weight))
    }
}

/// A scale, and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockScale {
    /// The type it is stored in.
    pub codec: Codec,
    /// Its bits there.
    pub code: u32,
    /// What they are.
    pub value: f32,
    /// The scale of the tensor over it, as it is stored, and whether it divides.
    pub global: Option<(f32, bool)>,
    /// The code that stands for zero, in formats that have one.
    pub zero_point: Option<i8>,
    /// What one unit of a code is worth.
    pub step: f32,
}

impl Sheet {
    pub(super) fn new(
        matrix: &Matrix<'_>,
        rows: Range<u64>,
        weights: Option<Weights<'_>>,
        chunk: Option<Chunk>,
        backend: &dyn Backend,
    ) -> Result<Self, InspectError> {
        let values = match &chunk {
            Some(chunk) => chunk.values(backend)?,
            None => Vec::new(),
        };
        Ok(Self {
            rows,
            columns: matrix.columns as usize,
            weight_columns: matrix.weight_columns as usize,
            kind: weights.map_or(FloatKind::F32, |weights| weights.kind),
            weights: weights.map(|weights| (0..weights.len()).map(|i| weights.get(i)).collect()),
            chunk,
            values,
        })
    }

    /// Place of a weight in `weights` and `values`; `None` if it is in no row of the sheet.
    pub fn place(&self, row: u64, column: usize) -> Option<usize> {
        let is_in = self.rows.contains(&row) && column < self.columns;
        is_in.then(|| (row - self.rows.start) as usize * self.columns + column)
    }

    /// The type of the codes.
    pub fn codec(&self) -> Option<Codec> {
        Some(BlockCoder::of(self.chunk.as_ref()?).codec())
    }

    /// Which weights share a scale; `None` without codes.
    pub fn scope(&self) -> Option<Scope> {
        Some(match self.chunk.as_ref()? {
            Chunk::Nvfp4 { .. } => Scope::Group(BLOCK_LEN),
            Chunk::Grouped { scheme, .. } => scheme.scope,
        })
    }

    /// What is looked at together.
    pub fn tile(&self) -> Tile {
        Tile::of(self.scope(), self.columns)
    }

    /// The code of a weight, as it is stored.
    pub fn code(&self, row: u64, column: usize) -> Option<u32> {
        let place = self.place(row, column)?;
        match self.chunk.as_ref()? {
            Chunk::Nvfp4 { codes, .. } => {
                let byte = *codes.get(place / 2)?;
                Some(u32::from(if place % 2 == 0 { byte & 0xF } else { byte >> 4 }))
            }
            Chunk::Grouped { codes, scheme, .. } => {
                let bits = scheme.element.bits();
                Some(u32::from(*codes.get(place)?) & ((1u32 << bits) - 1))
            }
        }
    }

    /// All that is known of a weight; `None` without codes.
    pub fn cell(&self, row: u64, column: usize) -> Option<Cell> {
        let (place, code) = (self.place(row, column)?, self.code(row, column)?);
        Some(Cell {
            row,
            column,
            weight: self.weights.as_ref().and_then(|weights| weights.get(place)).copied(),
            code,
            number: self.codec()?.value(code),
            value: *self.values.get(place)?,
        })
    }

    /// The scale of a weight.
    pub fn scale(&self, row: u64, column: usize) -> Option<BlockScale> {
        let place = self.place(row, column)?;
        Some(match self.chunk.as_ref()? {
            Chunk::Nvfp4 { scales, scaling, .. } => {
                BlockCoder::nvfp4_scale(scaling, *scales.get(place / BLOCK_LEN)?)
            }
            Chunk::Grouped { scales, scheme, kind, .. } => {
                let local = (row - self.rows.start) as usize;
                let index = scheme.scope.index(local, column, self.columns);
                BlockCoder::grouped_scale(scheme, *kind, *scales.get(index)?)
            }
        })
    }
}

impl Tile {
    /// Of rows of `columns` under scales of this scope.
    pub fn of(scope: Option<Scope>, columns: usize) -> Self {
        let (rows, length, is_block) = match scope {
            Some(Scope::Group(len)) => (1, len, true),
            Some(Scope::Tile(len)) => (len, len, true),
            Some(Scope::Row | Scope::Tensor) | None => (1, WINDOW, false),
        };
        Self { rows, columns: length.min(columns.max(1)), is_block }
    }

    /// How many there are side by side, and one below the other.
    pub fn count(self, rows: u64, columns: usize) -> (u64, usize) {
        (rows.div_ceil(self.rows as u64), columns.div_ceil(self.columns))
    }
}
