//! Two lines: weights above, marks below, and an arrow from each weight to the mark it becomes.

use eframe::egui::{
    Align2, FontId, Painter, Rect, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2,
};

use super::super::colours;
use crate::gui::theme::{self, Theme};
use crate::inspect::{Ruler, Tick, Tie};
use crate::units::significant;

/// What is drawn.
pub struct Line<'a> {
    /// Marks and weights.
    pub ruler: &'a Ruler,
    /// Number of the weight that is looked at.
    pub chosen: usize,
    /// Height that there is.
    pub height: f32,
}

/// A part of the line, in values, and where it is drawn.
struct Place {
    rect: Rect,
    low: f64,
    high: f64,
}

impl Place {
    fn x(&self, value: f64) -> f32 {
        let t = (value - self.low) / (self.high - self.low);
        self.rect.left() + (t * f64::from(self.rect.width())) as f32
    }

    fn value(&self, x: f32) -> f64 {
        let t = f64::from((x - self.rect.left()) / self.rect.width());
        self.low + t * (self.high - self.low)
    }
}

/// Draws it; the weight that was clicked. Scrolling zooms `window`, dragging moves it.
pub fn line_ui(ui: &mut Ui, line: &Line<'_>, window: &mut Option<(f64, f64)>) -> Option<usize> {
    let size = vec2(ui.available_width(), line.height.clamp(120.0, 600.0));
    let (rect, response) = ui.allocate_exact_size(size, Sense::click_and_drag());
    let ruler = line.ruler;
    let (low, high) = window.unwrap_or_else(|| extent(ruler));
    let mut place = Place { rect: rect.shrink2(vec2(28.0, 0.0)), low, high };
    if response.double_clicked() {
        *window = None;
    } else {
        let scroll = ui.input(|input| input.smooth_scroll_delta().y);
        if let Some(pointer) = response.hover_pos().filter(|_| scroll != 0.0) {
            let at = place.value(pointer.x);
            let factor = f64::from(-scroll / 240.0).exp();
            *window = Some((at + (low - at) * factor, at + (high - at) * factor));
        }
        let moved = response.drag_delta().x;
        if moved != 0.0 {
            let by = f64::from(-moved / place.rect.width()) * (high - low);
            *window = Some((low + by, high + by));
        }
    }
    (place.low, place.high) = window.unwrap_or((low, high));
    let painter = ui.painter().with_clip_rect(rect);
    let theme = Theme::of(ui);
    marks_ui(&painter, theme, &place, ruler);
    weights_ui(&painter, theme, &place, line);

    let said = said(ruler, line.chosen);
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &said));
    let pointed = response.hover_pos().and_then(|pointer| {
        let distance = |tick: &Tick| (place.x(tick.weight.into()) - pointer.x).abs();
        let near = ruler.ticks.iter().enumerate().filter(|(_, tick)| distance(tick) < 8.0);
        near.min_by(|a, b| distance(a.1).total_cmp(&distance(b.1))).map(|(i, _)| i)
    });
    let clicked = pointed.filter(|_| response.clicked());
    if let Some(index) = pointed {
        let text = self::said(ruler, index);
        response.on_hover_ui_at_pointer(|ui| {
            ui.label(text);
        });
    }
    clicked
}

/// All that there is to see: marks and weights, and some room.
fn extent(ruler: &Ruler) -> (f64, f64) {
    let weights = ruler.ticks.iter().map(|tick| f64::from(tick.weight));
    let all = ruler.marks.iter().map(|mark| f64::from(mark.value)).chain(weights);
    let (low, high) = all
        .filter(|value| value.is_finite())
        .fold((0f64, 0f64), |(low, high), value| (low.min(value), high.max(value)));
    if low == high { (-1.0, 1.0) } else { (low, high) }
}

