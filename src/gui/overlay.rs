//! What lies over everything else: the palette, the shortcut sheet, and messages.

use eframe::egui::{self, Align2, Area, Context, Frame, Id, Key, Modal, RichText, ScrollArea, Ui};

use super::app::{App, Asked};
use super::command::{Command, Menu};
use super::theme::{self, Theme};

/// What lies over everything else.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Overlay {
    /// Nothing.
    #[default]
    None,
    /// Commands by their names.
    Palette {
        /// What has been typed.
        text: String,
        /// The command that Enter does, among those that fit.
        chosen: usize,
    },
    /// Every shortcut.
    Shortcuts,
    /// What this is.
    About,
    /// Something that went wrong.
    Message(String),
    /// Whether to close the window though an export is under way.
    Closing,
    /// The answer was to close it.
    Closed,
}

impl Overlay {
    /// The palette, with nothing typed.
    pub fn palette() -> Self {
        Self::Palette { text: String::new(), chosen: 0 }
    }

    /// Whether keys are for it.
    pub fn takes_keys(&self) -> bool {
        *self != Self::None
    }

    /// Draws it, and goes away when it is done.
    pub fn show(&mut self, app: &App, ctx: &Context, asked: &mut Asked) {
        let done = match self {
            Self::None => return,
            Self::Palette { text, chosen } => palette(text, chosen, app, ctx, asked),
            Self::Shortcuts => modal(ctx, "Shortcuts", shortcuts_ui),
            Self::About => modal(ctx, "quantscope", about_ui),
            Self::Closed => return,
            Self::Closing => {
                let mut closed = false;
                let done = modal(ctx, "Work is under way", |ui| {
                    ui.label("Closing the window stops the export or verification. Nothing would be left behind.");
                    closed = ui.button("Stop it and close the window").clicked();
                });
                if closed {
                    *self = Self::Closed;
                    ctx.send_viewport_cmd(egui::ViewportCommand::Close);
                    return;
                }
                done
            }
            Self::Message(message) => modal(ctx, "That did not work", |ui| {
                ui.label(message.as_str());
            }),
        };
        if done {
            *self = Self::None;
        }
    }
}

/// A box in the middle of the window; whether it is to be closed.
fn modal(ctx: &Context, heading: &str, contents: impl FnOnce(&mut Ui)) -> bool {
    let shown = Modal::new(Id::unique("overlay")).show(ctx, |ui| {
        ui.set_max_width(620.0);
        ui.label(RichText::new(heading).font(theme::heading()));
        ui.add_space(6.0);
        contents(ui);
        ui.add_space(10.0);
        let close = ui.button("Close");
        if ui.memory(|memory| memory.focused().is_none()) {
            close.request_focus();
        }
        close.clicked()
    });
    shown.inner || shown.should_close()
}

/// Commands whose names have all letters of a text in their order, best first: those that begin with it,
/// those that have it as it is, then the others.
fn fitting(text: &str, app: &App) -> Vec<Command> {
    let wanted = text.trim().to_lowercase();
    let rank = |command: &Command| {
        let name = command.name().to_lowercase();
        if name.starts_with(&wanted) {
            return Some(0);
        }
        if name.contains(&wanted) {
            return Some(1);
        }
        let mut letters = name.chars();
        wanted.chars().all(|c| letters.any(|other| other == c)).then_some(2)
    };
    let possible = Command::ALL.into_iter().filter(|c| app.can(*c) && *c != Command::Palette);
    let mut fitting: Vec<(u8, Command)> =
        possible.filter_map(|command| Some((rank(&command)?, command))).collect();
    fitting.sort_by_key(|(rank, _)| *rank);
    fitting.into_iter().map(|(_, command)| command).collect()
}

