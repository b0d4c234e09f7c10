//! One matrix on both sides: how many weights differ, where, and the first of them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use eframe::egui::{
    Color32, ColorImage, DragValue, Grid, Rect, RichText, Role, ScrollArea, Sense, Stroke,
    TextureHandle, TextureOptions, Ui, Vec2, WidgetInfo, pos2, vec2,
};

use super::super::colours;
use crate::gui::app::{App, Asked};
use crate::gui::session::{Loaded, Pair, Shown};
use crate::gui::theme::{self, Theme};
use crate::gui::views::View;
use crate::gui::widgets::{caption, heading, swatch};
use crate::inspect::{
    ClassMap, Codec, Comparison, Difference, DifferenceClass, OverviewRow, SideCell,
};
use crate::units::significant;

/// What it remembers.
#[derive(Default)]
pub struct DetailView {
    made: Loaded<(Comparison, ColorImage)>,
    expert: u64,
    texture: Option<(u64, TextureHandle)>,
}

impl DetailView {
    /// Whether a matrix is being compared.
    pub fn is_busy(&self) -> bool {
        self.made.is_busy()
    }

    /// Draws it.
    pub fn show(
        &mut self,
        app: &mut App,
        ui: &mut Ui,
        asked: &mut Asked,
        (run, pair): (u64, &Arc<Pair>),
        row: &OverviewRow,
    ) {
        let [rows, columns, experts] = row.shape;
        self.expert = self.expert.min(experts.saturating_sub(1));
        ui.horizontal_wrapped(|ui| {
            heading(ui, &row.tensor);
            ui.weak(format!("{rows}×{columns}"));
            if experts > 1 {
                ui.label("expert");
                let drag = DragValue::new(&mut self.expert).range(0..=experts - 1);
                ui.add(drag).on_hover_text(format!("0 to {}", experts - 1));
            }
        });
        let mode = ui.theme();
        let mut hasher = DefaultHasher::new();
        (run, &row.tensor, self.expert, mode).hash(&mut hasher);
        let key = hasher.finish();
        let (own, tensor, expert) = (Arc::clone(pair), row.tensor.clone(), self.expert);
        let shown = self.made.get(&app.session.notify, key, move |cancel| {
            let compared = own.compare(&tensor, expert, cancel);
            let compared = compared.map_err(|error| error.to_string())?;
            let picture = picture(Theme::in_mode(mode), &compared.map);
            Ok((compared, picture))
        });
        let made = match shown {
            Shown::Ready(made) => made,
            Shown::Working(_) => {
                ui.spinner();
                return;
            }
            Shown::Failed(why) => {
                ui.label(why);
                return;
            }
        };
        let (compared, picture) = made.as_ref();
        counts_ui(ui, compared);
        for note in &compared.notes {
            caption(ui, &format!("Note: {note}."));
        }
        if compared.counts.differing() == 0 {
            ui.add_space(6.0);
            ui.label("Every weight has the same code under the same scale, or the same bits, on both sides.");
            return;
        }
        if self.texture.as_ref().is_none_or(|(known, _)| *known != key) {
            let texture =
                ui.ctx().load_texture("classes", picture.clone(), TextureOptions::NEAREST);
            self.texture = Some((key, texture));
        }
        let texture = self.texture.as_ref().map(|(_, texture)| texture);
        let mut gone_to = texture.and_then(|texture| map_ui(ui, compared, texture));
        ui.add_space(4.0);
        ui.horizontal(|ui| {
            let shown = compared.examples.len();
            let differing = compared.counts.differing();
            heading(
                ui,
                &match differing {
                    1 => "The difference".to_owned(),
                    n if n as usize <= shown => format!("All {n} differences"),
                    n => format!("The first {shown} of {n} differences"),
                },
            );
            let help = "Looks at the weight that was clicked, bit by bit";
            if ui.button("In the microscope").on_hover_text(help).clicked() {
                asked.view = Some(View::Microscope);
            }
        });
        if let Some(largest) = &compared.largest {
            ui.horizontal(|ui| {
                let apart = significant(largest.distance());
                ui.label(format!("The largest: {apart} apart, in"));
                let text = format!("row {}, column {}", largest.row, largest.column);
                if ui.link(text).on_hover_text("Looks at it").clicked() {
                    gone_to = Some((largest.row, largest.column));
                }
            });
        }
        let focus = &app.session.inspection.focus;
        let is_here = focus.tensor.as_ref() == Some(&row.tensor) && focus.expert == self.expert;
        let at = is_here.then_some((focus.row, focus.column));
        gone_to = table_ui(ui, compared, at).or(gone_to);
        if let Some((at_row, column)) = gone_to {
            let focus = &mut app.session.inspection.focus;
            focus.turn_to(&row.tensor);
            (focus.expert, focus.row, focus.column) = (self.expert, at_row, column);
            app.session.selection = [row.tensor.clone()].into();
        }
    }
}

/// How many weights are of each class.
fn counts_ui(ui: &mut Ui, compared: &Comparison) {
    let theme = Theme::of(ui);
    ui.horizontal_wrapped(|ui| {
        for class in DifferenceClass::ALL {
            let n = compared.counts.of(class);
            swatch(ui, colours::difference(theme, class));
            let colour = if n > 0 { theme.text } else { theme.muted };
            let text = RichText::new(format!("{n} {}", class.name())).color(colour);
            ui.label(text).on_hover_text(help(class));
            ui.add_space(6.0);
        }
    });
}

