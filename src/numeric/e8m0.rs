//! E8M0: a byte `b` for the power of two 2^(b − 127). 255 is NaN; there is no zero and no sign.

/// What is added to an exponent.
pub const BIAS: i32 = 127;

/// The code of NaN.
pub const NAN_CODE: u8 = 255;

/// The exact value of a code.
#[inline(always)]
pub const fn decode(code: u8) -> f32 {
    match code {
        // 2⁻¹²⁷ is half the smallest normal number.
        0 => f32::from_bits(1 << 22),
        NAN_CODE => f32::NAN,
        _ => f32::from_bits((code as u32) << 23),
    }
}

/// The code of a power of two from 2⁻¹²⁷ to 2¹²⁷.
#[inline(always)]
pub const fn encode(power: f32) -> u8 {
    (power.to_bits() >> 23) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_its_power_of_two() {
        for code in 0..NAN_CODE {
            assert_eq!(f64::from(decode(code)), 2f64.powi(i32::from(code) - BIAS));
            assert_eq!(encode(decode(code)), code);
        }
        assert!(decode(NAN_CODE).is_nan());
    }
}
