//! The bars of a histogram, with what codes stand for over them.

use eframe::egui::{
    Align2, Painter, Rect, Response, RichText, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2,
};

use super::super::axes::{
    Axis, grouped, percent, rects, ticks_below, ticks_left, title_below, title_left, zoomed,
};
use super::bars::{Places, bars, together};
use super::codes::has_name;
use crate::gui::theme::{self, Theme};
use crate::inspect::{Axis as Bins, Bin, Histogram, Numbers};
use crate::report::{linear_ticks, log_ticks, tick_text};
use crate::units::significant;

/// Room to the left, for numbers and what they are.
pub const LEFT: f32 = 72.0;

/// How it is drawn.
#[derive(Debug, Clone, Copy)]
pub struct How<'a> {
    /// Whether counts go by powers of ten.
    pub counts_are_log: bool,
    /// Why there are no marks of codes, where there are none.
    pub hint: &'a str,
}

/// Draws it.
pub fn picture_ui(
    ui: &mut Ui,
    histogram: &Histogram,
    how: How<'_>,
    window: &mut Option<(f64, f64)>,
    height: f32,
) {
    let is_log = how.counts_are_log;
    let size = vec2(ui.available_width(), height.max(140.0));
    let (rect, response) = ui.allocate_exact_size(size, Sense::click_and_drag());
    let top = if histogram.grid.is_empty() { 8.0 } else { 34.0 };
    let frame = Rect::from_min_max(
        rect.left_top() + vec2(LEFT, top),
        rect.right_bottom() - vec2(14.0, 38.0),
    );
    let theme = Theme::of(ui);
    let places = Places::of(histogram);
    let whole = (-places.end, places.end);
    let (low, high) = zoomed(ui, &response, frame.x_range(), whole, window);
    let x = Axis { low, high, ends: (frame.left(), frame.right()), is_log: false };
    let shown = shown_bars(histogram, &places, &x);
    let zeros = histogram.zeros + histogram.under;
    // Zeros have a bar of their own where there is a gap for it; it may be cut off.
    let most = shown.iter().map(|(bar, _)| bar.count).max().unwrap_or(0).max(1);
    let y = count_axis(most, is_log, frame);
    let painter = ui.painter().with_clip_rect(rect);
    ticks_left(&painter, theme, (frame, &y), &count_ticks(most, is_log));
    title_left(&painter, theme, frame, rect.left() + 2.0, what(histogram));

    let inside = painter.with_clip_rect(frame.expand2(vec2(1.0, 0.0)));
    let pointer = response.hover_pos().filter(|at| frame.x_range().contains(at.x));
    let hovered = pointer.and_then(|at| shown.iter().find(|(_, part)| part.contains(at.x)));
    let zero_bar = zero_bar(histogram, &places, &x, (&y, zeros));
    let bar = |(bin, part): &(Bin, eframe::egui::Rangef)| {
        // A single weight is seen beside millions.
        let top = y.place(bin.count as f64).clamp(frame.top(), frame.bottom() - 1.5);
        let is_hovered = hovered.is_some_and(|(other, _)| other == bin);
        let colour = if is_hovered { theme.text } else { theme.series[0] };
        (Rect::from_x_y_ranges(*part, top..=frame.bottom()), colour)
    };
    rects(&inside, shown.iter().filter(|(bin, _)| bin.count > 0).map(bar));
    rects(&inside, zero_bar.map(|rect| (rect, theme.series[4])));
    grid_ui(&painter, theme, histogram, &places, (&x, frame), how.hint);
    let ticks = places.ticks(low, high).into_iter();
    let ticks: Vec<_> = ticks.map(|tick| (places.place(tick), text_of(tick))).collect();
    ticks_below(&painter, theme, (frame, &x), &ticks);
    title_below(&painter, theme, frame, &title(histogram));

    let broken = histogram.nan + histogram.infinite;
    let said = format!(
        "Histogram: {} {}, amax {}, {} exactly zero, {} under the axis, {broken} not finite",
        histogram.count,
        histogram.numbers.name(),
        histogram.amax,
        histogram.zeros,
        histogram.under
    );
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &said));
    let is_zero = pointer.is_some_and(|at| zero_bar.is_some_and(|r| r.x_range().contains(at.x)));
    let code = pointer.and_then(|at| code_at(histogram, &places, &x, at.x));
    if hovered.is_some() || is_zero {
        hover_ui(response, histogram, hovered.filter(|_| !is_zero).map(|(bar, _)| bar), code);
    }
}

