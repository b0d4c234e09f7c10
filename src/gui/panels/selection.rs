//! What is selected, and what to make of it.

use std::collections::{BTreeSet, HashMap};

use eframe::egui::{self, Align, Layout, RichText, Ui};

use crate::format::Format;
use crate::gui::app::{App, Asked};
use crate::gui::command::Command;
use crate::gui::session::{Analysis, Session};
use crate::gui::theme::{self, Theme};
use crate::gui::widgets::choices;
use crate::recipe::{Action, Recipe, Rule, patterns};
use crate::report::{Column, Row, tensor_row, together};
use crate::units::{bytes, count};

/// What is to become of what is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// It stays float.
    Keep,
    /// It becomes the recipe's format.
    Quantize,
    /// It becomes this.
    Set(Action),
}

/// Draws it: one tensor with its numbers, several with how many they are.
pub fn selection_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    let Some(analysis) = app.session.analysis().cloned() else { return };
    ui.add_space(2.0);
    ui.horizontal(|ui| {
        let selection = &app.session.selection;
        match selection.first().filter(|_| selection.len() == 1) {
            Some(name) => {
                ui.label(RichText::new(name).font(theme::strong()));
            }
            None => {
                let text = format!("{} selected", count(app.session.chosen.tensors, "tensor"));
                ui.label(RichText::new(text).font(theme::strong()));
                ui.weak(bytes(app.session.chosen.bytes));
            }
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if ui.button("Clear").on_hover_text(Command::ClearSelection.help()).clicked() {
                asked.commands.push(Command::ClearSelection);
            }
            if app.can(Command::KeepSelection) {
                wishes_ui(app, ui);
            }
            look_ui(app, ui, asked);
        });
    });
    if let Some(row) = selected_row(&app.session, &analysis) {
        numbers_ui(ui, &row);
    }
}

/// The ways into the one tensor that is selected.
fn look_ui(app: &App, ui: &mut Ui, asked: &mut Asked) {
    if app.session.selection.len() != 1 {
        return;
    }
    for (label, command) in
        [("Scale map", Command::ShowScales), ("Microscope", Command::ShowMicroscope)]
    {
        if ui.button(label).on_hover_text(command.help()).clicked() {
            asked.commands.push(command);
        }
    }
}

/// The numbers of what is selected, put together; `None` if that is too much for one frame.
fn selected_row(session: &Session, analysis: &Analysis) -> Option<Row> {
    const MOST: usize = 1000;
    let selection = &session.selection;
    let row = |name: &String| {
        let entry = *analysis.by_name.get(name)?;
        let stats = session.measurements.stats.get(entry).and_then(Option::as_deref);
        Some(tensor_row(&analysis.plan, entry, stats))
    };
    if selection.len() > MOST {
        return None;
    }
    together("", selection.iter().filter_map(row))
}

fn wishes_ui(app: &mut App, ui: &mut Ui) {
    let mut wish = None;
    choices(ui, "Format of the selection", "Make it…", 100.0, |ui| {
        for format in app.session.dialect().formats() {
            if ui.selectable_label(false, format.name()).clicked() {
                wish = Some(Wish::Set(Action::Format(format)));
            }
        }
    });
    if ui.button("Keep").on_hover_text(Command::KeepSelection.help()).clicked() {
        wish = Some(Wish::Keep);
    }
    if app.can(Command::QuantizeSelection)
        && ui.button("Quantize").on_hover_text(Command::QuantizeSelection.help()).clicked()
    {
        wish = Some(Wish::Quantize);
    }
    if let Some(wish) = wish {
        set_selection(&mut app.session, wish);
    }
}

