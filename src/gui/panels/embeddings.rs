//! Whether embeddings are quantized, and what that does to a head that shares their table.

use std::sync::Arc;

use eframe::egui::{self, RichText, Role, Ui, WidgetInfo};

use super::size::signed_bytes;
use crate::gui::app::{App, Asked};
use crate::gui::command::Command;
use crate::gui::session::Analysis;
use crate::gui::theme::Theme;
use crate::gui::widgets::heading;

/// Draws the opt-in, and each outcome with its bytes.
pub fn embeddings_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked, analysis: &Analysis) {
    heading(ui, "Embeddings");
    if let Some(tie) = &analysis.tie_text {
        ui.label(RichText::new(tie).small().color(Theme::of(ui).muted));
    }
    if analysis.has_table {
        let mut is_opted_in = app.recipe().quantize_embeddings;
        let toggle = ui.checkbox(&mut is_opted_in, "Quantize embeddings");
        let toggle =
            toggle.on_hover_text("Runtimes that look rows up in packed tables are few: opt in");
        if toggle.changed() {
            asked.commands.push(Command::ToggleEmbeddings);
        }
    }
    if analysis.is_tied() && !app.session.planning.preview.outcomes.is_empty() {
        let text = match &analysis.tie_text {
            Some(_) => "What can become of them, and the whole export:",
            None => "The head shares the table. What can become of them, and the whole export:",
        };
        ui.weak(text);
    }
    let mut chosen = None;
    let is_old = app.session.planning.is_previewing() || !app.session.is_current();
    let preview = Arc::clone(&app.session.planning.preview);
    for outcome in &preview.outcomes {
        let is_chosen = outcome.recipe == *app.recipe();
        match &outcome.bytes {
            Ok(bytes) => {
                let text = crate::units::bytes(*bytes);
                let difference = i128::from(*bytes) - i128::from(analysis.plan.bytes_after);
                let clicked = ui
                    .horizontal(|ui| {
                        let radio = egui::RadioButton::new(is_chosen, &outcome.label);
                        let clicked = ui.add_enabled(!is_old, radio).clicked();
                        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                            let label = if is_old { ui.weak(text) } else { ui.label(text) };
                            if difference != 0 {
                                let sign = if difference > 0 { "+" } else { "" };
                                let than = signed_bytes(difference);
                                label.on_hover_text(format!("{sign}{than} than now"));
                            }
                        });
                        clicked
                    })
                    .inner;
                if clicked {
                    chosen = Some(outcome);
                }
            }
            Err(why) => {
                let muted = Theme::of(ui).muted;
                let radio =
                    egui::RadioButton::new(false, RichText::new(&outcome.label).color(muted));
                let radio = ui.add_enabled(false, radio);
                radio.widget_info(|| WidgetInfo::labeled(Role::RadioButton, false, &outcome.label));
                radio.on_disabled_hover_text(why);
            }
        }
    }
    if let Some(bytes) = analysis.second_table_bytes.filter(|_| !preview.outcomes.is_empty()) {
        let text = format!("One table takes {} less than two.", crate::units::bytes(bytes));
        ui.label(RichText::new(text).small().color(Theme::of(ui).muted));
    }
    if let Some(outcome) = chosen {
        app.session.change(&format!("embeddings: {}", outcome.label), outcome.recipe.clone());
    }
}
