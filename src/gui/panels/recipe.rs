//! The recipe: what becomes what, for whom.

use eframe::egui::{self, RichText, ScrollArea, Ui};

use super::rules::rules_ui;
use crate::checkpoint::Dtype;
use crate::dialect::Dialect;
use crate::format::q4gsw::NibbleOrder;
use crate::format::{Format, ScaleDtype, ScaleSearch};
use crate::gui::app::{App, Asked};
use crate::gui::session::{Document, Quantized};
use crate::gui::theme::Theme;
use crate::gui::widgets::{caption, choices, heading, segments};
use crate::recipe::{ExpertScale, Indivisible, Preset, Recipe};
use crate::units::count;

/// Draws it.
pub fn recipe_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    ui.add_space(6.0);
    heading(ui, "Recipe");
    let Some((_, document)) = app.session.document.clone() else { return };
    if let Some(quantized) = &document.quantized {
        ui.label(quantized_text(&document, quantized));
        if !document.takes_recipe {
            ui.label("Its layers can be looked at here, and verified in the last view.");
            return;
        }
        ui.label(
            "The rest of it can be quantized too. Without a format, its layers can be looked at, and \
             verified in the last view.",
        );
    }
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        let mut recipe = app.recipe().clone();
        let mut change = None;
        choices_ui(ui, &document, &mut recipe, &mut change);
        if let Some(name) = change {
            app.session.change(&name, recipe);
        }
        if let Some(why) = app.session.planning.problem() {
            ui.add_space(4.0);
            ui.colored_label(Theme::of(ui).bad, why);
        }
        ui.add_space(6.0);
        ui.separator();
        rules_ui(app, ui, asked);
    });
}

/// What is quantized in a checkpoint. An ONNX model does not say it: its nodes do.
fn quantized_text(document: &Document, quantized: &Quantized) -> String {
    if document.checkpoint.onnx.is_none() {
        return format!("This checkpoint is quantized already: {}.", quantized.stated.layout());
    }
    let extent = if document.takes_recipe { "in part" } else { "already" };
    let layers = count(quantized.layers.len() as u64, "layer");
    format!("This model is quantized {extent}: {layers} with codes and scales.")
}

/// Format, layout and the choices that go with them. `change` gets the name of what was changed.
fn choices_ui(ui: &mut Ui, document: &Document, recipe: &mut Recipe, change: &mut Option<String>) {
    let dialect = recipe.dialect_for(&document.checkpoint);
    caption(ui, "Format");
    format_ui(ui, document, recipe, dialect, change);

    caption(ui, "Layout");
    layout_ui(ui, document, recipe, change);
    loaders_ui(ui, recipe, dialect);

    caption(ui, "Layers");
    let presets = [
        (Preset::Linear, "all linear", "Every linear layer of the decoder"),
        (Preset::Mlp, "feed-forward", "Feed-forward layers and experts"),
        (Preset::Experts, "experts", "Routed experts"),
    ];
    if let Some(preset) = segments(ui, "Layers", &presets, recipe.preset.unwrap_or_default()) {
        recipe.preset = Some(preset);
        *change = Some(format!("preset {preset}"));
    }
    ui.add_space(2.0);
    ui.collapsing("More choices", |ui| more_ui(ui, document, recipe, change));
}

