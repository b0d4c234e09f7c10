//! The window, driven as people drive it: by what its controls are called, or by keys alone.
#![cfg(feature = "gui")]

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::window::*;
use eframe::egui::{Key, Modifiers, Theme, ThemePreference};
use egui_kittest::kittest::Queryable;
use egui_kittest::{Harness, SnapshotOptions, SnapshotResults};
use quantscope::gui::{App, Settings, Source, View, share};

#[test]
fn from_open_to_a_verified_export_that_batch_repeats_byte_by_byte() {
    let place = tempfile::tempdir().unwrap();
    let mut window = window(settings(), None);
    type_into(&mut window, "Path of a checkpoint", DEMO);
    click(&mut window, "Open");
    assert!(window.query_by_label("demo").is_some(), "the name of what is open");

    choose_format(&mut window, "nvfp4");
    click(&mut window, "Layout: compressed-tensors");
    click(&mut window, "Quantize embeddings");
    assert!(window.query_by_label("1 finding").is_some());
    click(&mut window, "Untie: quantize the table, keep a float head");
    assert!(window.query_by_label("No findings").is_some());
    click(&mut window, "Add a rule");
    assert!(window.query_by_label("Pattern of rule 1").is_some());

    click(&mut window, "Export");
    let (ours, theirs) = (place.path().join("ours"), place.path().join("theirs"));
    export_to(&mut window, &ours);

    let recipe = place.path().join("recipe.toml");
    fs::write(&recipe, copy(&mut window, "Copy recipe")).unwrap();
    let report = copy(&mut window, "Copy report");
    assert!(report.contains("pass") && report.contains("written"), "{report}");
    let paths = [&recipe, &theirs].map(|path| path.to_str().unwrap());
    batch(&[DEMO, "--recipe", paths[0], "--out", paths[1]]);
    assert_equal_folders(&ours, &theirs);
    batch(&[ours.to_str().unwrap(), "--verify", "--against", DEMO]);
}

