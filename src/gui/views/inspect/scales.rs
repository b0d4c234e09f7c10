//! Every scale of a tensor as a map.

use std::sync::Arc;

use eframe::egui::{CentralPanel, Color32, Frame, Margin, Panel, RichText, ScrollArea, Ui};

use super::heat::{Heat, HeatView, Window};
use super::pane::At;
use super::scale_counts;
use crate::format::Scope;
use crate::gui::session::Facts;
use crate::gui::theme::{self, Theme};
use crate::gui::views::View;
use crate::gui::widgets::{caption, heading, swatch};
use crate::inspect::{Level, ScaleClass, ScaleMap, Scales};
use crate::units::{count, significant};

/// How it is seen.
#[derive(Clone, Default)]
pub struct ScalesView {
    pub heat: HeatView,
}

/// A map with all that is smaller.
type Maps = (ScaleMap, Vec<Level>);

/// Draws it.
pub fn scales_ui(ui: &mut Ui, at: &mut At<'_>) {
    super::walk_by_keys(ui, at);
    let backend = at.lens.backend();
    let shown = at.load(
        |inspection| &mut inspection.scales,
        "scales",
        move |reader, cancel| {
            let map = ScaleMap::of(reader, cancel)?;
            let levels = map.mips(backend.as_ref())?;
            Ok((map, levels))
        },
    );
    let Some(maps) = at.shown(ui, &shown) else { return };
    let ground = Frame::NONE.fill(Theme::of(ui).ground);
    let id = ui.scope_id();
    let panel = Panel::right(id.with("scales")).default_size(300.0).size_range(220.0..=460.0);
    panel.frame(ground.inner_margin(Margin { left: 12, ..Margin::ZERO })).show(ui, |ui| {
        ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| facts_ui(ui, at, &maps.0));
    });
    CentralPanel::default().frame(ground).show(ui, |ui| map_ui(ui, at, &maps));
}

fn map_ui(ui: &mut Ui, at: &mut At<'_>, maps: &Arc<Maps>) {
    let map = &maps.0;
    let said = said(map);
    caption(ui, &said);
    legend_ui(ui, map);
    let place = place_of(map, &at.facts, at.inspection.focus.row, at.inspection.focus.column);
    let heat = Heat {
        rows: map.rows,
        columns: map.columns,
        key: at.lens.key("scales"),
        chosen: place,
        marked: &map.bad_places,
        said: &said,
        height: ui.available_height() - 132.0,
    };
    let (painted, theme) = (Arc::clone(maps), *Theme::of(ui));
    let paint = move |window: &Window| paint(&painted, window, &theme);
    let (seen, response) = at.pane.scales.heat.show(ui, at.notify, &heat, paint);
    if let Some((row, column)) = seen.hovered {
        let index = (row * map.columns + column) as usize;
        let text = format!(
            "scale {row},{column}: {} = {:#04x}, {}. Click to look at its block",
            map.value(index),
            map.code(index),
            map.class(index).name()
        );
        response.on_hover_ui_at_pointer(|ui| {
            ui.label(text);
        });
    }
    if let Some(place) = seen.clicked {
        go_to(at, map, place);
    }
    scale_counts::counts_ui(ui, map, 84.0);
    caption(ui, &at.stamp());
}

/// The scale of a weight.
fn place_of(map: &ScaleMap, facts: &Facts, row: u64, column: usize) -> (u64, u64) {
    let index = map.scope.index(row as usize, column, facts.columns) as u64;
    (index / map.columns.max(1), index % map.columns.max(1))
}

/// Goes to the first weight of a scale, and its block's largest.
fn go_to(at: &mut At<'_>, map: &ScaleMap, (row, column): (u64, u64)) {
    let columns = at.facts.columns;
    let first = map.scope.first((row * map.columns + column) as usize, columns);
    let focus = &mut at.inspection.focus;
    (focus.row, focus.column) = ((first / columns.max(1)) as u64, first % columns.max(1));
    at.pane.to_amax = true;
}

/// What there is to say of all scales, in a sentence.
fn said(map: &ScaleMap) -> String {
    let scope = match map.scope {
        Scope::Tensor => "one for the tensor".to_owned(),
        Scope::Row => "one a row".to_owned(),
        Scope::Group(len) => format!("one for {len} weights of a row"),
        Scope::Tile(len) => format!("one for {len}×{len} weights"),
    };
    let range = map.range.map_or(String::new(), |(min, max)| {
        format!(", from {} to {}", significant(min.into()), significant(max.into()))
    });
    let bad = match map.bad {
        0 => String::new(),
        bad => format!(". {} that no reader expects", count(bad, "scale")),
    };
    format!("{} {} scales, {scope}{range}{bad}", map.len(), map.codec.name())
}

fn legend_ui(ui: &mut Ui, map: &ScaleMap) {
    let theme = Theme::of(ui);
    ui.horizontal_wrapped(|ui| {
        let small = |text: String| RichText::new(text).font(theme::small()).color(theme.muted);
        let (low, high) = ends(map);
        ui.label(small(format!("≤ {}", significant(low.into()))));
        for step in 0..12 {
            ui.spacing_mut().item_spacing.x = 0.0;
            swatch(ui, Theme::magnitude(step as f32 / 11.0));
        }
        ui.spacing_mut().item_spacing.x = 8.0;
        ui.label(small(format!("  ≥ {}, by powers of two", significant(high.into()))));
        for (class, counted) in ScaleClass::ALL.iter().zip(map.counts).skip(1) {
            if counted > 0
                && let Some(colour) = class_colour(theme, *class)
            {
                swatch(ui, colour);
                ui.label(small(format!("{counted} {}", class.name())));
            }
        }
    });
}

