//! What is shown: rows of tensors in all formats, and the best choices of all.

use std::collections::HashMap;

use crate::format::Format;
use crate::gui::session::{Analysis, Known, choosing};
use crate::inspect::{FormatCell, FormatMatrix, FormatSums, Frontier, FrontierPoint};
use crate::stats::ErrorSums;
use crate::units::bytes;

/// What is shown.
#[derive(Debug)]
pub struct Sheet {
    /// The columns: formats, and at last the floats.
    pub columns: Vec<Option<Format>>,
    /// A row for each projection, and for each tensor in no layer.
    pub rows: Vec<SheetRow>,
    /// A row for each tensor.
    pub single: Vec<SheetRow>,
    /// All tensors that are measured.
    pub matrix: FormatMatrix,
    /// The best choices of them.
    pub frontier: Frontier,
    /// What each column would be for all of them: bytes, and signal to noise.
    pub alone: Vec<(Option<Format>, FrontierPoint)>,
    /// Tensors that are measured, of how many.
    pub measured: (usize, usize),
}

/// Tensors in all formats.
#[derive(Debug)]
pub struct SheetRow {
    /// What it is called.
    pub name: String,
    /// Its tensors, as entries of the plan.
    pub entries: Vec<usize>,
    /// Tensors of it that are measured.
    pub measured: usize,
    /// One for each column: what was measured, or why that cannot be.
    pub cells: Vec<Result<FormatSums, String>>,
    /// Tensors that the plan has in each column.
    pub planned: Vec<usize>,
}

impl Sheet {
    /// Puts together what is known.
    pub fn new(analysis: &Analysis, known: &Known) -> Self {
        let plan = &analysis.plan;
        let formats: Vec<Format> = plan.dialect.formats().collect();
        let columns: Vec<_> =
            formats.iter().copied().map(Some).chain(std::iter::once(None)).collect();
        let all: Vec<usize> = choosing(analysis).collect();
        let cells: HashMap<usize, Vec<FormatCell>> = all
            .iter()
            .filter_map(|entry| Some((*entry, known.of(analysis, *entry, &formats)?)))
            .collect();
        let name = |entry: usize| plan.entries[entry].member.tensor.name.clone();
        let row = |name: String, entries: Vec<usize>| {
            let planned = columns.iter().map(|column| {
                entries.iter().filter(|entry| plan.entries[**entry].format() == *column).count()
            });
            let measured = entries.iter().filter(|entry| cells.contains_key(entry)).count();
            SheetRow {
                planned: planned.collect(),
                cells: together(&entries, &cells, columns.len()),
                name,
                entries,
                measured,
            }
        };
        let is_known: std::collections::HashSet<usize> = all.iter().copied().collect();
        let mut groups: Vec<(String, Vec<usize>)> =
            analysis.grid.columns.iter().map(|column| (column.name.clone(), Vec::new())).collect();
        for ((_, column), entries) in &analysis.grid.cells {
            if let Some((_, group)) = groups.get_mut(*column) {
                group.extend(entries.iter().filter(|entry| is_known.contains(entry)));
            }
        }
        let outside = analysis.grid.outside.iter().filter(|entry| is_known.contains(entry));
        let short = |entry: usize| {
            let name = name(entry);
            name.strip_suffix(".weight").map(str::to_owned).unwrap_or(name)
        };
        groups.extend(outside.map(|entry| (short(*entry), vec![*entry])));
        groups.retain(|(_, entries)| !entries.is_empty());
        let rows = groups.into_iter().map(|(name, entries)| row(name, entries)).collect();
        let single = all.iter().map(|entry| row(name(*entry), vec![*entry])).collect();
        let there: Vec<usize> =
            all.iter().copied().filter(|entry| cells.contains_key(entry)).collect();
        let matrix = FormatMatrix {
            rows: there.iter().map(|entry| (name(*entry), cells[entry].clone())).collect(),
        };
        let current: Vec<Option<Format>> =
            there.iter().map(|entry| plan.entries[*entry].format()).collect();
        let frontier = Frontier::of(&matrix, &current);
        let alone = columns.iter().filter_map(|column| Some((*column, alone(&matrix, *column)?)));
        Self {
            alone: alone.collect(),
            measured: (there.len(), all.len()),
            columns,
            rows,
            single,
            matrix,
            frontier,
        }
    }

