//! A buffer for one chunk of a tensor, aligned for any element type.

use std::ops::Range;

use crate::backend::Weights;
use crate::checkpoint::{Checkpoint, CheckpointError, Dtype, Tensor};
use crate::engine::transpose::weights_to_blocks;
use crate::numeric::FloatKind;

/// Memory that a worker reads chunks into, one after the other.
#[derive(Debug, Default)]
pub struct ChunkBuffer {
    words: Vec<u64>,
    narrowed: Vec<f32>,
    bytes: usize,
    dtype: Option<Dtype>,
}

impl ChunkBuffer {
    /// Reads elements `range` of a tensor (bytes, if it is no float).
    pub fn read(
        &mut self,
        checkpoint: &Checkpoint,
        tensor: &Tensor,
        range: Range<u64>,
    ) -> Result<(), CheckpointError> {
        let unit = tensor.unit_bytes();
        self.bytes = ((range.end - range.start) * unit) as usize;
        self.words.resize(self.bytes.div_ceil(8), 0);
        let buffer = &mut bytemuck::cast_slice_mut(&mut self.words)[..self.bytes];
        checkpoint.read_at(tensor, buffer, range.start * unit)?;

        self.dtype = Some(tensor.dtype);
        self.narrowed.clear();
        if tensor.dtype == Dtype::F64 {
            let doubles: &[f64] = bytemuck::cast_slice(&self.words);
            self.narrowed.extend(doubles.iter().map(|&double| double as f32));
        }
        Ok(())
    }

    /// Rearranges weights of fused experts, whole groups of 16 rows of `columns` each, so that their
    /// blocks follow one another.
    pub fn arrange_in_blocks(&mut self, columns: usize) {
        let Some(weights) = self.weights() else { return };
        let (element_bytes, length) = (weights.kind.bytes(), weights.bytes.len());
        let mut blocks = vec![0u64; length.div_ceil(8)];
        let into = &mut bytemuck::cast_slice_mut(&mut blocks)[..length];
        weights_to_blocks(weights.bytes, element_bytes, columns, into);
        if self.dtype == Some(Dtype::F64) {
            let count = self.narrowed.len();
            self.narrowed.copy_from_slice(&bytemuck::cast_slice(&blocks)[..count]);
        } else {
            self.words = blocks;
        }
    }

    /// Gives weights, whole rows of `columns` each, zeros at the ends of their rows.
    pub fn pad_rows(&mut self, columns: usize, padded: usize) {
        let Some(weights) = self.weights() else { return };
        let rows = weights.len() / columns;
        let (words, bytes) = padded_rows(weights, columns, padded);
        if self.dtype == Some(Dtype::F64) {
            self.narrowed = bytemuck::cast_slice(&words)[..rows * padded].to_vec();
        } else {
            (self.words, self.bytes) = (words, bytes);
        }
    }

    /// Room for so many bytes of anything.
    pub fn room(&mut self, bytes: usize) -> &mut [u8] {
        (self.bytes, self.dtype) = (bytes, None);
        self.words.resize(bytes.div_ceil(8), 0);
        &mut bytemuck::cast_slice_mut(&mut self.words)[..bytes]
    }

    /// The bytes as they are stored, or as they were rearranged.
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.bytes]
    }

    /// The weights; `None` if the tensor is no float. F64 is rounded to f32, nearest even.
    pub fn weights(&self) -> Option<Weights<'_>> {
        let (kind, bytes) = match self.dtype? {
            Dtype::BF16 => (FloatKind::Bf16, self.bytes()),
            Dtype::F16 => (FloatKind::F16, self.bytes()),
            Dtype::F32 => (FloatKind::F32, self.bytes()),
            Dtype::F64 => (FloatKind::F32, bytemuck::cast_slice(&self.narrowed)),
            _ => return None,
        };
        Some(Weights { kind, bytes })
    }
}

/// Whole rows of `columns` weights each with zeros at their ends, as words, and how many bytes they are.
pub fn padded_rows(weights: Weights<'_>, columns: usize, padded: usize) -> (Vec<u64>, usize) {
    let width = weights.kind.bytes();
    let bytes = weights.len() / columns.max(1) * padded * width;
    let mut words = vec![0u64; bytes.div_ceil(8)];
    let into = &mut bytemuck::cast_slice_mut(&mut words)[..bytes];
    let lines = weights.bytes.chunks_exact(columns.max(1) * width);
    for (row, line) in lines.zip(into.chunks_exact_mut(padded.max(1) * width)) {
        line[..row.len()].copy_from_slice(row);
    }
    (words, bytes)
}
