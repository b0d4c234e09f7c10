//! Sums over weights and errors. They are for display, and bound by the additions that they take: so
//! these are of f32, sixteen at once, of a few hundred weights each, and only their results are added in
//! f64.

use multiversion::multiversion;

use super::amax::amax;
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
    let mut sums = Sums::of_weights(weights);
    add_blocks(&mut sums, blocks);
    let mut padded = [F::zeroed(); BLOCK_LEN];
    padded[..rest.len()].copy_from_slice(rest);
    let mut part = Part::default();
    part.add(&widen(&padded), sums.unit);
    sums.add(part);
    sums.padding += (BLOCK_LEN - rest.len()) as u64;
    sums.weight_sums()
}

/// Sums over whole blocks and their errors. Twin of `shaders/nvfp4_errors.wgsl`.
pub fn nvfp4_errors<F: SourceFloat>(
    weights: &[F],
    chunk: Nvfp4Chunk<'_>,
    scaling: &Scaling,
) -> (WeightSums, ErrorSums) {
    let blocks = weights.as_chunks::<BLOCK_LEN>().0;
    let codes = chunk.codes.as_chunks::<BLOCK_BYTES>().0;
    Sums::with_errors(weights, |sums| add_errors(sums, blocks, codes, chunk.scales, scaling))
}

/// Weights that are added at once.
pub(super) const LANES: usize = BLOCK_LEN;

/// Accumulators of a [`Part`]: a vector register of 512 bits, or two of 256.
const WIDTH: usize = 16;

/// The sums of a call. The order of additions is fixed, so they do not depend on the instruction set.
#[derive(Default)]
pub(super) struct Sums {
    /// A power of two that brings the largest weight near 1, so that no square overflows and none
    /// that counts vanishes; 1 where it is near enough.
    pub(super) unit: f32,
    count: u64,
    /// Zeros that fill up lanes, and are no weights.
    padding: u64,
    zeros: [f64; WIDTH],
    sum: [f64; WIDTH],
    sum_abs: [f64; WIDTH],
    sum_squares: [f64; WIDTH],
    error_squares: [f64; WIDTH],
    error_max: [f32; WIDTH],
}

impl Sums {
    /// For weights whose largest magnitude is about this.
    pub(super) fn new(amax: f32) -> Self {
        // Powers of two beyond these would overflow themselves; squares of what remains do not.
        const FURTHEST: i32 = 100;
        /// Up to 2⁻²⁰ and 2²⁰.
        const NEAR: std::ops::RangeInclusive<i32> = -20..=20;
        let exponent = if amax == 0.0 { 0 } else { (amax.to_bits() >> 23) as i32 - 127 };
        let exponent = if NEAR.contains(&exponent) { 0 } else { exponent };
        let unit = (127 - exponent.clamp(-FURTHEST, FURTHEST)) as u32;
        Self { unit: f32::from_bits(unit << 23), ..Self::default() }
    }

    /// The sums where weights were added as they are, or others if some square that counts overflows or vanishes then.
    pub(super) fn plain_or(
        &self,
        others: impl FnOnce() -> (WeightSums, ErrorSums),
    ) -> (WeightSums, ErrorSums) {
        match self.unit == 1.0 && self.errors_are_near() {
            true => (self.weight_sums(), self.error_sums()),
            false => others(),
        }
    }

    fn errors_are_near(&self) -> bool {
        /// 2⁻⁴⁰ to 2⁴⁰ units.
        const NEAR: std::ops::Range<f32> = 1.0 / (1u64 << 40) as f32..(1u64 << 40) as f32;
        let largest = self.error_max();
        largest == 0.0 || NEAR.contains(&largest)
    }

    fn of_weights<F: SourceFloat>(weights: &[F]) -> Self {
        Self::new(F::KIND.widen(amax(weights)))
    }

    /// Sums over weights and over their errors, which `add` adds. Codes may stand for anything, and errors
    /// be of another magnitude than weights, so that their squares overflow or vanish: then they are
    /// added once more, in units of their own.
    pub(super) fn with_errors<F: SourceFloat>(
        weights: &[F],
        add: impl Fn(&mut Self),
    ) -> (WeightSums, ErrorSums) {
        let mut sums = Self::of_weights(weights);
        add(&mut sums);
        if sums.errors_are_near() {
            return (sums.weight_sums(), sums.error_sums());
        }
        let mut errors = Self::new((sums.error_max() / sums.unit).min(f32::MAX));
        add(&mut errors);
        (sums.weight_sums(), errors.error_sums())
    }

    /// Notes lanes that were no weights.
    pub(super) fn pad(&mut self, zeros: usize) {
        self.padding += zeros as u64;
    }

    /// Adds a part. It is taken by value, so that the compiler may keep it in registers.
    pub(super) fn add(&mut self, part: Part) {
        add_part(self, &part);
    }

