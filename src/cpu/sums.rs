use multiversion::multiversion;

use super::{dispatch, elements};
use crate::backend::{Nvfp4Chunk, Weights};
use crate::format::nvfp4::{BLOCK_BYTES, BLOCK_LEN, Scaling, dequantize_block};
use crate::numeric::{FloatKind, SourceFloat};
use crate::stats::{ErrorSums, WeightSums};
use half::{bf16, f16};

/// Sums over any number of weights that are not quantized.
pub fn weight_sums(weights: Weights<'_>) -> WeightSums {
    dispatch!(weights, sums_of)
}

fn sums_of<F: SourceFloat>(weights: &[F]) -> WeightSums {
    let (blocks, rest) = weights.as_chunks::<BLOCK_LEN>();
    let mut lanes = Lanes::default();
    add_blocks(&mut lanes, blocks);
    let mut padded = [F::zeroed(); LANES];
    padded[..rest.len()].copy_from_slice(rest);
    lanes.add_some(&widen(&padded), rest.len());
    lanes.weight_sums()
}

/// Sums over whole blocks and their errors. Twin of `shaders/nvfp4_errors.wgsl`.
pub fn nvfp4_errors<F: SourceFloat>(
    weights: &[F],
    chunk: Nvfp4Chunk<'_>,
    scaling: &Scaling,
) -> (WeightSums, ErrorSums) {
    let blocks = weights.as_chunks::<BLOCK_LEN>().0;
    let codes = chunk.codes.as_chunks::<BLOCK_BYTES>().0;
    let mut lanes = Lanes::default();
    add_errors(&mut lanes, blocks, codes, chunk.scales, scaling);
    (lanes.weight_sums(), lanes.error_sums())
}

/// Weights that are added at once.
pub(super) const LANES: usize = BLOCK_LEN;

/// One accumulator for each place in a block. The order of additions is fixed, so the sums do not
/// depend on the instruction set.
#[derive(Default)]
pub(super) struct Lanes {
    blocks: u64,
    /// Zeros that fill blocks of fewer weights.
    padding: u64,
    zeros: [u64; LANES],
    sum: [f64; LANES],
    sum_abs: [f64; LANES],
    sum_squares: [f64; LANES],
    error_squares: [f64; LANES],
    error_max: [f64; LANES],
}

impl Lanes {
    /// Adds so many weights, after which there are zeros.
    #[inline(always)]
    pub(super) fn add_some(&mut self, weights: &[f64; LANES], count: usize) {
        self.padding += (LANES - count) as u64;
        self.add(weights);
    }

    #[inline(always)]
    fn add(&mut self, weights: &[f64; LANES]) {
        self.blocks += 1;
        for (i, &w) in weights.iter().enumerate() {
            self.zeros[i] += u64::from(w == 0.0);
            self.sum[i] += w;
            self.sum_abs[i] += w.abs();
            self.sum_squares[i] += w * w;
        }
    }

    /// Adds the differences between weights and values.
    #[inline(always)]
    pub(super) fn add_errors(&mut self, weights: &[f64; LANES], values: &[f32; LANES]) {
        for i in 0..LANES {
            let error = (weights[i] - f64::from(values[i])).abs();
            self.error_squares[i] += error * error;
            self.error_max[i] = self.error_max[i].max(error);
        }
    }

    pub(super) fn weight_sums(&self) -> WeightSums {
        WeightSums {
            count: self.blocks * LANES as u64 - self.padding,
            zeros: self.zeros.iter().sum::<u64>() - self.padding,
            sum: self.sum.iter().sum(),
            sum_abs: self.sum_abs.iter().sum(),
            sum_squares: self.sum_squares.iter().sum(),
        }
    }

    pub(super) fn error_sums(&self) -> ErrorSums {
        ErrorSums {
            sum_squares: self.error_squares.iter().sum(),
            max_abs: self.error_max.iter().fold(0.0, |max, e| max.max(*e)),
        }
    }
}

#[inline(always)]
fn widen<F: SourceFloat>(block: &[F; BLOCK_LEN]) -> [f64; BLOCK_LEN] {
    let mut wide = [0.0; BLOCK_LEN];
    for (wide, weight) in wide.iter_mut().zip(block) {
        *wide = f64::from(weight.to_f32());
    }
    wide
}

#[multiversion(targets = "simd")]
fn add_blocks<F: SourceFloat>(lanes: &mut Lanes, blocks: &[[F; BLOCK_LEN]]) {
    for block in blocks {
        lanes.add(&widen(block));
    }
}

#[multiversion(targets = "simd")]
fn add_errors<F: SourceFloat>(
    lanes: &mut Lanes,
    blocks: &[[F; BLOCK_LEN]],
    codes: &[[u8; BLOCK_BYTES]],
    scales: &[u8],
    scaling: &Scaling,
) {
    for ((block, packed), &scale) in blocks.iter().zip(codes).zip(scales) {
        let weights = widen(block);
        lanes.add(&weights);
        lanes.add_errors(&weights, &dequantize_block(packed, scaling.step(scale)));
    }
}
