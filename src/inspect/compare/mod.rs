//! Two sides of one matrix, weight by weight: two checkpoints, a quantized one and what is made here of
//! its source, or two devices.
//!
//! A side is a [`Reader`]. For a quantized checkpoint and its float source that of the source reads
//! [`Matrix::against`](super::Matrix::against); for two devices both read the same matrix.

mod class;
mod counts;
mod overview;

use std::sync::atomic::AtomicBool;

use class::class_of;
pub use class::{Class, SideCell, same_scale};
pub use counts::{ClassMap, Counts};
pub use overview::{Overview, OverviewRow, Side};

use super::reader::{SHEET_WEIGHTS, check};
use super::table::table;
use super::{BlockScale, Codec, InspectError, Reader, Sheet};
use crate::engine::steps;

/// Differing weights that are listed.
const EXAMPLES: usize = 20;

/// Two sides of one matrix.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    /// What the sides are called.
    pub names: [String; 2],
    /// The tensor, and the expert of it.
    pub subject: (String, u64),
    /// Rows that were compared.
    pub rows: u64,
    /// Columns that both have; what fills up blocks is left aside.
    pub columns: u64,
    /// The types of the codes of both sides, where there are codes.
    pub codecs: [Option<Codec>; 2],
    /// Number of weights of each class.
    pub counts: Counts,
    /// Where they are.
    pub map: ClassMap,
    /// The first twenty weights that differ.
    pub examples: Vec<Difference>,
    /// The weight whose two values are furthest apart, NaN before all; `None` if all values are equal.
    pub largest: Option<Difference>,
    /// The stored global scales, where both sides have one.
    pub global_scales: Option<[f32; 2]>,
    /// What has to be known to read the numbers, in sentences.
    pub notes: Vec<String>,
}

/// A weight that differs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Its row.
    pub row: u64,
    /// Its column.
    pub column: usize,
    /// In which way.
    pub class: Class,
    /// The weight as it was before anybody quantized it, if it is known.
    pub weight: Option<f32>,
    /// What the two sides have.
    pub sides: [SideCell; 2],
}

impl Difference {
    /// How far the two values are apart; NaN if one of them is.
    pub fn distance(&self) -> f64 {
        let [a, b] = self.sides.map(|side| f64::from(side.value));
        // Of two infinities the difference is no number.
        if a == b { 0.0 } else { (a - b).abs() }
    }

    /// Whether it is further than another.
    fn is_beyond(&self, other: Option<&Self>) -> bool {
        let distance = self.distance();
        match other.map(Self::distance) {
            None => distance.is_nan() || distance > 0.0,
            Some(other) => !other.is_nan() && (distance.is_nan() || distance > other),
        }
    }
}

