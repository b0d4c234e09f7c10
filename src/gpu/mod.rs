//! The GPU backend: the kernels of `shaders/` through wgpu. Nothing else in the crate knows wgpu.
//!
//! No arithmetic of the GPU decides a bit: quantizing compares integers with tables that the
//! specification made, and dequantizing looks values up in them.

mod adapter;
mod device;
mod gpu_data;
mod kernels;
mod slot;
mod sums;

use crate::backend::{
    Backend, BackendError, Grouped, GroupedChunk, Nvfp4Chunk, Quantized, TieMatch, Weights,
};
use crate::cpu::Cpu;
use crate::format::nvfp4::{BLOCK_BYTES, BLOCK_LEN};
use crate::format::{Coder, Nvfp4Tables, Scheme};
use crate::stats::{ErrorSums, WeightSums};

pub use adapter::{AdapterInfo, Choice, OpenError, adapters};
pub use device::Gpu;
#[doc(hidden)]
pub use kernels::shader_sources;

use gpu_data::Tables;
use kernels::Kernel;
use slot::F32_BLOCK_BYTES;

impl Gpu {
    /// Sums of a piece from what the workgroups wrote, or from the CPU where f32 would not do.
    fn sums(
        &self,
        partials: &[u8],
        unit: Option<f32>,
        (weights, chunk): (Weights<'_>, Nvfp4Chunk<'_>),
        tables: &Nvfp4Tables,
    ) -> Result<(WeightSums, ErrorSums), BackendError> {
        let merged = unit.and_then(|unit| sums::merge(partials, weights.len(), unit));
        merged.map_or_else(|| Cpu.nvfp4_errors(weights, chunk, tables), Ok)
    }

    /// Weights in pieces that a slot takes.
    fn pieces<'a>(&self, weights: Weights<'a>) -> impl Iterator<Item = Weights<'a>> + use<'a> {
        let bytes = self.piece_blocks * BLOCK_LEN * weights.kind.bytes();
        weights.bytes.chunks(bytes).map(move |bytes| Weights { bytes, ..weights })
    }

    /// A chunk in pieces that a slot takes.
    fn chunk_pieces<'a>(
        &self,
        chunk: Nvfp4Chunk<'a>,
    ) -> impl Iterator<Item = Nvfp4Chunk<'a>> + use<'a> {
        let codes = chunk.codes.chunks(self.piece_blocks * BLOCK_BYTES);
        let scales = chunk.scales.chunks(self.piece_blocks);
        codes.zip(scales).map(|(codes, scales)| Nvfp4Chunk { codes, scales })
    }
}

impl Backend for Gpu {
    fn name(&self) -> &str {
        &self.name
    }

    /// Two pieces on the device, one being read and one being written.
    fn useful_callers(&self) -> usize {
        4
    }

    fn amax(&self, weights: Weights<'_>) -> Result<u32, BackendError> {
        let mut amax = 0;
        for piece in self.pieces(weights) {
            let blocks = piece.len().div_ceil(BLOCK_LEN);
            let piece_amax = self.with_slot(blocks, |slot| {
                slot.write_params(&self.queue, piece.len().div_ceil(4), 1.0);
                slot.write_weights(&self.queue, piece.bytes);
                let reads = [(&slot.results, 4 * Kernel::Amax.workgroups(blocks))];
                self.run(slot, &[Kernel::Amax], (blocks, piece.kind), &reads, |maxima| {
                    let maxima = maxima.as_chunks().0.iter().map(|max| u32::from_le_bytes(*max));
                    maxima.max().unwrap_or(0)
                })
            })?;
            amax = amax.max(piece_amax);
        }
        Ok(amax)
    }

