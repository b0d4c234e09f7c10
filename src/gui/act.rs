//! What commands do, and when they make sense.

use std::path::PathBuf;

use eframe::egui::{Context, ThemePreference, ViewportCommand};

use super::app::App;
use super::command::Command;
use super::overlay::Overlay;
use super::panels;
use super::session::{Outcome, Source};
use super::views::{self, View};
use crate::recipe::Recipe;
use crate::report::{ReportFormat, table_text};

impl App {
    /// Whether a command makes sense now.
    pub(super) fn can(&self, command: Command) -> bool {
        let document = self.session.document.as_ref().map(|(_, document)| document);
        let is_open = document.is_some();
        let takes_recipe = document.is_some_and(|document| document.takes_recipe);
        let is_stored = self.session.analysis().is_some_and(|analysis| analysis.is_stored);
        let history = &self.session.planning.recipe;
        let has_tables = !self.session.tables.rows.is_empty();
        match command {
            Command::Undo => takes_recipe && history.to_undo().is_some(),
            Command::Redo => takes_recipe && history.to_redo().is_some(),
            Command::SaveTableCsv
            | Command::SaveTableJson
            | Command::SaveTableMarkdown
            | Command::CopyRows
            | Command::SelectShown => has_tables,
            Command::ClearSelection => !self.session.selection.is_empty(),
            Command::KeepSelection => takes_recipe && !is_stored && self.session.chosen.tensors > 0,
            Command::QuantizeSelection => {
                self.can(Command::KeepSelection) && self.recipe().format.is_some()
            }
            Command::ToggleEmbeddings
            | Command::ResetRecipe
            | Command::OpenRecipe
            | Command::SaveRecipe
            | Command::CopyRecipe => takes_recipe,
            Command::CopyCommandLine => takes_recipe && self.why_no_size().is_none(),
            Command::Export => takes_recipe && self.why_no_export().is_none(),
            Command::Verify => {
                is_stored && self.session.exporting.is_none() && self.session.devices.open.is_some()
            }
            Command::Stop => self.session.exporting.is_some(),
            Command::CopyReport => {
                let outcome = self.session.outcome.as_ref();
                outcome.is_some_and(|outcome| !matches!(outcome, Outcome::Stopped(_)))
            }
            // The number types need no file.
            Command::ShowCodecs => true,
            Command::FocusFilter | Command::PauseMeasuring => is_open,
            Command::ToggleRecipe | Command::ToggleSize => is_open && !self.settings.view.is_wide(),
            Command::ShowExperts => is_open && self.has_experts(),
            Command::NextStep | Command::PreviousStep | Command::EndLesson => {
                self.views.inspect.lesson.is_some()
            }
            Command::Pin => is_open && self.settings.view.inspects(),
            Command::CopyLink => is_open,
            Command::SaveViewCsv => is_open && self.views.inspect.has_csv(self),
            Command::SaveViewPng => is_open,
            _ => is_open || View::shown_by(command).is_none(),
        }
    }

