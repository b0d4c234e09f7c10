//! Writing a quantized checkpoint as floats.

use super::staging::Staging;
use super::target::check_folder;
use super::writer::Writer;
use super::{Companions, ExportError, Options, config};
use crate::checkpoint::Checkpoint;
use crate::engine::Resources;
use crate::plan::Plan;
use crate::quantized::{self, Layer};
use crate::stats::TensorStats;

/// What dequantizing did.
#[derive(Debug)]
pub struct Dequantized {
    /// Measurements of each entry of the plan; `None` for tensors that are no floats.
    pub stats: Vec<Option<TensorStats>>,
    /// The files beside the weights.
    pub companions: Companions,
    /// What was not as it should be, and does not matter for the output.
    pub notices: Vec<String>,
}

/// Writes every layer as floats and everything else as it is, into a folder that gets its name when
/// it is complete. `plan` is that of [`quantized::plan`] for the same layers. Fails if a layer
/// cannot be read, or has a value that the float type does not hold.
pub fn dequantize(
    checkpoint: &Checkpoint,
    layers: &[Layer],
    plan: &Plan,
    options: &Options<'_>,
    resources: &Resources<'_>,
) -> Result<Dequantized, ExportError> {
    if let Some(problem) = layers.iter().find_map(|layer| layer.problem.clone()) {
        return Err(ExportError::Unreadable { path: checkpoint.path.clone(), problem });
    }
    let altered = layers.iter().find_map(|layer| Some((layer, layer.altered_by.as_ref()?)));
    if let Some((layer, by)) = altered {
        let problem = format!(
            "the values of {} also depend on {by}, which is not read here, so it cannot be written \
             as floats",
            layer.module
        );
        return Err(ExportError::NotVerifiable { path: checkpoint.path.clone(), problem });
    }
    check_folder(options.out)?;
    let companions = Companions::of(checkpoint)?;
    let needed = plan.bytes_after + companions.bytes;
    let staging = Staging::create(options.out, &checkpoint.path, options.overwrite, needed)?;
    let writer = Writer::create(staging.path(), plan, checkpoint, options.sync)?;
    let stats = quantized::run(checkpoint, layers, plan, Some(&writer), resources)?;
    for (entry, stats) in plan.entries.iter().zip(&stats).take(layers.len()) {
        let largest = stats.as_ref().map_or(0.0, |stats| stats.amax);
        let (name, dtype) = (&entry.member.tensor.name, entry.member.tensor.dtype);
        let kind = entry.member.tensor.float_kind();
        if !kind.is_some_and(|kind| kind.round(largest).is_finite()) {
            let problem = format!("{name} stands for {largest}, which {dtype} does not hold");
            return Err(ExportError::Unreadable { path: checkpoint.path.clone(), problem });
        }
    }
    writer.finish()?;
    config::write_float(staging.path(), plan, checkpoint.config.as_ref())?;
    companions.copy(checkpoint, staging.path(), resources.cancel)?;

    let written = Checkpoint::open(staging.path())?;
    for output in plan.entries.iter().flat_map(|entry| &entry.outputs) {
        let stored = written.tensor(&output.name).map(|tensor| (tensor.dtype, &tensor.shape));
        if stored != Some((output.dtype, &output.shape)) {
            let problem = format!("{} was not written as planned", output.name);
            return Err(ExportError::Unreadable { path: options.out.to_owned(), problem });
        }
    }
    drop(written);
    checkpoint.check_unchanged()?;
    let notices = staging.publish(options.sync)?.into_iter().collect();
    Ok(Dequantized { stats, companions, notices })
}
