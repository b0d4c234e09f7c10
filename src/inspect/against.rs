//! Matrices of floats that are seen otherwise than a plan says: as they are, or quantized as another
//! checkpoint stores them.

use super::matrix::{Matrix, Origin, Quantizing, entry_of, group_of};
use super::{InspectError, Subject};
use crate::checkpoint::{Checkpoint, Dtype};
use crate::engine::Method;
use crate::format::{ScaleDtype, ScaleSearch};
use crate::plan::{Decision, Plan};

impl<'a> Matrix<'a> {
    /// A matrix of floats as it is, whatever a plan says of it.
    pub fn floats(
        checkpoint: &'a Checkpoint,
        plan: &Plan,
        subject: &Subject,
    ) -> Result<Self, InspectError> {
        let entry = entry_of(plan, &subject.tensor)?;
        let subject = Subject { format: None, ..subject.clone() };
        Self::of_entry(checkpoint, entry, &subject, None, entry.format().is_none())
    }

    /// The floats that a stored layer may have been made from, quantized here as that layer is: to its
    /// format, in the arithmetic of its dialect, to rows of its length. `plan` is one of the source, made
    /// of a [`Model`](crate::model::Model) that sees fused experts as the dialect of the layer does. If it
    /// is of that dialect and quantizes the tensor to that format, it also says which tensors share the
    /// global scale and how scales are chosen; else the tensor has a scale of its own.
    pub fn against(
        source: &'a Checkpoint,
        plan: &Plan,
        stored: &Matrix<'_>,
    ) -> Result<Self, InspectError> {
        let subject = Subject { format: stored.format, ..stored.subject.clone() };
        let entry = entry_of(plan, &subject.tensor)?;
        let (Some(format), Some(dialect)) = (stored.format, stored.dialect()) else {
            return Self::floats(source, plan, &subject);
        };
        let is_planned = plan.dialect == dialect && entry.format() == Some(format);
        let quantizing = match entry.decision {
            Decision::Quantize { group, .. } if is_planned => {
                let (method, group) = (Method::of(plan, format), group_of(plan, group));
                Quantizing { method, group, columns: Some(stored.columns) }
            }
            _ => {
                let scale_dtype = stored.scale_dtype();
                let (search, quotient) = (ScaleSearch::Max, None);
                let method = Method { format, dialect, search, quotient, scale_dtype };
                let group = vec![entry.member.tensor.clone()];
                Quantizing { method, group, columns: Some(stored.columns) }
            }
        };
        Self::of_entry(source, entry, &subject, Some(quantizing), is_planned)
    }

    /// The type that scales of a stored layer have, where its dialect leaves a choice.
    fn scale_dtype(&self) -> ScaleDtype {
        let Origin::Stored(layer) = &self.origin else { return ScaleDtype::Own };
        let scales = layer.parts.scales.map(|i| self.checkpoint.tensors[i].dtype);
        match layer.dialect.chooses_scale_dtype() && scales == Some(Dtype::F32) {
            true => ScaleDtype::F32,
            false => ScaleDtype::Own,
        }
    }
}
