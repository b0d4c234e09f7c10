//! What the config lists as not quantized.

use super::Entry;
use crate::checkpoint::Dtype;
use crate::dialect::{Dialect, Part};
use crate::model::{Role, is_weight, module_of, owner_of, role_of, ties::Tie};

/// What the config lists as not quantized: every module with a float matrix that is stored as it
/// was, and the head that a tied model does not store.
pub fn exclude(entries: &[Entry], tie: &Tie, dialect: Dialect) -> Vec<String> {
    let (mut kept, mut quantized) = (Vec::new(), Vec::new());
    for entry in entries {
        if entry.format().is_some() {
            quantized.push(module_of(&entry.member.tensor.name));
        }
        // A matrix of whole numbers must not be taken for packed codes either.
        let is_packed_lookalike = is_packed_lookalike(
            entry.member.tensor.dtype,
            &entry.member.tensor.name,
            &entry.member.tensor.shape,
        );
        let listed = entry.is_quantizable() || is_packed_lookalike;
        let verbatim =
            entry.outputs.iter().filter(|output| listed && output.part == Part::Verbatim);
        kept.extend(verbatim.map(|output| {
            let role = role_of(&output.name, &output.shape);
            (owner_of(&output.name).to_owned(), role)
        }));
    }
    let is_shared = |embedding: usize| {
        let of_table = |entry: &&Entry| entry.member.index == embedding;
        let table = entries.iter().find(of_table).and_then(Entry::format);
        dialect.shares_tables() && table.is_some()
    };
    if let Tie::HeadAbsent { head_name, embedding } = tie
        && !is_shared(*embedding)
    {
        kept.push((module_of(head_name).to_owned(), Role::Head));
    }
    kept.sort();
    kept.dedup();
    dialect.exclude(&kept, &quantized)
}

/// Whether a tensor, if nothing said otherwise, could be taken for packed codes.
pub fn is_packed_lookalike(dtype: Dtype, name: &str, shape: &[u64]) -> bool {
    let is_fused_experts = shape.len() == 3 && role_of(name, shape) == Role::Expert;
    dtype == Dtype::U8 && (is_weight(name) || is_fused_experts)
}
