//! Going through a quantized checkpoint: what its weights are, and, if wanted, writing them as
//! floats.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::{Chunk, Layer, read_chunk};
use crate::backend::{Backend, Weights};
use crate::checkpoint::{Checkpoint, Dtype, Tensor};
use crate::cpu::{Cpu, weight_sums};
use crate::engine::{
    CHUNK_BYTES, ChunkBuffer, EngineError, Measured, Resources, Sink, by_entry, in_order, merge,
};
use crate::format::nvfp4::BLOCK_LEN;
use crate::numeric::FloatKind;
use crate::plan::Plan;
use crate::stats::{QuantizedStats, TensorStats};

/// A piece of work.
struct Job {
    entry: usize,
    chunk: usize,
    /// The expert that it is part of, if the layer holds several.
    expert: Option<usize>,
    /// Lines of a layer, elements of any other tensor.
    range: Range<u64>,
}

/// Measures every entry of a plan that [`super::plan`] made of `layers`, and gives `sink` the floats
/// of layers and the bytes of all other tensors. `None` for tensors that are no floats, and for
/// layers that have a problem.
pub fn run(
    checkpoint: &Checkpoint,
    layers: &[Layer],
    plan: &Plan,
    sink: Option<&dyn Sink>,
    resources: &Resources<'_>,
) -> Result<Vec<Option<TensorStats>>, EngineError> {
    let all: Vec<usize> = (0..plan.entries.len()).collect();
    Ok(by_entry(plan, run_entries(checkpoint, layers, plan, &all, sink, resources)?))
}

