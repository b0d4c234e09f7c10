//! Views that look into one tensor: the numbers that they show are the library's, keys walk through them,
//! lessons go from step to step, and what is broken is found in a few clicks.
#![cfg(feature = "gui")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use common::window::*;
use eframe::egui::{Key, Modifiers};
use egui_kittest::kittest::{NodeT, Queryable};
use quantscope::checkpoint::Checkpoint;
use quantscope::cpu::Cpu;
use quantscope::format::Format;
use quantscope::gui::{App, BlockPlace, Focus, Look, Settings, Source, View};
use quantscope::inspect::{self, Cell, Matrix, Reader, ScaleMap, Subject};
use quantscope::model::Model;
use quantscope::plan::{Plan, Sharding};
use quantscope::recipe::Recipe;

const TENSOR: &str = "model.layers.0.mlp.up_proj.weight";

fn nvfp4() -> Recipe {
    Recipe { format: Some(Format::Nvfp4), ..Recipe::default() }
}

/// A window on a weight of the demo, or of another checkpoint.
fn look_at(source: Source, view: View, recipe: Recipe, tensor: &str, block: &str) -> Window {
    let settings = Settings { view, ..settings() };
    let mut window =
        egui_kittest::Harness::builder().with_size([1440.0, 900.0]).build_eframe(|creation| {
            let mut app = App::new(&creation.egui_ctx, settings, None, None);
            let focus = Focus {
                tensor: Some(tensor.to_owned()),
                wanted: Some(block.parse::<BlockPlace>().unwrap()),
                ..Focus::default()
            };
            let selection = [tensor.to_owned()].into();
            app.look_at(source, Look { recipe, selection, focus, ..Look::default() });
            app
        });
    settle(&mut window);
    window
}

