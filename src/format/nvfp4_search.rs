//! NVFP4 block scales that are searched for, as ModelOpt 0.47 does it without data.
//!
//! For each block several magnitudes m are tried in place of its amax a. Every operation is rounded
//! once to f32, and M and the rounding of stored scales are those of [`Rule::Static`]:
//!
//! ```text
//! mse             m = a · k for 39 k from 0.25 to 4                      M = 448
//! four-over-six   m = a · 1, a · 1.5                                     M = 256
//! sweep           m = amax · (c / 448) for each E4M3 scale c             M = 448
//!
//! unit  = 1 / (amax · (448 / M) / 6) · 448; 448 where the divisor is at most 2⁻²⁴
//! trial = e4m3(m / 6 · unit) · (1 / unit); 1 where it is 0
//! error = Σ (|w| − e2m1(|w| / trial) · trial)²
//! ```
//!
//! The sum is taken in the order of [`sum_of_block`]. The first of the least errors wins, and the
//! stored scale is that of a block whose amax is m.
//!
//! In compressed-tensors' arithmetic a sweep tries the steps that scales have when they are stored.

use super::ScaleSearch;
use super::nvfp4::{BLOCK_LEN, Rule, Scaling, encode};
use crate::numeric::{FloatKind, e2m1, e4m3};

/// Scale codes that a trial may have: 0 to that of 448.
pub const TRIAL_CODES: usize = e4m3::MAX_CODE as usize + 1;

/// Multiples that `mse` tries.
const MSE_MULTIPLES: usize = 39;

/// What is tried for each block of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// The scales of the tensor, under the rule that searched scales are stored by.
    pub scaling: Scaling,
    /// The trials, in order.
    pub trials: Trials,
    /// What one unit of a code is worth while the error is taken, for each code of a trial scale.
    pub steps: [f32; TRIAL_CODES],
    unit: f32,
}

/// The trials of a block.
#[derive(Debug, Clone, PartialEq)]
pub enum Trials {
    /// Multiples of its amax.
    Multiples(Vec<f32>),
    /// The same for all blocks: code of the trial scale, and code of the stored one.
    Scales(Vec<(u8, u8)>),
}

impl Search {
    /// What `search` tries for weights of type `kind` of a tensor, or of a scale group, whose
    /// largest magnitude is `amax`; `None` where nothing is tried. `rule` is that of scales which
    /// are not searched for.
    pub fn new(search: ScaleSearch, rule: Rule, kind: FloatKind, amax: f32) -> Option<Self> {
        if matches!(search, ScaleSearch::Max | ScaleSearch::KQuant | ScaleSearch::NoClipping) {
            return None;
        }
        let codes = 1..TRIAL_CODES as u8;
        if rule == Rule::CompressedTensors {
            let scaling = Scaling::new(rule, kind, amax);
            let steps = std::array::from_fn(|code| scaling.step(code as u8));
            let trials = Trials::Scales(codes.map(|code| (code, code)).collect());
            return Some(Self { scaling, trials, steps, unit: 1.0 });
        }

        let largest = if search == ScaleSearch::FourOverSix { 256 } else { 448 };
        let scaling = Scaling::new(Rule::Static { largest }, kind, amax);
        let of_amax = amax * (e4m3::MAX / f32::from(largest)) / e2m1::MAX;
        let is_tiny = of_amax <= 1.0 / 16_777_216.0;
        let overflows = !of_amax.is_finite();
        let unit = if is_tiny || overflows { e4m3::MAX } else { 1.0 / of_amax * e4m3::MAX };
        let steps = std::array::from_fn(|code| {
            let step = e4m3::decode(code as u8) * (1.0 / unit);
            if step == 0.0 { 1.0 } else { step }
        });
        let mut search_of = Self { scaling, trials: Trials::Multiples(Vec::new()), steps, unit };
        search_of.trials = match search {
            // No trial has an error then, and the first one stands.
            ScaleSearch::FourOverSix if overflows => Trials::Multiples(vec![1.0]),
            ScaleSearch::FourOverSix => Trials::Multiples(vec![1.0, 1.5]),
            ScaleSearch::Sweep => Trials::Scales(
                codes
                    .map(|code| search_of.codes(amax * (e4m3::decode(code) / e4m3::MAX)))
                    .collect(),
            ),
            ScaleSearch::Mse | ScaleSearch::Max | ScaleSearch::KQuant | ScaleSearch::NoClipping => {
                Trials::Multiples(mse_multiples())
            }
        };
        Some(search_of)
    }

    /// The codes of the trial scale and of the stored scale, where `magnitude` is tried.
    #[inline(always)]
    pub fn codes(&self, magnitude: f32) -> (u8, u8) {
        (self.trial_code(magnitude), self.scaling.block_scale(magnitude))
    }

    /// The code of the trial scale for a magnitude. Monotone.
    #[inline(always)]
    pub fn trial_code(&self, magnitude: f32) -> u8 {
        e4m3::encode((magnitude / e2m1::MAX * self.unit).min(e4m3::MAX))
    }

    /// Number of trials.
    pub fn len(&self) -> usize {
        match &self.trials {
            Trials::Multiples(multiples) => multiples.len(),
            Trials::Scales(scales) => scales.len(),
        }
    }

    /// Whether nothing is tried; there always is something.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The codes of trial `i` for a block of this amax.
    #[inline(always)]
    pub fn trial(&self, i: usize, block_amax: f32) -> (u8, u8) {
        match &self.trials {
            Trials::Multiples(multiples) => self.codes(block_amax * multiples[i]),
            Trials::Scales(scales) => scales[i],
        }
    }

