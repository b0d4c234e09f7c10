//! Verifying a quantized checkpoint: re-opened from disk, with nothing known but its files.

mod compare;
mod experts;
mod graph;
mod scales;
mod structure;
mod written;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::ExportError;
use crate::checkpoint::{Checkpoint, CheckpointError, Tensor};
use crate::engine::Resources;
use crate::model::{FusedExperts, Model, ScaleGroup, scale_group, ties::Tie};
use crate::plan::Coverage;
use crate::quantized::{self, Layer, Stated};
use compare::Compared;
pub(super) use structure::same_storage;
pub use written::Written;

/// A layer whose error is as large as this has lost its weights: random codes give −3 dB.
pub const MIN_SQNR_DB: f64 = 3.0;

/// A quantized checkpoint that is open, with the source to compare it to.
#[derive(Debug)]
pub struct Opened<'a> {
    pub(super) checkpoint: Checkpoint,
    source: Option<&'a Checkpoint>,
    /// What an export may make of the source's tensors besides those themselves, by name: single
    /// experts of fused ones, and the head that a tied source does not store.
    derived: BTreeMap<String, Tensor>,
    pub(super) stated: Stated,
    pub(super) layers: Vec<Layer>,
}

/// One thing that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What, in a word or two.
    pub name: &'static str,
    /// Whether it holds.
    pub passed: bool,
    /// The numbers, or what is wrong.
    pub detail: String,
}

/// The error of one layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerError {
    /// Name of the weight.
    pub name: String,
    /// Signal-to-quantization-noise ratio in dB; `None` for a layer of zeros.
    pub sqnr_db: Option<f64>,
    /// Largest difference from the source.
    pub max_abs_error: f64,
}

/// The gate table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verification {
    /// All that was verified, in order.
    pub checks: Vec<Check>,
    /// How much of the float matrices is quantized.
    pub coverage: Coverage,
    /// The error of each layer; empty without a source.
    pub errors: Vec<LayerError>,
}

impl Verification {
    /// Whether everything holds.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }
}

impl<'a> Opened<'a> {
    /// Opens a quantized checkpoint, to be compared with `source` if that is given. Fails if it is
    /// none, or in no format that can be verified; what is merely wrong in it is for
    /// [`Opened::verify`] to say.
    pub fn new(path: &Path, source: Option<&'a Checkpoint>) -> Result<Self, ExportError> {
        let checkpoint = Checkpoint::open(path)?;
        let stated = Stated::of(&checkpoint);
        let layers = quantized::find(&checkpoint, source, stated.ignore_list(), stated.dialect);
        if layers.is_empty() {
            let method = checkpoint.existing_quantization();
            return Err(ExportError::not_quantized(path.to_owned(), method));
        }
        // Of an ONNX model some layers may be quantized, and others not.
        let float = source.filter(|source| source.onnx.is_none());
        if let Some(method) = float.and_then(Checkpoint::existing_quantization) {
            let path = source.map_or(path, |source| &source.path).to_owned();
            let problem =
                format!("already quantized ({method}). Pass the float checkpoint to compare with");
            return Err(ExportError::NotVerifiable { path, problem });
        }
        let derived = source.map(derived).unwrap_or_default();
        Ok(Self { checkpoint, source, derived, stated, layers })
    }

    /// The tensor of the source, or the part of one, that a tensor of the output comes from.
    fn origin(&self, name: &str) -> Option<&Tensor> {
        self.source?.tensor(name).or_else(|| self.derived.get(name))
    }

    /// The same for the weight of a layer: as the layer takes it, however it is stored.
    fn weight_origin(&self, name: &str) -> Option<&Tensor> {
        match self.checkpoint.onnx {
            Some(_) => self.derived.get(name).or_else(|| self.origin(name)),
            None => self.origin(name),
        }
    }

    /// Bytes that verifying will read: all scales, and with a source everything in both.
    pub fn bytes(&self) -> u64 {
        compare::work_bytes(self, None)
    }

    /// The same of an output that has just been written.
    pub fn bytes_of(&self, written: &Written<'_>) -> u64 {
        compare::work_bytes(self, Some(written))
    }

    /// What can be verified without reading weights.
    pub(super) fn structure(&self) -> Result<Vec<Check>, CheckpointError> {
        match self.checkpoint.onnx {
            Some(_) => graph::checks(self),
            None => Ok(structure::checks(self)),
        }
    }

    /// Verifies. An error means that it could not be done; what does not hold is in the result.
    pub fn verify(&self, resources: &Resources<'_>) -> Result<Verification, ExportError> {
        self.verify_with(resources, None)
    }

    /// Verifies what has just been written: every byte is read back, but only samples of each layer are
    /// read as weights once more.
    pub fn verify_written(
        &self,
        resources: &Resources<'_>,
        written: &Written<'_>,
    ) -> Result<Verification, ExportError> {
        self.verify_with(resources, Some(written))
    }

    fn verify_with(
        &self,
        resources: &Resources<'_>,
        written: Option<&Written<'_>>,
    ) -> Result<Verification, ExportError> {
        let mut checks = self.structure()?;
        let sound: Vec<&Layer> =
            self.layers.iter().filter(|layer| layer.problem.is_none()).collect();
        let compared: Compared = compare::compare(resources, self, &sound, written)?;
        checks.extend(compared.checks);
        Ok(Verification { checks, coverage: structure::coverage(self), errors: compared.errors })
    }
}

fn derived(source: &Checkpoint) -> BTreeMap<String, Tensor> {
    let model = Model::new(source, FusedExperts::Split);
    let is_model = source.onnx.is_some();
    let head = match &model.tie {
        Tie::HeadAbsent { embedding, head_name } if !is_model => {
            Some((head_name.clone(), source.tensors[*embedding].clone()))
        }
        _ => None,
    };
    let members =
        model.members.into_iter().map(|member| (member.tensor.name.clone(), member.tensor));
    let parts = members.filter(|(name, _)| is_model || source.tensor(name).is_none());
    parts.chain(head).collect()
}

/// Layers that a runtime fuses, by group; groups of one left out.
pub(super) fn fused(layers: &[Layer]) -> Vec<Vec<&Layer>> {
    let mut groups: BTreeMap<ScaleGroup<'_>, Vec<&Layer>> = BTreeMap::new();
    for layer in layers.iter().filter(|layer| layer.problem.is_none()) {
        if let Some(group) = scale_group(&layer.weight) {
            groups.entry(group).or_default().push(layer);
        }
    }
    groups.into_values().filter(|group| group.len() > 1).collect()
}

/// A check over a list of what does not hold; `detail` is said when nothing is on it.
fn check(name: &'static str, problems: Vec<String>, detail: impl Into<String>) -> Check {
    const SHOWN: usize = 3;
    let passed = problems.is_empty();
    let detail = if passed {
        detail.into()
    } else {
        let more = problems.len().saturating_sub(SHOWN);
        let shown = problems.into_iter().take(SHOWN).collect::<Vec<_>>().join("; ");
        if more > 0 { format!("{shown}; and {more} more") } else { shown }
    };
    Check { name, passed, detail }
}
