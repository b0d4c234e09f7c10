//! What is looked at, and how to look at something else.

use std::sync::Arc;

use eframe::egui::{
    self, Align, DragValue, Key, Layout, Popup, RichText, ScrollArea, TextEdit, Ui,
};

use super::{Pinned, about, saved};
use crate::format::Format;
use crate::gui::app::{App, Asked};
use crate::gui::command::Command;
use crate::gui::session::Analysis;
use crate::gui::theme::{self, Theme};
use crate::gui::views::{TABS, View};
use crate::gui::widgets::{choices, segments};

/// The list of tensors to choose from, as it was filtered last.
#[derive(Debug, Default)]
pub struct Picker {
    filter: String,
    found: Option<(String, usize, Vec<usize>)>,
}

/// Draws it: the views of the tab, and the tensor.
pub fn bar_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    let current = app.settings.view;
    ui.horizontal_wrapped(|ui| {
        let tab = TABS.iter().find(|tab| tab.views.contains(&current));
        let views: Vec<(View, &str, &str)> = tab
            .map_or(&[][..], |tab| tab.views)
            .iter()
            .map(|view| (*view, view.name(), view.command().help()))
            .collect();
        if views.len() > 1
            && app.session.document.is_some()
            && let Some(view) = segments(ui, "View", &views, current)
        {
            asked.view = Some(view);
        }
        about_ui(ui, current);
        if app.session.document.is_none() && ui.button("Back").clicked() {
            asked.view = Some(View::default());
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let mut button = |label: &str, command: Command| {
                let enabled = app.can(command);
                let button = ui.add_enabled(enabled, egui::Button::new(label));
                if button.on_hover_text(command.help()).clicked() {
                    asked.commands.push(command);
                }
            };
            button("Copy link", Command::CopyLink);
            button("Save as PNG", Command::SaveViewPng);
            if saved::has_csv(current) {
                button("Save as CSV", Command::SaveViewCsv);
            }
            if current.inspects() {
                let pinned = app.views.inspect.pinned.is_some();
                button(if pinned { "Unpin" } else { "Pin" }, Command::Pin);
            }
        });
    });
    if current.inspects() {
        subject_ui(app, ui);
    }
}

/// The sign that tells what a view shows.
fn about_ui(ui: &mut Ui, view: View) {
    let Some(about) = about(view) else { return };
    let button = ui.button("About").on_hover_text("What this shows");
    button.widget_info(|| {
        egui::WidgetInfo::labeled(egui::Role::Button, true, "What this view shows")
    });
    Popup::menu(&button).close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside).show(|ui| {
        ui.set_max_width(460.0);
        ui.label(RichText::new(view.name()).font(theme::strong()));
        ui.label(about.says);
        ui.add_space(4.0);
        ui.label(RichText::new(about.formula).monospace());
        ui.add_space(4.0);
        ui.label(RichText::new(about.source).small().color(Theme::of(ui).muted));
    });
}

/// What a pinned view is of; whether it stays.
pub fn pinned_bar_ui(ui: &mut Ui, pinned: &Pinned) -> bool {
    let mut kept = true;
    ui.horizontal(|ui| {
        ui.label(RichText::new(format!("Pinned: {}", pinned.view.name())).font(theme::strong()));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            kept = !ui.button("Let go").on_hover_text("Unpin this view").clicked();
            let tensor = pinned.inspection.focus.tensor.as_deref().unwrap_or_default();
            ui.add(egui::Label::new(RichText::new(tensor).small()).truncate());
        });
    });
    kept
}