/// Reads a tensor of the demo as NVFP4, as a recipe plans it.
fn read<T>(tensor: &str, look: impl FnOnce(&Reader<'_>) -> T) -> T {
    read_under(nvfp4(), tensor, look)
}

/// The same under a recipe; where that plans something else, NVFP4 is tried out.
fn read_under<T>(recipe: Recipe, tensor: &str, look: impl FnOnce(&Reader<'_>) -> T) -> T {
    let checkpoint = Checkpoint::open(DEMO.as_ref()).unwrap();
    let dialect = recipe.dialect_for(&checkpoint);
    let model = Model::new(&checkpoint, dialect.fused_experts());
    let plan = Plan::new(&model, &recipe, dialect, Sharding::AsSource).unwrap();
    let format = Some(Format::Nvfp4);
    let subject = Subject { tensor: tensor.to_owned(), expert: 0, format };
    let matrix = Matrix::of(&checkpoint, &[], &plan, &subject).unwrap();
    look(&Reader::new(matrix, &Cpu, &AtomicBool::new(false)).unwrap())
}

fn cell(row: u64, column: usize) -> Cell {
    read(TENSOR, |reader| reader.sheet(row..row + 1).unwrap().cell(row, column).unwrap())
}

/// What the microscope says of the weight that is looked at.
fn said(window: &Window) -> String {
    let grid = window.get_by_label("Weights of the block");
    grid.accesskit_node().value().unwrap()
}

/// Whether that is this weight with the library's numbers.
fn assert_looks_at(window: &Window, row: u64, column: usize) {
    assert_says(window, &cell(row, column));
}

fn assert_says(window: &Window, cell: &Cell) {
    let Cell { row, column, .. } = *cell;
    let (weight, code, value) = (cell.weight.unwrap(), cell.code, cell.value);
    let expected =
        format!("row {row}, column {column}: weight {weight}, code {code:04b}, stands for {value}");
    assert_eq!(said(window), expected);
}

#[test]
fn the_microscope_shows_the_numbers_of_the_library_and_keys_walk_through_them() {
    let mut window = look_at(Source::Demo, View::Microscope, nvfp4(), TENSOR, "12,1,3");
    assert_looks_at(&window, 12, 19);
    for (key, row, column) in [
        (Key::ArrowRight, 12, 20),
        (Key::ArrowDown, 13, 20),
        (Key::ArrowLeft, 13, 19),
        (Key::ArrowUp, 12, 19),
        (Key::PageDown, 12, 35),
        (Key::PageDown, 12, 51),
        (Key::PageDown, 13, 3),
        (Key::PageUp, 12, 51),
    ] {
        window.key_press(key);
        settle(&mut window);
        assert_looks_at(&window, row, column);
    }
    // A block without a weight in it is looked at where its largest weight is.
    let window = look_at(Source::Demo, View::Microscope, nvfp4(), TENSOR, "12,1");
    let largest = (16..32).max_by(|a, b| {
        let of = |column: &usize| cell(12, *column).weight.unwrap().abs();
        of(a).total_cmp(&of(b))
    });
    assert_looks_at(&window, 12, largest.unwrap());
}

#[test]
fn a_link_opens_exactly_what_is_shown() {
    let mut window = look_at(Source::Demo, View::Ruler, nvfp4(), TENSOR, "100,2,5");
    window.key_press(Key::ArrowRight);
    settle(&mut window);
    let line = copy(&mut window, "Copy link");
    let expected =
        format!("quantscope --demo --format nvfp4 --select {TENSOR} --block 100,2,6 --view ruler");
    assert_eq!(line, expected);
    // The same words draw the same picture without a window.
    if can_draw() {
        let place = tempfile::tempdir().unwrap();
        let picture = place.path().join("link.png");
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_quantscope"))
            .args(words)
            .arg("--screenshot")
            .arg(&picture)
            .status();
        assert!(status.unwrap().success() && picture.is_file());
    }
}

#[test]
fn all_views_share_what_is_looked_at_and_a_pinned_one_keeps_it() {
    let mut window = look_at(Source::Demo, View::Microscope, nvfp4(), TENSOR, "12,1,3");
    click(&mut window, "Pin");
    assert!(window.query_by_label("Pinned: Microscope").is_some());
    window.key_press(Key::ArrowRight);
    settle(&mut window);
    let said: Vec<String> = window
        .get_all_by_label("Weights of the block")
        .map(|grid| grid.accesskit_node().value().unwrap())
        .collect();
    let begins = |text: &str| said.iter().any(|said| said.starts_with(text));
    assert!(begins("row 12, column 19:") && begins("row 12, column 20:"), "{said:?}");
    click(&mut window, "Let go");
    assert!(window.query_by_label("Pinned: Microscope").is_none());
    click(&mut window, "View: Ruler");
    let cell = cell(12, 20);
    let label =
        format!("weight {} becomes {}, code {:04b}", cell.weight.unwrap(), cell.value, cell.code);
    let shown: Vec<String> = window
        .query_all_by_label_contains("becomes")
        .filter_map(|node| node.accesskit_node().label())
        .collect();
    assert!(shown.iter().any(|shown| shown.starts_with(&label)), "{label}: {shown:?}");
}

#[test]
fn another_format_is_tried_out_without_a_change_of_the_recipe() {
    let mut window = look_at(Source::Demo, View::Microscope, nvfp4(), TENSOR, "0,0,0");
    let combo =
        window.get_by_role_and_label(eframe::egui::accesskit::Role::ComboBox, "Seen in format");
    combo.click();
    window.run_steps(3);
    window.get_by_label("mxfp8").click();
    settle(&mut window);
    assert!(window.query_by_label_contains("mxfp8 as modelopt has it, tried out").is_some());
    assert!(said(&window).contains("code "), "{}", said(&window));
    let line = copy(&mut window, "Copy link");
    assert!(line.contains("--format nvfp4") && line.contains("--seen-as mxfp8"), "{line}");
}

#[test]
fn a_lesson_is_walked_by_keys_alone() {
    let mut window = window(settings(), Some(Source::Demo));
    settle(&mut window);
    palette(&mut window, "lessons");
    focus_by_tab(&mut window, "Begin lesson 2");
    window.key_press(Key::Enter);
    settle(&mut window);
    let titles = [
        "The largest weights of a tensor",
        "One outlier, and its neighbours",
        "Longer blocks spread the damage",
        "The damage, seen from above",
    ];
    for (number, title) in titles.into_iter().enumerate() {
        assert!(window.query_by_label(title).is_some(), "step {}: {title}", number + 1);
        if number == 1 {
            // The text names the largest weight of the tensor, and the microscope looks at it.
            let go_on = AtomicBool::new(false);
            let cell = read_under(Recipe::default(), TENSOR, |reader| {
                let found = inspect::find(reader, inspect::Wanted::Largest, &go_on);
                let (row, column) = found.unwrap().unwrap();
                reader.sheet(row..row + 1).unwrap().cell(row, column).unwrap()
            });
            assert_says(&window, &cell);
        }
        window.key_press_modifiers(Modifiers::ALT, Key::ArrowRight);
        settle(&mut window);
    }
    assert!(window.query_by_label("Five walks through real weights").is_some());
    // And back, from the middle of another one.
    focus_by_tab(&mut window, "Begin lesson 1");
    window.key_press(Key::Enter);
    settle(&mut window);
    window.key_press_modifiers(Modifiers::ALT, Key::ArrowRight);
    settle(&mut window);
    window.key_press_modifiers(Modifiers::ALT, Key::ArrowLeft);
    settle(&mut window);
    assert!(window.query_by_label("Sixteen weights share one scale").is_some());
}

/// The demo in NVFP4, with one byte of a tensor of it set to something else.
fn planted(place: &Path, tensor: &str, at: u64, byte: u8) -> PathBuf {
    let out = place.join("planted");
    batch(&[DEMO, "--format", "nvfp4", "--out", out.to_str().unwrap()]);
    let checkpoint = Checkpoint::open(&out).unwrap();
    let tensor = checkpoint.tensor(tensor).unwrap();
    let file = &checkpoint.files[tensor.file];
    let path = out.join(&file.name);
    let mut bytes = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap());
    bytes[(header + tensor.offset + at) as usize] = byte;
    fs::write(&path, bytes).unwrap();
    out
}

#[test]
fn a_scale_that_is_no_number_is_found_in_three_clicks() {
    let place = tempfile::tempdir().unwrap();
    let name = "model.layers.2.self_attn.q_proj";
    let out = planted(place.path(), &format!("{name}.weight_scale"), 4 * 37 + 2, 0x7F);
    let mut window = window(settings(), Some(Source::Path(out)));
    settle(&mut window);
    // The overview says so; its tensor is one click away, its scales a second, the block the third.
    click_containing(&mut window, "layer 2 self_attn.q_proj");
    click(&mut window, "Scale map");
    click(&mut window, "37,2: NaN");
    assert!(said(&window).starts_with("row 37, column 32"), "{}", said(&window));
    assert!(window.query_by_label_contains("no number").is_some());
}

#[test]
fn the_scale_map_counts_what_the_library_counts() {
    let window = look_at(Source::Demo, View::Scales, nvfp4(), TENSOR, "0,0");
    let map = read(TENSOR, |reader| ScaleMap::of(reader, &AtomicBool::new(false)).unwrap());
    let start = format!("{} E4M3 scales, one for 16 weights of a row, from ", map.len());
    assert!(window.query_all_by_label_contains(&start).next().is_some());
    let counted = map.counts[0].to_string();
    assert!(window.query_all_by_label(&counted).next().is_some(), "{counted} normal scales");
}

#[test]
fn numbers_are_saved_with_what_they_are_of() {
    let place = tempfile::tempdir().unwrap();
    let save = |view: &str, name: &str| {
        let file = place.path().join(name);
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_quantscope"))
            .args(["--demo", "--format", "nvfp4", "--select", TENSOR, "--block", "12,1"])
            .args(["--view", view, "--screenshot"])
            .arg(&file)
            .output()
            .unwrap();
        (output.status.success(), fs::read_to_string(&file), output.stderr)
    };
    let (_, microscope, _) = save("microscope", "block.csv");
    let microscope = microscope.unwrap();
    let mut lines = microscope.lines();
    let stamp = lines.next().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(stamp, format!("# {TENSOR} · nvfp4 as modelopt has it · quantscope {version}"));
    assert_eq!(lines.count(), 17, "a header and sixteen weights: {microscope}");
    let cell = cell(12, 20);
    let begin = format!("12,20,{},{:#x}", cell.weight.unwrap(), cell.code);
    assert!(microscope.lines().any(|line| line.starts_with(&begin)), "{begin}: {microscope}");
    for view in ["scales", "errors", "codecs"] {
        let (_, numbers, _) = save(view, &format!("{view}.csv"));
        assert!(numbers.unwrap().lines().count() > 100, "{view}");
    }
    let refused: [(&[&str], &str); 4] = [
        (
            &["--view", "ruler", "--select", TENSOR, "--block", "9999,0"],
            "there is no block 9999,0: the last block is ",
        ),
        (&["--view", "ruler", "--select", "no.such"], "there is no tensor \"no.such\""),
        (&["--view", "ruler", "--select", TENSOR, "--expert", "9"], "there is no expert 9"),
        (&["--view", "compare", "--compare", "/no/such"], "/no/such"),
    ];
    for (arguments, said) in refused {
        let picture = place.path().join("none.png");
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_quantscope"));
        program.arg("--demo").args(arguments).arg("--screenshot").arg(&picture);
        let output = program.output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && message.contains(said), "{message}");
        assert!(!picture.exists());
    }
    let (done, written, message) = save("lessons", "lessons.csv");
    assert!(!done && written.is_err());
    assert!(String::from_utf8_lossy(&message).contains("no numbers"));
    let (done, written, message) = save("map", "map.jpg");
    assert!(!done && written.is_err());
    assert!(String::from_utf8_lossy(&message).contains("a picture is a .png file"));
}

