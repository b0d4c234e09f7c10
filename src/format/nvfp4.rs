//! NVFP4: 16 E2M1 codes under an E4M3 block scale, and one f32 global scale for the tensor.
//!
//! The tools agree on that and differ in how they round the scales ([`Rule`]). Every operation is
//! rounded once to f32, and D(x) is rounding to the weights' own type:
//!
//! ```text
//! ModelOpt 0.47, dynamic     global = amax / 2688                          2688 = 6·448
//!                            s      = block_amax / (6·global); 0 becomes 1; clamped to [2⁻⁹, 448]
//! ModelOpt 0.47, static      global = amax / (6·M)                         M = 448 or 256
//!                            s      = block_amax / 6; 0 becomes 1; then s·M / (amax / 6); clamped
//! both                       step   = e4m3(s) · global
//!
//! compressed-tensors 0.20    global = D(D(1 / amax) · 2688), for f16 weights without rounding to f16
//!                            s      = global · D(block_amax / 6), at most 448; where its code is 0,
//!                                     0.125
//!                            step   = e4m3(s) / global
//!
//! all                        code   = E2M1 of weight / step, nearest even, saturating
//! ```
//!
//! `amax` is that of the tensor, or of its scale group; E4M3 rounds to nearest even.
//!
//! One difference: where ModelOpt's global scale would be 0 (a tensor of zeros, or of f32 values
//! below 2⁻¹³⁸) it divides zero by zero and stores NaN scales. Here the global scale is then the
//! smallest number above zero, so zeros get scale 1 and code 0, and no stored scale is ever NaN or
//! zero.

use crate::numeric::{FloatKind, e2m1, e4m3};

/// Weights that share a block scale.
pub const BLOCK_LEN: usize = 16;

/// Bytes of packed codes in a block.
pub const BLOCK_BYTES: usize = BLOCK_LEN / 2;

/// The scale code that means 1.0.
const ONE: u8 = 0x38;

/// The scale code that means 0.125.
const EIGHTH: u8 = 0x20;

/// How scales follow from magnitudes, and what the stored global scale means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// ModelOpt's dynamic block scales.
    Dynamic,
    /// ModelOpt's static block scales, under a global scale that leaves room above them.
    Static {
        /// The E4M3 value that the largest block scale becomes: 448 or 256.
        largest: u16,
    },
    /// compressed-tensors' block scales. The stored global scale is a divisor.
    CompressedTensors,
}

/// The scales of one tensor: all that quantizing a block needs to know of the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    /// How scales are rounded.
    pub rule: Rule,
    /// The type of the weights.
    pub kind: FloatKind,
    /// Largest magnitude of the tensor, or of its scale group; 0 where it is not known, as of a
    /// stored tensor.
    pub amax: f32,
    /// The global scale as it is stored.
    pub global_scale: f32,
}

impl Scaling {
    /// For weights of type `kind` whose largest magnitude is `amax`.
    pub fn new(rule: Rule, kind: FloatKind, amax: f32) -> Self {
        let above_zero = |scale: f32| scale.max(f32::from_bits(1));
        let global_scale = match rule {
            Rule::Dynamic => above_zero(amax / (e2m1::MAX * e4m3::MAX)),
            Rule::Static { largest } => above_zero(amax / (e2m1::MAX * f32::from(largest))),
            Rule::CompressedTensors => {
                // The library's own f16 arithmetic overflows for small magnitudes.
                let kind = if kind == FloatKind::F16 { FloatKind::F32 } else { kind };
                let reciprocal = kind.round(1.0 / amax.max(f32::MIN_POSITIVE));
                let scale = kind.round(reciprocal * (e2m1::MAX * e4m3::MAX));
                if scale.is_finite() { scale } else { 1.0 }
            }
        };
        Self { rule, kind, amax, global_scale }
    }

    /// Of a stored tensor: only [`Scaling::step`] has a meaning.
    pub const fn stored(rule: Rule, kind: FloatKind, global_scale: f32) -> Self {
        Self { rule, kind, amax: 0.0, global_scale }
    }

