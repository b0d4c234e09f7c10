//! The weights of a block, a cell each: as much of each as there is room for.

use eframe::egui::{
    Align2, CornerRadius, FontId, Painter, Pos2, Rect, Role, Sense, Stroke, StrokeKind, Ui, Vec2,
    WidgetInfo, pos2, vec2,
};

use super::super::colours;
use crate::gui::theme::{self, Theme};
use crate::gui::widgets::keep_arrows;
use crate::inspect::{Block, Cell};
use crate::units::significant;

/// A cell that shows all its numbers.
const FULL: Vec2 = vec2(58.0, 96.0);
/// One that shows its code.
const SMALL: Vec2 = vec2(30.0, 22.0);
const GAP: f32 = 3.0;

/// How cells lie.
struct Layout {
    /// Cells side by side.
    across: usize,
    size: Vec2,
    origin: Pos2,
}

impl Layout {
    fn of(block: &Block, area: Rect) -> Self {
        let columns = block.columns.len().max(1);
        let is_line = block.rows.end - block.rows.start == 1;
        let most = ((area.width() + GAP) / (FULL.x + GAP)).max(1.0) as usize;
        // Lines are cut where a power of two fits, so that places are easy to count.
        let fitting = if most.is_power_of_two() { most } else { most.next_power_of_two() / 2 };
        let across = if is_line { columns.min(fitting.clamp(8, 16)) } else { columns };
        let lines = block.cells.len().div_ceil(across).max(1);
        let room = vec2(area.width() / across as f32, area.height() / lines as f32);
        let size = vec2(room.x.min(96.0), room.y.min(if is_line { 124.0 } else { room.x }));
        let size = if is_line { size.max(vec2(8.0, 14.0)) } else { Vec2::splat(size.min_elem()) };
        Self { across, size, origin: area.left_top() }
    }

    fn rect(&self, index: usize) -> Rect {
        let (line, column) = (index / self.across, index % self.across);
        let corner = self.origin + vec2(column as f32 * self.size.x, line as f32 * self.size.y);
        let gap = if self.size.x > 12.0 { GAP } else { 0.0 };
        Rect::from_min_size(corner, self.size - Vec2::splat(gap))
    }

    fn index(&self, at: Pos2, count: usize) -> Option<usize> {
        let from = (at - self.origin) / self.size;
        let (column, line) = (from.x.floor(), from.y.floor());
        let is_in = column >= 0.0 && line >= 0.0 && column < self.across as f32;
        let index = line.max(0.0) as usize * self.across + column.max(0.0) as usize;
        (is_in && index < count).then_some(index)
    }
}

/// Draws them; the one that was clicked.
pub fn cells_ui(ui: &mut Ui, block: &Block, chosen: usize) -> Option<usize> {
    let area = ui.available_size() - vec2(0.0, 22.0);
    let lines = Layout::of(block, Rect::from_min_size(Pos2::ZERO, area));
    let height = lines.size.y * block.cells.len().div_ceil(lines.across) as f32;
    let (rect, response) =
        ui.allocate_exact_size(vec2(area.x, height.min(area.y.max(60.0))), Sense::click());
    let layout = Layout { origin: rect.left_top(), ..lines };
    let largest = block.cells.iter().map(|cell| cell.value.abs()).fold(0.0, f32::max);
    let painter = ui.painter().with_clip_rect(rect.expand(3.0));
    let theme = Theme::of(ui);
    for (index, cell) in block.cells.iter().enumerate() {
        let is_amax = block.amax_at == Some(index);
        cell_ui(&painter, theme, layout.rect(index), (block, cell), (largest, is_amax));
    }
    if let Some(amax) = block.amax_at.filter(|_| layout.size.x <= 54.0) {
        let stroke = Stroke::new(1.5, theme.warn);
        painter.rect_stroke(layout.rect(amax), 2.0, stroke, StrokeKind::Outside);
    }
    let stroke = Stroke::new(2.5, theme.accent);
    painter.rect_stroke(layout.rect(chosen), 3.0, stroke, StrokeKind::Outside);

    if response.clicked() {
        response.request_focus();
    }
    if response.has_focus() {
        keep_arrows(ui, response.id, true);
    }
    let said = said(block, chosen);
    response.widget_info(|| WidgetInfo {
        current_text_value: Some(said.clone()),
        ..WidgetInfo::labeled(Role::Grid, true, "Weights of the block")
    });
    let hovered = response.hover_pos().and_then(|at| layout.index(at, block.cells.len()));
    let clicked = hovered.filter(|_| response.clicked());
    if let Some(index) = hovered {
        let text = said_of(block, index);
        response.on_hover_ui_at_pointer(|ui| {
            ui.label(text);
        });
    }
    clicked
}

