//! The model as a map: layers by projections, a cell a tensor, coloured by one of its numbers.

mod act;
mod cells;
mod grid;
mod keys;
mod layout;
mod legend;
mod names;
mod placed;
mod saved;
mod sheet;
mod strip;
#[cfg(test)]
pub mod tests;

use std::sync::Arc;

use eframe::egui::{Align, Layout, RichText, Ui};

use act::{Act, How};
use grid::{At, Grid, Seen};
use sheet::{Sheet, Wanted};

pub use act::choose;
pub use cells::numbers_ui as tooltip_of;

use crate::format::ScaleSearch;
use crate::gui::app::{App, Asked};
use crate::gui::session::Session;
use crate::gui::theme::{self, Theme};
use crate::gui::widgets::{caption, segments};
use crate::report::{Column, ReportFormat, table_text};

/// What it remembers.
#[derive(Debug)]
pub struct MapView {
    column: Column,
    /// Whether norms and biases are shown.
    small: bool,
    cursor: At,
    /// Where a range begins.
    anchor: At,
    hovered: Option<At>,
    sheet: Option<Arc<Sheet>>,
}

impl Default for MapView {
    fn default() -> Self {
        Self {
            column: Column::Amax,
            small: false,
            cursor: (0, 0),
            anchor: (0, 0),
            hovered: None,
            sheet: None,
        }
    }
}

/// Numbers that the map can show: what they are called here.
const COLUMNS: [(Column, &str); 6] = [
    (Column::Amax, "amax"),
    (Column::BitsPerWeight, "bits a weight"),
    (Column::Sqnr, "SQNR"),
    (Column::MaxError, "max error"),
    (Column::BytesSaved, "bytes saved"),
    (Column::SearchGain, "search gain"),
];

/// Draws it.
pub fn map_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    let Some(sheet) = sheet_of(app) else { return };
    bar_ui(app, ui, asked, &sheet);
    legend::legend_ui(ui, &sheet.summary);
    summary_ui(app, ui, &sheet);
    ui.add_space(2.0);
    let column = app.views.map.column;
    let mut entries = strip::strip_ui(ui, &mut app.session, &sheet, column);
    if sheet.rows.is_empty() {
        empty_ui(app, ui);
    } else {
        let experts = app.session.query.experts_of.is_some();
        let grid = Grid {
            sheet: &sheet,
            session: &app.session,
            column,
            cursor: app.views.map.cursor,
            row_title: if experts { "expert" } else { "layer" },
            wraps: experts,
        };
        let seen = grid.show(ui);
        entries.extend(&seen.entries);
        take(app, &sheet, seen);
    }
    app.session.measurements.want(&entries);
}

/// What is shown, made anew where something has changed.
fn sheet_of(app: &mut App) -> Option<Arc<Sheet>> {
    let (session, view) = (&app.session, &mut app.views.map);
    let analysis = session.analysis()?;
    if !is_offered(session, view.column) {
        view.column = Column::Amax;
    }
    let experts_of = session.query.experts_of;
    let wanted = Wanted { column: view.column, small: view.small, experts_of };
    let known = view.sheet.take().filter(|sheet| sheet.is_of(analysis, &session.tables, wanted));
    let sheet = known.unwrap_or_else(|| Arc::new(Sheet::new(analysis, &session.tables, wanted)));
    view.sheet = Some(Arc::clone(&sheet));
    let last = |n: usize| n.saturating_sub(1);
    view.cursor.0 = view.cursor.0.min(last(sheet.rows.len()));
    view.cursor.1 = view.cursor.1.min(last(sheet.columns.len()));
    Some(sheet)
}

/// Whether a number makes sense: there is a gain only where something was searched for.
fn is_offered(session: &Session, column: Column) -> bool {
    let searches =
        session.analysis().is_some_and(|analysis| analysis.plan.search != ScaleSearch::Max);
    column != Column::SearchGain || searches
}

fn bar_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked, sheet: &Sheet) {
    ui.horizontal_wrapped(|ui| {
        experts_ui(app, ui, sheet);
        let offered = COLUMNS.into_iter().filter(|(column, _)| is_offered(&app.session, *column));
        let offered: Vec<_> = offered.map(|(c, name)| (c, name, c.describe())).collect();
        let view = &mut app.views.map;
        if let Some(column) = segments(ui, "Colour by", &offered, view.column) {
            view.column = column;
        }
        if app.session.query.experts_of.is_none() {
            ui.checkbox(&mut view.small, "Norms and biases")
                .on_hover_text("Shows the tensors that no format is for as well.");
        }
        at_right(ui, |ui| save_ui(app, ui, asked, sheet));
    });
}

/// Puts the buttons that save at the right where there is room, else in the next line.
pub fn at_right(ui: &mut Ui, add: impl FnOnce(&mut Ui)) {
    const WIDTH: f32 = 224.0;
    if ui.available_size_before_wrap().x > WIDTH {
        ui.with_layout(Layout::right_to_left(Align::Center), add);
    } else {
        ui.end_row();
        ui.horizontal(add);
    }
}

