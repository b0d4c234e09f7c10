//! Faults that were planted are found in the window in three clicks, and a format in one.
#![cfg(feature = "gui")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use common::window::*;
use eframe::egui::Role;
use egui_kittest::kittest::{NodeT, Queryable};
use quantscope::checkpoint::Checkpoint;
use quantscope::cpu::Cpu;
use quantscope::dialect::Dialect;
use quantscope::format::Format;
use quantscope::gui::Source;
use quantscope::inspect::{FormatCell, FormatMatrix, measure};
use quantscope::model::Model;
use quantscope::plan::{Plan, Sharding};
use quantscope::recipe::Recipe;

/// The names of all buttons that contain a text, from above.
fn buttons(window: &Window, text: &str) -> Vec<String> {
    let nodes = window.root().children_recursive();
    let buttons = nodes.filter(|node| node.accesskit_node().role() == Role::Button);
    let names = buttons.filter_map(|node| node.accesskit_node().label());
    names.filter(|name| name.contains(text)).collect()
}

/// Changes the bytes of a tensor in a file.
fn change(file: &Path, tensor: &str, change: impl Fn(&mut [u8])) {
    let mut bytes = fs::read(file).unwrap();
    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..start]).unwrap();
    let offsets = &header[tensor]["data_offsets"];
    let at = |i: usize| start + offsets[i].as_u64().unwrap() as usize;
    let range = at(0)..at(1);
    change(&mut bytes[range]);
    fs::write(file, bytes).unwrap();
}

fn copy_of(folder: &Path, place: &Path) -> PathBuf {
    let copy = place.join("copy");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    copy
}

#[test]
fn a_flipped_code_is_the_first_row_and_the_first_difference() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("quantized");
    batch(&[DEMO, "--format", "nvfp4", "--out", out.to_str().unwrap()]);
    let name = "model.layers.2.mlp.up_proj.weight";
    // Rows of 64 weights: byte 133 has the weights in columns 10 and 11 of row 4.
    change(&out.join("model.safetensors"), name, |bytes| bytes[133] ^= 0x70);
    let mut window = window(settings(), Some(Source::Path(out)));
    settle(&mut window);

    click(&mut window, "Compare");
    type_into(&mut window, "Checkpoint to compare with", DEMO);
    click(&mut window, "Compare them");
    assert!(window.query_by_label_contains("1 of 38 matrices differ, in 1 weight").is_some());
    let rows = buttons(&window, " of 12288");
    assert!(rows[0].starts_with(&format!("{name}: 1 ")), "{rows:?}");
    assert!(rows[1].contains("equal"), "{rows:?}");
    click(&mut window, &rows[0]);
    assert_eq!(buttons(&window, "Difference: "), ["Difference: row 4, column 11"]);
    click(&mut window, "Difference: row 4, column 11");
    click(&mut window, "In the microscope");
    assert!(window.query_by_label("row 4, column 11").is_some());
}

#[test]
fn equal_checkpoints_are_said_to_be_equal() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("quantized");
    batch(&[DEMO, "--format", "int4-g32", "--export", "q4gsw", "--out", out.to_str().unwrap()]);
    for (opened, other) in [(out.as_path(), Path::new(DEMO)), (Path::new(DEMO), out.as_path())] {
        let mut window = window(settings(), Some(Source::Path(opened.into())));
        settle(&mut window);
        click(&mut window, "Compare");
        type_into(&mut window, "Checkpoint to compare with", other.to_str().unwrap());
        click(&mut window, "Compare them");
        let equal = window.query_by_label_contains("matrices are equal").is_some();
        assert!(equal, "{:?}", buttons(&window, " of "));
    }
}

#[test]
fn the_same_on_two_devices_is_equal() {
    if !can_draw() {
        return;
    }
    let mut window = window(settings(), Some(Source::Path(DEMO.into())));
    settle(&mut window);
    choose_format(&mut window, "nvfp4");
    click(&mut window, "Compare");
    let name = quantscope::gpu::adapters()[0].name.clone();
    let short = name.split(" (").next().unwrap();
    let device = buttons(&window, short).remove(0);
    click(&mut window, &device);
    assert!(window.query_by_label("All 28 matrices are equal.").is_some());
}

