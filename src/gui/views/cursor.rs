//! Pictures of cells that keys walk over, as arrows say.

use eframe::egui::{Key, Response, Ui};

use crate::gui::widgets::keep_arrows;

/// A cell, by row and column.
pub type At = (usize, usize);

/// Where arrows lead from a cell of so many rows and columns, and whether it is taken by Enter or Space,
/// while a picture has the focus.
pub fn walk(ui: &Ui, response: &Response, from: At, size: At) -> (Option<At>, bool) {
    let (rows, columns) = size;
    if !response.has_focus() || rows == 0 || columns == 0 {
        return (None, false);
    }
    keep_arrows(ui, response.id, true);
    let moved = moved(ui, from, size, &[]);
    let pressed = |key| ui.input(|input| input.key_pressed(key));
    (moved, pressed(Key::Enter) || pressed(Key::Space))
}

/// Where arrows and Page keys lead from a cell, and `more` keys with how far they go down and right; `None`
/// if nowhere else. There has to be a cell.
pub fn moved(ui: &Ui, from: At, (rows, columns): At, more: &[(Key, isize, isize)]) -> Option<At> {
    const ARROWS: [(Key, isize, isize); 6] = [
        (Key::ArrowDown, 1, 0),
        (Key::ArrowUp, -1, 0),
        (Key::ArrowRight, 0, 1),
        (Key::ArrowLeft, 0, -1),
        (Key::PageDown, 10, 0),
        (Key::PageUp, -10, 0),
    ];
    let start = (from.0.min(rows - 1), from.1.min(columns - 1));
    let mut at = start;
    for &(key, down, right) in ARROWS.iter().chain(more) {
        if ui.input(|input| input.key_pressed(key)) {
            at.0 = at.0.saturating_add_signed(down).min(rows - 1);
            at.1 = at.1.saturating_add_signed(right).min(columns - 1);
        }
    }
    (at != start).then_some(at)
}
