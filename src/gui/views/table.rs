//! The statistics table.

use eframe::egui::Ui;

use crate::gui::app::{App, Asked};
use crate::gui::session::Session;
use crate::report::Row;

/// What it remembers.
#[derive(Debug, Default)]
pub struct TableView {
    /// Whether the filter is to be typed into.
    pub focus_filter: bool,
}

/// Draws it.
pub fn table_ui(_: &mut App, _: &mut Ui, _: &mut Asked) {}

/// The rows that are shown, in their order.
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
    let entries = shown_rows(session).into_iter().flat_map(|row| row.entries.clone());
    let names = entries.filter_map(|i| analysis.plan.entries.get(i));
    session.selection = names.map(|entry| entry.member.tensor.name.clone()).collect();
}
