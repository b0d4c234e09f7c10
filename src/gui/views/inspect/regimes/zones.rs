//! Where scales change their kind: shaded, and named above the picture, with the part of blocks that is there.

use eframe::egui::{Color32, Painter, Rect, Stroke, pos2};

use super::super::axes::{Axis, percent};
use crate::gui::theme::{self, Theme};
use crate::inspect::{Regime, Regimes};

/// Room above the picture for names.
pub const ABOVE: f32 = 34.0;

fn colour(theme: &Theme, regime: Regime) -> Color32 {
    match regime {
        Regime::Largest => theme.series[0],
        Regime::Normal => theme.good,
        Regime::Subnormal => theme.warn,
        Regime::Smallest => theme.bad,
        Regime::OfZeros => theme.muted,
    }
}

/// What a regime is called in the picture: with how precise its scales are.
const fn name(regime: Regime) -> &'static str {
    match regime {
        Regime::Largest => "largest scale",
        Regime::Normal => "normal scales: 4 bits of precision",
        Regime::Subnormal => "subnormal: 3 to 1 bits",
        Regime::Smallest => "smallest scale",
        Regime::OfZeros => "all zeros",
    }
}

/// Draws them.
pub fn zones_ui(painter: &Painter, theme: &Theme, regimes: &Regimes, (x, frame): (&Axis, Rect)) {
    let mut from = 1.0;
    let mut ends = [f32::NEG_INFINITY; 2];
    for boundary in &regimes.boundaries {
        let (start, to) = (from, boundary.to);
        from = to;
        let left = x.place(start).max(frame.left());
        let right = if to.is_finite() { x.place(to) } else { frame.right() }.min(frame.right());
        if right <= left {
            continue;
        }
        let colour = colour(theme, boundary.regime);
        let zone = Rect::from_x_y_ranges(left..=right, frame.y_range());
        painter.rect_filled(zone, 0.0, colour.gamma_multiply(0.09));
        let stroke = Stroke::new(1.0, colour.gamma_multiply(0.55));
        painter.vline(right, frame.y_range(), stroke);
        let points = regimes.points.iter();
        let own = points.filter(|point| regimes.regime_of(point.x) == Some(boundary.regime));
        let (own, all) = (own.count() as u64, regimes.points.len() as u64);
        let share = percent(own, all);
        // Shares are those of the points.
        let about = if regimes.every > 1 { "≈ " } else { "" };
        let text = format!("{} · {about}{share}", name(boundary.regime));
        let galley = painter.layout_no_wrap(text, theme::small(), colour);
        let width = galley.size().x;
        let text_left = (left + 3.0).min(frame.right() - width);
        // Narrow ones are named in a line of their own, or not at all.
        let fits = |line: usize| text_left > ends[line] + 10.0;
        let line = if width < right - left && fits(1) { 1 } else { 0 };
        let bar = Rect::from_x_y_ranges(left..=right, frame.top() - 2.0..=frame.top());
        painter.rect_filled(bar, 0.0, colour);
        if fits(line) {
            ends[line] = text_left + width;
            let y = frame.top() - 18.0 - if line == 0 { 15.0 } else { 0.0 };
            painter.galley(pos2(text_left, y), galley, colour);
            if line == 0 {
                let middle = f32::midpoint(left, right).min(left + 8.0);
                painter.vline(middle, y + 13.0..=frame.top() - 2.0, stroke);
            }
        }
    }
}
