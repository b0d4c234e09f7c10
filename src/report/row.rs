//! One row of the statistics table.

use serde::Serialize;

use crate::model::{Role, natural_order};
use crate::plan::{Decision, Entry, Plan};
use crate::stats::TensorStats;

/// A tensor, or several under one name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The tensor's name, or the group's.
    pub name: String,
    /// Number of tensors in it.
    pub tensors: u64,
    /// The tensor that this row is an expert of; its own row comes before and holds them all.
    pub part_of: Option<String>,
    /// Dimensions; empty for a group.
    pub shape: Vec<u64>,
    /// Stored type, or the types of a group.
    pub dtype: String,
    /// What it is; `None` for a group of several.
    pub role: Option<Role>,
    /// Decoder layer.
    pub layer: Option<u32>,
    /// Routed expert.
    pub expert: Option<u32>,
    /// Format it gets, or `kept`; `mixed` for a group of both.
    pub format: String,
    /// Why: the rule that quantizes it, or the reason it is kept.
    pub reason: String,
    /// Bytes before.
    pub bytes_before: u64,
    /// Bytes after.
    pub bytes_after: u64,
    /// What was measured; `None` where nothing was, or where the tensor is no float.
    #[serde(skip)]
    pub stats: Option<TensorStats>,
}

/// How rows are put together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum GroupBy {
    /// One row a tensor.
    #[default]
    None,
    /// One row a decoder layer; norms, biases and what is in no layer have rows by role.
    Layer,
    /// One row a role.
    Role,
}

/// One row a tensor of the plan, followed by a row for each expert where a tensor holds several and
/// was measured. `stats` are in the order of the plan's entries; empty if nothing was measured.
pub fn rows(plan: &Plan, stats: &[Option<TensorStats>]) -> Vec<Row> {
    let mut rows = Vec::with_capacity(plan.entries.len());
    for (i, entry) in plan.entries.iter().enumerate() {
        let mut row = row(entry);
        let mut measured = stats.get(i).cloned().flatten();
        let experts = measured.as_mut().map(|stats| std::mem::take(&mut stats.experts));
        row.stats = measured;
        rows.push(row.clone());

        let experts = experts.unwrap_or_default();
        let count = experts.len().max(1) as u64;
        rows.extend(experts.into_iter().enumerate().map(|(expert, stats)| Row {
            name: format!("{}[{expert}]", row.name),
            part_of: Some(row.name.clone()),
            shape: row.shape[1..].to_vec(),
            expert: Some(expert as u32),
            bytes_before: row.bytes_before / count,
            bytes_after: row.bytes_after / count,
            stats: Some(stats),
            ..row.clone()
        }));
    }
    rows
}

/// What the plan says of a tensor.
fn row(entry: &Entry) -> Row {
    Row {
        name: entry.member.tensor.name.clone(),
        tensors: 1,
        part_of: None,
        shape: entry.member.tensor.shape.clone(),
        dtype: entry.member.tensor.dtype.to_string(),
        role: Some(entry.member.role),
        layer: entry.member.layer,
        expert: entry.member.expert,
        format: entry.format().map_or("kept", |format| format.name()).to_owned(),
        reason: match &entry.decision {
            Decision::Quantize { rule, .. } => rule.clone(),
            Decision::Stored(_) => "stored so".to_owned(),
            Decision::Keep(reason) => reason.to_string(),
        },
        bytes_before: entry.member.tensor.bytes,
        bytes_after: entry.bytes_after(),
        stats: None,
    }
}

/// Puts rows together, in natural order of the groups' names.
pub fn grouped(rows: Vec<Row>, by: GroupBy) -> Vec<Row> {
    if by == GroupBy::None {
        return rows;
    }
    let mut groups: Vec<Row> = Vec::new();
    let mut places = std::collections::HashMap::new();
    // An expert's row adds nothing to that of its tensor.
    for row in rows.into_iter().filter(|row| row.part_of.is_none()) {
        let role = row.role.map_or("other", Role::name);
        let name = match (by, row.layer) {
            // Norms and biases have other magnitudes: among matrices they would be all one sees.
            (GroupBy::Layer, Some(layer)) if !matches!(row.role, Some(Role::Norm | Role::Bias)) => {
                format!("layer {layer}")
            }
            _ => role.to_owned(),
        };
        match places.get(&name) {
            Some(&place) => add(&mut groups[place], row),
            None => {
                places.insert(name.clone(), groups.len());
                groups.push(Row { name, shape: Vec::new(), reason: String::new(), ..row });
            }
        }
    }
    groups.sort_by(|a, b| natural_order(&a.name, &b.name));
    groups
}

fn add(group: &mut Row, row: Row) {
    group.tensors += 1;
    group.bytes_before += row.bytes_before;
    group.bytes_after += row.bytes_after;
    if !group.dtype.split(' ').any(|dtype| dtype == row.dtype) {
        group.dtype = format!("{} {}", group.dtype, row.dtype);
    }
    if group.format != row.format {
        group.format = "mixed".to_owned();
    }
    if group.role != row.role {
        group.role = None;
    }
    group.expert = None;
    match (&mut group.stats, &row.stats) {
        (Some(total), Some(part)) => total.merge(part),
        (total @ None, part) => *total = part.clone(),
        (Some(_), None) => {}
    }
}
