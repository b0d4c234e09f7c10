//! The bar at the top: menus, what is open, and the views to choose from.

use eframe::egui::{self, Align, Button, Layout, MenuBar, RichText, Ui};

use super::app::{App, Asked};
use super::command::{Command, Menu};
use super::theme::{self, Theme};
use super::views::TABS;

/// Draws it.
pub fn bar_ui(app: &App, ui: &mut Ui, asked: &mut Asked) {
    MenuBar::new().ui(ui, |ui| {
        for menu in Menu::ALL {
            ui.menu_button(menu.name(), |ui| menu_ui(app, menu, ui, asked));
        }
        ui.separator();
        views_ui(app, ui, asked);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if let Some((_, document)) = &app.session.document {
                let facts = app.session.analysis().map(|analysis| analysis.facts.join(" · "));
                let muted = Theme::of(ui).muted;
                // The name comes first where there is no room for all.
                let name = RichText::new(&document.name).font(theme::strong());
                ui.label(name).on_hover_text(document.checkpoint.path.display().to_string());
                if ui.available_width() > 60.0 {
                    ui.add(
                        egui::Label::new(RichText::new(facts.unwrap_or_default()).color(muted))
                            .truncate(),
                    );
                }
            }
        });
    });
}

fn menu_ui(app: &App, menu: Menu, ui: &mut Ui, asked: &mut Asked) {
    ui.set_min_width(230.0);
    let own = Command::ALL.into_iter().filter(|command| command.menu() == menu);
    for (i, command) in own.enumerate() {
        if i > 0 && command.begins_a_group() {
            ui.separator();
        }
        let mut button = Button::new(command.name());
        if let Some(keys) = command.keys(ui.ctx()) {
            button = button.shortcut_text(keys);
        }
        if ui.add_enabled(app.can(command), button).on_hover_text(command.help()).clicked() {
            asked.commands.push(command);
        }
    }
    if menu == Menu::View {
        ui.separator();
        ui.menu_button("Device", |ui| devices_ui(app, ui, asked));
    }
}

/// The devices to choose from.
fn devices_ui(app: &App, ui: &mut Ui, asked: &mut Asked) {
    let devices = &app.session.devices;
    let mut choices = vec![
        (crate::device::AUTO.to_owned(), "The best GPU, else the CPU".to_owned()),
        (crate::device::CPU.to_owned(), "CPU".to_owned()),
    ];
    choices.extend(devices.adapters.iter().map(|info| (info.name.clone(), info.to_string())));
    for (name, label) in choices {
        if ui.radio(devices.name == name, label).clicked() {
            asked.device = Some(name);
            ui.close();
        }
    }
}

fn views_ui(app: &App, ui: &mut Ui, asked: &mut Asked) {
    if app.session.document.is_none() {
        return;
    }
    let current = app.settings.view;
    for tab in &TABS {
        let Some(view) = app.view_of(tab) else { continue };
        let shown = tab.views.contains(&current);
        let label = ui.selectable_label(shown, tab.name);
        let shortcut = view.command().keys(ui.ctx());
        let keys = shortcut.map(|keys| format!(" ({keys})")).unwrap_or_default();
        let help = format!("{}{keys}", view.command().help());
        if label.on_hover_text(help).clicked() {
            asked.view = Some(view);
        }
    }
}