#[test]
fn the_line_to_copy_does_the_same() {
    let place = tempfile::tempdir().unwrap();
    let mut window = window(settings(), Some(Source::Path(DEMO.into())));
    settle(&mut window);
    choose_format(&mut window, "int8");
    click(&mut window, "Export");
    let (ours, theirs) = (place.path().join("it's ours"), place.path().join("theirs"));
    type_into(&mut window, "Size of a file, at most", "100KB");
    window.key_press(Key::Enter);
    settle(&mut window);
    type_instead(&mut window, "Folder to export to", ours.to_str().unwrap());
    let line = copy(&mut window, "Copy as command line");
    let program = Path::new(env!("CARGO_BIN_EXE_quantscope")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let shell = std::process::Command::new("sh").arg("-c").arg(&line).env("PATH", path).output();
    let output = shell.unwrap();
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    export_to(&mut window, &theirs);
    assert!(ours.join("model.safetensors.index.json").is_file(), "{line}");
    assert_equal_folders(&ours, &theirs);
}

#[test]
fn keys_alone_are_enough() {
    let place = tempfile::tempdir().unwrap();
    let mut window = window(settings(), None);
    window.run_steps(3);
    palette(&mut window, "open the demo");
    assert!(window.query_by_label("demo").is_some());

    focus_by_tab(&mut window, "Format");
    window.key_press(Key::Space);
    window.run_steps(3);
    // The first choice is to have none.
    focus_by_tab(&mut window, "mxfp8");
    window.key_press(Key::Enter);
    settle(&mut window);
    assert!(window.query_by_label_contains("coverage").is_some());
    palette(&mut window, "export and verify");
    focus_by_tab(&mut window, "Folder to export to");
    window.key_press_modifiers(Modifiers::COMMAND, Key::A);
    window.run_steps(2);
    let out = place.path().join("out");
    window.event(eframe::egui::Event::Text(out.to_str().unwrap().to_owned()));
    window.run_steps(2);
    window.key_press_modifiers(Modifiers::COMMAND, Key::Enter);
    settle(&mut window);
    assert!(window.query_by_label("Exported and verified").is_some());
    assert!(out.join("model.safetensors").is_file());
}

#[test]
fn constants_are_packed_as_batch_packs_them() {
    let place = tempfile::tempdir().unwrap();
    let mut window = window(settings(), Some(Source::Path(DEMO.into())));
    click(&mut window, "Layout: q4gsw");
    choose_format(&mut window, "int4-g32");
    click(&mut window, "Quantize embeddings");
    click(&mut window, "Store scales in f32");
    assert!(window.query_by_label("No findings").is_some());
    window.get_by_label("More choices").click();
    settle(&mut window);
    click(&mut window, "Nibbles of tables: even high");
    click(&mut window, "Block scales: no clipping");

    click(&mut window, "Export");
    let (ours, theirs) = (place.path().join("ours"), place.path().join("theirs"));
    export_to(&mut window, &ours);
    let options =
        ["--scale-dtype", "f32", "--nibbles", "even-high", "--scale-search", "no-clipping"];
    let format = ["--format", "int4-g32", "--quantize-embeddings", "--export", "q4gsw"];
    batch(&[&[DEMO], &format[..], &options, &["--out", theirs.to_str().unwrap()]].concat());
    assert_equal_folders(&ours, &theirs);
    assert!(ours.join("q4gsw.json").is_file());
}

#[test]
fn a_quantized_checkpoint_can_be_looked_at_and_verified_against_its_source() {
    let place = tempfile::tempdir().unwrap();
    let quantized = place.path().join("quantized");
    batch(&[DEMO, "--format", "nvfp4", "--out", quantized.to_str().unwrap()]);
    let mut window = window(settings(), Some(Source::Path(quantized.clone())));
    settle(&mut window);
    assert!(window.query_by_label_contains("This checkpoint is quantized already").is_some());
    click(&mut window, "Export");
    type_into(&mut window, "Float checkpoint to compare with", DEMO);
    click(&mut window, "Verify");
    assert!(window.query_by_label("Verified").is_some());

    // One scale of NaN, and it no longer is.
    let file = quantized.join("model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let scales = tensors.tensor("model.layers.0.mlp.up_proj.weight_scale").unwrap();
    let at = scales.data().as_ptr() as usize - bytes.as_ptr() as usize;
    bytes[at] = 0x7F;
    fs::write(&file, bytes).unwrap();
    click(&mut window, "Verify");
    assert!(window.query_by_label("Verification failed").is_some());
}

#[test]
fn kernels_run_on_the_device_that_draws_with_the_same_bytes() {
    if !can_draw() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let mut window: Window =
        Harness::builder().with_size([1440.0, 900.0]).wgpu().build_eframe(|creation| {
            let gpu = creation.wgpu_render_state.as_ref().map(share).unwrap();
            let settings = Settings { device: gpu.info.name.clone(), ..Settings::default() };
            App::new(&creation.egui_ctx, settings, Some(gpu), Some(Source::Path(DEMO.into())))
        });
    settle(&mut window);
    choose_format(&mut window, "nvfp4");
    click(&mut window, "Export");
    let (ours, theirs) = (place.path().join("ours"), place.path().join("theirs"));
    export_to(&mut window, &ours);
    batch(&[DEMO, "--format", "nvfp4", "--device", "cpu", "--out", theirs.to_str().unwrap()]);
    assert_equal_folders(&ours, &theirs);
    assert!(window.query_by_label("CPU").is_none(), "the device is the GPU");
}

#[test]
fn every_change_can_be_undone() {
    let mut window = window(settings(), Some(Source::Demo));
    settle(&mut window);
    let before = window.state().settings().drafts[0].recipe.clone();
    click(&mut window, "Quantize embeddings");
    click(&mut window, "Layers: feed-forward");
    click(&mut window, "Add a rule");
    let after = window.state().settings().drafts[0].recipe.clone();
    for _ in 0..3 {
        window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
        settle(&mut window);
    }
    assert_eq!(window.state().settings().drafts[0].recipe.clone(), before);
    for _ in 0..3 {
        window.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
        settle(&mut window);
    }
    assert_eq!(window.state().settings().drafts[0].recipe.clone(), after);
}

#[test]
fn what_was_open_is_open_again() {
    let mut first = window(settings(), Some(Source::Path(DEMO.into())));
    settle(&mut first);
    click(&mut first, "Quantize embeddings");
    first.key_press_modifiers(Modifiers::COMMAND, Key::Num2);
    first.run_steps(2);
    first.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::A);
    settle(&mut first);
    let settings = first.state().settings();
    let draft = settings.drafts[0].clone();
    assert_eq!(draft.selection.len(), 38);
    let mut second = window(settings.clone(), None);
    settle(&mut second);
    assert_eq!(second.state().settings(), settings);
    assert!(second.query_by_label("38 tensors selected").is_some());
}

#[test]
fn what_cannot_be_opened_says_why_and_what_is_open_stays() {
    let mut window = window(settings(), Some(Source::Path("/nowhere/at-all".into())));
    settle(&mut window);
    assert!(window.query_by_label("Cannot open /nowhere/at-all").is_some());
    palette(&mut window, "open the demo");
    assert!(window.query_by_label("demo").is_some());
    assert!(window.query_by_label("Cannot open /nowhere/at-all").is_none());
}

#[test]
fn opening_another_checkpoint_stops_an_export_and_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("source");
    big_checkpoint(&source);
    let mut window = window(settings(), Some(Source::Path(source)));
    settle(&mut window);
    choose_format(&mut window, "nvfp4");
    window.key_press_modifiers(Modifiers::COMMAND, Key::Enter);
    window.run_steps(3);
    assert!(window.query_by_label("Stop").is_some(), "the export is under way");
    palette(&mut window, "open the demo");
    assert!(window.query_by_label("demo").is_some());
    let started = Instant::now();
    let left = || fs::read_dir(place.path()).unwrap().count() - 1;
    while left() > 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "the export leaves something behind");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A checkpoint that takes a while: 256 MiB of zeros, most of them not on disk.
