//! What an export or verification brought.

use std::path::Path;

use eframe::egui::{self, RichText, Ui};

use crate::checkpoint::folder_of;
use crate::export::is_model;
use crate::export::verify::Verification;
use crate::gui::app::{App, Asked};
use crate::gui::command::Command;
use crate::gui::session::{Done, Outcome, Source};
use crate::gui::theme::Theme;
use crate::gui::widgets::{Mark, heading};
use crate::report::terminal;

/// Draws it.
pub fn outcome_ui(app: &App, ui: &mut Ui, asked: &mut Asked) {
    let Some(outcome) = &app.session.outcome else { return };
    let theme = Theme::of(ui);
    ui.separator();
    match outcome {
        Outcome::Exported(done) => {
            exported_ui(ui, asked, done);
            for notice in &done.exported.notices {
                ui.colored_label(theme.warn, notice);
            }
        }
        Outcome::Verified(verification) => {
            let headline = if verification.passed() { "Verified" } else { "Verification failed" };
            headline_ui(ui, verification.passed(), headline);
            gate_ui(ui, verification);
            copy_report_ui(ui, asked);
        }
        Outcome::Refused(verification) => {
            headline_ui(ui, false, "The export did not pass verification, and was removed");
            gate_ui(ui, verification);
            copy_report_ui(ui, asked);
        }
        Outcome::Stopped(None) => {
            ui.label("Stopped. Nothing was left behind.");
        }
        Outcome::Stopped(Some(left)) => {
            let left = left.display();
            ui.label(format!("Stopped. What is done is in {left}: it can be gone on with."));
        }
        Outcome::Failed(why) => {
            headline_ui(ui, false, "Nothing was written");
            ui.colored_label(theme.bad, why);
        }
    }
}

fn exported_ui(ui: &mut Ui, asked: &mut Asked, done: &Done) {
    let Done { exported, analysis, out, .. } = done;
    headline_ui(ui, true, "Exported and verified");
    let beside = is_model(out) && analysis.plan.files.len() > 1;
    let data = if beside { ", with its tensors in the .data beside it" } else { "" };
    ui.weak(format!("{}{data}", out.display()));
    ui.horizontal(|ui| {
        if ui.button("Open folder").clicked() {
            let folder = if is_model(out) { folder_of(out) } else { out };
            ui.ctx().open_url(egui::OpenUrl::new_tab(file_url(folder)));
        }
        if ui.button("Look at it here").on_hover_text("Open the export as a checkpoint").clicked() {
            asked.open = Some(Source::path(out));
        }
        copy_report_ui(ui, asked);
    });
    gate_ui(ui, &exported.verification);
    for line in terminal::companions(&exported.companions).lines() {
        ui.label(RichText::new(line).monospace());
    }
}

/// The URL of a folder (RFC 8089), with what is no plain letter in percent (RFC 3986).
fn file_url(folder: &Path) -> String {
    let path = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let path = path.to_string_lossy().replace('\\', "/");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~:".contains(&byte);
    let encode = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    let encoded: String = path.bytes().map(encode).collect();
    // A drive's letter comes after a slash.
    format!("file://{}{encoded}", if encoded.starts_with('/') { "" } else { "/" })
}

fn copy_report_ui(ui: &mut Ui, asked: &mut Asked) {
    if ui.button("Copy report").on_hover_text(Command::CopyReport.help()).clicked() {
        asked.commands.push(Command::CopyReport);
    }
}

fn headline_ui(ui: &mut Ui, good: bool, text: &str) {
    ui.horizontal(|ui| {
        if good { Mark::Good } else { Mark::Bad }.show(ui);
        heading(ui, text);
    });
}

/// The gate table.
fn gate_ui(ui: &mut Ui, verification: &Verification) {
    egui::Grid::new("gate").num_columns(3).striped(true).spacing([12.0, 4.0]).show(ui, |ui| {
        for check in &verification.checks {
            if check.passed { Mark::Good } else { Mark::Bad }.show(ui);
            ui.label(check.name);
            ui.add(egui::Label::new(&check.detail).wrap());
            ui.end_row();
        }
    });
    ui.weak(format!("Coverage: {}", terminal::coverage(&verification.coverage)));
}

/// What the last export or verification found, as `--batch` prints it.
pub fn report_text(app: &App) -> String {
    let session = &app.session;
    let source = session.document.as_ref().map(|(source, _)| source.to_string());
    let source = source.unwrap_or_default();
    match &session.outcome {
        Some(Outcome::Exported(done)) => {
            let Done { exported, analysis, out, device } = done.as_ref();
            [
                format!("{source} · {}", analysis.facts.join(" · ")),
                terminal::summary(&analysis.plan),
                format!("device    {device}\n"),
                exported.notices.iter().map(|notice| format!("warning: {notice}\n")).collect(),
                terminal::findings(&analysis.plan.findings),
                terminal::findings(&exported.findings),
                terminal::verification(&exported.verification).to_string(),
                terminal::companions(&exported.companions),
                format!("written   {}", out.display()),
            ]
            .join("\n")
        }
        Some(Outcome::Verified(verification) | Outcome::Refused(verification)) => {
            format!("{source}\n{}", terminal::verification(verification))
        }
        Some(Outcome::Failed(why)) => format!("{source}\nerror: {why}"),
        Some(Outcome::Stopped(_)) | None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_any_name_have_a_url() {
        assert_eq!(file_url(Path::new("/a b/50%#ü")), "file:///a%20b/50%25%23%C3%BC");
    }
}
