//! k-quant: scales and zero points of the least weighted error, as ONNX Runtime's
//! `KQuantWeightOnlyQuantConfig` and Olive's `OnnxKQuantQuantization` search for them.
//!
//! Errors weigh more for larger weights. With the weights x of a group, which a short last group has
//! zeros after, `largest` = 2^bits − 1, and numbers and zero points from 0 to that:
//!
//! ```text
//! importance     w = √(mean of x²) + |x|
//! error          of a scale s and a zero point z: Σ w (x − (n − z) s)², with the numbers n that
//!                weights get under them as in every scheme
//! refit          numbers n = round(x / s + z); s = Σ w (n − z) x / Σ w (n − z)², the best for them
//! ends           min = min(min x, 0), max = max(max x, 0)
//!
//! tried, in      1. what the plain rule says (`onnx_runtime`)
//!   this order   2. s = max |x|, and z = 1 if min < 0, else 0: of weights of one magnitude nothing
//!                   is lost
//!                3. for i = 0 to 19, s = (max − min) / (largest − 1 + i / 10), and for each of the
//!                   two z next to −min / s, s refit
//!                4. up to four times, the best so far refit, as long as that is better
//! ```
//!
//! Scales are rounded to the type of the weights before errors are taken. The first of the least error
//! stands. `round` takes ties to even.
//!
//! The tools fit scale and offset together, and take the error before they round the offset to a zero
//! point; do not extend the ends to zero, so that a group on one side of it saturates and one of equal
//! weights may become zeros; and sum in f32, in an order that they leave to numpy. So nothing here
//! has their bits, but less error. Sums are in f64 and in an order: weight i is in partial sum i
//! modulo 8.

use super::{GroupScale, Scheme};
use crate::numeric::FloatKind;

/// Partial sums.
const LANES: usize = 8;

/// Scales that are tried between the ends.
const TRIALS: u8 = 20;

/// Times that the best is refit.
const REFITS: u8 = 4;

/// The weights of a group, with what every trial needs.
#[derive(Debug, Clone, Default)]
pub struct Group {
    weights: Vec<[f32; LANES]>,
    importance: Vec<[f64; LANES]>,
    min: f64,
    max: f64,
}

impl Group {
    /// Takes in the weights of a group of `len`, of which the last may be missing.
    #[inline(always)]
    pub fn fill(&mut self, weights: impl ExactSizeIterator<Item = f32>, len: usize) {
        let lanes = len.max(weights.len()).div_ceil(LANES);
        self.weights.clear();
        self.weights.resize(lanes, [0.0; LANES]);
        for (place, weight) in self.weights.as_flattened_mut().iter_mut().zip(weights) {
            *place = weight;
        }
        let (mut min, mut max, mut squares) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for weights in &self.weights {
            for i in 0..LANES {
                let x = f64::from(weights[i]);
                min[i] = x.min(min[i]);
                max[i] = x.max(max[i]);
                squares[i] += x * x;
            }
        }
        self.min = min.into_iter().fold(0.0, f64::min);
        self.max = max.into_iter().fold(0.0, f64::max);
        let root = (total(squares) / len as f64).sqrt();
        self.importance.clear();
        let importance = self.weights.iter().map(|w| w.map(|x| root + f64::from(x).abs()));
        self.importance.extend(importance);
    }

    /// The best scale and zero point for weights of `kind`, `plain` if no other is better.
    #[inline(always)]
    pub fn best(&self, plain: GroupScale, scheme: &Scheme, kind: FloatKind) -> GroupScale {
        let least = self.error(plain, scheme, kind);
        let mut search = Search { of: self, scheme, kind, best: plain, least };
        search.consider(self.max.max(-self.min), if self.min < 0.0 { 1.0 } else { 0.0 });
        let largest = search.largest();
        let (mut likely, mut most) = ((0.0, 0.0), 0.0);
        for trial in 0..TRIALS {
            let scale = (self.max - self.min) / (largest - 1.0 + f64::from(trial) / 10.0);
            let below = (-self.min / scale).floor();
            for zero_point in [below, below + 1.0] {
                let (refit, explained) = self.refit(scale, zero_point, largest);
                if explained > most {
                    (likely, most) = ((refit, zero_point), explained);
                }
            }
        }
        search.consider(likely.0, likely.1);
        for _ in 0..REFITS {
            let (scale, zero_point) = search.best_so_far();
            if !search.consider(self.refit(scale, zero_point, largest).0, zero_point) {
                break;
            }
        }
        search.best
    }

    /// The weighted error under a scale and zero point.
    #[inline(always)]
    pub fn error(&self, group: GroupScale, scheme: &Scheme, kind: FloatKind) -> f64 {
        let mut sums = [0.0; LANES];
        for (weights, importance) in self.weights.iter().zip(&self.importance) {
            for i in 0..LANES {
                let code = scheme.encode(weights[i], group, kind);
                let number = scheme.element.decode(code) - f32::from(group.zero_point);
                let error = f64::from(weights[i]) - f64::from(number) * f64::from(group.scale);
                sums[i] += importance[i] * (error * error);
            }
        }
        total(sums)
    }

