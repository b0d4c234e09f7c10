//! The float types that weights are stored in, seen through their bit patterns.

use bytemuck::Pod;
use half::{bf16, f16};

use super::rounding;

/// A float type that weights are quantized from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FloatKind {
    /// bfloat16: the upper half of an f32.
    Bf16,
    /// IEEE binary16.
    F16,
    /// IEEE binary32.
    F32,
}

impl FloatKind {
    /// Bytes an element takes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Bf16 | Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    /// The exact f32 value of a pattern of this kind (16-bit kinds use the low half).
    pub fn widen(self, pattern: u32) -> f32 {
        match self {
            Self::Bf16 => bf16::from_bits(pattern as u16).to_f32(),
            Self::F16 => f16::from_bits(pattern as u16).to_f32(),
            Self::F32 => f32::from_bits(pattern),
        }
    }

    /// The value of this kind nearest to an f32, ties to even, as an f32.
    #[inline(always)]
    pub fn round(self, value: f32) -> f32 {
        match self {
            Self::Bf16 => rounding::to_bf16(value),
            Self::F16 => rounding::to_f16(value),
            Self::F32 => value,
        }
    }

    /// The pattern of the value of this kind nearest to an f32, ties to even.
    #[inline(always)]
    pub fn pattern(self, value: f32) -> u32 {
        let rounded = self.round(value).to_bits();
        match self {
            Self::Bf16 => rounded >> 16,
            Self::F16 => f16_pattern(rounded),
            Self::F32 => rounded,
        }
    }

    /// Bits of the mantissa that are stored.
    pub const fn mantissa_bits(self) -> u32 {
        match self {
            Self::Bf16 => 7,
            Self::F16 => 10,
            Self::F32 => 23,
        }
    }

    /// What is added to an exponent.
    pub const fn exponent_bias(self) -> i32 {
        match self {
            Self::Bf16 | Self::F32 => 127,
            Self::F16 => 15,
        }
    }

    /// The distance from 1 to the next value.
    pub const fn epsilon(self) -> f32 {
        match self {
            Self::Bf16 => 1.0 / 128.0,
            Self::F16 => 1.0 / 1024.0,
            Self::F32 => f32::EPSILON,
        }
    }

    /// The largest finite value.
    pub const fn max(self) -> f32 {
        match self {
            Self::Bf16 => f32::from_bits(0x7F7F_0000),
            Self::F16 => 65504.0,
            Self::F32 => f32::MAX,
        }
    }

    /// The smallest normal value.
    pub const fn min_normal(self) -> f32 {
        match self {
            Self::Bf16 | Self::F32 => f32::MIN_POSITIVE,
            Self::F16 => 1.0 / 16384.0,
        }
    }

    /// The smallest non-negative pattern of this kind whose value is at least that of the
    /// non-negative f32 bit pattern `f32_bits`; a pattern above every number if there is none.
    pub fn first_pattern_at_least(self, f32_bits: u32) -> u32 {
        match self {
            Self::F32 => f32_bits,
            Self::Bf16 => ((u64::from(f32_bits) + 0xFFFF) >> 16) as u32,
            Self::F16 => {
                let nearest = u32::from(f16::from_f32(f32::from_bits(f32_bits)).to_bits());
                let rounded_down = self.widen(nearest).to_bits() < f32_bits;
                nearest + u32::from(rounded_down)
            }
        }
    }
}

/// A weight element as the kernels see it: magnitudes of one kind order like their patterns, so
/// every comparison that decides a bit is an integer comparison.
pub trait SourceFloat: Pod + Send + Sync {
    /// Which kind this is.
    const KIND: FloatKind;
    /// Unsigned integer of the same width.
    type Bits: Pod + Ord + Default + Into<u32> + TryFrom<u32>;
    /// All bits of the type set: a magnitude that no value reaches.
    const UNREACHABLE: Self::Bits;
    /// Largest magnitude pattern that is a finite number.
    const LAST_FINITE: Self::Bits;

    /// The pattern without its sign bit.
    fn magnitude(self) -> Self::Bits;
    /// The number that is not negative and has this magnitude.
    fn from_magnitude(magnitude: Self::Bits) -> Self;
    /// Whether the sign bit is set.
    fn sign_bit(self) -> bool;
    /// A pattern that is greater for greater values, zeros of both signs apart: the sign bit set for
    /// those without, all bits flipped for the others.
    fn key(self) -> Self::Bits;
    /// The value whose key this is.
    fn from_key(key: Self::Bits) -> Self;
    /// The exact value.
    fn to_f32(self) -> f32;
}

macro_rules! source_float {
    ($type:ty, $kind:ident, $bits:ty, $last_finite:expr, $to_f32:expr) => {
        impl SourceFloat for $type {
            const KIND: FloatKind = FloatKind::$kind;
            type Bits = $bits;
            const UNREACHABLE: $bits = <$bits>::MAX;
            const LAST_FINITE: $bits = $last_finite;

            #[inline(always)]
            fn magnitude(self) -> $bits {
                self.to_bits() & (<$bits>::MAX >> 1)
            }
            #[inline(always)]
            fn from_magnitude(magnitude: $bits) -> Self {
                Self::from_bits(magnitude)
            }
            #[inline(always)]
            fn sign_bit(self) -> bool {
                self.to_bits() > <$bits>::MAX >> 1
            }
            #[inline(always)]
            fn key(self) -> $bits {
                let sign = <$bits>::MAX / 2 + 1;
                let bits = self.to_bits();
                if bits < sign { bits | sign } else { !bits }
            }
            #[inline(always)]
            fn from_key(key: $bits) -> Self {
                let sign = <$bits>::MAX / 2 + 1;
                Self::from_bits(if key < sign { !key } else { key ^ sign })
            }
            #[inline(always)]
            fn to_f32(self) -> f32 {
                $to_f32(self)
            }
        }
    };
}

