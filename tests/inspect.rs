//! What is shown of a matrix is what an export holds: codes, scales and values, weight by weight.

mod common;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use quantscope::checkpoint::Checkpoint;
use quantscope::cpu::Cpu;
use quantscope::dialect::Dialect;
use quantscope::format::Format;
use quantscope::inspect::{Block, InspectError, Matrix, Reader, Sheet, Subject, explain};
use quantscope::model::Model;
use quantscope::plan::{Plan, Sharding};
use quantscope::quantized::{self, Layer, Outputs, Stated};
use quantscope::recipe::Recipe;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo");
static GO_ON: AtomicBool = AtomicBool::new(false);

fn subject(tensor: &str) -> Subject {
    Subject { tensor: tensor.to_owned(), expert: 0, format: None }
}

fn plan(checkpoint: &Checkpoint, recipe: &Recipe) -> Plan {
    let dialect = recipe.dialect_for(checkpoint);
    let model = Model::new(checkpoint, dialect.fused_experts());
    Plan::new(&model, recipe, dialect, Sharding::AsSource).unwrap()
}

/// All rows of a matrix.
fn sheet(
    checkpoint: &Checkpoint,
    layers: &[Layer],
    plan: &Plan,
    subject: &Subject,
) -> Result<Sheet, InspectError> {
    let matrix = Matrix::of(checkpoint, layers, plan, subject)?;
    let rows = matrix.rows;
    Reader::new(matrix, &Cpu, &GO_ON)?.sheet(0..rows)
}

fn layers_of(checkpoint: &Checkpoint) -> Vec<Layer> {
    let stated = Stated::of(checkpoint);
    quantized::find(checkpoint, None, stated.ignore_list(), stated.dialect)
}

fn export(source: &str, out: &Path, arguments: &[&str]) {
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_quantscope"))
        .args(["--batch", source, "--quiet", "--device", "cpu", "--unserved", "--out"])
        .arg(out)
        .args(arguments)
        .status();
    assert!(status.unwrap().success(), "{arguments:?}");
}

/// Compares every number of every layer of an export with what is shown of its source.
fn assert_shown_as_stored(source: &str, recipe: &Recipe, out: &Path) {
    let (from, to) = (Checkpoint::open(source.as_ref()).unwrap(), Checkpoint::open(out).unwrap());
    let planned = plan(&from, recipe);
    let layers = layers_of(&to);
    let stored = quantized::plan(&to, &layers, Outputs::Stored, Sharding::AsSource);
    let mut compared = 0;
    for entry in planned.entries.iter().filter(|entry| entry.format().is_some()) {
        let name = &entry.member.tensor.name;
        let ours = sheet(&from, &[], &planned, &subject(name)).unwrap();
        let theirs = sheet(&to, &layers, &stored, &subject(name)).unwrap();
        assert_eq!(
            (ours.rows.clone(), ours.columns),
            (theirs.rows.clone(), theirs.columns),
            "{name}"
        );
        for row in ours.rows.clone() {
            for column in 0..ours.columns {
                let [a, b] = [&ours, &theirs].map(|sheet| sheet.cell(row, column).unwrap());
                assert_eq!(
                    (a.code, a.value.to_bits()),
                    (b.code, b.value.to_bits()),
                    "{name} {row} {column}"
                );
                let [a, b] = [&ours, &theirs].map(|sheet| sheet.scale(row, column).unwrap());
                assert_eq!(
                    (a.value, a.step, a.zero_point),
                    (b.value, b.step, b.zero_point),
                    "{name}"
                );
                assert_eq!(a.global.map(|(scale, _)| scale), b.global.map(|(scale, _)| scale));
            }
        }
        compared += 1;
    }
    assert!(compared > 20, "{compared} layers");
}