/// The lower line: marks, what they are, and tie points between them.
fn marks_ui(painter: &Painter, theme: &Theme, place: &Place, ruler: &Ruler) {
    let (top, bottom) = (place.rect.top() + 42.0, place.rect.bottom() - 46.0);
    let small = theme::small();
    let dense = ruler.marks.len() as f32 * 34.0 > place.rect.width();
    let stroke = Stroke::new(1.0, theme.line);
    painter
        .line_segment([pos2(place.rect.left(), bottom), pos2(place.rect.right(), bottom)], stroke);
    painter.line_segment([pos2(place.rect.left(), top), pos2(place.rect.right(), top)], stroke);
    let shown_width = (place.high - place.low) / f64::from(place.rect.width());
    for &tie in &ruler.ties {
        let x = place.x(tie);
        for step in 0..((bottom - top) / 8.0) as usize {
            let y = top + 8.0 * step as f32;
            if !dense || shown_width * 6.0 < f64::from(ruler.scale.step) {
                painter.line_segment([pos2(x, y), pos2(x, y + 3.0)], Stroke::new(1.0, theme.line));
            }
        }
    }
    let most = ruler.marks.iter().map(|mark| mark.weights).max().unwrap_or(0).max(1);
    let mut last_label = f32::NEG_INFINITY;
    for mark in &ruler.marks {
        let x = place.x(mark.value.into());
        let used = mark.weights > 0;
        let colour = if used { theme.text } else { theme.muted };
        let height = 8.0 + 10.0 * mark.weights as f32 / most as f32;
        let width = if used { 2.5 } else { 1.0 };
        painter
            .line_segment([pos2(x, bottom), pos2(x, bottom + height)], Stroke::new(width, colour));
        // Of both zeros one is shown.
        let text = format!("{}", mark.number + 0.0);
        let room = 7.0 * text.len() as f32 + 6.0;
        if x - last_label > room {
            let at = pos2(x, bottom + 20.0);
            painter.text(at, Align2::CENTER_TOP, text, FontId::monospace(11.0), colour);
            let value = significant(mark.value.into());
            if !dense && x - last_label > 7.0 * value.len() as f32 {
                painter.text(
                    at + vec2(0.0, 13.0),
                    Align2::CENTER_TOP,
                    value,
                    small.clone(),
                    theme.muted,
                );
            }
            last_label = x;
        }
    }
    let text =
        format!("above: weights; below: {} codes × step; dotted: tie points", ruler.codec.name());
    painter.text(pos2(place.rect.right(), top - 40.0), Align2::RIGHT_TOP, text, small, theme.muted);
}

/// The upper line: weights, and arrows to their marks.
fn weights_ui(painter: &Painter, theme: &Theme, place: &Place, line: &Line<'_>) {
    let (top, bottom) = (place.rect.top() + 42.0, place.rect.bottom() - 46.0);
    let largest = line.ruler.marks.iter().map(|mark| mark.value.abs()).fold(0.0, f32::max);
    // Where something is written already: signs that lie close share one text.
    let mut written: Vec<f32> = Vec::new();
    let write = |written: &mut Vec<f32>, at: eframe::egui::Pos2, text: &str, colour| {
        if written.iter().all(|x| (x - at.x).abs() > 52.0) {
            let foot = at - vec2(0.0, 9.0);
            painter.text(foot, Align2::CENTER_BOTTOM, text, theme::small(), colour);
            written.push(at.x);
        }
    };
    let is_tie = |i: &usize| line.ruler.ticks.get(*i).is_some_and(|tick| tick.tie == Tie::On);
    let all = || (0..line.ruler.ticks.len()).filter(|i| *i != line.chosen);
    // Exact ties first, so that their texts have room; the chosen one last, above all.
    let order = all().filter(is_tie).chain(all().filter(|i| !is_tie(i))).chain([line.chosen]);
    for index in order {
        let Some(tick) = line.ruler.ticks.get(index) else { continue };
        let is_chosen = index == line.chosen;
        let colour = if is_chosen { theme.accent } else { theme.muted };
        let width = if is_chosen { 2.5 } else { 1.2 };
        let from = pos2(place.x(tick.weight.into()), top);
        let to = pos2(place.x(tick.value.into()), bottom);
        painter.line_segment([from - vec2(0.0, 7.0), from], Stroke::new(width, colour));
        let stroke = Stroke::new(width, colour);
        painter.line_segment([from, to], stroke);
        let direction = (to - from).normalized();
        for side in [0.45f32, -0.45] {
            let wing = eframe::emath::Rot2::from_angle(std::f32::consts::PI + side) * direction;
            painter.line_segment([to, to + wing * 7.0], stroke);
        }
        let dot = colours::value(tick.weight, largest);
        match tick.tie {
            Tie::No => {
                painter.circle(from, 3.5, dot, Stroke::new(1.0, theme.muted));
            }
            Tie::Near | Tie::On => {
                let sign = if tick.tie == Tie::On { theme.bad } else { theme.warn };
                let corners = [vec2(0.0, -6.0), vec2(6.0, 0.0), vec2(0.0, 6.0), vec2(-6.0, 0.0)];
                let corners = corners.map(|corner| from + corner).to_vec();
                painter.add(eframe::egui::Shape::convex_polygon(corners, sign, Stroke::NONE));
                let text = if tick.tie == Tie::On { "tie" } else { "near tie" };
                write(&mut written, from, text, sign);
            }
            Tie::Beyond => {
                painter.circle_filled(from, 3.5, theme.bad);
                write(&mut written, from, "clipped", theme.bad);
            }
        }
    }
}

/// What a weight on the line is, in a sentence.
fn said(ruler: &Ruler, index: usize) -> String {
    let Some(tick) = ruler.ticks.get(index) else { return "no weight".to_owned() };
    let digits = usize::from(ruler.codec.bits());
    let tie = match tick.tie {
        Tie::On => ", exactly on a tie point",
        Tie::Near => ", near a tie point",
        Tie::Beyond => ", beyond the last mark",
        Tie::No => "",
    };
    let Tick { weight, code, value, .. } = tick;
    format!("weight {weight} becomes {value}, code {code:0digits$b}{tie}")
}
