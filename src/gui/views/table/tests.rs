//! The table as it is used, on the demo.

use std::time::Duration;

use eframe::egui::{Key, Modifiers, Vec2};
use egui_kittest::kittest::Queryable;
use egui_kittest::{Harness, Node};

use crate::device::CPU;
use crate::format::Format;
use crate::gui::{App, Settings, Source, View};
use crate::recipe::Recipe;
use crate::report::Column;

fn opened() -> Harness<'static, Option<App>> {
    let mut harness = Harness::builder().with_size(Vec2::new(1600.0, 900.0)).build_ui_state(
        |ui, app: &mut Option<App>| {
            let new = || {
                let settings =
                    Settings { view: View::Table, device: CPU.to_owned(), ..Settings::default() };
                let mut app = App::new(ui.ctx(), settings, None, None);
                let recipe = Recipe { format: Some(Format::Nvfp4), ..Recipe::default() };
                app.open_with(Source::Demo, recipe);
                app
            };
            app.get_or_insert_with(new).show(ui);
        },
        None,
    );
    settle(&mut harness);
    harness
}

fn settle(harness: &mut Harness<'static, Option<App>>) {
    harness.run_steps(2);
    while harness.state().as_ref().is_none_or(App::is_busy) {
        std::thread::sleep(Duration::from_millis(2));
        harness.step();
    }
    harness.run_steps(4);
}

fn app<'a>(harness: &'a Harness<'static, Option<App>>) -> &'a App {
    harness.state().as_ref().unwrap()
}

fn row<'a>(harness: &'a Harness<'static, Option<App>>, name: &'a str) -> Node<'a> {
    harness.get_by_label_contains(name)
}

fn selected(harness: &Harness<'static, Option<App>>) -> Vec<String> {
    let parts = |name: &String| name.split('.').skip(2).take(3).collect::<Vec<_>>().join(".");
    app(harness).session.selection.iter().map(parts).collect()
}

#[test]
fn rows_are_selected_by_pointer_and_by_keyboard() {
    let mut harness = opened();
    row(&harness, "layers.0.mlp.down_proj.weight: amax").click();
    settle(&mut harness);
    assert_eq!(selected(&harness), ["0.mlp.down_proj"]);
    row(&harness, "layers.0.mlp.up_proj.weight: amax").click_modifiers(Modifiers::COMMAND);
    settle(&mut harness);
    assert_eq!(selected(&harness), ["0.mlp.down_proj", "0.mlp.up_proj"]);
    row(&harness, "layers.0.mlp.gate_proj.weight: amax").click();
    settle(&mut harness);
    row(&harness, "layers.0.post_attention_layernorm.weight: amax")
        .click_modifiers(Modifiers::SHIFT);
    settle(&mut harness);
    let three = ["0.mlp.gate_proj", "0.mlp.up_proj", "0.post_attention_layernorm.weight"];
    assert_eq!(selected(&harness), three);

    harness.key_press(Key::Home);
    settle(&mut harness);
    harness.key_press(Key::ArrowDown);
    settle(&mut harness);
    harness.key_press(Key::Enter);
    settle(&mut harness);
    assert_eq!(selected(&harness), ["0.input_layernorm.weight"]);
    harness.key_press_modifiers(Modifiers::SHIFT, Key::ArrowDown);
    settle(&mut harness);
    assert_eq!(selected(&harness), ["0.input_layernorm.weight", "0.mlp.down_proj"]);
    harness.key_press(Key::Space);
    settle(&mut harness);
    assert_eq!(selected(&harness), ["0.input_layernorm.weight"]);
}

#[test]
fn a_click_on_a_header_sorts() {
    let mut harness = opened();
    let first = |harness: &Harness<'static, Option<App>>| {
        let tables = &app(harness).session.tables;
        Column::Amax.number(&tables.rows[tables.order[0]]).unwrap()
    };
    harness.get_by_label("sort by amax").click();
    settle(&mut harness);
    let most = first(&harness);
    harness.get_by_label("sort by amax, largest first").click();
    settle(&mut harness);
    assert!(first(&harness) < most);
    harness.get_by_label("sort by amax, smallest first").click();
    settle(&mut harness);
    assert_eq!(app(&harness).session.query.sort, None);
}

#[test]
fn what_is_typed_filters_and_a_mistake_is_told() {
    let mut harness = opened();
    harness.get_by_label("Filter").focus();
    harness.step();
    harness.get_by_label("Filter").type_text("down_proj");
    settle(&mut harness);
    assert_eq!(app(&harness).session.tables.lines.len(), 4);
    harness.get_by_label("4 of 38 rows");
    harness.get_by_label("Filter").type_text(" amx>2");
    settle(&mut harness);
    harness.get_by_label_contains("no column is called amx");
}
