//! The plot: lines, points that can be clicked, and the threshold, which can be dragged.

use std::collections::BTreeSet;

use eframe::egui::{
    Color32, CornerRadius, CursorIcon, Key, Rangef, Rect, Response, Sense, Shape, Stroke, Ui,
    WidgetInfo, pos2,
};
use egui_plot::{
    AxisHints, GridInput, GridMark, LineStyle, Plot, PlotPoint, PlotPoints, PlotTransform,
};

use super::lines::{Point, Profile, rounded};
use crate::gui::theme::{self, Theme};
use crate::gui::views::map::tooltip_of;
use crate::gui::widgets::keep_arrows;
use crate::report::{Column, linear_ticks, log_ticks, tick_text};

/// A number as a place on the axis.
fn place(column: Column, number: f64) -> f64 {
    if column.is_magnitude() { number.log10() } else { number }
}

/// A place on the axis as a number.
fn number_at(column: Column, place: f64) -> f64 {
    if column.is_magnitude() { 10f64.powf(place) } else { place }
}

/// The colour of a line, and whether it is dashed to tell it from another of that colour.
pub fn look(theme: &Theme, line: usize) -> (Color32, bool) {
    let count = theme.series.len();
    (theme.series[line % count], (line / count) % 2 == 1)
}

/// Draws it. The names that were clicked.
pub fn plot_ui(
    ui: &mut Ui,
    profile: &Profile,
    column: Column,
    threshold: &mut f64,
    selection: &BTreeSet<String>,
) -> Option<BTreeSet<String>> {
    let theme = Theme::of(ui);
    let looks = |axis: AxisHints<'static>| {
        // Ticks are chosen so that labels have room; none is to fade.
        axis.tick_label_color(theme.muted)
            .tick_label_font(theme::small())
            .label_spacing(Rangef::new(4.0, 8.0))
    };
    let layers =
        AxisHints::new_x().label("layer").formatter(|mark, _| format!("{:.0}", mark.value));
    let layers = looks(layers);
    let numbers = AxisHints::new_y().label(column.title()).min_thickness(44.0);
    let numbers = looks(numbers.formatter(move |mark, _| tick_text(number_at(column, mark.value))));
    let plot = Plot::new(("profile", column))
        .allow_boxed_zoom(false)
        .allow_scroll(false)
        .show_x(false)
        .show_y(false)
        .custom_x_axes(vec![layers])
        .custom_y_axes(vec![numbers])
        .x_grid_spacer(|input: GridInput| layer_marks(input.bounds))
        .y_grid_spacer(move |input: GridInput| marks(column, input.bounds))
        .grid_color(theme.line)
        .grid_fade(0.0)
        .show_background(false)
        .label_formatter(|_| None);
    let shown = plot.show(ui, |plot| {
        for (i, line) in profile.lines.iter().enumerate().filter(|(_, line)| line.shown) {
            let (colour, dashed) = look(theme, i);
            let style = if dashed { LineStyle::dashed_dense() } else { LineStyle::Solid };
            for run in runs(column, &line.points) {
                let points = PlotPoints::from(run.clone());
                plot.line(
                    egui_plot::Line::new(line.name.as_str(), points)
                        .color(colour)
                        .width(1.5)
                        .style(style)
                        .allow_hover(false),
                );
                let points = egui_plot::Points::new(line.name.as_str(), PlotPoints::from(run));
                plot.points(points.color(colour).radius(2.5).allow_hover(false));
            }
        }
    });
    let transform = shown.transform;
    let said = profile.summary.text();
    shown.response.widget_info(|| WidgetInfo::labeled(eframe::egui::Role::Image, true, &said));
    let at = |point: &Point| {
        let y = place(column, point.number);
        transform.position_from_point(&PlotPoint::new(f64::from(point.layer), y))
    };
    let painter = ui.painter().with_clip_rect(*transform.frame());
    if !selection.is_empty() {
        for (_, point) in profile.shown_points() {
            let row = profile.row(point);
            if row.is_some_and(|row| profile.names(row).any(|name| selection.contains(name))) {
                painter.circle_stroke(at(point), 5.0, Stroke::new(1.5, theme.text));
            }
        }
    }
    let pointed = shown.response.hover_pos().and_then(|pointer| {
        let distance = |point: &Point| at(point).distance(pointer);
        let points = profile.shown_points().filter(|(_, point)| distance(point) < 12.0);
        points.min_by(|a, b| distance(a.1).total_cmp(&distance(b.1)))
    });
    let mut clicked = None;
    if let Some((line, point)) = pointed
        && let Some(row) = profile.row(point)
    {
        let (colour, _) = look(theme, line);
        painter.circle(at(point), 5.0, colour, Stroke::new(1.5, theme.text));
        if shown.response.clicked() {
            clicked = Some(profile.names(row).cloned().collect());
        }
        let response = shown.response.on_hover_cursor(CursorIcon::PointingHand);
        response.on_hover_ui_at_pointer(|ui| tooltip_of(ui, row));
    }
    threshold_ui(ui, &transform, column, threshold);
    clicked
}