    /// Does what a command says.
    pub(super) fn run(&mut self, command: Command, ctx: &Context) {
        match command {
            Command::OpenFolder => self.dialogs.open_folder(&self.notify),
            Command::OpenFile => self.dialogs.open_file(&self.notify),
            Command::OpenDemo => self.open(Source::Demo),
            Command::OpenRecipe => self.dialogs.open_recipe(&self.notify),
            Command::SaveRecipe => match self.recipe_toml() {
                Ok(text) => {
                    let recipe = Box::new(self.recipe().clone());
                    let contents = move || text.into_bytes();
                    self.dialogs.save(&self.notify, "recipe.toml", contents, Some(recipe));
                }
                Err(message) => self.overlay = Overlay::Message(message),
            },
            Command::CopyRecipe => match self.recipe_toml() {
                Ok(text) => {
                    ctx.copy_text(text);
                    self.say(ctx, "copied the recipe".to_owned());
                }
                Err(message) => self.overlay = Overlay::Message(message),
            },
            Command::SaveTableCsv => self.save_table(ReportFormat::Csv, "statistics.csv"),
            Command::SaveTableJson => self.save_table(ReportFormat::Json, "statistics.json"),
            Command::SaveTableMarkdown => self.save_table(ReportFormat::Markdown, "statistics.md"),
            Command::Quit => ctx.send_viewport_cmd(ViewportCommand::Close),
            Command::Undo => self.session.undo(),
            Command::Redo => self.session.redo(),
            Command::CopyRows => {
                let rows = views::table::chosen_rows(&self.session);
                let count = crate::units::count(rows.len() as u64, "row");
                ctx.copy_text(table_text(rows, ReportFormat::Csv));
                self.say(ctx, format!("copied {count} as CSV"));
            }
            Command::SelectShown => views::table::select_shown(&mut self.session),
            Command::ClearSelection => self.session.selection.clear(),
            Command::FocusFilter => {
                self.settings.view = View::Table;
                self.views.table.focus_filter = true;
            }
            Command::ToggleEmbeddings => {
                let mut recipe = self.recipe().clone();
                recipe.quantize_embeddings ^= true;
                let name = match recipe.quantize_embeddings {
                    true => "quantize embeddings",
                    false => "keep embeddings",
                };
                self.session.change(name, recipe);
            }
            Command::KeepSelection => panels::set_selection(&mut self.session, panels::Wish::Keep),
            Command::QuantizeSelection => {
                panels::set_selection(&mut self.session, panels::Wish::Quantize);
            }
            Command::ResetRecipe => self.session.change("start over", Recipe::default()),
            Command::Export => {
                let out = PathBuf::from(self.views.export.out.trim());
                self.settings.view = View::Export;
                let view = &self.views.export;
                self.session.export(out, view.overwrite, view.resume);
            }
            Command::Verify => {
                let against = self.views.export.against.trim();
                let against = (!against.is_empty()).then(|| PathBuf::from(against));
                self.settings.view = View::Export;
                self.session.verify(against);
            }
            Command::Stop => {
                if let Some(exporting) = &self.session.exporting {
                    exporting.cancel();
                }
            }
            Command::CopyCommandLine => {
                ctx.copy_text(self.command_line());
                self.say(ctx, "copied the command line".to_owned());
            }
            Command::CopyReport => {
                ctx.copy_text(views::export::report_text(self));
                self.say(ctx, "copied the report".to_owned());
            }
            Command::ShowMap
            | Command::ShowTable
            | Command::ShowProfile
            | Command::ShowExperts
            | Command::ShowFormats
            | Command::ShowMicroscope
            | Command::ShowRuler
            | Command::ShowHistogram
            | Command::ShowScales
            | Command::ShowErrors
            | Command::ShowOutliers
            | Command::ShowRegimes
            | Command::ShowCompare
            | Command::ShowLessons
            | Command::ShowCodecs
            | Command::ShowFiles
            | Command::ShowExport => {
                self.settings.view = View::shown_by(command).unwrap_or_default();
            }
            Command::NextStep => self.turn_step(1),
            Command::PreviousStep => self.turn_step(-1),
            Command::EndLesson => self.views.inspect.lesson = None,
            Command::Pin => self.pin(),
            Command::CopyLink => {
                ctx.copy_text(self.link());
                self.say(ctx, "copied the link".to_owned());
            }
            Command::SaveViewCsv => self.save_view_csv(),
            Command::SaveViewPng => self.save_view_png(ctx),
            Command::ToggleRecipe => self.settings.recipe_panel ^= true,
            Command::ToggleSize => self.settings.size_panel ^= true,
            Command::PauseMeasuring => {
                let paused = !self.session.measurements.paused;
                self.session.measurements.pause(paused);
            }
            Command::Dark => self.set_theme(ctx, ThemePreference::Dark),
            Command::Light => self.set_theme(ctx, ThemePreference::Light),
            Command::FollowSystem => self.set_theme(ctx, ThemePreference::System),
            Command::Palette => self.overlay = Overlay::palette(),
            Command::Shortcuts => self.overlay = Overlay::Shortcuts,
            Command::About => self.overlay = Overlay::About,
        }
    }

    fn set_theme(&mut self, ctx: &Context, theme: ThemePreference) {
        self.settings.theme = theme;
        ctx.set_theme(theme);
    }

    fn save_table(&mut self, format: ReportFormat, name: &str) {
        let text = table_text(views::table::shown_rows(&self.session), format);
        self.dialogs.save(&self.notify, name, move || text.into_bytes(), None);
    }

    pub(super) fn recipe_toml(&self) -> Result<String, String> {
        let recipe = toml::to_string(self.recipe());
        recipe.map_err(|error| format!("the recipe cannot be written as TOML: {error}"))
    }
}
