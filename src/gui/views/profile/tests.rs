//! The profile as somebody uses it.

use eframe::egui::{Key, Role, Vec2};
use egui_kittest::kittest::{NodeT, Queryable};

use crate::gui::session::Source;
use crate::gui::views::map::tests::{click, selection, window};

#[test]
fn the_threshold_follows_pointer_and_keys_and_what_is_beyond_it_can_be_selected() {
    let mut harness = window(Source::Demo);
    click(&mut harness, "Profile");
    click(&mut harness, "Select all above");
    let few = selection(&harness);
    assert!(few.contains(&"model.layers.3.self_attn.q_proj.weight".to_owned()), "{few:?}");

    let line = harness.get_by_role(Role::Slider);
    let (middle, before) = (line.rect().center(), line.accesskit_node().numeric_value().unwrap());
    harness.drag_at(middle);
    harness.run_steps(2);
    harness.hover_at(middle + Vec2::new(0.0, 150.0));
    harness.run_steps(2);
    harness.drop_at(middle + Vec2::new(0.0, 150.0));
    harness.run_steps(4);
    let value = |harness: &egui_kittest::Harness<'_, _>| {
        harness.get_by_role(Role::Slider).accesskit_node().numeric_value().unwrap()
    };
    let after = value(&harness);
    assert!(after < before);
    click(&mut harness, "Select all above");
    let many = selection(&harness);
    assert!(many.len() > few.len() && few.iter().all(|name| many.contains(name)));

    harness.get_by_role(Role::Slider).focus();
    harness.run_steps(2);
    harness.key_press(Key::ArrowUp);
    harness.run_steps(3);
    assert!(value(&harness) > after);

    click(&mut harness, "Numbers: SQNR");
    assert!(harness.query_by_label_contains("tensors below ").is_some());
}

#[test]
fn a_line_that_is_taken_away_is_not_listed_either() {
    let mut harness = window(Source::Demo);
    click(&mut harness, "Profile");
    let listed = "model.layers.3.self_attn.q_proj.weight: amax";
    assert!(harness.query_by_label_contains(listed).is_some());
    harness.get_by_role_and_label(Role::CheckBox, "self_attn.q_proj").click();
    harness.run_steps(3);
    assert!(harness.query_by_label_contains(listed).is_none());
    click(&mut harness, "Show all");
    assert!(harness.query_by_label_contains(listed).is_some());
}
