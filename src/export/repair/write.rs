//! Writing the weight files of a repaired checkpoint: what is sound byte for byte.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::super::verify::Opened;
use super::diagnose::{Diagnosis, Fix};
use super::{Irreparable, NotRepaired, Rescaled};
use crate::checkpoint::{Dtype, Metadata};
use crate::dialect::{Output, Part};
use crate::engine::{CHUNK_BYTES, ChunkBuffer, EngineError, Resources, Sink, in_order, steps};
use crate::plan::{Decision, Plan, Reason, Sharding, layout};
use crate::quantized::{self, Layer, Outputs, floats, global_scale, read_chunk, store};
use crate::stats::{ErrorSums, WeightSums};

/// What is stored where: everything as it was, but tables that become floats.
pub fn plan(opened: &Opened<'_>, diagnosis: &Diagnosis, sharding: Sharding) -> Plan {
    let (checkpoint, layers) = (&opened.checkpoint, &opened.layers);
    let mut plan = quantized::plan(checkpoint, layers, Outputs::Stored, sharding);
    plan.dialect = opened.stated.dialect;
    plan.tie_word_embeddings = diagnosis.untied_for.as_ref().map(|_| false);
    for ((entry, layer), fix) in plan.entries.iter_mut().zip(layers).zip(&diagnosis.fixes) {
        if let Some(dtype) = fix.float {
            let member = &mut entry.member;
            member.tensor.dtype = dtype;
            entry.decision = Decision::Keep(Reason::Default(member.role));
            let (name, shape) = (layer.weight.clone(), layer.shape.clone());
            entry.outputs = vec![Output { name, dtype, shape, part: Part::Verbatim }];
        } else if fix.global_scale.is_some() {
            let place = layer.parts.all().position(|i| Some(i) == layer.parts.global_scale);
            if let Some(output) = place.and_then(|place| entry.outputs.get_mut(place)) {
                output.dtype = Dtype::F32;
            }
        }
    }
    plan.files = layout(&plan.entries, checkpoint, sharding, Metadata::new());
    plan.bytes_after = plan.files.iter().map(|file| file.bytes).sum();
    plan
}

/// A piece of work on an entry of the plan.
enum Job {
    /// Bytes of a tensor, as they are.
    Copy { entry: usize, output: usize, tensor: usize, range: Range<u64> },
    /// Rows of a layer, as [`read_chunk`] counts them.
    Rows { layer: usize, rows: Range<u64> },
    /// The global scale of a layer.
    Global { layer: usize, output: usize, value: f32 },
}

/// How much the values of a layer changed, and which part of it says so.
type Changed = (usize, u64, WeightSums, ErrorSums);

/// Gives `sink` everything of the plan.
pub fn write(
    opened: &Opened<'_>,
    diagnosis: &Diagnosis,
    plan: &Plan,
    sink: &dyn Sink,
    resources: &Resources<'_>,
) -> Result<Vec<Rescaled>, NotRepaired> {
    let jobs = jobs(opened, diagnosis, plan);
    let changed: Mutex<Vec<Changed>> = Mutex::default();
    let too_large: Mutex<Option<Irreparable>> = Mutex::default();
    let job = |number: usize, buffer: &mut ChunkBuffer| match &jobs[number] {
        Job::Copy { entry, output, tensor, range } => {
            let tensor = &opened.checkpoint.tensors[*tensor];
            let unit = tensor.unit_bytes();
            buffer.read(&opened.checkpoint, tensor, range.start / unit..range.end / unit)?;
            sink.write(*entry, *output, range.start, buffer.bytes())?;
            resources.progress.add(range.end - range.start);
            Ok(())
        }
        Job::Rows { layer: i, rows } => {
            let (layer, fix) = (&opened.layers[*i], &diagnosis.fixes[*i]);
            let rows_of = RowsOf { opened, number: *i, layer, fix, plan, rows, sink, resources };
            if let Some((weights, errors)) = rows_of.write(&too_large)? {
                let part = (*i, rows.start, weights, errors);
                changed.lock().unwrap_or_else(PoisonError::into_inner).push(part);
            }
            Ok(())
        }
        Job::Global { layer, output, value } => {
            sink.write(*layer, *output, 0, &value.to_le_bytes()).map(drop)
        }
    };
    in_order(resources, jobs.len(), job, || {})?;
    if let Some(problem) = too_large.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let (path, problems) = (opened.checkpoint.path.clone(), vec![problem]);
        return Err(NotRepaired::Irreparable { path, problems });
    }
    let changed = changed.into_inner().unwrap_or_else(PoisonError::into_inner);
    rescaled(opened, diagnosis, changed)
}