/// The same for some entries of the plan. Gives the measurements by entry.
pub fn run_entries(
    checkpoint: &Checkpoint,
    layers: &[Layer],
    plan: &Plan,
    entries: &[usize],
    sink: Option<&dyn Sink>,
    resources: &Resources<'_>,
) -> Result<BTreeMap<usize, TensorStats>, EngineError> {
    let jobs_of =
        |&entry: &usize| jobs(entry, layers.get(entry), &plan.entries[entry].member.tensor);
    let jobs: Vec<Job> = entries.iter().flat_map(jobs_of).collect();
    let measured: Mutex<Vec<Measured>> = Mutex::default();
    in_order(
        resources,
        jobs.len(),
        |number, buffer| {
            let job = &jobs[number];
            // What another entry stands for as well is written there.
            let sink = sink.filter(|_| !plan.entries[job.entry].outputs.is_empty());
            let stats = match layers.get(job.entry) {
                Some(layer) => decode(checkpoint, layer, plan, job, sink, resources)?,
                None => carry(checkpoint, plan, job, sink, resources, buffer)?,
            };
            if let Some(stats) = stats {
                let mut measured = measured.lock().unwrap_or_else(PoisonError::into_inner);
                let (entry, chunk, expert) = (job.entry, job.chunk, job.expert);
                measured.push(Measured { entry, chunk, expert, stats });
            }
            Ok(())
        },
        || {},
    )?;
    Ok(merge(measured.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

/// The jobs of one entry. A chunk of a layer is of one expert. A layer that has a problem has none: what
/// it says of its shape may be anything.
fn jobs(entry: usize, layer: Option<&Layer>, tensor: &Tensor) -> Vec<Job> {
    if layer.is_some_and(|layer| layer.problem.is_some()) {
        return Vec::new();
    }
    let (experts, length, step) = match layer {
        Some(layer) => {
            let experts = layer.experts().max(1);
            (experts, layer.lines() / experts, layer.lines_in(CHUNK_BYTES / 4))
        }
        None => (1, tensor.bytes / tensor.unit_bytes(), CHUNK_BYTES / tensor.unit_bytes()),
    };
    let chunks = length.div_ceil(step);
    let holds_several = layer.is_some_and(|layer| layer.shape.len() == 3);
    let job = |i: u64| {
        let (expert, begin) = (i / chunks, i % chunks * step);
        Job {
            entry,
            chunk: i as usize,
            expert: holds_several.then_some(expert as usize),
            range: expert * length + begin..expert * length + (begin + step).min(length),
        }
    };
    (0..experts * chunks).map(job).collect()
}

fn decode(
    checkpoint: &Checkpoint,
    layer: &Layer,
    plan: &Plan,
    job: &Job,
    sink: Option<&dyn Sink>,
    resources: &Resources<'_>,
) -> Result<Option<TensorStats>, EngineError> {
    let Some(chunk) = read_chunk(checkpoint, layer, job.range.clone())? else { return Ok(None) };
    let values = chunk.values(resources.backend)?;
    let weights = Weights { kind: FloatKind::F32, bytes: bytemuck::cast_slice(&values) };
    let amax = Cpu.amax(weights).map_or(f32::NAN, f32::from_bits);
    let quantized = QuantizedStats {
        global_scale: match &chunk {
            Chunk::Nvfp4 { scaling, .. } => Some(scaling.global_scale),
            Chunk::Grouped { .. } => None,
        },
        scales: chunk.health(),
        ..Default::default()
    };
    let stats = TensorStats {
        amax,
        weights: weight_sums(weights),
        quantized: Some(quantized),
        ..Default::default()
    };
    if let Some(sink) = sink {
        let dtype = plan.entries[job.entry].member.tensor.dtype;
        if layer.float_shape() == layer.shape {
            let values = if layer.is_fused() { in_rows(&values, layer) } else { values };
            let at = job.range.start * layer.line_weights() * (dtype.bitsize() as u64 / 8);
            sink.write(job.entry, 0, at, &floats(&values, dtype))?;
        } else {
            write_transposed(&values, dtype, layer, job, sink)?;
        }
    }
    resources.progress.add((job.range.end - job.range.start) * layer.line_weights() * 2);
    Ok(Some(stats))
}

fn carry(
    checkpoint: &Checkpoint,
    plan: &Plan,
    job: &Job,
    sink: Option<&dyn Sink>,
    resources: &Resources<'_>,
    buffer: &mut ChunkBuffer,
) -> Result<Option<TensorStats>, EngineError> {
    let tensor = &plan.entries[job.entry].member.tensor;
    buffer.read(checkpoint, tensor, job.range.clone())?;
    let stats = buffer.weights().map(|weights| TensorStats {
        amax: Cpu.amax(weights).map_or(f32::NAN, |pattern| weights.kind.widen(pattern)),
        weights: weight_sums(weights),
        ..Default::default()
    });
    if let Some(sink) = sink {
        sink.write(job.entry, 0, job.range.start * tensor.unit_bytes(), buffer.bytes())?;
    }
    resources.progress.add(buffer.bytes().len() as u64);
    Ok(stats)
}

/// Writes rows of one expert as columns.
fn write_transposed(
    values: &[f32],
    dtype: Dtype,
    layer: &Layer,
    job: &Job,
    sink: &dyn Sink,
) -> Result<(), EngineError> {
    let [_, rows, columns] = layer.shape[..] else { return Ok(()) };
    let (expert, first) = (job.range.start / rows, job.range.start % rows);
    let width = dtype.bitsize() as u64 / 8;
    for column in 0..columns {
        let own = values.iter().skip(column as usize).step_by(columns as usize);
        let own: Vec<f32> = own.copied().collect();
        let at = (expert * columns + column) * rows + first;
        sink.write(job.entry, 0, at * width, &floats(&own, dtype))?;
    }
    Ok(())
}

/// Values of lines of fused experts, which come column by column, row by row.
fn in_rows(values: &[f32], layer: &Layer) -> Vec<f32> {
    let columns = layer.shape[2] as usize;
    let mut rows = vec![0.0; values.len()];
    let lines = values.chunks_exact(columns * BLOCK_LEN);
    for (line, rows) in lines.zip(rows.chunks_exact_mut(columns * BLOCK_LEN)) {
        for (column, block) in line.as_chunks::<BLOCK_LEN>().0.iter().enumerate() {
            for (row, value) in block.iter().enumerate() {
                rows[row * columns + column] = *value;
            }
        }
    }
    rows
}

/// Values as the bytes of a float type, nearest even.
pub fn floats(values: &[f32], dtype: Dtype) -> Vec<u8> {
    let short = |kind: FloatKind| {
        values.iter().flat_map(|value| (kind.pattern(*value) as u16).to_le_bytes()).collect()
    };
    match dtype {
        Dtype::BF16 => short(FloatKind::Bf16),
        Dtype::F16 => short(FloatKind::F16),
        _ => bytemuck::cast_slice(values).to_vec(),
    }
}
