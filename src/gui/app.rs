//! The window's content: one frame, and what commands do.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use eframe::egui::{self, CentralPanel, Context, Frame, Panel, Ui, ViewportCommand};

use super::command::Command;
use super::dialogs::{Answer, Dialogs};
use super::menu;
use super::overlay::Overlay;
use super::panels;
use super::session::{Devices, Notify, Outcome, Query, Session, Source, WindowGpu, name_of};
use super::settings::{Draft, Settings};
use super::theme::{self, Theme};
use super::views::{self, View, Views};
use crate::recipe::Recipe;
use crate::report::{ReportFormat, table_text};

/// The window's content.
pub struct App {
    /// The open checkpoint.
    pub(super) session: Session,
    /// What is remembered.
    pub(super) settings: Settings,
    pub(super) views: Views,
    pub(super) overlay: Overlay,
    dialogs: Dialogs,
    notify: Notify,
    /// What has just been done, and when.
    pub(super) notice: Option<(String, f64)>,
}

/// What views and panels ask for while they are drawn.
#[derive(Default)]
pub(super) struct Asked {
    /// Commands.
    pub commands: Vec<Command>,
    /// A checkpoint to open.
    pub open: Option<Source>,
    /// A device to turn to.
    pub device: Option<String>,
    /// Text for the clipboard, and what to say of it.
    pub copy: Option<(String, String)>,
    /// A file to save: its name and contents.
    pub save: Option<(String, Vec<u8>)>,
    /// To choose the folder to export to.
    pub choose_out: bool,
    /// To choose the checkpoint to verify against.
    pub choose_against: bool,
    /// A view to turn to.
    pub view: Option<View>,
}

impl App {
    /// Installs fonts and styles, and begins to open `source`, or else what was open last.
    pub fn new(
        ctx: &Context,
        mut settings: Settings,
        gpu: Option<WindowGpu>,
        source: Option<Source>,
    ) -> Self {
        theme::install(ctx);
        ctx.set_theme(settings.theme);
        let repaint = ctx.clone();
        let notify: Notify = Arc::new(move || repaint.request_repaint());
        let devices = Devices::new(&settings.device, gpu);
        let mut session = Session::new(Arc::clone(&notify), devices);
        session.query = Query { experts_of: None, ..settings.query.clone() };
        let restored = || settings.draft.as_ref().map(Draft::source);
        let mut views = Views::default();
        if let Some(source) = source.or_else(restored) {
            match settings.draft_of(&source) {
                Some(draft) => {
                    session.planning.max_shard_bytes = draft.max_shard_bytes;
                    views.export.out.clone_from(&draft.out);
                    session.open(source, draft.recipe(), draft.selection.clone());
                }
                None => session.open(source, Recipe::default(), BTreeSet::new()),
            }
        }
        settings.query = Query::default();
        let overlay = Overlay::default();
        Self {
            session,
            settings,
            views,
            overlay,
            dialogs: Dialogs::default(),
            notify,
            notice: None,
        }
    }

    /// Draws one frame.
    pub fn show(&mut self, ui: &mut Ui) {
        let opened_before = self.session.document.as_ref().map(|(source, _)| source.clone());
        self.session.poll();
        self.greet(opened_before);
        self.take_answers();
        self.closing(ui);
        let mut asked = Asked::default();
        self.keys(ui, &mut asked);
        self.dropped(ui, &mut asked);

        let colours = Theme::of(ui);
        let bar = Frame::side_top_panel(ui.style()).fill(colours.panel);
        Panel::top("menu").frame(bar).show(ui, |ui| menu::bar_ui(self, ui, &mut asked));
        Panel::bottom("status").show(ui, |ui| panels::status_ui(self, ui, &mut asked));
        let is_open = self.session.document.is_some();
        let mut shown = self.settings.recipe_panel && is_open;
        Panel::left("recipe").default_size(300.0).size_range(260.0..=460.0).show_collapsible(
            ui,
            &mut shown,
            |ui| panels::recipe_ui(self, ui, &mut asked),
        );
        let mut size_shown = self.settings.size_panel && is_open;
        Panel::right("size").default_size(330.0).size_range(280.0..=520.0).show_collapsible(
            ui,
            &mut size_shown,
            |ui| panels::size_ui(self, ui, &mut asked),
        );
        if is_open {
            (self.settings.recipe_panel, self.settings.size_panel) = (shown, size_shown);
            if !self.session.selection.is_empty() {
                Panel::bottom("selection")
                    .resizable(false)
                    .show(ui, |ui| panels::selection_ui(self, ui, &mut asked));
            }
        }
        let ground = Frame::central_panel(ui.style()).fill(colours.ground);
        CentralPanel::default().frame(ground).show(ui, |ui| views::view_ui(self, ui, &mut asked));
        self.overlay_ui(ui, &mut asked);
        self.answer(ui, asked);
    }

