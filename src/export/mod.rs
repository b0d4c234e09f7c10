//! Writing an export, and verifying one.

mod companions;
pub mod config;
mod error;
mod staging;
pub mod verify;
mod writer;

use std::path::Path;

pub use companions::Companions;
pub use error::ExportError;

use crate::engine::Run;
use crate::stats::TensorStats;
use staging::Staging;
use verify::{Verification, Verify};
use writer::Writer;

/// What an export did.
#[derive(Debug)]
pub struct Exported {
    /// Measurements of each entry of the plan; `None` for tensors that are no floats.
    pub stats: Vec<Option<TensorStats>>,
    /// The gate that the output passed.
    pub verification: Verification,
    /// The files beside the weights.
    pub companions: Companions,
}

/// An export that ended without an output.
#[derive(Debug, thiserror::Error)]
pub enum NotExported {
    /// It failed.
    #[error(transparent)]
    Failed(#[from] ExportError),
    /// It was written, but did not pass the gate, and was removed.
    #[error("the export did not pass verification and was removed")]
    Refused(Box<Verification>),
}

/// Runs the plan of `run` into the folder `out`: written beside it, verified, then renamed. The
/// sink of `run` is ignored. `stage` is told when a stage begins, with the bytes it will work on.
pub fn export(
    run: &Run<'_>,
    out: &Path,
    overwrite: bool,
    stage: &dyn Fn(Stage, u64),
) -> Result<Exported, NotExported> {
    let plan = run.plan;
    if !plan.quantizes() {
        return Err(ExportError::NothingToQuantize.into());
    }
    let companions = Companions::of(run.checkpoint)?;
    let needed = plan.bytes_after + companions.bytes;
    let staging = Staging::create(out, &run.checkpoint.path, overwrite, needed)?;

    stage(Stage::Quantize, plan.entries.iter().map(|entry| entry.bytes_before).sum());
    let writer = Writer::create(staging.path(), plan)?;
    let stats = Run { sink: Some(&writer), ..*run }.execute().map_err(ExportError::from)?;
    writer.finish()?;
    config::write(staging.path(), plan, run.checkpoint.config.as_ref())?;
    companions.copy(run.checkpoint, staging.path())?;

    let verify = Verify {
        backend: run.backend,
        workers: run.workers,
        progress: run.progress,
        cancel: run.cancel,
    };
    let opened = verify.open(staging.path(), Some(run.checkpoint))?;
    stage(Stage::Verify, opened.bytes());
    let verification = verify.check(&opened)?;
    if !verification.passed() {
        return Err(NotExported::Refused(Box::new(verification)));
    }
    staging.publish()?;
    Ok(Exported { stats, verification, companions })
}

/// The part of an export that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reading, quantizing, writing.
    Quantize,
    /// Reading back and comparing.
    Verify,
}
