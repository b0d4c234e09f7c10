//! Blocks as points and shades, with curves through them.

use eframe::egui::{
    Color32, CursorIcon, Painter, Pos2, Rect, RichText, Role, Sense, Shape, Stroke, Ui, WidgetInfo,
    pos2, vec2,
};

use super::super::axes::{
    Axis, grouped, rects, ticks_below, ticks_left, title_below, title_left, zoomed,
};
use super::zones::{ABOVE, zones_ui};
use crate::gui::theme::{self, Theme};
use crate::inspect::{Point, Regimes};
use crate::report::{log_ticks, tick_text};
use crate::units::significant;

/// What is drawn.
pub struct Picture<'a> {
    /// The blocks.
    pub regimes: &'a Regimes,
    /// The block that is looked at.
    pub focused: Option<Point>,
    /// Whether they are blocks, and not rows.
    pub is_block: bool,
    /// Whether no more is shown than where blocks are.
    pub is_close: bool,
}

/// The colour of a place that has many blocks, 1, or few, 0.
pub fn shade(t: f64) -> Color32 {
    Theme::magnitude(0.18 + 0.82 * t as f32).gamma_multiply(0.72)
}

/// Draws it; the point that was clicked.
pub fn picture_ui(
    ui: &mut Ui,
    picture: &Picture<'_>,
    window: &mut Option<(f64, f64)>,
    height: f32,
) -> Option<Point> {
    let regimes = picture.regimes;
    let size = vec2(ui.available_width(), height.max(180.0));
    let (rect, response) = ui.allocate_exact_size(size, Sense::click_and_drag());
    let above = if regimes.boundaries.is_empty() { 8.0 } else { ABOVE };
    let frame = Rect::from_min_max(
        rect.left_top() + vec2(72.0, above),
        rect.right_bottom() - vec2(34.0, 38.0),
    );
    let theme = Theme::of(ui);
    let painter = ui.painter().with_clip_rect(rect);
    let whole = (-0.15, if picture.is_close { last_of(regimes) } else { 20.0 });
    let (low, high) = zoomed(ui, &response, frame.x_range(), whole, window);
    let ends = (frame.left(), frame.right());
    let x = Axis { low: low.exp2(), high: high.exp2(), ends, is_log: true };
    let (low, high) = errors_of(regimes);
    let y = Axis { low, high, ends: (frame.bottom(), frame.top()), is_log: true };

    zones_ui(&painter, theme, regimes, (&x, frame));
    axes_ui(&painter, theme, (&x, &y), frame, picture.is_block);
    title_left(
        &painter,
        theme,
        frame,
        rect.left() + 2.0,
        "relative error: √(Σ error² / Σ weight²)",
    );
    let inside = painter.with_clip_rect(frame);
    let place = |at: (f64, f64)| pos2(x.place(at.0), y.place(at.1));
    rects(&inside, shades(regimes, &x, &y));
    let shown = regimes.points.iter().filter(|point| point.y > 0.0);
    let shown: Vec<(&Point, Pos2)> =
        shown.map(|point| (point, place((point.x, point.y)))).collect();
    let radius = if shown.len() > 1000 { 1.0 } else { 1.75 };
    let colour = theme.text.gamma_multiply(if shown.len() > 1000 { 0.55 } else { 0.85 });
    let dot = |at: Pos2| (Rect::from_center_size(at, vec2(2.0, 2.0) * radius), colour);
    rects(&inside, shown.iter().filter(|(_, at)| frame.contains(*at)).map(|(_, at)| dot(*at)));
    curves_ui(&inside, theme, regimes, place);
    if let Some(point) = picture.focused.filter(|point| point.y > 0.0) {
        let at = place((point.x, point.y));
        inside.circle_stroke(at, 8.0, Stroke::new(4.5, theme.ground));
        inside.circle_stroke(at, 8.0, Stroke::new(2.5, theme.accent));
    }

    let said = said(picture);
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &said));
    let pointer = response.hover_pos().filter(|at| frame.contains(*at))?;
    let near = shown.iter().filter(|(_, at)| at.distance(pointer) < 9.0);
    let near = near.min_by(|a, b| a.1.distance(pointer).total_cmp(&b.1.distance(pointer)));
    if let Some((point, at)) = near {
        inside.circle(*at, 4.5, theme.accent, Stroke::new(1.5, theme.text));
        let clicked = response.clicked().then_some(**point);
        let response = response.on_hover_cursor(CursorIcon::PointingHand);
        response.on_hover_ui_at_pointer(|ui| point_ui(ui, picture, point));
        return clicked;
    }
    let (at_x, at_y) = (x.number(pointer.x), y.number(pointer.y));
    let bin = Regimes::x_bin(at_x) * Regimes::Y_BINS + Regimes::y_bin(at_y);
    let count = regimes.density.get(bin).copied().filter(|count| *count > 0 && at_x >= 1.0);
    if let Some(count) = count {
        let text = format!("{} {} here", grouped(count), what(picture.is_block, count != 1));
        response.on_hover_ui_at_pointer(|ui| {
            ui.label(text);
        });
    }
    None
}

const fn what(is_block: bool, are_many: bool) -> &'static str {
    match (is_block, are_many) {
        (true, false) => "block",
        (true, true) => "blocks",
        (false, false) => "row",
        (false, true) => "rows",
    }
}

/// A block in words.
fn point_ui(ui: &mut Ui, picture: &Picture<'_>, point: &Point) {
    let regimes = picture.regimes;
    ui.label(RichText::new(super::name(point, picture.is_block)).font(theme::strong()));
    let amax = significant(f64::from(regimes.amax) / point.x);
    ui.label(format!("amax {amax}: the global one is {} × as large", significant(point.x)));
    ui.label(format!("relative error {} %", significant(100.0 * point.y)));
    if let Some(regime) = regimes.regime_of(point.x) {
        ui.label(RichText::new(regime.name()).color(Theme::of(ui).muted));
    }
}

