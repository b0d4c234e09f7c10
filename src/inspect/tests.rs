//! What tests of this module look at.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use tempfile::TempDir;

use super::{Matrix, Reader, Subject};
use crate::checkpoint::Checkpoint;
use crate::cpu::Cpu;
use crate::dialect::Dialect;
use crate::engine::{Progress, Resources, Run};
use crate::export::{Options, export};
use crate::format::Format;
use crate::model::Model;
use crate::plan::{Plan, Sharding};
use crate::quantized::{self, Layer, Outputs};
use crate::recipe::{Indivisible, Recipe};

/// Nobody stops it.
pub static GO: AtomicBool = AtomicBool::new(false);

/// A matrix of the demo, of 64 rows of 192 weights.
pub const DOWN: &str = "model.layers.0.mlp.down_proj.weight";

/// A vector of the demo, which is not quantized.
pub const NORM: &str = "model.layers.0.input_layernorm.weight";

/// The demo, quantized in some way.
pub struct Seen {
    checkpoint: Checkpoint,
    layers: Vec<Layer>,
    plan: Plan,
    _folder: Option<TempDir>,
}

impl Seen {
    /// As it is, with a plan to quantize it to a format.
    pub fn new(format: Format) -> Self {
        Self::planned(&Recipe { format: Some(format), unserved: true, ..Recipe::default() })
    }

    /// With blocks that are filled up.
    pub fn padded(format: &str) -> Self {
        let (format, indivisible) = (format.parse().ok(), Indivisible::Pad);
        Self::planned(&Recipe { format, indivisible, unserved: true, ..Recipe::default() })
    }

    /// With the plan of a recipe.
    pub fn planned(recipe: &Recipe) -> Self {
        let checkpoint = Checkpoint::open(Path::new("assets/demo")).unwrap();
        let plan = plan(&checkpoint, recipe);
        Self { checkpoint, layers: Vec::new(), plan, _folder: None }
    }

    /// Quantized and written.
    pub fn stored(format: Format) -> Self {
        struct Nobody;
        impl Progress for Nobody {
            fn add(&self, _: u64) {}
        }
        let seen = Self::new(format);
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        let resources = Resources { backend: &Cpu, workers: 1, progress: &Nobody, cancel: &GO };
        let options =
            Options { out: &out, overwrite: false, strict: false, sync: false, resume: false };
        let (checkpoint, plan) = (&seen.checkpoint, &seen.plan);
        export(&Run { checkpoint, plan, sink: None, resources }, &options, &|_, _| ()).unwrap();
        let checkpoint = Checkpoint::open(&out).unwrap();
        let stated = quantized::Stated::of(&checkpoint);
        let layers = quantized::find(&checkpoint, None, stated.ignore_list(), stated.dialect);
        let plan = quantized::plan(&checkpoint, &layers, Outputs::Stored, Sharding::AsSource);
        Self { checkpoint, layers, plan, _folder: Some(folder) }
    }

    /// Reads a tensor.
    pub fn read(&self, tensor: &str, look: impl FnOnce(&Reader<'_>)) {
        let subject = Subject { tensor: tensor.to_owned(), expert: 0, format: None };
        let matrix = Matrix::of(&self.checkpoint, &self.layers, &self.plan, &subject).unwrap();
        look(&Reader::new(matrix, &Cpu, &GO).unwrap());
    }
}

/// The first layout that has a place for a format.
fn dialect_for(format: Format) -> Option<Dialect> {
    let dialects = [Dialect::Modelopt, Dialect::CompressedTensors];
    dialects.into_iter().find(|dialect| dialect.packing(format).is_some())
}

/// Formats that a checkpoint like the demo can be quantized to.
pub fn formats() -> impl Iterator<Item = Format> {
    Format::all().filter(|format| dialect_for(*format).is_some())
}

fn plan(checkpoint: &Checkpoint, recipe: &Recipe) -> Plan {
    let dialect = recipe.export.or(recipe.format.and_then(dialect_for)).unwrap();
    let model = Model::new(checkpoint, dialect.fused_experts());
    Plan::new(&model, recipe, dialect, Sharding::AsSource).unwrap()
}
