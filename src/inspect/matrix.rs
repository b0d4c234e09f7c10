//! Which matrix, and where its numbers are.

use crate::backend::BackendError;
use crate::checkpoint::{Checkpoint, CheckpointError, Tensor};
use crate::dialect::Dialect;
use crate::engine::Method;
use crate::format::{Format, ScaleDtype, ScaleSearch};
use crate::model::InputAxis;
use crate::plan::{Decision, Entry, Plan};
use crate::quantized::Layer;

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Name of the tensor, as the plan has it.
    pub tensor: String,
    /// The expert of it, if it holds several; else 0.
    pub expert: u64,
    /// The format to see it in, if not the one that the plan says.
    pub format: Option<Format>,
}

/// What cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// No such tensor.
    #[error("there is no tensor {0:?}")]
    NoTensor(String),
    /// No such expert.
    #[error("{tensor}: there is no expert {expert}, but {experts}")]
    NoExpert {
        /// The tensor.
        tensor: String,
        /// The expert that was asked for.
        expert: u64,
        /// Experts that it holds.
        experts: u64,
    },
    /// No numbers.
    #[error("{tensor} is {dtype}: no floats, and no part of a quantized layer that can be read")]
    NotFloat {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: String,
    },
    /// A quantized layer that cannot be read.
    #[error("{tensor} cannot be read: {problem}")]
    Unreadable {
        /// The layer.
        tensor: String,
        /// Why.
        problem: String,
    },
    /// Two matrices that are not the same one.
    #[error("{tensor} is {}×{} in one and {}×{} in the other", sizes[0][0], sizes[0][1], sizes[1][0], sizes[1][1])]
    Sizes {
        /// The tensor.
        tensor: String,
        /// Rows and columns of both.
        sizes: [[u64; 2]; 2],
    },
    /// The user asked to stop.
    #[error("stopped on request")]
    Cancelled,
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] CheckpointError),
    /// The device failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Something about codes was asked of floats alone.
    #[error("{tensor} has no codes and scales: {reason}")]
    NoCodes {
        /// The tensor.
        tensor: String,
        /// Why.
        reason: String,
    },
    /// Errors were asked of codes alone.
    #[error(
        "{tensor} is stored quantized, and without its floats there are no errors: open the checkpoint that it was made from"
    )]
    NoWeights {
        /// The layer.
        tensor: String,
    },
    /// A part that the matrix does not have.
    #[error("{tensor} has no {part}")]
    OutOfRange {
        /// The tensor.
        tensor: String,
        /// The part.
        part: String,
    },
}

/// A matrix `[outputs, inputs]`, of which blocks run along the inputs, however it is stored.
#[derive(Debug, Clone)]
pub struct Matrix<'a> {
    /// What it is.
    pub subject: Subject,
    /// Rows.
    pub rows: u64,
    /// Columns, with what fills up blocks.
    pub columns: u64,
    /// Columns that weights have; what follows are zeros.
    pub weight_columns: u64,
    /// The format that it is seen in; `None` for floats alone.
    pub format: Option<Format>,
    /// Whether that is the format of the plan, or of the file.
    pub is_planned: bool,
    /// Why it cannot be seen in the format that was asked for.
    pub refused: Option<String>,
    /// Experts that its tensor holds; 1 for a matrix.
    pub experts: u64,
    /// Largest magnitude of all that share its global scale, where somebody has found it already.
    pub known_amax: Option<f32>,
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) origin: Origin<'a>,
}

/// Where its numbers come from.
#[derive(Debug, Clone)]
pub(super) enum Origin<'a> {
    /// From floats, which are quantized.
    Floats {
        /// The matrix.
        tensor: Tensor,
        /// All that share its global scale, itself included.
        group: Vec<Tensor>,
        /// How it is quantized.
        method: Option<Method>,
    },
    /// From a layer that is quantized.
    Stored(&'a Layer),
}

impl<'a> Matrix<'a> {
    /// Finds what a subject stands for in a plan. `layers` are those of a checkpoint that is shown as it is
    /// stored: the first entries of its plan.
    pub fn of(
        checkpoint: &'a Checkpoint,
        layers: &'a [Layer],
        plan: &Plan,
        subject: &Subject,
    ) -> Result<Self, InspectError> {
        let index = index_of(plan, &subject.tensor)?;
        match layers.get(index) {
            Some(layer) => Self::of_layer(checkpoint, layer, subject),
            None => Self::of_floats(checkpoint, plan, index, subject),
        }
    }

