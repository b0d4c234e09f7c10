//! The numbers that the views show, put together in the background from one set of measurements.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use super::Analysis;
use super::outline::{Line, flat, outlined};
use crate::export::run_findings;
use crate::plan::{Finding, Fix, fixes};
use crate::recipe::Recipe;
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
    /// Rows whose parts were shown, or hidden, by hand.
    pub folds: BTreeMap<String, bool>,
}

impl Query {
    /// Whether it takes the same numbers, and only shows others of them.
    pub fn has_numbers_of(&self, other: &Self) -> bool {
        (self.by, self.experts_of) == (other.by, other.experts_of)
    }
}

/// The numbers, and which of them the statistics table shows.
#[derive(Debug, Default)]
pub struct Tables {
    /// The numbers.
    pub numbers: Arc<Numbers>,
    /// The rows that are wanted, in their order.
    pub order: Vec<usize>,
    /// The lines of the table: these rows, those apart that are folded away.
    pub lines: Vec<Line>,
    /// What is wrong with the filter; all rows are shown then.
    pub filter_error: Option<String>,
}

/// All numbers that the views show.
#[derive(Debug, Default)]
pub struct Numbers {
    /// Every row of the statistics table.
    pub rows: Vec<Row>,
    /// The columns that have something in any row.
    pub columns: Vec<Column>,
    /// Characters of the longest name.
    pub longest_name: usize,
    /// Characters of the longest format.
    pub longest_format: usize,
    /// The smallest and largest `amax` of rows.
    pub amax: Option<(f64, f64)>,
    /// The smallest and largest SQNR of rows.
    pub sqnr: Option<(f64, f64)>,
    /// The recipe that they are of.
    pub recipe: Option<Recipe>,
    /// A row for each tensor, in the order of the plan's entries.
    pub tensors: Vec<Row>,
    /// A row for each cell of the grid.
    pub cells: BTreeMap<(usize, usize), Row>,
    /// A row for each tensor in no layer, in the order of [`crate::report::Grid::outside`].
    pub outside: Vec<Row>,
    /// What measuring brought up, and what would settle it.
    pub findings: Vec<(Finding, Vec<Fix>)>,
    /// Single experts of a layer: names of their projections, and a row for each expert of each.
    pub experts: Vec<(String, Vec<Row>)>,
}

impl Deref for Tables {
    type Target = Numbers;

    fn deref(&self) -> &Numbers {
        &self.numbers
    }
}

impl Tables {
    /// Takes of some numbers what a query wants.
    pub fn new(numbers: Arc<Numbers>, query: &Query) -> Self {
        let (filter, filter_error) = match query.filter.parse::<Filter>() {
            Ok(filter) => (filter, None),
            Err(error) => (Filter::default(), Some(error.to_string())),
        };
        let order = order(&numbers.rows, &filter, query.sort);
        let is_outline = query.by == GroupBy::None && filter.is_empty() && query.sort.is_none();
        let lines = match is_outline {
            true => outlined(&numbers.rows, &query.folds),
            false => flat(&order),
        };
        Self { numbers, order, lines, filter_error }
    }
}

impl Numbers {
    /// Puts measurements together. `stats` are in the order of the plan's entries.
    pub fn new(analysis: &Analysis, stats: &[Option<Arc<TensorStats>>], query: &Query) -> Self {
        let plan = &analysis.plan;
        let stats: Vec<Option<TensorStats>> =
            stats.iter().map(|stats| stats.as_deref().cloned()).collect();
        let tensors: Vec<Row> = stats
            .iter()
            .enumerate()
            .map(|(entry, stats)| tensor_row(plan, entry, stats.as_ref()))
            .collect();
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
        let says_something = |column: &Column| rows.iter().any(|row| column.says_something(row));
        let columns = Column::ALL.into_iter().filter(says_something).collect();
        let (amax, sqnr) = (Column::Amax.extent(&rows), Column::Sqnr.extent(&rows));
        let longest_name = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let longest_format = rows.iter().map(|row| row.format.chars().count()).max().unwrap_or(0);
        let recipe = Some(analysis.recipe.clone());
        Self {
            recipe,
            rows,
            columns,
            longest_name,
            longest_format,
            amax,
            sqnr,
            tensors,
            cells,
            outside,
            findings,
            experts,
        }
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
