//! ONNX models in the window: what it says of them, and that it exports what `--batch` does.
#![cfg(feature = "gui")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::window::*;
use common::{data, files};
use eframe::egui::{Key, Role};
use egui_kittest::kittest::{NodeT, Queryable};
use quantscope::gui::{Settings, Source, View};
use quantscope::units;
use tempfile::TempDir;

/// A model in a folder of its own, open in the view for exports.
struct Opened {
    folder: TempDir,
    model: PathBuf,
    window: Window,
}

fn open(name: &str) -> Opened {
    let folder = tempfile::tempdir().unwrap();
    for ending in ["onnx", "onnx.data"] {
        let file = data(&format!("onnx/{name}.{ending}"));
        if file.exists() {
            fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
    }
    let model = folder.path().join(format!("{name}.onnx"));
    let settings = Settings { view: View::Export, ..settings() };
    let mut window = window(settings, Some(Source::path(&model)));
    settle(&mut window);
    Opened { folder, model, window }
}

impl Opened {
    /// Does without a window what the recipe says, into a folder of the name.
    fn batch(&mut self, name: &str) -> PathBuf {
        let recipe = self.folder.path().join("recipe.toml");
        fs::write(&recipe, copy(&mut self.window, "Copy recipe")).unwrap();
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        let out = folder.join("small.onnx");
        let [model, recipe, out] = [&self.model, &recipe, &out].map(|path| path.to_str().unwrap());
        batch(&[model, "--recipe", recipe, "--device", "cpu", "--out", out]);
        folder
    }

    /// Exports in the window, into a folder of the name.
    fn export(&mut self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        let out = folder.join("small.onnx");
        export_as(&mut self.window, "File or folder to export to", &out);
        folder
    }

    fn says(&self, text: &str) -> bool {
        self.window.query_by_label(text).is_some()
    }

    /// Chooses each outcome in turn: what is said to be its size is that of its plan, and of its export.
    /// Gives these sizes.
    fn sizes<const N: usize>(&mut self, outcomes: [&str; N]) -> [u64; N] {
        outcomes.map(|outcome| {
            let said = beside(&self.window, outcome);
            click(&mut self.window, outcome);
            let bytes = size(&self.batch(outcome));
            assert_eq!(said, units::bytes(bytes), "{outcome}");
            assert!(self.says(&format!("{bytes} bytes")), "{outcome}");
            bytes
        })
    }
}

/// Bytes of all files in a folder.
fn size(folder: &Path) -> u64 {
    files(folder).values().map(|bytes| bytes.len() as u64).sum()
}

/// The text on the right of a radio button.
fn beside(window: &Window, radio: &str) -> String {
    let line = window.get_by_role_and_label(Role::RadioButton, radio).rect();
    let labels = window.query_all_by_role(Role::Label);
    let mut right = labels.filter(|label| {
        let rect = label.rect();
        rect.left() > line.right() && line.y_range().contains(rect.center().y)
    });
    right.next().unwrap().accesskit_node().value().unwrap()
}

#[test]
fn every_outcome_of_a_tie_has_the_bytes_that_it_says() {
    let mut model = open("tied_transpose");
    assert!(model.says("model.embed_tokens.weight is the head as well: /lm_head/MatMul takes it"));
    choose_format(&mut model.window, "int4");
    let outcomes = ["float", "int4-g32 table, float head", "one int4-g32 table for both"];
    let [float, untied, shared] = model.sizes(outcomes);
    assert!(shared < float && float < untied, "{shared} {float} {untied}");
}

#[test]
fn an_outcome_that_the_format_does_not_allow_cannot_be_chosen() {
    let mut model = open("tied_transpose");
    // Rows of 64.
    choose_format(&mut model.window, "int8-asym-g128");
    let can_choose = |outcome: &str| {
        let radio = model.window.get_by_role_and_label(Role::RadioButton, outcome);
        !radio.accesskit_node().is_disabled()
    };
    assert!(can_choose("float"));
    assert!(!can_choose("int8-asym-g128 table, float head"));
    assert!(!can_choose("one int8-asym-g128 table for both"));
}

#[test]
fn a_table_that_is_quantized_already_can_be_the_head_as_well() {
    let mut model = open("embedding_quantized_sym");
    assert!(model.says("This model is quantized in part: 1 layer with codes and scales."));
    assert!(model.says("as stored"), "its layers are looked at");
    choose_format(&mut model.window, "int4");
    assert!(model.says(
        "lm_head.weight is within half a step of what model.embed_tokens.weight_Q4 stands for, \
         every weight of it"
    ));
    // Neither are the table's scales a matrix to quantize, nor does the head have codes.
    assert!(model.says("100.0 % in 2 of 2 tensors") && model.says("5.000 bits"));
    let [own, shared] = model.sizes(["a head of its own", "one table for both"]);
    assert!(shared < own, "{shared} {own}");
}

#[test]
fn the_export_is_what_batch_writes() {
    for (name, is_external) in [("tied_copy", false), ("tied_transpose", true), ("external", true)]
    {
        let mut model = open(name);
        choose_format(&mut model.window, "int4");
        click(&mut model.window, "Quantize embeddings");
        model.window.get_by_label("More choices").click();
        settle(&mut model.window);
        // Tensors of a source that has them in a file of their own stay there.
        if is_external && name != "external" {
            click(&mut model.window, "Tensors in a file of their own");
        }
        let ours = model.export("ours");
        let names: &[&str] =
            if is_external { &["small.onnx", "small.onnx.data"] } else { &["small.onnx"] };
        assert!(model.says(&names.join(" and ")), "{name}: files to write");
        assert_eq!(files(&ours).into_keys().collect::<Vec<_>>(), names, "{name}");
        let theirs = model.batch("theirs");
        assert_equal_folders(&ours, &theirs);
    }
}

#[test]
fn an_export_is_shown_as_the_quantized_model_it_is() {
    let mut model = open("tied_transpose");
    choose_format(&mut model.window, "int4");
    click(&mut model.window, "Quantize embeddings");
    model.window.get_by_label("More choices").click();
    settle(&mut model.window);
    click(&mut model.window, "Tensors in a file of their own");
    let bytes = size(&model.export("out"));
    click(&mut model.window, "Look at it here");
    assert!(model.says("small.onnx"));
    assert!(model.says("This model is quantized already: 3 layers with codes and scales."));
    assert!(model.says("as stored") && model.says(&format!("{bytes} bytes")));

    type_into(&mut model.window, "Float checkpoint to compare with", model.model.to_str().unwrap());
    click(&mut model.window, "Verify");
    assert!(model.says("Verified"));

    click(&mut model.window, "Statistics");
    let shown: Vec<[String; 4]> = table(&mut model.window);
    let expected = [
        // Codes, scales and zero points are counted once, though the head reads them too.
        ["model.embed_tokens.weight", "F32", "int4-g32", "3936"],
        ["model.embed_tokens.weight as logits", "F32", "int4-g32", "0"],
        ["model.layers.0.mlp.proj.weight", "F32", "int4-g32", "2560"],
        ["model.layers.0.norm.weight", "F32", "kept", "256"],
        ["model.norm.weight", "F32", "kept", "256"],
    ];
    assert_eq!(shown, expected);
}

/// Name, type, format and bytes after, in every row of the statistics table.
fn table(window: &mut Window) -> Vec<[String; 4]> {
    let csv = copy(window, "Copy");
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let titles = lines.next().unwrap();
    let places = ["name", "dtype", "format", "bytes_after"]
        .map(|title| titles.iter().position(|other| *other == title).unwrap());
    lines.map(|cells| places.map(|place| cells[place].to_owned())).collect()
}

#[test]
fn a_head_that_reads_the_codes_of_the_table_is_not_waited_for() {
    let mut model = open("wide_names");
    choose_format(&mut model.window, "int4");
    click(&mut model.window, "Quantize embeddings");
    assert!(
        model.says("lm_head.weight equals model.embed_tokens.weight byte for byte, transposed")
    );
    // A table of 96 · 64 weights with zero points, and two matrices of 64 · 64 without.
    assert!(model.says("5.054 bits"));
    click(&mut model.window, "Map");
    click(&mut model.window, "Colour by: SQNR");
    assert!(model.window.query_by_label_contains("SQNR dB from").is_some());
    assert!(model.window.query_by_label_contains("not measured yet").is_none());
}

#[test]
fn a_weight_of_three_dimensions_is_left_alone_for_what_it_is() {
    let mut model = open("batched");
    choose_format(&mut model.window, "int4");
    let finding = model.window.get_by_label_contains("a rule asks to quantize these");
    let said = finding.accesskit_node().value().unwrap();
    assert!(said.contains("only two-dimensional weights of layers can be"), "{said}");
}

#[test]
fn formats_take_the_bits_that_scales_of_the_models_type_have() {
    for (name, bits) in [("tied_transpose", "5.00"), ("tied_f16", "4.50")] {
        let mut model = open(name);
        model.window.get_by_role_and_label(Role::ComboBox, "Format").click();
        model.window.run_steps(3);
        assert!(model.says(&format!("int4   {bits} bits a weight")), "{name}");
        assert!(
            model.window.query_by_label_contains("nvfp4").is_none(),
            "ONNX has no place for it"
        );
    }
}

#[test]
fn names_of_files_that_differ_at_their_ends_are_told_apart() {
    let mut model = open("external");
    choose_format(&mut model.window, "int4");
    let out = model.folder.path().join("a-long-name-that-takes-much-room.onnx");
    type_instead(&mut model.window, "File or folder to export to", out.to_str().unwrap());
    model.window.key_press(Key::Enter);
    settle(&mut model.window);
    click(&mut model.window, "Files");
    for ending in ["", ".data"] {
        let name = format!("a-long-name-that-takes-much-room.onnx{ending}");
        click(&mut model.window, &name);
        let tensors = if ending.is_empty() { "are graph" } else { "lie between tensors" };
        assert!(model.window.query_by_label_contains(tensors).is_some(), "{name}");
    }
}
