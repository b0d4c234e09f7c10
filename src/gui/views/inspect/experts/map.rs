//! The map: a row a layer, a cell an expert.

use eframe::egui::{
    Align2, Color32, CornerRadius, Rect, Role, ScrollArea, Sense, Stroke, StrokeKind, Ui, Vec2,
    WidgetInfo, pos2, vec2,
};

use super::sheet::Part;
use crate::gui::theme::{self, Theme};
use crate::gui::views::cursor::{At, walk};
use crate::gui::widgets::caption;
use crate::inspect::{ExpertCell, ODD};
use crate::units::significant;

/// The z that has the strongest colour.
const FAR: f64 = 2.0 * ODD;
/// Room for the numbers of layers, and for those of experts.
const NAMES: Vec2 = vec2(52.0, 22.0);

/// What a frame brought.
#[derive(Default)]
pub struct Seen {
    /// The cell that was chosen.
    pub picked: Option<At>,
    /// Where keys are now.
    pub cursor: Option<At>,
    /// The plan's entries that are in sight.
    pub entries: Vec<usize>,
}

fn colour(part: &Part, cell: &ExpertCell, by_z: bool) -> Option<Color32> {
    let value = cell.value.filter(|value| !value.is_nan())?;
    if by_z {
        return cell.z.map(|z| Theme::signed((z / FAR).clamp(-1.0, 1.0) as f32));
    }
    let [low, high] = part.range?;
    let place = if high > low { (value - low) / (high - low) } else { 0.5 };
    Some(Theme::magnitude(place.clamp(0.0, 1.0) as f32))
}

/// Says what the colours are.
pub fn legend_ui(ui: &mut Ui, part: &Part, by_z: bool) {
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        let (low, high) = match (by_z, part.range) {
            (true, _) => (format!("−{FAR} σ or less"), format!("{FAR} σ or more")),
            (false, Some([low, high])) => (significant(low), significant(high)),
            (false, None) => return,
        };
        caption(ui, &low);
        let (rect, response) = ui.allocate_exact_size(vec2(220.0, 14.0), Sense::hover());
        for i in 0..220u16 {
            let t = f32::from(i) / 219.0;
            let colour = if by_z { Theme::signed(2.0 * t - 1.0) } else { Theme::magnitude(t) };
            let left = rect.left() + f32::from(i);
            let strip = Rect::from_min_size(pos2(left, rect.top()), vec2(1.5, rect.height()));
            ui.painter().rect_filled(strip, 0.0, colour);
        }
        let said = format!("colours from {low} to {high}");
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &said));
        caption(ui, &high);
        ui.add_space(10.0);
        let (rect, _) = ui.allocate_exact_size(vec2(20.0, 14.0), Sense::hover());
        odd_outline(ui, rect);
        caption(ui, "odd");
    });
}

fn odd_outline(ui: &Ui, rect: Rect) {
    let theme = Theme::of(ui);
    let (corner, painter) = (CornerRadius::same(2), ui.painter());
    painter.rect_stroke(rect, corner, Stroke::new(2.0, theme.bad), StrokeKind::Inside);
    let inner = Stroke::new(1.0, theme.ground);
    painter.rect_stroke(rect.shrink(2.0), corner, inner, StrokeKind::Inside);
}

