//! Rounding f32 to 16-bit floats and to whole numbers without a branch or a library call, so that loops
//! over it vectorise.

/// The f32 bits of infinity.
const INFINITY: u32 = 0x7F80_0000;

/// What a NaN has set and others of its kind have not: the first bit of the mantissa.
const QUIET: u32 = 0x0040_0000;

/// The bfloat16 nearest to a value, ties to even, as an f32. NaN stays NaN and keeps its sign.
#[inline(always)]
pub(super) fn to_bf16(value: f32) -> f32 {
    let bits = value.to_bits();
    let nan = bits & 0x7FFF_FFFF > INFINITY;
    // Of all patterns that are no NaN, none carries into the sign.
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1));
    f32::from_bits(if nan { bits | QUIET } else { rounded } & 0xFFFF_0000)
}

/// The binary16 nearest to a value, ties to even, as an f32. NaN stays NaN and keeps its sign.
#[inline(always)]
pub(super) fn to_f16(value: f32) -> f32 {
    /// 65536, the first number beyond the exponents of the type.
    const TOO_LARGE: u32 = 0x4780_0000;
    /// 2⁻¹⁴, the smallest normal number.
    const FIRST_NORMAL: u32 = 0x3880_0000;

    let bits = value.to_bits();
    let (sign, magnitude) = (bits & 0x8000_0000, bits & 0x7FFF_FFFF);
    let rounded = (magnitude + 0xFFF + (magnitude >> 13 & 1)) & !0x1FFF;
    let normal = if rounded >= TOO_LARGE { INFINITY } else { rounded };
    // One half, whose unit in the last place is 2⁻²⁴, makes the hardware round to a multiple of it.
    let subnormal = ((f32::from_bits(magnitude) + 0.5) - 0.5).to_bits();
    let rounded = if magnitude > INFINITY {
        (magnitude | QUIET) & !0x1FFF
    } else if magnitude < FIRST_NORMAL {
        subnormal
    } else {
        normal
    };
    f32::from_bits(sign | rounded)
}

/// A magnitude rounded to so many mantissa bits, ties to even; below `first_normal`, a power of two, to
/// a multiple of what is the last place there. At most 2¹⁰⁰.
#[inline(always)]
pub fn to_mantissa(magnitude: f32, bits: u32, first_normal: f32) -> f32 {
    let (sum, power) = rounding_sum(magnitude, bits, first_normal);
    sum - power
}

/// The sum that rounds a magnitude in [`to_mantissa`], and the power of two that is part of it: their
/// patterns differ by how many units in the last place the rounded magnitude is.
#[inline(always)]
pub fn rounding_sum(magnitude: f32, bits: u32, first_normal: f32) -> (f32, f32) {
    let exponent = (magnitude.to_bits() & INFINITY).max(first_normal.to_bits());
    // The power of two whose last place is the one to round to: a sum with it is rounded there.
    let power = f32::from_bits(exponent + ((23 - bits) << 23));
    (magnitude + power, power)
}

/// 1.5·2²³, whose unit in the last place is 1: a sum with it is rounded to a whole number, which is in
/// its lowest bits.
const WHOLE: f32 = 12_582_912.0;

/// The whole number nearest to a value of at most 2²² in magnitude, ties to even. Of a NaN without a
/// payload it is 0 in the lowest byte.
#[inline(always)]
pub fn whole_ties_even(value: f32) -> i32 {
    (value + WHOLE).to_bits().wrapping_sub(WHOLE.to_bits()).cast_signed()
}

/// The same with ties away from zero, of a value that is not negative.
#[inline(always)]
pub fn whole_ties_up(value: f32) -> i32 {
    let even = (value + WHOLE) - WHOLE;
    // The difference is exact. Half of all ties went down.
    whole_ties_even(value) + i32::from(value - even == 0.5)
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    fn compare(value: f32) {
        let (b, h) = (bf16::from_f32(value).to_f32(), f16::from_f32(value).to_f32());
        assert_eq!(to_bf16(value).to_bits(), b.to_bits(), "{value:e} {:#x}", value.to_bits());
        assert_eq!(to_f16(value).to_bits(), h.to_bits(), "{value:e} {:#x}", value.to_bits());
    }

    #[test]
    fn rounding_is_that_of_the_library() {
        // Every sign, exponent and upper mantissa, with lower bits at, next to and far from ties of
        // either type.
        let low = [0, 1, 2, 0xFFF, 0x1000, 0x1001, 0x1FFF, 0x2000, 0x3000, 0x7FFF];
        let low = low.into_iter().chain([0x8000, 0x8001, 0x9000, 0xF000, 0xF001, 0xFFFF]);
        for low in low {
            for high in 0..=u16::MAX {
                compare(f32::from_bits(u32::from(high) << 16 | low));
            }
        }
    }

    #[test]
    fn every_tie_between_subnormals_goes_to_the_even_one() {
        for pattern in 0..0x0402u16 {
            let below = f16::from_bits(pattern).to_f32();
            let tie = (below + f16::from_bits(pattern + 1).to_f32()) / 2.0;
            for value in [tie, tie.next_down(), tie.next_up()] {
                compare(value);
                compare(-value);
            }
        }
    }

    #[test]
    fn whole_numbers_are_those_of_the_standard_library() {
        // All ties that 8-bit codes meet, their neighbours, and where the next whole number begins.
        for quarters in -1100..=1100i16 {
            let at = f32::from(quarters) / 4.0;
            for value in [at, at.next_up(), at.next_down(), at.next_up().next_up()] {
                assert_eq!(whole_ties_even(value), value.round_ties_even() as i32, "{value:e}");
                if value >= 0.0 {
                    assert_eq!(whole_ties_up(value), value.round() as i32, "{value:e}");
                }
            }
        }
        assert_eq!(whole_ties_even(0.0 * f32::INFINITY) as u8, 0);
        assert_eq!(whole_ties_up(0.0 * f32::INFINITY) as u8, 0);
    }
}
