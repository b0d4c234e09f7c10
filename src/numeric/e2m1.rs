//! E2M1: sign, 2 exponent bits (bias 1), 1 mantissa bit. No infinity, no NaN, largest value 6.

use super::rounding;

/// Magnitudes of codes 0 to 7.
pub const MAGNITUDES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

/// Largest magnitude.
pub const MAX: f32 = 6.0;

/// The sign bit of a 4-bit code.
pub const SIGN: u8 = 8;

/// Rounds to the nearest code, ties to the even one, saturating at ±6.
///
/// The sign bit is set for values below zero, also when the magnitude rounds to 0, and clear for
/// −0.0. NaN gives 7. Both are what ModelOpt's NVFP4 cast does.
#[inline(always)]
pub fn encode_ties_even(value: f32) -> u8 {
    encode_and_round(value).0
}

/// The code of [`encode_ties_even`], and what it stands for, as [`decode`] has it.
#[inline(always)]
pub fn encode_and_round(value: f32) -> (u8, f32) {
    /// The pattern of the power of two that rounds magnitudes below 2, without the last 22 bits.
    const LOWEST: u32 = (127 + 22) << 1;
    // Patterns of magnitudes order like their values, and NaN is above all.
    let clamped = (value.to_bits() & 0x7FFF_FFFF).min(MAX.to_bits());
    let (sum, power) = rounding::rounding_sum(f32::from_bits(clamped), 1, 1.0);
    let rounded = sum - power;
    // Units in the last place, which are the lowest byte of the sum, and two for each doubling of them.
    let code = sum.to_bits() + (power.to_bits() >> 22) - LOWEST;
    let sign = if value < 0.0 { 0x8000_0000 } else { 0 };
    ((code | sign >> 28) as u8, f32::from_bits(rounded.to_bits() | sign))
}

/// Rounds to nearest, ties towards zero. The sign bit is set for everything that is not above zero,
/// zero included: what ModelOpt's MXFP4 cast does.
#[inline(always)]
pub fn encode_ties_down(value: f32) -> u8 {
    let m = value.abs();
    let magnitude = u8::from(m > 0.25)
        + u8::from(m > 0.75)
        + u8::from(m > 1.25)
        + u8::from(m > 1.75)
        + u8::from(m > 2.5)
        + u8::from(m > 3.5)
        + u8::from(m > 5.0);
    magnitude | if value > 0.0 { 0 } else { SIGN }
}

/// The exact value of a 4-bit code; bits above the low four are ignored.
#[inline(always)]
pub fn decode(code: u8) -> f32 {
    let magnitude = magnitude(u32::from(code & 7)).to_bits();
    f32::from_bits(magnitude | (u32::from(code & SIGN) << 28))
}

/// The magnitude of a code from 0 to 7.
#[inline(always)]
pub fn magnitude(code: u32) -> f32 {
    // Bit fields instead of a look-up in `MAGNITUDES`, so that loops over codes vectorise: from
    // code 2 (1.0) on, the code holds the lowest exponent bits and the first mantissa bit of f32.
    let half = 0.5f32.to_bits();
    f32::from_bits(if code < 2 { code * half } else { half + (code << 22) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decode_to_the_magnitudes() {
        for (code, magnitude) in (0..).zip(MAGNITUDES) {
            assert_eq!(decode(code).to_bits(), magnitude.to_bits());
            assert_eq!(decode(code | SIGN).to_bits(), (-magnitude).to_bits());
        }
    }

    #[test]
    fn every_code_survives_a_round_trip_but_minus_zero() {
        for code in 0..16 {
            let expected = if code == SIGN { 0 } else { code };
            assert_eq!(encode_ties_even(decode(code)), expected);
        }
    }

    #[test]
    fn midpoints_go_to_the_even_code_on_both_sides_of_zero() {
        for code in 0..7u8 {
            let midpoint =
                (MAGNITUDES[usize::from(code)] + MAGNITUDES[usize::from(code) + 1]) / 2.0;
            let even = code + (code & 1);
            assert_eq!(encode_ties_even(midpoint), even);
            assert_eq!(encode_ties_even(-midpoint), even | SIGN);
            assert_eq!(encode_ties_even(midpoint.next_down()), code);
            assert_eq!(encode_ties_even(midpoint.next_up()), code + 1);
        }
    }

    #[test]
    fn the_other_rule_takes_midpoints_towards_zero_and_signs_zero() {
        for code in 0..7u8 {
            let midpoint =
                (MAGNITUDES[usize::from(code)] + MAGNITUDES[usize::from(code) + 1]) / 2.0;
            assert_eq!(encode_ties_down(midpoint), if midpoint > 0.0 { code } else { SIGN });
            assert_eq!(encode_ties_down(-midpoint), code | SIGN);
            assert_eq!(encode_ties_down(midpoint.next_up()), code + 1);
        }
        assert_eq!(encode_ties_down(0.0), SIGN);
        assert_eq!(encode_ties_down(-0.0), SIGN);
        assert_eq!(encode_ties_down(1e9), 7);
    }

    #[test]
    fn signs_of_zero_tiny_and_saturated_values() {
        assert_eq!(encode_ties_even(-0.0), 0);
        assert_eq!(encode_ties_even(-f32::from_bits(1)), SIGN);
        assert_eq!(encode_ties_even(f32::INFINITY), 7);
        assert_eq!(encode_ties_even(-6.1), 7 | SIGN);
        assert_eq!(encode_ties_even(f32::NAN), 7);
        assert_eq!(encode_ties_even(-f32::NAN), 7);
    }

    #[test]
    fn what_is_rounded_is_what_the_code_stands_for() {
        for pattern in 0..=u16::MAX {
            let value = half::bf16::from_bits(pattern).to_f32();
            let (code, number) = encode_and_round(value);
            assert_eq!(number.to_bits(), decode(code).to_bits(), "{value:e}");
        }
    }

    #[test]
    fn every_bf16_goes_to_the_nearest_code() {
        for pattern in 0..=u16::MAX {
            let value = half::bf16::from_bits(pattern).to_f32();
            if value.is_nan() {
                continue;
            }
            let got = decode(encode_ties_even(value));
            let error = (f64::from(value.abs().min(MAX)) - f64::from(got.abs())).abs();
            for magnitude in MAGNITUDES {
                assert!(error <= (f64::from(value.abs().min(MAX)) - f64::from(magnitude)).abs());
            }
        }
    }
}
