//! One row of the statistics table.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::cell::KEPT;
use crate::model::{Role, grouped_weight, natural_order};
use crate::plan::{Decision, Entry, Plan};
use crate::stats::TensorStats;

/// A tensor, or several under one name.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Row {
    /// The tensor's name, or the group's.
    pub name: String,
    /// Number of tensors in it.
    pub tensors: u64,
    /// Number of weights in all of them.
    pub weights: u64,
    /// The row that this one, of an expert, is a part of: it comes before and holds all experts.
    pub part_of: Option<String>,
    /// Dimensions, of each tensor if there are several; empty if they differ.
    pub shape: Vec<u64>,
    /// Stored type, or the types of a group.
    pub dtype: String,
    /// What it is; `None` for a group of several.
    pub role: Option<Role>,
    /// Decoder layer; `None` for a group of several.
    pub layer: Option<u32>,
    /// Routed expert.
    pub expert: Option<u32>,
    /// Format it gets, or `kept`; `mixed` for a group of both.
    pub format: String,
    /// Why: the rule that quantizes it, or the reason it is kept.
    pub reason: String,
    /// Number of the group of tensors that it shares a scale with, if there are others in it.
    pub scale_group: Option<usize>,
    /// Bytes before.
    pub bytes_before: u64,
    /// Bytes after.
    pub bytes_after: u64,
    /// What was measured; `None` where nothing was, or where the tensor is no float.
    #[serde(skip)]
    pub stats: Option<Box<TensorStats>>,
    /// Whether a part of the measurements is missing, and the numbers are those of the others.
    #[serde(skip)]
    pub is_partial: bool,
    /// Indices of the plan's entries that it is made of.
    #[serde(skip)]
    pub entries: Vec<usize>,
}

/// How rows are put together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub enum GroupBy {
    /// One row a tensor.
    #[default]
    None,
    /// One row for all experts of a projection of a layer, and one for each other tensor.
    Expert,
    /// One row a decoder layer; norms, biases and what is in no layer have rows by role.
    Layer,
    /// One row a role.
    Role,
}

/// One row a tensor of the plan. Rows of experts follow one that sums up all experts of their
/// projection and layer: that of the tensor which holds them, where they were measured, or a row of
/// its own. `stats` are in the order of the plan's entries; empty if nothing was measured.
pub fn rows(plan: &Plan, stats: &[Option<TensorStats>]) -> Vec<Row> {
    let mut rows = Vec::with_capacity(plan.entries.len());
    for i in 0..plan.entries.len() {
        let mut row = tensor_row(plan, i, stats.get(i).and_then(Option::as_ref));
        let experts = row.stats.as_mut().map(|stats| std::mem::take(&mut stats.experts));
        let experts = experts.unwrap_or_default();
        if experts.is_empty() {
            rows.push(row);
            continue;
        }
        rows.push(row.clone());
        let count = experts.len().max(1) as u64;
        rows.extend(experts.into_iter().enumerate().map(|(expert, stats)| Row {
            name: format!("{}[{expert}]", row.name),
            part_of: Some(row.name.clone()),
            shape: row.shape[1..].to_vec(),
            expert: Some(expert as u32),
            weights: row.weights / count,
            bytes_before: row.bytes_before / count,
            bytes_after: row.bytes_after / count,
            stats: Some(Box::new(stats)),
            ..row.clone()
        }));
    }
    with_summaries(rows)
}

/// Puts a row for each projection before the rows of single experts of a list.
fn with_summaries(mut rows: Vec<Row>) -> Vec<Row> {
    let mut summaries: Vec<Row> = Vec::new();
    // The row at which the list of each summary begins.
    let mut beginnings = Vec::new();
    let (mut places, mut lists) = (HashMap::new(), HashMap::new());
    // The summary that each row is a part of.
    let mut summary_of = vec![None; rows.len()];
    for (i, row) in rows.iter().enumerate() {
        let Some(kin) = Kin::of(row) else { continue };
        let place = *places.entry(kin).or_insert(summaries.len());
        summary_of[i] = Some(place);
        match summaries.get_mut(place) {
            Some(summary) => add(summary, row),
            None => {
                summaries.push(Row { name: kin.name(), ..row.clone() });
                beginnings.push(*lists.entry(kin.list).or_insert(i));
            }
        }
    }
    for (row, summary) in rows.iter_mut().zip(summary_of) {
        let summary = summary.map(|place: usize| &summaries[place]).filter(|s| s.tensors > 1);
        if let Some(summary) = summary {
            row.part_of = Some(summary.name.clone());
        }
    }
    let several = beginnings.into_iter().zip(summaries).filter(|(_, row)| row.tensors > 1);
    let mut several: Vec<(usize, Row)> = several.collect();
    // Stable: those of one list stay in their order.
    several.sort_by_key(|(begin, _)| *begin);
    // From the end on, rows make room for those before them; a second list of all takes more memory.
    let mut from = rows.len();
    rows.resize_with(from + several.len(), Row::default);
    let mut to = rows.len();
    while let Some((begin, summary)) = several.pop() {
        while from > begin {
            (from, to) = (from - 1, to - 1);
            rows.swap(from, to);
        }
        to -= 1;
        rows[to] = summary;
    }
    rows
}