/// Draws it.
pub fn map_ui(
    ui: &mut Ui,
    part: &Part,
    by_z: bool,
    chosen: Option<At>,
    cursor: Option<At>,
) -> Seen {
    let grid = &part.grid;
    let (rows, columns) = (grid.layers.len(), grid.experts);
    let space = ui.available_size() - NAMES - Vec2::splat(4.0);
    let cell = vec2(
        (space.x / columns.max(1) as f32).floor().clamp(12.0, 92.0),
        (space.y / rows.max(1) as f32).floor().clamp(12.0, 36.0),
    );
    let mut seen = Seen::default();
    ScrollArea::both().id_salt("experts").auto_shrink(false).show_viewport(ui, |ui, viewport| {
        let size = NAMES + vec2(columns as f32 * cell.x, rows as f32 * cell.y);
        let (whole, response) = ui.allocate_exact_size(size, Sense::click());
        let place = |(r, c): At| {
            let corner = NAMES + vec2(c as f32 * cell.x, r as f32 * cell.y);
            Rect::from_min_size(whole.min + corner, cell - Vec2::splat(1.0))
        };
        let first = |from: f32, names: f32, step: f32| ((from - names) / step).max(0.0) as usize;
        let last = |to: f32, names: f32, step: f32| ((to - names) / step).ceil().max(0.0) as usize;
        let in_rows =
            first(viewport.min.y, NAMES.y, cell.y)..last(viewport.max.y, NAMES.y, cell.y).min(rows);
        let in_columns = first(viewport.min.x, NAMES.x, cell.x)
            ..last(viewport.max.x, NAMES.x, cell.x).min(columns);
        let (theme, painter) = (Theme::of(ui), ui.painter());
        let corner = CornerRadius::same(2);
        for at in in_rows.clone().flat_map(|r| in_columns.clone().map(move |c| (r, c))) {
            let Some(known) = grid.cell(at.0, at.1) else { continue };
            let Some(entry) = known.entry else { continue };
            seen.entries.push(entry);
            let rect = place(at);
            let Some(fill) = colour(part, known, by_z) else {
                painter.rect_filled(rect, corner, theme.panel);
                painter.rect_stroke(rect, corner, Stroke::new(1.0, theme.line), StrokeKind::Inside);
                continue;
            };
            painter.rect_filled(rect, corner, fill);
            if let Some(text) = text_of(known, by_z).filter(|_| cell.x >= 46.0) {
                let (font, on) = (theme::small(), Theme::on(fill));
                painter.text(rect.center(), Align2::CENTER_CENTER, text, font, on);
            }
            if known.z.is_some_and(|z| z.abs() >= ODD) {
                odd_outline(ui, rect);
            }
        }
        names_ui(ui, whole, cell, (in_rows, in_columns), &grid.layers);
        if let Some(at) = chosen {
            let stroke = Stroke::new(2.5, theme.accent);
            painter.rect_stroke(place(at), corner, stroke, StrokeKind::Outside);
        }
        let at = cursor.or(chosen).unwrap_or_default();
        let (moved, taken) = walk(ui, &response, at, (rows, columns));
        seen.cursor = moved;
        let now = moved.unwrap_or(at);
        if response.has_focus() {
            let stroke = Stroke::new(2.0, theme.text);
            painter.rect_stroke(place(now), corner, stroke, StrokeKind::Outside);
            if moved.is_some() {
                ui.scroll_to_rect(place(now), None);
            }
        }
        seen.picked = taken.then_some(now);
        response.widget_info(|| WidgetInfo {
            current_text_value: Some(said(part, now)),
            ..WidgetInfo::labeled(Role::Grid, true, "Map of experts")
        });
        let pointed = response.hover_pos().and_then(|pointer| {
            let from = pointer - whole.min - NAMES;
            let inside = from.x >= 0.0 && from.y >= 0.0;
            let at = ((from.y / cell.y) as usize, (from.x / cell.x) as usize);
            (inside && at.0 < rows && at.1 < columns).then_some(at)
        });
        if let Some(at) = pointed {
            if response.clicked() {
                seen.picked = Some(at);
                response.request_focus();
            }
            let text = said(part, at);
            response.on_hover_ui_at_pointer(|ui| {
                ui.label(text);
            });
        }
    });
    seen
}

/// The numbers of layers and experts, as many as have room.
fn names_ui(
    ui: &Ui,
    whole: Rect,
    cell: Vec2,
    (rows, columns): (std::ops::Range<usize>, std::ops::Range<usize>),
    layers: &[u32],
) {
    let (theme, painter, font) = (Theme::of(ui), ui.painter(), theme::small());
    let corner = whole.min + NAMES;
    painter.text(whole.min + vec2(0.0, 3.0), Align2::LEFT_TOP, "layer", font.clone(), theme.muted);
    let every = |size: f32, least: f32| (least / size).ceil().max(1.0) as usize;
    let (down, right) = (every(cell.y, 14.0), every(cell.x, 26.0));
    for row in rows.filter(|row| row.is_multiple_of(down)) {
        let Some(layer) = layers.get(row) else { continue };
        let at = pos2(corner.x - 8.0, corner.y + (row as f32 + 0.5) * cell.y);
        painter.text(at, Align2::RIGHT_CENTER, layer.to_string(), font.clone(), theme.muted);
    }
    for column in columns.filter(|column| column.is_multiple_of(right)) {
        let text = match cell.x {
            wide if wide >= 62.0 => format!("expert {column}"),
            _ => column.to_string(),
        };
        let at = pos2(corner.x + (column as f32 + 0.5) * cell.x, corner.y - 4.0);
        painter.text(at, Align2::CENTER_BOTTOM, text, font.clone(), theme.muted);
    }
}

fn text_of(cell: &ExpertCell, by_z: bool) -> Option<String> {
    let value = cell.value?;
    Some(match (by_z, cell.z) {
        (true, z) => z_text(z?),
        (false, _) => significant(value),
    })
}

/// A distance in robust σ, with its sign.
pub fn z_text(z: f64) -> String {
    match z {
        z if z.is_infinite() => if z > 0.0 { "∞" } else { "−∞" }.to_owned(),
        z if z < 0.0 => format!("−{:.1}", -z),
        z => format!("+{z:.1}"),
    }
}

/// What a cell is, in words.
pub fn said(part: &Part, (row, expert): At) -> String {
    let grid = &part.grid;
    let layer = grid.layers.get(row).copied().unwrap_or_default();
    let Some(cell) = grid.cell(row, expert).filter(|cell| cell.entry.is_some()) else {
        return format!("layer {layer} has no expert {expert}");
    };
    let value = match cell.value {
        Some(value) => format!("{} {}", grid.statistic.name(), significant(value)),
        None => "not measured".to_owned(),
    };
    let z = cell.z.map_or(String::new(), |z| format!(", {} σ from the others", z_text(z)));
    format!("layer {layer}, expert {expert}: {value}{z}")
}
