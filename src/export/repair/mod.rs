//! Rewriting a quantized checkpoint where what is wrong with it can be told from itself, without the
//! float checkpoint that it was made from.

mod config;
mod diagnose;
mod done;
mod error;
mod quantization;
mod write;

use std::path::Path;

pub use done::Repair;
pub use error::{Irreparable, NotRepaired};

use super::staging::Staging;
use super::target::check_folder;
use super::verify::{Opened, Verification};
use super::writer::Writer;
use super::{Companions, ExportError, Options, check_target};
use crate::dialect::Dialect;
use crate::engine::Resources;
use crate::plan::{Plan, Sharding};
use crate::quantized::Mended;
use diagnose::{Diagnosis, Fix, diagnose};

/// A layer whose steps changed, since those of its group differed.
#[derive(Debug, Clone, PartialEq)]
pub struct Rescaled {
    /// The layer.
    pub module: String,
    /// Its global scale before, as it was stored.
    pub before: f32,
    /// The same after.
    pub after: f32,
    /// Its values before over how much they changed, in dB; `None` for a layer of zeros.
    pub sqnr_db: Option<f64>,
}

/// What became of a checkpoint.
#[derive(Debug)]
pub enum Outcome {
    /// There was nothing to repair, and nothing was written.
    Sound(Verification),
    /// It was rewritten.
    Repaired(Box<Repaired>),
}

/// What a repair did.
#[derive(Debug)]
pub struct Repaired {
    /// One of each kind.
    pub repairs: Vec<Repair>,
    /// Layers whose steps changed.
    pub rescaled: Vec<Rescaled>,
    /// The gate that the output passed.
    pub verification: Verification,
    /// The files beside the weights.
    pub companions: Companions,
    /// What was not as it should be, and does not matter for the output.
    pub notices: Vec<String>,
}

/// The part of a repair that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairStage {
    /// Finding out whether anything is wrong, and what.
    Examine,
    /// Writing.
    Repair,
    /// Reading back.
    Verify,
}

/// Repairs a quantized checkpoint into a folder that gets its name when it is complete and passes
/// verification. `stage` is told when a stage begins, with the bytes it will work on.
pub fn repair(
    path: &Path,
    options: &Options<'_>,
    sharding: Sharding,
    resources: &Resources<'_>,
    stage: &dyn Fn(RepairStage, u64),
) -> Result<Outcome, NotRepaired> {
    let opened = Opened::new(path, None)?;
    if let Some(foreign) = opened.stated.foreign {
        let problem = format!(
            "quant_method {} is read and verified, but not written: only checkpoints of {} and {} \
             can be repaired",
            foreign.name(),
            Dialect::Modelopt,
            Dialect::CompressedTensors
        );
        return Err(ExportError::NotVerifiable { path: path.to_owned(), problem }.into());
    }
    if !matches!(opened.stated.dialect, Dialect::Modelopt | Dialect::CompressedTensors) {
        let what = match opened.stated.dialect {
            Dialect::ExecuTorch => "torchao's checkpoints",
            Dialect::Q4gsw => "packed constants",
            _ => "ONNX models",
        };
        let problem =
            format!("{what} are verified, but not repaired: quantize the float model again");
        let path = path.to_owned();
        return Err(ExportError::NotVerifiable { path, problem }.into());
    }
    check_folder(options.out)?;
    check_target(options.out, path, options.overwrite)?;
    stage(RepairStage::Examine, opened.bytes());
    let verification = opened.verify(resources)?;
    if verification.passed() && !lacks_file(&opened) {
        return Ok(Outcome::Sound(verification));
    }
    stage(RepairStage::Examine, opened.bytes());
    let diagnosis = diagnose(&opened, &verification, resources)?;

    let checkpoint = &opened.checkpoint;
    let plan = write::plan(&opened, &diagnosis, sharding);
    let companions = Companions::of(checkpoint)?;
    let needed = plan.bytes_after + companions.bytes;
    let staging = Staging::create(options.out, path, options.overwrite, needed)?;
    stage(RepairStage::Repair, plan.bytes_before);
    let writer = Writer::create(staging.path(), &plan, checkpoint, options.sync)?;
    let rescaled = write::write(&opened, &diagnosis, &plan, &writer, resources)?;
    writer.finish()?;
    let mut repairs = repairs(&opened, &diagnosis, &plan, &rescaled);
    repairs.extend(config::write(staging.path(), &opened, &plan)?);
    companions.copy(checkpoint, staging.path(), resources.cancel)?;

    let written = Opened::new(staging.path(), None)?;
    stage(RepairStage::Verify, written.bytes());
    let verification = written.verify(resources)?;
    if !verification.passed() {
        return Err(NotRepaired::Refused(Box::new(verification)));
    }
    // A folder with open files in it cannot be renamed on every system.
    drop(written);
    checkpoint.check_unchanged()?;
    let notices = staging.publish(options.sync)?.into_iter().collect();
    let repaired = Repaired { repairs, rescaled, verification, companions, notices };
    Ok(Outcome::Repaired(Box::new(repaired)))
}

