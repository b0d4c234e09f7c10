//! Finding out by reading whether embedding and head are one.

use super::{Comparison, EngineError, Method, Resources, tie_match};
use crate::backend::TieMatch;
use crate::model::Model;
use crate::model::ties::{self, Tie};
use crate::plan::{Entry, FindingKind, Plan};

/// Whether what a plan says depends on a tie that only weights can tell.
pub fn tie_matters(plan: &Plan) -> bool {
    let asks = plan.findings.iter().any(|f| matches!(f.kind, FindingKind::TieUnknown { .. }));
    asks || plan.tie_is_open || plan.tie_word_embeddings.is_some()
}

/// Compares embedding and head: byte by byte, and where bytes differ with what the table stands for
/// once it is quantized as `plan` says. The plan is to be made anew if the result is another than
/// `model.tie`. A table that is quantized already is for [`crate::quantized`] to read.
pub fn settle_tie(
    model: &Model<'_>,
    plan: &Plan,
    resources: &Resources<'_>,
) -> Result<Tie, EngineError> {
    let settled = ties::settle(model, resources.cancel)?;
    let (Tie::Unknown { embedding, head }, Tie::Untied) = (&model.tie, &settled) else {
        return Ok(settled);
    };
    let (table, other) = (model.tensor(*embedding), model.tensor(*head));
    let entry = plan.entries.iter().find(|entry| entry.member.index == *embedding);
    let Some(format) = entry.and_then(Entry::format) else { return Ok(settled) };
    match tie_match(resources, model.checkpoint, (table, other), Method::of(plan, format))? {
        Some(Comparison { found: TieMatch { apart: 0, .. }, .. }) => {
            Ok(Tie::HeadMatches { embedding: *embedding, head: *head })
        }
        Some(comparison) if plan.dialect.shares_tables() => Ok(Tie::Apart {
            embedding: *embedding,
            head: *head,
            distance: comparison.distance(table.shape[1]),
        }),
        _ => Ok(settled),
    }
}
