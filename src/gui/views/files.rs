//! What an export would write, before it is written.

use std::sync::Arc;

use eframe::egui::{
    self, CentralPanel, Frame, Margin, Panel, RichText, Role, ScrollArea, TextStyle, Ui, WidgetInfo,
};

use crate::gui::app::{App, Asked};
use crate::gui::session::Analysis;
use crate::gui::theme::Theme;
use crate::gui::views::table::shortened;
use crate::gui::widgets::{caption, heading};
use crate::plan::{Contents, Placed, PlannedFile};
use crate::units::{bytes, count, shape};

/// Width of a character of the names of files, at most on average.
const CHARACTER: f32 = 7.2;

/// What is looked at.
#[derive(Debug, Default)]
pub struct FilesView {
    file: Option<String>,
}

/// Draws it: files on the left, what is in the chosen one on the right.
pub fn files_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    let Some(analysis) = app.session.analysis().cloned() else { return };
    if !analysis.plan.quantizes() {
        let takes_recipe =
            app.session.document.as_ref().is_some_and(|(_, document)| document.takes_recipe);
        let text = match takes_recipe {
            true => {
                "Choose a format in the recipe: this shows the files that an export would write."
            }
            false => "This is quantized already: there is nothing to export.",
        };
        ui.centered_and_justified(|ui| ui.label(text));
        return;
    }
    if app.session.planning.is_previewing() {
        ui.centered_and_justified(|ui| ui.spinner());
        return;
    }
    let preview = Arc::clone(&app.session.planning.preview);
    let configs = preview.config_files.iter().map(|(name, _)| *name);
    let names: Vec<&str> =
        configs.chain(analysis.plan.files.iter().map(|file| file.name.as_str())).collect();
    let view = &mut app.views.files;
    let chosen = view.file.take().filter(|file| names.contains(&file.as_str()));
    let chosen = chosen.unwrap_or_else(|| names.first().copied().unwrap_or_default().to_owned());
    let edge = Frame::NONE.inner_margin(Margin { right: 10, ..Margin::ZERO });
    let list = Panel::left("files").frame(edge).default_size(260.0);
    list.show(ui, |ui| {
        heading(ui, &count(names.len() as u64, "file"));
        ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            for (name, text) in &preview.config_files {
                let size = text.len() as u64;
                file_ui(ui, name, size, &chosen, &mut view.file);
            }
            for file in &analysis.plan.files {
                file_ui(ui, &file.name, file.bytes, &chosen, &mut view.file);
            }
        });
    });
    view.file.get_or_insert_with(|| chosen.clone());
    let shown = CentralPanel::default()
        .frame(Frame::NONE.inner_margin(Margin { left: 12, ..Margin::ZERO }));
    shown.show(ui, |ui| {
        if let Some((name, text)) = preview.config_files.iter().find(|(name, _)| *name == chosen) {
            config_ui(ui, name, text, asked);
        } else if let Some(file) = analysis.plan.files.iter().find(|file| file.name == chosen) {
            tensors_ui(ui, &analysis, file);
        }
    });
}

fn file_ui(ui: &mut Ui, name: &str, size: u64, chosen: &str, next: &mut Option<String>) {
    ui.horizontal(|ui| {
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.weak(bytes(size)).on_hover_text(format!("{size} bytes"));
            ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| {
                // Names of an export have the same beginning: the end tells them apart.
                let most = (ui.available_width() - 2.0 * ui.spacing().button_padding.x) / CHARACTER;
                let shown = shortened(name, most as usize);
                let button = ui.add(egui::Button::selectable(name == chosen, shown).truncate());
                button
                    .widget_info(|| WidgetInfo::selected(Role::Button, true, name == chosen, name));
                if button.on_hover_text(name).clicked() {
                    *next = Some(name.to_owned());
                }
            });
        });
    });
}

fn config_ui(ui: &mut Ui, name: &str, text: &str, asked: &mut Asked) {
    ui.horizontal(|ui| {
        heading(ui, name);
        if ui.button("Copy").clicked() {
            asked.copy = Some((text.to_owned(), format!("copied {name}")));
        }
    });
    // Line by line: an index of a large model has a hundred thousand.
    let lines: Vec<&str> = text.lines().collect();
    let height = ui.text_style_height(&TextStyle::Monospace);
    ui.spacing_mut().item_spacing.y = 0.0;
    ScrollArea::both().auto_shrink(false).show_rows(ui, height, lines.len(), |ui, shown| {
        for line in &lines[shown] {
            let text = RichText::new(*line).monospace();
            ui.add(egui::Label::new(text).wrap_mode(egui::TextWrapMode::Extend));
        }
    });
}

fn tensors_ui(ui: &mut Ui, analysis: &Analysis, file: &PlannedFile) {
    heading(ui, &file.name);
    let tensors = count(file.tensors.len() as u64, "tensor");
    let rest = match file.contents {
        Contents::Safetensors(_) => "are header",
        Contents::Onnx(_) => "are graph",
        Contents::Data => "lie between tensors",
    };
    let text = format!("{tensors}, {} bytes, of which {} {rest}", file.bytes, file.header_bytes());
    caption(ui, &text);
    let muted = Theme::of(ui).muted;
    let height = ui.text_style_height(&TextStyle::Monospace);
    ui.spacing_mut().item_spacing.y = 4.0;
    ScrollArea::both().auto_shrink(false).show_rows(ui, height, file.tensors.len(), |ui, shown| {
        for i in shown {
            let tensor = file.tensors[i];
            let output = tensor.of(&analysis.plan.entries);
            ui.horizontal(|ui| {
                let name = RichText::new(&output.name).monospace();
                ui.add(egui::Label::new(name).wrap_mode(egui::TextWrapMode::Extend))
                    .on_hover_text(origin(analysis, tensor));
                let size = bytes(tensor.bytes());
                let what = format!("{} {}  {size}", output.dtype, shape(&output.shape));
                let what = RichText::new(what).monospace().color(muted);
                ui.add(egui::Label::new(what).wrap_mode(egui::TextWrapMode::Extend));
            });
        }
    });
}

/// Which tensor of the source an output comes from.
fn origin(analysis: &Analysis, tensor: Placed) -> String {
    format!("from {}", analysis.plan.entries[tensor.entry].member.tensor.name)
}
