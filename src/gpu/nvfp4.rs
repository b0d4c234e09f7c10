//! NVFP4 on the GPU, in pieces that a slot takes.

use super::device::Gpu;
use super::gpu_data::{Params, Tables};
use super::kernels::Kernel;
use super::slot::F32_BLOCK_BYTES;
use super::sums;
use crate::backend::{Backend, BackendError, Nvfp4Chunk, Quantized, TieMatch, Weights};
use crate::cpu::Cpu;
use crate::format::Nvfp4Tables;
use crate::format::nvfp4::{BLOCK_BYTES, BLOCK_LEN};
use crate::format::nvfp4_search::{Search, Trials};
use crate::stats::{ErrorSums, WeightSums};

fn params(blocks: usize, unit: Option<f32>, tables: &Nvfp4Tables) -> Params {
    let search = tables.search.as_ref().map(|tables| &tables.search);
    Params {
        len: blocks as u32,
        unit: unit.unwrap_or(1.0),
        zero_block_scale: tables.scaling.zero_block_scale().into(),
        trials: search.map_or(0, Search::len) as u32,
        trials_are_scales: search.is_some_and(|s| matches!(s.trials, Trials::Scales(_))).into(),
        likely_trial: search.map_or(0, |search| search.likely_trial(0.0)) as u32,
        ..Params::default()
    }
}

/// Weights in pieces of so many blocks.
pub fn pieces<'a>(
    weights: Weights<'a>,
    blocks: usize,
) -> impl Iterator<Item = Weights<'a>> + use<'a> {
    let bytes = blocks * BLOCK_LEN * weights.kind.bytes();
    weights.bytes.chunks(bytes).map(move |bytes| Weights { bytes, ..weights })
}

/// A chunk in pieces of so many blocks.
fn chunk_pieces<'a>(
    chunk: Nvfp4Chunk<'a>,
    blocks: usize,
) -> impl Iterator<Item = Nvfp4Chunk<'a>> + use<'a> {
    let codes = chunk.codes.chunks(blocks * BLOCK_BYTES);
    codes.zip(chunk.scales.chunks(blocks)).map(|(codes, scales)| Nvfp4Chunk { codes, scales })
}

/// Sums of a piece from what the workgroups wrote, or from the CPU where f32 would not do.
fn sums_of(
    partials: &[u8],
    unit: Option<f32>,
    (weights, chunk): (Weights<'_>, Nvfp4Chunk<'_>),
    tables: &Nvfp4Tables,
) -> Result<(WeightSums, ErrorSums), BackendError> {
    let merged = unit.and_then(|unit| sums::merge(partials, weights.len(), unit));
    merged.map_or_else(|| Cpu.nvfp4_errors(weights, chunk, tables), Ok)
}