fn said(picture: &Picture<'_>) -> String {
    let regimes = picture.regimes;
    let what = what(picture.is_block, true);
    let focused = picture.focused.map_or(String::new(), |point| {
        let name = super::name(&point, picture.is_block);
        format!("; {name} at x {}, error {}", significant(point.x), significant(point.y))
    });
    format!(
        "Regimes: {} {what}, {} of zeros, {} exact, global amax {}{focused}",
        regimes.blocks, regimes.zeros, regimes.exact, regimes.amax
    )
}

/// How far to the right blocks are, in powers of two.
fn last_of(regimes: &Regimes) -> f64 {
    let columns = regimes.density.chunks_exact(Regimes::Y_BINS);
    let mut used = columns.enumerate().filter(|(_, column)| column.iter().any(|count| *count > 0));
    let last = used.next_back().map_or(1.0, |(bin, _)| Regimes::x_of(bin + 1));
    last.log2() + 0.4
}

/// The smallest and the largest error that is shown.
fn errors_of(regimes: &Regimes) -> (f64, f64) {
    let used = regimes.density.iter().enumerate().filter(|(_, count)| **count > 0);
    let of_blocks = used.flat_map(|(bin, _)| {
        let bin = bin % Regimes::Y_BINS;
        [Regimes::y_of(bin), Regimes::y_of(bin + 1)]
    });
    let of_curve = regimes.reference.iter().map(|point| point.y).filter(|y| *y > 0.0);
    let (low, high) = of_blocks
        .chain(of_curve)
        .fold((f64::INFINITY, 0f64), |(low, high), y| (low.min(y), high.max(y)));
    if low < high { (low / 1.25, high * 1.25) } else { (1e-3, 1.0) }
}

/// Places that have blocks, by how many they have.
fn shades<'a>(
    regimes: &'a Regimes,
    x: &'a Axis,
    y: &'a Axis,
) -> impl Iterator<Item = (Rect, Color32)> + 'a {
    let most = regimes.density.iter().copied().max().unwrap_or(1).max(2) as f64;
    let used = regimes.density.iter().enumerate().filter(|(_, count)| **count > 0);
    used.map(move |(bin, count)| {
        let (across, up) = (bin / Regimes::Y_BINS, bin % Regimes::Y_BINS);
        let place = Rect::from_x_y_ranges(
            x.place(Regimes::x_of(across))..=x.place(Regimes::x_of(across + 1)),
            y.place(Regimes::y_of(up + 1))..=y.place(Regimes::y_of(up)),
        );
        (place, shade((*count as f64).ln() / most.ln()))
    })
}

/// The median of blocks, and the block that is always the same.
fn curves_ui(
    painter: &Painter,
    theme: &Theme,
    regimes: &Regimes,
    place: impl Fn((f64, f64)) -> Pos2,
) {
    let outlined = |shape: &dyn Fn(Stroke) -> Vec<Shape>, colour: Color32| {
        painter.extend(shape(Stroke::new(4.5, theme.ground.gamma_multiply(0.8))));
        painter.extend(shape(Stroke::new(2.5, colour)));
    };
    let reference = regimes.reference.iter().filter(|point| point.y > 0.0);
    let reference: Vec<Pos2> = reference.map(|point| place((point.x, point.y))).collect();
    painter.extend(Shape::dashed_line(&reference, Stroke::new(2.0, theme.series[2]), 6.0, 4.0));
    let median = |(bin, y): (usize, &Option<f64>)| {
        let y = (*y).filter(|y| *y > 0.0)?;
        Some(place(((Regimes::x_of(bin) * Regimes::x_of(bin + 1)).sqrt(), y)))
    };
    let medians: Vec<Option<Pos2>> = regimes.medians.iter().enumerate().map(median).collect();
    for run in medians.split(Option::is_none).filter(|run| !run.is_empty()) {
        let run: Vec<Pos2> = run.iter().flatten().copied().collect();
        if let [alone] = run[..] {
            painter.circle(alone, 3.0, theme.series[1], Stroke::new(1.0, theme.ground));
            continue;
        }
        outlined(&|stroke| vec![Shape::line(run.clone(), stroke)], theme.series[1]);
    }
}

fn axes_ui(painter: &Painter, theme: &Theme, (x, y): (&Axis, &Axis), frame: Rect, is_block: bool) {
    let percents = log_ticks(100.0 * y.low, 100.0 * y.high).into_iter();
    let ticks: Vec<_> =
        percents.map(|tick| (tick / 100.0, format!("{} %", tick_text(tick)))).collect();
    ticks_left(painter, theme, (frame, y), &ticks);
    let ticks: Vec<_> = powers(x.low, x.high)
        .into_iter()
        .map(|power| (power, format!("{}×", grouped(power as u64))))
        .collect();
    ticks_below(painter, theme, (frame, x), &ticks);
    let what = what(is_block, false);
    let text = format!(
        "global amax / {what} amax: how many times smaller the {what} is than the largest · scroll to zoom, drag to move, double-click for all"
    );
    title_below(painter, theme, frame, &text);
}

/// Powers of two between two numbers, from 1 on.
fn powers(low: f64, high: f64) -> Vec<f64> {
    let first = low.log2().ceil().max(0.0) as i32;
    let last = high.log2().floor().max(0.0) as i32;
    (first..=last.min(60)).map(|power| f64::from(power).exp2()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_powers_of_two_in_sight() {
        assert_eq!(powers(0.9, 9.0), [1.0, 2.0, 4.0, 8.0]);
        assert_eq!(powers(5.0, 7.0), [0.0; 0]);
    }
}