    fn of_layer(
        checkpoint: &'a Checkpoint,
        layer: &'a Layer,
        subject: &Subject,
    ) -> Result<Self, InspectError> {
        let unreadable = |problem: &str| InspectError::Unreadable {
            tensor: subject.tensor.clone(),
            problem: problem.to_owned(),
        };
        if let Some(problem) = &layer.problem {
            return Err(unreadable(problem));
        }
        let (rows, columns) = match layer.shape[..] {
            [rows, columns] => (rows, columns),
            [_, inputs, outputs] if layer.is_fused() => (outputs, inputs),
            [_, rows, columns] => (rows, columns),
            _ => return Err(unreadable("it is no matrix")),
        };
        let experts = layer.experts();
        check_expert(subject, experts)?;
        let other = subject.format.filter(|format| layer.format != Some(*format));
        let refused = other.map(|format| {
            format!(
                "it is stored quantized, and not made into {format}: open what it was made from"
            )
        });
        Ok(Self {
            subject: subject.clone(),
            rows,
            columns,
            weight_columns: columns,
            format: layer.format,
            is_planned: true,
            refused,
            experts,
            known_amax: None,
            checkpoint,
            origin: Origin::Stored(layer),
        })
    }

    fn of_floats(
        checkpoint: &'a Checkpoint,
        plan: &Plan,
        index: usize,
        subject: &Subject,
    ) -> Result<Self, InspectError> {
        let entry = &plan.entries[index];
        let stored = &entry.member.tensor;
        let planned = entry.format();
        let wanted = subject.format.or(planned);
        let is_planned = wanted == planned;
        let group = match entry.decision {
            Decision::Quantize { group, .. } if is_planned => group_of(plan, group),
            // What is only tried out has a global scale of its own.
            _ => vec![stored.clone()],
        };
        let quantizing = wanted.map(|format| Quantizing {
            method: method_of(plan, format),
            group,
            columns: entry.padded_columns().filter(|_| is_planned),
        });
        Self::of_entry(checkpoint, entry, subject, quantizing, is_planned)
    }

    pub(super) fn of_entry(
        checkpoint: &'a Checkpoint,
        entry: &Entry,
        subject: &Subject,
        quantizing: Option<Quantizing>,
        is_planned: bool,
    ) -> Result<Self, InspectError> {
        let stored = &entry.member.tensor;
        if stored.float_kind().is_none() {
            let (tensor, dtype) = (stored.name.clone(), format!("{:?}", stored.dtype));
            return Err(InspectError::NotFloat { tensor, dtype });
        }
        let (tensor, experts) = matrix_of(stored, entry.member.input_axis, subject)?;
        let (rows, columns) = (tensor.shape[0], tensor.shape[1]);
        // A length that is no more than what is needed to fill up the last block.
        let fits = |width: &u64| {
            let len = quantizing.as_ref().map_or(1, |q| q.method.format.block_len() as u64);
            *width == columns || *width == columns.next_multiple_of(len)
        };
        let width = quantizing.as_ref().and_then(|q| q.columns).filter(fits).unwrap_or(columns);
        let refused = quantizing.as_ref().and_then(|q| {
            let (format, len) = (q.method.format, q.method.format.block_len() as u64);
            let divides =
                width.is_multiple_of(len) || q.method.dialect.takes_part_blocks(entry.member.role);
            (!divides).then(|| {
                format!(
                    "rows of {columns} weights do not divide into blocks of {len}, as {format} has them"
                )
            })
        });
        let (method, group) = match quantizing.filter(|_| refused.is_none()) {
            Some(Quantizing { method, group, .. }) => (Some(method), group),
            None => (None, vec![stored.clone()]),
        };
        Ok(Self {
            subject: subject.clone(),
            rows,
            columns: width,
            weight_columns: columns,
            format: method.map(|method| method.format),
            is_planned,
            refused,
            experts,
            known_amax: None,
            checkpoint,
            origin: Origin::Floats { tensor, group, method },
        })
    }