impl Gpu {
    pub(super) fn quantize_nvfp4(
        &self,
        weights: Weights<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<Quantized, BackendError> {
        let unit = sums::unit(sums::largest(tables));
        let gpu_tables = Tables::new(tables);
        let blocks = weights.len() / BLOCK_LEN;
        let mut all = Quantized {
            codes: Vec::with_capacity(blocks * BLOCK_BYTES),
            scales: Vec::with_capacity(blocks),
            weights: WeightSums::default(),
            errors: ErrorSums::default(),
        };
        for piece in pieces(weights, self.piece_blocks()) {
            let blocks = piece.len() / BLOCK_LEN;
            let (codes_len, scales_len) = (blocks * BLOCK_BYTES, blocks);
            let error_groups = Kernel::Nvfp4Errors.workgroups(blocks);
            let partials_len = error_groups * sums::PARTIAL_BYTES;
            let mut kernels = Vec::with_capacity(3);
            if tables.search.is_some() {
                kernels.push((Kernel::Nvfp4Search, Kernel::Nvfp4Search.workgroups(blocks)));
            }
            kernels.push((Kernel::Nvfp4Quantize, Kernel::Nvfp4Quantize.workgroups(blocks)));
            if unit.is_some() {
                kernels.push((Kernel::Nvfp4Errors, error_groups));
            }
            let (weights, errors) = self.with_slot(blocks, |slot| {
                slot.write_params(&self.queue, &params(blocks, unit, tables));
                slot.write_tables(&self.queue, &gpu_tables);
                slot.write_weights(&self.queue, piece.bytes);
                let reads = [
                    (&slot.codes, codes_len),
                    (&slot.scales, scales_len),
                    (&slot.results, partials_len),
                ];
                self.run(slot, &kernels, piece.kind, &reads, |bytes| {
                    let (codes, bytes) = bytes.split_at(codes_len);
                    let (scales, partials) = bytes.split_at(scales_len.next_multiple_of(4));
                    let chunk = Nvfp4Chunk { codes, scales: &scales[..scales_len] };
                    all.codes.extend_from_slice(chunk.codes);
                    all.scales.extend_from_slice(chunk.scales);
                    sums_of(partials, unit, (piece, chunk), tables)
                })?
            })?;
            all.weights.merge(&weights);
            all.errors.merge(&errors);
        }
        Ok(all)
    }

    pub(super) fn dequantize_nvfp4(
        &self,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<Vec<f32>, BackendError> {
        let gpu_tables = Tables::new(tables);
        let mut values = Vec::with_capacity(chunk.scales.len() * BLOCK_LEN);
        for piece in chunk_pieces(chunk, self.piece_blocks()) {
            let blocks = piece.scales.len();
            self.with_slot(blocks, |slot| {
                slot.write_params(&self.queue, &params(blocks, None, tables));
                slot.write_tables(&self.queue, &gpu_tables);
                slot.write_chunk(&self.queue, piece.codes, piece.scales);
                let kernel = Kernel::Nvfp4Dequantize;
                let kernels = [(kernel, kernel.workgroups(blocks))];
                let reads = [(&slot.results, blocks * F32_BLOCK_BYTES)];
                self.run(slot, &kernels, tables.scaling.kind, &reads, |bytes| {
                    values.extend(bytes.as_chunks().0.iter().map(|bits| f32::from_le_bytes(*bits)));
                })
            })?;
        }
        Ok(values)
    }

    pub(super) fn errors_of_nvfp4(
        &self,
        weights: Weights<'_>,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<(WeightSums, ErrorSums), BackendError> {
        let unit = sums::unit(sums::largest(tables));
        if unit.is_none() {
            return Cpu.nvfp4_errors(weights, chunk, tables);
        }
        let (mut all_weights, mut all_errors) = Default::default();
        self.compare_nvfp4((weights, chunk), tables, Kernel::Nvfp4Errors, |piece, partials| {
            let (weights, errors) = sums_of(partials, unit, piece, tables)?;
            WeightSums::merge(&mut all_weights, &weights);
            ErrorSums::merge(&mut all_errors, &errors);
            Ok(())
        })?;
        Ok((all_weights, all_errors))
    }

    pub(super) fn match_nvfp4(
        &self,
        weights: Weights<'_>,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<TieMatch, BackendError> {
        let mut all = TieMatch::default();
        self.compare_nvfp4(
            (weights, chunk),
            tables,
            Kernel::Nvfp4Match,
            |(piece, _), partials| {
                sums::merge_matches(&mut all, partials, piece.len());
                Ok(())
            },
        )?;
        Ok(all)
    }

    /// Runs a kernel that compares weights with codes; `take` gets each piece, and what the
    /// workgroups wrote.
    fn compare_nvfp4(
        &self,
        (weights, chunk): (Weights<'_>, Nvfp4Chunk<'_>),
        tables: &Nvfp4Tables,
        kernel: Kernel,
        mut take: impl FnMut((Weights<'_>, Nvfp4Chunk<'_>), &[u8]) -> Result<(), BackendError>,
    ) -> Result<(), BackendError> {
        let unit = sums::unit(sums::largest(tables));
        let gpu_tables = Tables::new(tables);
        // Asked for once: another call may halve it meanwhile.
        let blocks = self.piece_blocks();
        for piece in pieces(weights, blocks).zip(chunk_pieces(chunk, blocks)) {
            let blocks = piece.1.scales.len();
            self.with_slot(blocks, |slot| {
                slot.write_params(&self.queue, &params(blocks, unit, tables));
                slot.write_tables(&self.queue, &gpu_tables);
                slot.write_weights(&self.queue, piece.0.bytes);
                slot.write_chunk(&self.queue, piece.1.codes, piece.1.scales);
                let workgroups = kernel.workgroups(blocks);
                let reads = [(&slot.results, workgroups * sums::partial_bytes(kernel))];
                let kernels = [(kernel, workgroups)];
                self.run(slot, &kernels, piece.0.kind, &reads, |partials| take(piece, partials))?
            })?;
        }
        Ok(())
    }
}
