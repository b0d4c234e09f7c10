//! Errors of blocks against how small they are.

mod picture;
mod zones;

use eframe::egui::{Color32, RichText, Sense, Shape, Stroke, Ui, pos2, vec2};

use super::axes::{grouped, percent};
use super::pane::At;
use crate::gui::session::BlockPlace;
use crate::gui::theme::{self, Theme};
use crate::gui::widgets::{caption, segments};
use crate::inspect::{Point, Regimes};
use crate::units::significant;

/// How it is seen.
#[derive(Debug, Clone, Default)]
pub struct RegimesView {
    /// Whether only as much is shown as there are blocks.
    is_close: bool,
    /// The part of the axis that is shown, in powers of two.
    window: Option<(f64, f64)>,
}

/// Draws it.
pub fn regimes_ui(ui: &mut Ui, at: &mut At<'_>) {
    super::walk_by_keys(ui, at);
    let shown = at.load(|inspection| &mut inspection.regimes, "regimes", Regimes::of);
    let Some(regimes) = at.shown(ui, &shown) else { return };
    let (row, column) = (at.inspection.focus.row, at.inspection.focus.column);
    let sheet = at.inspection.sheet(at.notify, &at.lens, &at.facts);
    let focused = sheet.any().and_then(|sheet| regimes.point_of(sheet, row, column));
    let is_block = at.facts.tile.is_block;
    facts_ui(ui, &regimes, is_block);
    let view = &mut at.pane.regimes;
    legend_ui(ui, view, &regimes, is_block);
    let stamp = at.stamp();
    let height = ui.available_height() - 24.0;
    let picture = picture::Picture {
        regimes: &regimes,
        focused,
        is_block,
        is_close: at.pane.regimes.is_close || regimes.boundaries.is_empty(),
    };
    if let Some(point) = picture::picture_ui(ui, &picture, &mut at.pane.regimes.window, height) {
        let tile = at.facts.tile;
        let focus = &mut at.inspection.focus;
        match is_block {
            true => {
                let (row, column) = (point.at.0, point.at.1 as usize);
                focus.go_to(tile, BlockPlace { row, column, element: None });
            }
            false => (focus.row, focus.column) = (point.at.0, 0),
        }
    }
    caption(ui, &stamp);
}

/// What a block is called.
fn name(point: &Point, is_block: bool) -> String {
    match is_block {
        true => format!("block {},{}", point.at.0, point.at.1),
        false => format!("row {}", point.at.0),
    }
}

/// How many blocks there are, and those that are not in the picture.
fn facts_ui(ui: &mut Ui, regimes: &Regimes, is_block: bool) {
    let theme = Theme::of(ui);
    let what = if is_block { "blocks" } else { "rows" };
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 5.0;
        let fact = |ui: &mut Ui, name: &str, value: String| {
            ui.label(RichText::new(name).font(theme::small()).color(theme.muted));
            ui.label(RichText::new(value).font(theme::strong()));
            ui.add_space(10.0);
        };
        let of = |count: u64| format!("{} ({})", grouped(count), percent(count, regimes.blocks));
        fact(ui, what, grouped(regimes.blocks));
        fact(ui, "of zeros alone, not shown", of(regimes.zeros));
        fact(ui, "without any error, not shown", of(regimes.exact));
        fact(ui, "global amax", significant(regimes.amax.into()));
    });
}

/// What marks and lines are, and how much is shown.
fn legend_ui(ui: &mut Ui, view: &mut RegimesView, regimes: &Regimes, is_block: bool) {
    let theme = Theme::of(ui);
    let what = if is_block { "block" } else { "row" };
    ui.horizontal_wrapped(|ui| {
        if !regimes.boundaries.is_empty() {
            let parts = [
                (false, "all regimes", "As far as scales can go"),
                (true, "only where blocks are", "As small as blocks of this tensor get"),
            ];
            if let Some(is_close) = segments(ui, "Show", &parts, view.is_close) {
                view.is_close = is_close;
                view.window = None;
            }
            ui.add_space(8.0);
        }
        ui.spacing_mut().item_spacing.x = 5.0;
        let name = |ui: &mut Ui, text: String| {
            ui.label(RichText::new(text).font(theme::small()).color(theme.muted));
            ui.add_space(8.0);
        };
        dot_ui(ui, theme.text);
        name(
            ui,
            match regimes.every {
                1 => format!("a {what}"),
                every => format!("a {what}, one of {every}"),
            },
        );
        shades_ui(ui);
        let most = regimes.density.iter().copied().max().unwrap_or(0);
        name(ui, format!("1 to {} {what}s at a place", grouped(most)));
        line_ui(ui, theme.series[1], false);
        name(ui, "median".to_owned());
        line_ui(ui, theme.series[2], true);
        name(ui, format!("one fixed {what}, scaled down"));
        ring_ui(ui, theme.accent);
        name(ui, "looked at".to_owned());
    });
}

fn dot_ui(ui: &mut Ui, colour: Color32) {
    let (rect, _) = ui.allocate_exact_size(vec2(8.0, 12.0), Sense::hover());
    ui.painter().circle_filled(rect.center(), 2.0, colour);
}

fn ring_ui(ui: &mut Ui, colour: Color32) {
    let (rect, _) = ui.allocate_exact_size(vec2(14.0, 14.0), Sense::hover());
    ui.painter().circle_stroke(rect.center(), 5.0, Stroke::new(2.0, colour));
}

fn line_ui(ui: &mut Ui, colour: Color32, is_dashed: bool) {
    let (rect, _) = ui.allocate_exact_size(vec2(22.0, 12.0), Sense::hover());
    let ends = [rect.left_center(), rect.right_center()];
    let stroke = Stroke::new(2.5, colour);
    match is_dashed {
        true => ui.painter().extend(Shape::dashed_line(&ends, stroke, 5.0, 3.0)),
        false => {
            ui.painter().line_segment(ends, stroke);
        }
    }
}

fn shades_ui(ui: &mut Ui) {
    let (rect, _) = ui.allocate_exact_size(vec2(40.0, 12.0), Sense::hover());
    let shade = |i: u8| {
        let from = pos2(rect.left() + 5.0 * f32::from(i), rect.top());
        let part = eframe::egui::Rect::from_min_size(from, vec2(5.0, rect.height()));
        (part, picture::shade(f64::from(i) / 7.0))
    };
    super::axes::rects(ui.painter(), (0..8).map(shade));
}