#[test]
fn a_wrong_expert_is_the_first_of_the_odd_ones() {
    let place = tempfile::tempdir().unwrap();
    let source =
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/compressed-tensors/e2e/src/qwen3-moe");
    let copy = copy_of(Path::new(source), place.path());
    for projection in ["gate_proj", "up_proj", "down_proj"] {
        let name = format!("model.layers.1.mlp.experts.5.{projection}.weight");
        change(&copy.join("model.safetensors"), &name, |bytes| {
            for weight in bytes.chunks_exact_mut(2) {
                // Four times a number of bfloat16 is two more in its exponent.
                let bits = u16::from_le_bytes([weight[0], weight[1]]);
                let larger = if bits & 0x7F80 == 0 { bits } else { bits + (2 << 7) };
                weight.copy_from_slice(&larger.to_le_bytes());
            }
        });
    }
    let mut window = window(settings(), Some(Source::Path(copy)));
    settle(&mut window);
    click(&mut window, "Experts");
    let nodes = window.root().children_recursive();
    let names = nodes.filter_map(|node| node.accesskit_node().label());
    let deviation = names.into_iter().find(|name| name.starts_with("Statistic: σ")).unwrap();
    assert!(deviation.ends_with("1 odd"), "{deviation}");
    click(&mut window, &deviation);
    let odd = buttons(&window, "Odd: ");
    assert!(odd[0].starts_with("Odd: layer 1, expert 5:"), "{odd:?}");
    click(&mut window, &odd[0]);
    assert!(window.query_by_label("Layer 1, expert 5").is_some());
    click(&mut window, "In the microscope");
    let tensor = window.get_by_role_and_label(Role::ComboBox, "Tensor").accesskit_node().value();
    assert_eq!(tensor.as_deref(), Some("model.layers.1.mlp.experts.5.down_proj.weight"));
}

/// All layers of a projection of the demo together, in some formats.
fn measured(projection: &str, formats: &[Format]) -> Vec<FormatCell> {
    let checkpoint = Checkpoint::open(Path::new(DEMO)).unwrap();
    let dialect = Dialect::Modelopt;
    let model = Model::new(&checkpoint, dialect.fused_experts());
    let recipe = Recipe { format: Some("nvfp4".parse().unwrap()), ..Recipe::default() };
    let plan = Plan::new(&model, &recipe, dialect, Sharding::AsSource).unwrap();
    let never = AtomicBool::new(false);
    let rows = (0..4).map(|layer| {
        let name = format!("model.layers.{layer}.{projection}.weight");
        let cells = measure(&checkpoint, &plan, &name, formats, &Cpu, &never, &mut |_| {});
        (name, cells.unwrap())
    });
    let matrix = FormatMatrix { rows: rows.collect() };
    matrix.together(|_| String::new()).rows.remove(0).1
}

#[test]
fn formats_show_what_is_measured_and_a_click_makes_the_plan_so() {
    let mut window = window(settings(), Some(Source::Path(DEMO.into())));
    settle(&mut window);
    choose_format(&mut window, "nvfp4");
    click(&mut window, "Formats");
    settle(&mut window);
    let formats: Vec<Format> = ["nvfp4", "mxfp4", "mxfp8"].map(|f| f.parse().unwrap()).into();
    for cell in &measured("mlp.gate_proj", &formats)[1..] {
        let sums = cell.outcome.as_ref().unwrap();
        let begin = format!(
            "mlp.gate_proj (4 tensors) in {}: {:.2} dB, {:.2} bits a weight",
            cell.format.unwrap(),
            sums.sqnr_db().unwrap(),
            sums.bits_per_weight()
        );
        assert_eq!(buttons(&window, &begin).len(), 1, "{begin}");
    }
    let refused = buttons(&window, "mlp.gate_proj (4 tensors) in int4-g128: ");
    assert!(refused[0].contains("128"), "{refused:?}");
    let cell = buttons(&window, "mlp.gate_proj (4 tensors) in mxfp8: ").remove(0);
    assert!(!cell.contains("as planned"));
    click(&mut window, &cell);
    let cell = buttons(&window, "mlp.gate_proj (4 tensors) in mxfp8: ").remove(0);
    assert!(cell.ends_with("as planned"), "{cell}");
    assert!(window.query_by_label("Pattern of rule 1").is_some());
    let kept = buttons(&window, "mlp.up_proj (4 tensors) in keep: ").remove(0);
    click(&mut window, &kept);
    let kept = buttons(&window, "mlp.up_proj (4 tensors) in keep: ").remove(0);
    assert!(kept.ends_with("as planned"), "{kept}");
}
