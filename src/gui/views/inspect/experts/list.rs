//! The odd ones, and the numbers of the one that is looked at.

use eframe::egui::{Button, Grid, RichText, ScrollArea, Ui, vec2};

use super::map::{said, z_text};
use super::sheet::{Part, Sheet};
use crate::gui::app::{App, Asked};
use crate::gui::theme::{self, Theme};
use crate::gui::views::View;
use crate::gui::views::cursor::At;
use crate::gui::widgets::{caption, heading};
use crate::inspect::ODD;
use crate::units::significant;

/// Draws them; the one that was clicked.
pub fn list_ui(
    app: &App,
    ui: &mut Ui,
    asked: &mut Asked,
    sheet: &Sheet,
    part: &Part,
    chosen: Option<At>,
) -> Option<At> {
    if let Some(at) = chosen {
        chosen_ui(app, ui, asked, sheet, part, at);
        ui.add_space(10.0);
    }
    heading(ui, &format!("Odd ones by {}", part.grid.statistic.name()));
    let odd = &part.odd;
    if odd.is_empty() {
        let text = "None: every expert is about as the others of its layer. Try another statistic or projection above.";
        ui.weak(text);
        return None;
    }
    caption(ui, "Most odd first. σ: distance from the others of the layer.");
    let mut picked = None;
    let height = ui.spacing().interact_size.y;
    ScrollArea::vertical().auto_shrink([false, false]).show_rows(
        ui,
        height,
        odd.len(),
        |ui, rows| {
            for expert in &odd[rows] {
                let row = part.grid.layers.iter().position(|layer| *layer == expert.layer);
                let Some(at) = row.map(|row| (row, expert.expert)) else { continue };
                let text = format!("layer {}, expert {}", expert.layer, expert.expert);
                let right = format!("{}    {} σ", significant(expert.value), z_text(expert.z));
                let button = Button::selectable(chosen == Some(at), text).right_text(right);
                let response = ui.add_sized(vec2(ui.available_width(), height), button);
                let words = format!("Odd: {}", said(part, at));
                if response.accessible_name(&words).clicked() {
                    picked = Some(at);
                }
            }
        },
    );
    picked
}

/// All numbers of one expert, and how far each is from the others.
fn chosen_ui(app: &App, ui: &mut Ui, asked: &mut Asked, sheet: &Sheet, part: &Part, at: At) {
    let grid = &part.grid;
    let layer = grid.layers.get(at.0).copied().unwrap_or_default();
    heading(ui, &format!("Layer {layer}, expert {}", at.1));
    let theme = Theme::of(ui);
    if let Some(name) = app.session.inspection.focus.tensor.as_ref() {
        ui.label(RichText::new(name).font(theme::small()).color(theme.muted));
    }
    Grid::new("expert").num_columns(3).spacing(vec2(18.0, 3.0)).show(ui, |ui| {
        for other in sheet.parts_of(&grid.projection) {
            let cell = other.grid.cell(at.0, at.1);
            let Some(value) = cell.and_then(|cell| cell.value) else { continue };
            ui.label(RichText::new(other.grid.statistic.name()).color(theme.muted));
            ui.label(significant(value));
            if let Some(z) = cell.and_then(|cell| cell.z) {
                let is_odd = z.abs() >= ODD;
                let colour = if is_odd { theme.bad } else { theme.muted };
                ui.label(RichText::new(format!("{} σ", z_text(z))).color(colour));
            }
            ui.end_row();
        }
    });
    let button =
        ui.button("In the microscope").on_hover_text("Looks at the weights of this expert");
    if button.clicked() {
        asked.view = Some(View::Microscope);
    }
}
