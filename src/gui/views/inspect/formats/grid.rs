//! Rows of tensors by formats: signal to noise, and bits a weight.

use eframe::egui::{
    Align2, CornerRadius, FontId, Painter, Pos2, Rect, Role, ScrollArea, Sense, Stroke, StrokeKind,
    Ui, Vec2, WidgetInfo, pos2, vec2,
};

use super::sheet::{Sheet, SheetRow};
use crate::format::Format;
use crate::gui::theme::{self, Theme};
use crate::gui::views::cursor::{At, walk};
use crate::units::{bytes, count, significant};

/// Height of the names of formats.
const HEAD: f32 = 34.0;
const LINE: f32 = 34.0;
const LEAST: f32 = 54.0;
/// About as wide as a letter is.
const GLYPH: f32 = 7.2;
/// Decibels of the darkest and of the lightest colour.
const RANGE: [f64; 2] = [10.0, 45.0];

/// Draws it; the cell that was clicked.
pub fn grid_ui(ui: &mut Ui, sheet: &Sheet, rows: &[SheetRow], cursor: &mut At) -> Option<At> {
    let columns = sheet.columns.len();
    let longest = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let names = (longest as f32 * GLYPH + 14.0).clamp(90.0, ui.available_width() * 0.34);
    let space = ui.available_width() - names - 14.0;
    let cell = vec2((space / columns.max(1) as f32).floor().clamp(LEAST, 96.0), LINE);
    let mut clicked = None;
    ScrollArea::both().id_salt("formats").auto_shrink(false).show_viewport(ui, |ui, viewport| {
        let size = vec2(names + columns as f32 * cell.x, HEAD + rows.len() as f32 * cell.y);
        let (whole, response) = ui.allocate_exact_size(size, Sense::click());
        let origin = whole.min + vec2(names, HEAD);
        let place = |(r, c): At| {
            let corner = origin + vec2(c as f32 * cell.x, r as f32 * cell.y);
            Rect::from_min_size(corner, cell - Vec2::splat(2.0))
        };
        let first = ((viewport.min.y - HEAD) / cell.y).max(0.0) as usize;
        let last = ((viewport.max.y / cell.y).ceil().max(0.0) as usize).min(rows.len());
        let (theme, painter) = (Theme::of(ui), ui.painter());
        for (c, column) in sheet.columns.iter().enumerate() {
            let middle = origin.x + (c as f32 + 0.5) * cell.x - 1.0;
            head(painter, theme, pos2(middle, whole.top() + HEAD - 5.0), *column);
        }
        let in_sight = first.min(last)..last;
        for (r, row) in rows.iter().enumerate().take(last).skip(first) {
            let y = place((r, 0)).center().y;
            let clip =
                Rect::from_min_max(pos2(whole.left(), y - 17.0), pos2(origin.x - 8.0, y + 17.0));
            let font = eframe::egui::TextStyle::Body.resolve(ui.style());
            let at = pos2(origin.x - 10.0, y);
            painter.with_clip_rect(clip.intersect(ui.clip_rect())).text(
                at,
                Align2::RIGHT_CENTER,
                shortened(&row.name, ((names - 14.0) / GLYPH) as usize),
                font,
                theme.text,
            );
            for c in 0..columns {
                cell_ui(ui, place((r, c)), row, c);
            }
        }
        let (moved, taken) = walk(ui, &response, *cursor, (rows.len(), columns));
        *cursor = moved.unwrap_or(*cursor);
        if response.has_focus() {
            let stroke = Stroke::new(2.0, theme.accent);
            painter.rect_stroke(place(*cursor), 3.0, stroke, StrokeKind::Outside);
            if moved.is_some() {
                ui.scroll_to_rect(place(*cursor), None);
            }
        }
        clicked = taken.then_some(*cursor);
        let said_at = said(sheet, rows, *cursor);
        response.widget_info(|| WidgetInfo {
            current_text_value: Some(said_at.clone()),
            ..WidgetInfo::labeled(Role::Grid, true, "Formats by projection")
        });
        // Only what is in sight can be pointed at, and is told by name.
        for at in in_sight.flat_map(|r| (0..columns).map(move |c| (r, c))) {
            let id = response.id.with(at);
            let own = ui.interact(place(at), id, Sense::CLICK);
            let text = said(sheet, rows, at);
            let is_planned = rows[at.0].planned.get(at.1).is_some_and(|n| *n > 0);
            own.widget_info(|| WidgetInfo::selected(Role::Button, true, is_planned, &text));
            if own.hovered() {
                painter.rect_stroke(
                    place(at),
                    3.0,
                    Stroke::new(1.5, theme.text),
                    StrokeKind::Inside,
                );
            }
            let can = rows[at.0].cells.get(at.1).is_some_and(Result::is_ok);
            if own.clicked() {
                *cursor = at;
                response.request_focus();
                clicked = can.then_some(at).or(clicked);
            }
            own.on_hover_ui(|ui| {
                ui.set_max_width(420.0);
                ui.label(text);
            });
        }
    });
    clicked
        .filter(|at| rows.get(at.0).and_then(|row| row.cells.get(at.1)).is_some_and(Result::is_ok))
}

