//! E4M3 (`float8_e4m3fn`): sign, 4 exponent bits (bias 7), 3 mantissa bits.
//!
//! No infinity. Largest finite value 448, smallest normal 2⁻⁶, smallest subnormal 2⁻⁹, NaN at
//! codes 0x7F and 0xFF.

use super::rounding;

/// Largest finite magnitude.
pub const MAX: f32 = 448.0;

/// Smallest magnitude above zero, 2⁻⁹.
pub const MIN_SUBNORMAL: f32 = 1.0 / 512.0;

/// The code of [`MAX`].
pub const MAX_CODE: u8 = 0x7E;

/// The first code whose value is a normal number, 2⁻⁶. Codes 1 to 7 are subnormal.
pub const FIRST_NORMAL_CODE: u8 = 0x08;

const NAN_CODE: u8 = 0x7F;

/// The smallest normal magnitude.
const FIRST_NORMAL: f32 = 1.0 / 64.0;

/// Rounds to nearest, ties to even; overflow and infinities saturate to ±448; NaN keeps its sign
/// and becomes 0x7F or 0xFF. The sign of zero is kept.
///
/// The behaviour of PyTorch's `to(torch.float8_e4m3fn)` from version 2.15 on.
#[inline(always)]
pub fn encode(value: f32) -> u8 {
    encode_and_round(value).0
}

/// The code of a value, and what it stands for, as [`decode`] has it.
#[inline(always)]
pub fn encode_and_round(value: f32) -> (u8, f32) {
    /// What brings the exponents of E4M3 to the lowest ones of f32.
    const TO_LOWEST: f32 = f32::from_bits((127 - 120) << 23);
    let bits = value.to_bits();
    let (sign, magnitude) = (bits & 0x8000_0000, bits & 0x7FFF_FFFF);
    // Patterns of magnitudes order like their values, and NaN is above all.
    let nan = magnitude > 0x7F80_0000;
    let clamped = magnitude.min(MAX.to_bits());
    let rounded = rounding::to_mantissa(f32::from_bits(clamped), 3, FIRST_NORMAL);
    let code = (rounded * TO_LOWEST).to_bits() >> 20;
    let code = if nan { u32::from(NAN_CODE) } else { code };
    let number = if nan { f32::NAN } else { rounded };
    ((sign >> 24 | code) as u8, f32::from_bits(number.to_bits() | sign))
}

/// The exact value of a code.
#[inline(always)]
pub fn decode(code: u8) -> f32 {
    /// What brings the lowest exponents of f32 to those of E4M3.
    const FROM_LOWEST: f32 = f32::from_bits((127 + 120) << 23);
    let code = u32::from(code);
    let (sign, magnitude) = ((code & 0x80) << 24, code & 0x7F);
    let number = f32::from_bits(magnitude << 20) * FROM_LOWEST;
    let number = if magnitude == u32::from(NAN_CODE) { f32::NAN } else { number };
    f32::from_bits(number.to_bits() | sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a finite non-negative code from the definition of the type, in f64.
    fn value_by_definition(code: u8) -> f64 {
        let (exponent, mantissa) = (i32::from(code >> 3), f64::from(code & 7));
        if exponent == 0 {
            mantissa / 8.0 * 2f64.powi(-6)
        } else {
            (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7)
        }
    }

    #[test]
    fn all_codes_decode_to_their_definition() {
        for code in 0..=MAX_CODE {
            let expected = value_by_definition(code) as f32;
            assert_eq!(decode(code).to_bits(), expected.to_bits(), "code {code:#04x}");
            assert_eq!(decode(code | 0x80).to_bits(), (-expected).to_bits());
        }
        assert!(decode(0x7F).is_nan() && decode(0xFF).is_nan());
        assert!(decode(0xFF).is_sign_negative());
    }

    #[test]
    fn every_code_survives_a_round_trip() {
        for code in 0..=u8::MAX {
            assert_eq!(encode(decode(code)), code, "code {code:#04x}");
        }
    }

    #[test]
    fn midpoints_go_to_the_even_code_and_their_neighbours_do_not() {
        for code in 0..MAX_CODE {
            let midpoint =
                ((value_by_definition(code) + value_by_definition(code + 1)) / 2.0) as f32;
            let even = code + (code & 1);
            assert_eq!(encode(midpoint), even, "tie above code {code:#04x}");
            assert_eq!(encode(-midpoint), even | 0x80);
            assert_eq!(encode(midpoint.next_down()), code);
            assert_eq!(encode(midpoint.next_up()), code + 1);
        }
    }

    #[test]
    fn what_is_rounded_is_what_the_code_stands_for() {
        for pattern in 0..=u16::MAX {
            let value = half::bf16::from_bits(pattern).to_f32();
            let (code, number) = encode_and_round(value);
            let expected = decode(code);
            let same = number.to_bits() == expected.to_bits();
            assert!(same || (number.is_nan() && expected.is_nan()), "{value:e}");
        }
    }

    #[test]
    fn every_bf16_and_f16_goes_to_the_nearest_code() {
        let table: Vec<f64> = (0..=MAX_CODE).map(value_by_definition).collect();
        let nearest = |value: f32| -> u8 {
            let magnitude = f64::from(value.abs());
            let above = table.partition_point(|&v| v < magnitude).min(usize::from(MAX_CODE));
            let below = above.saturating_sub(1);
            let (down, up) = (magnitude - table[below], table[above] - magnitude);
            let code = if down < up || (down == up && below % 2 == 0) { below } else { above };
            code as u8 | if value.is_sign_negative() { 0x80 } else { 0 }
        };
        for pattern in 0..=u16::MAX {
            for value in
                [half::bf16::from_bits(pattern).to_f32(), half::f16::from_bits(pattern).to_f32()]
            {
                if value.is_nan() {
                    assert_eq!(encode(value) & 0x7F, NAN_CODE);
                } else {
                    assert_eq!(encode(value), nearest(value), "value {value:e}");
                }
            }
        }
    }

    #[test]
    fn overflow_saturates_and_underflow_reaches_zero() {
        for value in [448.0, 448.1, 464.0, 480.0, 1e30, f32::MAX, f32::INFINITY] {
            assert_eq!(encode(value), MAX_CODE);
            assert_eq!(encode(-value), MAX_CODE | 0x80);
        }
        assert_eq!(encode(MIN_SUBNORMAL / 2.0), 0, "the tie between 0 and 2⁻⁹ is even");
        assert_eq!(encode((MIN_SUBNORMAL / 2.0).next_up()), 1);
        assert_eq!(encode(f32::from_bits(1)), 0);
        assert_eq!(encode(-0.0), 0x80);
    }
}