const fn help(class: DifferenceClass) -> &'static str {
    match class {
        DifferenceClass::Equal => "The same code under the same scale, or the same bits",
        DifferenceClass::LegalTie => {
            "The weight is exactly halfway between the two: either rounding is right"
        }
        DifferenceClass::OneStep => "The same scale, and codes that follow one another",
        DifferenceClass::ScaleDiffers => {
            "The scale of the block, the global scale or the zero point is another"
        }
        DifferenceClass::Other => "Codes further apart, codes that are no number, or other values",
    }
}

/// The map as a picture.
fn picture(theme: &Theme, map: &ClassMap) -> ColorImage {
    let colours = DifferenceClass::ALL.map(|class| colours::difference(theme, class));
    let pixels: Vec<Color32> =
        map.cells.iter().map(|(class, _)| colours[*class as usize]).collect();
    ColorImage::new([map.size[1], map.size[0]], pixels)
}

/// Draws the map with a ring around each difference that is listed; the place that was clicked.
fn map_ui(ui: &mut Ui, compared: &Comparison, texture: &TextureHandle) -> Option<(u64, usize)> {
    let map = &compared.map;
    let [down, across] = map.size.map(|n| n.max(1) as f32);
    let room = vec2(ui.available_width(), (ui.available_height() * 0.36).clamp(80.0, 300.0));
    // Square cells where they fit; a long matrix is stretched rather than made a thread.
    let side = (room.x / across).min(room.y / down);
    let size = vec2((across * side).max(room.x.min(160.0)), (down * side).max(room.y.min(60.0)));
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
    let (theme, painter) = (Theme::of(ui), ui.painter());
    painter.image(texture.id(), rect, whole, Color32::WHITE);
    painter.rect_stroke(rect, 0.0, Stroke::new(1.0, theme.line), eframe::egui::StrokeKind::Outside);
    let cell = vec2(size.x / across, size.y / down);
    for example in &compared.examples {
        if cell.min_elem() > 10.0 {
            break;
        }
        let at = vec2(
            (example.column as u64 / map.step[1].max(1)) as f32 + 0.5,
            (example.row / map.step[0].max(1)) as f32 + 0.5,
        );
        let colour = colours::difference(theme, example.class);
        painter.circle_stroke(rect.min + at * cell, 5.0, Stroke::new(1.5, colour));
    }
    let said = "Where weights differ: each point is the worst of its weights";
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, said));
    let pointer = response.hover_pos()?;
    let from: Vec2 = (pointer - rect.min) / cell;
    let (row, column) = (from.y.max(0.0) as u64, from.x.max(0.0) as u64);
    let known = map.cells.get(row as usize * map.size[1] + column as usize);
    let (row, column) = (row * map.step[0], column * map.step[1]);
    let clicked = response.clicked();
    if let Some((class, differing)) = known {
        let text = match differing {
            0 => format!("row {row}, column {column}: equal"),
            n => format!("row {row}, column {column}: {n} not equal, the worst {}", class.name()),
        };
        response.on_hover_ui_at_pointer(|ui| {
            ui.label(text);
        });
    }
    clicked.then_some((row, column as usize))
}

/// The differences that are listed; the place of the one that was clicked.
fn table_ui(
    ui: &mut Ui,
    compared: &Comparison,
    chosen: Option<(u64, usize)>,
) -> Option<(u64, usize)> {
    let (theme, mut clicked) = (Theme::of(ui), None);
    let of = |codec: Option<Codec>, side: &SideCell| -> [String; 3] {
        let code = side.code.map_or_else(|| "–".to_owned(), |code| code_text(codec, code));
        let scale =
            side.scale.map_or_else(|| "–".to_owned(), |scale| significant(scale.value.into()));
        [code, scale, side.value.to_string()]
    };
    ScrollArea::both().id_salt("differences").auto_shrink(false).show(ui, |ui| {
        Grid::new("differences").num_columns(9).striped(true).spacing(vec2(16.0, 2.0)).show(
            ui,
            |ui| {
                for title in [
                    "weight at",
                    "class",
                    "was",
                    "code A",
                    "code B",
                    "scale A",
                    "scale B",
                    "value A",
                    "value B",
                ] {
                    ui.label(RichText::new(title).font(theme::small()).color(theme.muted));
                }
                ui.end_row();
                for difference in &compared.examples {
                    let Difference { row, column, class, weight, sides } = difference;
                    let is_chosen = chosen == Some((*row, *column));
                    let response =
                        ui.selectable_label(is_chosen, format!("row {row}, column {column}"));
                    let said = format!("Difference: row {row}, column {column}");
                    response
                        .widget_info(|| WidgetInfo::selected(Role::Button, true, is_chosen, &said));
                    if response.clicked() {
                        clicked = Some((*row, *column));
                    }
                    ui.horizontal(|ui| {
                        swatch(ui, colours::difference(theme, *class));
                        ui.label(class.name()).on_hover_text(help(*class));
                    });
                    ui.label(weight.map_or_else(|| "–".to_owned(), |weight| weight.to_string()));
                    let [a, b] = [0, 1].map(|i| of(compared.codecs[i], &sides[i]));
                    for (left, right) in a.iter().zip(&b) {
                        // What is not the same is what to look at.
                        let colour = if left == right { theme.muted } else { theme.text };
                        ui.label(RichText::new(left).monospace().color(colour));
                        ui.label(RichText::new(right).monospace().color(colour));
                    }
                    ui.end_row();
                }
            },
        );
    });
    clicked
}

/// A code in hexadecimal and, where it is short, bit by bit.
fn code_text(codec: Option<Codec>, code: u32) -> String {
    match codec.map(Codec::bits).map(usize::from) {
        Some(bits) if bits <= 8 => {
            let code = code & ((1 << bits) - 1);
            format!("{code:#0width$x} {code:0bits$b}", width = 2 + bits.div_ceil(4))
        }
        _ => format!("{code:#x}"),
    }
}