    /// The E4M3 code of the scale of a block whose largest magnitude is `block_amax`. Never 0, never
    /// NaN, never negative.
    #[inline(always)]
    pub fn block_scale(&self, block_amax: f32) -> u8 {
        match self.nonzero_block_scale(block_amax) {
            0 => self.zero_block_scale(),
            code => code,
        }
    }

    /// The same, where 0 stands for "a block of zeros, or as good as that". Monotone.
    #[inline(always)]
    pub fn nonzero_block_scale(&self, block_amax: f32) -> u8 {
        let clamped = |scale: f32| e4m3::encode(scale.clamp(e4m3::MIN_SUBNORMAL, e4m3::MAX));
        match self.rule {
            Rule::Dynamic => {
                let scale = block_amax / (e2m1::MAX * self.global_scale);
                if scale == 0.0 { 0 } else { clamped(scale) }
            }
            Rule::Static { .. } => {
                let scale = block_amax / e2m1::MAX;
                if scale == 0.0 { 0 } else { clamped(self.static_scale(scale)) }
            }
            Rule::CompressedTensors => {
                let scale = self.global_scale * self.kind.round(block_amax / e2m1::MAX);
                e4m3::encode(scale.min(e4m3::MAX))
            }
        }
    }

    /// The scale code of a block of zeros.
    #[inline(always)]
    pub fn zero_block_scale(&self) -> u8 {
        match self.rule {
            Rule::Dynamic => ONE,
            Rule::Static { .. } if self.amax == 0.0 => ONE,
            Rule::Static { .. } => {
                e4m3::encode(self.static_scale(1.0).clamp(e4m3::MIN_SUBNORMAL, e4m3::MAX))
            }
            Rule::CompressedTensors => EIGHTH,
        }
    }

    fn static_scale(&self, scale: f32) -> f32 {
        let largest = match self.rule {
            Rule::Static { largest } => f32::from(largest),
            _ => e4m3::MAX,
        };
        scale * largest / (self.amax / e2m1::MAX)
    }

    /// What one unit of a code is worth in a block with this scale code.
    #[inline(always)]
    pub fn step(&self, scale_code: u8) -> f32 {
        let scale = e4m3::decode(scale_code);
        match self.rule {
            Rule::Dynamic | Rule::Static { .. } => scale * self.global_scale,
            Rule::CompressedTensors => scale / self.global_scale,
        }
    }
}

/// The 4-bit code of a weight.
#[inline(always)]
pub fn encode(weight: f32, step: f32) -> u8 {
    encode_and_round(weight, step).0
}

/// The 4-bit code of a weight, and the weight that it stands for, as [`decode`] has it.
#[inline(always)]
pub fn encode_and_round(weight: f32, step: f32) -> (u8, f32) {
    let (code, number) = e2m1::encode_and_round(weight / step);
    (code, number * step)
}

/// Whether a weight lies within half a step of what a code stands for: whether it gets that code, or
/// the other zero. Beyond the largest number of a code it may be a step away.
#[inline(always)]
pub fn matches(weight: f32, code: u8, step: f32) -> bool {
    e2m1::decode(encode(weight, step)) == e2m1::decode(code) && reaches(weight, step)
}

/// Whether a weight is at most a step beyond the largest number of a code.
#[inline(always)]
pub fn reaches(weight: f32, step: f32) -> bool {
    (weight / step).abs() <= e2m1::MAX + 2.0
}

/// The weight that a 4-bit code stands for, rounded once to f32.
#[inline(always)]
pub fn decode(code: u8, step: f32) -> f32 {
    e2m1::decode(code) * step
}

/// Quantizes one block: its scale code, and its codes packed two a byte, even element in the low
/// nibble.
pub fn quantize_block(weights: &[f32; BLOCK_LEN], scaling: &Scaling) -> (u8, [u8; BLOCK_BYTES]) {
    let amax = weights.iter().fold(0f32, |amax, w| amax.max(w.abs()));
    let scale_code = scaling.block_scale(amax);
    let step = scaling.step(scale_code);
    let packed = std::array::from_fn(|i| {
        encode(weights[2 * i], step) | (encode(weights[2 * i + 1], step) << 4)
    });
    (scale_code, packed)
}

