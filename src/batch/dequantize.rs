//! Modes for checkpoints that are quantized already.

use std::io::Write;
use std::path::Path;

use super::events::Event;
use super::{Batch, BatchError};
use crate::checkpoint::Checkpoint;
use crate::export::{ExportError, Options, dequantize};
use crate::plan::{Plan, Sharding};
use crate::quantized::{self, Layer, Outputs, Stated};
use crate::report::{GroupBy, terminal};
use crate::units::count;

impl Batch<'_> {
    /// Writes the checkpoint as floats; gives whether it did.
    pub fn dequantize(&self, folder: &Path, out: &mut dyn Write) -> Result<bool, BatchError> {
        let checkpoint = Checkpoint::open(self.args.checkpoint())?;
        let (_, layers) = layers_of(&checkpoint)?;
        let device = self.device()?;
        self.show_device(device.backend.name(), out)?;
        let outputs = Outputs::Float(quantized::float_type(&checkpoint));
        let sharding = self.args.sharding();
        let plan = quantized::plan(&checkpoint, &layers, outputs, sharding);
        self.tell(&Event::plan(&plan));
        let options = Options {
            out: folder,
            overwrite: self.args.overwrite,
            strict: false,
            sync: !self.args.no_sync,
            resume: false,
        };
        self.progress.begin("dequantize", work(&plan));
        let resources = self.resources(&device);
        let done = dequantize(&checkpoint, &layers, &plan, &options, &resources)?;
        self.progress.end();
        self.warn(&done.notices);
        self.show_stats(&plan, &done.stats, GroupBy::Layer, out)?;
        if !self.args.quiet {
            writeln!(out)?;
            let scales = checkpoint.tensors.iter().filter(|t| quantized::scales_activations(t));
            match scales.count() as u64 {
                0 => {}
                left => writeln!(out, "left      {}", count(left, "scale of activations"))?,
            }
            write!(out, "{}", terminal::companions(&done.companions))?;
            writeln!(out, "written   {}", folder.display())?;
        }
        Ok(true)
    }

    /// Measures what the codes of a quantized checkpoint stand for.
    pub fn stats_of_quantized(
        &self,
        checkpoint: &Checkpoint,
        out: &mut dyn Write,
    ) -> Result<(), BatchError> {
        let (stated, layers) = layers_of(checkpoint)?;
        let plan = quantized::plan(checkpoint, &layers, Outputs::Stored, Sharding::AsSource);
        self.tell(&Event::plan(&plan));
        let device = self.device()?;
        self.show_device(device.backend.name(), out)?;
        self.progress.begin("measure", work(&plan));
        let resources = self.resources(&device);
        let stats = quantized::run(checkpoint, &layers, &plan, None, &resources)?;
        self.progress.end();
        if !self.args.quiet {
            writeln!(out, "layout    {}", stated.layout())?;
            writeln!(out, "coverage  {}", terminal::coverage(&plan.coverage()))?;
        }
        let unread = layers.iter().filter_map(|layer| layer.problem.clone());
        say_examples("unread", unread, out)?;
        let partly = layers.iter().filter_map(|layer| {
            Some(format!(
                "the values of {} also depend on {}",
                layer.module,
                layer.altered_by.as_ref()?
            ))
        });
        say_examples("partly", partly, out)?;
        self.show_stats(&plan, &stats, GroupBy::None, out)?;
        self.write_report(&plan, Some(device.backend.name()), &stats, &[], None)
    }
}

/// A line that tells the first of some layers, and how many more there are.
fn say_examples(
    label: &str,
    mut told: impl Iterator<Item = String>,
    out: &mut dyn Write,
) -> Result<(), BatchError> {
    let Some(first) = told.next() else { return Ok(()) };
    let more = match told.count() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    writeln!(out, "{label:<9} {first}{more}")?;
    Ok(())
}

fn layers_of(checkpoint: &Checkpoint) -> Result<(Stated, Vec<Layer>), BatchError> {
    let stated = Stated::of(checkpoint);
    let layers = quantized::find(checkpoint, None, stated.ignore_list(), stated.dialect);
    if layers.is_empty() {
        let path = checkpoint.path.clone();
        return Err(ExportError::not_quantized(path, checkpoint.existing_quantization()).into());
    }
    Ok((stated, layers))
}

fn work(plan: &Plan) -> u64 {
    let bytes = |i: usize| plan.entries[i].member.tensor.bytes;
    (0..plan.entries.len()).map(bytes).sum()
}
