//! Whole numbers as the block-wise quantizer of MLAS has them, in ONNX Runtime 1.32: what its
//! `MatMulNBits` and `GatherBlockQuantized` nodes hold.
//!
//! All is f32 without fused products, `round` takes ties away from zero, and T is the type of the
//! weights. MLAS has f32 and f16; bf16 follows the same rule. With `min` and `max` of a block, and of
//! its codes `largest` = 2^bits − 1 and `half` = 2^(bits − 1):
//!
//! ```text
//! symmetric    end = max if |max| > |min|, else min
//!              scale = T(−end / half)
//!              zero point = half
//! with zero    step = (max(max, 0) − min(min, 0)) / largest
//!   points     scale = T(step)
//!              zero point = round(0 − min(min, 0) / step), within 0 to largest; 0 if step is 0
//! code         = round(weight · (1 / scale) + zero point), within 0 to largest; 1 / 0 is 0
//! ```
//!
//! A symmetric scale has a sign: the end of the larger magnitude always gets the code 0, and the other
//! one is clipped. Codes and zero points are unsigned here and in files; everywhere else in this
//! crate they are `half` less.
//!
//! Where `max − min` is beyond f32, MLAS has infinite scales and loses all weights. Here each of them
//! is divided for itself, then.

use super::{Extent, GroupScale};
use crate::numeric::FloatKind;

/// Signed scales.
#[inline(always)]
pub fn symmetric<const BITS: u32>(extent: Extent, kind: FloatKind) -> GroupScale {
    let half = (1u32 << (BITS - 1)) as f32;
    let end = if extent.max > extent.min.abs() { extent.max } else { extent.min };
    GroupScale::symmetric(kind.round(-end / half))
}

