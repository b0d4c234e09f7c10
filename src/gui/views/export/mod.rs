//! Writing the export and proving it, or proving a checkpoint that is quantized already.

mod form;
mod outcome;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use eframe::egui::{ProgressBar, ScrollArea, Ui};

pub use outcome::report_text;

use form::{export_form_ui, shard_bytes, verify_form_ui};
use outcome::outcome_ui;

use crate::batch::{Call, command_line};
use crate::export::{Stage, is_model};
use crate::gui::app::{App, Asked};
use crate::gui::session::{Document, Session, StageProgress};
use crate::recipe::Recipe;
use crate::units::bytes;

/// What has been typed and chosen.
#[derive(Debug, Default)]
pub struct ExportView {
    /// The folder, or the ONNX file, to write.
    pub out: String,
    /// Whether it may replace an earlier export.
    pub overwrite: bool,
    /// Whether to go on with what an interrupted one has left.
    pub resume: bool,
    /// The checkpoint to compare with.
    pub against: String,
    /// Where a recipe was saved, and how it was then.
    pub recipe_file: Option<(PathBuf, Recipe)>,
    /// Bytes of a file, at most, as typed.
    shard: Option<String>,
}

impl ExportView {
    /// Forgets what was about another checkpoint.
    pub fn turn_to(&mut self, document: &Arc<Document>, out: Option<String>) {
        self.against.clear();
        self.shard = None;
        (self.overwrite, self.resume) = (false, false);
        self.out = out.unwrap_or_else(|| document.beside.display().to_string());
    }

    /// The file that a recipe was read from or saved to, if that holds it as it is.
    pub fn recipe_file_of(&self, recipe: &Recipe) -> Option<&Path> {
        let saved = self.recipe_file.as_ref().filter(|(_, saved)| saved == recipe);
        saved.map(|(path, _)| path.as_path())
    }

    /// What to call an export.
    pub fn suggested_name(&self, session: &Session) -> String {
        let format = session.planning.recipe.current().format;
        let format = format.map_or("quantized", |format| format.name());
        let document = session.document.as_ref().map(|(_, document)| document);
        document.map_or_else(|| format.to_owned(), |document| document.name_with(format))
    }

    /// The name of the file to write, if it is one and not a folder.
    pub fn file_name(&self) -> Option<String> {
        let out = Path::new(self.out.trim());
        let name = out.file_name().filter(|_| is_model(out));
        name.map(|name| name.to_string_lossy().into_owned())
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
            Some("An export or verification is under way".to_owned())
        } else if session.devices.open.is_none() {
            Some("The device is not open".to_owned())
        } else if let Some(why) = session.planning.problem() {
            Some(why.clone())
        } else if session.planning.is_busy() {
            Some("The plan is being made".to_owned())
        } else if !analysis.plan.quantizes() {
            Some("Nothing is quantized: choose a format in the recipe".to_owned())
        } else if self.views.export.out.trim().is_empty() {
            Some("Say where to write it".to_owned())
        } else {
            self.why_no_size()
        }
    }

    /// What is wrong with the size of files as it is typed.
    pub(in crate::gui) fn why_no_size(&self) -> Option<String> {
        match self.views.export.shard.as_deref().map(shard_bytes)? {
            Err(why) => Some(format!("Size of files: {why}")),
            Ok(typed) if typed != self.session.planning.max_shard_bytes => {
                Some("The size of files is being typed: press Enter".to_owned())
            }
            Ok(_) => None,
        }
    }

    /// The `--batch` call that does the same.
    pub(in crate::gui) fn command_line(&self) -> String {
        let session = &self.session;
        let view = &self.views.export;
        let path = session.document.as_ref().map(|(_, document)| document.checkpoint.path.clone());
        // A saved recipe that has changed since does not do the same.
        let out = Some(PathBuf::from(view.out.trim())).filter(|out| !out.as_os_str().is_empty());
        command_line(&Call {
            checkpoint: &path.unwrap_or_default(),
            recipe: self.recipe(),
            recipe_file: view.recipe_file_of(self.recipe()),
            out: out.as_deref().filter(|_| self.recipe().formats().next().is_some()),
            max_shard_size: session.planning.max_shard_bytes,
            overwrite: view.overwrite,
            resume: view.resume,
            device: &session.devices.name,
        })
    }
}

/// Draws it.
pub fn export_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    let is_stored = app.session.analysis().is_some_and(|analysis| analysis.is_stored);
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        ui.set_max_width(820.0);
        match is_stored {
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
