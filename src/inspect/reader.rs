//! Reading a matrix sheet by sheet, and quantizing it as an export would.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::amax::{amax_of, kind_of};
use super::matrix::{Matrix, Origin};
use super::{InspectError, Sheet, Tile};
use crate::backend::{Backend, Weights};
use crate::checkpoint::Tensor;
use crate::engine::{ChunkBuffer, Encoder, steps};
use crate::format::nvfp4::{BLOCK_BYTES, BLOCK_LEN};
use crate::format::{Nvfp4Tables, Scope};
use crate::numeric::FloatKind;
use crate::quantized::{Chunk, read_chunk};

/// Weights that a sheet has, at most, unless more have to be read together: with codes and values some
/// 12 MiB.
pub(super) const SHEET_WEIGHTS: u64 = 1 << 20;

/// Reads a matrix.
pub struct Reader<'a> {
    /// What is read.
    pub matrix: Matrix<'a>,
    /// Who quantizes.
    pub backend: &'a dyn Backend,
    /// Largest magnitude of all that share the global scale, where it was asked for.
    pub group_amax: Option<f32>,
    /// Why there are no codes, though there is a format.
    pub refused: Option<String>,
    encoder: Option<Encoder>,
}

impl<'a> Reader<'a> {
    /// Makes ready to read: finds the largest magnitude of all that share a global scale, where there is
    /// something to quantize.
    pub fn new(
        matrix: Matrix<'a>,
        backend: &'a dyn Backend,
        cancel: &AtomicBool,
    ) -> Result<Self, InspectError> {
        let mut reader = Self {
            refused: matrix.refused.clone(),
            matrix,
            backend,
            group_amax: None,
            encoder: None,
        };
        let Origin::Floats { tensor, group, method: Some(method) } = &reader.matrix.origin else {
            return Ok(reader);
        };
        let mut amax = reader.matrix.known_amax.unwrap_or(0.0);
        let unknown = if reader.matrix.known_amax.is_some() { &[][..] } else { group };
        for member in unknown {
            let found = amax_of(reader.matrix.checkpoint, member, backend, cancel)?;
            if !found.is_finite() {
                let name = &member.name;
                reader.refused = Some(format!(
                    "{name} holds {found}: nothing that shares its scale can be quantized"
                ));
                return Ok(reader);
            }
            amax = amax.max(found);
        }
        let kinds = group.iter().filter_map(Tensor::float_kind);
        let group_kind = kinds.reduce(|a, b| if a == b { a } else { FloatKind::F32 });
        let kind = kind_of(tensor);
        let encoder = Encoder::new(*method, group_kind.unwrap_or(kind), kind, amax);
        (reader.group_amax, reader.encoder) = (Some(amax), Some(encoder));
        Ok(reader)
    }

    /// Reads rows, and those that have to be read with them.
    pub fn sheet(&self, rows: Range<u64>) -> Result<Sheet, InspectError> {
        let together = self.matrix.rows_together();
        let begin = rows.start.min(self.matrix.rows) / together * together;
        let end = rows.end.div_ceil(together) * together;
        let rows = begin..end.min(self.matrix.rows).max(begin);
        match &self.matrix.origin {
            Origin::Floats { tensor, .. } => self.quantized(tensor, rows),
            Origin::Stored(layer) => {
                let first = self.matrix.subject.expert * self.matrix.rows;
                let lines = match layer.is_fused() {
                    true => {
                        let lines = self.matrix.columns / BLOCK_LEN as u64;
                        let first = self.matrix.subject.expert * lines;
                        first..first + lines
                    }
                    false => first + rows.start..first + rows.end,
                };
                let chunk = read_chunk(self.matrix.checkpoint, layer, lines)?;
                let chunk = chunk.map(|chunk| match layer.is_fused() {
                    true => in_rows(chunk, self.matrix.rows as usize),
                    false => chunk,
                });
                Sheet::new(&self.matrix, rows, None, chunk, self.backend)
            }
        }
    }

    /// Reads rows of floats and quantizes them.
    fn quantized(&self, tensor: &Tensor, rows: Range<u64>) -> Result<Sheet, InspectError> {
        let (columns, stored) = (self.matrix.weight_columns, self.matrix.columns);
        let mut buffer = ChunkBuffer::default();
        buffer.read(self.matrix.checkpoint, tensor, rows.start * columns..rows.end * columns)?;
        if columns != stored {
            buffer.pad_rows(columns as usize, stored as usize);
        }
        let Some(weights) = buffer.weights() else {
            return Sheet::new(&self.matrix, rows, None, None, self.backend);
        };
        let chunk = self.chunk_of(weights, stored as usize)?;
        Sheet::new(&self.matrix, rows, Some(weights), chunk, self.backend)
    }

    fn chunk_of(
        &self,
        weights: Weights<'_>,
        columns: usize,
    ) -> Result<Option<Chunk>, InspectError> {
        Ok(match &self.encoder {
            None => None,
            Some(Encoder::Nvfp4(encoder)) => {
                let quantized = self.backend.nvfp4_quantize(weights, &encoder.tables)?;
                let scaling = encoder.tables.scaling;
                Some(Chunk::Nvfp4 { codes: quantized.codes, scales: quantized.scales, scaling })
            }
            Some(Encoder::Grouped(coder)) => {
                let quantized = self.backend.grouped_quantize(weights, columns, coder)?;
                let (codes, scales, kind) = (quantized.codes, quantized.scales, weights.kind);
                Some(Chunk::Grouped { codes, scales, columns, scheme: coder.scheme, kind })
            }
        })
    }

