//! What a profile shows: a line a projection, and the tensors beyond a threshold.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::gui::session::{Analysis, Tables};
use crate::report::{Column, Row, Summary};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The numbers.
    pub column: Column,
    /// Whether norms and biases are shown.
    pub small: bool,
    /// Names of projections that are not shown.
    pub hidden: BTreeSet<String>,
}

/// A projection, layer by layer.
#[derive(Debug)]
pub struct Line {
    /// The projection.
    pub name: String,
    /// Its last part.
    pub short: String,
    /// Whether it is drawn.
    pub shown: bool,
    /// Its numbers.
    pub points: Vec<Point>,
}

/// A cell of the grid in a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The layer.
    pub layer: u32,
    /// Its number, which may be NaN or infinite.
    pub number: f64,
    /// The cell of the grid.
    pub cell: (usize, usize),
}

/// What a profile shows.
#[derive(Debug)]
pub struct Profile {
    wanted: Wanted,
    analysis: Arc<Analysis>,
    tables: Arc<Tables>,
    /// The lines, also those that are not shown.
    pub lines: Vec<Line>,
    /// Tensors that count: numbers, and indices of the plan's entries. The farthest out are first.
    tensors: Vec<(f64, usize)>,
    /// What there is of the numbers.
    pub summary: Summary,
    /// Entries of the plan that are shown.
    pub entries: Vec<usize>,
}

/// Whether numbers far out are small: of a ratio of signal to noise, these are the bad ones.
pub const fn is_worse_below(column: Column) -> bool {
    matches!(column, Column::Sqnr)
}

/// Whether a number is beyond a threshold. What is not a number is beyond any.
fn is_beyond(column: Column, number: f64, threshold: f64) -> bool {
    match is_worse_below(column) {
        true => number < threshold || number.is_nan(),
        false => number > threshold || number.is_nan(),
    }
}

impl Profile {
    /// Takes what is asked for out of the tables.
    pub fn new(analysis: &Arc<Analysis>, tables: &Arc<Tables>, wanted: Wanted) -> Self {
        let column = wanted.column;
        let grid = &analysis.grid;
        let mut lines = Vec::new();
        let mut shown_cells = Vec::new();
        for (c, head) in grid.columns.iter().enumerate() {
            if head.is_small && !wanted.small {
                continue;
            }
            let shown = !wanted.hidden.contains(&head.name);
            let mut points = Vec::new();
            for (r, layer) in grid.layers.iter().enumerate() {
                let Some(row) = tables.cells.get(&(r, c)) else { continue };
                if shown {
                    shown_cells.push(row);
                }
                let point = |number| Point { layer: *layer, number, cell: (r, c) };
                points.extend(column.number(row).map(point));
            }
            let (name, short) = (head.name.clone(), head.short().to_owned());
            lines.push(Line { name, short, shown, points });
        }
        let is_outside = |row: &&Row| wanted.small || !analysis.is_small(row);
        let outside: Vec<&Row> = tables.outside.iter().filter(is_outside).collect();
        let rows = shown_cells.iter().chain(&outside);
        let entries: Vec<usize> = rows.flat_map(|row| row.entries.iter().copied()).collect();
        let number = |&entry: &usize| Some((column.number(tables.tensors.get(entry)?)?, entry));
        let mut tensors: Vec<(f64, usize)> = entries.iter().filter_map(number).collect();
        tensors.sort_by(|a, b| farthest_first(column, a.0, b.0).then(a.1.cmp(&b.1)));
        Self {
            summary: Summary::of(column, shown_cells),
            analysis: Arc::clone(analysis),
            tables: Arc::clone(tables),
            wanted,
            lines,
            tensors,
            entries,
        }
    }

    /// Whether it is still what is asked for.
    pub fn is_of(&self, analysis: &Arc<Analysis>, tables: &Arc<Tables>, wanted: &Wanted) -> bool {
        self.wanted == *wanted
            && Arc::ptr_eq(&self.analysis, analysis)
            && Arc::ptr_eq(&self.tables, tables)
    }

    /// Tensors beyond a threshold, the farthest out first.
    pub fn beyond(&self, threshold: f64) -> &[(f64, usize)] {
        let column = self.wanted.column;
        let count =
            self.tensors.partition_point(|(number, _)| is_beyond(column, *number, threshold));
        &self.tensors[..count]
    }

    /// A threshold to begin with: a round number that few are beyond.
    pub fn first_threshold(&self) -> f64 {
        let part = if is_worse_below(self.wanted.column) { 0.25 } else { 0.75 };
        self.summary.scale.map_or(1.0, |scale| rounded(scale.at(part), 2))
    }

    /// The numbers of a point.
    pub fn row(&self, point: &Point) -> Option<&Row> {
        self.tables.cells.get(&point.cell)
    }

    /// The numbers of a tensor.
    pub fn tensor(&self, entry: usize) -> Option<&Row> {
        self.tables.tensors.get(entry)
    }

    /// Names of the tensors of a row.
    pub fn names<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = &'a String> {
        self.analysis.tensors_of(row)
    }

    /// Points that are drawn, each with the place of its line.
    pub fn shown_points(&self) -> impl Iterator<Item = (usize, &Point)> {
        let lines = self.lines.iter().enumerate().filter(|(_, line)| line.shown);
        lines.flat_map(|(i, line)| line.points.iter().map(move |point| (i, point)))
    }
}

/// The order of a list of what is beyond a threshold.
fn farthest_first(column: Column, a: f64, b: f64) -> std::cmp::Ordering {
    let order = match is_worse_below(column) {
        true => a.total_cmp(&b),
        false => b.total_cmp(&a),
    };
    b.is_nan().cmp(&a.is_nan()).then(order)
}

/// A number with few significant digits.
pub fn rounded(number: f64, digits: usize) -> f64 {
    format!("{number:.*e}", digits.saturating_sub(1)).parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farthest_out_are_first_and_what_is_no_number_before_them() {
        let mut numbers = [1.0, f64::NAN, 3.0, f64::INFINITY, 2.0];
        numbers.sort_by(|a, b| farthest_first(Column::Amax, *a, *b));
        assert!(numbers[0].is_nan());
        assert_eq!(numbers[1..], [f64::INFINITY, 3.0, 2.0, 1.0]);
        let count = numbers.partition_point(|n| is_beyond(Column::Amax, *n, 1.5));
        assert_eq!(count, 4);
        numbers.sort_by(|a, b| farthest_first(Column::Sqnr, *a, *b));
        assert_eq!(numbers[1..4], [1.0, 2.0, 3.0]);
        let count = numbers.partition_point(|n| is_beyond(Column::Sqnr, *n, 2.5));
        assert_eq!(count, 3);
    }

    #[test]
    fn a_threshold_is_a_round_number() {
        assert_eq!(rounded(7.8642, 2), 7.9);
        assert_eq!(rounded(0.001234, 2), 0.0012);
    }
}
