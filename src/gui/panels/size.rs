//! What the plan costs and saves, before anything is written.

use eframe::egui::{RichText, ScrollArea, Ui};

use super::embeddings::embeddings_ui;
use super::findings::findings_ui;
use crate::dialect::Dialect;
use crate::gui::app::{App, Asked};
use crate::gui::command::Command;
use crate::gui::session::Analysis;
use crate::gui::theme::{self, Theme};
use crate::gui::views::View;
use crate::gui::widgets::{Mark, caption, fact, heading, stacked_bar, swatch};
use crate::plan::{Decision, Entry, Sizes};
use crate::units::{bytes, count};

/// Draws it, with what becomes of embeddings, and the findings.
pub fn size_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    ui.add_space(6.0);
    ui.horizontal(|ui| {
        heading(ui, "Size");
        if app.session.planning.is_busy() {
            ui.spinner();
        }
    });
    let Some(analysis) = app.session.analysis().cloned() else { return };
    if app.session.planning.refused.is_some() {
        ui.horizontal_wrapped(|ui| {
            Mark::Bad.show(ui);
            ui.label("No plan can be made of this recipe. Shown is the one before it.");
        });
    }
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        bars_ui(ui, &analysis);
        numbers_ui(app, ui, &analysis);
        let has_choice = (analysis.has_table || analysis.is_tied()) && !analysis.is_stored;
        if has_choice && app.can(Command::ToggleEmbeddings) {
            ui.separator();
            embeddings_ui(app, ui, asked, &analysis);
        }
        ui.separator();
        findings_ui(app, ui, asked, &analysis);
        ui.separator();
        kept_ui(app, ui, asked, &analysis);
    });
}

/// The parts of a size, in the order in which they are stacked.
fn parts(sizes: Sizes, dialect: Dialect) -> [(&'static str, u64); 5] {
    let Sizes { weights, scales, embeddings, kept, headers } = sizes;
    let rest = if dialect.is_onnx() { "graph" } else { "headers" };
    [
        ("weights", weights),
        ("scales", scales),
        ("embeddings", embeddings),
        ("kept", kept),
        (rest, headers),
    ]
}

fn bars_ui(ui: &mut Ui, analysis: &Analysis) {
    let colours = Theme::of(ui).parts;
    let (before, after) = (analysis.before, analysis.after);
    let parts = |sizes| parts(sizes, analysis.plan.dialect);
    let whole = before.total().max(after.total());
    let labels = match analysis.is_stored {
        true => ["as floats", "as stored"],
        false => ["before", "after"],
    };
    for (label, sizes) in labels.into_iter().zip([before, after]) {
        ui.horizontal(|ui| {
            caption(ui, label);
            ui.label(RichText::new(bytes(sizes.total())).font(theme::strong()));
            ui.weak(format!("{} bytes", sizes.total()));
        });
        let bar: Vec<_> = parts(sizes)
            .iter()
            .zip(colours)
            .map(|((name, bytes), colour)| (*name, *bytes, colour))
            .collect();
        let shown = parts(sizes).into_iter().filter(|(_, bytes)| *bytes > 0);
        let list: Vec<String> =
            shown.map(|(name, size)| format!("{name} {}", bytes(size))).collect();
        stacked_bar(ui, &bar, whole, &format!("Size {label}: {}", list.join(", ")));
    }
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        let both = parts(before).into_iter().zip(parts(after)).zip(colours);
        for (((name, a), (_, b)), colour) in both {
            if a + b > 0 {
                swatch(ui, colour);
                caption(ui, name);
                ui.add_space(2.0);
            }
        }
    });
}

fn numbers_ui(app: &App, ui: &mut Ui, analysis: &Analysis) {
    let theme = Theme::of(ui);
    let (before, after) = (analysis.plan.bytes_before, analysis.plan.bytes_after);
    let saved = i128::from(before) - i128::from(after);
    if saved != 0 {
        let percent = 100.0 * saved as f64 / before.max(1) as f64;
        let colour = if saved > 0 { theme.good } else { theme.bad };
        let text = RichText::new(format!("{} ({percent:.1} %)", signed_bytes(saved))).color(colour);
        fact(ui, "saved", text.font(theme::strong()));
    }
    if let Some(bits) = analysis.bits_per_weight {
        fact(ui, "a quantized weight", format!("{bits:.3} bits"));
    }
    let coverage = &analysis.coverage;
    let text = format!(
        "{:.1} % in {} of {} tensors",
        coverage.percent(),
        coverage.quantized_tensors,
        coverage.quantizable_tensors
    );
    fact(ui, "coverage", text);
    if let Some((name, change)) = &app.session.planning.last_change {
        let sign = if *change > 0 { "+" } else { "" };
        fact(ui, &format!("last change: {name}"), format!("{sign}{}", signed_bytes(*change)));
    }
}

/// What is not quantized, and why.
fn kept_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked, analysis: &Analysis) {
    let all: u64 = analysis.kept.iter().map(|(.., bytes)| bytes).sum();
    let muted = Theme::of(ui).muted;
    ui.collapsing(format!("Kept: {}", bytes(all)), |ui| {
        for (reason, role, tensors, size) in &analysis.kept {
            let text = format!("{} in {} ({role})", bytes(*size), count(*tensors, "tensor"));
            if ui.link(text).on_hover_text("Select them").clicked() {
                let is_one = |entry: &&Entry| {
                    entry.member.role == *role
                        && matches!(&entry.decision, Decision::Keep(why) if why == reason)
                };
                let names = analysis.plan.entries.iter().filter(is_one);
                app.session.selection = names.map(|e| e.member.tensor.name.clone()).collect();
                asked.view = Some(View::Table);
            }
            ui.label(RichText::new(reason.to_string()).font(theme::small()).color(muted));
        }
    });
}

/// Bytes with their sign.
pub fn signed_bytes(n: i128) -> String {
    let size = bytes(u64::try_from(n.unsigned_abs()).unwrap_or(u64::MAX));
    if n < 0 { format!("−{size}") } else { size }
}
