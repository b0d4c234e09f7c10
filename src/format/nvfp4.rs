//! NVFP4: 16 E2M1 codes under an E4M3 block scale, and one f32 global scale for the tensor.
//!
//! A weight reads as `code · block_scale · global_scale`. The arithmetic is that of ModelOpt 0.47
//! (`NVFP4QTensor`, dynamic block scales) on a CPU, every operation rounded once to f32:
//!
//! ```text
//! global_scale = amax / 2688                 amax of the tensor, or of its scale group; 2688 = 6·448
//! s            = block_amax / (6·global_scale); 0 becomes 1; clamped to [2⁻⁹, 448]; E4M3 nearest even
//! step         = e4m3(s) · global_scale
//! code         = E2M1 of weight / step, nearest even, saturating
//! ```
//!
//! One difference: where `amax / 2688` is 0 (a tensor of zeros, or of f32 values below 2⁻¹³⁸)
//! ModelOpt divides zero by zero and stores NaN scales. Here the global scale is then the smallest
//! number above zero, so zeros get scale 1 and code 0, and no stored scale is ever NaN or zero.

use crate::numeric::{e2m1, e4m3};

/// Weights that share a block scale.
pub const BLOCK_LEN: usize = 16;

/// Bytes of packed codes in a block.
pub const BLOCK_BYTES: usize = BLOCK_LEN / 2;

/// The scale code that means 1.0, given to blocks of zeros.
const ONE: u8 = 0x38;

/// The f32 scale of a tensor whose largest magnitude (over its scale group) is `amax`.
pub fn global_scale(amax: f32) -> f32 {
    (amax / (e2m1::MAX * e4m3::MAX)).max(f32::from_bits(1))
}

/// The E4M3 code of the scale of a block whose largest magnitude is `block_amax`. Never 0, never
/// NaN, never negative.
#[inline(always)]
pub fn block_scale(block_amax: f32, global_scale: f32) -> u8 {
    let scale = block_amax / (e2m1::MAX * global_scale);
    let code = e4m3::encode(scale.clamp(e4m3::MIN_SUBNORMAL, e4m3::MAX));
    if scale == 0.0 { ONE } else { code }
}

/// What one unit of a code is worth in a block: the f32 product of its two scales.
#[inline(always)]
pub fn step(scale_code: u8, global_scale: f32) -> f32 {
    e4m3::decode(scale_code) * global_scale
}

/// The 4-bit code of a weight.
#[inline(always)]
pub fn encode(weight: f32, step: f32) -> u8 {
    e2m1::encode_ties_even(weight / step)
}

/// The weight that a 4-bit code stands for, rounded once to f32.
#[inline(always)]
pub fn decode(code: u8, step: f32) -> f32 {
    e2m1::decode(code) * step
}

/// Quantizes one block: its scale code, and its codes packed two a byte, even element in the low
/// nibble.
pub fn quantize_block(weights: &[f32; BLOCK_LEN], global_scale: f32) -> (u8, [u8; BLOCK_BYTES]) {
    let amax = weights.iter().fold(0f32, |amax, w| amax.max(w.abs()));
    let scale_code = block_scale(amax, global_scale);
    let step = step(scale_code, global_scale);
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

    #[test]
    fn a_block_of_exact_values_is_exact() {
        let global = global_scale(6.0 * 448.0);
        assert_eq!(global, 1.0);
        let weights: [f32; BLOCK_LEN] = std::array::from_fn(|i| e2m1::decode(i as u8) * e4m3::MAX);
        let (scale_code, packed) = quantize_block(&weights, global);
        assert_eq!(scale_code, e4m3::MAX_CODE);
        // Code 8 is −0.0, whose code is 0.
        assert_eq!(packed, [0x10, 0x32, 0x54, 0x76, 0x90, 0xBA, 0xDC, 0xFE]);
        assert_eq!(dequantize_block(&packed, step(scale_code, global)), weights);
    }

    #[test]
    fn ties_go_to_the_even_code_on_both_sides_of_zero() {
        // block amax 6 under global scale 1 gives block scale 1, step 1.
        let mut weights = [0f32; BLOCK_LEN];
        let ties = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0];
        weights[..7].copy_from_slice(&ties);
        weights[7] = 6.0;
        weights[8..15].copy_from_slice(&ties.map(|t| -t));
        let (scale_code, packed) = quantize_block(&weights, 1.0);
        assert_eq!(scale_code, ONE);
        let values = dequantize_block(&packed, 1.0);
        assert_eq!(values[..8], [0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0, 6.0]);
        assert_eq!(values[8..15], [-0.0, -1.0, -1.0, -2.0, -2.0, -4.0, -4.0]);
        assert_eq!(packed[4] & 0xF, e2m1::SIGN, "a negative that rounds to zero keeps its sign");
    }

    #[test]
    fn block_scales_saturate_at_both_ends_and_never_vanish() {
        let global = global_scale(1000.0);
        assert_eq!(block_scale(1000.0, global), e4m3::MAX_CODE);
        assert_eq!(block_scale(1e-20, global), 1, "the smallest scale, not zero");
        assert_eq!(block_scale(0.0, global), ONE);
        // The quotient underflows to zero: the rule for zero applies, as in ModelOpt.
        assert_eq!(block_scale(f32::from_bits(1), global_scale(1e30)), ONE);
    }

    #[test]
    fn zeros_get_scale_one_and_code_zero() {
        let global = global_scale(0.0);
        assert!(global > 0.0 && global.is_finite());
        assert_eq!(quantize_block(&[0.0; BLOCK_LEN], global), (ONE, [0; BLOCK_BYTES]));
        assert_eq!(quantize_block(&[-0.0; BLOCK_LEN], global), (ONE, [0; BLOCK_BYTES]));
    }

    #[test]
    fn scales_stay_finite_for_every_f32_magnitude() {
        for exponent in 0..255u32 {
            let amax = f32::from_bits((exponent << 23) | 0x0012_3457);
            let global = global_scale(amax);
            assert!(global.is_finite() && global > 0.0);
            for ratio in [1.0, 0.5, 1e-3, 1e-9] {
                let code = block_scale(amax * ratio, global);
                assert!((1..=e4m3::MAX_CODE).contains(&code));
                assert!(step(code, global).is_finite());
            }
        }
    }
}