/// The line that can be dragged, with its number.
fn threshold_ui(ui: &Ui, transform: &PlotTransform, column: Column, threshold: &mut f64) {
    let theme = Theme::of(ui);
    let frame = *transform.frame();
    // Out of sight it waits at the edge.
    let y_of = |number: f64| {
        let y = transform.position_from_point_y(place(column, number));
        if y.is_nan() { frame.bottom() } else { y.clamp(frame.top(), frame.bottom()) }
    };
    let y = y_of(*threshold);
    let rect = Rect::from_x_y_ranges(frame.x_range(), y - 4.0..=y + 4.0);
    let response = ui.interact(rect, ui.scope_id().with("threshold"), Sense::drag());
    let range = frame.y_range();
    if response.dragged()
        && let Some(pointer) = response.interact_pointer_pos()
    {
        let at = pos2(frame.left(), pointer.y.clamp(range.min, range.max));
        *threshold = rounded(number_at(column, transform.value_from_position(at).y), 3);
    }
    step(ui, &response, transform, column, threshold);
    let said = *threshold;
    response.widget_info(|| WidgetInfo::slider(true, said, "Threshold line"));

    let is_lit = response.hovered() || response.dragged() || response.has_focus();
    let (colour, width) = if is_lit { (theme.accent, 2.0) } else { (theme.text, 1.25) };
    let y = y_of(*threshold);
    let ends = [pos2(frame.left(), y), pos2(frame.right(), y)];
    let painter = ui.painter();
    painter.extend(Shape::dashed_line(&ends, Stroke::new(width, colour), 6.0, 4.0));
    let text = format!("threshold {}", column.shown(*threshold));
    let galley = painter.layout_no_wrap(text, theme::small(), colour);
    let corner = pos2(frame.right() - galley.size().x - 14.0, y - galley.size().y / 2.0);
    let pill = Rect::from_min_size(corner, galley.size()).expand2(eframe::egui::vec2(6.0, 2.0));
    painter.rect(
        pill,
        CornerRadius::same(4),
        theme.raised,
        Stroke::new(1.0, colour),
        eframe::egui::StrokeKind::Inside,
    );
    painter.galley(corner, galley, colour);
    response.on_hover_and_drag_cursor(CursorIcon::ResizeVertical);
}

/// Moves the threshold by keys, a hundredth of what is in sight at a time.
fn step(
    ui: &Ui,
    response: &Response,
    transform: &PlotTransform,
    column: Column,
    threshold: &mut f64,
) {
    if !response.has_focus() {
        return;
    }
    keep_arrows(ui, response.id, false);
    let presses = |key| ui.input(|input| input.num_presses(key)) as f64;
    let steps = presses(Key::ArrowUp) - presses(Key::ArrowDown);
    if steps != 0.0 {
        let step = transform.bounds().height() / 100.0;
        *threshold = rounded(number_at(column, place(column, *threshold) + steps * step), 3);
    }
}

/// Points that follow each other and can be shown: zeros have no place on a logarithmic axis.
fn runs(column: Column, points: &[Point]) -> Vec<Vec<[f64; 2]>> {
    let all = points.iter().map(|point| [f64::from(point.layer), place(column, point.number)]);
    let all: Vec<[f64; 2]> = all.collect();
    all.split(|point| !point[1].is_finite())
        .filter(|run| !run.is_empty())
        .map(<[[f64; 2]]>::to_vec)
        .collect()
}

/// Ticks of the numbers' axis. All are of one strength: there are few, and all have labels.
fn marks(column: Column, (low, high): (f64, f64)) -> Vec<GridMark> {
    let ticks = match column.is_magnitude() {
        true => log_ticks(number_at(column, low), number_at(column, high)),
        false => linear_ticks(low, high),
    };
    let step_size = (high - low) / 6.0;
    let mark = |tick| GridMark { value: place(column, tick), step_size };
    ticks.into_iter().map(mark).collect()
}

/// Ticks at whole layers.
fn layer_marks((low, high): (f64, f64)) -> Vec<GridMark> {
    let ticks = linear_ticks(low, high);
    let whole = ticks.into_iter().filter(|layer| layer.fract() == 0.0 && *layer >= 0.0);
    whole.map(|value| GridMark { value, step_size: (high - low) / 8.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_broken_where_a_number_has_no_place() {
        let point = |layer, number| Point { layer, number, cell: (0, 0) };
        let points = [point(0, 1.0), point(1, 10.0), point(2, 0.0), point(3, 100.0)];
        let expected = vec![vec![[0.0, 0.0], [1.0, 1.0]], vec![[3.0, 2.0]]];
        assert_eq!(runs(Column::Amax, &points), expected);
        assert_eq!(runs(Column::Sqnr, &points).len(), 1);
    }

    #[test]
    fn ticks_of_layers_are_whole() {
        let layers: Vec<f64> = layer_marks((-0.2, 3.2)).iter().map(|mark| mark.value).collect();
        assert_eq!(layers, [0.0, 1.0, 2.0, 3.0]);
    }
}
