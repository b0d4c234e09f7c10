//! How weights are spread, and which codes they land on.

mod bars;
mod codes;
mod picture;

use eframe::egui::{Checkbox, RichText, Ui};

use super::axes::{grouped, percent};
use super::pane::At;
use crate::gui::theme::{self, Theme};
use crate::gui::widgets::{caption, segments};
use crate::inspect::{Axis, Histogram, Numbers, Region};
use crate::units::significant;

/// What is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Matrix,
    Row,
    Block,
}

/// How it is seen.
#[derive(Debug, Clone, Default)]
pub struct HistogramView {
    part: Part,
    is_log: bool,
    counts_are_log: bool,
    /// The part of the axis that is shown, as [`bars::Places`] has it.
    window: Option<(f64, f64)>,
}

/// Draws it.
pub fn histogram_ui(ui: &mut Ui, at: &mut At<'_>) {
    let is_block = at.facts.tile.is_block;
    let view = &mut at.pane.histogram;
    if view.part == Part::Block && !is_block {
        view.part = Part::Row;
    }
    controls_ui(ui, view, is_block);
    if view.part != Part::Matrix {
        super::walk_by_keys(ui, at);
    }
    let view = &at.pane.histogram;
    let focus = &at.inspection.focus;
    let region = match view.part {
        Part::Matrix => Region::Matrix,
        Part::Row => Region::Row(focus.row),
        Part::Block => {
            let block = focus.block(at.facts.tile);
            Region::Tile(block.row, block.column as u64)
        }
    };
    let axis = if view.is_log { Axis::Log } else { Axis::Linear };
    let key = ("histogram", region, axis);
    let shown = at.load(
        |inspection| &mut inspection.histogram,
        key,
        move |reader, cancel| Histogram::of(reader, cancel, region, axis),
    );
    let Some(histogram) = at.shown(ui, &shown) else { return };
    facts_ui(ui, &histogram);
    let stamp = at.stamp();
    let left = ui.available_height() - 30.0;
    let view = &mut at.pane.histogram;
    let has_codes = histogram.codes.iter().any(|count| *count > 0);
    let height = if has_codes { left * 0.56 } else { left };
    let hint = match is_block {
        true => {
            "Each block has a scale of its own: count the block to see what its codes stand for"
        }
        false => "Where rows have a scale each, count the row to see what its codes stand for",
    };
    let how = picture::How { counts_are_log: view.counts_are_log, hint };
    picture::picture_ui(ui, &histogram, how, &mut view.window, height);
    if has_codes {
        let left = ui.available_height() - 24.0;
        codes::codes_ui(ui, &histogram, view.counts_are_log, left);
    }
    caption(ui, &stamp);
}

/// What is counted, and how axes are.
fn controls_ui(ui: &mut Ui, view: &mut HistogramView, is_block: bool) {
    ui.horizontal_wrapped(|ui| {
        ui.label("Count");
        let parts = [
            (Part::Matrix, "all weights", "Every weight of the tensor"),
            (Part::Row, "the row", "The row that is looked at. Arrow keys go on to others"),
            (Part::Block, "the block", "Weights that share a scale. Page Down goes on to the next"),
        ];
        let parts = if is_block { &parts[..] } else { &parts[..2] };
        if let Some(part) = segments(ui, "Count", parts, view.part) {
            view.part = part;
            view.window = None;
        }
        ui.add_space(8.0);
        ui.label("Axis");
        let axes = [
            (false, "linear", "Equal distances are equal differences"),
            (true, "logarithmic", "Equal distances are equal ratios, on either side of zero"),
        ];
        if let Some(is_log) = segments(ui, "Axis", &axes, view.is_log) {
            view.is_log = is_log;
            view.window = None;
        }
        ui.add_space(8.0);
        let counts = Checkbox::new(&mut view.counts_are_log, "Counts by powers of ten");
        ui.add(counts).on_hover_text("Shows few weights beside many: the tails");
        if view.window.is_some() && ui.button("Show all").clicked() {
            view.window = None;
        }
    });
}

/// How many numbers there are, how large they are, and what is in no bar.
fn facts_ui(ui: &mut Ui, histogram: &Histogram) {
    let theme = Theme::of(ui);
    let fact = |ui: &mut Ui, name: &str, value: String, is_bad: bool| {
        let colour = if is_bad { theme.bad } else { theme.text };
        ui.spacing_mut().item_spacing.x = 5.0;
        ui.label(RichText::new(name).font(theme::small()).color(theme.muted));
        ui.label(RichText::new(value).font(theme::strong()).color(colour));
        ui.add_space(10.0);
    };
    ui.horizontal_wrapped(|ui| {
        let what = match histogram.numbers {
            Numbers::Weights => "weights",
            Numbers::Values => "values that codes stand for",
        };
        fact(ui, what, grouped(histogram.count), false);
        fact(ui, "largest magnitude (amax)", significant(histogram.amax.into()), false);
        if let Some(sigma) = bars::sigma(histogram).filter(|sigma| *sigma > 0.0) {
            fact(ui, "spread σ ≈", significant(sigma), false);
            let ratio = f64::from(histogram.amax) / sigma;
            fact(ui, "amax is", format!("{ratio:.1} σ"), false);
        }
        let zeros = percent(histogram.zeros, histogram.count);
        let zeros = format!("{} ({zeros})", grouped(histogram.zeros));
        fact(ui, "exactly zero", zeros, false);
        if histogram.under > 0 {
            fact(ui, "too small for the axis", grouped(histogram.under), false);
        }
        let broken = histogram.nan + histogram.infinite;
        fact(ui, "NaN or infinite", grouped(broken), broken > 0);
    });
}