fn big_checkpoint(folder: &Path) {
    fs::create_dir(folder).unwrap();
    fs::copy(Path::new(DEMO).join("config.json"), folder.join("config.json")).unwrap();
    let rows = 4096;
    let bytes = 2 * rows * 4096;
    let tensors: Vec<String> = (0..8)
        .map(|layer| {
            let (begin, end) = (layer * bytes, (layer + 1) * bytes);
            format!(
                "\"model.layers.{layer}.mlp.up_proj.weight\":{{\"dtype\":\"BF16\",\
                 \"shape\":[{rows},4096],\"data_offsets\":[{begin},{end}]}}"
            )
        })
        .collect();
    let header = format!("{{{}}}", tensors.join(","));
    let mut file = fs::File::create(folder.join("model.safetensors")).unwrap();
    use std::io::Write;
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + 8 * bytes).unwrap();
}

#[test]
fn a_view_can_be_drawn_without_a_display() {
    if !can_draw() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    for (view, more) in [("welcome", ""), ("table", "--light"), ("export", "--quantize-embeddings")]
    {
        let file = place.path().join(format!("{view}.png"));
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_quantscope"));
        program.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        program.arg("--screenshot").arg(&file).args(["--view", view, "--format", "nvfp4"]);
        program.args(["--size", "1000x640"]).args((!more.is_empty()).then_some(more));
        let output = program.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let image = image::open(&file).unwrap();
        assert_eq!((image.width(), image.height()), (1000, 640));
    }
}

#[test]
fn views_look_as_they_did() {
    let is_mesa = |info: &quantscope::gpu::AdapterInfo| info.name.contains("llvmpipe");
    if !can_draw() || !quantscope::gpu::adapters().iter().any(is_mesa) {
        println!("skipped: the pictures were drawn by Mesa's software driver");
        return;
    }
    // Drivers round a little differently.
    let options = SnapshotOptions::new().output_path("tests/snapshots").max_failed_pixels(400usize);
    let mut results = SnapshotResults::new();
    for (view, theme) in
        [(View::Map, Theme::Dark), (View::Table, Theme::Light), (View::Profile, Theme::Dark)]
    {
        let preference =
            if theme == Theme::Dark { ThemePreference::Dark } else { ThemePreference::Light };
        let settings = Settings { view, theme: preference, ..settings() };
        let mut window: Window =
            Harness::builder().with_size([1200.0, 700.0]).with_theme(theme).wgpu().build_eframe(
                |creation| {
                    let mut app = App::new(&creation.egui_ctx, settings, None, None);
                    let recipe = toml::from_str("format = 'nvfp4'").unwrap();
                    app.open_with(Source::Path(DEMO.into()), recipe);
                    app
                },
            );
        settle(&mut window);
        window.run_steps(10);
        results.add(window.try_snapshot_options(format!("window_{}", view.key()), &options));
    }
}
