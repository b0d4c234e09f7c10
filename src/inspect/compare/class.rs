//! In which way one weight differs between two sides.

use crate::inspect::sheet::Sheet;
use crate::inspect::{BlockScale, Codec};

/// How the two sides of a weight compare, from equal to worst.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The same code under the same scale; where formats differ, or there are no codes, the same bits
    /// of an f32 value.
    #[default]
    Equal,
    /// The same scale, and two codes that follow one another and between which the weight lies exactly in
    /// the middle: either rounding is right.
    LegalTie,
    /// The same scale, and two codes that follow one another.
    OneStep,
    /// Block scale, global scale or zero point differ.
    ScaleDiffers,
    /// Anything else: codes further apart, codes that are no number, other values.
    Other,
}

impl Class {
    /// Every one, from equal to worst.
    pub const ALL: [Self; 5] =
        [Self::Equal, Self::LegalTie, Self::OneStep, Self::ScaleDiffers, Self::Other];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::LegalTie => "legal tie",
            Self::OneStep => "one step",
            Self::ScaleDiffers => "scale differs",
            Self::Other => "other",
        }
    }
}

/// What a side has of a weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SideCell {
    /// Its code; `None` for floats alone.
    pub code: Option<u32>,
    /// Its scale.
    pub scale: Option<BlockScale>,
    /// What the code stands for, or the float.
    pub value: f32,
}

impl SideCell {
    /// What a sheet has of a weight.
    pub(super) fn of(sheet: &Sheet, row: u64, column: usize, scale: Option<BlockScale>) -> Self {
        let value = sheet.place(row, column).and_then(|place| match &sheet.chunk {
            Some(_) => sheet.values.get(place).copied(),
            None => sheet.weights.as_ref().and_then(|weights| weights.get(place).copied()),
        });
        Self { code: sheet.code(row, column), scale, value: value.unwrap_or(f32::NAN) }
    }
}

/// Whether two scales are the same: the same bits, the same global scale and the same zero point. Global
/// scales of which one multiplies and one divides are the same where a step comes out with the same bits.
pub fn same_scale(a: &BlockScale, b: &BlockScale) -> bool {
    let bits = match a.codec == b.codec {
        true => a.code == b.code,
        false => a.value.to_bits() == b.value.to_bits(),
    };
    let global = match (a.global, b.global) {
        (Some((a, divides)), Some((b, other))) if divides == other => a.to_bits() == b.to_bits(),
        (None, None) => true,
        _ => a.step.to_bits() == b.step.to_bits(),
    };
    bits && global && a.zero_point.unwrap_or(0) == b.zero_point.unwrap_or(0)
}

/// How two sides of a weight compare, whose codes are of one type if `codec` says so. `same` is whether
/// their scales are.
pub(super) fn class_of(
    [a, b]: [&SideCell; 2],
    codec: Option<Codec>,
    same: bool,
    weight: Option<f32>,
) -> Class {
    let (Some(codec), Some(code), Some(other)) = (codec, a.code, b.code) else {
        let equal = a.value.to_bits() == b.value.to_bits();
        return if equal { Class::Equal } else { Class::Other };
    };
    if !same {
        return Class::ScaleDiffers;
    }
    if code == other {
        return Class::Equal;
    }
    let is_step = match (place_in_order(codec, code), place_in_order(codec, other)) {
        (Some(a), Some(b)) => a.abs_diff(b) <= 1,
        _ => false,
    };
    // Where codes lie further apart, one between them is nearer than both.
    match weight.is_some_and(|weight| is_tie(weight, a.value, b.value)) {
        true if is_step => Class::LegalTie,
        _ if is_step => Class::OneStep,
        _ => Class::Other,
    }
}

/// Where a code stands among all numbers of its type, in steps from zero; `None` if it is no number. The
/// two zeros of a float have one place.
fn place_in_order(codec: Codec, code: u32) -> Option<i64> {
    let value = codec.value(code);
    match codec {
        Codec::Int(_) => Some(value as i64),
        // Magnitudes of a float are ordered as their bits are.
        _ if value.is_nan() => None,
        _ => {
            let magnitude = i64::from(code & ((1 << (codec.bits() - 1)) - 1));
            Some(if value.is_sign_negative() { -magnitude } else { magnitude })
        }
    }
}

/// Whether a weight is exactly as far from one value as from the other. Differences of f32 numbers need
/// not fit f64, but it is so just where the values are equal or twice the weight is their sum, and what
/// is lost of a sum can be had exactly.
fn is_tie(weight: f32, a: f32, b: f32) -> bool {
    let (weight, a, b) = (f64::from(weight), f64::from(a), f64::from(b));
    let sum = a + b;
    let part = sum - a;
    let lost = (a - (sum - part)) + (b - part);
    a == b || (lost == 0.0 && 2.0 * weight == sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(code: u32, value: f32) -> SideCell {
        SideCell { code: Some(code), scale: None, value }
    }

    #[test]
    fn a_tie_is_exact_and_a_step_is_on_the_grid_of_codes() {
        let codec = Some(Codec::E2m1);
        let of = |a: u32, b: u32, weight| {
            let [a, b] = [a, b].map(|code| cell(code, Codec::E2m1.value(code)));
            class_of([&a, &b], codec, true, weight)
        };
        // 4 and 6 are codes 6 and 7.
        assert_eq!(of(6, 7, Some(5.0)), Class::LegalTie);
        assert_eq!(of(6, 7, Some(5.0000005)), Class::OneStep);
        assert_eq!(of(6, 7, None), Class::OneStep);
        assert_eq!(of(5, 7, Some(4.5)), Class::Other, "3 and 6 are as far, and 4 is nearer");
        assert_eq!(of(5, 7, Some(4.0)), Class::Other);
        assert_eq!(of(1, 9, None), Class::Other, "from a half to minus a half it is two steps");
        assert_eq!(of(0, 8, None), Class::OneStep, "the two zeros");
        assert_eq!(of(0, 8, Some(0.1)), Class::LegalTie);
        assert_eq!(of(9, 9, Some(0.1)), Class::Equal);
        let (a, b) = (cell(0x7F, f32::NAN), cell(0x7E, 448.0));
        assert_eq!(class_of([&a, &b], Some(Codec::E4m3), true, None), Class::Other);
        assert_eq!(class_of([&a, &b], Some(Codec::E4m3), false, None), Class::ScaleDiffers);
        assert_eq!(place_in_order(Codec::Int(4), 0xF), Some(-1));
    }

    #[test]
    fn a_tie_of_numbers_far_apart_is_not_rounded_into_being() {
        // In f64 the sum is 2e30, of which the weight is the half.
        assert!(!is_tie(1e30, 2e30, 1e-30));
        assert!(is_tie(1e30, 2e30, 0.0));
        assert!(is_tie(1.5, 1.0, 2.0) && is_tie(9.0, 1.0, 1.0) && !is_tie(1.0, f32::NAN, 1.0));
    }

    #[test]
    fn without_codes_of_one_type_the_bits_of_values_decide() {
        let float = |value| SideCell { code: None, scale: None, value };
        let of = |a, b| class_of([&float(a), &float(b)], None, false, None);
        assert_eq!(of(1.0, 1.0), Class::Equal);
        assert_eq!(of(0.0, -0.0), Class::Other);
        assert_eq!(of(1.0, 1.0000001), Class::Other);
    }
}