/// Bars that are in sight, and where they are.
fn shown_bars(
    histogram: &Histogram,
    places: &Places,
    x: &Axis,
) -> Vec<(Bin, eframe::egui::Rangef)> {
    let bin = match histogram.axis {
        Bins::Linear => histogram.bins.first().map_or(0.0, |bin| bin.to - bin.from),
        Bins::Log => 1.0 / 16.0,
    };
    let width = x.ends.1 - x.ends.0;
    let points = bin / (x.high - x.low) * f64::from(width);
    // Few weights need wide bars, or each has one of its own.
    let most = (4.0 * (histogram.count as f32).sqrt()).clamp(32.0, width / 3.0);
    let bars = bars(&histogram.bins, together(points, f64::from(width / most)));
    let place = |bar: Bin| {
        let (from, to) = (x.place(places.place(bar.from)), x.place(places.place(bar.to)));
        let gap = if to - from > 5.0 { 1.0 } else { 0.0 };
        (bar, eframe::egui::Rangef::new(from, (to - gap).max(from + 1.0)))
    };
    let is_seen = |part: &eframe::egui::Rangef| part.max >= x.ends.0 && part.min <= x.ends.1;
    bars.into_iter().map(place).filter(|(_, part)| is_seen(part)).collect()
}

/// The bar of what has no logarithm.
fn zero_bar(
    histogram: &Histogram,
    places: &Places,
    x: &Axis,
    (y, zeros): (&Axis, u64),
) -> Option<Rect> {
    let has_bar = histogram.axis == Bins::Log && zeros > 0;
    let top = y.place(zeros as f64).clamp(y.ends.1, y.ends.0);
    let reach = places.gap * 0.5;
    has_bar.then(|| Rect::from_x_y_ranges(x.place(-reach)..=x.place(reach), top..=y.ends.0))
}

/// The axis of counts. By powers of ten a single weight can still be seen.
pub fn count_axis(most: u64, is_log: bool, frame: Rect) -> Axis {
    let high = most as f64 * if is_log { 1.5 } else { 1.06 };
    let low = if is_log { 0.5 } else { 0.0 };
    Axis { low, high, ends: (frame.bottom(), frame.top()), is_log }
}

/// Its ticks, which are whole.
pub fn count_ticks(most: u64, is_log: bool) -> Vec<(f64, String)> {
    let most = most as f64;
    let ticks = if is_log { log_ticks(1.0, most.max(1.0)) } else { linear_ticks(0.0, most * 1.06) };
    let whole = ticks.into_iter().filter(|tick| tick.fract() == 0.0);
    whole.map(|tick| (tick, grouped(tick as u64))).collect()
}

