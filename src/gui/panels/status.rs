//! What is going on: the device, measuring, and what has just been done.

use eframe::egui::{self, Align, Layout, ProgressBar, RichText, Ui};

use crate::gui::app::{App, Asked};
use crate::gui::command::Command;
use crate::gui::theme::Theme;
use crate::units::bytes;

/// Seconds for which it says what has been done.
const NOTICE_SECONDS: f64 = 6.0;

/// Draws it.
pub fn status_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    let theme = Theme::of(ui);
    let muted = |text: String| RichText::new(text).small().color(theme.muted);
    ui.horizontal(|ui| {
        let devices = &app.session.devices;
        match &devices.error {
            Some(error) => {
                ui.label(RichText::new(error).small().color(theme.bad));
            }
            None => {
                let label = ui.label(muted(devices.label().to_owned()));
                label.on_hover_text("What computes. Another can be chosen in View, Device");
            }
        }
        if let Some(error) = devices.open.as_ref().and_then(|device| device.refused.as_ref()) {
            ui.label(RichText::new(error.to_string()).small().color(theme.warn));
        }
        measuring_ui(app, ui, asked);
        if app.session.planning.is_settling() {
            ui.label(muted("comparing embedding and head".to_owned()));
        }
        if let Some(source) = app.session.opening() {
            ui.spinner();
            ui.label(muted(format!("opening {source}")));
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let keys = Command::Palette.keys(ui.ctx());
            ui.label(muted(format!("{}: all commands", keys.unwrap_or_default())));
            notice_ui(app, ui);
        });
    });
}

fn measuring_ui(app: &App, ui: &mut Ui, asked: &mut Asked) {
    let theme = Theme::of(ui);
    let measurements = &app.session.measurements;
    if let Some(error) = &measurements.error {
        ui.label(RichText::new(error).small().color(theme.bad));
    }
    let Some((done, total)) = measurements.progress() else { return };
    let fraction = (done as f64 / total.max(1) as f64) as f32;
    let text = format!("measured {} of {}", bytes(done), bytes(total));
    let bar = ProgressBar::new(fraction).desired_width(180.0).desired_height(14.0);
    ui.add(bar.text(RichText::new(text).small()));
    let label = if measurements.paused { "Go on" } else { "Pause" };
    if ui.small_button(label).on_hover_text(Command::PauseMeasuring.help()).clicked() {
        asked.commands.push(Command::PauseMeasuring);
    }
}

fn notice_ui(app: &mut App, ui: &mut Ui) {
    let now = ui.input(|input| input.time);
    let Some((text, since)) = &mut app.notice else { return };
    if since.is_nan() {
        *since = now;
    }
    let left = *since + NOTICE_SECONDS - now;
    if left <= 0.0 {
        app.notice = None;
        return;
    }
    let label = egui::Label::new(RichText::new(text.as_str()).small().color(Theme::of(ui).good));
    ui.add(label.truncate());
    ui.ctx().request_repaint_after(std::time::Duration::from_secs_f64(left));
}
