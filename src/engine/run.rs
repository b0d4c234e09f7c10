//! One run of a plan.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::chunk::ChunkBuffer;
use super::group::SharedScale;
use super::schedule::{Job, Task, schedule, units};
use super::workers::in_order;
use super::{EngineError, Resources};
use crate::backend::{Backend, Weights};
use crate::checkpoint::{Checkpoint, Tensor};
use crate::cpu::{Cpu, weight_sums};
use crate::dialect::Part;
use crate::model::InputAxis;
use crate::numeric::FloatKind;
use crate::plan::{Decision, Entry, Plan};
use crate::stats::TensorStats;

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
pub(super) struct Shared<'a> {
    pub(super) run: &'a Run<'a>,
    jobs: Vec<Job>,
    /// By their numbers in the plan.
    groups: BTreeMap<usize, SharedScale>,
    measured: Mutex<Vec<Measured>>,
}

impl Run<'_> {
    /// Runs the plan. Gives the measurements of each entry; `None` for tensors that are no floats.
    pub fn execute(&self) -> Result<Vec<Option<TensorStats>>, EngineError> {
        let measured = self.execute_units(&units(self.plan))?;
        let mut stats = vec![None; self.plan.entries.len()];
        for (entry, measurements) in measured {
            stats[entry] = Some(measurements);
        }
        Ok(stats)
    }

    /// Runs a part of the plan: some of its [`units`]. Gives the measurements by entry.
    pub fn execute_units(
        &self,
        units: &[Vec<usize>],
    ) -> Result<BTreeMap<usize, TensorStats>, EngineError> {
        let number = |unit: &Vec<usize>| match self.plan.entries[*unit.first()?].decision {
            Decision::Quantize { group, .. } => Some(group),
            Decision::Shared { .. } | Decision::Stored(_) | Decision::Keep(_) => None,
        };
        let group =
            |number: usize| (number, SharedScale::new(self.plan, &self.plan.groups[number]));
        let shared = Shared {
            run: self,
            jobs: schedule(self.plan, units, self.resources.backend.chunk_bytes()),
            groups: units.iter().filter_map(number).map(group).collect(),
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
            || shared.groups.values().for_each(SharedScale::abandon),
        )?;
        Ok(merge(shared.measured.into_inner().unwrap_or_else(PoisonError::into_inner)))
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

/// Adds up chunks in their order, so that the sums do not depend on which worker was faster. Gives the
/// measurements by entry.
pub fn merge(mut measured: Vec<Measured>) -> BTreeMap<usize, TensorStats> {
    measured.sort_by_key(|part| (part.entry, part.chunk));
    let mut stats: BTreeMap<usize, TensorStats> = BTreeMap::new();
    for part in measured {
        let total = stats.entry(part.entry).or_default();
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
    pub(super) fn entry(&self, job: &Job) -> &Entry {
        &self.run.plan.entries[job.entry]
    }

    pub(super) fn tensor(&self, job: &Job) -> &Tensor {
        &self.entry(job).member.tensor
    }

    /// Length of a row.
    pub(super) fn columns(&self, job: &Job) -> usize {
        *self.tensor(job).shape.last().unwrap_or(&1) as usize
    }

    /// Length of a row as it is quantized.
    pub(super) fn stored_columns(&self, job: &Job) -> usize {
        self.entry(job).padded_columns().map_or_else(|| self.columns(job), |n| n as usize)
    }

    /// Row length of a tensor whose blocks run down its columns.
    pub(super) fn columns_of_blocks(&self, job: &Job) -> Option<usize> {
        let by_columns = self.entry(job).member.input_axis == Some(InputAxis::SecondToLast);
        self.tensor(job).shape.last().filter(|_| by_columns).map(|&columns| columns as usize)
    }

    pub(super) fn group_of(&self, job: &Job) -> &SharedScale {
        match self.entry(job).decision {
            Decision::Quantize { group, .. } => &self.groups[&group],
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

    fn measure(&self, job: &Job, weights: Option<Weights<'_>>) {
        let Some(weights) = weights else { return };
        let amax = Cpu.amax(weights).map_or(f32::NAN, |pattern| weights.kind.widen(pattern));
        self.add_stats(
            job,
            TensorStats { amax, weights: weight_sums(weights), ..Default::default() },
        );
    }

    pub(super) fn add_stats(&self, job: &Job, stats: TensorStats) {
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

    pub(super) fn write(
        &self,
        job: &Job,
        part: Part,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), EngineError> {
        let Some(sink) = self.run.sink else { return Ok(()) };
        for (i, output) in self.entry(job).outputs.iter().enumerate() {
            if output.part == part {
                sink.write(job.entry, i, offset, bytes)?;
            }
        }
        Ok(())
    }
}