/// TensorRT-LLM reads the quantization from a file of its own, and passes over `config.json`.
fn lacks_file(opened: &Opened<'_>) -> bool {
    let is_modelopt = opened.stated.dialect == Dialect::Modelopt;
    is_modelopt && opened.checkpoint.path.is_dir() && opened.stated.file.is_none()
}

/// What is done to tensors, in words.
fn repairs(
    opened: &Opened<'_>,
    diagnosis: &Diagnosis,
    plan: &Plan,
    rescaled: &[Rescaled],
) -> Vec<Repair> {
    let mut repairs = Vec::new();
    let fixes = || opened.layers.iter().zip(&diagnosis.fixes);
    let joined = |has_scale: bool| {
        let is_one = move |fix: &Fix| fix.global_scale.is_some() && fix.has_scale == has_scale;
        fixes().filter(move |(_, fix)| is_one(fix)).map(|(layer, _)| layer.module.clone())
    };
    if let Some(first) = joined(true).next() {
        let ratio = |layer: &Rescaled| layer.sqnr_db.unwrap_or(f64::INFINITY);
        let worst = rescaled.iter().min_by(|a, b| ratio(a).total_cmp(&ratio(b)));
        repairs.push(Repair::Groups {
            layers: joined(true).count() as u64,
            groups: diagnosis.torn_groups,
            example: worst.map_or(first, |layer| layer.module.clone()),
            worst_db: worst.and_then(|layer| layer.sqnr_db),
        });
    }
    if let Some(example) = joined(false).next() {
        repairs.push(Repair::ZeroLayers { layers: joined(false).count() as u64, example });
    }
    let of_mended = |number: fn(&Mended) -> u64| {
        let mut found = fixes().filter(|(_, fix)| number(&fix.mended) > 0).peekable();
        let example = found.peek().and_then(|(layer, _)| layer.parts.scales);
        let example = example.map(|i| opened.checkpoint.tensors[i].name.clone());
        Some((found.map(|(_, fix)| number(&fix.mended)).sum(), example?))
    };
    if let Some((scales, example)) = of_mended(|mended| mended.of_zeros) {
        repairs.push(Repair::OfZeros { scales, example });
    }
    if let Some((scales, example)) = of_mended(|mended| mended.emptied) {
        repairs.push(Repair::Emptied { scales, example });
    }
    repairs.extend(fixes().filter_map(|(layer, fix)| {
        Some(Repair::Table { module: layer.module.clone(), dtype: fix.float? })
    }));
    repairs.extend(diagnosis.untied_for.clone().map(|module| Repair::Untied { module }));
    let was_found = opened.checkpoint.sharded || opened.checkpoint.path.is_file();
    if let ([from], [to], false) = (&opened.checkpoint.files[..], &plan.files[..], was_found)
        && from.name != to.name
    {
        repairs.push(Repair::Renamed { from: from.name.clone(), to: to.name.clone() });
    }
    repairs
}
