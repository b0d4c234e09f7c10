//! Measuring a tensor in several formats at once.

use std::sync::atomic::AtomicBool;

use super::{FormatCell, FormatSums};
use crate::backend::{Backend, Weights};
use crate::checkpoint::{Checkpoint, Dtype, Tensor};
use crate::dialect::{Output, Part};
use crate::engine::{ChunkBuffer, Encoder, Method, padded_rows, steps};
use crate::format::{Format, ScaleDtype};
use crate::inspect::amax::{amax_of, kind_of};
use crate::inspect::compare::multiple;
use crate::inspect::matrix::{Matrix, Origin, entry_of, group_of};
use crate::inspect::reader::{SHEET_WEIGHTS, check};
use crate::inspect::{InspectError, Subject};
use crate::numeric::FloatKind;
use crate::plan::{Decision, Entry, Plan, why_not};
use crate::stats::ErrorSums;

/// Measures one entry of a plan of floats in some formats, in the arithmetic of the plan: the floats
/// themselves first, then the formats in their order. The weights are read once for all of them, and
/// once before that for the largest magnitude. The format that the plan says is measured as the
/// plan has it, with its scale group and what fills up its rows; any other with a scale of its own.
/// `told` is told of weights that are done.
pub fn measure(
    checkpoint: &Checkpoint,
    plan: &Plan,
    tensor: &str,
    formats: &[Format],
    backend: &dyn Backend,
    cancel: &AtomicBool,
    told: &mut dyn FnMut(u64),
) -> Result<Vec<FormatCell>, InspectError> {
    let mut subject = Subject { tensor: tensor.to_owned(), expert: 0, format: None };
    let first = Matrix::floats(checkpoint, plan, &subject)?;
    let entry = entry_of(plan, tensor)?;
    let mut trials = Vec::with_capacity(formats.len());
    let amaxes = Amaxes::of(checkpoint, plan, entry, formats, (backend, cancel))?;
    for &format in formats {
        let format = plan.dialect.resolve(format);
        trials.push(Trial::new(plan, entry, format, &amaxes));
    }
    let mut signal = ErrorSums::default();
    let mut weights = 0;
    for expert in 0..first.experts {
        subject.expert = expert;
        let matrix = Matrix::floats(checkpoint, plan, &subject)?;
        let Origin::Floats { tensor, .. } = &matrix.origin else { continue };
        let together = formats.iter().map(|format| plan.dialect.rows_together(*format));
        let together = together.fold(1, multiple);
        let step = (SHEET_WEIGHTS / matrix.columns.max(1) / together).max(1) * together;
        for rows in steps(matrix.rows, step) {
            check(cancel)?;
            let range = rows.start * matrix.columns..rows.end * matrix.columns;
            let mut buffer = ChunkBuffer::default();
            buffer.read(checkpoint, tensor, range.clone())?;
            let Some(floats) = buffer.weights() else { continue };
            let squares = (0..floats.len()).map(|i| f64::from(floats.get(i)).powi(2));
            signal.sum_squares += squares.sum::<f64>();
            weights += floats.len() as u64;
            for trial in &mut trials {
                trial.add(floats, matrix.columns as usize, backend)?;
            }
            told(range.end - range.start);
        }
    }
    let bytes = entry.member.tensor.bytes;
    let signal_squares = signal.sum_squares;
    let kept = FormatSums { weights, bytes, signal_squares, ..FormatSums::default() };
    let cells = trials.into_iter().map(|trial| FormatCell {
        format: Some(trial.format),
        // One sum for all of them, so that they differ in their errors alone.
        outcome: trial.encoder.map(|_| FormatSums {
            errors: trial.errors,
            bytes: trial.bytes,
            ..kept
        }),
    });
    Ok(std::iter::once(FormatCell { format: None, outcome: Ok(kept) }).chain(cells).collect())
}

/// Largest magnitudes, where a format needs them.
struct Amaxes {
    /// Of the tensor alone, and its type.
    own: (f32, FloatKind),
    /// Of all that share the global scale in the plan.
    group: (f32, FloatKind),
}

