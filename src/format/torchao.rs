//! Whole numbers as torchao 0.18 makes them of weights on a CPU: its `IntxWeightOnlyConfig`, which is
//! also how ExecuTorch gets its `q4gsw` weights.
//!
//! r(x) is x rounded to the type of the weights, rint(x) to a whole number, both to nearest, ties to
//! even. `min` ≤ 0 ≤ `max` is the extent of a group, `lowest` = −2^(bits − 1) and `highest` =
//! 2^(bits − 1) − 1 are the ends of the codes:
//!
//! ```text
//! scale, symmetric           r(max(−min, max) / (highest + ½))
//!        without clipping    the larger of r(min / lowest) and r(max / highest)
//!        with zero points    r(r(max − min) / (highest − lowest))
//!        but at least        the smallest normal number of the type
//! zero point                 r(lowest − rint(r(min / scale))), within lowest to highest
//! code                       r(rint(r(weight · r(1 / scale))) + zero point), within lowest to highest
//! ```
//!
//! torchao's names of the three are `SYMMETRIC`, `SYMMETRIC_NO_CLIPPING_ERR` and `ASYMMETRIC`. With
//! its `scale_dtype=float32` scales and zero points are the same numbers, and codes are f32
//! arithmetic: [`with_f32_scales`].
//!
//! Codes are products with a rounded reciprocal, not quotients, and the zero point comes after the
//! rounding: the largest magnitude of a symmetric group is 7.5 or 127.5 steps or next to that, and a
//! negative one becomes the lowest code or the one above, as the last bits fall.
//!
//! Where `max − min` is beyond the type, torchao has infinite scales and loses all weights. Here each
//! of them is divided for itself, then.

use super::rule::rule;
use super::{Element, Extent, GroupScale, Quotient, ScaleRule, ScaleStore, Scheme};
use crate::numeric::FloatKind;

/// A symmetric scheme of this arithmetic with scales under which both ends of a group have a code. One
/// with zero points has such scales, and stays what it is.
pub fn without_clipping(scheme: Scheme) -> Scheme {
    let rule = match (scheme.zero_points, scheme.element) {
        (false, Element::Int(4)) => rule!(extent no_clipping::<4>),
        (false, Element::Int(8)) => rule!(extent no_clipping::<8>),
        _ => scheme.rule,
    };
    Scheme { rule, ..scheme }
}

/// A scheme of this arithmetic with scales that are stored in f32, though rounded to the type of the
/// weights, and with codes by f32 arithmetic.
pub fn with_f32_scales(scheme: Scheme) -> Scheme {
    Scheme { store: ScaleStore::F32, quotient: Quotient::ProductF32, ..scheme }
}

/// The ends of codes of so many bits.
#[inline(always)]
const fn ends(bits: u32) -> [f32; 2] {
    let half = (1u32 << (bits - 1)) as f32;
    [-half, half - 1.0]
}

/// Scales whose largest code is half a step short of the largest magnitude.
#[inline(always)]
pub fn symmetric<const BITS: u32>(amax: f32, kind: FloatKind) -> GroupScale {
    let [_, highest] = ends(BITS);
    let scale = kind.round(amax / (highest + 0.5));
    GroupScale::symmetric(scale.max(kind.min_normal()))
}

/// Scales under which both ends have a code.
#[inline(always)]
fn no_clipping<const BITS: u32>(extent: Extent, kind: FloatKind) -> GroupScale {
    let [lowest, highest] = ends(BITS);
    let scale = kind.round(extent.min / lowest).max(kind.round(extent.max / highest));
    GroupScale::symmetric(scale.max(kind.min_normal()))
}

