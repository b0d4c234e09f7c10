//! The window, driven as people drive it: by what its controls are called, or by keys alone.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use eframe::egui::{Key, Modifiers, OutputCommand, Role};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use quantscope::gui::{App, Settings, Source};

/// The demo as a folder.
pub const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo");

pub type Window = Harness<'static, App>;

pub fn settings() -> Settings {
    Settings { device: "cpu".to_owned(), ..Settings::default() }
}

/// Whether there is something to draw with. With `QUANTSCOPE_REQUIRE_GPU` set there has to be.
pub fn can_draw() -> bool {
    let can = !quantscope::gpu::adapters().is_empty();
    assert!(can || std::env::var_os("QUANTSCOPE_REQUIRE_GPU").is_none(), "there is no adapter");
    if !can {
        println!("skipped: there is no adapter");
    }
    can
}

pub fn window(settings: Settings, source: Option<Source>) -> Window {
    Harness::builder()
        .with_size([1440.0, 900.0])
        .build_eframe(|creation| App::new(&creation.egui_ctx, settings, None, source))
}

/// Draws frames until all work is done, and a few more.
pub fn settle(window: &mut Window) {
    let started = Instant::now();
    window.run_steps(3);
    while window.state().is_busy() {
        assert!(started.elapsed() < Duration::from_secs(120), "the work does not end");
        std::thread::sleep(Duration::from_millis(2));
        window.step();
    }
    window.run_steps(4);
}

/// Clicks what can be clicked under a name; labels beside it may say the same.
pub fn click(window: &mut Window, label: &str) {
    let roles = [Role::Button, Role::CheckBox, Role::RadioButton, Role::Link];
    let found = roles.iter().find_map(|&role| window.query_by_role_and_label(role, label));
    found.unwrap_or_else(|| panic!("nothing to click is called {label}")).click();
    settle(window);
}

pub fn type_into(window: &mut Window, field: &str, text: &str) {
    window.get_by_label(field).focus();
    window.run_steps(2);
    window.get_by_label(field).type_text(text);
    window.run_steps(2);
}

/// Types over what is in a field.
pub fn type_instead(window: &mut Window, field: &str, text: &str) {
    window.get_by_label(field).focus();
    window.run_steps(2);
    window.key_press_modifiers(Modifiers::COMMAND, Key::A);
    window.run_steps(2);
    type_into(window, field, text);
}

/// Exports to a folder, in the view for that.
pub fn export_to(window: &mut Window, folder: &Path) {
    export_as(window, "Folder to export to", folder);
}

/// Exports to the path that is typed into a field.
pub fn export_as(window: &mut Window, field: &str, path: &Path) {
    type_instead(window, field, path.to_str().unwrap());
    window.key_press_modifiers(Modifiers::COMMAND, Key::Enter);
    settle(window);
    assert!(window.query_by_label("Exported and verified").is_some());
}

/// Chooses a format.
pub fn choose_format(window: &mut Window, name: &str) {
    window.get_by_role_and_label(Role::ComboBox, "Format").click();
    window.run_steps(3);
    window.get_by_label_contains(&format!("{name} ")).click();
    settle(window);
}

/// What has been copied, in the last frame that copied something.
pub fn copy(window: &mut Window, button: &str) -> String {
    window.get_by_label(button).click();
    for _ in 0..4 {
        window.step();
        let commands = &window.output().platform_output.commands;
        let text = commands.iter().find_map(|command| match command {
            OutputCommand::CopyText(text) => Some(text.clone()),
            _ => None,
        });
        if let Some(text) = text {
            return text;
        }
    }
    panic!("{button} copies nothing");
}

/// Runs the program without a window.
pub fn batch(arguments: &[&str]) {
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_quantscope"))
        .arg("--batch")
        .args(arguments)
        .arg("--quiet")
        .status();
    assert!(status.unwrap().success(), "{arguments:?}");
}

pub fn assert_equal_folders(a: &Path, b: &Path) {
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(a), names(b));
    for name in names(a) {
        assert!(fs::read(a.join(&name)).unwrap() == fs::read(b.join(&name)).unwrap(), "{name:?}");
    }
}

/// Does a command by its name.
pub fn palette(window: &mut Window, name: &str) {
    window.key_press_modifiers(Modifiers::COMMAND, Key::K);
    window.run_steps(2);
    window.event(eframe::egui::Event::Text(name.to_owned()));
    window.run_steps(2);
    window.key_press(Key::Enter);
    settle(window);
}

/// Goes on by Tab until something has the keys whose name is this, or begins with it as words.
pub fn focus_by_tab(window: &mut Window, name: &str) {
    for _ in 0..400 {
        window.key_press(Key::Tab);
        window.run_steps(2);
        let focused = window.root().children_recursive().find(|node| node.is_focused());
        let label = focused.and_then(|node| node.accesskit_node().label());
        let is_meant = |label: String| label == name || label.starts_with(&format!("{name} "));
        if label.is_some_and(is_meant) {
            return;
        }
    }
    panic!("{name} cannot be reached by Tab");
}

/// Clicks the first thing whose name has a text in it.
pub fn click_containing(window: &mut Window, text: &str) {
    let found = window.query_all_by_label_contains(text).next();
    found.unwrap_or_else(|| panic!("nothing is called {text}")).click();
    settle(window);
}
