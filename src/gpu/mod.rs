//! The GPU backend: the kernels of `shaders/` through wgpu. Nothing else in the crate knows wgpu.
//!
//! No float arithmetic of the GPU decides a bit. NVFP4 compares integers with tables that the
//! specification made, and looks values up in them. Formats with one level of scales get their
//! scales from the specification, and divide and multiply by them with integers.

mod adapter;
mod device;
mod gpu_data;
mod grouped;
mod grouped_layout;
mod halve;
mod kernels;
mod nvfp4;
mod slot;
mod sums;

use crate::backend::{
    Backend, BackendError, GridCell, Grouped, GroupedChunk, Nvfp4Chunk, Quantized, TieMatch,
    Weights,
};
use crate::format::nvfp4::BLOCK_LEN;
use crate::format::{Coder, Nvfp4Tables, Scheme};
use crate::numeric::FloatKind;
use crate::stats::{ErrorSums, WeightSums};

pub use adapter::{AdapterInfo, Choice, Limits, OpenError, adapters, described};
pub use device::{Gpu, device_descriptor};
#[doc(hidden)]
pub use kernels::shader_sources;

use gpu_data::Params;
use kernels::Kernel;
use nvfp4::pieces;
use slot::Slot;

impl Gpu {
    /// The largest magnitude pattern of weights that are in a slot, as its parameters are.
    fn amax_of_slot(&self, slot: &Slot, piece: Weights<'_>) -> Result<u32, BackendError> {
        let workgroups = Kernel::Amax.workgroups(piece.len().div_ceil(BLOCK_LEN));
        let reads = [(&slot.results, 4 * workgroups)];
        self.run(slot, &[(Kernel::Amax, workgroups)], piece.kind, &reads, |maxima| {
            let maxima = maxima.as_chunks().0.iter().map(|max| u32::from_le_bytes(*max));
            maxima.max().unwrap_or(0)
        })
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

    fn chunk_bytes(&self) -> u64 {
        8 << 20
    }

    fn shrink(&self) -> bool {
        self.halve_pieces()
    }

    fn amax(&self, weights: Weights<'_>) -> Result<u32, BackendError> {
        let mut amax = 0;
        for piece in pieces(weights, self.piece_blocks()) {
            let piece_amax = self.with_slot(piece.len().div_ceil(BLOCK_LEN), |slot| {
                let len = piece.len().div_ceil(4) as u32;
                slot.write_params(&self.queue, &Params { len, ..Params::default() });
                slot.write_weights(&self.queue, piece.bytes);
                self.amax_of_slot(slot, piece)
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
        self.quantize_nvfp4(weights, tables)
    }

    fn nvfp4_dequantize(
        &self,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<Vec<f32>, BackendError> {
        self.dequantize_nvfp4(chunk, tables)
    }

    fn nvfp4_errors(
        &self,
        weights: Weights<'_>,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<(WeightSums, ErrorSums), BackendError> {
        self.errors_of_nvfp4(weights, chunk, tables)
    }

    fn nvfp4_match(
        &self,
        weights: Weights<'_>,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<TieMatch, BackendError> {
        self.match_nvfp4(weights, chunk, tables)
    }

    fn grouped_quantize(
        &self,
        weights: Weights<'_>,
        columns: usize,
        coder: &Coder,
    ) -> Result<Grouped, BackendError> {
        self.quantize_grouped(weights, columns, coder)
    }

    fn grouped_dequantize(
        &self,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
    ) -> Result<Vec<f32>, BackendError> {
        self.dequantize_grouped(chunk, scheme)
    }

    fn grouped_errors(
        &self,
        weights: Weights<'_>,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
    ) -> Result<(WeightSums, ErrorSums), BackendError> {
        self.errors_of_grouped(weights, chunk, scheme)
    }

    fn grouped_match(
        &self,
        weights: Weights<'_>,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
        made_of: FloatKind,
    ) -> Result<TieMatch, BackendError> {
        self.match_grouped(weights, chunk, scheme, made_of)
    }

    fn halve(&self, cells: &[GridCell], columns: usize) -> Result<Vec<GridCell>, BackendError> {
        self.halve_grid(cells, columns)
    }
}

#[cfg(test)]
mod tests;
