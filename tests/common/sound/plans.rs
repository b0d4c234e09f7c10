//! What holds for every plan.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use quantscope::checkpoint::Checkpoint;
use quantscope::dialect::Dialect;
use quantscope::format::Format;
use quantscope::model::Model;
use quantscope::plan::{Contents, Plan, Sharding};
use quantscope::quantized::Stated;
use quantscope::recipe::{Indivisible, Preset, Recipe};
use quantscope::report::rows;

use super::case::{Case, folder};

/// A `config.json` and a description beside it, with tensors: what plans and statements read of them.
pub fn any_config(bytes: &[u8]) {
    let Some(case) = Case::read(bytes) else { return };
    let folder = folder();
    let Ok(checkpoint) = Checkpoint::open(&case.write(folder.path())) else { return };
    readable(&checkpoint);
    let stated = Stated::of(&checkpoint);
    for tensor in &checkpoint.tensors {
        let _ = (stated.ignores(&tensor.name), stated.expects(&tensor.name));
    }
    let _ = (stated.layout(), checkpoint.existing_quantization());
    for recipe in recipes() {
        for dialect in Dialect::ALL {
            planned(&checkpoint, &recipe, dialect);
        }
    }
}

/// Recipes that between them go through most of what a plan decides.
fn recipes() -> [Recipe; 3] {
    let plain = Recipe { format: Some(Format::Nvfp4), ..Recipe::default() };
    let int4 = Format::Int { bits: 4, group: Some(32), symmetric: true };
    let everything = Recipe {
        format: Some(int4),
        quantize_embeddings: true,
        unserved: true,
        indivisible: Indivisible::Pad,
        ..Recipe::default()
    };
    let experts = Recipe {
        preset: Some(Preset::Experts),
        format: Some(Format::Fp8),
        indivisible: Indivisible::Smaller,
        ..Recipe::default()
    };
    [plain, everything, experts]
}

/// Makes a plan, if there is one, and checks it.
pub fn planned(checkpoint: &Checkpoint, recipe: &Recipe, dialect: Dialect) -> Option<Plan> {
    let model = Model::new(checkpoint, dialect.fused_experts());
    let mut plans = [Sharding::AsSource, Sharding::AtMost(10_000)]
        .map(|sharding| Plan::new(&model, recipe, dialect, sharding).ok());
    for plan in plans.iter().flatten() {
        sound(plan);
        assert_eq!(
            rows(plan, &[]).iter().filter(|row| row.part_of.is_none()).count() > 0,
            !plan.entries.is_empty()
        );
    }
    plans[0].take()
}

/// Whether every tensor lies in its file.
pub fn readable(checkpoint: &Checkpoint) {
    for tensor in &checkpoint.tensors {
        let file = &checkpoint.files[tensor.file];
        let end =
            file.data_start.checked_add(tensor.offset).and_then(|at| at.checked_add(tensor.bytes));
        // A file in memory has no length of its own.
        let lies_in = file.file_bytes == 0 || end.is_some_and(|end| end <= file.file_bytes);
        assert!(lies_in, "{} ends at {end:?} of {}", tensor.name, file.file_bytes);
        let mut ends = vec![0; tensor.bytes.min(16) as usize];
        let last = tensor.bytes - ends.len() as u64;
        for offset in [0, last] {
            checkpoint.read_at(tensor, &mut ends, offset).expect("a tensor can be read");
        }
    }
}

/// Files stay below their folder and are filled without overlap by what is stored in them.
pub fn sound(plan: &Plan) {
    let (mut names, mut stored) = (BTreeSet::new(), 0);
    for file in &plan.files {
        let below = Path::new(&file.name).components().all(|c| matches!(c, Component::Normal(_)));
        assert!(below && !file.name.is_empty(), "{:?}", file.name);
        assert!(names.insert(&file.name), "{:?} twice", file.name);
        let mut end = 0;
        for tensor in &file.tensors {
            assert!(
                tensor.end >= tensor.begin && tensor.begin >= end,
                "{:?}: {tensor:?}",
                file.name
            );
            end = tensor.end;
            stored += tensor.end - tensor.begin;
        }
        assert!(file.data_start() + end <= file.bytes, "{end} of {}", file.bytes);
        if let Contents::Onnx(skeleton) = &file.contents {
            assert_eq!(skeleton.bytes, file.bytes);
        }
    }
    let outputs: u64 = plan.entries.iter().map(|entry| entry.bytes_after()).sum();
    // An ONNX model has more in its skeleton.
    assert!(
        stored == outputs || plan.dialect.is_onnx(),
        "{stored} of {outputs} bytes have a place"
    );
    assert_eq!(plan.bytes_after, plan.files.iter().map(|file| file.bytes).sum::<u64>());
    for group in &plan.groups {
        assert!(group.iter().all(|entry| plan.entries[*entry].format().is_some()));
    }
}
