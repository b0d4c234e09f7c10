//! The recipe: what becomes what, for whom.

use eframe::egui::{RichText, ScrollArea, Ui};

use super::rules::rules_ui;
use crate::dialect::Dialect;
use crate::format::{Format, ScaleSearch};
use crate::gui::app::{App, Asked};
use crate::gui::session::dialect_of;
use crate::gui::theme::Theme;
use crate::gui::widgets::{caption, choices, heading, segments};
use crate::recipe::{ExpertScale, Indivisible, Preset, Recipe};

/// Draws it.
pub fn recipe_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    ui.add_space(6.0);
    heading(ui, "Recipe");
    if let Some((_, document)) = &app.session.document
        && let Some(quantized) = &document.quantized
    {
        ui.label(format!("This checkpoint is quantized already: {}.", quantized.stated.layout()));
        ui.label("Its layers can be looked at here, and verified in the last view.");
        return;
    }
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        let before = app.recipe().clone();
        let mut recipe = before.clone();
        let mut change = None;
        choices_ui(ui, &mut recipe, &mut change);
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

/// Format, layout and the choices that go with them. `change` gets the name of what was changed.
fn choices_ui(ui: &mut Ui, recipe: &mut Recipe, change: &mut Option<String>) {
    let dialect = dialect_of(recipe);
    caption(ui, "Format");
    format_ui(ui, recipe, dialect, change);

    caption(ui, "Layout");
    let layouts = [
        (Dialect::Modelopt, "ModelOpt", "As NVIDIA ModelOpt exports Hugging Face checkpoints"),
        (
            Dialect::CompressedTensors,
            "compressed-tensors",
            "As the compressed-tensors library stores them",
        ),
    ];
    if let Some(dialect) = segments(ui, "Layout", &layouts, dialect) {
        recipe.export = Some(dialect);
        *change = Some(format!("layout {dialect}"));
    }
    loaders_ui(ui, recipe);

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
    ui.collapsing("More choices", |ui| more_ui(ui, recipe, dialect, change));
}

fn format_ui(ui: &mut Ui, recipe: &mut Recipe, dialect: Dialect, change: &mut Option<String>) {
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
            let bits = dialect.bits_per_weight(format);
            choice(ui, Some(format), format!("{format}   {bits:.2} bits a weight"));
        }
    });
}

/// Who loads the format in the layout.
fn loaders_ui(ui: &mut Ui, recipe: &Recipe) {
    let Some(format) = recipe.format else { return };
    let theme = Theme::of(ui);
    let dialect = dialect_of(recipe);
    let loaders: Vec<String> =
        dialect.runtimes(format).iter().map(|runtime| runtime.to_string()).collect();
    let text = match loaders.is_empty() {
        true => RichText::new("loaded by no known runtime").color(theme.warn),
        false => RichText::new(format!("loaded by {}", loaders.join(", "))).color(theme.muted),
    };
    ui.label(text.small());
}

fn more_ui(ui: &mut Ui, recipe: &mut Recipe, dialect: Dialect, change: &mut Option<String>) {
    caption(ui, "Block scales of NVFP4");
    let searches = [
        (ScaleSearch::Max, "max", "From the largest magnitude of each block"),
        (ScaleSearch::Mse, "mse", "The scale of the least squared error among those near it"),
        (ScaleSearch::Sweep, "sweep", "The best of every scale"),
        (ScaleSearch::FourOverSix, "four-over-six", "The better of two targets for the largest"),
    ];
    let possible: Vec<_> = searches
        .into_iter()
        .filter(|(search, ..)| {
            let format = recipe.format.unwrap_or(Format::Nvfp4);
            *search == ScaleSearch::Max || search.is_for(format, dialect.arithmetic())
        })
        .collect();
    if let Some(search) = segments(ui, "Block scales", &possible, recipe.scale_search) {
        recipe.scale_search = search;
        *change = Some(format!("scale search {search}"));
    }
    caption(ui, "Rows that do not divide into blocks");
    let ways = [
        (Indivisible::Keep, "keep", "They stay float"),
        (Indivisible::Smaller, "smaller", "The largest smaller block that fits"),
        (Indivisible::Pad, "pad", "Zeros at the ends of rows"),
    ];
    if let Some(way) = segments(ui, "Indivisible rows", &ways, recipe.indivisible) {
        recipe.indivisible = way;
        *change = Some(format!("indivisible rows: {way}"));
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