/// Scales and zero points.
#[inline(always)]
pub fn asymmetric<const BITS: u32>(extent: Extent, kind: FloatKind) -> GroupScale {
    let [lowest, highest] = ends(BITS);
    let steps = highest - lowest;
    let range = kind.round(extent.max - extent.min);
    let scale =
        if range.is_finite() { range / steps } else { extent.max / steps - extent.min / steps };
    let scale = kind.round(scale).max(kind.min_normal());
    let below_zero = kind.round(extent.min / scale).round_ties_even();
    let zero_point = kind.round(lowest - below_zero).clamp(lowest, highest) as i8;
    GroupScale { scale, zero_point }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Arithmetic, Format};

    fn scheme(bits: u8, symmetric: bool) -> Scheme {
        let format = Format::Int { bits, group: Some(32), symmetric };
        format.scheme(Arithmetic::TorchAo).unwrap()
    }

    const KINDS: [FloatKind; 3] = [FloatKind::F32, FloatKind::Bf16, FloatKind::F16];

    #[test]
    fn exact_ties_go_to_even_codes() {
        for (scheme, scale) in [(scheme(4, true), 0.25), (scheme(8, true), 8.0)] {
            let group = GroupScale::symmetric(scale);
            for (steps, code) in [(0.5, 0), (1.5, 2), (2.5, 2), (3.5, 4), (6.5, 6)] {
                for (steps, code) in [(steps, code), (-steps, -code)] {
                    for (scheme, kind) in KINDS.map(|kind| (scheme, kind)) {
                        let codes = [scheme, with_f32_scales(scheme)]
                            .map(|scheme| scheme.encode(steps * scale, group, kind) as i8);
                        assert_eq!(codes, [code; 2], "{steps} {kind:?}");
                    }
                }
            }
        }
        let four =
            |steps| scheme(4, true).encode(steps, GroupScale::symmetric(1.0), FloatKind::F32);
        assert_eq!([four(7.5), four(-7.5), four(-8.5)].map(|code| code as i8), [7, -8, -8]);
    }

    #[test]
    fn zero_points_are_added_after_ties_went_to_even() {
        for (bits, zero_point) in [(4, 1), (4, -1), (8, 3)] {
            let (scheme, group) = (scheme(bits, false), GroupScale { scale: 0.5, zero_point });
            for (steps, even) in [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (-2.5, -2)] {
                for kind in KINDS {
                    let code = scheme.encode(steps * group.scale, group, kind) as i8;
                    assert_eq!(code, even + zero_point, "{steps} {bits} bits {kind:?}");
                }
            }
        }
    }

    #[test]
    fn zero_points_are_rounded_to_even() {
        // 15 steps of 1, of which 2.5, 3.5 or 7.5 are below zero.
        for (below, zero_point) in [(2.5, -6), (3.5, -4), (7.5, 0), (0.5, -8), (1.5, -6)] {
            for kind in KINDS {
                let extent = Extent { min: -below, max: 15.0 - below };
                assert_eq!(asymmetric::<4>(extent, kind), GroupScale { scale: 1.0, zero_point });
            }
        }
        let extent = |below: f32| Extent { min: -below, max: 255.0 - below };
        assert_eq!(asymmetric::<8>(extent(100.5), FloatKind::F32).zero_point, -28);
        assert_eq!(asymmetric::<8>(extent(101.5), FloatKind::F32).zero_point, -26);
    }

    #[test]
    fn products_become_ties_where_they_are_rounded_to_the_type() {
        let (own, wide) = (scheme(4, true), with_f32_scales(scheme(4, true)));
        let group = GroupScale::symmetric(FloatKind::Bf16.round(0.1));
        let code = |scheme: &Scheme, weight: f32, kind| scheme.encode(weight, group, kind) as i8;
        // Of bfloat16's 1 / 0.1 = 10 and 0.25 only in that type: f32 has 9.98, and less than a tie.
        let weight = FloatKind::Bf16.round(0.35);
        assert_eq!(
            [code(&own, weight, FloatKind::Bf16), code(&wide, weight, FloatKind::Bf16)],
            [4, 3]
        );
    }

    #[test]
    fn scales_are_rounded_to_the_type_and_are_normal_numbers() {
        let extent = |min, max| Extent { min, max };
        for kind in KINDS {
            let round = |value: f32| GroupScale::symmetric(kind.round(value));
            assert_eq!(symmetric::<4>(1.0, kind), round(1.0 / 7.5));
            assert_eq!(symmetric::<8>(1.0, kind), round(1.0 / 127.5));
            assert_eq!(no_clipping::<4>(extent(-1.0, 0.5), kind), round(1.0 / 8.0));
            assert_eq!(no_clipping::<4>(extent(-1.0, 1.0), kind), round(1.0 / 7.0));
            assert_eq!(no_clipping::<8>(extent(-1.0, 0.5), kind), round(1.0 / 128.0));
            let smallest = kind.min_normal();
            let [zeros, ones] = [0.0, smallest].map(|end| extent(-end, end));
            for extent in [zeros, ones] {
                assert_eq!(symmetric::<4>(extent.amax(), kind).scale, smallest);
                assert_eq!(no_clipping::<8>(extent, kind).scale, smallest);
                assert_eq!(asymmetric::<8>(extent, kind).scale, smallest);
            }
            assert_eq!(asymmetric::<4>(zeros, kind).zero_point, -8);
            assert_eq!(asymmetric::<4>(ones, kind).zero_point, -7);
        }
    }

    #[test]
    fn no_clipping_is_for_symmetric_schemes() {
        let extent = Extent { min: -8.0, max: 1.0 };
        let scale = |scheme: Scheme| scheme.scale(extent, FloatKind::F32).scale;
        assert_eq!(scale(without_clipping(scheme(4, true))), 1.0);
        assert_eq!(scale(without_clipping(scheme(8, true))), 0.0625);
        assert_eq!(scale(without_clipping(scheme(4, false))), 0.6);
    }

    #[test]
    fn a_range_beyond_the_type_has_a_scale() {
        for kind in KINDS {
            let end = kind.round(0.75 * kind.max());
            let extent = Extent { min: -end, max: end };
            let (scheme, group) = (scheme(8, false), asymmetric::<8>(extent, kind));
            for weight in [-end, 0.0, end] {
                let value = scheme.decode(scheme.encode(weight, group, kind), group);
                assert!((weight / group.scale - value / group.scale).abs() <= 1.0, "{weight}");
            }
        }
    }

    #[test]
    fn every_weight_matches_its_code_and_none_two_steps_away() {
        for (bits, kind) in [4, 8].into_iter().flat_map(|bits| KINDS.map(|kind| (bits, kind))) {
            for scheme in [scheme(bits, true), scheme(bits, false)] {
                let extent = Extent { min: -kind.round(0.9), max: kind.round(1.1) };
                let group = scheme.scale(extent, kind);
                for k in -90..=110i16 {
                    let weight = kind.round(f32::from(k) / 100.0).clamp(extent.min, extent.max);
                    let code = scheme.encode(weight, group, kind);
                    assert!(scheme.matches(weight, code, group, [kind; 2]), "{weight} {bits}");
                    let away = 2.0 + (1 << bits) as f32 * kind.epsilon();
                    let far = scheme.decode(code, group) + away * group.scale;
                    assert!(!scheme.matches(far, code, group, [kind; 2]), "{far} {bits}");
                }
            }
        }
    }
}
