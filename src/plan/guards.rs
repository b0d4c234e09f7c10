//! What ExecuTorch asks of weights before its Vulkan and WebGPU operators take them, and what loaders of
//! its layout do not find, as findings.

use super::{Entry, Finding, FindingKind};
use crate::checkpoint::Dtype;
use crate::dialect::{Dialect, Part};
use crate::format::Format;
use crate::model::Role;

/// Columns of a table, in ExecuTorch's matcher of `embedding_q4gsw`.
const TABLE_COLUMNS: u64 = 32;
/// Columns of a linear layer, where its Vulkan backend packs weights anew.
const LINEAR_COLUMNS: u64 = 8;
/// Rows of a linear layer, in its Vulkan backend.
const LINEAR_ROWS: u64 = 4;
/// Rows of a linear layer in all of its tests.
const TESTED_ROWS: u64 = 8;

/// Everything that is quantized, and that operators or loaders do not take.
/// `shared` is the table that a head without a tensor of its own reads.
pub fn about_guards(entries: &[Entry], dialect: Dialect, shared: Option<usize>) -> Vec<Finding> {
    if !matches!(dialect, Dialect::ExecuTorch | Dialect::Q4gsw) {
        return Vec::new();
    }
    let found = entries.iter().flat_map(|entry| {
        let tensor = &entry.member.tensor;
        let is_shared = shared == Some(entry.member.index);
        let kinds = kinds(entry, dialect, is_shared).into_iter();
        kinds.map(|kind| Finding::about(kind, &tensor.name, tensor.bytes))
    });
    Finding::merged(found.collect())
}

fn kinds(entry: &Entry, dialect: Dialect, is_shared: bool) -> Vec<FindingKind> {
    let (Some(format), [rows, columns]) = (entry.format(), &entry.member.tensor.shape[..]) else {
        return Vec::new();
    };
    if entry.member.role == Role::Expert && dialect == Dialect::ExecuTorch {
        return vec![FindingKind::ExpertsUnread];
    }
    // Of others runtimes are known, and none is a GPU.
    if !matches!(format, Format::Int { bits: 4, symmetric: true, .. }) {
        return Vec::new();
    }
    let columns = entry.padded_columns().unwrap_or(*columns);
    let is_table = entry.member.role == Role::Embedding;
    let is_linear =
        !is_table || is_shared || entry.outputs.iter().any(|o| o.part == Part::ScalesByGroup);
    let columns_of = if is_table { TABLE_COLUMNS } else { LINEAR_COLUMNS };
    let mut kinds = Vec::new();
    if !columns.is_multiple_of(columns_of) {
        kinds.push(FindingKind::UnfitColumns { columns, multiple: columns_of });
    }
    if is_linear && !rows.is_multiple_of(LINEAR_ROWS) {
        kinds.push(FindingKind::UnfitRows { rows: *rows });
    } else if is_linear && !rows.is_multiple_of(TESTED_ROWS) {
        kinds.push(FindingKind::UntestedRows { rows: *rows });
    }
    let scales =
        entry.outputs.iter().find(|o| matches!(o.part, Part::Scales | Part::ScalesByGroup));
    if let Some(scales) = scales.filter(|scales| scales.dtype != Dtype::F32)
        && dialect == Dialect::Q4gsw
    {
        kinds.push(FindingKind::NarrowScales { dtype: scales.dtype });
    }
    kinds
}
