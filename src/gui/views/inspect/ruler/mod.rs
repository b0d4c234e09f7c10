//! The numbers that a block can have as marks on a line, with its weights above, and what another scale or
//! another length of the block would do.

mod line;

use eframe::egui::{RichText, Slider, Ui};

pub use line::{Line, line_ui};

use super::pane::At;
use crate::gui::theme::{self, Theme};
use crate::gui::widgets::{caption, segments};
use crate::inspect::{Block, BlockScale, Class, Codec, Ruler, Sheet, Tie};
use crate::units::{count, significant};

/// Where the sliders are.
#[derive(Debug, Clone, Default)]
pub struct RulerView {
    /// The block that they were moved for.
    of: (u64, usize),
    /// Bits of another scale.
    scale: Option<u32>,
    /// Another length of the block.
    len: Option<usize>,
    /// The part of the line that is shown, as marks have values.
    pub window: Option<(f64, f64)>,
}

/// Lengths that a block can be tried out with.
const LENGTHS: [usize; 6] = [8, 16, 32, 64, 128, 256];

/// Draws it.
pub fn ruler_ui(ui: &mut Ui, at: &mut At<'_>) {
    super::walk_by_keys(ui, at);
    let Some((block, index)) = at.block(ui) else { return };
    let Some(sheet) = at.sheet(ui) else { return };
    let Some(weights) = block.weights() else {
        ui.label("Only codes are stored here, and not the weights they were made of.");
        return;
    };
    let view = &mut at.pane.ruler;
    let place = (block.rows.start, block.columns.start);
    if view.of != place {
        *view = RulerView { of: place, ..RulerView::default() };
    }
    let real = Ruler::new(&block.coder, block.scale, &weights);
    let tried = sliders_ui(ui, view, &block, &sheet);
    let (scale, weights, index) = match tried {
        Some((scale, weights, shift)) => (scale, weights, index + shift),
        None => (block.scale, weights, index),
    };
    let ruler = Ruler::new(&block.coder, scale, &weights);
    said_ui(ui, &ruler, &real, view.scale.is_some() || view.len.is_some());
    let stamp = at.stamp();
    let view = &mut at.pane.ruler;
    let line = Line { ruler: &ruler, chosen: index, height: ui.available_height() - 24.0 };
    let clicked = line_ui(ui, &line, &mut view.window);
    if let Some(cell) = clicked.filter(|_| view.len.is_none()).and_then(|i| block.cells.get(i)) {
        (at.inspection.focus.row, at.inspection.focus.column) = (cell.row, cell.column);
    }
    caption(ui, &stamp);
}

/// The sliders; the scale, the weights under it, and how many come before the block, where they are moved.
fn sliders_ui(
    ui: &mut Ui,
    view: &mut RulerView,
    block: &Block,
    sheet: &Sheet,
) -> Option<(BlockScale, Vec<f32>, usize)> {
    let mut lengthened = None;
    ui.horizontal_wrapped(|ui| {
        if block.tile.is_block && block.tile.rows == 1 {
            ui.label("Block length");
            let own = block.columns.len();
            let choices: Vec<(usize, String)> = LENGTHS.map(|len| (len, len.to_string())).into();
            let choices: Vec<(usize, &str, &str)> = choices
                .iter()
                .map(|(len, text)| (*len, text.as_str(), "Weights that share a scale"))
                .collect();
            if let Some(len) = segments(ui, "Block length", &choices, view.len.unwrap_or(own)) {
                view.len = (len != own).then_some(len);
                view.scale = None;
            }
        }
        lengthened = view.len.and_then(|len| weights_around(sheet, block, len));
        let by_rule = lengthened.as_ref().map(|(weights, _)| block.coder.scale_of(weights));
        let real = by_rule.unwrap_or(block.scale);
        let mut code = view.scale.unwrap_or(real.code);
        let codec = real.codec;
        ui.label("Scale");
        if codec.bits() == 8 {
            let sound = |code: &u32| !matches!(codec.class(*code), Class::NaN);
            let last = (0..=255u32 >> u8::from(codec.is_signed())).rfind(sound).unwrap_or(255);
            let mut moved = code;
            let slider = Slider::new(&mut moved, 0..=last);
            let name = format!("{} code", codec.name());
            if ui.add(slider.hexadecimal(2, false, true).text(name)).changed() {
                code = moved;
            }
        } else if real.value != 0.0 {
            // Scales that are floats move by a part of themselves.
            let mut factor = f64::from(codec.value(code)) / f64::from(real.value);
            let slider =
                Slider::new(&mut factor, 0.25..=4.0).logarithmic(true).suffix(" × the real one");
            if ui.add(slider).changed() {
                code = codec.encode((f64::from(real.value) * factor) as f32);
            }
        }
        view.scale = (code != real.code).then_some(code);
        let is_moved = view.scale.is_some() || view.len.is_some();
        let back = eframe::egui::Button::new("Back to the real one");
        if ui.add_enabled(is_moved, back).clicked() {
            *view = RulerView { of: view.of, window: view.window, ..RulerView::default() };
        }
    });
    if view.scale.is_none() && view.len.is_none() {
        return None;
    }
    let (weights, before) = match lengthened {
        Some(lengthened) => lengthened,
        None => (block.weights()?, 0),
    };
    let scale = match view.scale {
        Some(code) => block.coder.scale_at(code, block.scale.zero_point),
        None => block.coder.scale_of(&weights),
    };
    Some((scale, weights, before))
}

/// The weights of a row that would share a scale if blocks were so long, and how many come before the block.
fn weights_around(sheet: &Sheet, block: &Block, len: usize) -> Option<(Vec<f32>, usize)> {
    let first = block.columns.start / len * len;
    let end = (first + len).min(sheet.columns);
    let weights = sheet.weights.as_ref()?;
    let place = sheet.place(block.rows.start, first)?;
    // A shorter block is the one that its first weight is in.
    Some((weights.get(place..place + end - first)?.to_vec(), block.columns.start - first))
}

/// What the scale does, in numbers.
fn said_ui(ui: &mut Ui, ruler: &Ruler, real: &Ruler, is_moved: bool) {
    let relative = |ruler: &Ruler| {
        let squares: f64 = ruler.ticks.iter().map(|tick| f64::from(tick.weight).powi(2)).sum();
        if squares > 0.0 { 100.0 * (ruler.squared_error() / squares).sqrt() } else { 0.0 }
    };
    let of = |wanted: Tie| ruler.ticks.iter().filter(|tick| tick.tie == wanted).count() as u64;
    let scale = &ruler.scale;
    let codec: Codec = scale.codec;
    ui.horizontal_wrapped(|ui| {
        let muted = Theme::of(ui).muted;
        let fact = |ui: &mut Ui, name: &str, value: String| {
            ui.label(RichText::new(name).font(theme::small()).color(muted));
            ui.label(RichText::new(value).monospace());
            ui.add_space(6.0);
        };
        fact(ui, "scale", format!("{} {} ({:#x})", codec.name(), scale.value, scale.code));
        fact(ui, "step", significant(scale.step.into()));
        fact(ui, "error", format!("{} % of the weights", significant(relative(ruler))));
        if is_moved {
            fact(ui, "really", format!("{} %", significant(relative(real))));
        }
        let ties = format!("{} on a tie point, {} near one", of(Tie::On), of(Tie::Near));
        fact(ui, "ties", ties);
        fact(ui, "clipped", count(of(Tie::Beyond), "weight"));
    });
}