/// The colour of scales that are not what most are.
pub fn class_colour(theme: &Theme, class: ScaleClass) -> Option<Color32> {
    match class {
        ScaleClass::Normal | ScaleClass::Largest => None,
        ScaleClass::Subnormal => Some(theme.series[4]),
        ScaleClass::Zero => Some(theme.muted),
        ScaleClass::Negative | ScaleClass::Infinite | ScaleClass::NaN => Some(theme.bad),
    }
}

/// Scales that the darkest and the brightest colour stand for: all but one in a hundred lie between them, so
/// that a few extreme ones do not leave the rest without contrast.
fn ends(map: &ScaleMap) -> (f32, f32) {
    let (smallest, largest) = map.range.unwrap_or((1.0, 1.0));
    let value = |bin: usize| match map.scales {
        Scales::Bytes(_) => map.codec.value(bin as u32),
        Scales::Floats(_) => f32::from_bits((bin as u32) << 23),
    };
    let sound = |bin: &usize| value(*bin).is_finite() && value(*bin) > 0.0;
    let total: u64 = (0..map.histogram.len()).filter(sound).map(|bin| map.histogram[bin]).sum();
    let (mut below, mut low, mut high) = (0, smallest, largest);
    for bin in (0..map.histogram.len()).filter(sound) {
        if below * 200 <= total {
            low = value(bin).max(smallest);
        }
        below += map.histogram[bin];
        if below * 200 <= total * 199 {
            high = value(bin + 1).min(largest);
        }
    }
    (low, high.max(low))
}

/// The colours of a window: of what a texel stands for the worst, else the largest.
fn paint(maps: &Maps, window: &Window, theme: &Theme) -> Vec<Color32> {
    let (map, levels) = maps;
    let (low, high) = ends(map);
    let (low, high) = (low.log2(), high.log2().max(low.log2() + 1e-3));
    let colour = |max: f32, worst: ScaleClass| {
        let t = (max.log2() - low) / (high - low);
        class_colour(theme, worst).unwrap_or_else(|| Theme::magnitude(t))
    };
    let mut pixels = Vec::with_capacity(window.texels[0] * window.texels[1]);
    for y in 0..window.texels[1] {
        let rows = window.rows_of(y);
        for x in 0..window.texels[0] {
            let columns = window.columns_of(x);
            let least = (rows.end - rows.start).min(columns.end - columns.start);
            // The coarsest level whose cells are no larger than the texel.
            let level = (least.ilog2() as usize).min(levels.len());
            let scale = 1u64 << level;
            let mut worst = ScaleClass::Normal;
            let mut largest = 0f32;
            for row in rows.start / scale..rows.end.div_ceil(scale) {
                for column in columns.start / scale..columns.end.div_ceil(scale) {
                    let (class, max) = match level.checked_sub(1).map(|n| &levels[n]) {
                        None => {
                            let index = (row * map.columns + column) as usize;
                            (map.class(index), map.value(index).abs())
                        }
                        Some(level) => {
                            let index = (row * level.columns + column) as usize;
                            (level.worst(index), level.max(index))
                        }
                    };
                    worst = worst.max(class);
                    largest = largest.max(max);
                }
            }
            pixels.push(colour(largest, worst));
        }
    }
    pixels
}

/// What kinds of scales there are, and where the bad ones are.
fn facts_ui(ui: &mut Ui, at: &mut At<'_>, map: &ScaleMap) {
    heading(ui, "Scales");
    let theme = Theme::of(ui);
    for (class, counted) in ScaleClass::ALL.into_iter().zip(map.counts) {
        let share = 100.0 * counted as f64 / map.len().max(1) as f64;
        ui.horizontal(|ui| {
            swatch(ui, class_colour(theme, class).unwrap_or(Theme::magnitude(0.7)));
            ui.label(class.name()).on_hover_text(meaning(class));
            ui.label(RichText::new(counted.to_string()).monospace());
            if counted > 0 && counted < map.len() as u64 {
                ui.weak(format!("{} %", significant(share)));
            }
        });
    }
    ui.add_space(6.0);
    if map.bad_places.is_empty() {
        ui.label(RichText::new("All scales are what readers expect.").color(theme.good));
        return;
    }
    heading(ui, "Scales to look at");
    let mut clicked = None;
    for &(row, column) in map.bad_places.iter().take(50) {
        let index = (row * map.columns + column) as usize;
        let text = format!("{row},{column}: {}", map.class(index).name());
        if ui.button(text).on_hover_text("Look at this block in the microscope").clicked() {
            clicked = Some((row, column));
        }
    }
    if let Some(place) = clicked {
        go_to(at, map, place);
        at.asked.view = Some(View::Microscope);
    }
}

/// What a kind of scale means.
const fn meaning(class: ScaleClass) -> &'static str {
    match class {
        ScaleClass::Normal => "With all bits of precision",
        ScaleClass::Largest => {
            "The largest that the type has: of the block with the tensor's amax, or clipped"
        }
        ScaleClass::Subnormal => "So small that bits of precision are lost",
        ScaleClass::Zero => "All of the block reads as zero",
        ScaleClass::Negative => "Below zero where scales have no sign",
        ScaleClass::Infinite => "All of the block is lost",
        ScaleClass::NaN => "All of the block reads as NaN",
    }
}
