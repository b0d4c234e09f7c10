//! All sizes there could be, and the least error of each.

use eframe::egui::{Align2, Pos2, Rangef, Rect, Role, Sense, Stroke, Ui, Vec2, WidgetInfo, vec2};
use egui_plot::{AxisHints, GridInput, GridMark, Line, Plot, PlotPoint, PlotPoints, Points};

use super::sheet::Sheet;
use crate::format::Format;
use crate::gui::theme::{self, Theme};
use crate::inspect::FrontierPoint;
use crate::report::linear_ticks;

const MIB: f64 = 1024.0 * 1024.0;

/// Draws it; the point that is chosen is changed by a click.
pub fn plot_ui(ui: &mut Ui, sheet: &Sheet, chosen: &mut Option<usize>) {
    let (theme, frontier) = (Theme::of(ui), &sheet.frontier);
    let unit = unit(frontier.points.last().map_or(0, |point| point.bytes));
    let place = |point: &FrontierPoint| {
        let ratio = frontier.sqnr_db(point).filter(|ratio| ratio.is_finite())?;
        Some([point.bytes as f64 / unit.0, ratio])
    };
    let looks = |axis: AxisHints<'static>| {
        axis.tick_label_color(theme.muted)
            .tick_label_font(theme::small())
            .label_spacing(Rangef::new(4.0, 8.0))
    };
    let x = looks(AxisHints::new_x().label(format!("size of these tensors, {}", unit.1)));
    let y = looks(AxisHints::new_y().label("signal to noise, dB").min_thickness(40.0));
    let marks = |input: GridInput| {
        let (low, high) = input.bounds;
        let ticks = linear_ticks(low, high).into_iter();
        ticks.map(|value| GridMark { value, step_size: (high - low) / 6.0 }).collect()
    };
    let plot = Plot::new("frontier")
        .allow_boxed_zoom(false)
        .allow_scroll(false)
        .show_x(false)
        .show_y(false)
        .custom_x_axes(vec![x.formatter(|mark, _| crate::report::tick_text(mark.value))])
        .custom_y_axes(vec![y.formatter(|mark, _| crate::report::tick_text(mark.value))])
        .x_grid_spacer(marks)
        .y_grid_spacer(marks)
        .grid_color(theme.line)
        .grid_fade(0.0)
        .show_background(false)
        .label_formatter(|_| None)
        .include_y(0.0);
    let line: Vec<[f64; 2]> = frontier.points.iter().filter_map(place).collect();
    let shown = plot.show(ui, |plot| {
        let points = PlotPoints::from(line.clone());
        let own = Line::new("best", points).color(theme.good).width(2.0).allow_hover(false);
        plot.line(own);
        let points = Points::new("best", PlotPoints::from(line)).color(theme.good).radius(2.0);
        plot.points(points.allow_hover(false));
        let alone: Vec<[f64; 2]> = sheet.alone.iter().filter_map(|(_, p)| place(p)).collect();
        let points = Points::new("alone", PlotPoints::from(alone)).color(theme.series[0]);
        plot.points(points.radius(4.0).allow_hover(false));
    });
    let said = format!("Size against error of {}. {}", sheet.frontier.tensors.len(), sheet.said());
    shown.response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &said));
    let transform = shown.transform;
    let at = |point: &FrontierPoint| {
        let [x, y] = place(point)?;
        Some(transform.position_from_point(&PlotPoint::new(x, y)))
    };
    let painter = ui.painter().with_clip_rect(*transform.frame());
    // Names that would lie on others, or on points, are left out; pointing at a point tells its name.
    let mut taken: Vec<Rect> = Vec::new();
    if let Some(at) = frontier.current.as_ref().and_then(at) {
        painter.circle(at, 7.0, theme.accent, Stroke::new(2.0, theme.ground));
        let (font, foot) = (theme::strong(), at + vec2(10.0, 3.0));
        taken.push(Rect::from_center_size(at, Vec2::splat(16.0)));
        taken.push(painter.text(foot, Align2::LEFT_TOP, "the plan", font, theme.accent));
    }
    taken.extend(sheet.alone.iter().filter_map(|(_, point)| at(point)).map(dot));
    taken.extend(frontier.points.iter().filter_map(at).map(dot));
    for (format, point) in &sheet.alone {
        let Some(at) = at(point) else { continue };
        let text = format.map_or("float", Format::name).to_owned();
        let galley = painter.layout_no_wrap(text, theme::small(), theme.muted);
        let right = Align2::LEFT_TOP.anchor_size(at + vec2(6.0, 2.0), galley.size());
        let left = Align2::RIGHT_TOP.anchor_size(at + vec2(-6.0, 2.0), galley.size());
        let above = Align2::RIGHT_BOTTOM.anchor_size(at + vec2(-6.0, -2.0), galley.size());
        let is_free = |rect: &Rect| {
            transform.frame().contains_rect(*rect)
                && taken.iter().all(|other| !other.intersects(*rect))
        };
        if let Some(rect) = [right, left, above].into_iter().find(is_free) {
            painter.galley(rect.min, galley, theme.muted);
            taken.push(rect);
        }
    }
    if let Some(point) = chosen.and_then(|index| frontier.points.get(index)).and_then(at) {
        painter.circle_stroke(point, 6.0, Stroke::new(2.0, theme.text));
    }
    let response = shown.response;
    let response = response.interact(Sense::click());
    let Some(pointer) = response.hover_pos() else { return };
    let alone = sheet.alone.iter().filter_map(|(format, point)| {
        let far = at(point)?.distance(pointer);
        (far < 8.0).then_some((format, point, far))
    });
    if let Some((format, point, _)) = alone.min_by(|a, b| a.2.total_cmp(&b.2)) {
        let name = format.map_or("float", Format::name);
        let text = format!("All in {name}: {}", sheet.point_said(point));
        response.on_hover_ui_at_pointer(|ui| {
            ui.label(text);
        });
        return;
    }
    let near = frontier
        .points
        .iter()
        .enumerate()
        .filter_map(|(index, point)| Some((index, point, at(point)?.distance(pointer))));
    let near = near.min_by(|a, b| a.2.total_cmp(&b.2)).filter(|(.., far)| *far < 24.0);
    let Some((index, point, _)) = near else { return };
    if response.clicked() {
        *chosen = Some(index);
    }
    let of = point.upgrade.and_then(|upgrade| {
        let tensor = frontier.tensors.get(upgrade.tensor)?;
        Some(format!("\nhere {tensor} becomes {}", upgrade.format.map_or("float", Format::name)))
    });
    let text = format!(
        "The best of {}{}\nClick to choose it",
        sheet.point_said(point),
        of.unwrap_or_default()
    );
    response.on_hover_ui_at_pointer(|ui| {
        ui.label(text);
    });
}

/// The place of a point, which names keep clear of.
fn dot(at: Pos2) -> Rect {
    Rect::from_center_size(at, Vec2::splat(5.0))
}

/// The unit of sizes that numbers of few digits come out in.
fn unit(largest: u64) -> (f64, &'static str) {
    match largest {
        n if n >= 4 << 30 => (MIB * 1024.0, "GiB"),
        n if n >= 4 << 20 => (MIB, "MiB"),
        _ => (1024.0, "KiB"),
    }
}