/// The tensor, the expert, the format, the weight.
fn subject_ui(app: &mut App, ui: &mut Ui) {
    let Some(analysis) = app.session.analysis().cloned() else { return };
    let mut focus = app.session.inspection.focus.clone();
    let facts = app.session.inspection.known_facts().cloned();
    let picker = &mut app.views.inspect.picker;
    let mut picked = None;
    ui.horizontal_wrapped(|ui| {
        let name = focus.tensor.clone().unwrap_or_default();
        choices(ui, "Tensor", &name, 360.0, |ui| picked = picker.show(ui, &analysis));
        let Some(facts) = facts else { return };
        if facts.experts > 1 {
            ui.label("expert");
            let last = facts.experts - 1;
            let drag = DragValue::new(&mut focus.expert).range(0..=last);
            ui.add(drag).on_hover_text(format!("0 to {last}"));
        }
        formats_ui(ui, &mut focus.format, facts.format.filter(|_| facts.is_planned));
        ui.label("row");
        let last = facts.rows.saturating_sub(1);
        ui.add(DragValue::new(&mut focus.row).range(0..=last))
            .on_hover_text(format!("0 to {last}. Arrow keys go on from weight to weight"));
        ui.label("column");
        let last = facts.columns.saturating_sub(1);
        ui.add(DragValue::new(&mut focus.column).range(0..=last))
            .on_hover_text(format!("0 to {last}"));
        if facts.tile.is_block {
            let block = focus.block(facts.tile);
            let text = format!("block {},{}", block.row, block.column);
            let help = "Blocks are counted down and across. Page Up and Page Down go on from block to block";
            ui.weak(text).on_hover_text(help);
        }
    });
    if let Some(name) = picked {
        focus.turn_to(&name);
        app.session.selection = [name].into();
    }
    app.session.inspection.focus = focus;
}

fn formats_ui(ui: &mut Ui, format: &mut Option<Format>, planned: Option<Format>) {
    let as_planned = match planned {
        Some(planned) => format!("as planned: {planned}"),
        None => "as planned: float".to_owned(),
    };
    let shown = format.map_or(as_planned.clone(), |format| format!("tried out: {format}"));
    choices(ui, "Seen in format", &shown, 170.0, |ui| {
        if ui.selectable_label(format.is_none(), "as planned").clicked() {
            *format = None;
        }
        for other in Format::all() {
            if ui.selectable_label(*format == Some(other), other.name()).clicked() {
                *format = Some(other);
            }
        }
    });
}

impl Picker {
    /// Draws the list; the name that was clicked.
    fn show(&mut self, ui: &mut Ui, analysis: &Arc<Analysis>) -> Option<String> {
        ui.set_min_width(420.0);
        let field = ui.add(TextEdit::singleline(&mut self.filter).hint_text("part of a name"));
        if !field.has_focus() && ui.memory(|memory| memory.focused().is_none()) {
            field.request_focus();
        }
        let entries = &analysis.plan.entries;
        let of = Arc::as_ptr(analysis) as usize;
        if self.found.as_ref().is_none_or(|(filter, plan, _)| (filter, *plan) != (&self.filter, of))
        {
            let fits = |i: &usize| {
                let entry = &entries[*i];
                let has_numbers =
                    entry.format().is_some() || entry.member.tensor.float_kind().is_some();
                has_numbers && entry.member.tensor.name.contains(&self.filter)
            };
            self.found = Some((self.filter.clone(), of, (0..entries.len()).filter(fits).collect()));
        }
        let found = self.found.as_ref().map_or(&[][..], |(_, _, found)| found);
        let mut picked = None;
        if field.has_focus() && ui.input(|input| input.key_pressed(Key::Enter)) {
            picked = found.first().copied();
        }
        let height = ui.spacing().interact_size.y;
        ScrollArea::vertical().max_height(360.0).show_rows(ui, height, found.len(), |ui, rows| {
            for &i in &found[rows] {
                let entry = &entries[i];
                let name = &entry.member.tensor.name;
                let format = entry.format().map_or("float", Format::name);
                let label = egui::Button::selectable(false, name).right_text(format);
                if ui.add(label).clicked() {
                    picked = Some(i);
                }
            }
        });
        picked.map(|i| {
            ui.close();
            entries[i].member.tensor.name.clone()
        })
    }
}