/// Adds rules that say what becomes of what is selected.
pub fn set_selection(session: &mut Session, wish: Wish) {
    let Some(analysis) = session.analysis().cloned() else { return };
    let (selected, others): (Vec<&str>, Vec<&str>) = analysis
        .plan
        .entries
        .iter()
        .map(|entry| entry.member.tensor.name.as_str())
        .partition(|name| session.selection.contains(*name));
    let (action, name) = match wish {
        Wish::Keep => (Action::Keep, "keep the selection".to_owned()),
        Wish::Quantize => (Action::Quantize, "quantize the selection".to_owned()),
        Wish::Set(Action::Format(format)) => {
            (Action::Format(format), format!("{format} for the selection"))
        }
        Wish::Set(action) => (action, "the selection".to_owned()),
    };
    let recipe = session.planning.recipe.current();
    let rules = patterns(&selected, &others).into_iter();
    let rules = rules.map(|pattern| Rule::about(pattern, action));
    let mut recipe = as_rules(recipe);
    recipe.rules.extend(rules);
    session.change(&name, recipe);
}

/// Rules that give each of some tensors a format, or keep it, in place of the rules that there are.
pub fn set_all(session: &mut Session, name: &str, wishes: &[(String, Option<Format>)]) {
    let Some(analysis) = session.analysis().cloned() else { return };
    let mut by_format: HashMap<Option<Format>, BTreeSet<&str>> = HashMap::new();
    for (tensor, format) in wishes {
        by_format.entry(*format).or_default().insert(tensor);
    }
    let mut by_format: Vec<(Option<Format>, BTreeSet<&str>)> = by_format.into_iter().collect();
    by_format.sort_by_key(|(format, names)| (std::cmp::Reverse(names.len()), *format));
    let entries = analysis.plan.entries.iter();
    let all: Vec<&str> = entries.map(|entry| entry.member.tensor.name.as_str()).collect();
    let wished: BTreeSet<&str> = wishes.iter().map(|(tensor, _)| tensor.as_str()).collect();
    let mut recipe = session.planning.recipe.current().clone();
    (recipe.rules, recipe.include, recipe.exclude) = (Vec::new(), Vec::new(), Vec::new());
    for (place, (format, names)) in by_format.iter().enumerate() {
        // The most common format is for all, and the others are exceptions: the last rule decides.
        let own = if place == 0 { &wished } else { names };
        let (selected, others): (Vec<&str>, Vec<&str>) =
            all.iter().copied().partition(|name| own.contains(name));
        let action = format.map_or(Action::Keep, Action::Format);
        let globs = patterns(&selected, &others).into_iter();
        recipe.rules.extend(globs.map(|glob| Rule::about(glob, action)));
    }
    session.change(name, recipe);
}

/// The same recipe with its `include` and `exclude` as rules: what is added to those decides then.
fn as_rules(recipe: &Recipe) -> Recipe {
    let mut recipe = recipe.clone();
    let include = std::mem::take(&mut recipe.include).into_iter().map(|p| (p, Action::Quantize));
    let exclude = std::mem::take(&mut recipe.exclude).into_iter().map(|p| (p, Action::Keep));
    let rule = |(pattern, action)| Rule::about(pattern, action);
    recipe.rules.extend(include.chain(exclude).map(rule));
    recipe
}

/// The numbers of one row.
fn numbers_ui(ui: &mut Ui, row: &Row) {
    const SHOWN: [Column; 14] = [
        Column::Shape,
        Column::Dtype,
        Column::Format,
        Column::Amax,
        Column::MeanAbs,
        Column::StdDev,
        Column::Zeros,
        Column::GlobalScale,
        Column::ScaleMin,
        Column::ScaleMax,
        Column::Sqnr,
        Column::MaxError,
        Column::BitsPerWeight,
        Column::BytesAfter,
    ];
    let muted = Theme::of(ui).muted;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        for column in SHOWN {
            let text = column.text(row);
            if text != crate::report::NOTHING {
                let title = RichText::new(column.title()).font(theme::small()).color(muted);
                ui.label(title).on_hover_text(column.describe());
                ui.add(egui::Label::new(RichText::new(text).monospace()));
                ui.add_space(8.0);
            }
        }
    });
    ui.label(RichText::new(&row.reason).small().color(muted));
}
