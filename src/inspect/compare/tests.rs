use std::path::Path;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::cpu::Cpu;
use crate::dialect::Dialect;
use crate::format::Quotient;
use crate::inspect::{Matrix, Subject};
use crate::model::Model;
use crate::plan::{Plan, Sharding};
use crate::quantized::{self, Layer, Outputs, Stated};
use crate::recipe::Recipe;

/// A checkpoint below the reference data, with its layers and a plan.
struct Opened {
    checkpoint: Checkpoint,
    layers: Vec<Layer>,
    plan: Plan,
}

impl Opened {
    fn stored(path: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path);
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let stated = Stated::of(&checkpoint);
        let layers = quantized::find(&checkpoint, None, stated.ignore_list(), stated.dialect);
        let plan = quantized::plan(&checkpoint, &layers, Outputs::Stored, Sharding::AsSource);
        Self { checkpoint, layers, plan }
    }

    fn source(path: &str, dialect: Dialect, recipe: &Recipe) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path);
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let model = Model::new(&checkpoint, dialect.fused_experts());
        let plan = Plan::new(&model, recipe, dialect, Sharding::AsSource).unwrap();
        Self { plan, layers: Vec::new(), checkpoint }
    }

    fn side(&self) -> Side<'_> {
        let Self { checkpoint, layers, plan } = self;
        Side { name: "it", checkpoint, layers, plan, backend: &Cpu }
    }
}

fn never() -> AtomicBool {
    AtomicBool::new(false)
}

fn recipe(format: &str) -> Recipe {
    Recipe { format: Some(format.parse().unwrap()), ..Recipe::default() }
}

fn overview(a: &Opened, b: &Opened) -> Overview {
    let (mut last, mut calls) = ((0, 0), 0);
    let mut told = |done, all| (last, calls) = ((done, all), calls + 1);
    let overview = Overview::of([a.side(), b.side()], &never(), &mut told).unwrap();
    assert_eq!((last.0, calls), (last.1, last.1 + 1));
    overview
}

#[test]
fn what_reference_tools_stored_is_what_is_made_of_its_source() {
    let (modelopt, compressed) = (Dialect::Modelopt, Dialect::CompressedTensors);
    for (stored, source, dialect, format) in [
        ("modelopt/e2e/llama_mxfp8/out", "modelopt/e2e/llama_mxfp8/src", modelopt, "mxfp8"),
        ("modelopt/e2e/llama_fp8_noact/out", "modelopt/e2e/llama_fp8_noact/src", modelopt, "fp8"),
        (
            "modelopt/e2e/gptoss_w4a16nvfp4/out",
            "modelopt/e2e/gptoss_w4a16nvfp4/src",
            modelopt,
            "nvfp4",
        ),
        (
            "compressed-tensors/e2e/qwen3-moe-NVFP4A16",
            "compressed-tensors/e2e/src/qwen3-moe",
            compressed,
            "nvfp4",
        ),
        (
            "compressed-tensors/e2e/llama-W4A16_ASYM",
            "compressed-tensors/e2e/src/llama",
            compressed,
            "int4-asym-g128",
        ),
    ] {
        let stored = Opened::stored(stored);
        let mut source = Opened::source(source, dialect, &recipe(format));
        if dialect == compressed && format != "nvfp4" {
            // The library divided on a CPU.
            source.plan.quotient = Some(Quotient::Own);
        }
        let compared = overview(&stored, &source);
        assert!(!stored.layers.is_empty() && compared.refused.is_empty(), "{compared:?}");
        assert!(compared.sizes.is_empty() && compared.rows.len() >= stored.layers.len());
        let counts = compared.counts();
        assert_eq!(counts.differing(), 0, "{format}: {:?}", compared.rows[0]);
        assert!(counts.of(Class::Equal) > 1000);
    }
}