    /// Draws what lies over everything else.
    fn overlay_ui(&mut self, ui: &Ui, asked: &mut Asked) {
        let mut overlay = std::mem::take(&mut self.overlay);
        overlay.show(self, ui.ctx(), asked);
        // A command of the overlay may have opened another.
        if self.overlay == Overlay::default() {
            self.overlay = overlay;
        }
    }

    /// Remembers a checkpoint that has just been opened.
    fn greet(&mut self, before: Option<Source>) {
        let Some((source, document)) = &self.session.document else { return };
        if before.as_ref() == Some(source) {
            return;
        }
        if let Source::Path(path) = source {
            self.settings.opened(path);
        }
        let is_draft = self.settings.draft.as_ref().is_some_and(|draft| draft.source() == *source);
        if !is_draft {
            self.views.export.out = String::new();
        }
        self.views.turn_to(document);
    }

    fn keys(&self, ui: &Ui, asked: &mut Asked) {
        let is_typing = ui.ctx().text_edit_focused() || self.overlay.takes_keys();
        // Ctrl+Shift+Z would do for Ctrl+Z as well, so it is looked for first.
        let with_shift =
            |command: &Command| command.shortcut().is_some_and(|shortcut| shortcut.modifiers.shift);
        let (first, last): (Vec<_>, Vec<_>) = Command::ALL.into_iter().partition(with_shift);
        for command in first.into_iter().chain(last) {
            let Some(shortcut) = command.shortcut() else { continue };
            let is_plain = shortcut.modifiers.is_none();
            if (is_plain && is_typing) || !self.can(command) {
                continue;
            }
            if ui.input_mut(|input| input.consume_shortcut(&shortcut)) {
                asked.commands.push(command);
            }
        }
    }

    /// Asks before an export is stopped by closing the window.
    fn closing(&mut self, ui: &Ui) {
        let asks_to_close = ui.input(|input| input.viewport().close_requested());
        if asks_to_close && self.session.exporting.is_some() && self.overlay != Overlay::Closed {
            ui.ctx().send_viewport_cmd(ViewportCommand::CancelClose);
            self.overlay = Overlay::Closing;
        }
    }

    fn dropped(&self, ui: &Ui, asked: &mut Asked) {
        let dropped = ui.input(|input| input.raw.dropped_files.clone());
        asked.open = dropped.first().map(|file| Source::Path(file.path().to_owned()));
    }

    /// Does what was asked for while the frame was drawn.
    fn answer(&mut self, ui: &Ui, asked: Asked) {
        if let Some(source) = asked.open {
            self.open(source);
        }
        if let Some(name) = asked.device {
            self.settings.device.clone_from(&name);
            self.session.choose_device(&name);
        }
        if let Some((text, what)) = asked.copy {
            ui.ctx().copy_text(text);
            self.say(ui.ctx(), what);
        }
        if let Some((name, contents)) = asked.save {
            self.dialogs.save(&self.notify, &name, contents);
        }
        if asked.choose_out {
            let name = self.views.export.suggested_name(&self.session);
            self.dialogs.export_into(&self.notify, name);
        }
        if asked.choose_against {
            self.dialogs.compare_with(&self.notify);
        }
        if let Some(view) = asked.view {
            self.settings.view = view;
        }
        for command in asked.commands {
            if self.can(command) {
                self.run(command, ui.ctx());
            }
        }
    }

    /// Says what has been done, for a moment.
    pub(super) fn say(&mut self, ctx: &Context, what: String) {
        self.notice = Some((what, ctx.input(|input| input.time)));
    }

    fn open(&mut self, source: Source) {
        let (recipe, selection) = match self.settings.draft_of(&source) {
            Some(draft) if self.session.document.is_none() => {
                (draft.recipe(), draft.selection.clone())
            }
            _ => Default::default(),
        };
        self.session.open(source, recipe, selection);
    }

    fn take_answers(&mut self) {
        for answer in self.dialogs.poll() {
            let said = match answer {
                Answer::Open(path) => {
                    self.open(Source::Path(path));
                    continue;
                }
                Answer::Out(path) => {
                    self.views.export.out = path.display().to_string();
                    continue;
                }
                Answer::Against(path) => {
                    self.views.export.against = path.display().to_string();
                    continue;
                }
                Answer::Recipe(path, recipe) => {
                    self.session.change("open a recipe", *recipe);
                    format!("opened {}", name_of(&path))
                }
                Answer::Saved(path) => {
                    if path.extension().is_some_and(|ending| ending == "toml") {
                        self.views.export.recipe_file = Some((path.clone(), self.recipe().clone()));
                    }
                    format!("saved {}", path.display())
                }
                Answer::Failed(message) => {
                    self.overlay = Overlay::Message(message);
                    continue;
                }
            };
            self.notice = Some((said, f64::NAN));
        }
    }

    /// The recipe as it is now.
    pub(super) fn recipe(&self) -> &Recipe {
        self.session.planning.recipe.current()
    }

