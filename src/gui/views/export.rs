//! Writing the export and proving it, or proving a checkpoint that is quantized already.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use eframe::egui::{self, Button, ProgressBar, RichText, Role, ScrollArea, TextEdit, Ui};

use crate::batch::{Call, command_line};
use crate::export::verify::Verification;
use crate::export::{Exported, Stage};
use crate::gui::app::{App, Asked};
use crate::gui::command::Command;
use crate::gui::session::{Document, Outcome, Session, StageProgress};
use crate::gui::theme::{self, Theme};
use crate::gui::widgets::{Mark, caption, heading, named};
use crate::recipe::Recipe;
use crate::report::terminal;
use crate::units::bytes;

/// What has been typed and chosen.
#[derive(Debug, Default)]
pub struct ExportView {
    /// The folder to write.
    pub out: String,
    /// Whether it may replace an earlier export.
    pub overwrite: bool,
    /// The checkpoint to compare with.
    pub against: String,
    /// Where a recipe was saved, and how it was then.
    pub recipe_file: Option<(PathBuf, Recipe)>,
    /// Bytes of a file, at most, as typed.
    shard: String,
}

impl ExportView {
    /// Forgets what was about another checkpoint.
    pub fn turn_to(&mut self, document: &Arc<Document>) {
        self.against.clear();
        self.overwrite = false;
        if self.out.is_empty() {
            self.out = document.beside.display().to_string();
        }
    }

    /// What to call the folder of an export.
    pub fn suggested_name(&self, session: &Session) -> String {
        let name = session.document.as_ref().map(|(_, document)| document.name());
        let format = session.planning.recipe.current().format;
        let format = format.map_or("quantized", |format| format.name());
        format!("{}-{format}", name.unwrap_or_default())
    }
}

impl App {
    /// Why nothing can be exported now; `None` if something can.
    pub(in crate::gui) fn why_no_export(&self) -> Option<String> {
        let session = &self.session;
        let Some(analysis) = session.analysis() else {
            return Some("The plan is being made".into());
        };
        if session.exporting.is_some() {
            Some("An export is under way".to_owned())
        } else if let Some(why) = &session.planning.refused {
            Some(why.clone())
        } else if session.planning.is_busy() {
            Some("The plan is being made".to_owned())
        } else if !analysis.plan.quantizes() {
            Some("Nothing is quantized: choose a format in the recipe".to_owned())
        } else if self.views.export.out.trim().is_empty() {
            Some("Say where to write it".to_owned())
        } else if session.devices.open.is_none() {
            Some("The device is not open".to_owned())
        } else {
            None
        }
    }

    /// The `--batch` call that does the same.
    pub(in crate::gui) fn command_line(&self) -> String {
        let session = &self.session;
        let view = &self.views.export;
        let path = session.document.as_ref().map(|(_, document)| document.checkpoint.path.clone());
        // A saved recipe that has changed since does not do the same.
        let saved = view.recipe_file.as_ref().filter(|(_, recipe)| recipe == self.recipe());
        let out = Some(PathBuf::from(view.out.trim())).filter(|out| !out.as_os_str().is_empty());
        command_line(&Call {
            checkpoint: &path.unwrap_or_default(),
            recipe: self.recipe(),
            recipe_file: saved.map(|(path, _)| path.as_path()),
            out: out.as_deref().filter(|_| self.recipe().format.is_some()),
            max_shard_size: session.planning.max_shard_bytes,
            overwrite: view.overwrite,
            device: &session.devices.name,
        })
    }
}

/// Draws it.
pub fn export_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    let is_quantized =
        app.session.document.as_ref().is_some_and(|(_, document)| document.quantized.is_some());
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        ui.set_max_width(820.0);
        match is_quantized {
            true => verify_form_ui(app, ui, asked),
            false => export_form_ui(app, ui, asked),
        }
        ui.add_space(8.0);
        if let Some(exporting) = &app.session.exporting {
            for stage in exporting.stages() {
                stage_ui(ui, &stage);
            }
            ui.ctx().request_repaint_after(Duration::from_millis(100));
        }
        outcome_ui(app, ui, asked);
    });
}

