//! The numbers of a type above zero on an axis of powers of two: where they are dense, and where they end.

use eframe::egui::{Align2, Rect, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};

use crate::gui::theme::{self, Theme};
use crate::inspect::{Class, Codec};

/// Draws it; the code that was clicked.
pub fn axis_ui(ui: &mut Ui, codec: Codec, chosen: u32) -> Option<u32> {
    let positive = |code: &u32| {
        let value = codec.value(*code);
        value.is_finite() && value > 0.0
    };
    let codes: Vec<u32> = (0..1u32 << codec.bits()).filter(positive).collect();
    let exponent = |code: u32| f64::from(codec.value(code)).log2();
    let low = codes.iter().map(|code| exponent(*code)).fold(f64::INFINITY, f64::min);
    let high = codes.iter().map(|code| exponent(*code)).fold(f64::NEG_INFINITY, f64::max);
    let size = vec2(ui.available_width().min(16.0 * 86.0), 110.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let line = Rect::from_min_max(
        rect.left_top() + vec2(14.0, 34.0),
        rect.right_bottom() - vec2(14.0, 34.0),
    );
    let x = |exponent: f64| {
        line.left() + ((exponent - low) / (high - low).max(1.0)) as f32 * line.width()
    };
    let theme = Theme::of(ui);
    let painter = ui.painter();
    // Ranges in which the type behaves in one way.
    for (class, name, colour) in [
        (Class::Subnormal, "subnormal", theme.warn),
        (Class::Normal, "normal", theme.good),
        (Class::Largest, "largest", theme.bad),
    ] {
        let of: Vec<f64> = codes
            .iter()
            .filter(|code| codec.class(**code) == class)
            .map(|code| exponent(*code))
            .collect();
        let (Some(first), Some(last)) = (of.first(), of.last()) else { continue };
        let (first, last) = (first.min(*last), last.max(*first));
        let zone = Rect::from_x_y_ranges(x(first) - 3.0..=x(last) + 3.0, line.y_range());
        painter.rect_filled(zone, 3.0, colour.gamma_multiply(0.18));
        let (align, at) = match class {
            Class::Largest => (Align2::RIGHT_BOTTOM, pos2(zone.right(), line.top() - 2.0)),
            _ => (Align2::LEFT_BOTTOM, pos2(zone.left(), line.top() - 2.0)),
        };
        painter.text(at, align, name, theme::small(), colour);
    }
    for &code in &codes {
        let x = x(exponent(code));
        let is_chosen = code == chosen;
        let stroke = match is_chosen {
            true => Stroke::new(3.0, theme.accent),
            false => Stroke::new(1.0, theme.text),
        };
        painter.line_segment([pos2(x, line.top()), pos2(x, line.bottom())], stroke);
    }
    let every = ((high - low) / 12.0).ceil().max(1.0);
    let mut power = (low / every).ceil() * every;
    while power <= high {
        let at = pos2(x(power), line.bottom() + 4.0);
        painter.text(at, Align2::CENTER_TOP, format!("2^{power}"), theme::small(), theme.muted);
        power += every;
    }
    let title =
        "Numbers above zero, by powers of two: as many between two powers as the mantissa has";
    painter.text(rect.left_top(), Align2::LEFT_TOP, title, theme::small(), theme.muted);
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, title));
    let pointer = response.interact_pointer_pos().filter(|_| response.clicked())?;
    let distance = |code: &u32| (x(exponent(*code)) - pointer.x).abs();
    codes.into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b)))
}