    pub(super) fn weight_sums(&self) -> WeightSums {
        let unit = f64::from(self.unit);
        WeightSums {
            count: self.count - self.padding,
            zeros: self.zeros.iter().sum::<f64>() as u64 - self.padding,
            sum: self.sum.iter().sum::<f64>() / unit,
            sum_abs: self.sum_abs.iter().sum::<f64>() / unit,
            sum_squares: self.sum_squares.iter().sum::<f64>() / (unit * unit),
        }
    }

    pub(super) fn error_sums(&self) -> ErrorSums {
        let unit = f64::from(self.unit);
        ErrorSums {
            sum_squares: self.error_squares.iter().sum::<f64>() / (unit * unit),
            max_abs: f64::from(self.error_max()) / unit,
        }
    }

    fn error_max(&self) -> f32 {
        self.error_max.into_iter().fold(0.0, f32::max)
    }
}

/// The sums of so few weights that f32 holds them, in units that are given when they are added.
#[derive(Default)]
pub(super) struct Part {
    count: u32,
    zeros: [f32; WIDTH],
    sum: [f32; WIDTH],
    sum_abs: [f32; WIDTH],
    sum_squares: [f32; WIDTH],
    error_squares: [f32; WIDTH],
    error_max: [f32; WIDTH],
}

impl Part {
    /// Whether it should be taken before more is added.
    #[inline(always)]
    pub(super) fn is_full(&self) -> bool {
        self.count >= 1024
    }

    /// Adds weights.
    #[inline(always)]
    pub(super) fn add(&mut self, weights: &[f32; LANES], unit: f32) {
        self.count += LANES as u32;
        for half in weights.as_chunks::<WIDTH>().0 {
            for (i, weight) in half.iter().enumerate() {
                let weight = weight * unit;
                let more = self.zeros[i] + 1.0;
                self.zeros[i] = if half[i] == 0.0 { more } else { self.zeros[i] };
                self.sum[i] += weight;
                self.sum_abs[i] += weight.abs();
                self.sum_squares[i] += weight * weight;
            }
        }
    }

    /// Adds the differences between weights and values.
    #[inline(always)]
    pub(super) fn add_errors(&mut self, weights: &[f32; LANES], values: &[f32; LANES], unit: f32) {
        let halves = weights.as_chunks::<WIDTH>().0.iter().zip(values.as_chunks::<WIDTH>().0);
        for (weights, values) in halves {
            for i in 0..WIDTH {
                let error = ((weights[i] - values[i]) * unit).abs();
                self.error_squares[i] += error * error;
                self.error_max[i] = larger(error, self.error_max[i]);
            }
        }
    }
}

#[multiversion(targets = "simd")]
fn add_part(sums: &mut Sums, part: &Part) {
    let add = |totals: &mut [f64; WIDTH], lanes: &[f32; WIDTH]| {
        totals.iter_mut().zip(lanes).for_each(|(total, lane)| *total += f64::from(*lane));
    };
    sums.count += u64::from(part.count);
    add(&mut sums.zeros, &part.zeros);
    add(&mut sums.sum, &part.sum);
    add(&mut sums.sum_abs, &part.sum_abs);
    add(&mut sums.sum_squares, &part.sum_squares);
    add(&mut sums.error_squares, &part.error_squares);
    for (max, lane) in sums.error_max.iter_mut().zip(part.error_max) {
        *max = larger(lane, *max);
    }
}

/// Not `f32::max`, which takes care of NaN and several instructions: here the second counts then.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The exact values of weights.
#[inline(always)]
pub(super) fn widen<F: SourceFloat>(block: &[F; BLOCK_LEN]) -> [f32; BLOCK_LEN] {
    let mut wide = [0.0; BLOCK_LEN];
    for (wide, weight) in wide.iter_mut().zip(block) {
        *wide = weight.to_f32();
    }
    wide
}

#[multiversion(targets = "simd")]
fn add_blocks<F: SourceFloat>(sums: &mut Sums, blocks: &[[F; BLOCK_LEN]]) {
    let (mut part, unit) = (Part::default(), sums.unit);
    for block in blocks {
        part.add(&widen(block), unit);
        if part.is_full() {
            sums.add(std::mem::take(&mut part));
        }
    }
    sums.add(part);
}

#[multiversion(targets = "simd")]
fn add_errors<F: SourceFloat>(
    sums: &mut Sums,
    blocks: &[[F; BLOCK_LEN]],
    codes: &[[u8; BLOCK_BYTES]],
    scales: &[u8],
    scaling: &Scaling,
) {
    let (mut part, unit) = (Part::default(), sums.unit);
    for ((block, packed), &scale) in blocks.iter().zip(codes).zip(scales) {
        let weights = widen(block);
        part.add(&weights, unit);
        part.add_errors(&weights, &dequantize_block(packed, scaling.step(scale)), unit);
        if part.is_full() {
            sums.add(std::mem::take(&mut part));
        }
    }
    sums.add(part);
}
