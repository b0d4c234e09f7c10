//! Writing an export, and verifying one.

mod companions;
pub mod config;
mod dequantize;
mod error;
pub mod repair;
mod staging;
pub mod verify;
mod writer;

use std::path::Path;

pub use companions::Companions;
pub use dequantize::{Dequantized, dequantize};
pub use error::ExportError;

use crate::engine::Run;
use crate::plan::{Entry, Finding, FindingKind, Plan};
use crate::stats::TensorStats;
use staging::Staging;
pub use staging::check_target;
use verify::{Opened, Verification};
use writer::Writer;

/// Where and how to write.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The folder to write.
    pub out: &'a Path,
    /// Whether it may replace what is there.
    pub overwrite: bool,
    /// Whether findings of the run are failures.
    pub strict: bool,
}

/// What an export did.
#[derive(Debug)]
pub struct Exported {
    /// Measurements of each entry of the plan; `None` for tensors that are no floats.
    pub stats: Vec<Option<TensorStats>>,
    /// What came up while weights were read.
    pub findings: Vec<Finding>,
    /// The gate that the output passed.
    pub verification: Verification,
    /// The files beside the weights.
    pub companions: Companions,
}

/// An export that ended without an output. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum NotExported {
    /// It failed.
    #[error(transparent)]
    Failed(#[from] ExportError),
    /// It did not pass the gate.
    #[error("the export did not pass verification and was removed")]
    Refused(Box<Verification>),
    /// Reading weights brought up findings, and findings are failures.
    #[error("reading the weights brought up findings, and --strict is on: nothing was written")]
    Findings(Vec<Finding>),
}

/// Runs the plan of `run` into a folder: written beside it, verified, then renamed. The sink of
/// `run` is ignored. `stage` is told when a stage begins, with the bytes it will work on.
pub fn export(
    run: &Run<'_>,
    options: &Options<'_>,
    stage: &dyn Fn(Stage, u64),
) -> Result<Exported, NotExported> {
    let plan = run.plan;
    if !plan.quantizes() {
        return Err(ExportError::NothingToQuantize.into());
    }
    let companions = Companions::of(run.checkpoint)?;
    let needed = plan.bytes_after + companions.bytes;
    let staging = Staging::create(options.out, &run.checkpoint.path, options.overwrite, needed)?;

    stage(Stage::Quantize, plan.entries.iter().map(|entry| entry.member.tensor.bytes).sum());
    let writer = Writer::create(staging.path(), plan)?;
    let stats = Run { sink: Some(&writer), ..*run }.execute().map_err(ExportError::from)?;
    let findings = run_findings(plan, &stats);
    if options.strict && !findings.is_empty() {
        return Err(NotExported::Findings(findings));
    }
    writer.finish()?;
    config::write(staging.path(), plan, run.checkpoint.config.as_ref())?;
    companions.copy(run.checkpoint, staging.path(), run.resources.cancel)?;

    let opened = Opened::new(staging.path(), Some(run.checkpoint))?;
    stage(Stage::Verify, opened.bytes());
    let verification = opened.verify(&run.resources)?;
    if !verification.passed() {
        return Err(NotExported::Refused(Box::new(verification)));
    }
    // A folder with open files in it cannot be renamed on every system.
    drop(opened);
    staging.publish()?;
    Ok(Exported { stats, findings, verification, companions })
}

/// What tables do not show of a ratio in dB.
const LEAST_GAIN_DB: f64 = 0.005;

/// What only reading the weights could bring up: kept tensors that are not all numbers, and tensors
/// for which a search for scales was in vain.
pub fn run_findings(plan: &Plan, stats: &[Option<TensorStats>]) -> Vec<Finding> {
    let about = |(entry, stats): (&Entry, &Option<TensorStats>)| {
        let stats = stats.as_ref()?;
        let kind = if !stats.amax.is_finite() {
            FindingKind::NotFinite
        } else if stats.search_gain_db().is_some_and(|gain| gain < -LEAST_GAIN_DB) {
            FindingKind::SearchLost
        } else {
            return None;
        };
        let tensor = &entry.member.tensor;
        Some(Finding::about(kind, &tensor.name, tensor.bytes))
    };
    Finding::merged(plan.entries.iter().zip(stats).filter_map(about).collect())
}

/// The part of an export that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reading, quantizing, writing.
    Quantize,
    /// Reading back and comparing.
    Verify,
}