/// The layouts that the checkpoint can be written in; where there is but one, only its name.
fn layout_ui(ui: &mut Ui, document: &Document, recipe: &mut Recipe, change: &mut Option<String>) {
    let said = |dialect| match dialect {
        Dialect::Modelopt => "As NVIDIA ModelOpt exports Hugging Face checkpoints",
        Dialect::CompressedTensors => "As the compressed-tensors library stores them",
        Dialect::ExecuTorch => "As torchao stores them, for ExecuTorch and transformers",
        Dialect::Q4gsw => {
            "Packed constants of ExecuTorch's programs, to look at or for WebGPU programs. ExecuTorch \
             itself loads the layout ExecuTorch"
        }
        Dialect::Onnx => "MatMulNBits and GatherBlockQuantized, which ONNX Runtime has",
        Dialect::OnnxQdq => "DequantizeLinear with blocks, which every runtime of opset 21 has",
    };
    let (checkpoint, dialect) = (&document.checkpoint, recipe.dialect_for(&document.checkpoint));
    let possible = Dialect::ALL.into_iter().filter(|dialect| dialect.is_for(checkpoint));
    let possible: Vec<_> =
        possible.map(|dialect| (dialect, dialect.title(), said(dialect))).collect();
    if let [(only, name, help)] = possible[..]
        && only == dialect
    {
        ui.label(name).on_hover_text(help);
        return;
    }
    if let Some(dialect) = segments(ui, "Layout", &possible, dialect) {
        recipe.export = (dialect != Dialect::usual(checkpoint)).then_some(dialect);
        *change = Some(format!("layout {dialect}"));
    } else if !dialect.is_for(checkpoint) {
        let text = format!(
            "The recipe asks for {}, which this cannot become: choose here",
            dialect.title()
        );
        ui.label(RichText::new(text).small().color(Theme::of(ui).warn));
    }
}

fn format_ui(
    ui: &mut Ui,
    document: &Document,
    recipe: &mut Recipe,
    dialect: Dialect,
    change: &mut Option<String>,
) {
    let name = |format: Option<Format>| format.map_or("none: look only", Format::name);
    let current = name(recipe.format);
    let width = ui.available_width() - 8.0;
    choices(ui, "Format", current, width, |ui| {
        let mut choice = |ui: &mut Ui, format: Option<Format>, label: String| {
            if ui.selectable_label(recipe.format == format, label).clicked() {
                recipe.format = format;
                *change = Some(format!("format {}", name(format)));
            }
        };
        choice(ui, None, name(None).to_owned());
        for format in dialect.formats() {
            let scales = match recipe.scale_dtype {
                ScaleDtype::Own => document.weight_type,
                ScaleDtype::F32 => Dtype::F32,
            };
            let bits = dialect.bits_per_weight_of(scales, format);
            choice(ui, Some(format), format!("{format}   {bits:.2} bits a weight"));
        }
    });
}

/// Who loads the format in the layout.
fn loaders_ui(ui: &mut Ui, recipe: &Recipe, dialect: Dialect) {
    let Some(format) = recipe.format else { return };
    let theme = Theme::of(ui);
    let loaders: Vec<String> =
        dialect.runtimes(format).iter().map(|runtime| runtime.to_string()).collect();
    let text = match loaders.is_empty() {
        true => RichText::new("loaded by no known runtime").color(theme.warn),
        false => RichText::new(format!("loaded by {}", loaders.join(", "))).color(theme.muted),
    };
    ui.label(text.small());
}

fn more_ui(ui: &mut Ui, document: &Document, recipe: &mut Recipe, change: &mut Option<String>) {
    let dialect = recipe.dialect_for(&document.checkpoint);
    searches_ui(ui, recipe, dialect, change);
    scale_dtype_ui(ui, recipe, dialect, change);
    nibbles_ui(ui, recipe, dialect, change);
    caption(ui, "Rows that do not divide into blocks");
    let mut ways = vec![
        (Indivisible::Keep, "keep", "They stay float"),
        (Indivisible::Smaller, "smaller", "The largest smaller block that fits"),
    ];
    if !dialect.is_onnx() {
        ways.push((Indivisible::Pad, "pad", "Zeros at the ends of rows"));
    }
    if let Some(way) = segments(ui, "Indivisible rows", &ways, recipe.indivisible) {
        recipe.indivisible = way;
        *change = Some(format!("indivisible rows: {way}"));
    }
    if let Some(graph) = &document.checkpoint.onnx {
        external_ui(ui, graph.has_external_data, recipe, change);
        return;
    }
    caption(ui, "Scales of experts");
    let scales = [
        (ExpertScale::Each, "each", "Every expert has its own"),
        (ExpertScale::Joint, "joint", "All experts of a layer share one for each projection"),
    ];
    if let Some(scale) = segments(ui, "Scales of experts", &scales, recipe.expert_scale) {
        recipe.expert_scale = scale;
        *change = Some("scales of experts".to_owned());
    }
    if ui
        .checkbox(&mut recipe.unserved, "Allow formats that nobody loads")
        .on_hover_text("Write formats that no known runtime loads in the layout")
        .changed()
    {
        *change = Some("formats that nobody loads".to_owned());
    }
}