fn cell_ui(
    painter: &Painter,
    theme: &Theme,
    rect: Rect,
    (block, cell): (&Block, &Cell),
    (largest, is_amax): (f32, bool),
) {
    let colour = match cell.value.is_finite() {
        true => colours::value(cell.value, largest),
        false => theme.bad,
    };
    let on = Theme::on(colour);
    let rounding = if rect.width() > 20.0 { 3 } else { 0 };
    painter.rect_filled(rect, CornerRadius::same(rounding), colour);
    let codec = block.coder.codec();
    let digits = usize::from(codec.bits());
    let centre = rect.center();
    let bits = format!("{:0digits$b}", cell.code);
    let hex = format!("{:0width$X}", cell.code, width = digits.div_ceil(4));
    if rect.width() < SMALL.x - 6.0 || rect.height() < SMALL.y - 8.0 {
        return;
    }
    if rect.width() < 52.0 || rect.height() < 84.0 {
        let has_room = rect.height() >= 34.0 && rect.width() >= 52.0;
        let up = if has_room { 8.0 } else { 0.0 };
        let at = centre - vec2(0.0, up);
        let size = if has_room { 14.0 } else { 11.0 };
        painter.text(at, Align2::CENTER_CENTER, hex, FontId::monospace(size), on);
        if has_room {
            let value = number(cell.value.into());
            let at = centre + vec2(0.0, 9.0);
            painter.text(at, Align2::CENTER_CENTER, value, theme::small(), on);
        }
        return;
    }
    let line = |y: f32, text: String, font: FontId| {
        painter.text(pos2(centre.x, rect.top() + y), Align2::CENTER_CENTER, text, font, on);
    };
    let weight = cell.weight.map_or("—".to_owned(), |weight| number(weight.into()));
    line(13.0, weight, theme::small());
    line(34.0, hex, FontId::monospace(18.0));
    line(52.0, bits, FontId::monospace(11.0));
    line(69.0, number(cell.value.into()), theme::strong());
    if let Some(error) = cell.error() {
        // A step to either side is the width of the bar.
        let half = f64::from(block.scale.step.abs()) * 0.5;
        let t = if half > 0.0 { (error / half).clamp(-2.0, 2.0) / 2.0 } else { 0.0 };
        let y = rect.bottom() - 9.0;
        let reach = rect.width() / 2.0 - 8.0;
        let base = Stroke::new(1.0, on.gamma_multiply(0.35));
        painter.line_segment([pos2(centre.x - reach, y), pos2(centre.x + reach, y)], base);
        let end = pos2(centre.x + reach * t as f32, y);
        painter.line_segment([pos2(centre.x, y), end], Stroke::new(4.0, on));
    }
    if is_amax {
        let corner = rect.left_top() + vec2(3.0, 3.0);
        painter.text(corner, Align2::LEFT_TOP, "▲", theme::small(), on);
    }
}

/// Few enough digits for a cell.
fn number(value: f64) -> String {
    let digits = if value.abs() >= 100.0 { 1 } else { 4 };
    let text = format!("{value:.digits$}");
    let is_lost = value != 0.0 && value.abs() < 0.001;
    if is_lost { format!("{value:.2e}") } else { text }
}

/// What a weight of a block is, in a sentence.
pub fn said(block: &Block, index: usize) -> String {
    let Some(cell) = block.cells.get(index) else { return String::new() };
    let weight = cell.weight.map_or(String::new(), |weight| format!("weight {weight}, "));
    let digits = usize::from(block.coder.codec().bits());
    format!(
        "row {}, column {}: {weight}code {:0digits$b}, stands for {}",
        cell.row, cell.column, cell.code, cell.value
    )
}

fn said_of(block: &Block, index: usize) -> String {
    let error = block.cells.get(index).and_then(Cell::error);
    let error = error.map_or(String::new(), |error| format!(", error {}", significant(error)));
    let amax = if block.amax_at == Some(index) { ". It is the largest of the block" } else { "" };
    format!("{}{error}{amax}", said(block, index))
}