fn palette(
    text: &mut String,
    chosen: &mut usize,
    app: &App,
    ctx: &Context,
    asked: &mut Asked,
) -> bool {
    let (up, down, enter, escape) = ctx.input_mut(|input| {
        let mut key = |key| input.consume_key(egui::Modifiers::NONE, key);
        (key(Key::ArrowUp), key(Key::ArrowDown), key(Key::Enter), key(Key::Escape))
    });
    let commands = fitting(text, app);
    if down {
        *chosen += 1;
    }
    if up {
        *chosen = chosen.saturating_sub(1);
    }
    *chosen = (*chosen).min(commands.len().saturating_sub(1));
    let mut done = escape;
    if enter && let Some(command) = commands.get(*chosen) {
        asked.commands.push(*command);
        done = true;
    }
    let area = Area::new(Id::unique("palette")).anchor(Align2::CENTER_TOP, [0.0, 80.0]);
    let shown = area.order(egui::Order::Foreground).show(ctx, |ui| {
        Frame::popup(ui.style()).inner_margin(10.0).show(ui, |ui| {
            ui.set_width(480.0);
            let field =
                egui::TextEdit::singleline(text).hint_text("Type a command").desired_width(480.0);
            let field = ui.add(field);
            if field.changed() {
                *chosen = 0;
            }
            field.request_focus();
            ui.add_space(4.0);
            ScrollArea::vertical().max_height(360.0).show(ui, |ui| {
                for (i, command) in commands.iter().enumerate() {
                    if command_ui(*command, i == *chosen, up || down, ui) {
                        asked.commands.push(*command);
                        done = true;
                    }
                }
                if commands.is_empty() {
                    ui.weak("No command is called so.");
                }
            });
        });
    });
    let outside = ctx.input(|input| input.pointer.any_pressed())
        && ctx.pointer_interact_pos().is_some_and(|at| !shown.response.rect.contains(at));
    done || outside
}

/// One command of the palette; whether it was clicked.
fn command_ui(command: Command, chosen: bool, moved: bool, ui: &mut Ui) -> bool {
    let mut button =
        egui::Button::selectable(chosen, command.name()).min_size([470.0, 26.0].into());
    if let Some(keys) = command.keys(ui.ctx()) {
        button = button.shortcut_text(keys);
    }
    let response = ui.add(button).on_hover_text(command.help());
    if chosen && moved {
        response.scroll_to_me(None);
    }
    response.clicked()
}

fn shortcuts_ui(ui: &mut Ui) {
    let context = ui.ctx().clone();
    let muted = Theme::of(ui).muted;
    ui.columns(2, |columns| {
        for (i, menu) in Menu::ALL.into_iter().enumerate() {
            let with_keys = |command: &Command| {
                (command.menu() == menu).then_some(())?;
                Some((*command, command.keys(&context)?))
            };
            let commands: Vec<_> = Command::ALL.iter().filter_map(with_keys).collect();
            if commands.is_empty() {
                continue;
            }
            let ui = &mut columns[usize::from(i == 3)];
            ui.label(RichText::new(menu.name()).font(theme::strong()));
            egui::Grid::new(menu.name()).num_columns(2).spacing([16.0, 4.0]).show(ui, |ui| {
                for (command, keys) in commands {
                    ui.label(RichText::new(keys).monospace().color(muted));
                    ui.label(command.name());
                    ui.end_row();
                }
            });
            ui.add_space(8.0);
        }
        let ui = &mut columns[1];
        ui.label(RichText::new("Everywhere").font(theme::strong()));
        for (keys, what) in [
            ("Tab", "Next control"),
            ("Space, Enter", "Use it"),
            ("Arrows", "Move in maps, tables and lists"),
            ("Ctrl and + or −", "Larger or smaller"),
        ] {
            ui.horizontal(|ui| {
                ui.label(RichText::new(keys).monospace().color(muted));
                ui.label(what);
            });
        }
    });
}

fn about_ui(ui: &mut Ui) {
    ui.label(format!("Version {}", env!("CARGO_PKG_VERSION")));
    ui.label(
        "Opens a model checkpoint, shows what is in its weights, and quantizes it on any GPU, or on \
         the CPU where there is none, with the bytes of the reference tools.",
    );
    ui.label("MIT or Apache-2.0. The font is Inter, under the SIL Open Font License 1.1.");
}
