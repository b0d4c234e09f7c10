//! What is to be exported, or verified, and where.

use eframe::egui::{self, Button, RichText, Role, TextEdit, Ui};

use crate::batch::{parse_size, size_text};
use crate::gui::app::{App, Asked};
use crate::gui::command::Command;
use crate::gui::theme::{self, Theme};
use crate::gui::widgets::{caption, heading, named};

/// The form of an export.
pub fn export_form_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    heading(ui, "Export");
    let dialect = app.session.analysis().map(|analysis| analysis.plan.dialect.title());
    ui.weak(format!(
        "Written beside its place, read back and verified, and only then given its name. Layout: {}.",
        dialect.unwrap_or_default()
    ));
    ui.add_space(4.0);
    let is_free = app.session.exporting.is_none();
    egui::Grid::new("export").num_columns(2).spacing([12.0, 8.0]).show(ui, |ui| {
        let document = app.session.document.as_ref().map(|(_, document)| document);
        let is_onnx = document.is_some_and(|document| document.checkpoint.onnx.is_some());
        let (label, said) = match is_onnx {
            true => ("File or folder", "File or folder to export to"),
            false => ("Folder", "Folder to export to"),
        };
        ui.label(label);
        ui.horizontal(|ui| {
            path_ui(ui, &mut app.views.export.out, is_free, said);
            if ui.add_enabled(is_free, Button::new("Choose…")).clicked() {
                asked.choose_out = true;
            }
        });
        ui.end_row();
        ui.label("Files");
        match is_onnx {
            true => files_ui(app, ui),
            false => shards_ui(app, ui, is_free),
        }
        ui.end_row();
        ui.label("");
        let overwrite = &mut app.views.export.overwrite;
        ui.add_enabled(is_free, egui::Checkbox::new(overwrite, "Replace an earlier export"))
            .on_hover_text("Only an earlier export, or an empty folder, is ever replaced");
        ui.end_row();
        ui.label("");
        let resume = &mut app.views.export.resume;
        ui.add_enabled(is_free, egui::Checkbox::new(resume, "Go on with an interrupted export"))
            .on_hover_text(
                "What is done of the same export is checked and kept, and stays if this one is stopped",
            );
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
            let button = ui.add_enabled(app.can(command), Button::new(command.name()));
            if button.on_hover_text(command.help()).clicked() {
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

/// The form of a verification.
pub fn verify_form_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    heading(ui, "Verify");
    let document = app.session.document.as_ref().map(|(_, document)| document);
    let is_onnx = document.is_some_and(|document| document.checkpoint.onnx.is_some());
    let stated = if is_onnx { "graph" } else { "config" };
    ui.weak(format!(
        "Structure, {stated}, scales and ties; against its source, every weight as well."
    ));
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

/// The files that an ONNX model becomes.
fn files_ui(app: &App, ui: &mut Ui) {
    let Some(analysis) = app.session.analysis() else { return };
    let name = app.views.export.file_name();
    let place = match name {
        Some(_) => "",
        None => " in a folder of its own: a name that ends in .onnx would be a file",
    };
    let files: Vec<&str> = analysis.plan.files.iter().map(|file| file.name.as_str()).collect();
    ui.add(
        egui::Label::new(RichText::new(format!("{}{place}", files.join(" and "))).weak()).wrap(),
    );
}

/// How outputs are spread over files.
fn shards_ui(app: &mut App, ui: &mut Ui, is_free: bool) {
    let planning = &mut app.session.planning;
    let view = &mut app.views.export;
    let known = planning.max_shard_bytes.map(size_text).unwrap_or_default();
    let shard = view.shard.get_or_insert(known);
    ui.horizontal(|ui| {
        ui.label("at most");
        let field = TextEdit::singleline(shard).desired_width(100.0).hint_text("as the source");
        let field = ui.add_enabled(is_free, field);
        named(&field, Role::TextInput, "Size of a file, at most");
        ui.label("each")
            .on_hover_text("Such as 4GB or 500MiB; empty for files as the source has them");
        match shard_bytes(shard) {
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

/// What has been typed as the size of a file; `None` if nothing has.
pub fn shard_bytes(text: &str) -> Result<Option<u64>, String> {
    match text.trim() {
        "" => Ok(None),
        text => parse_size(text).map(Some),
    }
}
