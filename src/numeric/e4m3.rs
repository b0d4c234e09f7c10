//! E4M3 (`float8_e4m3fn`): sign, 4 exponent bits (bias 7), 3 mantissa bits.
//!
//! No infinity. Largest finite value 448, smallest normal 2⁻⁶, smallest subnormal 2⁻⁹, NaN at
//! codes 0x7F and 0xFF.

/// Largest finite magnitude.
pub const MAX: f32 = 448.0;

/// Smallest magnitude above zero, 2⁻⁹.
pub const MIN_SUBNORMAL: f32 = 1.0 / 512.0;

/// The code of [`MAX`].
pub const MAX_CODE: u8 = 0x7E;

/// The first code whose value is a normal number, 2⁻⁶. Codes 1 to 7 are subnormal.
pub const FIRST_NORMAL_CODE: u8 = 0x08;

const NAN_CODE: u8 = 0x7F;

/// Rounds to nearest, ties to even; overflow and infinities saturate to ±448; NaN keeps its sign
/// and becomes 0x7F or 0xFF. The sign of zero is kept.
///
/// The behaviour of PyTorch's `to(torch.float8_e4m3fn)` from version 2.15 on.
#[inline(always)]
pub fn encode(value: f32) -> u8 {
    let bits = value.to_bits();
    let sign = ((bits >> 24) & 0x80) as u8;
    let magnitude = bits & 0x7FFF_FFFF;

    // Normal results: drop 20 mantissa bits, nearest even, then move the exponent bias 127 → 7.
    let rounded = magnitude.saturating_add(0x7_FFFF + ((magnitude >> 20) & 1)) >> 20;
    let normal = rounded.saturating_sub(120 << 3).min(u32::from(MAX_CODE));

    // Subnormal results: adding 2¹⁴, whose unit in the last place is 2⁻⁹, makes the hardware
    // round to a multiple of 2⁻⁹ to nearest even; the count of such units is the code.
    let subnormal = (f32::from_bits(magnitude) + 16384.0).to_bits() & 0xF;

    let code = if magnitude > 0x7F80_0000 {
        u32::from(NAN_CODE)
    } else if magnitude < 0x3C80_0000 {
        subnormal
    } else {
        normal
    };
    sign | code as u8
}

/// The exact value of a code.
#[inline(always)]
pub fn decode(code: u8) -> f32 {
    let sign = u32::from(code & 0x80) << 24;
    let exponent = u32::from(code >> 3) & 0xF;
    let mantissa = u32::from(code & 7);
    let magnitude = if code & 0x7F == NAN_CODE {
        f32::NAN
    } else if exponent == 0 {
        mantissa as f32 * MIN_SUBNORMAL
    } else {
        f32::from_bits(((exponent + 120) << 23) | (mantissa << 20))
    };
    f32::from_bits(magnitude.to_bits() | sign)
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