fn export_form_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    heading(ui, "Export");
    let dialect = app.session.analysis().map(|analysis| analysis.plan.dialect.to_string());
    ui.weak(format!(
        "Written beside its place, read back and verified, and only then given its name. Layout: {}.",
        dialect.unwrap_or_default()
    ));
    ui.add_space(4.0);
    let is_free = app.session.exporting.is_none();
    egui::Grid::new("export").num_columns(2).spacing([12.0, 8.0]).show(ui, |ui| {
        ui.label("Folder");
        ui.horizontal(|ui| {
            path_ui(ui, &mut app.views.export.out, is_free, "Folder to export to");
            if ui.add_enabled(is_free, Button::new("Choose…")).clicked() {
                asked.choose_out = true;
            }
        });
        ui.end_row();
        ui.label("Files");
        shards_ui(app, ui, is_free);
        ui.end_row();
        ui.label("");
        let overwrite = &mut app.views.export.overwrite;
        ui.checkbox(overwrite, "Replace an earlier export")
            .on_hover_text("Only an earlier export, or an empty folder, is ever replaced");
        ui.end_row();
    });
    let why_not = app.why_no_export();
    ui.horizontal(|ui| {
        if app.session.exporting.is_some() {
            stop_ui(ui, asked);
        } else {
            let text = RichText::new("Export").font(theme::strong());
            let button = ui.add_enabled(why_not.is_none(), Button::new(text));
            let button = button.on_disabled_hover_text(why_not.clone().unwrap_or_default());
            if button.on_hover_text(Command::Export.help()).clicked() {
                asked.commands.push(Command::Export);
            }
            if let Some(why) = &why_not {
                ui.weak(why);
            }
        }
    });
    ui.add_space(6.0);
    caption(ui, "The same without a window");
    let line = app.command_line();
    ui.horizontal(|ui| {
        for command in [Command::CopyCommandLine, Command::SaveRecipe, Command::CopyRecipe] {
            if ui.button(command.name()).on_hover_text(command.help()).clicked() {
                asked.commands.push(command);
            }
        }
    });
    ui.add(egui::Label::new(RichText::new(line).monospace()).wrap());
    if app.session.document.as_ref().is_some_and(|(_, document)| document.is_demo()) {
        ui.weak("The demo's folder is there as long as the demo is open.");
    }
    let saved = app.views.export.recipe_file.as_ref();
    if !app.recipe().rules.is_empty() && saved.is_none_or(|(_, recipe)| recipe != app.recipe()) {
        ui.colored_label(
            Theme::of(ui).warn,
            "The rules have no flags of their own: save the recipe first, and the line names its file.",
        );
    }
}

fn verify_form_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    heading(ui, "Verify");
    ui.weak("Structure, config, scales and ties; against its source, every weight as well.");
    ui.add_space(4.0);
    let is_free = app.session.exporting.is_none();
    ui.horizontal(|ui| {
        ui.label("Source");
        path_ui(ui, &mut app.views.export.against, is_free, "Float checkpoint to compare with");
        if ui.add_enabled(is_free, Button::new("Choose…")).clicked() {
            asked.choose_against = true;
        }
    });
    ui.horizontal(|ui| match is_free {
        true => {
            let button = ui.add_enabled(app.can(Command::Verify), Button::new("Verify"));
            if button.on_hover_text(Command::Verify.help()).clicked() {
                asked.commands.push(Command::Verify);
            }
        }
        false => stop_ui(ui, asked),
    });
}

fn stop_ui(ui: &mut Ui, asked: &mut Asked) {
    if ui.button("Stop").on_hover_text(Command::Stop.help()).clicked() {
        asked.commands.push(Command::Stop);
    }
}

fn path_ui(ui: &mut Ui, path: &mut String, enabled: bool, said: &str) {
    let width = (ui.available_width() - 100.0).clamp(120.0, 560.0);
    let field = ui.add_enabled(enabled, TextEdit::singleline(path).desired_width(width));
    named(&field, Role::TextInput, said);
}

