//! Largest magnitudes along rows or columns.

use eframe::egui::{
    Align2, CursorIcon, Painter, Rangef, Rect, RichText, Role, Sense, Shape, Stroke, Ui,
    WidgetInfo, pos2, vec2,
};

use super::super::axes::{Axis, rects, tag, ticks_below, ticks_left, zoomed};
use crate::gui::theme::{self, Theme};
use crate::inspect::Line;
use crate::report::{linear_ticks, tick_text};
use crate::units::significant;

/// The part of a strip that is shown, from line to line.
pub type Zoom = Option<(f64, f64)>;

/// From how many medians on a line stands out.
const ODD: f64 = 3.0;

/// Lines, and the largest of them.
pub struct Strip<'a> {
    /// What a line is.
    pub what: &'a str,
    /// The largest magnitude of each.
    pub amax: &'a [f32],
    /// Those of the largest, largest first.
    pub largest: &'a [Line],
    /// The one that is looked at.
    pub focus: u64,
}

/// Draws it; the line that was clicked.
pub fn strip_ui(ui: &mut Ui, strip: &Strip<'_>, height: f32, zoom: &mut Zoom) -> Option<u64> {
    let theme = Theme::of(ui);
    let what = strip.what;
    let mut clicked = None;
    ui.horizontal(|ui| {
        let text = format!("Largest magnitude of each {what}");
        ui.label(RichText::new(text).font(theme::heading()));
        ui.spacing_mut().item_spacing.x = 4.0;
        for line in strip.largest {
            let text = format!("{what} {}: {:.1} ×", line.index, line.over_median);
            if ui.available_width() < 8.0 * text.len() as f32 {
                break;
            }
            let colour = if line.over_median >= ODD { theme.warn } else { theme.text };
            let button =
                eframe::egui::Button::new(RichText::new(text).font(theme::small()).color(colour));
            let help = format!("{} × the median of all {what}s", significant(line.over_median));
            if ui.add(button.small()).on_hover_text(help).clicked() {
                clicked = Some(line.index);
            }
        }
    });
    let size = vec2(ui.available_width(), (height - 34.0).max(70.0));
    let (rect, response) = ui.allocate_exact_size(size, Sense::click_and_drag());
    let frame = Rect::from_min_max(
        rect.left_top() + vec2(46.0, 8.0),
        rect.right_bottom() - vec2(10.0, 20.0),
    );
    let whole = (0.0, strip.amax.len().max(1) as f64);
    let (low, high) = zoomed(ui, &response, frame.x_range(), whole, zoom);
    let x = Axis { low, high, ends: (frame.left(), frame.right()), is_log: false };
    let most = strip.amax.iter().copied().fold(0.0, f32::max);
    let top = if most > 0.0 { f64::from(most) * 1.06 } else { 1.0 };
    let y = Axis { low: 0.0, high: top, ends: (frame.bottom(), frame.top()), is_log: false };
    let painter = ui.painter().with_clip_rect(rect);
    let text = |ticks: Vec<f64>| ticks.into_iter().map(|tick| (tick, tick_text(tick)));
    let ticks: Vec<_> = text(linear_ticks(0.0, top)).collect();
    ticks_left(&painter, theme, (frame, &y), &ticks);
    let whole_lines = linear_ticks(low, high).into_iter().filter(|tick| tick.fract() == 0.0);
    let ticks: Vec<_> = whole_lines
        .map(|tick| (tick + 0.5, tick_text(tick)))
        .filter(|(at, _)| *at < high)
        .collect();
    ticks_below(&painter, theme, (frame, &x), &ticks);

    let inside = painter.with_clip_rect(frame);
    let colour = theme.series[0].gamma_multiply(0.6);
    let bars = columns(strip.amax, &x).map(|(across, amax)| {
        (Rect::from_x_y_ranges(across, y.place(amax.into())..=frame.bottom()), colour)
    });
    rects(&inside, bars);
    median_ui(&painter, theme, strip, (&y, frame));
    let middle = |index: u64| x.place(index as f64 + 0.5);
    let at = |line: &Line| pos2(middle(line.index), y.place(line.amax.into()));
    for line in strip.largest.iter().filter(|line| line.over_median >= ODD) {
        inside.circle(at(line), 3.0, theme.warn, Stroke::new(1.0, theme.ground));
    }
    focus_ui(&painter, theme, (strip, middle(strip.focus)), frame);
    let said = match strip.largest.first() {
        Some(line) => format!(
            "Largest magnitudes of {} {what}s: largest {} in {what} {}",
            strip.amax.len(),
            line.amax,
            line.index
        ),
        None => format!("No {what}s"),
    };
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &said));
    let Some(pointer) = response.hover_pos().filter(|at| frame.contains(*at)) else {
        return clicked;
    };
    // What stands out is easily hit; elsewhere the line below the pointer counts.
    let near = strip.largest.iter().filter(|line| (middle(line.index) - pointer.x).abs() < 5.0);
    let index = near.map(|line| line.index).next().unwrap_or(x.number(pointer.x).max(0.0) as u64);
    let Some(&amax) = strip.amax.get(index as usize) else { return clicked };
    inside.circle_stroke(
        pos2(middle(index), y.place(amax.into())),
        5.0,
        Stroke::new(1.5, theme.text),
    );
    if response.clicked() {
        clicked = Some(index);
    }
    let text = format!("{what} {index}: largest magnitude {}", significant(amax.into()));
    let response = response.on_hover_cursor(CursorIcon::PointingHand);
    response.on_hover_ui_at_pointer(|ui| {
        ui.label(text);
    });
    clicked
}