#[test]
fn a_scale_group_of_the_plan_gives_the_global_scale_and_without_it_there_is_a_note() {
    let compressed = Dialect::CompressedTensors;
    let stored = Opened::stored("compressed-tensors/e2e/llama-NVFP4A16");
    let grouped = Opened::source("compressed-tensors/e2e/src/llama", compressed, &recipe("nvfp4"));
    let alone = Opened::source("compressed-tensors/e2e/src/llama", compressed, &Recipe::default());
    let names = ["gate_proj", "up_proj"].map(|name| format!("model.layers.0.mlp.{name}.weight"));
    let compare = |source: &Opened, name: &String| {
        let subject = Subject { tensor: name.clone(), expert: 0, format: None };
        let a = Matrix::of(&stored.checkpoint, &stored.layers, &stored.plan, &subject).unwrap();
        let b = Matrix::against(&source.checkpoint, &source.plan, &a).unwrap();
        let readers = [a, b].map(|matrix| Reader::new(matrix, &Cpu, &never()).unwrap());
        let mut rows = 0;
        let sides = [&readers[0], &readers[1]];
        let compared =
            Comparison::of(["stored", "ours"], sides, None, &never(), &mut |n| rows += n).unwrap();
        assert_eq!(rows, compared.rows);
        compared
    };
    // The largest magnitude of both is that of one of them, and the other is at odds with its own.
    let mut at_odds = 0;
    for name in &names {
        let same = compare(&grouped, name);
        assert_eq!((same.counts.differing(), same.largest), (0, None));
        assert!(same.notes.is_empty(), "{:?}", same.notes);
        let other = compare(&alone, name);
        let [a, b] = other.global_scales.unwrap();
        assert_eq!(other.counts.total(), other.rows * other.columns);
        if a.to_bits() != b.to_bits() {
            at_odds += 1;
            assert_eq!(other.counts.of(Class::ScaleDiffers), other.counts.total());
            assert!(other.notes.iter().any(|note| note.contains("global scale")));
        }
    }
    assert_eq!(at_odds, 1);
}

#[test]
fn formats_are_compared_by_values_and_the_list_and_map_show_where() {
    let demo = Opened::source("../../assets/demo", Dialect::Modelopt, &recipe("nvfp4"));
    let name = "model.layers.0.mlp.gate_proj.weight";
    let reader = |format: &str| {
        let format = Some(format.parse().unwrap());
        let subject = Subject { tensor: name.to_owned(), expert: 0, format };
        let matrix = Matrix::of(&demo.checkpoint, &[], &demo.plan, &subject).unwrap();
        Reader::new(matrix, &Cpu, &never()).unwrap()
    };
    let compare = |a: &Reader<'_>, b: &Reader<'_>| {
        Comparison::of(["a", "b"], [a, b], None, &never(), &mut |_| {}).unwrap()
    };
    let (nvfp4, int8) = (reader("nvfp4"), reader("int8"));
    assert_eq!(compare(&nvfp4, &nvfp4).counts.of(Class::Equal), 192 * 64);
    let compared = compare(&nvfp4, &int8);
    assert_eq!(compared.examples.len(), 20);
    assert_eq!(compared.counts.differing(), compared.counts.of(Class::Other));
    let map: u64 = compared.map.cells.iter().map(|(_, n)| u64::from(*n)).sum();
    assert_eq!((map, compared.map.size), (compared.counts.differing(), [192, 64]));
    assert_eq!(compared.csv().lines().count(), 21);
    // The numbers are those of the sheets.
    let (a, b) = (nvfp4.sheet(0..192).unwrap(), int8.sheet(0..192).unwrap());
    let first = compared.examples[0];
    let cells = [a.cell(first.row, first.column), b.cell(first.row, first.column)];
    let values = cells.map(|cell| cell.unwrap().value);
    assert_eq!(values, first.sides.map(|side| side.value));
    assert_eq!(first.weight, cells[0].unwrap().weight);
    let distances = a.values.iter().zip(&b.values).map(|(a, b)| f64::from((a - b).abs()));
    let largest = distances.fold(0.0, f64::max);
    assert!((compared.largest.unwrap().distance() - largest).abs() < 1e-7);
}

#[test]
fn a_map_is_never_larger_than_a_picture() {
    let mut map = ClassMap::new(5000, 3);
    assert_eq!((map.size, map.step), ([1000, 3], [5, 1]));
    map.add(4999, 2, Class::OneStep);
    map.add(4998, 2, Class::ScaleDiffers);
    map.add(4997, 2, Class::OneStep);
    assert_eq!(map.cells[2999], (Class::ScaleDiffers, 3));
    assert_eq!((multiple(4, 6), multiple(128, 1), multiple(0, 3)), (12, 128, 3));
}

#[test]
fn shapes_that_differ_and_tensors_of_one_side_are_told() {
    let a = Opened::source("../../assets/demo", Dialect::Modelopt, &Recipe::default());
    let b =
        Opened::source("compressed-tensors/e2e/src/llama", Dialect::Modelopt, &Recipe::default());
    let compared = overview(&a, &b);
    let told = compared.rows.len() + compared.sizes.len() + compared.alone[0].len();
    assert_eq!(told + compared.refused.len(), a.plan.entries.len());
    assert!(!compared.sizes.is_empty());
    assert_eq!(compared.csv().lines().count(), 1 + a.plan.entries.len() + compared.alone[1].len());
}
