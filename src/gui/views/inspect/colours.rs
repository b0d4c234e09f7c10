//! Colours of numbers and of bits, the same in all views.

use eframe::egui::Color32;

use crate::gui::theme::Theme;
use crate::inspect::{Class, FieldKind};

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

/// The colour of a kind of number, where it deserves one.
pub fn class(theme: &Theme, class: Class) -> Option<Color32> {
    match class {
        Class::Normal => None,
        Class::Zero | Class::Subnormal | Class::Largest => Some(theme.warn),
        Class::Infinite | Class::NaN => Some(theme.bad),
    }
}
