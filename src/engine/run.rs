//! One run of a plan.

use std::sync::{Mutex, PoisonError};

use super::chunk::ChunkBuffer;
use super::group::{Encoder, Nvfp4Encoder, SharedScale};
use super::schedule::{Job, Task, schedule};
use super::transpose::codes_to_rows;
use super::workers::in_order;
use super::{EngineError, Resources};
use crate::backend::{Backend, Grouped, Quantized, Weights};
use crate::checkpoint::{Checkpoint, Dtype, Tensor};
use crate::cpu::{Cpu, weight_sums};
use crate::dialect::Part;
use crate::format::nvfp4::BLOCK_LEN;
use crate::format::packing::{Packing, pack_zero_points};
use crate::format::{Coder, Scope};
use crate::model::InputAxis;
use crate::numeric::FloatKind;
use crate::plan::{Decision, Entry, Plan};
use crate::stats::{QuantizedStats, ScaleHealth, TensorStats};

/// Takes what a run produces. Called from several threads at once.
pub trait Sink: Sync {
    /// Stores `bytes` at `offset` of output `output` of entry `entry` of the plan.
    fn write(
        &self,
        entry: usize,
        output: usize,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), EngineError>;
}

/// A plan, where it starts from and where its results go.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The source.
    pub checkpoint: &'a Checkpoint,
    /// What to do with it.
    pub plan: &'a Plan,
    /// Where results go; `None` to measure only.
    pub sink: Option<&'a dyn Sink>,
    /// What to do it with. The bytes that progress is told add up to those of all tensors.
    pub resources: Resources<'a>,
}

/// What the workers of a run share.
struct Shared<'a> {
    run: &'a Run<'a>,
    jobs: Vec<Job>,
    groups: Vec<SharedScale>,
    measured: Mutex<Vec<Measured>>,
}

impl Run<'_> {
    /// Runs the plan. Gives the measurements of each entry; `None` for tensors that are no floats.
    pub fn execute(&self) -> Result<Vec<Option<TensorStats>>, EngineError> {
        let shared = Shared {
            run: self,
            jobs: schedule(self.plan),
            groups: self
                .plan
                .groups
                .iter()
                .map(|group| SharedScale::new(self.plan, group))
                .collect(),
            measured: Mutex::default(),
        };
        for job in &shared.jobs {
            match job.task {
                Task::Amax => shared.group_of(job).expect_amax(),
                Task::Quantize => shared.group_of(job).expect_quantize(),
                Task::Copy => {}
            }
        }
        in_order(
            &self.resources,
            shared.jobs.len(),
            |number, buffer| shared.do_job(&shared.jobs[number], buffer),
            || shared.groups.iter().for_each(SharedScale::abandon),
        )?;
        let measured = shared.measured.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(merge(self.plan.entries.len(), measured))
    }
}

/// What was measured of one chunk.
#[derive(Debug)]
pub struct Measured {
    /// Index of the entry in the plan.
    pub entry: usize,
    /// Number of the chunk among those of its tensor.
    pub chunk: usize,
    /// The expert that it is part of, if the tensor holds several.
    pub expert: Option<usize>,
    /// The measurements.
    pub stats: TensorStats,
}

/// Adds up chunks in their order, so that the sums do not depend on which worker was faster.
pub fn merge(entries: usize, mut measured: Vec<Measured>) -> Vec<Option<TensorStats>> {
    measured.sort_by_key(|part| (part.entry, part.chunk));
    let mut stats: Vec<Option<TensorStats>> = vec![None; entries];
    for part in measured {
        let total = stats[part.entry].get_or_insert_default();
        total.merge(&part.stats);
        if let Some(expert) = part.expert {
            let known = total.experts.len();
            total.experts.resize_with(known.max(expert + 1), TensorStats::default);
            total.experts[expert].merge(&part.stats);
        }
    }
    stats
}