/// Scales and zero points.
#[inline(always)]
pub fn asymmetric<const BITS: u32>(extent: Extent, kind: FloatKind) -> GroupScale {
    let largest = ((1u32 << BITS) - 1) as f32;
    let range = extent.max - extent.min;
    let step = if range.is_finite() {
        range / largest
    } else {
        extent.max / largest - extent.min / largest
    };
    let zero_point = if step == 0.0 { 0.0 } else { 0.0 - extent.min / step };
    let unsigned = zero_point.round().clamp(0.0, largest) as i32;
    let zero_point = (unsigned - (1 << (BITS - 1))) as i8;
    GroupScale { scale: kind.round(step), zero_point }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Arithmetic, Format, Scheme};

    fn scheme(bits: u8, symmetric: bool) -> Scheme {
        let format = Format::Int { bits, group: Some(32), symmetric };
        format.scheme(Arithmetic::OnnxRuntime).unwrap()
    }

    fn unsigned(scheme: &Scheme, weight: f32, group: GroupScale) -> u8 {
        let half = 1 << (scheme.element.bits() - 1);
        scheme.encode(weight, group, FloatKind::F32).wrapping_add(half)
    }

    #[test]
    fn ties_go_away_from_zero_after_the_zero_point_is_added() {
        let (four, plain) = (scheme(4, true), GroupScale::symmetric(0.25));
        // 8 + 0.5, 8 − 0.5, 8 + 1.5, 8 − 1.5: the code above, on both sides of zero.
        for (weight, code) in [(0.125, 9), (-0.125, 8), (0.375, 10), (-0.375, 7)] {
            assert_eq!(unsigned(&four, weight, plain), code, "{weight}");
            let negative = GroupScale::symmetric(-0.25);
            assert_eq!(unsigned(&four, -weight, negative), code, "{weight}");
        }
        let asymmetric = scheme(8, false);
        let group = GroupScale { scale: 1.0, zero_point: -128 };
        for (weight, code) in [(0.5, 1), (1.5, 2), (2.5, 3), (-0.5, 0), (-1.5, 0), (254.5, 255)] {
            assert_eq!(unsigned(&asymmetric, weight, group), code, "{weight}");
        }
    }

    #[test]
    fn products_and_sums_are_rounded() {
        let (eight, plain) = (scheme(8, true), GroupScale::symmetric(1.0));
        // The sum has no room for what is below one half.
        let below = 0.5f32.next_down();
        assert_eq!(below.round(), 0.0);
        assert_eq!(unsigned(&eight, below, plain), 129);
        // Where a product just below a tie of the sum is rounded to it, a fused one is not.
        let near_tie = 0.5 - 2f32.powi(-17);
        let fused = (1..1000u16).filter(|k| {
            let group = GroupScale::symmetric(f32::from(*k) / 1000.0);
            let weight = near_tie * group.scale;
            let product = f64::from(weight) * f64::from(eight.reciprocal(group, FloatKind::F32));
            let fused = ((product + 128.0) as f32).round() as u8;
            product < f64::from(near_tie)
                && product as f32 == near_tie
                && fused == 128
                && unsigned(&eight, weight, group) == 129
        });
        assert!(fused.count() > 10);
    }

    #[test]
    fn a_symmetric_scale_has_the_sign_that_gives_its_maker_code_0() {
        let scale = |min, max| symmetric::<4>(Extent { min, max }, FloatKind::F32).scale;
        assert_eq!(scale(-4.0, 8.0), -1.0);
        assert_eq!(scale(-8.0, 4.0), 1.0);
        assert_eq!(scale(-8.0, 8.0), 1.0, "of equal ends, the lower one");
        assert_eq!(scale(0.0, 0.0).to_bits(), (-0.0f32).to_bits());
        assert_eq!(scale(-0.0, -0.0).to_bits(), 0.0f32.to_bits());
        let scheme = scheme(4, true);
        for (min, max) in [(-4.0, 8.0), (-8.0, 4.0)] {
            let group = GroupScale::symmetric(scale(min, max));
            let code = scheme.encode(if max == 8.0 { max } else { min }, group, FloatKind::F32);
            assert_eq!(code as i8, -8);
            assert_eq!(scheme.decode(code, group).abs(), 8.0);
        }
        assert_eq!(unsigned(&scheme, 0.0, GroupScale::symmetric(-0.0)), 8);
    }

    #[test]
    fn zeros_of_both_signs_have_that_of_the_first() {
        for first in [0.0f32, -0.0] {
            let extent = Extent::new(-0.0, 0.0, || first);
            let scale = symmetric::<8>(extent, FloatKind::F16).scale;
            assert_eq!(scale.to_bits(), (-first).to_bits());
        }
    }

    #[test]
    fn zero_points_are_of_the_step_before_it_is_rounded() {
        let group = asymmetric::<4>(Extent { min: -3.0, max: 12.0 }, FloatKind::F32);
        assert_eq!(group, GroupScale { scale: 1.0, zero_point: 3 - 8 });
        assert_eq!(
            asymmetric::<8>(Extent { min: 0.0, max: 0.0 }, FloatKind::F32),
            GroupScale { scale: 0.0, zero_point: -128 }
        );
        // 1e-7 / 15 is no number of f16, but has a zero point.
        let tiny = asymmetric::<4>(Extent { min: -1e-7, max: 0.0 }, FloatKind::F16);
        assert_eq!(tiny, GroupScale { scale: 0.0, zero_point: 7 });
    }

    #[test]
    fn a_range_beyond_f32_has_a_scale() {
        let group = asymmetric::<8>(Extent { min: -f32::MAX, max: f32::MAX }, FloatKind::F32);
        assert!(group.scale.is_finite());
        let scheme = scheme(8, false);
        for weight in [-f32::MAX, 0.0, f32::MAX / 2.0, f32::MAX] {
            let code = scheme.encode(weight, group, FloatKind::F32);
            assert!((scheme.decode(code, group) - weight).abs() <= 0.6 * group.scale, "{weight}");
        }
    }

    #[test]
    fn the_smallest_scales_have_infinite_reciprocals_and_zeros_then_code_0() {
        let group = GroupScale { scale: 1e-40, zero_point: 0 };
        for scheme in [scheme(4, false), scheme(8, false)] {
            let largest = if scheme.element.bits() == 4 { 15 } else { 255 };
            for (weight, code) in [(0.0, 0), (1e-40, largest), (-1e-40, 0)] {
                assert_eq!(unsigned(&scheme, weight, group), code, "{weight}");
            }
        }
    }

    #[test]
    fn a_weight_matches_codes_within_half_a_step_and_clipped_ones_within_one() {
        let kinds = |kind| [FloatKind::F32, kind];
        let (four, group) = (scheme(4, false), GroupScale { scale: -0.5, zero_point: 0 });
        // Code 3 is -1.5.
        for (weight, kind, expected) in [
            (-1.5 + 0.25, FloatKind::F32, true),
            (-1.5 - 0.254, FloatKind::F32, true),
            (-1.5 - 0.256, FloatKind::F32, false),
            (-1.5 - 0.256, FloatKind::F16, true),
            (-1.5 - 0.27, FloatKind::F16, false),
            (-1.5 - 0.27, FloatKind::Bf16, true),
            (f32::NAN, FloatKind::F32, false),
            (f32::INFINITY, FloatKind::F32, false),
        ] {
            assert_eq!(four.matches(weight, 3, group, kinds(kind)), expected, "{weight} {kind:?}");
        }
        let (low, high) = (-8i8 as u8, 7);
        assert!(four.matches(4.5, low, group, kinds(FloatKind::F32)));
        assert!(four.matches(-4.0, high, group, kinds(FloatKind::F32)));
        assert!(!four.matches(-4.1, high, group, kinds(FloatKind::F32)));
        let symmetric = scheme(4, true);
        assert!(!symmetric.matches(4.5, low, group, kinds(FloatKind::F32)), "it made the scale");
        for scale in [0.0, -0.0].map(GroupScale::symmetric) {
            assert!(symmetric.matches(-0.0, 3, scale, kinds(FloatKind::F32)));
            assert!(!symmetric.matches(1e-45, 3, scale, kinds(FloatKind::F32)));
        }
    }
}
