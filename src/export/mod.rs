//! Writing an export, and verifying one.

mod companions;
pub mod config;
mod dequantize;
mod error;
mod flusher;
mod identity;
mod journal;
mod make;
mod open_file;
mod part;
mod publish;
pub mod repair;
mod staging;
mod start;
mod target;
pub mod verify;
mod writer;

use std::path::Path;

pub use companions::Companions;
pub use dequantize::{Dequantized, dequantize};
pub use error::ExportError;
pub use make::{PartMade, export_part, finish, unfinished};
pub use part::{NotAPart, Part};
pub use start::check_start;
pub use target::{check_target, contains, data_of, is_model};

use crate::checkpoint::folder_of;
use crate::engine::{EngineError, Run};
use crate::plan::{Entry, Finding, FindingKind, Plan};
use crate::stats::TensorStats;
use journal::Journal;
use make::{Made, begin, has_its_name, make};
use staging::Staging;
use verify::{Opened, Verification, Written};

/// Where and how to write.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The folder to write.
    pub out: &'a Path,
    /// Whether it may replace what is there.
    pub overwrite: bool,
    /// Whether findings of the run are failures.
    pub strict: bool,
    /// Whether to wait until the disk has everything.
    pub sync: bool,
    /// Whether to go on with what an interrupted run has left, and to leave it so if this one is.
    pub resume: bool,
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
    /// What was not as it should be, and does not matter for the output: devices that failed among it.
    pub notices: Vec<String>,
}

/// An export that ended without an output. Nothing is left behind, unless it is to be gone on with.
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

/// Runs the plan of `run` into a folder, or for an ONNX model also into a file: written beside it,
/// verified, then renamed. The sink of `run` is ignored. `stage` is told when a stage begins, with the bytes
/// it will work on.
pub fn export(
    run: &Run<'_>,
    options: &Options<'_>,
    stage: &dyn Fn(Stage, u64),
) -> Result<Exported, NotExported> {
    if !run.plan.quantizes() {
        return Err(ExportError::NothingToQuantize.into());
    }
    let named = in_file(run, options.out)?;
    let plan = named.as_ref().unwrap_or(run.plan);
    let run = &Run { plan, ..*run };
    let companions = companions(run, options.out)?;
    let (staging, journal) = begin(run, options, None, companions.bytes)?;
    if has_its_name(&staging, &journal) {
        return published(run, options, staging, companions, &journal, stage);
    }
    let made = make(run, &staging, journal, options.sync, stage)?;
    complete(run, options, staging, companions, &made, stage)
}

/// The files beside the weights; none where only a model's file is asked for.
fn companions(run: &Run<'_>, out: &Path) -> Result<Companions, ExportError> {
    match is_model(out) {
        true => Ok(Companions::default()),
        false => Companions::of(run.checkpoint),
    }
}

/// Adds to the weight files what belongs to them, verifies all, and gives it its name.
fn complete(
    run: &Run<'_>,
    options: &Options<'_>,
    staging: Staging,
    companions: Companions,
    made: &Made,
    stage: &dyn Fn(Stage, u64),
) -> Result<Exported, NotExported> {
    let plan = run.plan;
    let findings = run_findings(plan, &made.stats);
    if options.strict && !findings.is_empty() {
        return Err(NotExported::Findings(findings));
    }
    config::write(staging.path(), plan, run.checkpoint.config.as_ref())?;
    companions.copy(run.checkpoint, staging.path(), run.resources.cancel)?;

    let verification = verified(run, options, staging.path(), made, stage)?;
    // What was read of a file that somebody writes to is of no one checkpoint.
    run.checkpoint.check_unchanged().map_err(ExportError::from)?;
    if !verification.passed() {
        return Err(NotExported::Refused(Box::new(verification)));
    }
    let left = staging.publish(options.sync)?;
    let notices = run.resources.backend.notices().into_iter().chain(left).collect();
    Ok(Exported { stats: made.stats.clone(), findings, verification, companions, notices })
}

/// What an interrupted run has given its name, and not told anybody. It is looked at where it is, and not
/// touched: somebody may have changed it since.
fn published(
    run: &Run<'_>,
    options: &Options<'_>,
    staging: Staging,
    companions: Companions,
    journal: &Journal,
    stage: &dyn Fn(Stage, u64),
) -> Result<Exported, NotExported> {
    let made = Made::of(run, std::slice::from_ref(journal))?;
    let changed = |why: String| ExportError::ChangedSince { out: options.out.to_owned(), why };
    let folder = if is_model(options.out) { folder_of(&staging.target) } else { &staging.target };
    let verification = match verified(run, options, folder, &made, stage) {
        Ok(verification) => verification,
        Err(stopped @ ExportError::Engine(EngineError::Cancelled)) => return Err(stopped.into()),
        Err(error) => return Err(changed(error.to_string()).into()),
    };
    if let Some(failed) = verification.checks.iter().find(|check| !check.passed) {
        return Err(changed(failed.detail.clone()).into());
    }
    let carried = companions.carried.iter().filter(|path| !folder.join(path).exists());
    let lost = carried.map(|path| format!("{} is missing", path.display())).next();
    let differs = || config::difference(folder, run.plan, run.checkpoint.config.as_ref());
    if let Some(why) = lost.or_else(differs) {
        return Err(changed(why).into());
    }
    let findings = run_findings(run.plan, &made.stats);
    let notices = staging.tidy().into_iter().collect();
    Ok(Exported { stats: made.stats, findings, verification, companions, notices })
}

/// Verifies the output that is in a folder.
fn verified(
    run: &Run<'_>,
    options: &Options<'_>,
    folder: &Path,
    Made { stats, pieces }: &Made,
    stage: &dyn Fn(Stage, u64),
) -> Result<Verification, ExportError> {
    let name = options.out.file_name().filter(|_| is_model(options.out));
    let output = name.map_or_else(|| folder.to_owned(), |name| folder.join(name));
    // A folder with open files in it cannot be renamed on every system: they are closed at the end.
    let opened = Opened::new(&output, Some(run.checkpoint))?;
    let written = Written::new(folder, run.plan, pieces, stats)?;
    stage(Stage::Verify, opened.bytes_of(&written));
    opened.verify_written(&run.resources, &written)
}

/// For a target that is an ONNX file, the plan with its name. Only ONNX models become such files, and
/// none may be one that is read.
fn in_file(run: &Run<'_>, out: &Path) -> Result<Option<Plan>, ExportError> {
    let is_read = |path: &Path| {
        let own = path.canonicalize().ok();
        let mut files = run.checkpoint.files.iter();
        own.is_some() && files.any(|file| file.path.canonicalize().ok() == own)
    };
    if !is_model(out) {
        return Ok(None);
    }
    if run.checkpoint.onnx.is_none() {
        return Err(ExportError::NoModelFile { out: out.to_owned() });
    }
    let name = out.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let plan = run.plan.clone().named(run.checkpoint, &name);
    let parent = out.parent().unwrap_or(Path::new(""));
    match plan.files.iter().any(|file| is_read(&parent.join(&file.name))) {
        true => Err(ExportError::OutputIsInput { out: out.to_owned() }),
        false => Ok(Some(plan)),
    }
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