    /// The layout whose arithmetic it is quantized in.
    pub fn dialect(&self) -> Option<Dialect> {
        match &self.origin {
            Origin::Floats { method, .. } => method.map(|method| method.dialect),
            Origin::Stored(layer) => Some(layer.dialect),
        }
    }

    /// What values of a stored layer also depend on, and is not read here.
    pub fn altered_by(&self) -> Option<&str> {
        match &self.origin {
            Origin::Stored(layer) => layer.altered_by.as_deref(),
            Origin::Floats { .. } => None,
        }
    }

    /// Rows that have to be read together: ranges begin at multiples of it.
    pub fn rows_together(&self) -> u64 {
        match (&self.origin, self.format, self.dialect()) {
            // Its blocks lie across all rows of an expert.
            (Origin::Stored(layer), ..) if layer.is_fused() => self.rows.max(1),
            (_, Some(format), Some(dialect)) => dialect.rows_together(format),
            _ => 1,
        }
    }
}

/// How floats are to be quantized.
pub(super) struct Quantizing {
    pub method: Method,
    /// All that share the global scale.
    pub group: Vec<Tensor>,
    /// Length that rows get, if blocks are filled up.
    pub columns: Option<u64>,
}

fn index_of(plan: &Plan, tensor: &str) -> Result<usize, InspectError> {
    let index = plan.entries.iter().position(|entry| entry.member.tensor.name == tensor);
    index.ok_or_else(|| InspectError::NoTensor(tensor.to_owned()))
}

pub(super) fn entry_of<'p>(plan: &'p Plan, tensor: &str) -> Result<&'p Entry, InspectError> {
    index_of(plan, tensor).map(|index| &plan.entries[index])
}

/// The tensors of a scale group.
pub(super) fn group_of(plan: &Plan, group: usize) -> Vec<Tensor> {
    let members = plan.groups[group].iter();
    members.map(|&member| plan.entries[member].member.tensor.clone()).collect()
}

/// How a format is made: as the plan would, or where its layout has no place for the format as the first
/// layout that has one.
fn method_of(plan: &Plan, format: Format) -> Method {
    let method = Method::of(plan, format);
    let has_place = |dialect: &Dialect| dialect.packing(format).is_some();
    let other = || Dialect::ALL.into_iter().find(has_place);
    match Some(plan.dialect).filter(has_place).or_else(other) {
        Some(dialect) if dialect != plan.dialect => Method {
            dialect,
            search: ScaleSearch::Max,
            quotient: None,
            scale_dtype: ScaleDtype::Own,
            ..method
        },
        _ => method,
    }
}

fn check_expert(subject: &Subject, experts: u64) -> Result<(), InspectError> {
    if subject.expert < experts {
        return Ok(());
    }
    let (tensor, expert) = (subject.tensor.clone(), subject.expert);
    Err(InspectError::NoExpert { tensor, expert, experts })
}

/// The matrix `[outputs, inputs]` of a tensor, or of an expert in it, and how many experts it holds. A
/// vector is one row; dimensions before the last two are rows, unless they count experts.
fn matrix_of(
    stored: &Tensor,
    axis: Option<InputAxis>,
    subject: &Subject,
) -> Result<(Tensor, u64), InspectError> {
    let (experts, rows, columns) = match (stored.shape[..].split_last(), stored.shape.len()) {
        (Some((_, &[experts, rows])), 3) if axis.is_some() => (experts, rows, stored.shape[2]),
        (Some((&columns, before)), _) => {
            (1, before.iter().fold(1u64, |all, n| all.saturating_mul(*n)), columns)
        }
        (None, _) => (1, 1, 1),
    };
    check_expert(subject, experts)?;
    let each = rows.saturating_mul(columns);
    // Rows without weights are none, however many a header counts.
    let (rows, columns) = if each == 0 { (0, columns) } else { (rows, columns) };
    let mut tensor = Tensor { shape: vec![rows, columns], ..stored.clone() };
    if stored.strides.is_none() {
        let width = stored.dtype.bitsize() as u64 / 8;
        tensor.offset += subject.expert * each * width;
        tensor.bytes = each * width;
        if axis == Some(InputAxis::SecondToLast) && stored.shape.len() >= 2 {
            (tensor.shape, tensor.strides) = (vec![columns, rows], Some(vec![1, columns]));
        }
    }
    Ok((tensor, experts))
}