    /// A trial that is often among the best for a block of this amax: a place to start at.
    #[inline(always)]
    pub fn likely_trial(&self, block_amax: f32) -> usize {
        match &self.trials {
            Trials::Multiples(multiples) => multiples.len() / 5,
            Trials::Scales(_) => usize::from(self.scaling.block_scale(block_amax)) - 1,
        }
    }

    /// The code of the stored scale of a block.
    pub fn block_scale(&self, weights: &[f32; BLOCK_LEN]) -> u8 {
        let block_amax = weights.iter().fold(0f32, |amax, w| amax.max(w.abs()));
        let (mut least, mut best) = (f32::INFINITY, None);
        for i in 0..self.len() {
            let (trial, stored) = self.trial(i, block_amax);
            let error = sum_of_block(weights.map(|w| error(w, self.steps[usize::from(trial)])));
            if best.is_none() || error < least {
                (least, best) = (error, Some(stored));
            }
        }
        best.unwrap_or_else(|| self.scaling.block_scale(block_amax))
    }
}

/// The squared error of one weight under a step.
#[inline(always)]
pub fn error(weight: f32, step: f32) -> f32 {
    let magnitude = weight.abs();
    let difference = magnitude - e2m1::decode(encode(magnitude, step)) * step;
    difference * difference
}

/// A sum over a block in f32: halves of the block added weight by weight, then neighbours, and
/// neighbours of those.
#[inline(always)]
pub fn sum_of_block(errors: [f32; BLOCK_LEN]) -> f32 {
    let mut eight = [0f32; BLOCK_LEN / 2];
    for i in 0..BLOCK_LEN / 2 {
        eight[i] = errors[i] + errors[i + BLOCK_LEN / 2];
    }
    let [a, b, c, d, e, f, g, h] = eight;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

/// The multiples of `torch.linspace(0.25, 4, 39)`, which counts from each end to the middle.
fn mse_multiples() -> Vec<f32> {
    let (first, last) = (0.25, 4.0);
    let step = f64::from((4.0f32 - 0.25) / (MSE_MULTIPLES as f32 - 1.0));
    let multiple = |i: usize| match i < MSE_MULTIPLES / 2 {
        true => first + step * i as f64,
        false => last - step * (MSE_MULTIPLES - 1 - i) as f64,
    };
    (0..MSE_MULTIPLES).map(|i| multiple(i) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(weights: &[f32; BLOCK_LEN], scaling: &Scaling, code: u8) -> f64 {
        let step = scaling.step(code);
        let error = |w: &f32| f64::from(w.abs() - e2m1::decode(encode(w.abs(), step)) * step);
        weights.iter().map(|w| error(w).powi(2)).sum()
    }

    #[test]
    fn a_block_that_fits_four_better_gets_the_scale_of_four() {
        let search =
            Search::new(ScaleSearch::FourOverSix, Rule::Dynamic, FloatKind::F32, 6.0).unwrap();
        // 4, 3, 2, 1.5, 1 of a step of 1: exact under 4, and not under 6.
        let mut four = [0.0; BLOCK_LEN];
        four[..5].copy_from_slice(&[4.0, 3.0, 2.0, 1.5, 1.0]);
        let (as_six, as_four) = (search.codes(4.0).1, search.codes(6.0).1);
        assert_ne!(as_six, as_four);
        assert_eq!(search.block_scale(&four), as_four);
        let mut six = [0.0; BLOCK_LEN];
        six[..4].copy_from_slice(&[6.0, 3.0, 2.0, 4.0]);
        assert_eq!(search.block_scale(&six), search.codes(6.0).1);
    }

    #[test]
    fn a_sweep_is_never_worse_than_the_amax() {
        for rule in [Rule::Dynamic, Rule::CompressedTensors] {
            let amax = 3.7;
            let search = Search::new(ScaleSearch::Sweep, rule, FloatKind::F32, amax).unwrap();
            let plain = Scaling::new(rule, FloatKind::F32, amax);
            let mut bits = 1u32;
            for _ in 0..200 {
                let weights: [f32; BLOCK_LEN] = std::array::from_fn(|_| {
                    bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (bits >> 8) as f32 / 16_777_216.0 - 0.5
                });
                let block_amax = weights.iter().fold(0f32, |amax, w| amax.max(w.abs()));
                let by_amax = error_of(&weights, &plain, plain.block_scale(block_amax));
                let swept = error_of(&weights, &search.scaling, search.block_scale(&weights));
                assert!(swept <= by_amax * (1.0 + 1e-5), "{swept} > {by_amax}");
            }
        }
    }

    #[test]
    fn of_equal_errors_the_first_trial_wins() {
        // Zeros have no error under any scale.
        let sweep = Search::new(ScaleSearch::Sweep, Rule::Dynamic, FloatKind::F32, 1.0).unwrap();
        assert_eq!(sweep.block_scale(&[0.0; BLOCK_LEN]), 1);
        let mse = Search::new(ScaleSearch::Mse, Rule::Dynamic, FloatKind::F32, 1.0).unwrap();
        assert_eq!(mse.block_scale(&[0.0; BLOCK_LEN]), mse.scaling.zero_block_scale());
    }

    #[test]
    fn the_sum_has_an_order() {
        let mut errors = [1.0; BLOCK_LEN];
        errors[0] = 16_777_216.0;
        // 1 is lost when it is added to 2²⁴ alone.
        assert_eq!(sum_of_block(errors), 16_777_216.0 + 14.0);
    }

    #[test]
    fn multiples_reach_from_a_quarter_to_four() {
        let multiples = mse_multiples();
        assert_eq!((multiples[0], multiples[38], multiples.len()), (0.25, 4.0, 39));
        assert!(multiples.is_sorted());
        assert!(Search::new(ScaleSearch::Max, Rule::Dynamic, FloatKind::F32, 1.0).is_none());
    }
}