/// The end of a name, which tells it apart, where there is no room for all.
fn shortened(name: &str, room: usize) -> String {
    let length = name.chars().count();
    match length <= room {
        true => name.to_owned(),
        false => "…".chars().chain(name.chars().skip(length + 1 - room.max(1))).collect(),
    }
}

/// The name of a format, in two lines where it has two parts.
fn head(painter: &Painter, theme: &Theme, foot: Pos2, column: Option<Format>) {
    let name = column.map_or("keep", Format::name);
    let (above, below) = name.rsplit_once('-').unwrap_or(("", name));
    painter.text(foot, Align2::CENTER_BOTTOM, below, theme::small(), theme.text);
    painter.text(foot - vec2(0.0, 13.0), Align2::CENTER_BOTTOM, above, theme::small(), theme.text);
}

fn cell_ui(ui: &Ui, rect: Rect, row: &SheetRow, column: usize) {
    let (theme, painter, corner) = (Theme::of(ui), ui.painter(), CornerRadius::same(3));
    let planned = row.planned.get(column).copied().unwrap_or(0);
    let on = match row.cells.get(column) {
        Some(Ok(sums)) => {
            let ratio = sums.sqnr_db();
            let fill = match ratio {
                Some(ratio) if ratio.is_finite() => {
                    let [low, high] = RANGE;
                    Theme::magnitude(((ratio - low) / (high - low)) as f32)
                }
                _ => theme.raised,
            };
            let on = if ratio.is_some_and(f64::is_finite) { Theme::on(fill) } else { theme.text };
            painter.rect_filled(rect, corner, fill);
            let text = match ratio {
                Some(ratio) if ratio.is_finite() => format!("{ratio:.1}"),
                _ => "exact".to_owned(),
            };
            let font = theme::strong();
            painter.text(rect.center() - vec2(0.0, 6.0), Align2::CENTER_CENTER, text, font, on);
            let bits = format!("{:.2}", sums.bits_per_weight());
            let font = FontId::proportional(10.0);
            painter.text(rect.center() + vec2(0.0, 8.0), Align2::CENTER_CENTER, bits, font, on);
            on
        }
        _ => {
            painter.rect_filled(rect, corner, theme.panel);
            painter.rect_stroke(rect, corner, Stroke::new(1.0, theme.line), StrokeKind::Inside);
            if row.measured > 0 {
                painter.line_segment(
                    [rect.left_bottom(), rect.right_top()],
                    Stroke::new(1.0, theme.line),
                );
            }
            theme.text
        }
    };
    if planned > 0 {
        let all = planned == row.entries.len();
        let width = if all { 2.5 } else { 1.5 };
        painter.rect_stroke(rect, corner, Stroke::new(width, theme.accent), StrokeKind::Outside);
        let dot = rect.left_top() + vec2(7.0, 7.0);
        match all {
            true => painter.circle_filled(dot, 3.0, on),
            false => painter.circle_stroke(dot, 3.0, Stroke::new(1.5, on)),
        };
    }
}

/// What a cell says.
fn said(sheet: &Sheet, rows: &[SheetRow], (row, column): At) -> String {
    let Some(row) = rows.get(row) else { return "nothing here".to_owned() };
    let name = sheet.columns.get(column).copied().flatten().map_or("keep", Format::name);
    let tensors = match row.entries.len() {
        1 => String::new(),
        n => format!(" ({})", count(n as u64, "tensor")),
    };
    let planned = match row.planned.get(column) {
        Some(n) if *n > 0 && *n == row.entries.len() => ", as planned".to_owned(),
        Some(n) if *n > 0 => format!(", as planned for {n}"),
        _ => String::new(),
    };
    let numbers = match row.cells.get(column) {
        Some(Ok(sums)) => {
            let ratio = sums.sqnr_db().filter(|ratio| ratio.is_finite());
            let ratio = ratio.map_or("no error".to_owned(), |ratio| format!("{ratio:.2} dB"));
            let part = match row.measured {
                n if n < row.entries.len() => format!(", measured of {n}"),
                _ => String::new(),
            };
            format!(
                "{ratio}, {:.2} bits a weight, {}, largest error {}{part}",
                sums.bits_per_weight(),
                bytes(sums.bytes),
                significant(sums.errors.max_abs)
            )
        }
        Some(Err(why)) => why.clone(),
        None => "nothing".to_owned(),
    };
    format!("{}{tensors} in {name}: {numbers}{planned}", row.name)
}