/// What a row of a single expert has in common with those of other experts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Kin<'a> {
    /// What comes before the expert's number.
    list: &'a str,
    /// What comes after it.
    projection: &'a str,
}

impl<'a> Kin<'a> {
    fn of(row: &'a Row) -> Option<Self> {
        row.expert.filter(|_| row.part_of.is_none())?;
        if let Some((module, _)) = grouped_weight(&row.name) {
            let list = &row.name[..module.len() + ".weight".len()];
            return Some(Self { list, projection: "" });
        }
        let at = row.name.find("experts.")? + "experts.".len();
        let (list, rest) = row.name.split_at(at);
        let projection = &rest[rest.find('.')?..];
        Some(Self { list, projection })
    }

    /// The name of all experts: with a star where the number is.
    fn name(self) -> String {
        format!("{}*{}", self.list, self.projection)
    }
}

/// The row of one entry of the plan.
pub fn tensor_row(plan: &Plan, index: usize, stats: Option<&TensorStats>) -> Row {
    let entry = &plan.entries[index];
    let has_codes = matches!(entry.decision, Decision::Quantize { .. } | Decision::Stored(_));
    let is_measured = |stats: &TensorStats| !has_codes || stats.quantized.is_some();
    let is_partial = entry.member.tensor.float_kind().is_some() && !stats.is_some_and(is_measured);
    Row {
        stats: stats.cloned().map(Box::new),
        is_partial,
        entries: vec![index],
        ..planned(plan, entry)
    }
}

/// One row of several; `None` of none.
pub fn together(name: &str, mut rows: impl Iterator<Item = Row>) -> Option<Row> {
    let mut all = Row { name: name.to_owned(), ..rows.next()? };
    rows.for_each(|row| add(&mut all, &row));
    Some(all)
}

/// What the plan says of a tensor.
fn planned(plan: &Plan, entry: &Entry) -> Row {
    let scale_group = match entry.decision {
        Decision::Quantize { group, .. } if plan.groups[group].len() > 1 => Some(group),
        _ => None,
    };
    Row {
        scale_group,
        name: entry.member.tensor.name.clone(),
        tensors: 1,
        weights: entry.member.tensor.shape.iter().fold(1, |all, n| n.saturating_mul(all)),
        part_of: None,
        shape: entry.member.tensor.shape.clone(),
        dtype: entry.member.tensor.dtype.to_string(),
        role: Some(entry.member.role),
        layer: entry.member.layer,
        expert: entry.member.expert,
        format: entry.format().map_or(KEPT, |format| format.name()).to_owned(),
        reason: match &entry.decision {
            Decision::Quantize { rule, .. } => rule.to_string(),
            Decision::Shared { table, .. } => format!("reads the codes of {}", table.name),
            Decision::Stored(_) => "stored so".to_owned(),
            Decision::Keep(reason) => reason.to_string(),
        },
        bytes_before: entry.member.tensor.bytes,
        bytes_after: entry.bytes_after(),
        ..Row::default()
    }
}

/// Puts rows together, in natural order of the groups' names.
pub fn grouped(rows: Vec<Row>, by: GroupBy) -> Vec<Row> {
    match by {
        GroupBy::None => return rows,
        GroupBy::Expert => return rows.into_iter().filter(|row| row.part_of.is_none()).collect(),
        GroupBy::Layer | GroupBy::Role => {}
    }
    let mut groups: Vec<Row> = Vec::new();
    let mut places = HashMap::new();
    // An expert's row adds nothing to the one that holds them all.
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
            Some(&place) => add(&mut groups[place], &row),
            None => {
                places.insert(name.clone(), groups.len());
                groups.push(Row {
                    name,
                    shape: Vec::new(),
                    reason: String::new(),
                    expert: None,
                    ..row
                });
            }
        }
    }
    groups.sort_by(|a, b| natural_order(&a.name, &b.name));
    groups
}

fn add(group: &mut Row, row: &Row) {
    group.tensors += row.tensors;
    group.weights = group.weights.saturating_add(row.weights);
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
    if group.layer != row.layer {
        group.layer = None;
    }
    if group.shape != row.shape {
        group.shape.clear();
    }
    if group.scale_group != row.scale_group {
        group.scale_group = None;
    }
    group.expert = None;
    group.is_partial |= row.is_partial;
    group.entries.extend(&row.entries);
    match (&mut group.stats, &row.stats) {
        (Some(total), Some(part)) => total.merge(part),
        (total @ None, part) => *total = part.clone(),
        (Some(_), None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_adds_up_and_has_no_layer_of_its_own() {
        let row = |name: &str, layer| Row {
            name: name.to_owned(),
            tensors: 1,
            weights: 8,
            role: Some(Role::Mlp),
            layer: Some(layer),
            bytes_after: 4,
            ..Row::default()
        };
        let rows = vec![row("a", 0), row("b", 0), row("c", 1)];
        let by_role = grouped(rows.clone(), GroupBy::Role);
        assert_eq!((by_role[0].layer, by_role[0].weights, by_role[0].tensors), (None, 24, 3));
        let by_layer = grouped(rows, GroupBy::Layer);
        assert_eq!((by_layer[0].layer, by_layer[0].weights, by_layer.len()), (Some(0), 16, 2));
    }
}