/// How block scales are chosen, where there is a choice.
fn searches_ui(ui: &mut Ui, recipe: &mut Recipe, dialect: Dialect, change: &mut Option<String>) {
    let searches = [
        (ScaleSearch::Max, "max", "From the largest magnitude of each block"),
        (ScaleSearch::Mse, "mse", "The scale of the least squared error among those near it"),
        (ScaleSearch::Sweep, "sweep", "The best of every scale"),
        (ScaleSearch::FourOverSix, "four-over-six", "The better of two targets for the largest"),
        (ScaleSearch::KQuant, "k-quant", "Scale and zero point of the least weighted error"),
        (ScaleSearch::NoClipping, "no clipping", "Both ends of a group have a code"),
    ];
    let format = recipe.format.or_else(|| dialect.packing(Format::Nvfp4).map(|_| Format::Nvfp4));
    let is_for = |search: ScaleSearch| {
        format.is_some_and(|format| search.is_for(format, dialect.arithmetic()))
    };
    let mut possible = searches.to_vec();
    possible.retain(|(search, ..)| *search == ScaleSearch::Max || is_for(*search));
    if possible.len() < 2 && recipe.scale_search == ScaleSearch::Max {
        return;
    }
    caption(ui, "Block scales");
    if let Some(search) = segments(ui, "Block scales", &possible, recipe.scale_search) {
        recipe.scale_search = search;
        *change = Some(format!("scale search {search}"));
    }
}

/// The type that scales are stored in, where there is a choice.
fn scale_dtype_ui(ui: &mut Ui, recipe: &mut Recipe, dialect: Dialect, change: &mut Option<String>) {
    if !dialect.chooses_scale_dtype() && recipe.scale_dtype == ScaleDtype::Own {
        return;
    }
    let types = [
        (ScaleDtype::Own, "own", "The type of the weights"),
        (ScaleDtype::F32, "f32", "What WebGPU reads; codes are found in f32 arithmetic then"),
    ];
    caption(ui, "Type of scales");
    if let Some(dtype) = segments(ui, "Type of scales", &types, recipe.scale_dtype) {
        recipe.scale_dtype = dtype;
        *change = Some("type of scales".to_owned());
    }
}

/// The order of codes in a byte, where there is a choice.
fn nibbles_ui(ui: &mut Ui, recipe: &mut Recipe, dialect: Dialect, change: &mut Option<String>) {
    if dialect != Dialect::Q4gsw && recipe.nibbles == NibbleOrder::default() {
        return;
    }
    let orders = [
        (NibbleOrder::EvenLow, "even low", "As linear layers, and tables that a head reads too"),
        (NibbleOrder::EvenHigh, "even high", "As embedding_4bit reads tables that no head reads"),
    ];
    caption(ui, "Nibbles of tables");
    if let Some(order) = segments(ui, "Nibbles of tables", &orders, recipe.nibbles) {
        recipe.nibbles = order;
        *change = Some(format!("nibbles {order}"));
    }
}

/// Where the tensors of an ONNX model go.
fn external_ui(ui: &mut Ui, is_anyhow: bool, recipe: &mut Recipe, change: &mut Option<String>) {
    let mut is_external = recipe.external_data || is_anyhow;
    let checkbox = egui::Checkbox::new(&mut is_external, "Tensors in a file of their own");
    let checkbox = ui.add_enabled(!is_anyhow, checkbox);
    checkbox.clone().on_disabled_hover_text("As in the source");
    let help = "Beside the model, named like it with .data at the end. A head that reads a quantized \
                table needs no Reshape then";
    if checkbox.on_hover_text(help).changed() {
        recipe.external_data = is_external;
        *change = Some("external data".to_owned());
    }
}