/// How outputs are spread over files.
fn shards_ui(app: &mut App, ui: &mut Ui, is_free: bool) {
    let planning = &mut app.session.planning;
    let shard = &mut app.views.export.shard;
    ui.horizontal(|ui| {
        ui.label("at most");
        if let (true, Some(bytes)) = (shard.is_empty(), planning.max_shard_bytes) {
            *shard = crate::batch::size_text(bytes);
        }
        let field = TextEdit::singleline(shard).desired_width(90.0).hint_text("as the source");
        let field = ui.add_enabled(is_free, field);
        named(&field, Role::TextInput, "Size of a file, at most");
        ui.label("each")
            .on_hover_text("Such as 4 GB, 500 MiB; empty for files as the source has them");
        let wanted = match shard.trim() {
            "" => Ok(None),
            text => crate::batch::parse_size(text).map(Some),
        };
        match wanted {
            Ok(wanted) if wanted != planning.max_shard_bytes && !field.has_focus() => {
                planning.max_shard_bytes = wanted;
                planning.ask();
            }
            Ok(_) => {}
            Err(why) => {
                ui.colored_label(Theme::of(ui).bad, why);
            }
        }
    });
}

const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Quantize => "quantize",
        Stage::Verify => "verify",
    }
}

fn stage_ui(ui: &mut Ui, stage: &StageProgress) {
    let name = stage_name(stage.stage);
    let mut text = format!(
        "{name}: {} of {}, {}/s",
        bytes(stage.done.min(stage.total)),
        bytes(stage.total),
        bytes(stage.rate() as u64)
    );
    if let Some(seconds) = stage.seconds_left().filter(|_| stage.done < stage.total) {
        text += &format!(", {seconds:.0} s left");
    }
    ui.add(ProgressBar::new(stage.fraction()).text(text));
}

fn outcome_ui(app: &App, ui: &mut Ui, asked: &mut Asked) {
    let Some(outcome) = &app.session.outcome else { return };
    let theme = Theme::of(ui);
    ui.separator();
    match outcome {
        Outcome::Exported(exported) => exported_ui(app, ui, asked, exported),
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
        Outcome::Stopped => {
            ui.label("Stopped. Nothing was left behind.");
        }
        Outcome::Failed(why) => {
            headline_ui(ui, false, "Nothing was written");
            ui.colored_label(theme.bad, why);
        }
    }
}

fn exported_ui(app: &App, ui: &mut Ui, asked: &mut Asked, exported: &Exported) {
    headline_ui(ui, true, "Exported and verified");
    let out = app.views.export.out.trim().to_owned();
    ui.horizontal(|ui| {
        if ui.button("Open folder").clicked() {
            let url = format!("file://{}", std::path::absolute(&out).unwrap_or_default().display());
            ui.ctx().open_url(egui::OpenUrl::new_tab(url));
        }
        if ui.button("Look at it here").on_hover_text("Open the export as a checkpoint").clicked() {
            asked.open = Some(crate::gui::session::Source::Path(PathBuf::from(&out)));
        }
        if ui.button("Copy report").on_hover_text(Command::CopyReport.help()).clicked() {
            asked.commands.push(Command::CopyReport);
        }
    });
    gate_ui(ui, &exported.verification);
    for line in terminal::companions(&exported.companions).lines() {
        ui.label(RichText::new(line).monospace());
    }
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
    let mut text = String::new();
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    if let (Some((source, _)), Some(analysis)) = (&session.document, session.analysis()) {
        line(&format!("{source} · {}", analysis.facts.join(" · ")));
    }
    line(&format!("device    {}", session.devices.label()));
    match &session.outcome {
        Some(Outcome::Exported(exported)) => {
            if let Some(analysis) = session.analysis() {
                line(&terminal::summary(&analysis.plan));
                line(&terminal::findings(&analysis.plan.findings));
            }
            line(&terminal::findings(&exported.findings));
            line(&terminal::verification(&exported.verification));
            line(&terminal::companions(&exported.companions));
            line(&format!("written   {}", app.views.export.out.trim()));
        }
        Some(Outcome::Verified(verification) | Outcome::Refused(verification)) => {
            line(&terminal::verification(verification));
        }
        Some(Outcome::Failed(why)) => line(&format!("error: {why}")),
        Some(Outcome::Stopped) | None => {}
    }
    text
}
