//! Pictures of cells that keys walk over, as arrows say.

use eframe::egui::{EventFilter, Key, Response, Ui};

/// A cell, by row and column.
pub type At = (usize, usize);

/// Where arrows lead from a cell of so many rows and columns, and whether it is taken by Enter or Space,
/// while a picture has the focus.
pub fn walk(ui: &Ui, response: &Response, from: At, size: At) -> (Option<At>, bool) {
    let (rows, columns) = size;
    if !response.has_focus() || rows == 0 || columns == 0 {
        return (None, false);
    }
    let filter =
        EventFilter { horizontal_arrows: true, vertical_arrows: true, ..EventFilter::default() };
    ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
    let start = (from.0.min(rows - 1), from.1.min(columns - 1));
    let mut at = start;
    let pressed = |key| ui.input(|input| input.key_pressed(key));
    for (key, down, right) in [
        (Key::ArrowDown, 1, 0),
        (Key::ArrowUp, -1, 0),
        (Key::ArrowRight, 0, 1),
        (Key::ArrowLeft, 0, -1),
        (Key::PageDown, 10, 0),
        (Key::PageUp, -10, 0),
    ] {
        if pressed(key) {
            at.0 = at.0.saturating_add_signed(down).min(rows - 1);
            at.1 = at.1.saturating_add_signed(right).min(columns - 1);
        }
    }
    ((at != start).then_some(at), pressed(Key::Enter) || pressed(Key::Space))
}