#[test]
fn what_is_shown_of_floats_is_what_an_export_holds() {
    let place = tempfile::tempdir().unwrap();
    for (format, dialect) in [
        ("nvfp4", "modelopt"),
        ("nvfp4", "compressed-tensors"),
        ("mxfp4", "compressed-tensors"),
        ("fp8", "modelopt"),
        ("fp8-block", "compressed-tensors"),
        ("int4-g32", "compressed-tensors"),
        ("int4-asym-g32", "compressed-tensors"),
        ("int8", "executorch"),
        ("int4-g32", "q4gsw"),
    ] {
        let out = place.path().join(format!("{format}-{dialect}"));
        export(DEMO, &out, &["--format", format, "--export", dialect]);
        let recipe = Recipe {
            format: Some(format.parse().unwrap()),
            export: Some(dialect.parse::<Dialect>().unwrap()),
            unserved: true,
            ..Recipe::default()
        };
        assert_shown_as_stored(DEMO, &recipe, &out);
    }
}

#[test]
fn a_search_for_scales_is_shown_as_it_is_stored() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("searched");
    export(DEMO, &out, &["--format", "nvfp4", "--scale-search", "mse"]);
    let recipe = Recipe {
        format: Some(Format::Nvfp4),
        scale_search: "mse".parse().unwrap(),
        ..Recipe::default()
    };
    assert_shown_as_stored(DEMO, &recipe, &out);
}

#[test]
fn explanations_have_the_numbers_of_the_block() {
    let checkpoint = Checkpoint::open(DEMO.as_ref()).unwrap();
    let recipe = Recipe { format: Some(Format::Nvfp4), ..Recipe::default() };
    let planned = plan(&checkpoint, &recipe);
    let name = "model.layers.0.mlp.up_proj.weight";
    let sheet = sheet(&checkpoint, &[], &planned, &subject(name)).unwrap();
    for (row, column) in [(0, 0), (12, 20), (191, 63)] {
        let block = Block::of(&sheet, row, column).unwrap();
        let index = block.index(row, column).unwrap();
        let cell = block.cells[index];
        let steps = explain(&block, index);
        let numbers = |name: &str| {
            let step = steps.iter().find(|step| step.name == name);
            step.unwrap_or_else(|| panic!("{name} in {steps:?}")).numbers.clone()
        };
        assert!(numbers("value").ends_with(&format!("= {}", cell.value)), "{steps:?}");
        assert!(numbers("code").ends_with(&format!("= {:04b}", cell.code)), "{steps:?}");
        let scale = format!("E4M3 {:#04x}", block.scale.code);
        assert!(numbers("scale").contains(&scale), "{steps:?}");
        assert!(!numbers("scale").contains("search"), "{steps:?}");
        assert_eq!(
            block.amax().unwrap(),
            block.weights().unwrap().iter().fold(0.0, |a, w| w.abs().max(a))
        );
    }
}

#[test]
fn what_does_not_divide_is_shown_as_floats_and_says_why() {
    let checkpoint = Checkpoint::open(DEMO.as_ref()).unwrap();
    let planned = plan(&checkpoint, &Recipe::default());
    let name = "model.layers.0.mlp.up_proj.weight";
    let tried = Subject { format: Some("int4-g128".parse().unwrap()), ..subject(name) };
    let matrix = Matrix::of(&checkpoint, &[], &planned, &tried).unwrap();
    let why = matrix.refused.clone().unwrap();
    assert!(why.contains("64") && why.contains("128"), "{why}");
    let reader = Reader::new(matrix, &Cpu, &GO_ON).unwrap();
    let sheet = reader.sheet(0..1).unwrap();
    assert!(sheet.weights.is_some() && sheet.chunk.is_none());
    assert!(Matrix::of(&checkpoint, &[], &planned, &subject("no.such")).is_err());
    let expert = Subject { expert: 3, ..subject(name) };
    let error = Matrix::of(&checkpoint, &[], &planned, &expert).unwrap_err().to_string();
    assert!(error.contains("expert 3"), "{error}");
}
