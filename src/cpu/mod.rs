//! The CPU backend: loops over blocks, written so that the compiler vectorises them, compiled for
//! several instruction sets and chosen at run time. Each call runs on the calling thread.

mod amax;
mod grouped;
mod halve;
mod nvfp4_dequantize;
mod nvfp4_match;
mod nvfp4_quantize;
mod nvfp4_search;
mod sums;

use bytemuck::{Pod, cast_slice};
use half::{bf16, f16};

use crate::backend::{
    Backend, BackendError, GridCell, Grouped, GroupedChunk, Nvfp4Chunk, Quantized, TieMatch,
    Weights,
};
use crate::format::{Coder, Nvfp4Tables, Scheme};
use crate::numeric::FloatKind;
use crate::stats::{ErrorSums, WeightSums};

pub use sums::weight_sums;

/// The CPU.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu;

/// Calls a generic kernel with the weights as a slice of their own type.
macro_rules! dispatch {
    ($weights:expr, $kernel:path $(, $arg:expr)*) => {
        match $weights.kind {
            FloatKind::Bf16 => $kernel(elements::<bf16>($weights) $(, $arg)*),
            FloatKind::F16 => $kernel(elements::<f16>($weights) $(, $arg)*),
            FloatKind::F32 => $kernel(elements::<f32>($weights) $(, $arg)*),
        }
    };
}
use dispatch;

fn elements<T: Pod>(weights: Weights<'_>) -> &[T] {
    cast_slice(weights.bytes)
}

impl Backend for Cpu {
    fn name(&self) -> &str {
        "CPU"
    }

    fn useful_callers(&self) -> usize {
        std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
    }

    fn chunk_bytes(&self) -> u64 {
        1 << 20
    }

    fn amax(&self, weights: Weights<'_>) -> Result<u32, BackendError> {
        Ok(dispatch!(weights, amax::amax))
    }

    fn nvfp4_quantize(
        &self,
        weights: Weights<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<Quantized, BackendError> {
        Ok(dispatch!(weights, nvfp4_quantize::nvfp4_quantize, tables))
    }

    fn nvfp4_dequantize(
        &self,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<Vec<f32>, BackendError> {
        Ok(nvfp4_dequantize::nvfp4_dequantize(chunk, tables))
    }

    fn nvfp4_errors(
        &self,
        weights: Weights<'_>,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<(WeightSums, ErrorSums), BackendError> {
        Ok(dispatch!(weights, sums::nvfp4_errors, chunk, &tables.scaling))
    }

    fn nvfp4_match(
        &self,
        weights: Weights<'_>,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<TieMatch, BackendError> {
        Ok(dispatch!(weights, nvfp4_match::nvfp4_match, chunk, &tables.scaling))
    }

    fn grouped_quantize(
        &self,
        weights: Weights<'_>,
        columns: usize,
        coder: &Coder,
    ) -> Result<Grouped, BackendError> {
        Ok(dispatch!(weights, grouped::quantize, columns, coder))
    }

    fn grouped_dequantize(
        &self,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
    ) -> Result<Vec<f32>, BackendError> {
        Ok(grouped::dequantize(chunk, scheme))
    }

    fn grouped_errors(
        &self,
        weights: Weights<'_>,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
    ) -> Result<(WeightSums, ErrorSums), BackendError> {
        Ok(dispatch!(weights, grouped::errors, chunk, scheme))
    }

    fn grouped_match(
        &self,
        weights: Weights<'_>,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
        made_of: FloatKind,
    ) -> Result<TieMatch, BackendError> {
        Ok(dispatch!(weights, grouped::compare, chunk, scheme, made_of))
    }

    fn halve(&self, cells: &[GridCell], columns: usize) -> Result<Vec<GridCell>, BackendError> {
        Ok(halve::halve(cells, columns))
    }
}
