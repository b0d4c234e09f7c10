//! Axes of pictures that views paint themselves: where numbers are, ticks with their texts, and zooming.

use eframe::egui::{
    Align2, Color32, FontId, Mesh, Painter, Rangef, Rect, Response, Shape, Stroke, Ui, pos2, vec2,
};

use crate::gui::theme::{self, Theme};

/// Where the numbers of an axis are in a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    /// The number at the first end.
    pub low: f64,
    /// The number at the other end.
    pub high: f64,
    /// Where the ends are: downwards for an axis that goes up.
    pub ends: (f32, f32),
    /// Whether equal ways are equal ratios.
    pub is_log: bool,
}

impl Axis {
    /// Where a number is.
    pub fn place(&self, number: f64) -> f32 {
        let part = match self.is_log {
            true => (number / self.low).ln() / (self.high / self.low).ln(),
            false => (number - self.low) / (self.high - self.low),
        };
        // What has no place is far outside.
        let part = if part.is_nan() { -10.0 } else { part.clamp(-10.0, 10.0) };
        self.ends.0 + part as f32 * (self.ends.1 - self.ends.0)
    }

    /// The number at a place.
    pub fn number(&self, place: f32) -> f64 {
        let part = f64::from((place - self.ends.0) / (self.ends.1 - self.ends.0));
        match self.is_log {
            true => self.low * (self.high / self.low).powf(part),
            false => self.low + part * (self.high - self.low),
        }
    }
}

/// The part of an axis that is shown. Scrolling makes it smaller or larger around the pointer, dragging
/// moves it, and a double click shows all again.
pub fn zoomed(
    ui: &Ui,
    response: &Response,
    across: Rangef,
    whole: (f64, f64),
    window: &mut Option<(f64, f64)>,
) -> (f64, f64) {
    let (low, high) = window.unwrap_or(whole);
    if response.double_clicked() {
        *window = None;
        return whole;
    }
    let mut next = (low, high);
    let scroll = ui.input(|input| input.smooth_scroll_delta().y);
    if let Some(pointer) = response.hover_pos().filter(|_| scroll != 0.0) {
        let at = low + f64::from((pointer.x - across.min) / across.span()) * (high - low);
        let factor = f64::from(-scroll / 240.0).exp();
        next = (at + (low - at) * factor, at + (high - at) * factor);
    }
    let moved = f64::from(-response.drag_delta().x / across.span()) * (high - low);
    next = within((next.0 + moved, next.1 + moved), whole);
    *window = (next != whole).then_some(next);
    next
}

/// A part of a whole: no smaller than a 4096th of it, and nowhere beyond it.
fn within((low, high): (f64, f64), whole: (f64, f64)) -> (f64, f64) {
    let length = whole.1 - whole.0;
    let shown = (high - low).max(length / 4096.0);
    if shown >= length || low.is_nan() || high.is_nan() {
        return whole;
    }
    let low = low.clamp(whole.0, whole.1 - shown);
    (low, low + shown)
}

/// Ticks with a faint line and a text on the left.
pub fn ticks_left(
    painter: &Painter,
    theme: &Theme,
    (frame, axis): (Rect, &Axis),
    ticks: &[(f64, String)],
) {
    let mut last = f32::INFINITY;
    for (number, text) in ticks {
        let y = axis.place(*number);
        if y < frame.top() - 1.0 || y > frame.bottom() + 1.0 || (last - y).abs() < 13.0 {
            continue;
        }
        last = y;
        painter.hline(frame.x_range(), y, Stroke::new(1.0, theme.line.gamma_multiply(0.6)));
        let at = pos2(frame.left() - 7.0, y);
        painter.text(at, Align2::RIGHT_CENTER, text, theme::small(), theme.muted);
    }
}

