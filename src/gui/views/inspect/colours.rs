//! Colours of numbers and of bits, the same in all views.

use eframe::egui::Color32;

use crate::gui::theme::Theme;
use crate::inspect::{Class, Codec, DifferenceClass, FieldKind};

/// The colour of a kind of bits.
pub fn field(theme: &Theme, kind: FieldKind) -> Color32 {
    match kind {
        FieldKind::Sign => theme.series[3],
        FieldKind::Exponent => theme.series[1],
        FieldKind::Mantissa | FieldKind::Integer => theme.series[0],
    }
}

/// The colour of a value among those up to `largest`.
pub fn value(value: f32, largest: f32) -> Color32 {
    let t = if largest > 0.0 { value / largest } else { 0.0 };
    Theme::signed(t.clamp(-1.0, 1.0))
}

/// The colour of a number among all that a type has, by powers of two on both sides of zero.
pub fn magnitude(codec: Codec, value: f32) -> Color32 {
    if value == 0.0 {
        return Theme::signed(0.0);
    }
    let smallest = (1..1u32 << codec.bits())
        .map(|code| codec.value(code).abs())
        .filter(|value| *value > 0.0)
        .fold(f32::INFINITY, f32::min);
    let (low, high) = (smallest.log2() - 1.0, codec.largest().log2());
    let t = (value.abs().log2() - low) / (high - low);
    Theme::signed((0.12 + 0.88 * t.clamp(0.0, 1.0)).copysign(value))
}

/// The colour of a kind of number, where it deserves one.
pub fn class(theme: &Theme, class: Class) -> Option<Color32> {
    match class {
        Class::Normal => None,
        Class::Zero | Class::Subnormal | Class::Largest => Some(theme.warn),
        Class::Infinite | Class::NaN => Some(theme.bad),
    }
}

/// The colour of a way in which two sides of a weight differ.
pub fn difference(theme: &Theme, class: DifferenceClass) -> Color32 {
    match class {
        DifferenceClass::Equal => theme.raised,
        DifferenceClass::LegalTie => theme.series[5],
        DifferenceClass::OneStep => theme.series[1],
        DifferenceClass::ScaleDiffers => theme.series[4],
        DifferenceClass::Other => theme.bad,
    }
}