impl Comparison {
    /// Compares two sides. Weights are those of a side that is quantized here, or of `source`, a third
    /// reader of the floats. `told` is told of rows that are done.
    pub fn of(
        names: [&str; 2],
        sides: [&Reader<'_>; 2],
        source: Option<&Reader<'_>>,
        cancel: &AtomicBool,
        told: &mut dyn FnMut(u64),
    ) -> Result<Self, InspectError> {
        let [a, b] = sides.map(|reader| &reader.matrix);
        let sizes = [a, b].map(|matrix| [matrix.rows, matrix.weight_columns]);
        let columns = a.weight_columns.min(b.weight_columns);
        // Rows of the one may be filled up as those of the other are.
        let fits = a.weight_columns == b.weight_columns || a.columns == b.columns;
        if a.rows != b.rows || !fits {
            return Err(InspectError::Sizes { tensor: a.subject.tensor.clone(), sizes });
        }
        let source = source.filter(|reader| {
            reader.matrix.rows == a.rows && reader.matrix.weight_columns >= columns
        });
        let mut comparison = Self {
            names: names.map(str::to_owned),
            subject: (a.subject.tensor.clone(), a.subject.expert),
            rows: a.rows,
            columns,
            map: ClassMap::new(a.rows, columns),
            notes: notes(names, sides),
            ..Self::default()
        };
        let readers = sides.into_iter().chain(source);
        let together = readers.map(|reader| reader.matrix.rows_together()).fold(1, multiple);
        let wide = a.columns.max(b.columns).max(1);
        let step = (SHEET_WEIGHTS / wide / together).max(1) * together;
        for rows in steps(a.rows, step) {
            check(cancel)?;
            let pair = [sides[0].sheet(rows.clone())?, sides[1].sheet(rows.clone())?];
            let third = source.map(|reader| reader.sheet(rows.clone())).transpose()?;
            comparison.add([&pair[0], &pair[1]], third.as_ref());
            told(rows.end - rows.start);
        }
        if let Some([a, b]) = comparison.global_scales.filter(|[a, b]| a.to_bits() != b.to_bits()) {
            let [left, right] = names;
            comparison.notes.push(format!("the global scale is {a} in {left} and {b} in {right}"));
        }
        Ok(comparison)
    }

    /// Compares the same rows of both.
    fn add(&mut self, sides: [&Sheet; 2], source: Option<&Sheet>) {
        self.codecs = sides.map(Sheet::codec);
        let codec = sides[0].codec().filter(|codec| sides[1].codec() == Some(*codec));
        // Floats alone are one of the two things that are compared, and not what they were made from.
        let own = sides.into_iter().filter(|sheet| sheet.chunk.is_some());
        let known = source.into_iter().chain(own).find(|sheet| sheet.weights.is_some());
        let runs = sides.map(|sheet| match sheet.tile() {
            tile if tile.is_block => tile.columns.max(1),
            _ => usize::MAX,
        });
        let columns = self.columns as usize;
        for row in sides[0].rows.clone() {
            let mut scales: [Option<BlockScale>; 2] = [None, None];
            let mut same = false;
            for column in 0..columns {
                if runs.iter().any(|run| column % run == 0) {
                    scales = sides.map(|sheet| sheet.scale(row, column));
                    same = matches!(&scales, [Some(a), Some(b)] if same_scale(a, b));
                }
                let cells = [0, 1].map(|i| SideCell::of(sides[i], row, column, scales[i]));
                let weight = known.and_then(|sheet| {
                    let place = sheet.place(row, column)?;
                    sheet.weights.as_ref()?.get(place).copied()
                });
                let class = class_of([&cells[0], &cells[1]], codec, same, weight);
                self.counts.count(class);
                if class == Class::Equal {
                    continue;
                }
                self.map.add(row, column as u64, class);
                let difference = Difference { row, column, class, weight, sides: cells };
                if self.examples.len() < EXAMPLES {
                    self.examples.push(difference);
                }
                if difference.is_beyond(self.largest.as_ref()) {
                    self.largest = Some(difference);
                }
            }
            let global =
                |i: usize| scales[i].and_then(|scale| scale.global).map(|(scale, _)| scale);
            self.global_scales =
                self.global_scales.or(global(0).zip(global(1)).map(|(a, b)| [a, b]));
        }
    }

    /// The weights that are listed, a line each.
    pub fn csv(&self) -> String {
        let header = [
            "row",
            "column",
            "class",
            "weight",
            "code_a",
            "code_b",
            "scale_code_a",
            "scale_code_b",
            "scale_a",
            "scale_b",
            "value_a",
            "value_b",
        ];
        let lines = self.examples.iter().map(|difference| {
            let [a, b] = &difference.sides;
            let shown = |text: Option<String>| text.unwrap_or_default();
            let code = |side: &SideCell| shown(side.code.map(|code| code.to_string()));
            let scale_code = |side: &SideCell| shown(side.scale.map(|s| s.code.to_string()));
            let scale = |side: &SideCell| shown(side.scale.map(|s| s.value.to_string()));
            vec![
                difference.row.to_string(),
                difference.column.to_string(),
                difference.class.name().to_owned(),
                shown(difference.weight.map(|weight| weight.to_string())),
                code(a),
                code(b),
                scale_code(a),
                scale_code(b),
                scale(a),
                scale(b),
                a.value.to_string(),
                b.value.to_string(),
            ]
        });
        table(&header, lines)
    }
}

fn notes(names: [&str; 2], sides: [&Reader<'_>; 2]) -> Vec<String> {
    let about = |(name, reader): (&str, &Reader<'_>)| {
        let altered = reader
            .matrix
            .altered_by()
            .map(|by| format!("values of {name} also depend on {by}, which is left aside"));
        let refused = reader.refused.as_ref().map(|why| format!("{name} has no codes: {why}"));
        [altered, refused].into_iter().flatten().collect::<Vec<_>>()
    };
    let mut notes: Vec<String> = names.into_iter().zip(sides).flat_map(about).collect();
    if let (Some(a), Some(b)) = (sides[0].matrix.format, sides[1].matrix.format)
        && a != b
    {
        notes.push(format!("{} is {a} and {} is {b}: values are compared", names[0], names[1]));
    }
    notes
}

/// The smallest number that both divide.
pub(in crate::inspect) fn multiple(a: u64, b: u64) -> u64 {
    let (mut x, mut y) = (a.max(1), b.max(1));
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a.max(1) / x * b.max(1)
}

#[cfg(test)]
mod tests;