    /// Quantizes whole rows of numbers that are in no file as it quantizes the matrix: rounded to its
    /// type, and under its global scale. `None` where it quantizes nothing.
    pub fn encode(&self, numbers: &[f32], columns: usize) -> Result<Option<Sheet>, InspectError> {
        let Origin::Floats { tensor, .. } = &self.matrix.origin else { return Ok(None) };
        if self.encoder.is_none() {
            return Ok(None);
        }
        let kind = kind_of(tensor);
        let (width, length) = (kind.bytes(), numbers.len() * kind.bytes());
        let mut words = vec![0u64; length.div_ceil(8)];
        let bytes = &mut bytemuck::cast_slice_mut(&mut words)[..length];
        for (into, number) in bytes.chunks_exact_mut(width).zip(numbers) {
            into.copy_from_slice(&kind.pattern(kind.round(*number)).to_le_bytes()[..width]);
        }
        let weights = Weights { kind, bytes };
        let chunk = self.chunk_of(weights, columns)?;
        let rows = 0..(numbers.len() / columns.max(1)) as u64;
        let sheet = Sheet::new(&self.matrix, rows, Some(weights), chunk, self.backend)?;
        Ok(Some(Sheet { columns, weight_columns: columns, ..sheet }))
    }

    /// The tables of floats that it quantizes to NVFP4.
    pub(super) fn nvfp4_tables(&self) -> Option<&Nvfp4Tables> {
        match &self.encoder {
            Some(Encoder::Nvfp4(encoder)) => Some(&encoder.tables),
            _ => None,
        }
    }

    /// Which weights share a scale; `None` without codes.
    pub fn scope(&self) -> Option<Scope> {
        match (&self.matrix.origin, &self.encoder) {
            (Origin::Floats { .. }, None) => None,
            (Origin::Floats { .. }, Some(Encoder::Nvfp4(_))) => Some(Scope::Group(BLOCK_LEN)),
            (Origin::Floats { .. }, Some(Encoder::Grouped(coder))) => Some(coder.scheme.scope),
            (Origin::Stored(layer), _) => {
                let scheme = layer.format?.scheme(layer.dialect.arithmetic());
                Some(scheme.map_or(Scope::Group(BLOCK_LEN), |scheme| scheme.scope))
            }
        }
    }

    /// What is looked at together.
    pub fn tile(&self) -> Tile {
        Tile::of(self.scope(), self.matrix.columns as usize)
    }

    /// Refuses what has no codes.
    pub(super) fn need_codes(&self) -> Result<Scope, InspectError> {
        self.scope().ok_or_else(|| {
            let kept = || "it is seen as floats, without a format".to_owned();
            let reason = self.refused.clone().unwrap_or_else(kept);
            InspectError::NoCodes { tensor: self.matrix.subject.tensor.clone(), reason }
        })
    }

    /// Refuses what has no codes, or no floats to compare them with.
    pub(super) fn need_errors(&self) -> Result<Scope, InspectError> {
        match self.matrix.origin {
            Origin::Floats { .. } => self.need_codes(),
            Origin::Stored(_) => {
                Err(InspectError::NoWeights { tensor: self.matrix.subject.tensor.clone() })
            }
        }
    }

    /// Reads all rows, sheet by sheet.
    pub fn for_each(
        &self,
        cancel: &AtomicBool,
        take: impl FnMut(&Sheet) -> Result<(), InspectError>,
    ) -> Result<(), InspectError> {
        self.for_rows(0..self.matrix.rows, cancel, take)
    }

    /// Reads some rows, sheet by sheet. The first and the last sheet may have more.
    pub fn for_rows(
        &self,
        rows: Range<u64>,
        cancel: &AtomicBool,
        mut take: impl FnMut(&Sheet) -> Result<(), InspectError>,
    ) -> Result<(), InspectError> {
        let together = self.matrix.rows_together();
        let step = (SHEET_WEIGHTS / self.matrix.columns.max(1) / together).max(1) * together;
        let begin = rows.start / together * together;
        let end = rows.end.min(self.matrix.rows);
        for rows in steps(end.saturating_sub(begin), step) {
            check(cancel)?;
            take(&self.sheet(begin + rows.start..begin + rows.end)?)?;
        }
        Ok(())
    }
}

pub(super) fn check(cancel: &AtomicBool) -> Result<(), InspectError> {
    if cancel.load(Ordering::Relaxed) { Err(InspectError::Cancelled) } else { Ok(()) }
}

/// Blocks of a fused expert, which come line by line of 16 inputs, brought into the order of its outputs.
fn in_rows(chunk: Chunk, outputs: usize) -> Chunk {
    match chunk {
        Chunk::Nvfp4 { codes, scales, scaling } => {
            let lines = scales.len() / outputs.max(1);
            let mut ordered = vec![0; scales.len()];
            for (at, scale) in scales.iter().enumerate() {
                ordered[at % outputs * lines + at / outputs] = *scale;
            }
            let mut blocks = vec![0; codes.len()];
            for (at, block) in codes.chunks_exact(BLOCK_BYTES).enumerate() {
                let to = (at % outputs * lines + at / outputs) * BLOCK_BYTES;
                blocks[to..to + BLOCK_BYTES].copy_from_slice(block);
            }
            Chunk::Nvfp4 { codes: blocks, scales: ordered, scaling }
        }
        grouped @ Chunk::Grouped { .. } => grouped,
    }
}