/// Marks the line that is looked at.
fn focus_ui(painter: &Painter, theme: &Theme, (strip, x): (&Strip<'_>, f32), frame: Rect) {
    if !frame.x_range().contains(x) {
        return;
    }
    painter.vline(x, frame.y_range(), Stroke::new(1.5, theme.accent));
    let text = format!("{} {}", strip.what, strip.focus);
    let is_left = x < frame.center().x;
    let align = if is_left { Align2::LEFT_TOP } else { Align2::RIGHT_TOP };
    let at = [x + if is_left { 6.0 } else { -6.0 }, frame.top() + 1.0];
    tag(painter, theme, (align, at), &text);
}

/// The median of all, if it is known from the largest.
fn median_ui(painter: &Painter, theme: &Theme, strip: &Strip<'_>, (y, frame): (&Axis, Rect)) {
    let line = strip.largest.iter().find(|line| line.over_median.is_finite());
    let Some(line) = line.filter(|line| line.over_median > 0.0) else { return };
    let at = y.place(f64::from(line.amax) / line.over_median);
    let ends = [pos2(frame.left(), at), pos2(frame.right(), at)];
    painter.extend(Shape::dashed_line(&ends, Stroke::new(1.0, theme.text), 5.0, 4.0));
    let corner = [frame.right() - 6.0, at - 3.0];
    tag(painter, theme, (Align2::RIGHT_BOTTOM, corner), "median");
}

/// The lines in sight as bars that are at least a point wide: the largest of those that share one.
fn columns<'a>(amax: &'a [f32], x: &Axis) -> impl Iterator<Item = (Rangef, f32)> + 'a {
    let points = f64::from(x.ends.1 - x.ends.0);
    let together = ((x.high - x.low) / points).ceil().max(1.0) as usize;
    let first = x.low.max(0.0) as usize / together * together;
    let last = (x.high.ceil().max(0.0) as usize).min(amax.len());
    let shown = amax.get(first..last).unwrap_or_default();
    let x = *x;
    shown.chunks(together).enumerate().map(move |(i, lines)| {
        let from = x.place((first + i * together) as f64);
        let to = x.place((first + i * together + lines.len()) as f64);
        let gap = if to - from > 4.0 { 1.0 } else { 0.0 };
        (Rangef::new(from, to - gap), lines.iter().copied().fold(0.0, f32::max))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_share_a_bar_show_the_largest() {
        let mut amax = vec![1.0; 1000];
        amax[777] = 9.0;
        let x = Axis { low: 0.0, high: 1000.0, ends: (0.0, 100.0), is_log: false };
        let shown: Vec<_> = columns(&amax, &x).collect();
        assert_eq!(shown.len(), 100);
        let odd: Vec<usize> =
            shown.iter().enumerate().filter(|(_, bar)| bar.1 == 9.0).map(|(i, _)| i).collect();
        assert_eq!(odd, [77]);
        let near = Axis { low: 770.0, high: 780.0, ..x };
        let shown: Vec<_> = columns(&amax, &near).collect();
        assert_eq!((shown.len(), shown[7].1, shown[7].0.min.round()), (10, 9.0, 70.0));
    }
}
