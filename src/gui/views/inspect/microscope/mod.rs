//! One block under the microscope: every weight with its code, the scale, and how both came about.

mod cells;
mod details;

use eframe::egui::{CentralPanel, Frame, Margin, Panel, Ui};

pub use details::bits_ui;

use super::pane::At;
use super::ruler::{Line, line_ui};
use crate::gui::theme::Theme;
use crate::gui::widgets::caption;
use crate::inspect::{Block, Ruler};
use crate::units::significant;

/// Draws it.
pub fn microscope_ui(ui: &mut Ui, at: &mut At<'_>) {
    super::walk_by_keys(ui, at);
    let Some((block, index)) = at.block(ui) else { return };
    let ground = Frame::NONE.fill(Theme::of(ui).ground);
    let details = |ui: &mut Ui| details::details_ui(ui, &block, index);
    let id = ui.scope_id();
    if ui.available_width() > 760.0 {
        let panel = Panel::right(id.with("details")).default_size(370.0).size_range(280.0..=560.0);
        panel.frame(ground.inner_margin(Margin { left: 12, ..Margin::ZERO })).show(ui, details);
    } else {
        let height = ui.available_height() * 0.5;
        let panel = Panel::bottom(id.with("details")).default_size(height).resizable(true);
        panel.frame(ground).show(ui, details);
    }
    let stamp = at.stamp();
    CentralPanel::default().frame(ground).show(ui, |ui| {
        caption(ui, &said(&block));
        caption(ui, match block.cells.len() <= 32 {
            true => "In each cell, from above: the weight, its code, what that stands for, and the error, full at one step. ▲ is the largest.",
            false => "Colours: what each code stands for. The outlined weight is the largest.",
        });
        let clicked = cells::cells_ui(ui, &block, index);
        if let Some(cell) = clicked.and_then(|index| block.cells.get(index)) {
            (at.inspection.focus.row, at.inspection.focus.column) = (cell.row, cell.column);
        }
        caption(ui, &stamp);
        let left = ui.available_height();
        if let Some(weights) = block.weights().filter(|_| left > 170.0 && block.cells.len() <= 64) {
            ui.add_space(10.0);
            let ruler = Ruler::new(&block.coder, block.scale, &weights);
            let line = Line { ruler: &ruler, chosen: index, height: left - 16.0 };
            line_ui(ui, &line, &mut None);
        }
    });
}

/// What there is to say of a block as a whole.
fn said(block: &Block) -> String {
    let rows = match block.rows.end - block.rows.start {
        1 => format!("row {}", block.rows.start),
        _ => format!("rows {} to {}", block.rows.start, block.rows.end - 1),
    };
    let columns = format!("columns {} to {}", block.columns.start, block.columns.end - 1);
    let what = if block.tile.is_block { "Block" } else { "Part of a row" };
    let amax = block.amax().map(|amax| format!(" · amax {}", significant(amax.into())));
    let error = block.squares().filter(|(_, weights)| *weights > 0.0).map(|(errors, weights)| {
        format!(" · error {} % of the weights", significant(100.0 * (errors / weights).sqrt()))
    });
    let scale = format!(" · one step is {}", significant(block.scale.step.into()));
    let more = [amax, Some(scale), error].into_iter().flatten().collect::<String>();
    format!("{what}: {rows}, {columns}{more}")
}