impl Shared<'_> {
    fn entry(&self, job: &Job) -> &Entry {
        &self.run.plan.entries[job.entry]
    }

    fn tensor(&self, job: &Job) -> &Tensor {
        &self.entry(job).member.tensor
    }

    /// Length of a row.
    fn columns(&self, job: &Job) -> usize {
        *self.tensor(job).shape.last().unwrap_or(&1) as usize
    }

    /// Length of a row as it is quantized.
    fn stored_columns(&self, job: &Job) -> usize {
        self.entry(job).padded_columns().map_or_else(|| self.columns(job), |n| n as usize)
    }

    /// Row length of a tensor whose blocks run down its columns.
    fn columns_of_blocks(&self, job: &Job) -> Option<usize> {
        let by_columns = self.entry(job).member.input_axis == Some(InputAxis::SecondToLast);
        self.tensor(job).shape.last().filter(|_| by_columns).map(|&columns| columns as usize)
    }

    fn group_of(&self, job: &Job) -> &SharedScale {
        match self.entry(job).decision {
            Decision::Quantize { group, .. } => &self.groups[group],
            _ => unreachable!("only quantized tensors have amax and quantize jobs"),
        }
    }

    fn do_job(&self, job: &Job, buffer: &mut ChunkBuffer) -> Result<(), EngineError> {
        let tensor = self.tensor(job);
        if job.task == Task::Quantize && !self.global_scale_is_known(job) {
            return Ok(());
        }
        buffer.read(self.run.checkpoint, tensor, job.range.clone())?;
        let read = buffer.bytes().len() as u64;
        self.copy(job, buffer.bytes())?;
        if job.task == Task::Quantize {
            if let Some(columns) = self.columns_of_blocks(job) {
                buffer.arrange_in_blocks(columns);
            } else if self.columns(job) != self.stored_columns(job) {
                buffer.pad_rows(self.columns(job), self.stored_columns(job));
            }
        }
        match (job.task, buffer.weights()) {
            (Task::Amax, Some(weights)) => self.find_amax(job, weights)?,
            (Task::Quantize, Some(weights)) => self.quantize(job, weights)?,
            (_, weights) => self.measure(job, weights),
        }

        // Of a tensor that is read twice each reading counts half.
        let done = match job.task {
            Task::Amax => read / 2,
            Task::Quantize if job.measured => read - read / 2,
            Task::Quantize | Task::Copy => read,
        };
        self.run.resources.progress.add(done);
        Ok(())
    }

    /// Waits for the amax jobs of the group, before memory is filled.
    fn global_scale_is_known(&self, job: &Job) -> bool {
        let kind = self.tensor(job).float_kind().unwrap_or(FloatKind::F32);
        self.group_of(job).encoder(kind).is_some()
    }

    fn find_amax(&self, job: &Job, weights: Weights<'_>) -> Result<(), EngineError> {
        let amax = weights.kind.widen(self.run.resources.backend.amax(weights)?);
        if !amax.is_finite() {
            return Err(self.not_finite(job, weights));
        }
        self.group_of(job).add_amax(amax);
        self.add_stats(job, TensorStats { amax, ..Default::default() });
        Ok(())
    }

    fn not_finite(&self, job: &Job, weights: Weights<'_>) -> EngineError {
        let tensor = self.tensor(job);
        let values = weights.bytes.chunks_exact(weights.kind.bytes()).map(|element| {
            let pattern = element.iter().rev().fold(0, |bits, &byte| (bits << 8) | u32::from(byte));
            weights.kind.widen(pattern)
        });
        let first = values.enumerate().find(|(_, value)| !value.is_finite());
        let (at, value) = first.unwrap_or((0, f32::NAN));
        let (columns, stored) = (self.columns(job), self.stored_columns(job));
        let is_padded = weights.len() as u64 > job.range.end - job.range.start;
        let at = if is_padded { at / stored * columns + at % stored } else { at };
        let mut index = job.range.start + at as u64;
        let mut position: Vec<u64> = Vec::new();
        for &length in tensor.shape.iter().rev() {
            position.insert(0, index % length);
            index /= length;
        }
        let value = match tensor.dtype {
            Dtype::F64 => format!("{value} (as f32)"),
            _ => value.to_string(),
        };
        EngineError::NotFinite { tensor: tensor.name.clone(), value, position }
    }

    fn quantize(&self, job: &Job, weights: Weights<'_>) -> Result<(), EngineError> {
        let encoder = self.group_of(job).encoder(weights.kind);
        let mut stats = match encoder {
            Some(Encoder::Nvfp4(encoder)) => self.quantize_nvfp4(job, weights, &encoder)?,
            Some(Encoder::Grouped(coder)) => self.quantize_grouped(job, weights, &coder)?,
            None => return Ok(()),
        };
        self.group_of(job).end_quantize();
        let padding = weights.len() as u64 - (job.range.end - job.range.start);
        stats.weights.remove_zeros(padding);
        self.add_stats(job, stats);
        Ok(())
    }

    fn quantize_nvfp4(
        &self,
        job: &Job,
        weights: Weights<'_>,
        Nvfp4Encoder { tables, unsearched }: &Nvfp4Encoder,
    ) -> Result<TensorStats, EngineError> {
        let backend = self.run.resources.backend;
        let Quantized { codes, scales, weights: sums, errors } =
            backend.nvfp4_quantize(weights, tables)?;
        let unsearched = unsearched.as_ref().map(|tables| backend.nvfp4_quantize(weights, tables));
        let unsearched = unsearched.transpose()?.map(|quantized| quantized.errors);
        let codes = match self.columns_of_blocks(job) {
            Some(columns) => codes_to_rows(&codes, columns),
            None => codes,
        };
        let first = self.stored_place(job);
        let block = first / BLOCK_LEN as u64;
        let global_scale = tables.scaling.global_scale;
        self.write(job, Part::Codes, block * 8, &codes)?;
        self.write(job, Part::Scales, block, &scales)?;
        if job.chunk == 0 {
            self.write(job, Part::GlobalScale, 0, &global_scale.to_le_bytes())?;
        }
        let quantized = QuantizedStats {
            global_scale: Some(global_scale),
            scales: ScaleHealth::of(&scales),
            signal_squares: sums.sum_squares,
            errors,
            unsearched,
        };
        // The amax is known from the first reading.
        Ok(TensorStats { weights: sums, quantized: Some(quantized), ..Default::default() })
    }

    fn quantize_grouped(
        &self,
        job: &Job,
        weights: Weights<'_>,
        coder: &Coder,
    ) -> Result<TensorStats, EngineError> {
        let (entry, scheme) = (self.entry(job), &coder.scheme);
        let columns = self.stored_columns(job);
        let Grouped { codes, scales, amax, weights: sums, errors } =
            self.run.resources.backend.grouped_quantize(weights, columns, coder)?;
        let amax = weights.kind.widen(amax);
        if !amax.is_finite() {
            return Err(self.not_finite(job, weights));
        }

        let row = self.stored_place(job) as usize / columns;
        let packing = entry.format().and_then(|format| self.run.plan.dialect.packing(format));
        let packing = packing.unwrap_or(Packing::Bytes);
        let (at, packed) = (packing.bytes(row, columns), packing.pack(codes, columns));
        self.write(job, Part::Codes, at as u64, &packed)?;

        let across = scheme.scope.across(columns);
        let first = scheme.scope.index(row, 0, columns);
        if scheme.scope != Scope::Tensor || job.chunk == 0 {
            let at = first * scheme.store.bytes(weights.kind);
            self.write(job, Part::Scales, at as u64, &scheme.store.encode(&scales, weights.kind))?;
        }
        if scheme.zero_points {
            let bits = scheme.element.bits();
            let at = row * usize::from(bits) / 32 * across * 4;
            let packed = pack_zero_points(&scales, across, bits);
            self.write(job, Part::ZeroPoints, at as u64, &packed)?;
        }
        if job.chunk == 0 {
            let rows = entry.member.tensor.shape[0];
            let shape = [rows, columns as u64].map(u64::to_le_bytes);
            self.write(job, Part::Shape, 0, shape.as_flattened())?;
        }
        let (min_normal, largest) = scheme.store.range(weights.kind);
        let values = scales.iter().map(|group| group.scale);
        let health = ScaleHealth::of_values(values, min_normal, largest);
        let quantized = QuantizedStats {
            global_scale: coder.tensor_scale.map(|group| group.scale),
            // A scale of the whole tensor is counted once.
            scales: if scheme.scope == Scope::Tensor && job.chunk > 0 {
                ScaleHealth::default()
            } else {
                health
            },
            signal_squares: sums.sum_squares,
            errors,
            unsearched: None,
        };
        Ok(TensorStats { amax, weights: sums, quantized: Some(quantized), ..Default::default() })
    }

    /// The place that the first weight of a job has among those that are stored.
    fn stored_place(&self, job: &Job) -> u64 {
        let (columns, stored) = (self.columns(job) as u64, self.stored_columns(job) as u64);
        if columns == stored { job.range.start } else { job.range.start / columns * stored }
    }

    fn measure(&self, job: &Job, weights: Option<Weights<'_>>) {
        let Some(weights) = weights else { return };
        let amax = Cpu.amax(weights).map_or(f32::NAN, |pattern| weights.kind.widen(pattern));
        self.add_stats(
            job,
            TensorStats { amax, weights: weight_sums(weights), ..Default::default() },
        );
    }

    fn add_stats(&self, job: &Job, stats: TensorStats) {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        measured.push(Measured { entry: job.entry, chunk: job.chunk, expert: job.expert, stats });
    }

    /// Writes the source's bytes for every output that is a copy of them.
    fn copy(&self, job: &Job, bytes: &[u8]) -> Result<(), EngineError> {
        if job.task == Task::Amax {
            return Ok(());
        }
        self.write(job, Part::Verbatim, job.range.start * self.tensor(job).unit_bytes(), bytes)
    }

    fn write(&self, job: &Job, part: Part, offset: u64, bytes: &[u8]) -> Result<(), EngineError> {
        let Some(sink) = self.run.sink else { return Ok(()) };
        for (i, output) in self.entry(job).outputs.iter().enumerate() {
            if output.part == part {
                sink.write(job.entry, i, offset, bytes)?;
            }
        }
        Ok(())
    }
}
