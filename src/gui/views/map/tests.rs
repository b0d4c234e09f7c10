//! The map as somebody uses it, by pointer, by keys and through what a screen reader sees.

use std::path::Path;
use std::time::Duration;

use eframe::egui::{Key, Modifiers, Vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use safetensors::tensor::{Dtype, TensorView};

use crate::device::CPU;
use crate::format::Format;
use crate::gui::app::App;
use crate::gui::session::Source;
use crate::gui::settings::Settings;
use crate::recipe::Recipe;

/// A window with a checkpoint, once all is measured.
pub fn window(source: Source) -> Harness<'static, Option<App>> {
    let mut harness = Harness::builder().with_size(Vec2::new(1400.0, 900.0)).build_ui_state(
        move |ui, app: &mut Option<App>| {
            app.get_or_insert_with(|| {
                let settings = Settings { device: CPU.to_owned(), ..Settings::default() };
                let mut app = App::new(ui.ctx(), settings, None, None);
                let recipe = Recipe { format: Some(Format::Nvfp4), ..Recipe::default() };
                app.open_with(source.clone(), recipe);
                app
            })
            .show(ui);
        },
        None,
    );
    wait(&mut harness);
    harness
}

fn wait(harness: &mut Harness<'_, Option<App>>) {
    harness.run_steps(2);
    while harness.state().as_ref().is_none_or(|app| app.session.is_busy()) {
        std::thread::sleep(Duration::from_millis(2));
        harness.step();
    }
    harness.run_steps(4);
}

/// Names of what is selected.
pub fn selection(harness: &Harness<'_, Option<App>>) -> Vec<String> {
    harness.state().as_ref().unwrap().session.selection.iter().cloned().collect()
}

/// Clicks what says this.
pub fn click(harness: &mut Harness<'_, Option<App>>, said: &str) {
    harness.get_by_label_contains(said).click();
    harness.run_steps(3);
}

#[test]
fn cells_rows_and_columns_are_selected_by_pointer_and_by_keys() {
    let mut harness = window(Source::Demo);
    click(&mut harness, "layer 2 self_attn.q_proj: amax");
    assert_eq!(selection(&harness), ["model.layers.2.self_attn.q_proj.weight"]);

    harness.key_press(Key::ArrowRight);
    harness.run_steps(2);
    harness.key_press(Key::Space);
    harness.run_steps(2);
    assert_eq!(selection(&harness), ["model.layers.2.self_attn.k_proj.weight"]);
    let map = harness.get_by_label("Map of amax");
    let said = map.accesskit_node().value().unwrap();
    assert!(said.starts_with("layer 2 self_attn.k_proj: amax "), "{said}");

    harness
        .get_by_label_contains("layer 3 self_attn.v_proj: amax")
        .click_modifiers(Modifiers::SHIFT);
    harness.run_steps(3);
    let expected = [
        "model.layers.2.self_attn.k_proj.weight",
        "model.layers.2.self_attn.v_proj.weight",
        "model.layers.3.self_attn.k_proj.weight",
        "model.layers.3.self_attn.v_proj.weight",
    ];
    assert_eq!(selection(&harness), expected);

    click(&mut harness, "select layer 1");
    assert_eq!(selection(&harness).len(), 7);
    click(&mut harness, "select mlp.down_proj");
    assert_eq!(selection(&harness).len(), 4);
    click(&mut harness, "model.embed_tokens.weight: amax");
    assert_eq!(selection(&harness), ["model.embed_tokens.weight"]);
}

#[test]
fn another_number_and_the_norms_are_a_click_away() {
    let mut harness = window(Source::Demo);
    assert!(harness.query_by_label_contains("layer 0 input_layernorm").is_none());
    click(&mut harness, "Norms and biases");
    assert!(harness.query_by_label_contains("layer 0 input_layernorm: amax").is_some());
    click(&mut harness, "Colour by: SQNR");
    let norm = harness.get_by_label_contains("layer 0 input_layernorm");
    assert_eq!(norm.accesskit_node().label().unwrap(), "layer 0 input_layernorm: SQNR dB –, kept");
    assert!(harness.query_by_label_contains("layer 0 mlp.up_proj: SQNR dB ").is_some());
}

#[test]
fn experts_of_a_layer_are_shown_one_by_one_and_left_again() {
    let folder = tempfile::tempdir().unwrap();
    with_experts(folder.path());
    let mut harness = window(Source::Path(folder.path().to_owned()));
    let experts_of = |harness: &Harness<'_, Option<App>>| {
        harness.state().as_ref().unwrap().session.query.experts_of
    };
    click(&mut harness, "layer 1 mlp.experts.*.up_proj: amax");
    assert_eq!(selection(&harness).len(), 3, "all experts of a projection are one cell");
    harness.key_press(Key::Enter);
    wait(&mut harness);
    assert_eq!(experts_of(&harness), Some(1));
    click(&mut harness, "model.layers.1.mlp.experts.2.up_proj.weight: amax");
    assert_eq!(selection(&harness), ["model.layers.1.mlp.experts.2.up_proj.weight"]);
    click(&mut harness, "Previous layer");
    wait(&mut harness);
    assert!(
        harness.query_by_label_contains("layers.0.mlp.experts.0.up_proj.weight: amax").is_some()
    );
    click(&mut harness, "All layers");
    wait(&mut harness);
    assert_eq!(experts_of(&harness), None);
}

/// Writes two layers of three experts.
fn with_experts(folder: &Path) {
    let mut weights = Vec::new();
    for i in 0..64 * 64 {
        weights.extend((i as f32 / 4096.0 - 0.3).to_le_bytes());
    }
    let names = (0..2).flat_map(|layer| {
        let module = format!("model.layers.{layer}.mlp");
        let up = (0..3).map(move |expert| format!("{module}.experts.{expert}.up_proj.weight"));
        up.chain([format!("model.layers.{layer}.self_attn.q_proj.weight")])
    });
    let tensors =
        names.map(|name| (name, TensorView::new(Dtype::F32, vec![64, 64], &weights).unwrap()));
    let bytes = safetensors::serialize(tensors, None).unwrap();
    std::fs::write(folder.join("model.safetensors"), bytes).unwrap();
    std::fs::write(folder.join("config.json"), r#"{"model_type": "qwen3_moe"}"#).unwrap();
}