fn jobs(opened: &Opened<'_>, diagnosis: &Diagnosis, plan: &Plan) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (i, entry) in plan.entries.iter().enumerate() {
        let layer = opened.layers.get(i);
        let fix = diagnosis.fixes.get(i).filter(|fix| fix.any());
        if let (Some(layer), Some(_)) = (layer, fix) {
            let rows = steps(layer.lines(), layer.lines_in(CHUNK_BYTES / 4));
            jobs.extend(rows.map(|rows| Job::Rows { layer: i, rows }));
            if fix.is_some_and(|fix| fix.float.is_some()) {
                continue;
            }
        }
        for (place, output) in entry.outputs.iter().enumerate() {
            let Some(tensor) = opened.checkpoint.index_of(&output.name) else { continue };
            if let (Some(layer), Some(fix)) = (layer, fix) {
                if [layer.parts.codes, layer.parts.scales].contains(&Some(tensor)) {
                    continue;
                }
                if let Some(value) = fix.global_scale
                    && layer.parts.global_scale == Some(tensor)
                {
                    jobs.push(Job::Global { layer: i, output: place, value });
                    continue;
                }
            }
            let bytes = opened.checkpoint.tensors[tensor].bytes;
            let chunks = steps(bytes, CHUNK_BYTES);
            jobs.extend(chunks.map(|range| Job::Copy { entry: i, output: place, tensor, range }));
        }
    }
    jobs
}

/// Rows of a layer that is mended.
struct RowsOf<'a> {
    opened: &'a Opened<'a>,
    number: usize,
    layer: &'a Layer,
    fix: &'a Fix,
    plan: &'a Plan,
    rows: &'a Range<u64>,
    sink: &'a dyn Sink,
    resources: &'a Resources<'a>,
}

impl RowsOf<'_> {
    /// Mends and writes them. Sums over their values and over the change, if their steps change.
    fn write(
        &self,
        too_large: &Mutex<Option<Irreparable>>,
    ) -> Result<Option<(WeightSums, ErrorSums)>, EngineError> {
        let (layer, fix, backend) = (self.layer, self.fix, self.resources.backend);
        let Some(mut chunk) = read_chunk(&self.opened.checkpoint, layer, self.rows.clone())? else {
            return Ok(None);
        };
        let mended = chunk.mend();
        self.resources.progress.add((self.rows.end - self.rows.start) * layer.line_weights());
        if let Some(dtype) = fix.float {
            let values = chunk.values(backend)?;
            self.write_floats(&values, dtype, too_large)?;
            return Ok(None);
        }
        let mut change = None;
        if let Some(scale) = fix.global_scale.filter(|_| fix.has_scale) {
            let new = chunk.rescaled(scale);
            change = Some(chunk.difference(&new, backend)?);
            chunk = new;
        }
        let checkpoint = &self.opened.checkpoint;
        if let Some(stored) = store(checkpoint, layer, self.rows, chunk, mended.emptied > 0)? {
            let output = |part: Option<usize>| layer.parts.all().position(|i| Some(i) == part);
            for (part, at, bytes) in [
                (layer.parts.codes, stored.codes_at, &stored.codes),
                (layer.parts.scales, stored.scales_at, &stored.scales),
            ] {
                if let Some(output) = output(part) {
                    self.sink.write(self.number, output, at, bytes)?;
                }
            }
        }
        Ok(change)
    }

    fn write_floats(
        &self,
        values: &[f32],
        dtype: Dtype,
        too_large: &Mutex<Option<Irreparable>>,
    ) -> Result<(), EngineError> {
        let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let kind = self.plan.entries[self.number].member.tensor.float_kind();
        if !kind.is_some_and(|kind| kind.round(largest).is_finite()) {
            let (tensor, value) = (self.layer.weight.clone(), largest);
            let problem = Irreparable::Overflow { tensor, value, dtype };
            *too_large.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
        }
        let at = self.rows.start * self.layer.line_weights() * (dtype.bitsize() as u64 / 8);
        self.sink.write(self.number, 0, at, &floats(values, dtype)).map(drop)
    }
}

/// Sums of parts put together, in the order of layers and rows.
fn rescaled(
    opened: &Opened<'_>,
    diagnosis: &Diagnosis,
    mut changed: Vec<Changed>,
) -> Result<Vec<Rescaled>, NotRepaired> {
    changed.sort_by_key(|(layer, start, ..)| (*layer, *start));
    let mut layers: Vec<Rescaled> = Vec::new();
    for part in changed.chunk_by(|a, b| a.0 == b.0) {
        let (mut weights, mut errors) = (WeightSums::default(), ErrorSums::default());
        for (_, _, of_part, errors_of_part) in part {
            weights.merge(of_part);
            errors.merge(errors_of_part);
        }
        let Some((i, ..)) = part.first() else { continue };
        let layer = &opened.layers[*i];
        layers.push(Rescaled {
            module: layer.module.clone(),
            before: global_scale(&opened.checkpoint, layer)?,
            after: diagnosis.fixes[*i].global_scale.unwrap_or_default(),
            sqnr_db: errors.sqnr_db(weights.sum_squares),
        });
    }
    Ok(layers)
}
