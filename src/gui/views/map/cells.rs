//! How a cell looks, and what it says when it is pointed at.

use eframe::egui::{
    Align2, Color32, CornerRadius, Grid, Painter, Rect, RichText, Stroke, StrokeKind, Ui, pos2,
    vec2,
};

use super::sheet::Sheet;
use crate::gui::theme::{self, Theme};
use crate::report::{Column, Row, Scale, Spread, Value};
use crate::units::count;

/// The colour of a number.
pub fn colour(scale: &Scale, number: f64) -> Color32 {
    let place = scale.place(number) as f32;
    match scale.spread {
        Spread::Signed => Theme::signed(place),
        Spread::Linear | Spread::Log => Theme::magnitude(place),
    }
}

/// Fills a cell: a number by its colour, anything else by a shape. `text` is written in it, if it has a
/// number.
pub fn cell(
    painter: &Painter,
    theme: &Theme,
    rect: Rect,
    value: Value,
    scale: Option<&Scale>,
    text: Option<&str>,
) {
    let corner = CornerRadius::same(2);
    let coloured = value.number().zip(scale).map(|(number, scale)| colour(scale, number));
    let Some(fill) = coloured else {
        painter.rect_filled(rect, corner, theme.panel);
        painter.rect_stroke(rect, corner, Stroke::new(1.0, theme.line), StrokeKind::Inside);
        return mark(painter, theme, rect, value);
    };
    painter.rect_filled(rect, corner, fill);
    let on = Theme::on(fill);
    if matches!(value, Value::Partial(_)) {
        hatch(painter, rect, on.gamma_multiply(0.35));
    }
    if let Some(text) = text {
        painter.text(rect.center(), Align2::CENTER_CENTER, text, theme::small(), on);
    }
}

/// Why a cell has no number, as a shape.
fn mark(painter: &Painter, theme: &Theme, rect: Rect, value: Value) {
    let centre = rect.center();
    match value {
        Value::Pending => hatch(painter, rect.shrink(1.0), theme.muted.gamma_multiply(0.5)),
        Value::NotFinite(_) => {
            let (r, stroke) = (rect.height().min(rect.width()) * 0.25, Stroke::new(2.0, theme.bad));
            painter.line_segment([centre + vec2(-r, -r), centre + vec2(r, r)], stroke);
            painter.line_segment([centre + vec2(-r, r), centre + vec2(r, -r)], stroke);
        }
        _ => {
            painter.circle_filled(centre, 1.75, theme.muted);
        }
    }
}

/// Rising lines over a rectangle.
fn hatch(painter: &Painter, rect: Rect, colour: Color32) {
    const STEP: f32 = 6.0;
    let (width, height) = (rect.width(), rect.height());
    let lines = ((width + height) / STEP) as usize;
    for i in 1..=lines {
        // Along a line that rises by 45 degrees, the distances from the left and from the top add up.
        let end = i as f32 * STEP;
        let (from, to) = ((end - height).max(0.0), end.min(width));
        let points = [(from, end - from), (to, end - to)];
        let points = points.map(|(x, y)| pos2(rect.left() + x, rect.top() + y));
        painter.line_segment(points, Stroke::new(1.0, colour));
    }
}

/// Says that a cell stands for several experts: four squares in its corner.
pub fn experts(painter: &Painter, rect: Rect, colour: Color32) {
    let corner = rect.right_top() + vec2(-8.5, 2.5);
    for (x, y) in [(0.0, 0.0), (3.5, 0.0), (0.0, 3.5), (3.5, 3.5)] {
        let square = Rect::from_min_size(corner + vec2(x, y), vec2(2.5, 2.5));
        painter.rect_filled(square, CornerRadius::ZERO, colour);
    }
}

/// Outlines a cell that is selected: a light and a dark line, so that one is seen on any colour.
pub fn selected(painter: &Painter, theme: &Theme, rect: Rect) {
    let corner = CornerRadius::same(2);
    painter.rect_stroke(rect, corner, Stroke::new(2.0, theme.text), StrokeKind::Inside);
    let inner = rect.shrink(2.0);
    painter.rect_stroke(inner, corner, Stroke::new(1.0, theme.ground), StrokeKind::Inside);
}

/// Outlines the cell that the keyboard is at.
pub fn cursor(painter: &Painter, theme: &Theme, rect: Rect) {
    let stroke = Stroke::new(2.0, theme.accent);
    painter.rect_stroke(rect.expand(1.0), CornerRadius::same(3), stroke, StrokeKind::Outside);
}

/// What a cell says in a line.
pub fn said(column: Column, row: &Row) -> String {
    format!("{}: {}", row.name, Value::of(column, row).said(column, row))
}

/// All that is known of a cell.
pub fn tooltip(ui: &mut Ui, sheet: &Sheet, row: &Row, failure: Option<&str>) {
    numbers_ui(ui, row);
    let theme = Theme::of(ui);
    let muted = |text: String| RichText::new(text).font(theme::small()).color(theme.muted);
    if let Some(why) = failure {
        ui.label(RichText::new(format!("cannot be measured: {why}")).color(theme.bad));
    } else if row.is_partial {
        ui.label(muted("not measured to the end yet".to_owned()));
    }
    if let Some(layer) = sheet.experts_in(row) {
        ui.label(muted(format!("double-click: single experts of layer {layer}")));
    }
}

/// What a row is, what becomes of it, and its numbers.
pub fn numbers_ui(ui: &mut Ui, row: &Row) {
    const NUMBERS: [Column; 15] = [
        Column::Amax,
        Column::MeanAbs,
        Column::StdDev,
        Column::Zeros,
        Column::Sqnr,
        Column::SearchGain,
        Column::MaxError,
        Column::GlobalScale,
        Column::ScaleMin,
        Column::ScaleMax,
        Column::ScalesZero,
        Column::ScalesSubnormal,
        Column::ScalesSaturated,
        Column::BitsPerWeight,
        Column::BytesSaved,
    ];
    ui.set_max_width(440.0);
    ui.spacing_mut().item_spacing.y = 3.0;
    let theme = Theme::of(ui);
    let muted = |text: String| RichText::new(text).font(theme::small()).color(theme.muted);
    ui.label(RichText::new(&row.name).font(theme::strong()));
    let shape = match row.tensors {
        several if several > 1 && row.shape.is_empty() => count(several, "tensor"),
        _ => Column::Shape.text(row),
    };
    let mut facts = vec![shape, row.dtype.clone()];
    facts.extend(row.role.map(|role| role.name().to_owned()));
    ui.label(muted(facts.join("  ·  ")));
    let reason = if row.reason.is_empty() { String::new() } else { format!(": {}", row.reason) };
    ui.label(format!("{}{reason}", row.format));
    ui.add_space(4.0);
    let numbers = NUMBERS.into_iter().filter(|column| column.number(row).is_some());
    Grid::new("numbers").num_columns(4).min_row_height(15.0).spacing(vec2(14.0, 3.0)).show(
        ui,
        |ui| {
            for (i, column) in numbers.enumerate() {
                ui.label(muted(column.title().to_owned()));
                ui.label(column.text(row));
                if i % 2 == 1 {
                    ui.end_row();
                }
            }
        },
    );
}
