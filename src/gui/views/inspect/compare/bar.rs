//! What to compare with, and what both sides are.

use eframe::egui::{Button, Key, Label, RichText, Role, TextEdit, Ui};

use super::typed_path;
use crate::gui::app::{App, Asked};
use crate::gui::session::{Other, Pair};
use crate::gui::theme::{self, Theme};
use crate::gui::widgets::named;

/// Draws the choice of the other side; what was chosen.
pub fn bar_ui(app: &App, ui: &mut Ui, asked: &mut Asked, typed: &mut String) -> Option<Other> {
    let mut chosen = None;
    ui.horizontal_wrapped(|ui| {
        ui.label("With");
        let width = (ui.available_width() * 0.4).clamp(180.0, 520.0);
        let hint = "folder or .onnx file of another checkpoint";
        let field = ui.add(TextEdit::singleline(typed).desired_width(width).hint_text(hint));
        named(&field, Role::TextInput, "Checkpoint to compare with");
        if ui.button("Choose…").on_hover_text("Choose it in a dialog").clicked() {
            asked.choose_compare = true;
        }
        let entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        let is_ready = app.session.devices.open.is_some() && !typed.trim().is_empty();
        let help = "Compares every matrix that both have, weight by weight. A quantized checkpoint may be \
                    compared with the floats it was made from, or with what another tool made of them.";
        let button = ui.add_enabled(is_ready, Button::new("Compare them"));
        if button.on_hover_text(help).clicked() || (entered && is_ready) {
            chosen = Some(Other::Path(typed_path(typed)));
        }
        ui.separator();
        devices_ui(app, ui, &mut chosen);
    });
    chosen
}

/// Other devices than the CPU, on which the same can be made.
fn devices_ui(app: &App, ui: &mut Ui, chosen: &mut Option<Other>) {
    let adapters = &app.session.devices.adapters;
    if adapters.is_empty() {
        return;
    }
    ui.label("or this one on CPU and");
    let analysis = app.session.analysis();
    let quantizes =
        analysis.is_some_and(|analysis| !analysis.is_stored && analysis.plan.quantizes());
    let mut seen: Vec<&str> = Vec::new();
    for adapter in adapters {
        if seen.contains(&adapter.name.as_str()) {
            continue;
        }
        seen.push(&adapter.name);
        let software = if adapter.is_software { " (software)" } else { "" };
        let button = Button::new(format!("{}{software}", short(&adapter.name)));
        let help = format!(
            "Quantizes on the CPU and on {} through {}, and compares every code and scale",
            adapter.name, adapter.backend
        );
        let button = ui.add_enabled(quantizes, button).on_hover_text(help);
        let why = "Choose a format in the recipe first: both devices quantize by it";
        if button.on_disabled_hover_text(why).clicked() {
            *chosen = Some(Other::Device(adapter.name.clone()));
        }
    }
}

/// The name of an adapter without what is in brackets.
fn short(name: &str) -> &str {
    name.split(" (").next().unwrap_or(name)
}

/// What the view is for, before anything is compared.
pub fn empty_ui(ui: &mut Ui) {
    ui.add_space(24.0);
    ui.vertical_centered(|ui| {
        ui.set_max_width(560.0);
        ui.label(RichText::new("Which weights differ, and how?").font(theme::heading()));
        ui.label(
            "Choose another checkpoint above: the floats that this one was made from, the same model from \
             another tool, or an export to be proved. Every code and every scale is compared; a legal tie, \
             where either rounding is right, is told from a real difference.",
        );
    });
}

/// Both sides by their letters, in full.
pub fn sides_ui(ui: &mut Ui, pair: &Pair) {
    let theme = Theme::of(ui);
    for ((letter, place), says) in ["A", "B"].iter().zip(&pair.places).zip(&pair.says) {
        ui.horizontal(|ui| {
            ui.label(RichText::new(*letter).font(theme::strong()).color(theme.accent));
            ui.label(place);
            ui.add(Label::new(RichText::new(says).color(theme.muted)).truncate());
        });
    }
}
