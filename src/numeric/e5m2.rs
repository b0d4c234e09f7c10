//! E5M2 (`float8_e5m2`): sign, 5 exponent bits (bias 15), 2 mantissa bits: the upper half of an f16.
//!
//! Infinities at codes 0x7C and 0xFC, NaN above them. Largest finite value 57344, smallest normal 2⁻¹⁴,
//! smallest subnormal 2⁻¹⁶. No format here stores it; it is there to be compared with.

use half::f16;

/// Largest finite magnitude.
pub const MAX: f32 = 57344.0;

/// Rounds to nearest, ties to even; what rounds beyond the largest number becomes an infinity. NaN
/// becomes 0x7F with its sign.
///
/// The behaviour of PyTorch's `to(torch.float8_e5m2)`.
pub fn encode(value: f32) -> u8 {
    let sign = if value.is_sign_negative() { 0x80 } else { 0 };
    if value.is_nan() {
        return sign | 0x7F;
    }
    let magnitude = f64::from(value.abs());
    // Twice rounding would move what is just above a tie, so the code is found among its neighbours.
    let below = (0..0x7C).rev().find(|&code| f64::from(decode(code)) <= magnitude).unwrap_or(0);
    let low = f64::from(decode(below));
    // Above the largest number infinity stands where the next number would be.
    let high = if below == 0x7B { 65536.0 } else { f64::from(decode(below + 1)) };
    let middle = f64::midpoint(low, high);
    let up = magnitude > middle || (magnitude == middle && below % 2 == 1);
    sign | (below + u8::from(up))
}

/// The exact value of a code.
pub fn decode(code: u8) -> f32 {
    f16::from_bits(u16::from(code) << 8).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_there_and_back() {
        for code in 0..=255u8 {
            let value = decode(code);
            match value.is_nan() {
                true => assert_eq!(encode(value), (code & 0x80) | 0x7F),
                false => assert_eq!(encode(value), code),
            }
        }
        assert_eq!(decode(0x7B), MAX);
    }

    #[test]
    fn exact_ties_go_to_the_even_code_and_everything_else_to_the_nearest() {
        for code in 0..0x7B_u8 {
            let middle = f32::midpoint(decode(code), decode(code + 1));
            assert_eq!(encode(middle), code + code % 2, "{code:#x}");
            assert_eq!(encode(middle.next_up()), code + 1);
            assert_eq!(encode(-middle.next_down()), 0x80 | code);
        }
        assert_eq!(encode(61439.996), 0x7B);
        assert_eq!(encode(61440.0), 0x7C, "halfway to where the next number would be");
        assert_eq!(encode(f32::NEG_INFINITY), 0xFC);
    }
}
