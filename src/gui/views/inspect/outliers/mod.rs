//! The largest weights, and the rows and columns that they are in.

mod lengths;
mod strip;
mod table;

use eframe::egui::{CentralPanel, Frame, Margin, Panel, RichText, Ui};

use super::axes::grouped;
use super::pane::At;
use crate::format::Scope;
use crate::gui::session::Focus;
use crate::gui::theme::{self, Theme};
use crate::gui::views::View;
use crate::gui::widgets::caption;
use crate::inspect::{BlockLength, Numbers, Outliers};
use crate::units::significant;

/// Weights that are told one by one.
const MOST: usize = 200;

/// How it is seen.
#[derive(Debug, Clone, Default)]
pub struct OutliersView {
    rows: strip::Zoom,
    columns: strip::Zoom,
}

/// Draws it.
pub fn outliers_ui(ui: &mut Ui, at: &mut At<'_>) {
    super::walk_by_keys(ui, at);
    let shown = at.load(
        |inspection| &mut inspection.outliers,
        "outliers",
        |reader, cancel| Outliers::of(reader, cancel, MOST),
    );
    let Some(outliers) = at.shown(ui, &shown) else { return };
    facts_ui(ui, at, &outliers);
    let ground = Frame::NONE.fill(Theme::of(ui).ground);
    let id = ui.scope_id();
    let width = (ui.available_width() * 0.4).clamp(330.0, 480.0);
    let panel = Panel::left(id.with("largest")).default_size(width).size_range(300.0..=640.0);
    let inner = ground.inner_margin(Margin { right: 10, ..Margin::ZERO });
    let focus = &mut at.inspection.focus;
    let clicked =
        panel.frame(inner).show(ui, |ui| table::table_ui(ui, &outliers, (focus.row, focus.column)));
    if let Some(place) = clicked.inner {
        (focus.row, focus.column) = place;
    }
    let own = own_length(at);
    let stamp = at.stamp();
    let inner = ground.inner_margin(Margin { left: 10, ..Margin::ZERO });
    CentralPanel::default().frame(inner).show(ui, |ui| {
        let At { inspection, pane, .. } = at;
        lines_ui(ui, &outliers, &mut inspection.focus, &mut pane.outliers);
        lengths::lengths_ui(ui, &outliers, own);
        caption(ui, &stamp);
    });
}

/// The two strips, as high as there is room for.
fn lines_ui(ui: &mut Ui, outliers: &Outliers, focus: &mut Focus, view: &mut OutliersView) {
    let left = ui.available_height() - lengths::height(outliers) - 30.0;
    let height = (left / 2.0).max(120.0);
    let rows = strip::Strip {
        what: "row",
        amax: &outliers.row_amax,
        largest: &outliers.rows,
        focus: focus.row,
    };
    if let Some(row) = strip::strip_ui(ui, &rows, height, &mut view.rows) {
        focus.row = row;
    }
    let columns = strip::Strip {
        what: "column",
        amax: &outliers.column_amax,
        largest: &outliers.columns,
        focus: focus.column as u64,
    };
    if let Some(column) = strip::strip_ui(ui, &columns, height, &mut view.columns) {
        focus.column = column as usize;
    }
}

/// How many weights share a scale as it is, where that is one of the lengths that are compared.
fn own_length(at: &mut At<'_>) -> Option<BlockLength> {
    let sheet = at.inspection.sheet(at.notify, &at.lens, &at.facts);
    Some(match sheet.any()?.scope()? {
        Scope::Group(length) => BlockLength::Weights(length as u32),
        Scope::Row => BlockLength::Row,
        Scope::Tensor => BlockLength::Tensor,
        Scope::Tile(_) => return None,
    })
}

/// Euler's constant.
const EULER: f64 = 0.577_215_664_901_532_9;

/// The largest magnitude that as many numbers of a normal distribution are expected to have, in standard
/// deviations: what they have to be measured by to be outliers.
fn expected(count: u64) -> f64 {
    let twice = (2.0 * count.max(2) as f64).ln();
    let x = (2.0 * twice).sqrt();
    // The mean of the limiting distribution, after Gumbel.
    x - ((4.0 * std::f64::consts::PI).ln() + twice.ln()) / (2.0 * x) + EULER / x
}

/// What the numbers are as a whole.
fn facts_ui(ui: &mut Ui, at: &mut At<'_>, outliers: &Outliers) {
    let theme = Theme::of(ui);
    let fact = |ui: &mut Ui, name: &str, value: String| {
        ui.spacing_mut().item_spacing.x = 5.0;
        ui.label(RichText::new(name).font(theme::small()).color(theme.muted));
        ui.label(RichText::new(value).font(theme::strong()));
        ui.add_space(10.0);
    };
    ui.horizontal_wrapped(|ui| {
        let help = "Shows the block of the weight that is chosen, bit by bit";
        if ui.button("In the microscope").on_hover_text(help).clicked() {
            at.asked.view = Some(View::Microscope);
        }
        ui.add_space(6.0);
        let what = match outliers.numbers {
            Numbers::Weights => "weights",
            Numbers::Values => "values that codes stand for",
        };
        fact(ui, what, grouped(outliers.sums.count));
        fact(ui, "spread σ", significant(outliers.sigma));
        let largest = outliers.largest.first();
        if let Some(largest) = largest.filter(|largest| largest.sigmas.is_finite()) {
            let sigmas = format!("{} = {:.1} σ", significant(outliers.amax.into()), largest.sigmas);
            fact(ui, "the largest is", sigmas);
            let normal = format!("{:.1} σ", expected(outliers.sums.count));
            fact(ui, "of a normal distribution it would be about", normal);
        }
        if outliers.not_finite > 0 {
            let text = format!("{} NaN or infinite", grouped(outliers.not_finite));
            ui.label(RichText::new(text).color(theme.bad));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_numbers_reach_further() {
        let found = [100, 10_000, 1_000_000].map(expected);
        // From tables of the largest of so many: 2.8, 4.0, 5.0.
        for (found, known) in found.iter().zip([2.8, 4.0, 5.0]) {
            assert!((found - known).abs() < 0.15, "{found} {known}");
        }
    }
}
