//! The statistics table: a line for each tensor, or group of tensors, with all that is known of it.

mod body;
mod cells;
mod columns;
mod filter_bar;
mod header;
mod selecting;
#[cfg(test)]
mod tests;

use eframe::egui::{Id, Rect, Ui, UiBuilder};

pub use columns::TableColumns;

use super::super::app::{App, Asked};
use crate::gui::session::Session;
use crate::report::Row;

/// What it remembers.
#[derive(Debug, Default)]
pub struct TableView {
    /// Whether the filter is to be typed into.
    pub focus_filter: bool,
    /// The line that the keyboard acts on.
    cursor: Option<usize>,
    /// The line from which a selection is extended.
    anchor: Option<usize>,
    /// How often something else had been selected, when it was brought on screen last.
    seen: u64,
    /// The line to bring on screen.
    scroll_to: Option<usize>,
    /// How many lines fit on the screen.
    page: usize,
}

/// Draws it.
pub fn table_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    filter_bar::filter_bar_ui(app, ui, asked);
    let area = ui.available_rect_before_wrap();
    let id = Id::unique("statistics table");
    selecting::notice_changes(app);
    selecting::keys(app, ui, id);
    let places = columns::places(app, area.width());
    let (top, below) = area.split_top_bottom_at_y(area.top() + header::HEIGHT);
    // The header follows what the lines below it are scrolled to.
    let scrolled = body::body_ui(app, &mut child(ui, below), id, &places);
    header::header_ui(app, &mut child(ui, top), &places, scrolled);
    ui.advance_cursor_after_rect(area);
}

fn child(ui: &mut Ui, rect: Rect) -> Ui {
    ui.new_child(UiBuilder::new().max_rect(rect))
}

/// The rows that are shown, or folded away, in their order.
pub fn shown_rows(session: &Session) -> Vec<&Row> {
    session.tables.order.iter().map(|&i| &session.tables.rows[i]).collect()
}

/// The rows that are shown and selected; all that are shown if none is.
pub fn chosen_rows(session: &Session) -> Vec<&Row> {
    let shown = shown_rows(session);
    let is_selected = |row: &&Row| is_selected(session, row);
    let chosen: Vec<&Row> = shown.iter().copied().filter(is_selected).collect();
    if chosen.is_empty() { shown } else { chosen }
}

/// Whether every tensor of a row is selected.
pub fn is_selected(session: &Session, row: &Row) -> bool {
    let Some(analysis) = session.analysis() else { return false };
    let name = |&entry: &usize| analysis.plan.entries.get(entry).map(|e| &e.member.tensor.name);
    !row.entries.is_empty()
        && row.entries.iter().all(|i| name(i).is_some_and(|name| session.selection.contains(name)))
}

/// Selects every tensor of the rows that are shown.
pub fn select_shown(session: &mut Session) {
    let Some(analysis) = session.analysis().cloned() else { return };
    let entries = shown_rows(session).into_iter().flat_map(|row| &row.entries);
    let names = entries.filter_map(|&i| analysis.plan.entries.get(i));
    session.selection = names.map(|entry| entry.member.tensor.name.clone()).collect();
}