/// Dequantizes one block of packed codes.
#[inline(always)]
pub fn dequantize_block(packed: &[u8; BLOCK_BYTES], step: f32) -> [f32; BLOCK_LEN] {
    // A plain loop: the compiler vectorises it in place, where `from_fn` may stay a call.
    let mut values = [0.0; BLOCK_LEN];
    for i in 0..BLOCK_BYTES {
        values[2 * i] = decode(packed[i], step);
        values[2 * i + 1] = decode(packed[i] >> 4, step);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dynamic(amax: f32) -> Scaling {
        Scaling::new(Rule::Dynamic, FloatKind::F32, amax)
    }

    #[test]
    fn a_block_of_exact_values_is_exact() {
        let scaling = dynamic(6.0 * 448.0);
        assert_eq!(scaling.global_scale, 1.0);
        let weights: [f32; BLOCK_LEN] = std::array::from_fn(|i| e2m1::decode(i as u8) * e4m3::MAX);
        let (scale_code, packed) = quantize_block(&weights, &scaling);
        assert_eq!(scale_code, e4m3::MAX_CODE);
        // Code 8 is −0.0, whose code is 0.
        assert_eq!(packed, [0x10, 0x32, 0x54, 0x76, 0x90, 0xBA, 0xDC, 0xFE]);
        assert_eq!(dequantize_block(&packed, scaling.step(scale_code)), weights);
    }

    #[test]
    fn ties_go_to_the_even_code_on_both_sides_of_zero() {
        // block amax 6 under global scale 1 gives block scale 1, step 1.
        let mut weights = [0f32; BLOCK_LEN];
        let ties = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0];
        weights[..7].copy_from_slice(&ties);
        weights[7] = 6.0;
        weights[8..15].copy_from_slice(&ties.map(|t| -t));
        let (scale_code, packed) = quantize_block(&weights, &dynamic(6.0 * 448.0));
        assert_eq!(scale_code, ONE);
        let values = dequantize_block(&packed, 1.0);
        assert_eq!(values[..8], [0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0, 6.0]);
        assert_eq!(values[8..15], [-0.0, -1.0, -1.0, -2.0, -2.0, -4.0, -4.0]);
        assert_eq!(packed[4] & 0xF, e2m1::SIGN, "a negative that rounds to zero keeps its sign");
    }

    #[test]
    fn block_scales_saturate_at_both_ends_and_never_vanish() {
        let scaling = dynamic(1000.0);
        assert_eq!(scaling.block_scale(1000.0), e4m3::MAX_CODE);
        assert_eq!(scaling.block_scale(1e-20), 1, "the smallest scale, not zero");
        assert_eq!(scaling.block_scale(0.0), ONE);
        // The quotient underflows to zero: the rule for zero applies, as in ModelOpt.
        assert_eq!(dynamic(1e30).block_scale(f32::from_bits(1)), ONE);
    }

    #[test]
    fn zeros_get_scale_one_and_code_zero() {
        let scaling = dynamic(0.0);
        assert!(scaling.global_scale > 0.0 && scaling.global_scale.is_finite());
        assert_eq!(quantize_block(&[0.0; BLOCK_LEN], &scaling), (ONE, [0; BLOCK_BYTES]));
        assert_eq!(quantize_block(&[-0.0; BLOCK_LEN], &scaling), (ONE, [0; BLOCK_BYTES]));
    }

    #[test]
    fn scales_stay_finite_for_every_f32_magnitude() {
        for exponent in 0..255u32 {
            let amax = f32::from_bits((exponent << 23) | 0x0012_3457);
            let scaling = dynamic(amax);
            assert!(scaling.global_scale.is_finite() && scaling.global_scale > 0.0);
            for ratio in [1.0, 0.5, 1e-3, 1e-9] {
                let code = scaling.block_scale(amax * ratio);
                assert!((1..=e4m3::MAX_CODE).contains(&code));
                assert!(scaling.step(code).is_finite());
            }
        }
    }
}