    /// How far the plan is from the best there is, in words.
    pub fn said(&self) -> String {
        let (done, all) = self.measured;
        let so_far = if done < all {
            format!(" So far, of {done} of {all} tensors.")
        } else {
            String::new()
        };
        let Some(current) = &self.frontier.current.filter(|_| done > 0) else {
            return format!("The plan has something that could not be measured.{so_far}");
        };
        let points = &self.frontier.points;
        let smaller = points.iter().find(|point| point.error_squares <= current.error_squares);
        let share =
            smaller.map_or(0.0, |point| 1.0 - point.bytes as f64 / current.bytes.max(1) as f64);
        let better = self.frontier.within(current.bytes).and_then(|point| {
            let best = self.frontier.sqnr_db(points.get(point)?)?;
            Some(best - self.frontier.sqnr_db(current)?)
        });
        let percent = 100.0 * share;
        let gain = better.filter(|gain| *gain >= 0.05 && gain.is_finite());
        let more = gain
            .map_or(String::new(), |gain| format!(", or {gain:.1} dB better at the same size,"));
        let best = match percent {
            p if p >= 0.5 => format!("{p:.0} % smaller at the same error{more} is possible."),
            _ if gain.is_some() => {
                format!("{:.1} dB better at the same size is possible.", gain.unwrap_or(0.0))
            }
            _ => "No mix of formats is smaller at the same error.".to_owned(),
        };
        format!("The plan: {}. {best}{so_far}", self.point_said(current))
    }

    /// Size and error of a choice, in words.
    pub fn point_said(&self, point: &FrontierPoint) -> String {
        let ratio = match self.frontier.sqnr_db(point) {
            Some(ratio) if ratio.is_finite() => format!("{ratio:.1} dB"),
            Some(_) => "without error".to_owned(),
            None => "no signal".to_owned(),
        };
        format!("{}, {ratio}", bytes(point.bytes))
    }
}

/// Sums of all tensors of a row that are measured, by column.
fn together(
    entries: &[usize],
    cells: &HashMap<usize, Vec<FormatCell>>,
    columns: usize,
) -> Vec<Result<FormatSums, String>> {
    let rows = entries.iter().filter_map(|entry| cells.get(entry));
    let matrix = FormatMatrix { rows: rows.map(|cells| (String::new(), cells.clone())).collect() };
    let sums = matrix.together(|_| String::new()).rows.into_iter().next();
    let Some((_, mut sums)) = sums else {
        return vec![Err("not measured yet".to_owned()); columns];
    };
    // The floats come first there, and last here.
    sums.rotate_left(1);
    let why = |why: String| why.trim_start_matches(": ").to_owned();
    sums.into_iter().map(|cell| cell.outcome.map_err(why)).collect()
}

/// Everything in one format; what cannot be stays as it is. `None` if nothing can be.
fn alone(matrix: &FormatMatrix, format: Option<Format>) -> Option<FrontierPoint> {
    let mut point = FrontierPoint::default();
    let mut errors = ErrorSums::default();
    let mut any = false;
    for (_, cells) in &matrix.rows {
        let own = cells.iter().find(|cell| cell.format == format);
        let own = own.and_then(|cell| cell.outcome.as_ref().ok());
        any |= own.is_some();
        let floats = cells.first().and_then(|cell| cell.outcome.as_ref().ok());
        let Some(sums) = own.or(floats) else { continue };
        point.bytes += sums.bytes;
        errors.merge(&sums.errors);
    }
    point.error_squares = errors.sum_squares;
    any.then_some(point)
}