source_float!(bf16, Bf16, u16, 0x7F7F, |v: bf16| f32::from_bits(u32::from(v.to_bits()) << 16));
source_float!(f16, F16, u16, 0x7BFF, f16_to_f32);
source_float!(f32, F32, u32, 0x7F7F_FFFF, |v: f32| v);

/// Widening without a branch or a library call, so that loops over it vectorise.
#[inline(always)]
fn f16_to_f32(value: f16) -> f32 {
    let pattern = u32::from(value.to_bits());
    let sign = (pattern & 0x8000) << 16;
    let magnitude = pattern & 0x7FFF;
    // Subnormals count units of 2⁻²⁴, which is exact in f32.
    let subnormal = (magnitude as f32 * 2f32.powi(-24)).to_bits();
    let normal = (magnitude << 13) + ((127 - 15) << 23);
    let special = 0x7F80_0000 | (magnitude << 13);
    let bits = if magnitude < 0x0400 {
        subnormal
    } else if magnitude >= 0x7C00 {
        special
    } else {
        normal
    };
    f32::from_bits(sign | bits)
}

/// The binary16 pattern of a number of that type, from its f32 bits.
#[inline(always)]
fn f16_pattern(bits: u32) -> u32 {
    let (sign, magnitude) = (bits >> 16 & 0x8000, bits & 0x7FFF_FFFF);
    // Subnormals count units of 2⁻²⁴.
    let subnormal = rounding::whole_ties_even(f32::from_bits(magnitude) * 2f32.powi(24)) as u32;
    let normal = magnitude.wrapping_sub((127 - 15) << 23) >> 13;
    let special = 0x7C00 | (magnitude >> 13 & 0x03FF);
    let pattern = if magnitude < f32::to_bits(1.0 / 16384.0) {
        subnormal
    } else if magnitude >= 0x7F80_0000 {
        special
    } else {
        normal
    };
    sign | pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_is_exact_for_every_16_bit_pattern() {
        for pattern in 0..=u16::MAX {
            let (b, h) = (bf16::from_bits(pattern), f16::from_bits(pattern));
            for (ours, library) in
                [(SourceFloat::to_f32(b), b.to_f32()), (SourceFloat::to_f32(h), h.to_f32())]
            {
                assert!(
                    ours.to_bits() == library.to_bits() || (ours.is_nan() && library.is_nan()),
                    "{pattern:#06x}"
                );
            }
            assert_eq!(SourceFloat::sign_bit(b), pattern >= 0x8000);
            assert_eq!(h.magnitude(), pattern & 0x7FFF);
            assert_eq!(h.magnitude() <= f16::LAST_FINITE, h.is_finite());
            assert_eq!(b.magnitude() <= bf16::LAST_FINITE, b.is_finite());
        }
    }

    #[test]
    fn patterns_are_those_of_the_library() {
        for low in [0, 1, 0x0FFF, 0x1000, 0x1001, 0x7FFF, 0x8000, 0x8001, 0xF000, 0xFFFF] {
            for high in 0..=u16::MAX {
                let value = f32::from_bits(u32::from(high) << 16 | low);
                let expected = [bf16::from_f32(value).to_bits(), f16::from_f32(value).to_bits()];
                let patterns = [FloatKind::Bf16, FloatKind::F16].map(|kind| kind.pattern(value));
                assert_eq!(patterns, expected.map(u32::from), "{value:e} {:#x}", value.to_bits());
            }
        }
    }

    #[test]
    fn keys_order_like_values_and_give_them_back() {
        let keys = (0..=u16::MAX).map(<bf16 as SourceFloat>::from_key);
        let numbers: Vec<bf16> = keys.filter(|value| !value.is_nan()).collect();
        assert!(numbers.is_sorted(), "infinities included");
        for pattern in 0..=u16::MAX {
            let (b, h) = (bf16::from_bits(pattern), f16::from_bits(pattern));
            assert_eq!(<bf16 as SourceFloat>::from_key(b.key()).to_bits(), pattern);
            assert_eq!(<f16 as SourceFloat>::from_key(h.key()).to_bits(), pattern);
        }
        let keys = [f32::NEG_INFINITY, -1.0, -f32::from_bits(1), -0.0, 0.0, 1e-30, f32::MAX]
            .map(SourceFloat::key);
        assert!(keys.is_sorted());
        assert_eq!(<f32 as SourceFloat>::from_key(keys[1]), -1.0);
    }

    #[test]
    fn first_pattern_at_least_is_the_smallest_that_holds() {
        for kind in [FloatKind::Bf16, FloatKind::F16] {
            let last_finite = if kind == FloatKind::Bf16 { 0x7F7F } else { 0x7BFF };
            for pattern in 1..=last_finite {
                let exact = kind.widen(pattern).to_bits();
                assert_eq!(kind.first_pattern_at_least(exact), pattern);
                assert_eq!(
                    kind.first_pattern_at_least(exact - 1),
                    pattern,
                    "just below {pattern:#x}"
                );
                assert!(kind.first_pattern_at_least(exact + 1) == pattern + 1);
            }
        }
        assert!(FloatKind::Bf16.first_pattern_at_least(u32::MAX >> 1) > 0x7F80);
        assert_eq!(FloatKind::F16.first_pattern_at_least(f32::MAX.to_bits()), 0x7C00);
    }
}
