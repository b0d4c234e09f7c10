//! One run of a plan.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

use super::chunk::ChunkBuffer;
use super::group::SharedScale;
use super::schedule::{Job, Task, schedule, units};
use super::sink::{Done, Measured, Piece, Sink};
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
        Ok(by_entry(self.plan, self.execute_units(&units(self.plan))?))
    }

    /// Bytes that progress is told of when the sink gets all that it wants.
    pub fn work_bytes(&self) -> u64 {
        let bytes = |job: &Job| {
            let tensor = &self.plan.entries[job.entry].member.tensor;
            job.work((job.range.end - job.range.start) * tensor.unit_bytes())
        };
        self.jobs(&self.wanted(&units(self.plan))).iter().map(bytes).sum()
    }

    fn wants(&self, entry: usize) -> bool {
        self.sink.is_none_or(|sink| sink.wants(entry))
    }

    /// Units with something in them that the sink wants.
    fn wanted(&self, units: &[Vec<usize>]) -> Vec<Vec<usize>> {
        let wanted = |unit: &&Vec<usize>| unit.iter().any(|&entry| self.wants(entry));
        units.iter().filter(wanted).cloned().collect()
    }

    /// The jobs of units. Amax is found of whole groups, whatever of them the sink wants.
    fn jobs(&self, units: &[Vec<usize>]) -> Vec<Job> {
        let settled = self.sink.and_then(Sink::chunk_bytes);
        let chunk_bytes = settled.unwrap_or_else(|| self.resources.backend.chunk_bytes());
        let mut jobs = schedule(self.plan, units, chunk_bytes);
        jobs.retain(|job| job.task == Task::Amax || self.wants(job.entry));
        jobs
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
        let units = &self.wanted(units);
        let shared = Shared {
            run: self,
            jobs: self.jobs(units),
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

/// Measurements in the order of a plan's entries; `None` for those that have none.
pub fn by_entry(plan: &Plan, measured: BTreeMap<usize, TensorStats>) -> Vec<Option<TensorStats>> {
    let mut stats = vec![None; plan.entries.len()];
    for (entry, measurements) in measured {
        stats[entry] = Some(measurements);
    }
    stats
}

/// A job that is being done, and what it has written so far.
pub(super) struct Work<'a> {
    job: &'a Job,
    pieces: RefCell<Vec<Piece>>,
}

impl Deref for Work<'_> {
    type Target = Job;

    fn deref(&self) -> &Job {
        self.job
    }
}

fn measure(weights: Weights<'_>) -> TensorStats {
    let amax = Cpu.amax(weights).map_or(f32::NAN, |pattern| weights.kind.widen(pattern));
    TensorStats { amax, weights: weight_sums(weights), ..Default::default() }
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
        let sink = self.run.sink;
        if let Some(done) = sink.map_or(Ok(None), |sink| sink.recall(job.number))? {
            return self.end(job, done);
        }
        let tensor = self.tensor(job);
        if job.task == Task::Quantize && !self.global_scale_is_known(job) {
            return Ok(());
        }
        buffer.read(self.run.checkpoint, tensor, job.range.clone())?;
        let work = Work { job, pieces: RefCell::default() };
        self.copy(&work, buffer.bytes())?;
        if job.task == Task::Quantize {
            if let Some(columns) = self.columns_of_blocks(job) {
                buffer.arrange_in_blocks(columns);
            } else if self.columns(job) != self.stored_columns(job) {
                buffer.pad_rows(self.columns(job), self.stored_columns(job));
            }
        }
        let stats = match (job.task, buffer.weights()) {
            (Task::Amax, Some(weights)) => Some(self.find_amax(job, weights)?),
            (Task::Quantize, Some(weights)) => match self.quantize(&work, weights)? {
                Some(stats) => Some(stats),
                // Another job failed meanwhile.
                None => return Ok(()),
            },
            (_, weights) => weights.map(measure),
        };
        let (entry, chunk, expert) = (job.entry, job.chunk, job.expert);
        let measured = stats.map(|stats| Measured { entry, chunk, expert, stats });
        let done = Done { pieces: work.pieces.into_inner(), measured };
        if let Some(sink) = sink {
            sink.note(job.number, &done)?;
        }
        self.end(job, done)
    }

    /// Tells everybody that a job is done.
    fn end(&self, job: &Job, done: Done) -> Result<(), EngineError> {
        match (job.task, &done.measured) {
            (Task::Amax, Some(measured)) => self.group_of(job).add_amax(measured.stats.amax),
            (Task::Quantize, _) => self.group_of(job).end_quantize(),
            _ => {}
        }
        let read = (job.range.end - job.range.start) * self.tensor(job).unit_bytes();
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        measured.extend(done.measured);
        drop(measured);
        self.run.resources.progress.add(job.work(read));
        Ok(())
    }

    /// Waits for the amax jobs of the group, before memory is filled.
    fn global_scale_is_known(&self, job: &Job) -> bool {
        let kind = self.tensor(job).float_kind().unwrap_or(FloatKind::F32);
        self.group_of(job).encoder(kind).is_some()
    }

    fn find_amax(&self, job: &Job, weights: Weights<'_>) -> Result<TensorStats, EngineError> {
        let amax = weights.kind.widen(self.run.resources.backend.amax(weights)?);
        match amax.is_finite() {
            true => Ok(TensorStats { amax, ..Default::default() }),
            false => Err(self.not_finite(job, weights)),
        }
    }

    /// Writes the source's bytes for every output that is a copy of them.
    fn copy(&self, job: &Work<'_>, bytes: &[u8]) -> Result<(), EngineError> {
        if job.task == Task::Amax {
            return Ok(());
        }
        self.write(job, Part::Verbatim, job.range.start * self.tensor(job).unit_bytes(), bytes)
    }

    pub(super) fn write(
        &self,
        job: &Work<'_>,
        part: Part,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), EngineError> {
        let Some(sink) = self.run.sink else { return Ok(()) };
        for (i, output) in self.entry(job).outputs.iter().enumerate() {
            if output.part == part {
                let piece = sink.write(job.entry, i, offset, bytes)?;
                job.pieces.borrow_mut().extend(piece);
            }
        }
        Ok(())
    }
}
