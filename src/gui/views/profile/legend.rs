//! Which line is which projection; a click takes a line away, or brings it back.

use std::collections::BTreeSet;

use eframe::egui::{
    Align2, Color32, CornerRadius, Response, Role, Sense, Shape, Stroke, StrokeKind, Ui,
    WidgetInfo, pos2, vec2,
};

use super::lines::{Line, Profile};
use super::plot::look;
use crate::gui::theme::{self, Theme};

/// Draws it.
pub fn legend_ui(ui: &mut Ui, profile: &Profile, hidden: &mut BTreeSet<String>) {
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(4.0, 4.0);
        for (i, line) in profile.lines.iter().enumerate() {
            let (colour, dashed) = look(Theme::of(ui), i);
            let response = entry_ui(ui, line, colour, dashed);
            if response.double_clicked() {
                let others = profile.lines.iter().filter(|other| other.name != line.name);
                *hidden = others.map(|other| other.name.clone()).collect();
            } else if response.clicked() && !hidden.remove(&line.name) {
                hidden.insert(line.name.clone());
            }
            let help = "Click: on or off. Double-click: only this one.";
            response.on_hover_text(format!("{}\n{help}", line.name));
        }
        if !hidden.is_empty() && ui.small_button("Show all").clicked() {
            hidden.clear();
        }
    });
}

/// A piece of the line, and its name.
fn entry_ui(ui: &mut Ui, line: &Line, colour: Color32, dashed: bool) -> Response {
    let theme = Theme::of(ui);
    let text = if line.shown { theme.text } else { theme.muted };
    let galley = ui.painter().layout_no_wrap(line.short.clone(), theme::small(), text);
    let size = vec2(galley.size().x + 38.0, 22.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let painter = ui.painter();
    let corner = CornerRadius::same(5);
    if response.hovered() || response.has_focus() {
        let stroke = Stroke::new(1.0, theme.accent);
        painter.rect(rect, corner, theme.raised, stroke, StrokeKind::Inside);
    }
    let ends =
        [pos2(rect.left() + 8.0, rect.center().y), pos2(rect.left() + 24.0, rect.center().y)];
    let middle = pos2(rect.left() + 16.0, rect.center().y);
    match (line.shown, dashed) {
        (true, true) => {
            painter.extend(Shape::dashed_line(&ends, Stroke::new(2.0, colour), 4.0, 3.0));
        }
        (true, false) => {
            painter.line_segment(ends, Stroke::new(2.0, colour));
        }
        (false, _) => {
            painter.line_segment(ends, Stroke::new(1.0, theme.line));
        }
    }
    match line.shown {
        true => painter.circle_filled(middle, 3.0, colour),
        false => painter.circle_stroke(middle, 3.0, Stroke::new(1.0, theme.muted)),
    };
    let at = pos2(rect.left() + 30.0, rect.center().y);
    let font = theme::small();
    painter.text(at, Align2::LEFT_CENTER, &line.short, font, text);
    response.widget_info(|| WidgetInfo::selected(Role::CheckBox, true, line.shown, &line.name));
    response
}
