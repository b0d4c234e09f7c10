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
    let mut padded = [F::zeroed(); BLOCK_LEN];
    padded[..rest.len()].copy_from_slice(rest);
    if !rest.is_empty() {
        add_blocks(&mut lanes, &[padded]);
    }
    let mut sums = lanes.weight_sums();
    sums.count = weights.len() as u64;
    sums.zeros -= if rest.is_empty() { 0 } else { (BLOCK_LEN - rest.len()) as u64 };
    sums
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

/// One accumulator for each place in a block. The order of additions is fixed, so the sums do not
/// depend on the instruction set.
#[derive(Default)]
struct Lanes {
    blocks: u64,
    zeros: [u64; BLOCK_LEN],
    sum: [f64; BLOCK_LEN],
    sum_abs: [f64; BLOCK_LEN],
    sum_squares: [f64; BLOCK_LEN],
    error_squares: [f64; BLOCK_LEN],
    error_max: [f64; BLOCK_LEN],
}

impl Lanes {
    #[inline(always)]
    fn add(&mut self, weights: &[f64; BLOCK_LEN]) {
        self.blocks += 1;
        for (i, &w) in weights.iter().enumerate() {
            self.zeros[i] += u64::from(w == 0.0);
            self.sum[i] += w;
            self.sum_abs[i] += w.abs();
            self.sum_squares[i] += w * w;
        }
    }

    #[inline(always)]
    fn add_errors(&mut self, weights: &[f64; BLOCK_LEN], values: &[f32; BLOCK_LEN]) {
        for i in 0..BLOCK_LEN {
            let error = (weights[i] - f64::from(values[i])).abs();
            self.error_squares[i] += error * error;
            self.error_max[i] = self.error_max[i].max(error);
        }
    }

    fn weight_sums(&self) -> WeightSums {
        WeightSums {
            count: self.blocks * BLOCK_LEN as u64,
            zeros: self.zeros.iter().sum(),
            sum: self.sum.iter().sum(),
            sum_abs: self.sum_abs.iter().sum(),
            sum_squares: self.sum_squares.iter().sum(),
        }
    }

    fn error_sums(&self) -> ErrorSums {
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
