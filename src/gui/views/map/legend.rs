//! What colours and shapes stand for.

use eframe::egui::{Align2, Rect, Role, Sense, Ui, Vec2, WidgetInfo, pos2, vec2};

use super::cells;
use crate::gui::theme::{self, Theme};
use crate::gui::widgets::caption;
use crate::report::{Scale, Spread, Summary, Value};

/// Draws the range of a scale, and every shape that occurs.
pub fn legend_ui(ui: &mut Ui, summary: &Summary) {
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        if let Some(scale) = &summary.scale {
            scale_ui(ui, scale);
        }
        let shapes = [
            (summary.pending, Value::Pending, "not measured yet"),
            (summary.nothing, Value::Nothing, "has none: kept as it is"),
            (summary.not_finite, Value::NotFinite(f64::NAN), "NaN or infinite"),
        ];
        for (count, value, text) in shapes {
            if count > 0 {
                ui.add_space(8.0);
                let (rect, _) = ui.allocate_exact_size(vec2(22.0, 14.0), Sense::hover());
                cells::cell(ui.painter(), Theme::of(ui), rect, value, None, None);
                caption(ui, text);
            }
        }
    });
}

fn scale_ui(ui: &mut Ui, scale: &Scale) {
    const WIDTH: f32 = 220.0;
    let [low, middle, high] = [0.0, 0.5, 1.0].map(|part| scale.column.shown(scale.at(part)));
    let kind = match scale.spread {
        Spread::Linear => "linear",
        Spread::Log => "logarithmic",
        Spread::Signed => "0 in the middle",
    };
    caption(ui, &low);
    let (rect, response) = ui.allocate_exact_size(vec2(WIDTH, 14.0), Sense::hover());
    let painter = ui.painter();
    let steps = WIDTH as usize;
    for i in 0..steps {
        let part = (i as f64 + 0.5) / steps as f64;
        let left = rect.left() + i as f32;
        let strip = Rect::from_min_size(pos2(left, rect.top()), Vec2::new(1.5, rect.height()));
        painter.rect_filled(strip, 0.0, cells::colour(scale, scale.at(part)));
    }
    let on = Theme::on(cells::colour(scale, scale.at(0.5)));
    painter.text(rect.center(), Align2::CENTER_CENTER, &middle, theme::small(), on);
    let said = format!("colours from {low} to {high}, {kind}");
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &said));
    response.on_hover_text(&said);
    caption(ui, &high);
    caption(ui, &format!("({kind})"));
}
