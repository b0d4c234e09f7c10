//! How many scales have each byte, or each power of two.

use eframe::egui::{Align2, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use super::scales::class_colour;
use crate::gui::theme::{self, Theme};
use crate::inspect::{Class, Codec, ScaleClass, ScaleMap, Scales};

/// Draws bars, a logarithm high.
pub fn counts_ui(ui: &mut Ui, map: &ScaleMap, height: f32) {
    let is_bytes = matches!(map.scales, Scales::Bytes(_));
    let bins = &map.histogram;
    let used = |at: &usize| bins[*at] > 0;
    let first = (0..bins.len()).find(used).unwrap_or(0);
    let last = (0..bins.len()).rfind(used).unwrap_or(0);
    let (first, last) = (first.saturating_sub(4), (last + 4).min(bins.len() - 1));
    let size = vec2(ui.available_width(), height);
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let theme = Theme::of(ui);
    let line = Rect::from_min_max(
        rect.left_top() + vec2(0.0, 16.0),
        rect.right_bottom() - vec2(0.0, 16.0),
    );
    let width = line.width() / (last - first + 1) as f32;
    let most = bins.iter().max().copied().unwrap_or(1).max(1);
    let painter = ui.painter();
    let title = match is_bytes {
        true => {
            format!("How many scales have each {} byte, on a logarithmic axis", map.codec.name())
        }
        false => "How many scales have each power of two, on a logarithmic axis".to_owned(),
    };
    painter.text(rect.left_top(), Align2::LEFT_TOP, &title, theme::small(), theme.muted);
    let mut last_label = f32::NEG_INFINITY;
    for (bin, &counted) in bins.iter().enumerate().take(last + 1).skip(first) {
        let left = line.left() + (bin - first) as f32 * width;
        let tall = ((counted as f32 + 1.0).ln() / (most as f32 + 1.0).ln()) * line.height();
        let bar = Rect::from_min_max(
            pos2(left, line.bottom() - tall),
            pos2(left + (width - 1.0).max(0.5), line.bottom()),
        );
        let colour = match (is_bytes, map.codec.class(bin as u32)) {
            (true, Class::NaN | Class::Infinite) => theme.bad,
            (true, Class::Zero) => theme.muted,
            (true, Class::Subnormal) => {
                class_colour(theme, ScaleClass::Subnormal).unwrap_or(theme.warn)
            }
            _ => theme.accent,
        };
        painter.rect_filled(bar, 0.0, colour);
        let text = label(map.codec, is_bytes, bin);
        let room = 7.0 * text.len() as f32;
        if (bin - first).is_multiple_of(8) && left - last_label > room {
            painter.text(
                pos2(left, line.bottom() + 2.0),
                Align2::LEFT_TOP,
                text,
                theme::small(),
                theme.muted,
            );
            last_label = left;
        }
    }
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &title));
    if let Some(pointer) = response.hover_pos() {
        let bin = first + ((pointer.x - line.left()) / width).max(0.0) as usize;
        if let Some(counted) = bins.get(bin).filter(|_| bin <= last) {
            let value = label(map.codec, is_bytes, bin);
            let byte = if is_bytes { format!(" ({bin:#04x})") } else { String::new() };
            let text = format!("{value}{byte}: {counted} scales");
            response.on_hover_ui_at_pointer(|ui| {
                ui.label(text);
            });
        }
    }
}

/// The value of a byte, or the power of two of a bin.
fn label(codec: Codec, is_bytes: bool, bin: usize) -> String {
    if !is_bytes {
        return format!("2^{}", bin as i32 - 127);
    }
    match codec.value(bin as u32) {
        value if codec == Codec::E8m0 && value.is_finite() => {
            format!("2^{}", bin as i32 - codec.bias())
        }
        value => value.to_string(),
    }
}
