//! What quantizing does to every weight, as a map.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use eframe::egui::{Color32, RichText, Ui};

use super::heat::{Heat, HeatView, Window};
use super::pane::At;
use crate::gui::session::Lens;
use crate::gui::theme::{self, Theme};
use crate::gui::widgets::{caption, segments, swatch};
use crate::inspect::{ErrorMap, ErrorWindow};
use crate::units::significant;

/// Weights that are read one by one for a picture, at most.
const NEAR: u64 = 1 << 20;

/// What is shown of an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Shown {
    /// With its sign.
    #[default]
    Signed,
    /// Its magnitude.
    Absolute,
}

/// In which unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
enum UnitOf {
    /// That of the weights.
    Weight,
    /// Steps of the block.
    #[default]
    Step,
}

/// How it is seen.
#[derive(Default)]
pub struct ErrorsView {
    pub heat: HeatView,
    shown: Shown,
    unit: UnitOf,
    /// Errors one by one, of the part that is in sight.
    near: Arc<Mutex<Option<(u64, ErrorWindow)>>>,
}

impl Clone for ErrorsView {
    /// Seen in the same way, with numbers of its own.
    fn clone(&self) -> Self {
        let (heat, shown, unit) = (self.heat.clone(), self.shown, self.unit);
        Self { heat, shown, unit, near: Arc::default() }
    }
}

/// Draws it.
pub fn errors_ui(ui: &mut Ui, at: &mut At<'_>) {
    super::walk_by_keys(ui, at);
    if let Some(why) = at.facts.refused.clone() {
        ui.label(why);
        return;
    }
    let shown = at.load(
        |inspection| &mut inspection.errors,
        "errors",
        |reader, cancel| ErrorMap::of(reader, cancel, ErrorMap::SIDE),
    );
    let Some(map) = at.shown(ui, &shown) else { return };
    controls_ui(ui, &mut at.pane.errors);
    let view = &at.pane.errors;
    let (shown, unit, near) = (view.shown, view.unit, Arc::clone(&view.near));
    let largest = largest(&map, unit);
    let said = said(&map, shown, unit, largest);
    caption(ui, &said);
    legend_ui(ui, shown, unit, largest);
    let focus = &at.inspection.focus;
    let key = at.lens.key(("errors", shown, unit));
    let heat = Heat {
        rows: at.facts.rows,
        columns: at.facts.weight_columns as u64,
        key,
        chosen: (focus.row, focus.column as u64),
        marked: &[],
        said: &said,
        height: ui.available_height() - 22.0,
    };
    let (lens, kept) = (at.lens.clone(), Arc::clone(&near));
    let paint = move |window: &Window| {
        let near = near_errors(&lens, window);
        let pixels = paint(&map, near.as_ref(), window, (shown, unit, largest));
        let near = near.map(|near| (key, near));
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = near;
        pixels
    };
    let (seen, response) = at.pane.errors.heat.show(ui, at.notify, &heat, paint);
    if let Some((row, column)) = seen.hovered {
        let near = near.lock().unwrap_or_else(PoisonError::into_inner);
        let error = near.as_ref().filter(|(of, _)| *of == key);
        let error = error.and_then(|(_, near)| near.at(row, column as usize));
        let text = match error {
            Some((error, steps)) => format!(
                "row {row}, column {column}: {} ({} steps). Click to look at it everywhere",
                significant(error),
                significant(steps)
            ),
            None => format!("row {row}, column {column}. Scroll to zoom in on single weights"),
        };
        response.on_hover_ui_at_pointer(|ui| {
            ui.label(text);
        });
    }
    if let Some((row, column)) = seen.clicked {
        (at.inspection.focus.row, at.inspection.focus.column) = (row, column as usize);
    }
    caption(ui, &at.stamp());
}

fn controls_ui(ui: &mut Ui, view: &mut ErrorsView) {
    ui.horizontal_wrapped(|ui| {
        let shown = [
            (Shown::Signed, "signed", "Blue: it became smaller. Orange: larger"),
            (Shown::Absolute, "absolute", "How far it moved"),
        ];
        if let Some(shown) = segments(ui, "Errors", &shown, view.shown) {
            view.shown = shown;
        }
        ui.separator();
        let units = [
            (UnitOf::Step, "in steps of the block", "A step is what one unit of a code is worth"),
            (UnitOf::Weight, "in units of the weight", "value − weight"),
        ];
        if let Some(unit) = segments(ui, "Unit", &units, view.unit) {
            view.unit = unit;
        }
    });
}