#[test]
fn a_map_is_that_of_the_tensor_it_is_named_after() {
    let of = |tensor: &str| {
        let window = look_at(Source::Demo, View::Scales, nvfp4(), tensor, "0,0");
        let mut shown = window.query_all_by_label_contains("E4M3 scales, one for");
        shown.find_map(|node| node.accesskit_node().label()).unwrap()
    };
    let other = "model.layers.1.mlp.up_proj.weight";
    let (first, second) = (of(TENSOR), of(other));
    assert_ne!(first, second, "of one size, with other scales");
    // Turned to in one window, the second shows no number of the first.
    let mut window = look_at(Source::Demo, View::Scales, nvfp4(), TENSOR, "0,0");
    let combo = window.get_by_role_and_label(eframe::egui::accesskit::Role::ComboBox, "Tensor");
    combo.click();
    window.run_steps(3);
    window.event(eframe::egui::Event::Text("layers.1.mlp.up_proj".to_owned()));
    window.run_steps(2);
    window.key_press(Key::Enter);
    window.step();
    window.step();
    assert!(window.query_all_by_label(&first).next().is_none());
    settle(&mut window);
    assert!(window.query_all_by_label(&second).next().is_some());
}

#[test]
fn a_format_that_the_layout_has_no_place_for_is_shown_as_one_that_has() {
    let recipe = Recipe::default();
    let mut window = look_at(Source::Demo, View::Microscope, recipe, TENSOR, "3,1,0");
    let format = Some("int4-asym-g32".parse().unwrap());
    let focus = Focus { tensor: Some(TENSOR.to_owned()), format, ..Focus::default() };
    window.state_mut().look_at(
        Source::Path(DEMO.into()),
        Look { selection: [TENSOR.to_owned()].into(), focus, ..Look::default() },
    );
    settle(&mut window);
    let stamp = "int4-asym-g32 as compressed-tensors has it, tried out";
    assert!(window.query_by_label_contains(stamp).is_some());
    assert!(window.query_by_label_contains("Zero point").is_some());
    assert!(window.query_by_label_contains("from the smallest to the largest").is_some());
}