impl Amaxes {
    fn of(
        checkpoint: &Checkpoint,
        plan: &Plan,
        entry: &Entry,
        formats: &[Format],
        (backend, cancel): (&dyn Backend, &AtomicBool),
    ) -> Result<Self, InspectError> {
        let of = |tensor: &Tensor| -> Result<(f32, FloatKind), InspectError> {
            Ok((amax_of(checkpoint, tensor, backend, cancel)?, kind_of(tensor)))
        };
        let own = of(&entry.member.tensor)?;
        let mut group = own;
        if let Decision::Quantize { group: number, format, .. } = entry.decision
            && formats.contains(&format)
        {
            let others = group_of(plan, number).into_iter();
            for tensor in others.filter(|tensor| tensor.name != entry.member.tensor.name) {
                let (amax, kind) = of(&tensor)?;
                // As bit patterns, so that NaN is not lost.
                let amax = f32::from_bits(amax.to_bits().max(group.0.to_bits()));
                group = (amax, if kind == group.1 { kind } else { FloatKind::F32 });
            }
        }
        Ok(Self { own, group })
    }
}

/// A format that is tried.
struct Trial {
    format: Format,
    /// Length of a stored row.
    columns: Option<usize>,
    encoder: Result<Encoder, String>,
    bytes: u64,
    errors: ErrorSums,
}

impl Trial {
    fn new(plan: &Plan, entry: &Entry, format: Format, amaxes: &Amaxes) -> Self {
        let is_planned = entry.format() == Some(format);
        let columns = entry.padded_columns().filter(|_| is_planned);
        let (amax, group_kind) = if is_planned { amaxes.group } else { amaxes.own };
        let tensor = &entry.member.tensor;
        let why_not = match plan.dialect.packing(format) {
            None => Some(format!("{} has no place for {format}", plan.dialect)),
            Some(_) if columns.is_some() => None,
            Some(_) => why_not(tensor, &entry.member, format, plan.dialect)
                .map(|reason| reason.to_string()),
        };
        let why_not = why_not.or_else(|| {
            let finite = amax.is_finite();
            (!finite).then(|| format!("it, or what shares its scale, holds {amax}"))
        });
        let encoder = match why_not {
            Some(why) => Err(why),
            None => Ok(Encoder::new(Method::of(plan, format), group_kind, amaxes.own.1, amax)),
        };
        let bytes = if encoder.is_ok() { stored_bytes(plan, entry, format, columns) } else { 0 };
        let columns = columns.map(|columns| columns as usize);
        Self { format, columns, encoder, bytes, errors: ErrorSums::default() }
    }

    fn add(
        &mut self,
        weights: Weights<'_>,
        columns: usize,
        backend: &dyn Backend,
    ) -> Result<(), InspectError> {
        let Ok(encoder) = &self.encoder else { return Ok(()) };
        let padded = self.columns.map(|length| padded_rows(weights, columns, length));
        let (weights, columns) = match (&padded, self.columns) {
            (Some((words, bytes)), Some(length)) => {
                let bytes = &bytemuck::cast_slice(words)[..*bytes];
                (Weights { kind: weights.kind, bytes }, length)
            }
            _ => (weights, columns),
        };
        let errors = match encoder {
            Encoder::Nvfp4(encoder) => backend.nvfp4_quantize(weights, &encoder.tables)?.errors,
            Encoder::Grouped(coder) => backend.grouped_quantize(weights, columns, coder)?.errors,
        };
        self.errors.merge(&errors);
        Ok(())
    }
}

/// Bytes of all that a format stores for a tensor.
fn stored_bytes(plan: &Plan, entry: &Entry, format: Format, columns: Option<u64>) -> u64 {
    let mut tensor = entry.member.tensor.clone();
    if let (Some(columns), Some(last)) = (columns, tensor.shape.last_mut()) {
        *last = columns;
    }
    let mut outputs = plan.dialect.outputs(&tensor, entry.member.role, format);
    let is_scales = |output: &Output| matches!(output.part, Part::Scales | Part::ScalesByGroup);
    if plan.scale_dtype == ScaleDtype::F32 {
        let scales = outputs.iter_mut().filter(|output| is_scales(output));
        scales.for_each(|scales| scales.dtype = Dtype::F32);
    }
    outputs.iter().map(Output::bytes).sum()
}

#[cfg(test)]
mod tests;
