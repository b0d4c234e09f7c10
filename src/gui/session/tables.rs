//! The numbers that the views show, put together in the background from one set of measurements.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Analysis;
use crate::export::run_findings;
use crate::plan::{Finding, Fix, fixes};
use crate::report::{Column, Filter, GroupBy, Row, grouped, order, rows, tensor_row, together};
use crate::stats::TensorStats;

/// What the table is to show.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Query {
    /// How rows are put together.
    pub by: GroupBy,
    /// Which rows are shown, as [`Filter`] reads it.
    pub filter: String,
    /// By which column they are sorted, and whether largest first.
    pub sort: Option<(Column, bool)>,
    /// The layer whose experts are shown one by one.
    pub experts_of: Option<u32>,
}

/// The numbers that the views show.
#[derive(Debug, Default)]
pub struct Tables {
    /// Every row of the statistics table.
    pub rows: Vec<Row>,
    /// The rows that are shown, in their order.
    pub order: Vec<usize>,
    /// What is wrong with the filter; all rows are shown then.
    pub filter_error: Option<String>,
    /// A row for each tensor, in the order of the plan's entries.
    pub tensors: Vec<Row>,
    /// A row for each cell of the grid.
    pub cells: BTreeMap<(usize, usize), Row>,
    /// A row for each tensor in no layer, in the order of [`super::Grid::outside`].
    pub outside: Vec<Row>,
    /// What measuring brought up, and what would settle it.
    pub findings: Vec<(Finding, Vec<Fix>)>,
    /// Single experts of a layer: names of their projections, and a row for each expert of each.
    pub experts: Vec<(String, Vec<Row>)>,
}

impl Tables {
    /// Puts measurements together. `stats` are in the order of the plan's entries.
    pub fn new(analysis: &Analysis, stats: &[Option<Arc<TensorStats>>], query: &Query) -> Self {
        let plan = &analysis.plan;
        let stats: Vec<Option<TensorStats>> =
            stats.iter().map(|stats| stats.as_deref().cloned()).collect();
        let tensors: Vec<Row> =
            (0..plan.entries.len()).map(|entry| tensor_row(plan, entry, stats[entry].as_ref())).collect();
        let row = |&entry: &usize| tensors[entry].clone();
        let cells = analysis.grid.cells.iter().map(|(place, entries)| {
            let column = &analysis.grid.columns[place.1];
            let name = format!("layer {} {}", analysis.grid.layers[place.0], column.name);
            (*place, together(&name, entries.iter().map(row)))
        });
        let cells = cells.filter_map(|(place, row)| Some((place, row?))).collect();
        let outside = analysis.grid.outside.iter().map(row).collect();

        let findings = run_findings(plan, &stats).into_iter().map(|finding| {
            let fixes = fixes(&finding, &analysis.recipe, plan);
            (finding, fixes)
        });
        let findings = findings.collect();

        let single = rows(plan, &stats);
        let experts = query.experts_of.map(|layer| experts(&single, layer)).unwrap_or_default();
        let rows = grouped(single, query.by);
        let (filter, filter_error) = match query.filter.parse::<Filter>() {
            Ok(filter) => (filter, None),
            Err(error) => (Filter::default(), Some(error.to_string())),
        };
        let order = order(&rows, &filter, query.sort);
        Self { order, rows, filter_error, tensors, cells, outside, findings, experts }
    }
}

/// Rows of the single experts of a layer, by projection.
fn experts(rows: &[Row], layer: u32) -> Vec<(String, Vec<Row>)> {
    let mut projections: Vec<(String, Vec<Row>)> = Vec::new();
    for row in rows.iter().filter(|row| row.layer == Some(layer)) {
        if row.expert.is_none() {
            continue;
        }
        let name = row.part_of.clone().unwrap_or_else(|| row.name.clone());
        match projections.iter_mut().find(|(known, _)| *known == name) {
            Some((_, rows)) => rows.push(row.clone()),
            None => projections.push((name, vec![row.clone()])),
        }
    }
    projections
}