    /// The best scale for the numbers that weights have under a scale and an unsigned zero point. None
    /// where all are zero.
    #[inline(always)]
    fn refit(&self, scale: f64, zero_point: f64, largest: f64) -> (f64, f64) {
        let (reciprocal, lowest) = (1.0 / scale, -zero_point);
        let highest = largest - zero_point;
        let (mut squares, mut products) = ([0.0; LANES], [0.0; LANES]);
        for (weights, importance) in self.weights.iter().zip(&self.importance) {
            for i in 0..LANES {
                let x = f64::from(weights[i]);
                let number = (x * reciprocal).round_ties_even().max(lowest).min(highest);
                let weighted = importance[i] * number;
                squares[i] += weighted * number;
                products[i] += weighted * x;
            }
        }
        let (products, squares) = (total(products), total(squares));
        (products / squares, products * products / squares)
    }
}

/// The best so far.
struct Search<'a> {
    of: &'a Group,
    scheme: &'a Scheme,
    kind: FloatKind,
    best: GroupScale,
    least: f64,
}

impl Search<'_> {
    /// What unsigned codes and zero points are more than signed ones.
    fn half(&self) -> i16 {
        1 << (self.scheme.element.bits() - 1)
    }

    fn largest(&self) -> f64 {
        f64::from(2 * self.half() - 1)
    }

    /// Scale and unsigned zero point.
    fn best_so_far(&self) -> (f64, f64) {
        let zero_point = i16::from(self.best.zero_point) + self.half();
        (self.best.scale.into(), zero_point.into())
    }

    /// Takes a scale and an unsigned zero point if they are better. A scale may be no number.
    #[inline(always)]
    fn consider(&mut self, scale: f64, zero_point: f64) -> bool {
        let scale = self.kind.round(scale as f32);
        let is_scale = scale.is_finite() && scale > 0.0;
        if !is_scale || !(0.0..=self.largest()).contains(&zero_point) {
            return false;
        }
        let group = GroupScale { scale, zero_point: (zero_point as i16 - self.half()) as i8 };
        let error = self.of.error(group, self.scheme, self.kind);
        let is_better = error < self.least;
        if is_better {
            (self.best, self.least) = (group, error);
        }
        is_better
    }
}

/// The sum of partial sums.
#[inline(always)]
fn total(sums: [f64; LANES]) -> f64 {
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Arithmetic, Extent, Format};

    /// Scale and zero point with a search, and the weights that come of them.
    fn quantized(weights: &[f32], bits: u8, kind: FloatKind) -> (GroupScale, Vec<f32>) {
        let format = Format::Int { bits, group: Some(32), symmetric: false };
        let scheme = format.scheme(Arithmetic::OnnxRuntime).unwrap();
        let min = weights.iter().copied().fold(0.0, f32::min);
        let max = weights.iter().copied().fold(0.0, f32::max);
        let plain = scheme.scale(Extent { min, max }, kind);
        let mut group = Group::default();
        group.fill(weights.iter().copied(), 32);
        let best = group.best(plain, &scheme, kind);
        assert!(group.error(best, &scheme, kind) <= group.error(plain, &scheme, kind));
        let value = |weight: &f32| scheme.decode(scheme.encode(*weight, best, kind), best);
        (best, weights.iter().map(value).collect())
    }

    #[test]
    fn weights_of_one_magnitude_are_exact() {
        for kind in [FloatKind::F32, FloatKind::F16, FloatKind::Bf16] {
            for magnitude in [0.123, 2.0, 1e-3].map(|magnitude| kind.round(magnitude)) {
                for pattern in [&[1.0][..], &[-1.0], &[1.0, 0.0], &[-1.0, 0.0, 1.0, 1.0]] {
                    let weights: Vec<f32> =
                        (0..32).map(|i| magnitude * pattern[i % pattern.len()]).collect();
                    for bits in [4, 8] {
                        let (_, values) = quantized(&weights, bits, kind);
                        assert_eq!(values, weights, "{bits} bits {kind:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn groups_on_one_side_of_zero_do_not_saturate() {
        for sign in [1.0, -1.0] {
            let weights: Vec<f32> = (0u8..32).map(|i| sign * (0.5 + f32::from(i) / 64.0)).collect();
            let (_, values) = quantized(&weights, 4, FloatKind::F32);
            let worst = weights.iter().zip(&values).map(|(x, value)| (x - value).abs());
            assert!(worst.fold(0.0, f32::max) < 0.05);
        }
    }

    #[test]
    fn zeros_and_the_ends_of_f32_have_scales() {
        let (group, values) = quantized(&[0.0; 32], 4, FloatKind::F32);
        assert_eq!((group.scale, values), (0.0, vec![0.0; 32]));
        for magnitude in [f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1)] {
            let weights: Vec<f32> =
                (0..32).map(|i| if i % 3 == 0 { magnitude } else { -magnitude }).collect();
            let (group, _) = quantized(&weights, 8, FloatKind::F32);
            assert!(group.scale.is_finite());
        }
    }

    #[test]
    fn a_short_group_is_as_if_zeros_followed() {
        let weights: Vec<f32> = (0u8..11).map(|i| (f32::from(i) * 0.7).sin()).collect();
        let padded: Vec<f32> = weights.iter().copied().chain([0.0; 21]).collect();
        let (short, long) =
            (quantized(&weights, 4, FloatKind::F16), quantized(&padded, 4, FloatKind::F16));
        assert_eq!(short.0, long.0);
        assert_eq!(short.1, long.1[..11]);
    }
}
