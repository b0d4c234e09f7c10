//! The window's content: one frame, and what commands do.

use std::sync::{Arc, Mutex, PoisonError};

use eframe::egui::{CentralPanel, Context, Frame, Panel, Popup, Ui, ViewportCommand};

use super::command::Command;
use super::dialogs::{Answer, Dialogs};
use super::memory::Memory;
use super::menu;
use super::overlay::Overlay;
use super::panels;
use super::session::{Devices, Look, Notify, Query, Session, Source, WindowGpu};
use super::settings::{Draft, Settings};
use super::theme::{self, Theme};
use super::views::{self, View, Views};
use crate::recipe::Recipe;

/// The window's content.
pub struct App {
    /// The open checkpoint.
    pub(super) session: Session,
    /// What is remembered.
    pub(super) settings: Settings,
    /// Where that is kept; nowhere in a window that nobody opened.
    pub(super) memory: Option<Arc<Memory>>,
    pub(super) views: Views,
    pub(super) overlay: Overlay,
    pub(super) dialogs: Dialogs,
    pub(super) notify: Notify,
    /// A picture of the view that was asked for, once it is taken.
    pub(super) picture: Arc<Mutex<Option<Vec<u8>>>>,
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
    /// To choose where to export to.
    pub choose_out: bool,
    /// To choose the checkpoint to verify against.
    pub choose_against: bool,
    /// To choose the checkpoint to compare with.
    pub choose_compare: bool,
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
        let restored = settings.drafts.first().map(Draft::source);
        settings.query = Query::default();
        let mut app = Self {
            session,
            settings,
            memory: None,
            views: Views::default(),
            overlay: Overlay::default(),
            dialogs: Dialogs::default(),
            notify,
            picture: Arc::default(),
            notice: None,
        };
        if let Some(source) = source.or(restored) {
            app.open(source);
        }
        app
    }

    /// Draws one frame.
    pub fn show(&mut self, ui: &mut Ui) {
        let opened_before = self.session.document.as_ref().map(|(source, _)| source.clone());
        self.session.poll();
        self.greet(opened_before);
        self.name_file(ui);
        self.take_answers();
        self.take_picture();
        self.begin_wanted_lesson();
        self.closing(ui);
        let mut asked = Asked::default();
        self.keys(ui, &mut asked);
        self.dropped(ui, &mut asked);

        let colours = Theme::of(ui);
        let bar = Frame::side_top_panel(ui.style()).fill(colours.panel);
        Panel::top("menu").frame(bar).show(ui, |ui| menu::bar_ui(self, ui, &mut asked));
        Panel::bottom("status").show(ui, |ui| panels::status_ui(self, ui, &mut asked));
        let is_open = self.session.document.is_some();
        if is_open && self.session.analysis().is_some() {
            views::inspect::lessons::lesson_ui(self, ui, &mut asked);
        }
        let is_wide = self.settings.view.is_wide();
        let mut shown = self.settings.recipe_panel && is_open && !is_wide;
        Panel::left("recipe").default_size(300.0).size_range(260.0..=460.0).show_collapsible(
            ui,
            &mut shown,
            |ui| panels::recipe_ui(self, ui, &mut asked),
        );
        let mut size_shown = self.settings.size_panel && is_open && !is_wide;
        Panel::right("size").default_size(330.0).size_range(280.0..=520.0).show_collapsible(
            ui,
            &mut size_shown,
            |ui| panels::size_ui(self, ui, &mut asked),
        );
        if is_open && !is_wide {
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

    /// Saves a picture that has been taken.
    fn take_picture(&mut self) {
        let taken = self.picture.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(png) = taken {
            let name = self.file_name("png");
            self.dialogs.save(&self.notify, &name, move || png, None);
        }
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
        let out = self.settings.draft_of(source).map(|draft| draft.out.clone());
        self.views.turn_to(document, out);
    }

    /// Tells the plan what its file is called, once nobody is typing it: an ONNX model says itself where
    /// its tensors are.
    fn name_file(&mut self, ui: &Ui) {
        let Some((_, document)) = &self.session.document else { return };
        let name = self.views.export.file_name().filter(|_| document.checkpoint.onnx.is_some());
        let planning = &mut self.session.planning;
        if planning.file_name != name && !ui.ctx().text_edit_focused() {
            planning.file_name = name;
            planning.ask();
        }
    }

    fn keys(&self, ui: &Ui, asked: &mut Asked) {
        if self.overlay.takes_keys() {
            return;
        }
        let is_typing = ui.ctx().text_edit_focused() || Popup::is_any_open(ui.ctx());
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
        asked.open = dropped.first().map(|file| Source::path(file.path()));
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
            self.dialogs.save(&self.notify, &name, move || contents, None);
        }
        if asked.choose_out {
            let name = self.views.export.suggested_name(&self.session);
            self.dialogs.export_into(&self.notify, name);
        }
        if asked.choose_against || asked.choose_compare {
            let document = self.session.document.as_ref().map(|(_, document)| document);
            let is_onnx = document.is_some_and(|document| document.checkpoint.onnx.is_some());
            let then = if asked.choose_against { Answer::Against } else { Answer::Compare };
            self.dialogs.compare_with(&self.notify, is_onnx, then);
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

    pub(super) fn open(&mut self, source: Source) {
        if let Some(draft) = self.draft() {
            self.settings.keep(draft);
        }
        let look = self.settings.draft_of(&source).map(|draft| Look {
            recipe: draft.recipe(),
            max_shard_bytes: draft.max_shard_bytes,
            selection: draft.selection.clone(),
            ..Look::default()
        });
        self.session.open(source, look.unwrap_or_default());
    }

    fn take_answers(&mut self) {
        for answer in self.dialogs.poll() {
            let said = match answer {
                Answer::Open(path) => {
                    self.open(Source::path(&path));
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
                Answer::Compare(path) => {
                    self.session.compare = Some(path);
                    continue;
                }
                Answer::Recipe(path, recipe) => {
                    let said = format!("opened {}", path.display());
                    self.views.export.recipe_file = Some((path, recipe.as_ref().clone()));
                    self.session.change("open a recipe", *recipe);
                    said
                }
                Answer::Saved(path, recipe) => {
                    let said = format!("saved {}", path.display());
                    if let Some(recipe) = recipe {
                        self.views.export.recipe_file = Some((path, *recipe));
                    }
                    said
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

    /// Whether any work is under way.
    pub fn is_busy(&self) -> bool {
        self.session.is_busy()
            || self.views.inspect.is_busy(self.settings.view)
            || self.session.exporting.is_some()
    }

    /// What is about to be made of what is open.
    fn draft(&self) -> Option<Draft> {
        let (source, _) = self.session.document.as_ref()?;
        Some(Draft {
            path: match source {
                Source::Path(path) => Some(path.clone()),
                Source::Demo => None,
            },
            recipe: self.recipe_toml().unwrap_or_default(),
            max_shard_bytes: self.session.planning.max_shard_bytes,
            selection: self.session.selection.clone(),
            out: self.views.export.out.clone(),
        })
    }

    /// What to remember until the next time.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings { query: self.session.query.clone(), ..self.settings.clone() };
        if let Some(draft) = self.draft() {
            settings.keep(draft);
        }
        settings
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
        match &self.memory {
            // What cannot be remembered is no reason to stop.
            Some(memory) => drop(memory.keep(self.settings(), |key| storage.get_string(key))),
            None => eframe::set_value(storage, eframe::APP_KEY, &self.settings()),
        }
    }
}
