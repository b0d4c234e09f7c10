//! What the user should look at, and what would settle it.

use eframe::egui::{self, RichText, Ui};

use crate::gui::app::{App, Asked};
use crate::gui::session::Analysis;
use crate::gui::theme;
use crate::gui::theme::Theme;
use crate::gui::views::View;
use crate::gui::widgets::{Mark, heading};
use crate::plan::{Finding, Fix};
use crate::units::{bytes, count};

/// Draws findings of the plan and of what was measured.
pub fn findings_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked, analysis: &Analysis) {
    let measured = app.session.tables.findings.clone();
    let number = analysis.plan.findings.len() + measured.len();
    let failures = app.session.measurements.failures.clone();
    match number + failures.len() {
        0 => heading(ui, "No findings"),
        n => heading(ui, &count(n as u64, "finding")),
    };
    for (i, (entry, why)) in failures.iter().enumerate() {
        let name = &analysis.plan.entries[*entry].member.tensor.name;
        ui.push_id(("failure", i), |ui| {
            ui.horizontal_top(|ui| {
                Mark::Bad.show(ui);
                ui.vertical(|ui| {
                    ui.label(why);
                    if ui.small_button("Select").clicked() {
                        app.session.selection = [name.clone()].into();
                        asked.view = Some(View::Table);
                    }
                });
            });
        });
    }
    let planned = analysis.plan.findings.iter().zip(&analysis.fixes);
    let all = planned.map(|(finding, fixes)| (finding, &fixes[..]));
    for (i, (finding, fixes)) in all.enumerate() {
        ui.push_id(("finding", i), |ui| finding_ui(app, ui, asked, finding, fixes));
    }
    for (i, (finding, fixes)) in measured.iter().enumerate() {
        ui.push_id(("measured", i), |ui| finding_ui(app, ui, asked, finding, fixes));
    }
}

fn finding_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked, finding: &Finding, fixes: &[Fix]) {
    // A fix is a change of the recipe that the finding is about.
    let is_current = app.session.is_current();
    ui.horizontal_top(|ui| {
        Mark::Warn.show(ui);
        ui.vertical(|ui| {
            ui.label(finding.kind.to_string());
            if !finding.tensors.is_empty() {
                let tensors = count(finding.tensors.len() as u64, "tensor");
                let text = format!("{tensors}, {}: {}", bytes(finding.bytes), finding.tensors[0]);
                let muted = Theme::of(ui).muted;
                let text = RichText::new(text).font(theme::small()).color(muted);
                ui.add(egui::Label::new(text).truncate());
            }
            ui.horizontal_wrapped(|ui| {
                for fix in fixes {
                    if ui.add_enabled(is_current, egui::Button::new(&fix.label)).clicked() {
                        app.session.change(&fix.label, fix.recipe.clone());
                    }
                }
                let select = !finding.tensors.is_empty() && ui.button("Select").clicked();
                if select {
                    app.session.selection = finding.tensors.iter().cloned().collect();
                    asked.view = Some(View::Table);
                }
            });
        });
    });
    ui.add_space(4.0);
}
