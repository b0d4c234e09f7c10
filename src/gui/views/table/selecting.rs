//! What is selected, by pointer and by keyboard.

use std::sync::Arc;

use eframe::egui::{Id, Key, Modifiers, Ui};

use super::TableView;
use crate::gui::app::App;
use crate::gui::session::Analysis;
use crate::gui::widgets::keep_arrows;
use crate::report::Row;

/// Notices what was selected in other views, and brings it on screen, once.
pub fn notice_changes(app: &mut App) {
    let (session, view) = (&mut app.session, &mut app.views.table);
    if session.tables.lines.is_empty() || view.seen == session.chosen.changes {
        return;
    }
    view.seen = session.chosen.changes;
    let tables = &session.tables;
    let is_chosen = |row: &usize| session.chosen.has(&tables.rows[*row]);
    let found = tables.lines.iter().position(|line| is_chosen(&line.row));
    if found.is_some() {
        view.scroll_to = found;
        (view.cursor, view.anchor) = (found, found);
    } else if let Some(row) = tables.order.iter().find(|row| is_chosen(row))
        && let Some(whole) = &tables.rows[*row].part_of
    {
        // It is folded away, for some frames more.
        session.query.folds.insert(whole.clone(), true);
        view.seen = u64::MAX;
    }
}

/// Selects a line that was clicked: with shift all from the one before, with the command key besides
/// what is selected.
pub fn pick(app: &mut App, line: usize, modifiers: Modifiers) {
    let view = &mut app.views.table;
    view.cursor = Some(line);
    match view.anchor.filter(|_| modifiers.shift) {
        Some(anchor) => select_between(app, anchor, line),
        None => {
            view.anchor = Some(line);
            let is_besides = modifiers.command;
            select(app, line, is_besides);
        }
    }
}

/// Selects one line alone, or adds it to what is selected, or takes it out of that.
fn select(app: &mut App, line: usize, is_besides: bool) {
    let Some(analysis) = app.session.analysis().cloned() else { return };
    let tables = Arc::clone(&app.session.tables);
    let Some(row) = tables.lines.get(line).map(|line| &tables.rows[line.row]) else { return };
    let selection = &mut app.session.selection;
    let names = names(&analysis, row);
    if !is_besides {
        *selection = names.collect();
    } else if app.session.chosen.has(row) {
        names.for_each(|name| {
            selection.remove(&name);
        });
    } else {
        selection.extend(names);
    }
    note(app, &analysis);
}

/// Selects all lines between two, both included.
fn select_between(app: &mut App, one: usize, other: usize) {
    let Some(analysis) = app.session.analysis().cloned() else { return };
    let tables = Arc::clone(&app.session.tables);
    let last = tables.lines.len().saturating_sub(1);
    let between = one.min(other)..=one.max(other).min(last);
    let lines = tables.lines.get(between).unwrap_or_default();
    let rows = lines.iter().map(|line| &tables.rows[line.row]);
    app.session.selection = rows.flat_map(|row| names(&analysis, row)).collect();
    note(app, &analysis);
}

/// What was selected here is on screen already.
fn note(app: &mut App, analysis: &Arc<Analysis>) {
    app.session.chosen.update(&app.session.selection, analysis);
    app.views.table.seen = app.session.chosen.changes;
}

fn names<'a>(analysis: &'a Analysis, row: &'a Row) -> impl Iterator<Item = String> + 'a {
    analysis.tensors_of(row).cloned()
}

/// Moves the cursor of a table that has the keyboard, and selects with it.
pub fn keys(app: &mut App, ui: &Ui, id: Id) {
    let lines = app.session.tables.lines.len();
    if !ui.memory(|memory| memory.has_focus(id)) || lines == 0 {
        return;
    }
    keep_arrows(ui, id, false);
    let view = &mut app.views.table;
    let cursor = view.cursor.unwrap_or(0).min(lines - 1);
    if let Some((to, extends)) = moved(ui, view, cursor, lines) {
        let anchor = *view.anchor.get_or_insert(cursor);
        view.cursor = Some(to);
        view.scroll_to = Some(to);
        match extends {
            true => select_between(app, anchor, to),
            false => app.views.table.anchor = Some(to),
        }
    }
    let pressed = |key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key));
    if pressed(Key::Space) {
        select(app, cursor, true);
    } else if pressed(Key::Enter) {
        select(app, cursor, false);
    }
}

/// Where a key moves the cursor, and whether it extends the selection there.
fn moved(ui: &Ui, view: &TableView, cursor: usize, lines: usize) -> Option<(usize, bool)> {
    let (page, last) = (view.page.max(2) - 1, lines - 1);
    let motions = [
        (Key::ArrowDown, cursor.saturating_add(1)),
        (Key::ArrowUp, cursor.saturating_sub(1)),
        (Key::PageDown, cursor.saturating_add(page)),
        (Key::PageUp, cursor.saturating_sub(page)),
        (Key::Home, 0),
        (Key::End, last),
    ];
    ui.input_mut(|input| {
        // A key alone also stands for it with shift: so shift is asked for first.
        [(Modifiers::SHIFT, true), (Modifiers::NONE, false)].iter().find_map(|(with, extends)| {
            let pressed = motions.iter().find(|(key, _)| input.consume_key(*with, *key));
            pressed.map(|(_, to)| ((*to).min(last), *extends))
        })
    })
}
