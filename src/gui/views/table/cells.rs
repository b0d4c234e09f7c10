//! What stands in one cell: its text, how much it matters, and the bar behind it.

use eframe::egui::{Align2, Color32, CornerRadius, FontFamily, FontId, Painter, Rect, Vec2};

use crate::gui::session::Numbers;
use crate::gui::theme::Theme;
use crate::report::{Column, KEPT, NOTHING, Row};

/// Space at both sides of a cell.
pub const PADDING: f32 = 8.0;
/// What stands where something is yet to be measured.
const PENDING: &str = "…";

/// How much a text matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Plain,
    Muted,
    Bad,
}

/// What stands in a cell.
#[derive(Debug, PartialEq)]
struct Cell {
    text: String,
    tone: Tone,
    /// How far the bar behind it goes, 0 to 1.
    bar: Option<f32>,
}

impl Cell {
    fn of(column: Column, row: &Row, numbers: &Numbers, failed: bool) -> Self {
        let text = column.text(row);
        let number = column.number(row);
        let bar = number.and_then(|number| bar(column, number, numbers));
        let is_pending = column.is_pending(row) && !failed;
        let (text, tone) = match text {
            text if is_pending && text == NOTHING => (PENDING.to_owned(), Tone::Muted),
            text if is_pending => (text + PENDING, Tone::Muted),
            text if text == NOTHING || text == KEPT => (text, Tone::Muted),
            text if column == Column::Amax && number.is_some_and(|n| !n.is_finite()) => {
                (text, Tone::Bad)
            }
            text if matches!(column, Column::Shape | Column::Dtype | Column::Role) => {
                (text, Tone::Muted)
            }
            text if column == Column::Reason => (text, Tone::Muted),
            text => (text, Tone::Plain),
        };
        Self { text, tone, bar }
    }
}

/// How far the bar of a number goes: from the smallest to the largest of the table, so that what stands
/// out is seen at once. Magnitudes span powers of ten, so theirs are logarithms.
fn bar(column: Column, number: f64, numbers: &Numbers) -> Option<f32> {
    let (part, extent) = match column {
        Column::Amax => {
            let (least, most) = numbers.amax?;
            ((number / least).ln(), (most / least).ln())
        }
        Column::Sqnr => {
            let (least, most) = numbers.sqnr?;
            // The worst is still seen to have a bar.
            let least = (least - 3.0).max(0.0);
            (number - least, most - least)
        }
        _ => return None,
    };
    let part = (part / extent) as f32;
    (extent > 0.0 && part.is_finite()).then(|| part.clamp(0.02, 1.0))
}

/// Draws the cell of a row in a column other than its name.
pub fn draw(
    painter: &Painter,
    rect: Rect,
    theme: &Theme,
    column: Column,
    row: &Row,
    numbers: &Numbers,
    failed: bool,
) {
    let cell = Cell::of(column, row, numbers, failed);
    if let Some(bar) = cell.bar {
        let room = rect.shrink2(Vec2::new(PADDING - 4.0, 3.0));
        let bar = Rect::from_min_size(room.min, Vec2::new(room.width() * bar, room.height()));
        painter.rect_filled(bar, CornerRadius::same(2), bar_colour(theme, column));
    }
    let colour = colour(theme, cell.tone);
    let inner = rect.shrink2(Vec2::new(PADDING, 0.0));
    let painter = painter.with_clip_rect(inner.intersect(painter.clip_rect()));
    let font = if column.is_text() && column != Column::Shape { words() } else { digits() };
    match column.is_text() {
        true => painter.text(inner.left_center(), Align2::LEFT_CENTER, cell.text, font, colour),
        false => painter.text(inner.right_center(), Align2::RIGHT_CENTER, cell.text, font, colour),
    };
}

fn colour(theme: &Theme, tone: Tone) -> Color32 {
    match tone {
        Tone::Plain => theme.text,
        Tone::Muted => theme.muted,
        Tone::Bad => theme.bad,
    }
}

fn bar_colour(theme: &Theme, column: Column) -> Color32 {
    let colour = if column == Column::Amax { theme.parts[1] } else { theme.parts[0] };
    colour.gamma_multiply(0.22)
}

/// Font of names and numbers, whose characters are equally wide.
pub fn digits() -> FontId {
    FontId::new(12.0, FontFamily::Monospace)
}

fn words() -> FontId {
    FontId::proportional(12.5)
}