    fn nvfp4_quantize(
        &self,
        weights: Weights<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<Quantized, BackendError> {
        let unit = sums::unit(tables);
        let gpu_tables = Tables::new(tables);
        let blocks = weights.len() / BLOCK_LEN;
        let mut all = Quantized {
            codes: Vec::with_capacity(blocks * BLOCK_BYTES),
            scales: Vec::with_capacity(blocks),
            weights: WeightSums::default(),
            errors: ErrorSums::default(),
        };
        let kernels = match unit {
            Some(_) => &[Kernel::Nvfp4Quantize, Kernel::Nvfp4Errors][..],
            None => &[Kernel::Nvfp4Quantize],
        };
        for piece in self.pieces(weights) {
            let blocks = piece.len() / BLOCK_LEN;
            let (codes_len, scales_len) = (blocks * BLOCK_BYTES, blocks);
            let partials_len = Kernel::Nvfp4Errors.workgroups(blocks) * sums::PARTIAL_BYTES;
            let (weights, errors) = self.with_slot(blocks, |slot| {
                slot.write_params(&self.queue, blocks, unit.unwrap_or(1.0));
                slot.write_tables(&self.queue, &gpu_tables);
                slot.write_weights(&self.queue, piece.bytes);
                let reads = [
                    (&slot.codes, codes_len),
                    (&slot.scales, scales_len),
                    (&slot.results, partials_len),
                ];
                self.run(slot, kernels, (blocks, piece.kind), &reads, |bytes| {
                    let (codes, bytes) = bytes.split_at(codes_len);
                    let (scales, partials) = bytes.split_at(scales_len.next_multiple_of(4));
                    let chunk = Nvfp4Chunk { codes, scales: &scales[..scales_len] };
                    all.codes.extend_from_slice(chunk.codes);
                    all.scales.extend_from_slice(chunk.scales);
                    self.sums(partials, unit, (piece, chunk), tables)
                })?
            })?;
            all.weights.merge(&weights);
            all.errors.merge(&errors);
        }
        Ok(all)
    }

    fn nvfp4_dequantize(
        &self,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<Vec<f32>, BackendError> {
        let gpu_tables = Tables::new(tables);
        let mut values = Vec::with_capacity(chunk.scales.len() * BLOCK_LEN);
        for piece in self.chunk_pieces(chunk) {
            let blocks = piece.scales.len();
            self.with_slot(blocks, |slot| {
                slot.write_params(&self.queue, blocks, 1.0);
                slot.write_tables(&self.queue, &gpu_tables);
                slot.write_chunk(&self.queue, piece.codes, piece.scales);
                let reads = [(&slot.results, blocks * F32_BLOCK_BYTES)];
                self.run(
                    slot,
                    &[Kernel::Nvfp4Dequantize],
                    (blocks, tables.scaling.kind),
                    &reads,
                    |bytes| {
                        values.extend(
                            bytes.as_chunks().0.iter().map(|bits| f32::from_le_bytes(*bits)),
                        );
                    },
                )
            })?;
        }
        Ok(values)
    }

    fn nvfp4_errors(
        &self,
        weights: Weights<'_>,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<(WeightSums, ErrorSums), BackendError> {
        let Some(unit) = sums::unit(tables) else {
            return Cpu.nvfp4_errors(weights, chunk, tables);
        };
        let gpu_tables = Tables::new(tables);
        let (mut all_weights, mut all_errors) = Default::default();
        for (piece, chunk) in self.pieces(weights).zip(self.chunk_pieces(chunk)) {
            let blocks = chunk.scales.len();
            let (weights, errors) = self.with_slot(blocks, |slot| {
                slot.write_params(&self.queue, blocks, unit);
                slot.write_tables(&self.queue, &gpu_tables);
                slot.write_weights(&self.queue, piece.bytes);
                slot.write_chunk(&self.queue, chunk.codes, chunk.scales);
                let partials_len = Kernel::Nvfp4Errors.workgroups(blocks) * sums::PARTIAL_BYTES;
                let reads = [(&slot.results, partials_len)];
                self.run(slot, &[Kernel::Nvfp4Errors], (blocks, piece.kind), &reads, |partials| {
                    self.sums(partials, Some(unit), (piece, chunk), tables)
                })?
            })?;
            WeightSums::merge(&mut all_weights, &weights);
            ErrorSums::merge(&mut all_errors, &errors);
        }
        Ok((all_weights, all_errors))
    }

    fn nvfp4_match(
        &self,
        weights: Weights<'_>,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<TieMatch, BackendError> {
        Cpu.nvfp4_match(weights, chunk, tables)
    }

    fn grouped_quantize(
        &self,
        weights: Weights<'_>,
        columns: usize,
        coder: &Coder,
    ) -> Result<Grouped, BackendError> {
        Cpu.grouped_quantize(weights, columns, coder)
    }

    fn grouped_dequantize(
        &self,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
    ) -> Result<Vec<f32>, BackendError> {
        Cpu.grouped_dequantize(chunk, scheme)
    }

    fn grouped_errors(
        &self,
        weights: Weights<'_>,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
    ) -> Result<(WeightSums, ErrorSums), BackendError> {
        Cpu.grouped_errors(weights, chunk, scheme)
    }

    fn grouped_match(
        &self,
        weights: Weights<'_>,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
    ) -> Result<TieMatch, BackendError> {
        Cpu.grouped_match(weights, chunk, scheme)
    }
}