fn legend_ui(ui: &mut Ui, shown: Shown, unit: UnitOf, largest: f64) {
    let theme = Theme::of(ui);
    let unit = if unit == UnitOf::Step { " steps" } else { "" };
    ui.horizontal(|ui| {
        let small = |text: String| RichText::new(text).font(theme::small()).color(theme.muted);
        let low = if shown == Shown::Signed { -largest } else { 0.0 };
        ui.label(small(format!("{}{unit}", significant(low))));
        ui.spacing_mut().item_spacing.x = 0.0;
        for step in 0..13 {
            let t = step as f32 / 12.0;
            swatch(
                ui,
                match shown {
                    Shown::Signed => Theme::signed(2.0 * t - 1.0),
                    Shown::Absolute => Theme::magnitude(t),
                },
            );
        }
        ui.spacing_mut().item_spacing.x = 8.0;
        ui.label(small(format!("  {}{unit}", significant(largest))));
    });
}

/// The largest error, in a unit.
fn largest(map: &ErrorMap, unit: UnitOf) -> f64 {
    let of = |cell: &crate::inspect::ErrorCell| match unit {
        UnitOf::Weight => cell.max_abs(),
        UnitOf::Step => cell.max_abs_steps(),
    };
    map.cells.iter().map(of).fold(0.0, f64::max)
}

fn said(map: &ErrorMap, shown: Shown, unit: UnitOf, largest: f64) -> String {
    let each = map.cell_rows * map.cell_columns;
    let detail = match each {
        1 => "A point is one weight.".to_owned(),
        _ => format!(
            "A point shows the largest error of {}×{} weights; zoomed in, a point is one weight.",
            map.cell_rows, map.cell_columns
        ),
    };
    let unit = if unit == UnitOf::Step { " steps" } else { "" };
    let clipped = if map.stepless > 0 {
        format!(" {} weights have no step.", map.stepless)
    } else {
        String::new()
    };
    let colours = match shown {
        Shown::Signed => "Orange: the weight grew. Blue: it became smaller.",
        Shown::Absolute => "Bright: far from its weight.",
    };
    format!("Largest error {}{unit}. {colours} {detail}{clipped}", significant(largest))
}

/// Errors one by one, where few enough weights are in sight.
fn near_errors(lens: &Lens, window: &Window) -> Option<ErrorWindow> {
    let rows = window.top as u64..window.bottom as u64;
    let columns = window.left as usize..window.right as usize;
    let weights = (rows.end - rows.start) * columns.len() as u64;
    if weights > NEAR {
        return None;
    }
    let go_on = AtomicBool::new(false);
    lens.read(&go_on, |reader| ErrorWindow::of(reader, &go_on, rows, columns)).ok()
}

/// The colours of a window: of what a texel stands for the largest.
fn paint(
    map: &ErrorMap,
    near: Option<&ErrorWindow>,
    window: &Window,
    (shown, unit, largest): (Shown, UnitOf, f64),
) -> Vec<Color32> {
    let colour = |error: f64| {
        let t = if largest > 0.0 { (error / largest) as f32 } else { 0.0 };
        match shown {
            Shown::Signed => Theme::signed(t),
            Shown::Absolute => Theme::magnitude(t.abs()),
        }
    };
    let in_unit = |(error, steps): (f64, f64)| if unit == UnitOf::Weight { error } else { steps };
    let mut pixels = Vec::with_capacity(window.texels[0] * window.texels[1]);
    for y in 0..window.texels[1] {
        let rows = window.rows_of(y);
        for x in 0..window.texels[0] {
            let columns = window.columns_of(x);
            let mut most = 0f64;
            let mut take = |error: f64| {
                if error.abs() > most.abs() {
                    most = error;
                }
            };
            match near {
                Some(near) => {
                    for row in rows.clone() {
                        for column in columns.clone() {
                            take(near.at(row, column as usize).map_or(0.0, in_unit));
                        }
                    }
                }
                None => {
                    for row in rows.start / map.cell_rows..rows.end.div_ceil(map.cell_rows) {
                        let first = columns.start / map.cell_columns;
                        for column in first..columns.end.div_ceil(map.cell_columns) {
                            let cell = map.cells[(row * map.columns + column) as usize];
                            take(in_unit((cell.largest, cell.largest_steps)));
                        }
                    }
                }
            }
            pixels.push(colour(most));
        }
    }
    pixels
}