/// What explains a cell, under the pointer.
pub fn explained(column: Column, row: &Row, failure: Option<&str>) -> Option<String> {
    if let Some(why) = failure
        && column.is_pending(row)
    {
        return Some(format!("cannot be measured: {why}"));
    }
    match column {
        Column::Name => Some(row.name.clone()),
        Column::Format | Column::Reason if !row.reason.is_empty() => Some(row.reason.clone()),
        _ if column.is_pending(row) && column.number(row).is_some() => {
            Some("some tensors are not measured yet".to_owned())
        }
        _ if column.is_pending(row) => Some("not measured yet".to_owned()),
        _ if column.is_bytes() => column.number(row).map(|bytes| format!("{bytes} bytes")),
        _ => None,
    }
}

/// A name in at most so many characters: of one that is too long the end is told, which says most, but
/// for what almost all end with.
pub fn shortened(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    let name = name.strip_suffix(".weight").unwrap_or(name);
    let length = name.chars().count();
    if length <= most {
        return name.to_owned();
    }
    let skipped = (length + 1).saturating_sub(most.max(1));
    let end: String = name.chars().skip(skipped).collect();
    if name.chars().nth(skipped.saturating_sub(1)) == Some('.') {
        return format!("…{end}");
    }
    // From the beginning of a part of it, if that costs little, and no number.
    let costs_little = |at: &usize| *at < 8 && !end[..*at].contains(|c: char| c.is_ascii_digit());
    let part = end.find('.').filter(|at| costs_little(at) && at + 1 < end.len());
    format!("…{}", part.map_or(end.as_str(), |at| &end[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{TensorStats, WeightSums};

    #[test]
    fn the_end_of_a_long_name_is_told() {
        let name = "model.layers.12.mlp.down_proj.weight";
        assert_eq!(shortened(name, 36), name);
        assert_eq!(shortened(name, 35), "model.layers.12.mlp.down_proj");
        assert_eq!(shortened(name, 28), "…layers.12.mlp.down_proj");
        assert_eq!(shortened(name, 14), "…mlp.down_proj");
        assert_eq!(shortened(name, 17), "…12.mlp.down_proj");
        assert_eq!(shortened(name, 13), "…down_proj");
        assert_eq!(shortened("abcdefghijkl", 5), "…ijkl");
        assert_eq!(shortened("äöüßäöüß", 4), "…öüß");
        assert_eq!(shortened("abc", 0), "…");
        assert_eq!(shortened("abc.", 2), "….");
    }

    fn measured(amax: f32) -> Row {
        let weights = WeightSums { count: 4, ..WeightSums::default() };
        let stats = Some(TensorStats { amax, weights, ..TensorStats::default() });
        Row {
            tensors: 1,
            weights: 4,
            format: "nvfp4".to_owned(),
            stats: stats.map(Box::new),
            ..Row::default()
        }
    }

    #[test]
    fn what_is_not_measured_is_told_from_what_there_is_none_of() {
        let numbers = Numbers::default();
        let of = |column, row: &Row, failed| {
            let cell = Cell::of(column, row, &numbers, failed);
            (cell.text, cell.tone)
        };
        let done = measured(2.0);
        assert_eq!(of(Column::Amax, &done, false), ("2.000".to_owned(), Tone::Plain));
        assert_eq!(of(Column::Sqnr, &done, false), (NOTHING.to_owned(), Tone::Muted));
        // Its weights are known from another recipe.
        let codes_missing = Row { is_partial: true, ..done.clone() };
        assert_eq!(of(Column::Amax, &codes_missing, false).0, "2.000");
        assert_eq!(of(Column::Sqnr, &codes_missing, false).0, PENDING);
        assert_eq!(of(Column::Sqnr, &codes_missing, true).0, NOTHING);
        let group = Row { is_partial: true, weights: 8, ..done };
        assert_eq!(of(Column::Amax, &group, false), ("2.000…".to_owned(), Tone::Muted));
        let none = Row { stats: None, is_partial: true, ..group };
        assert_eq!(of(Column::Amax, &none, false).0, PENDING);
        assert_eq!(of(Column::Amax, &measured(f32::NAN), false), ("NaN".to_owned(), Tone::Bad));
    }

    #[test]
    fn bars_go_from_the_least_to_the_most() {
        let numbers =
            Numbers { amax: Some((0.01, 100.0)), sqnr: Some((20.0, 20.0)), ..Numbers::default() };
        assert_eq!(bar(Column::Amax, 100.0, &numbers), Some(1.0));
        assert_eq!(bar(Column::Amax, 1.0, &numbers), Some(0.5));
        assert_eq!(bar(Column::Amax, 0.0, &numbers), None);
        assert_eq!(bar(Column::Amax, f64::NAN, &numbers), None);
        assert_eq!(bar(Column::Sqnr, 20.0, &numbers), Some(1.0));
        assert_eq!(bar(Column::MaxError, 20.0, &numbers), None);
    }
}
