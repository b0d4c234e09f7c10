//! Reading a matrix sheet by sheet, and quantizing it as an export would.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::matrix::{Matrix, Origin};
use super::{InspectError, Sheet};
use crate::backend::Backend;
use crate::checkpoint::Tensor;
use crate::engine::{ChunkBuffer, Encoder, steps};
use crate::format::nvfp4::{BLOCK_BYTES, BLOCK_LEN};
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
        let mut amax = 0f32;
        for member in group {
            let found = reader.amax_of(member, cancel)?;
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
        let kind = tensor.float_kind().unwrap_or(FloatKind::F32);
        let encoder = Encoder::new(*method, group_kind.unwrap_or(kind), kind, amax);
        (reader.group_amax, reader.encoder) = (Some(amax), Some(encoder));
        Ok(reader)
    }

    fn amax_of(&self, tensor: &Tensor, cancel: &AtomicBool) -> Result<f32, InspectError> {
        let mut buffer = ChunkBuffer::default();
        let mut amax = 0u32;
        let kind = tensor.float_kind().unwrap_or(FloatKind::F32);
        for range in steps(tensor.len(), 4 * SHEET_WEIGHTS) {
            check(cancel)?;
            buffer.read(self.matrix.checkpoint, tensor, range)?;
            let Some(weights) = buffer.weights() else { continue };
            amax = amax.max(self.backend.amax(weights)?);
        }
        Ok(kind.widen(amax))
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
        let chunk = match &self.encoder {
            None => None,
            Some(Encoder::Nvfp4(encoder)) => {
                let quantized = self.backend.nvfp4_quantize(weights, &encoder.tables)?;
                let scaling = encoder.tables.scaling;
                Some(Chunk::Nvfp4 { codes: quantized.codes, scales: quantized.scales, scaling })
            }
            Some(Encoder::Grouped(coder)) => {
                let columns = stored as usize;
                let quantized = self.backend.grouped_quantize(weights, columns, coder)?;
                let (codes, scales, kind) = (quantized.codes, quantized.scales, weights.kind);
                Some(Chunk::Grouped { codes, scales, columns, scheme: coder.scheme, kind })
            }
        };
        Sheet::new(&self.matrix, rows, Some(weights), chunk, self.backend)
    }

    /// Reads all rows, sheet by sheet.
    pub fn for_each(
        &self,
        cancel: &AtomicBool,
        mut take: impl FnMut(&Sheet) -> Result<(), InspectError>,
    ) -> Result<(), InspectError> {
        let together = self.matrix.rows_together();
        let step = (SHEET_WEIGHTS / self.matrix.columns.max(1) / together).max(1) * together;
        for rows in steps(self.matrix.rows, step) {
            check(cancel)?;
            take(&self.sheet(rows)?)?;
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
