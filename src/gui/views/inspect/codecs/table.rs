//! All codes of a type in a table.

use eframe::egui::{
    Align2, CornerRadius, FontId, Key, Rect, Role, Sense, Stroke, StrokeKind, Ui, Vec2, WidgetInfo,
    pos2, vec2,
};

use super::colours;
use crate::gui::theme::{self, Theme};
use crate::gui::widgets::keep_arrows;
use crate::inspect::{Class, Codec};

/// Draws it; the code that was chosen.
pub fn table_ui(ui: &mut Ui, codec: Codec, chosen: u32) -> Option<u32> {
    let codes = 1u32 << codec.bits();
    let across = if codes > 16 { 16 } else { 8 };
    let lines = codes / across;
    let width = (ui.available_width() / across as f32).min(86.0);
    let height = ((ui.available_height() - 200.0) / lines as f32).clamp(18.0, 56.0);
    let size = vec2(width * across as f32, height * lines as f32);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let theme = Theme::of(ui);
    let cell = |code: u32| {
        let corner = vec2((code % across) as f32 * width, (code / across) as f32 * height);
        Rect::from_min_size(rect.left_top() + corner, Vec2::new(width - 2.0, height - 2.0))
    };
    for code in 0..codes {
        let (class, value) = (codec.class(code), codec.value(code));
        let fill = match class {
            Class::NaN | Class::Infinite => theme.bad,
            _ => colours::magnitude(codec, value),
        };
        let on = Theme::on(fill);
        let place = cell(code);
        let painter = ui.painter();
        painter.rect_filled(place, CornerRadius::same(3), fill);
        if let Some(mark) = colours::class(theme, class) {
            let dot = place.right_top() + vec2(-5.0, 5.0);
            painter.circle(dot, 2.5, mark, Stroke::new(1.0, on));
        }
        let text = match value {
            value if value.is_nan() => "NaN".to_owned(),
            value if value.is_infinite() => "∞".to_owned(),
            value => short(value),
        };
        let font = if height > 26.0 { theme::strong() } else { FontId::proportional(10.0) };
        let centre = place.center() + vec2(0.0, if height > 34.0 { 6.0 } else { 0.0 });
        painter.text(centre, Align2::CENTER_CENTER, text, font, on);
        if height > 34.0 {
            let at = pos2(place.left() + 5.0, place.top() + 4.0);
            let digits = usize::from(codec.bits());
            let bits = format!("{code:0digits$b}");
            painter.text(at, Align2::LEFT_TOP, bits, FontId::monospace(9.0), on);
        }
    }
    ui.painter().rect_stroke(
        cell(chosen),
        3.0,
        Stroke::new(2.5, theme.accent),
        StrokeKind::Outside,
    );
    let said = format!("{:#04x}: {}", chosen, codec.value(chosen));
    response.widget_info(|| WidgetInfo {
        current_text_value: Some(said.clone()),
        ..WidgetInfo::labeled(Role::Grid, true, format!("Codes of {}", codec.name()))
    });
    let mut picked = None;
    if let Some(pointer) = response.hover_pos() {
        let code = (0..codes).find(|code| cell(*code).contains(pointer));
        if response.clicked() {
            picked = code;
            response.request_focus();
        }
        if let Some(code) = code {
            let text = format!("{code:#04x} = {} = {}", codec.formula(code), codec.value(code));
            response.clone().on_hover_ui_at_pointer(|ui| {
                ui.label(text);
            });
        }
    }
    if response.has_focus() {
        keep_arrows(ui, response.id, true);
        let steps = [
            (Key::ArrowRight, 1),
            (Key::ArrowLeft, -1),
            (Key::ArrowDown, i64::from(across)),
            (Key::ArrowUp, -i64::from(across)),
        ];
        for (key, step) in steps {
            if ui.input(|input| input.key_pressed(key)) {
                let next = i64::from(chosen) + step;
                picked = Some(next.clamp(0, i64::from(codes) - 1).unsigned_abs() as u32);
            }
        }
    }
    picked
}

/// A value in few characters.
fn short(value: f32) -> String {
    let text = value.to_string();
    if text.len() <= 7 { text } else { format!("{value:.1e}") }
}