/// The way to the experts of another layer, and back.
fn experts_ui(app: &mut App, ui: &mut Ui, sheet: &Sheet) {
    let layers = &sheet.layers_with_experts;
    let Some(first) = layers.first() else { return };
    let query = &mut app.session.query;
    let Some(layer) = query.experts_of else {
        let cursor = sheet.cell(app.views.map.cursor.0, app.views.map.cursor.1);
        let layer = cursor.and_then(|row| row.layer).filter(|layer| layers.contains(layer));
        let layer = layer.unwrap_or(*first);
        let help = "Shows every expert of a layer by itself. Or double-click a cell with experts.";
        if ui.button(format!("Experts of layer {layer}")).on_hover_text(help).clicked() {
            query.experts_of = Some(layer);
        }
        return;
    };
    if ui.button("All layers").clicked() {
        query.experts_of = None;
    }
    let place = layers.iter().position(|known| *known == layer);
    let at = |place: Option<usize>| place.and_then(|place| layers.get(place)).copied();
    let (before, after) = (at(place.and_then(|p| p.checked_sub(1))), at(place.map(|p| p + 1)));
    for (label, help, other) in [("‹", "Previous layer", before), ("›", "Next layer", after)] {
        if label == "›" {
            ui.label(RichText::new(format!("Layer {layer}")).font(theme::strong()));
        }
        let button = ui.add_enabled(other.is_some(), eframe::egui::Button::new(label));
        if button.on_hover_text(help).accessible_name(help).clicked() {
            query.experts_of = other;
        }
    }
}

fn save_ui(app: &App, ui: &mut Ui, asked: &mut Asked, sheet: &Sheet) {
    let Some((_, document)) = &app.session.document else { return };
    let column = app.views.map.column;
    let experts = app.session.query.experts_of;
    let name = document.name.clone();
    let about = experts.map_or(String::new(), |layer| format!("-layer-{layer}-experts"));
    let file = |ending: &str| format!("{name}{about}-{}.{ending}", column.key());
    if ui.button("Save as CSV").on_hover_text("Every number of the cells shown.").clicked() {
        let text = table_text(sheet.all(), ReportFormat::Csv);
        asked.save = Some((file("csv"), text.into_bytes()));
    }
    if ui.button("Save as SVG").on_hover_text("This map as a picture.").clicked() {
        let (title, rows) = match experts {
            Some(layer) => (format!("{name}: experts of layer {layer}"), "expert"),
            None => (name.clone(), "layer"),
        };
        let svg = saved::svg(sheet, column, &title, rows);
        asked.save = Some((file("svg"), svg.into_bytes()));
    }
}

/// What the colours say, in words; or what the cell says that is pointed at.
fn summary_ui(app: &App, ui: &mut Ui, sheet: &Sheet) {
    let view = &app.views.map;
    let pointed = view.hovered.and_then(|(r, c)| sheet.cell(r, c));
    let theme = Theme::of(ui);
    match pointed {
        Some(row) => {
            let said = cells::said(view.column, row);
            ui.label(RichText::new(said).font(theme::small()).color(theme.text));
        }
        None => {
            caption(ui, &sheet.summary.text());
        }
    }
}

/// Why there is nothing to show.
fn empty_ui(app: &App, ui: &mut Ui) {
    ui.add_space(24.0);
    ui.vertical_centered(|ui| match app.session.query.experts_of {
        Some(layer) => {
            ui.spinner();
            ui.label(format!("Single experts of layer {layer} show once they are measured."));
        }
        None if app.session.is_busy() => {
            ui.spinner();
        }
        None => {
            ui.label("This checkpoint has no layers.");
        }
    });
}

/// How a click selects, by the modifier keys that are down.
pub fn how(ui: &Ui) -> How {
    How::without_range(ui.input(|input| input.modifiers))
}

/// Does what was asked for.
fn take(app: &mut App, sheet: &Sheet, seen: Seen) {
    let view = &mut app.views.map;
    view.hovered = seen.hovered.or(seen.cursor).or(seen.has_focus.then_some(view.cursor));
    if let Some(cursor) = seen.cursor {
        view.cursor = cursor;
    }
    match seen.act {
        Some(Act::Select(cells, How::Range)) => {
            let cells = cells.first().map_or(Vec::new(), |at| act::rectangle(view.anchor, *at));
            act::select(&mut app.session.selection, sheet, &cells, How::Range);
        }
        Some(Act::Select(cells, how)) => {
            view.anchor = cells.first().copied().unwrap_or(view.anchor);
            act::select(&mut app.session.selection, sheet, &cells, how);
        }
        Some(Act::Experts(layer)) => app.session.query.experts_of = layer,
        None => {}
    }
}