/// Ticks with a short line and a text below, where there is room for it.
pub fn ticks_below(
    painter: &Painter,
    theme: &Theme,
    (frame, axis): (Rect, &Axis),
    ticks: &[(f64, String)],
) {
    painter.hline(frame.x_range(), frame.bottom(), Stroke::new(1.0, theme.line));
    let mut last = f32::NEG_INFINITY;
    for (number, text) in ticks {
        let x = axis.place(*number);
        if x < frame.left() - 1.0 || x > frame.right() + 1.0 {
            continue;
        }
        let galley = painter.layout_no_wrap(text.clone(), theme::small(), theme.muted);
        let half = galley.size().x / 2.0;
        painter.vline(
            x,
            frame.bottom()..=frame.bottom() + 4.0,
            Stroke::new(1.0, theme.muted.gamma_multiply(0.6)),
        );
        if x - half < last + 8.0 {
            continue;
        }
        last = x + half;
        painter.galley(pos2(x - half, frame.bottom() + 5.0), galley, theme.muted);
    }
}

/// Says what an axis is: below the middle of the picture.
pub fn title_below(painter: &Painter, theme: &Theme, frame: Rect, text: &str) {
    let at = pos2(frame.center().x, frame.bottom() + 20.0);
    painter.text(at, Align2::CENTER_TOP, text, theme::small(), theme.muted);
}

/// Says what an axis is: upwards along the left side.
pub fn title_left(painter: &Painter, theme: &Theme, frame: Rect, left: f32, text: &str) {
    let galley = painter.layout_no_wrap(text.to_owned(), theme::small(), theme.muted);
    let size = galley.size();
    let at = pos2(left, frame.center().y + size.x / 2.0);
    let shape = eframe::epaint::TextShape::new(at, galley, theme.muted)
        .with_angle(-std::f32::consts::FRAC_PI_2);
    painter.add(shape);
}

/// Many rectangles at once.
pub fn rects(painter: &Painter, rects: impl IntoIterator<Item = (Rect, Color32)>) {
    let mut mesh = Mesh::default();
    for (rect, colour) in rects {
        mesh.add_colored_rect(rect, colour);
    }
    painter.add(Shape::mesh(mesh));
}

/// A text on a ground of its own, so that it can be read over a picture.
pub fn tag(painter: &Painter, theme: &Theme, (align, at): (Align2, [f32; 2]), text: &str) -> Rect {
    let colour = theme.text;
    let font: FontId = theme::small();
    let galley = painter.layout_no_wrap(text.to_owned(), font, colour);
    let rect = align.anchor_size(pos2(at[0], at[1]), galley.size());
    painter.rect_filled(rect.expand2(vec2(4.0, 1.0)), 3.0, theme.raised);
    painter.galley(rect.min, galley, colour);
    rect
}

/// A whole number with its thousands apart: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A part of a whole in percent, with as many digits as it needs; none is shown as all or nothing.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0 %".to_owned();
    }
    let percent = 100.0 * part as f64 / whole as f64;
    match percent {
        _ if part == 0 => "0 %".to_owned(),
        _ if part == whole => "100 %".to_owned(),
        ..0.001 => "< 0.001 %".to_owned(),
        ..0.1 => format!("{percent:.3} %"),
        ..10.0 => format!("{percent:.2} %"),
        ..99.9 => format!("{percent:.1} %"),
        ..99.999 => format!("{percent:.3} %"),
        _ => "> 99.999 %".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_numbers_are_inverse() {
        for is_log in [false, true] {
            let axis = Axis { low: 0.5, high: 64.0, ends: (300.0, 20.0), is_log };
            assert_eq!((axis.place(0.5), axis.place(64.0)), (300.0, 20.0));
            for number in [0.6, 1.0, 7.0, 63.0] {
                assert!((axis.number(axis.place(number)) / number - 1.0).abs() < 1e-3);
            }
        }
    }

    #[test]
    fn a_window_stays_within_the_whole() {
        let whole = (-1.0, 1.0);
        assert_eq!(within((-5.0, 0.0), whole), whole);
        assert_eq!(within((0.5, 1.5), whole), (0.0, 1.0));
        assert_eq!(within((f64::NAN, 1.0), whole), whole);
        let (low, high) = within((0.1, 0.1), whole);
        assert!((high - low - 2.0 / 4096.0).abs() < 1e-12);
    }

    #[test]
    fn numbers_are_told_so_that_nothing_is_hidden() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        let told = [(0, 9), (9, 9), (1, 1 << 30), (1, 3), ((1 << 30) - 1, 1 << 30)];
        let told = told.map(|(part, whole)| percent(part, whole));
        assert_eq!(told, ["0 %", "100 %", "< 0.001 %", "33.3 %", "> 99.999 %"]);
    }
}
