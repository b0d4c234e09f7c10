//! In which order the chunks of a plan are worked on.

use std::ops::Range;

use crate::checkpoint::Tensor;
use crate::format::nvfp4::BLOCK_LEN;
use crate::format::{Arithmetic, Scope};
use crate::model::InputAxis;
use crate::plan::{Decision, Entry, Plan};

/// Bytes of source that one job reads, at most, if the backend has no say. A few of them a worker bound
/// the memory of a run.
pub const CHUNK_BYTES: u64 = 1 << 20;

/// What to read at once of a tensor, in bytes: so many, but more of one that is stored column by column. Of each
/// column a chunk needs a few rows, and reading little at a time takes long.
pub fn bytes_at_once(tensor: &Tensor, bytes: u64) -> u64 {
    const BY_COLUMNS: u64 = 8 << 20;
    if tensor.is_stored_by_columns() { bytes.max(BY_COLUMNS) } else { bytes }
}

/// A length in steps, of which the last may be shorter.
pub fn steps(length: u64, step: u64) -> impl Iterator<Item = Range<u64>> {
    (0..length.div_ceil(step)).map(move |i| i * step..((i + 1) * step).min(length))
}

/// One piece of work: a chunk of one tensor and what to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number in the schedule.
    pub number: usize,
    /// What to do.
    pub task: Task,
    /// Index in [`Plan::entries`].
    pub entry: usize,
    /// Elements of the tensor, in the order of its data; whole blocks if it is quantized. For a
    /// tensor that is no float: bytes.
    pub range: Range<u64>,
    /// Number of this chunk among those of its tensor.
    pub chunk: usize,
    /// The expert that it is part of, if the tensor holds several.
    pub expert: Option<usize>,
    /// Whether another job finds its amax.
    pub measured: bool,
}

impl Job {
    /// What doing it counts for, of so many bytes that it reads: of a tensor that is read twice each
    /// reading counts half.
    pub fn work(&self, read: u64) -> u64 {
        match self.task {
            Task::Amax => read / 2,
            Task::Quantize if self.measured => read - read / 2,
            Task::Quantize | Task::Copy => read,
        }
    }
}

/// What to do with a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Find its largest magnitude, for the global scale of the group.
    Amax,
    /// Quantize it; every amax job of its group comes before.
    Quantize,
    /// Carry it over, and measure it if it is float.
    Copy,
}

/// What can be worked on by itself: the scale groups and the kept tensors of a plan, as indices of
/// entries, in the order of the source's files.
pub fn units(plan: &Plan) -> Vec<Vec<usize>> {
    let mut units: Vec<Vec<usize>> = plan.groups.clone();
    units.extend((0..plan.entries.len()).filter(|i| is_kept(plan, *i)).map(|i| vec![i]));
    units.sort_by_key(|unit| {
        let first = unit.first().map(|&i| &plan.entries[i].member.tensor);
        first.map(|tensor| (tensor.file, tensor.offset))
    });
    units
}

fn is_kept(plan: &Plan, entry: usize) -> bool {
    matches!(plan.entries[entry].decision, Decision::Keep(_) | Decision::Shared { .. })
}

/// All jobs of some units, in order, each of at most `chunk_bytes` of source, or one row; more of what is stored
/// column by column. A group's amax jobs precede those of the group after it, and its quantize jobs
/// follow them: so one group's amax is being found while the one before is quantized, and the second reading of a
/// chunk mostly comes from the system's page cache.
pub fn schedule(plan: &Plan, units: &[Vec<usize>], chunk_bytes: u64) -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut waiting: Vec<Job> = Vec::new();
    for unit in units {
        let of_unit =
            |task: Task| unit.iter().flat_map(move |&entry| chunks(plan, entry, task, chunk_bytes));
        if is_kept(plan, unit[0]) {
            jobs.extend(of_unit(Task::Copy));
        } else if !needs_amax(&plan.entries[unit[0]]) {
            jobs.extend(of_unit(Task::Quantize));
        } else {
            jobs.extend(of_unit(Task::Amax));
            jobs.append(&mut waiting);
            waiting.extend(of_unit(Task::Quantize));
        }
    }
    jobs.append(&mut waiting);
    jobs.iter_mut().enumerate().for_each(|(number, job)| job.number = number);
    jobs
}

/// Whether a tensor can only be quantized once its largest magnitude is known.
fn needs_amax(entry: &Entry) -> bool {
    // The scope is the same in every arithmetic.
    let scope =
        entry.format().and_then(|format| format.scheme(Arithmetic::ModelOpt)).map(|s| s.scope);
    matches!(scope, None | Some(Scope::Tensor))
}

fn chunks(plan: &Plan, entry: usize, task: Task, chunk_bytes: u64) -> impl Iterator<Item = Job> {
    let format = plan.entries[entry].format();
    let member = &plan.entries[entry].member;
    let tensor = &member.tensor;
    let length = tensor.bytes / tensor.unit_bytes();
    let most = bytes_at_once(tensor, chunk_bytes) / tensor.unit_bytes();
    // Blocks down the columns come in groups of whole rows, and a chunk is of one expert.
    let axis = member.input_axis.filter(|_| task != Task::Copy);
    let (span, step, fused) = match (axis, tensor.shape.as_slice()) {
        (Some(InputAxis::SecondToLast), [_, rows, columns]) => {
            let group = columns * BLOCK_LEN as u64;
            (rows * columns, (most / group).max(1) * group, true)
        }
        // Whole rows, and as many as are quantized together.
        (_, [_, columns]) if format.is_some() => {
            let together = format.map_or(1, |format| plan.dialect.rows_together(format));
            let rows = (most / columns.max(&1) / together).max(1) * together;
            (length, rows * columns, false)
        }
        _ => (length, most, false),
    };
    let measured = format.is_some() && needs_amax(&plan.entries[entry]);
    let spans = if length == 0 { 0 } else { length / span };
    let chunks_in_span = span.div_ceil(step);
    (0..spans * chunks_in_span).map(move |i| {
        let (expert, chunk) = (i / chunks_in_span, i % chunks_in_span);
        let start = expert * span;
        Job {
            number: 0,
            task,
            entry,
            range: start + chunk * step..start + ((chunk + 1) * step).min(span),
            chunk: i as usize,
            expert: fused.then_some(expert as usize),
            measured,
        }
    })
}
