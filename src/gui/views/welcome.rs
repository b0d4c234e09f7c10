//! What there is to see before anything is open.

use std::path::Path;

use eframe::egui::{self, Align, Layout, RichText, Role, Ui};

use crate::gui::app::{App, Asked};
use crate::gui::command::Command;
use crate::gui::session::Source;
use crate::gui::theme::{self, Theme};
use crate::gui::views::View;
use crate::gui::widgets::{Mark, caption, named};

/// What has been typed.
#[derive(Debug, Default)]
pub struct Welcome {
    path: String,
}

/// Draws it.
pub fn welcome_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    let theme = Theme::of(ui);
    let dropping = ui.input(|input| !input.raw.hovered_files.is_empty());
    ui.vertical_centered(|ui| {
        ui.set_max_width(560.0);
        ui.add_space((ui.available_height() * 0.14).max(16.0));
        ui.label(RichText::new("quantscope").font(theme::title()));
        ui.label(
            RichText::new("Open a model checkpoint, see what is in its weights, and quantize it.")
                .color(theme.muted),
        );
        ui.add_space(18.0);
        ui.horizontal(|ui| {
            let width = (ui.available_width() - 2.0 * ui.spacing().item_spacing.x) / 3.0;
            for command in [Command::OpenFolder, Command::OpenFile, Command::OpenDemo] {
                let button = egui::Button::new(command.name()).min_size([width, 40.0].into());
                if ui.add(button).on_hover_text(command.help()).clicked() {
                    asked.commands.push(command);
                }
            }
        });
        ui.add_space(6.0);
        let dropped = match dropping {
            true => RichText::new("Let go to open it").color(theme.accent),
            false => RichText::new("or drop a folder, a .safetensors or an .onnx file here")
                .color(theme.muted),
        };
        ui.label(dropped);
        ui.add_space(6.0);
        path_ui(app, ui, asked);
        open_error_ui(app, ui);
        if let Some(source) = app.session.opening() {
            ui.horizontal(|ui| {
                ui.spinner();
                ui.label(format!("Opening {source}"));
            });
        }
        learn_ui(app, ui, asked);
        recent_ui(app, ui, asked);
    });
}

fn path_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    ui.horizontal(|ui| {
        let path = &mut app.views.welcome.path;
        let field = egui::TextEdit::singleline(path)
            .hint_text("or type where it is")
            .desired_width(ui.available_width() - 70.0);
        let field = ui.add(field);
        named(&field, Role::TextInput, "Path of a checkpoint");
        let entered = field.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter));
        let may_open = !path.trim().is_empty();
        if ui.add_enabled(may_open, egui::Button::new("Open")).clicked() || (entered && may_open) {
            asked.open = Some(Source::path(Path::new(path.trim())));
        }
    });
}

/// Says what could not be opened, and why.
pub fn open_error_ui(app: &mut App, ui: &mut Ui) {
    let Some((source, why)) = app.session.open_error.clone() else { return };
    let theme = Theme::of(ui);
    egui::Frame::group(ui.style()).fill(theme.panel).show(ui, |ui| {
        ui.horizontal_top(|ui| {
            Mark::Bad.show(ui);
            ui.vertical(|ui| {
                ui.label(RichText::new(format!("Cannot open {source}")).font(theme::strong()));
                ui.label(why);
                if ui.button("Dismiss").clicked() {
                    app.session.open_error = None;
                }
            });
        });
    });
}

/// Where to begin without a checkpoint of one's own.
fn learn_ui(app: &App, ui: &mut Ui, asked: &mut Asked) {
    if app.session.opening().is_some() {
        return;
    }
    ui.add_space(12.0);
    ui.horizontal(|ui| {
        ui.label(RichText::new("New to this?").color(Theme::of(ui).muted));
        if ui.link("Five lessons on the demo").clicked() {
            asked.commands.push(Command::OpenDemo);
            asked.view = Some(View::Lessons);
        }
        ui.label("·");
        if ui.link("Number types, bit by bit").clicked() {
            asked.view = Some(View::Codecs);
        }
    });
}

fn recent_ui(app: &App, ui: &mut Ui, asked: &mut Asked) {
    if app.settings.recent.is_empty() {
        return;
    }
    ui.add_space(18.0);
    ui.with_layout(Layout::top_down(Align::Min), |ui| {
        caption(ui, "Recent");
        for path in &app.settings.recent {
            let shown = path.display().to_string();
            ui.horizontal(|ui| {
                if ui
                    .link(path.file_name().unwrap_or(path.as_os_str()).to_string_lossy())
                    .on_hover_text(&shown)
                    .clicked()
                {
                    asked.open = Some(Source::Path(path.clone()));
                }
                ui.add(egui::Label::new(RichText::new(&shown).weak().small()).truncate());
            });
        }
    });
}