/// What codes stand for: marks over the bars, named by the number that the code is.
fn grid_ui(
    painter: &Painter,
    theme: &Theme,
    histogram: &Histogram,
    places: &Places,
    (x, frame): (&Axis, Rect),
    hint: &str,
) {
    let Some(codec) = histogram.codec else { return };
    if histogram.grid.is_empty() {
        let at = frame.right_top() + vec2(-4.0, 4.0);
        painter.text(at, Align2::RIGHT_TOP, hint, theme::small(), theme.muted);
        return;
    }
    let at = pos2(frame.left() - 7.0, frame.top() - 6.0);
    painter.text(at, Align2::RIGHT_CENTER, "codes", theme::small(), theme.series[1]);
    let mut marks: Vec<_> = histogram.grid.iter().collect();
    marks.sort_by(|a, b| a.value.total_cmp(&b.value));
    let shown = marks.iter().map(|mark| (*mark, x.place(places.place(mark.value.into()))));
    let shown: Vec<_> =
        shown.filter(|(_, x)| *x >= frame.left() - 1.0 && *x <= frame.right() + 1.0).collect();
    let slot = frame.width() / shown.len().max(1) as f32;
    let is_sparse = slot > 12.0;
    let mut last = f32::NEG_INFINITY;
    for (mark, x) in shown {
        let is_used = histogram.codes.get(mark.code as usize).is_some_and(|count| *count > 0);
        let colour = if is_used { theme.series[1] } else { theme.muted };
        let strength = if is_used { 1.0 } else { 0.5 };
        let stroke = Stroke::new(1.0, colour.gamma_multiply(strength));
        painter.vline(x, frame.top() - 10.0..=frame.top() - 2.0, stroke);
        if is_sparse {
            let stroke = Stroke::new(1.0, colour.gamma_multiply(0.45 * strength));
            painter.vline(x, frame.y_range(), stroke);
        }
        // Of both zeros one has a name.
        let text = text_of(codec.value(mark.code).into());
        let galley = painter.layout_no_wrap(text, theme::small(), colour);
        let half = galley.size().x / 2.0;
        if has_name(codec, mark.code, slot) && x - half > last + 6.0 {
            last = x + half;
            painter.galley(pos2(x - half, frame.top() - 27.0), galley, colour);
        }
    }
}

/// The code whose number is nearest to the pointer.
fn code_at(histogram: &Histogram, places: &Places, x: &Axis, at: f32) -> Option<String> {
    let codec = histogram.codec?;
    let distance = |value: f32| (x.place(places.place(value.into())) - at).abs();
    let near = histogram.grid.iter().filter(|mark| distance(mark.value) < 6.0);
    let mark = near.min_by(|a, b| distance(a.value).total_cmp(&distance(b.value)))?;
    let digits = usize::from(codec.bits());
    let weights = histogram.codes.get(mark.code as usize).copied().unwrap_or(0);
    Some(format!(
        "code {:0digits$b} is {}, stands for {}, {} on it",
        mark.code,
        codec.value(mark.code),
        significant(mark.value.into()),
        crate::units::count(weights, "weight")
    ))
}

fn hover_ui(response: Response, histogram: &Histogram, bar: Option<&Bin>, code: Option<String>) {
    let (range, count) = match bar {
        Some(bar) => (format!("{} to {}", tick_text(bar.from), tick_text(bar.to)), bar.count),
        None if histogram.under > 0 => {
            ("zero, or too small for the axis".to_owned(), histogram.zeros + histogram.under)
        }
        None => ("exactly zero".to_owned(), histogram.zeros),
    };
    let share = percent(count, histogram.count);
    response.on_hover_ui_at_pointer(|ui| {
        ui.label(RichText::new(range).font(theme::strong()));
        ui.label(format!("{} of {} ({share})", grouped(count), grouped(histogram.count)));
        if let Some(code) = code {
            ui.label(code);
        }
    });
}

const fn what(histogram: &Histogram) -> &'static str {
    match histogram.numbers {
        Numbers::Weights => "how many weights",
        Numbers::Values => "how many values",
    }
}

fn title(histogram: &Histogram) -> String {
    let zoom = "scroll to zoom, drag to move, double-click for all";
    let what = match histogram.numbers {
        Numbers::Weights => "weight",
        Numbers::Values => "value",
    };
    match histogram.axis {
        Bins::Linear => format!("{what} · {zoom}"),
        Bins::Log => format!("{what}, by powers of ten on both sides of zero · {zoom}"),
    }
}

/// A tick's number, with a minus as wide as a plus.
fn text_of(tick: f64) -> String {
    tick_text(tick + 0.0).replace('-', "−")
}