    /// Whether a command makes sense now.
    pub(super) fn can(&self, command: Command) -> bool {
        let document = self.session.document.as_ref().map(|(_, document)| document);
        let is_open = document.is_some();
        let is_float = document.is_some_and(|document| document.quantized.is_none());
        let history = &self.session.planning.recipe;
        let has_tables = !self.session.tables.rows.is_empty();
        match command {
            Command::Undo => is_float && history.to_undo().is_some(),
            Command::Redo => is_float && history.to_redo().is_some(),
            Command::SaveTableCsv
            | Command::SaveTableJson
            | Command::SaveTableMarkdown
            | Command::CopyRows
            | Command::SelectShown => has_tables,
            Command::ClearSelection => !self.session.selection.is_empty(),
            Command::KeepSelection => is_float && !self.session.selection.is_empty(),
            Command::QuantizeSelection => {
                is_float && !self.session.selection.is_empty() && self.recipe().format.is_some()
            }
            Command::ToggleEmbeddings
            | Command::ResetRecipe
            | Command::OpenRecipe
            | Command::SaveRecipe
            | Command::CopyRecipe
            | Command::CopyCommandLine => is_float,
            Command::Export => is_float && self.why_no_export().is_none(),
            Command::Verify => {
                is_open
                    && !is_float
                    && self.session.exporting.is_none()
                    && self.session.devices.open.is_some()
            }
            Command::Stop => self.session.exporting.is_some(),
            Command::CopyReport => {
                let outcome = self.session.outcome.as_ref();
                outcome.is_some_and(|outcome| !matches!(outcome, Outcome::Stopped))
            }
            Command::FocusFilter
            | Command::ShowMap
            | Command::ShowTable
            | Command::ShowProfile
            | Command::ShowFiles
            | Command::ShowExport
            | Command::ToggleRecipe
            | Command::ToggleSize
            | Command::PauseMeasuring => is_open,
            _ => true,
        }
    }

    fn run(&mut self, command: Command, ctx: &Context) {
        match command {
            Command::OpenFolder => self.dialogs.open_folder(&self.notify),
            Command::OpenFile => self.dialogs.open_file(&self.notify),
            Command::OpenDemo => self.open(Source::Demo),
            Command::OpenRecipe => self.dialogs.open_recipe(&self.notify),
            Command::SaveRecipe => match self.recipe_toml() {
                Ok(text) => {
                    self.dialogs.save(&self.notify, "recipe.toml", text.into_bytes());
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
                self.session.export(out, self.views.export.overwrite);
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
            Command::ShowMap => self.settings.view = View::Map,
            Command::ShowTable => self.settings.view = View::Table,
            Command::ShowProfile => self.settings.view = View::Profile,
            Command::ShowFiles => self.settings.view = View::Files,
            Command::ShowExport => self.settings.view = View::Export,
            Command::ToggleRecipe => self.settings.recipe_panel ^= true,
            Command::ToggleSize => self.settings.size_panel ^= true,
            Command::PauseMeasuring => {
                let paused = !self.session.measurements.paused;
                self.session.measurements.pause(paused);
            }
            Command::Dark => self.set_theme(ctx, egui::ThemePreference::Dark),
            Command::Light => self.set_theme(ctx, egui::ThemePreference::Light),
            Command::FollowSystem => self.set_theme(ctx, egui::ThemePreference::System),
            Command::Palette => self.overlay = Overlay::palette(),
            Command::Shortcuts => self.overlay = Overlay::Shortcuts,
            Command::About => self.overlay = Overlay::About,
        }
    }

    fn set_theme(&mut self, ctx: &Context, theme: egui::ThemePreference) {
        self.settings.theme = theme;
        ctx.set_theme(theme);
    }

    fn save_table(&mut self, format: ReportFormat, name: &str) {
        let text = table_text(views::table::shown_rows(&self.session), format);
        self.dialogs.save(&self.notify, name, text.into_bytes());
    }

    fn recipe_toml(&self) -> Result<String, String> {
        let recipe = toml::to_string(self.recipe());
        recipe.map_err(|error| format!("the recipe cannot be written as TOML: {error}"))
    }

    /// Whether any work is under way.
    pub fn is_busy(&self) -> bool {
        self.session.is_busy() || self.session.exporting.is_some()
    }

    /// What to remember until the next time.
    pub fn settings(&self) -> Settings {
        let session = &self.session;
        let draft = session.document.as_ref().map(|(source, _)| Draft {
            path: match source {
                Source::Path(path) => {
                    Some(std::path::absolute(path).unwrap_or_else(|_| path.clone()))
                }
                Source::Demo => None,
            },
            recipe: self.recipe_toml().unwrap_or_default(),
            max_shard_bytes: session.planning.max_shard_bytes,
            selection: session.selection.clone(),
            out: self.views.export.out.clone(),
        });
        Settings { query: session.query.clone(), draft, ..self.settings.clone() }
    }
}

impl eframe::App for App {
    fn ui(&mut self, ui: &mut Ui, _: &mut eframe::Frame) {
        self.show(ui);
    }

    fn on_exit(&mut self) {
        self.session.stop();
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        eframe::set_value(storage, eframe::APP_KEY, &self.settings());
    }
}
