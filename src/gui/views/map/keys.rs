//! The map by keys: a cursor that arrows move.

use eframe::egui::{EventFilter, Id, Key, Modifiers, Role, Sense, Ui, WidgetInfo};

use super::act::{Act, How};
use super::cells;
use super::grid::{Grid, Seen};
use super::placed::Placed;

impl Grid<'_> {
    /// The map takes keys as one widget, and says where its cursor is.
    pub(super) fn keys(&self, ui: &Ui, place: &Placed, seen: &mut Seen) {
        let response = ui.interact(place.body, keyboard(ui), Sense::FOCUSABLE);
        seen.has_focus = response.has_focus();
        if seen.has_focus {
            let filter = EventFilter {
                horizontal_arrows: true,
                vertical_arrows: true,
                ..EventFilter::default()
            };
            ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
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
        let (mut r, mut c) = (self.cursor.0.min(rows - 1), self.cursor.1.min(columns - 1));
        let before = (r, c);
        let pressed = |key| ui.input(|input| input.key_pressed(key));
        for (key, down, right) in [
            (Key::ArrowDown, 1, 0),
            (Key::ArrowUp, -1, 0),
            (Key::ArrowRight, 0, 1),
            (Key::ArrowLeft, 0, -1),
            (Key::PageDown, 10, 0),
            (Key::PageUp, -10, 0),
            (Key::End, 0, columns as isize),
            (Key::Home, 0, -(columns as isize)),
        ] {
            if pressed(key) {
                r = r.saturating_add_signed(down).min(rows - 1);
                c = c.saturating_add_signed(right).min(columns - 1);
            }
        }
        if (r, c) != before {
            seen.cursor = Some((r, c));
            ui.scroll_to_rect(place.with_names(place.cell((r, c))), None);
        }
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
