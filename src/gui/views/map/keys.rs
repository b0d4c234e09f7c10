//! The map by keys: a cursor that arrows move.

use eframe::egui::{Id, Key, Modifiers, Role, Sense, Ui, WidgetInfo};

use super::act::{Act, How};
use super::cells;
use super::grid::{Grid, Seen};
use super::placed::Placed;
use crate::gui::views::cursor::moved;
use crate::gui::widgets::keep_arrows;

impl Grid<'_> {
    /// The map takes keys as one widget, and says where its cursor is.
    pub(super) fn keys(&self, ui: &Ui, place: &Placed, seen: &mut Seen) {
        let response = ui.interact(place.body, keyboard(ui), Sense::FOCUSABLE);
        seen.has_focus = response.has_focus();
        if seen.has_focus {
            keep_arrows(ui, response.id, true);
            self.keys_pressed(ui, place, seen);
        }
        let (r, c) = seen.cursor.unwrap_or(self.cursor);
        let said = self
            .sheet
            .cell(r, c)
            .map_or_else(|| "nothing here".to_owned(), |row| cells::said(self.column, row));
        response.widget_info(|| WidgetInfo {
            current_text_value: Some(said.clone()),
            ..WidgetInfo::labeled(Role::Grid, true, format!("Map of {}", self.column.title()))
        });
    }

    fn keys_pressed(&self, ui: &Ui, place: &Placed, seen: &mut Seen) {
        let (rows, columns) = (self.sheet.rows.len(), self.sheet.columns.len());
        if rows == 0 || columns == 0 {
            return;
        }
        let ends = [(Key::End, 0, columns as isize), (Key::Home, 0, -(columns as isize))];
        let to = moved(ui, self.cursor, (rows, columns), &ends);
        if let Some(to) = to {
            seen.cursor = Some(to);
            ui.scroll_to_rect(place.with_names(place.cell(to)), None);
        }
        let pressed = |key| ui.input(|input| input.key_pressed(key));
        let (r, c) = to.unwrap_or((self.cursor.0.min(rows - 1), self.cursor.1.min(columns - 1)));
        let Some(row) = self.sheet.cell(r, c) else { return };
        let modifiers = ui.input(|input| input.modifiers);
        match self.sheet.experts_in(row) {
            Some(layer) if pressed(Key::Enter) => seen.act = Some(Act::Experts(Some(layer))),
            _ if pressed(Key::Enter) || pressed(Key::Space) => {
                // Space with control is the system's; the map has no other way to add by keys.
                let modifiers = Modifiers { command: modifiers.any(), ..Modifiers::NONE };
                seen.act = Some(Act::Select(vec![(r, c)], How::of(modifiers)));
            }
            _ => {}
        }
    }
}

/// The widget that takes keys.
pub(super) fn keyboard(ui: &Ui) -> Id {
    ui.scope_id().with("keyboard")
}
