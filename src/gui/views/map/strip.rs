//! Tensors in no layer: a cell each, with its name over it.

use std::collections::BTreeSet;

use eframe::egui::{Align2, Rect, Role, ScrollArea, Sense, Ui, WidgetInfo, pos2, vec2};

use super::act::{How, choose};
use super::cells;
use super::sheet::Sheet;
use crate::gui::session::Session;
use crate::gui::theme::{self, Theme};
use crate::report::{Column, Value};

const WIDTH: f32 = 132.0;
const GAP: f32 = 10.0;
const NAME: f32 = 16.0;
const CELL: f32 = 20.0;

/// Draws them side by side, those in sight only; their entries in the plan.
pub fn strip_ui(ui: &mut Ui, session: &mut Session, sheet: &Sheet, column: Column) -> Vec<usize> {
    let count = sheet.outside().len();
    let mut wanted = Vec::new();
    if count == 0 {
        return wanted;
    }
    let area = ScrollArea::horizontal().id_salt("outside").auto_shrink([false, true]);
    area.show_viewport(ui, |ui, viewport| {
        let size = vec2(count as f32 * (WIDTH + GAP) - GAP, NAME + CELL + 2.0);
        let (whole, _) = ui.allocate_exact_size(size, Sense::hover());
        let theme = Theme::of(ui);
        let first = (viewport.left() / (WIDTH + GAP)).floor().max(0.0) as usize;
        let shown = (viewport.width() / (WIDTH + GAP)).ceil() as usize + 1;
        let mut clicked = None;
        for (i, (name, row)) in sheet.outside().enumerate().skip(first).take(shown) {
            let corner = whole.min + vec2(i as f32 * (WIDTH + GAP), 0.0);
            let rect = Rect::from_min_size(corner, vec2(WIDTH, size.y));
            let cell = Rect::from_min_max(pos2(rect.left(), rect.top() + NAME), rect.max);
            let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
            let shown_name = end_of(name, 24);
            let (font, at) = (theme::small(), rect.left_top());
            painter.text(at, Align2::LEFT_TOP, shown_name, font, theme.muted);
            let value = Value::of(column, row);
            let text = column.text(row);
            let scale = sheet.summary.scale.as_ref();
            let inner = cell.shrink2(vec2(0.0, 1.0));
            cells::cell(&painter, theme, inner, value, scale, Some(&text));
            let selected = sheet.names(row).any(|name| session.selection.contains(name));
            if selected {
                cells::selected(&painter, theme, inner);
            }
            let response = ui.interact(rect, ui.scope_id().with(("outside", i)), Sense::click());
            response.widget_info(|| {
                WidgetInfo::selected(Role::Button, true, selected, cells::said(column, row))
            });
            if response.has_focus() {
                cells::cursor(ui.painter(), theme, inner);
            }
            if response.clicked() {
                clicked = Some(sheet.names(row).cloned().collect::<BTreeSet<String>>());
            }
            wanted.extend(&row.entries);
            let failures = &session.measurements.failures;
            let failure = row.entries.iter().find_map(|entry| failures.get(entry));
            response.on_hover_ui(|ui| {
                cells::tooltip(ui, sheet, row, failure.map(String::as_str));
            });
        }
        if let Some(names) = clicked {
            let how = How::without_range(ui.input(|input| input.modifiers));
            choose(&mut session.selection, names, how);
        }
    });
    wanted
}

/// The end of a name, which tells more than its beginning.
fn end_of(name: &str, most: usize) -> String {
    let count = name.chars().count();
    match count > most {
        true => std::iter::once('…').chain(name.chars().skip(count + 1 - most)).collect(),
        false => name.to_owned(),
    }
}
