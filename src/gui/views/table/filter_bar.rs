//! What is above the table: which rows there are, how they are put together, and what to do with them.

use eframe::egui::{Align, Key, Layout, RichText, TextEdit, Ui};

use super::columns;
use crate::gui::app::{App, Asked};
use crate::gui::command::Command;
use crate::gui::theme::{self, Theme};
use crate::gui::widgets::{caption, segments};
use crate::report::{Column, GroupBy};
use crate::units::count;

/// How rows are put together: name and help.
const GROUPS: [(GroupBy, &str, &str); 4] = [
    (GroupBy::None, "none", "A row for each tensor; experts under a row for all of them"),
    (GroupBy::Expert, "expert", "A row for all experts of a projection of a layer"),
    (GroupBy::Layer, "layer", "A row for each layer; norms and biases by themselves"),
    (GroupBy::Role, "role", "A row for all attention, all norms and so on"),
];

/// What can be written into the filter, and what it does.
const TERMS: [(&str, &str); 6] = [
    ("down_proj", "the name has this in it"),
    ("-norm", "the name does not have this in it"),
    ("amax>2", "a number; also < <= >= = and !="),
    ("role=mlp", "the whole text of a column; also !="),
    ("before>1M", "bytes, with k, M, G or T"),
    ("reason=\"preset linear\"", "text with spaces"),
];

/// Draws it.
pub fn filter_bar_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    ui.horizontal(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let tables = &app.session.tables;
            let (shown, all) = (tables.order.len(), tables.rows.len());
            let text = match shown == all {
                true => count(all as u64, "row"),
                false => format!("{shown} of {}", count(all as u64, "row")),
            };
            ui.label(RichText::new(text).color(Theme::of(ui).muted));
            let help = ui.menu_button("?", help_ui).response;
            help.accessible_name("How to filter").on_hover_text("How to filter");
            filter_ui(app, ui);
        });
    });
    if let Some(error) = &app.session.tables.filter_error {
        ui.label(RichText::new(error).font(theme::small()).color(Theme::of(ui).warn));
    }
    ui.horizontal_wrapped(|ui| {
        caption(ui, "Group by");
        if let Some(by) = segments(ui, "Group by", &GROUPS, app.session.query.by) {
            app.session.query.by = by;
            (app.views.table.cursor, app.views.table.anchor) = (None, None);
        }
        ui.add_space(8.0);
        ui.menu_button("Columns", |ui| columns::menu_ui(app, ui));
        command_ui(app, ui, asked, "Copy", Command::CopyRows);
        ui.menu_button("Save", |ui| {
            command_ui(app, ui, asked, "CSV", Command::SaveTableCsv);
            command_ui(app, ui, asked, "JSON", Command::SaveTableJson);
            command_ui(app, ui, asked, "Markdown", Command::SaveTableMarkdown);
        });
        command_ui(app, ui, asked, "Select all shown", Command::SelectShown);
    });
}

fn filter_ui(app: &mut App, ui: &mut Ui) {
    let filter = TextEdit::singleline(&mut app.session.query.filter)
        .hint_text("down_proj amax>2 sqnr<20 -norm role=mlp")
        .desired_width(f32::INFINITY);
    let response = ui.add(filter).accessible_name("Filter");
    if std::mem::take(&mut app.views.table.focus_filter) {
        response.request_focus();
    }
    if response.changed() {
        (app.views.table.cursor, app.views.table.anchor) = (None, None);
    }
    if response.lost_focus() && ui.input(|input| input.key_pressed(Key::Escape)) {
        app.session.query.filter.clear();
    }
}

fn command_ui(app: &App, ui: &mut Ui, asked: &mut Asked, name: &str, command: Command) {
    let button = eframe::egui::Button::new(name);
    if ui.add_enabled(app.can(command), button).on_hover_text(command.help()).clicked() {
        asked.commands.push(command);
    }
}

fn help_ui(ui: &mut Ui) {
    ui.set_min_width(520.0);
    let rows = |ui: &mut Ui, name: &str, rows: &mut dyn Iterator<Item = (&str, &str)>| {
        eframe::egui::Grid::new(name).num_columns(2).spacing([16.0, 3.0]).show(ui, |ui| {
            for (key, what) in rows {
                ui.label(RichText::new(key).monospace());
                ui.label(RichText::new(what).font(theme::small()));
                ui.end_row();
            }
        });
    };
    caption(ui, "Terms, side by side: a row has to fulfil all of them");
    rows(ui, "terms", &mut TERMS.into_iter());
    ui.separator();
    caption(ui, "Columns");
    eframe::egui::ScrollArea::vertical().max_height(360.0).show(ui, |ui| {
        rows(ui, "columns", &mut Column::ALL.into_iter().map(|c| (c.key(), c.describe())));
    });
}
