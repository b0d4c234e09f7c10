//! All matrices that two checkpoints have, compared.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use super::{Class, Comparison, Counts};
use crate::backend::Backend;
use crate::checkpoint::Checkpoint;
use crate::inspect::table::table;
use crate::inspect::{InspectError, Matrix, Reader, Subject};
use crate::plan::{Entry, Plan};
use crate::quantized::Layer;

/// A checkpoint that is compared with another.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// What to call it.
    pub name: &'a str,
    /// The checkpoint.
    pub checkpoint: &'a Checkpoint,
    /// Its quantized layers, as entries of the plan have them; empty for floats.
    pub layers: &'a [Layer],
    /// Its tensors. What a plan of floats quantizes to only counts where the other side is stored so.
    pub plan: &'a Plan,
    /// Who computes.
    pub backend: &'a dyn Backend,
}

/// A tensor that both have.
#[derive(Debug, Clone, PartialEq)]
pub struct OverviewRow {
    /// Its name.
    pub tensor: String,
    /// Rows, columns and experts.
    pub shape: [u64; 3],
    /// Number of weights of each class, of all experts.
    pub counts: Counts,
    /// Largest difference of two values, and NaN if one of them is; 0 if all are equal.
    pub largest: f64,
}

/// All matrices that two checkpoints have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overview {
    /// What the sides are called.
    pub names: [String; 2],
    /// Tensors that were compared: those of the worst class first, and of those the ones of which the
    /// most weights differ.
    pub rows: Vec<OverviewRow>,
    /// Tensors that only one side has.
    pub alone: [Vec<String>; 2],
    /// Tensors of two shapes, with both.
    pub sizes: Vec<(String, [[u64; 2]; 2])>,
    /// Tensors that cannot be compared, and why.
    pub refused: Vec<(String, String)>,
}

impl Overview {
    /// Compares what both have under one name. Floats are compared as floats; where one side stores a
    /// layer quantized and the other has its floats, these are quantized as [`Matrix::against`] says. Of
    /// one checkpoint under one plan, on two devices, only what the plan quantizes is compared.
    /// `told` is told how many tensors are done, of how many.
    pub fn of(
        sides: [Side<'_>; 2],
        cancel: &AtomicBool,
        told: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, InspectError> {
        let entries = |side: &Side<'_>| -> HashMap<String, usize> {
            let names = side.plan.entries.iter().map(|entry| entry.member.tensor.name.clone());
            names.enumerate().map(|(index, name)| (name, index)).collect()
        };
        let known = [entries(&sides[0]), entries(&sides[1])];
        let only = |side: usize| -> Vec<String> {
            let names = sides[side].plan.entries.iter().map(|entry| &entry.member.tensor.name);
            names.filter(|name| !known[1 - side].contains_key(*name)).cloned().collect()
        };
        let mut overview = Self {
            names: sides.map(|side| side.name.to_owned()),
            alone: [only(0), only(1)],
            ..Self::default()
        };
        let is_one = is_one(&sides);
        let counts = |entry: &&Entry| !is_one || entry.format().is_some();
        let entries = sides[0].plan.entries.iter().filter(counts);
        let names = entries.map(|entry| entry.member.tensor.name.as_str());
        let both: Vec<&str> = names.filter(|name| known[1].contains_key(*name)).collect();
        for (done, name) in both.iter().enumerate() {
            told(done, both.len());
            match tensor(sides, name, cancel) {
                Ok(row) => overview.rows.push(row),
                Err(InspectError::Sizes { tensor, sizes }) => overview.sizes.push((tensor, sizes)),
                Err(error @ (InspectError::Cancelled | InspectError::Backend(_))) => {
                    return Err(error);
                }
                Err(error) => overview.refused.push(((*name).to_owned(), error.to_string())),
            }
        }
        told(both.len(), both.len());
        overview.rows.sort_by(|a, b| {
            let worst = |row: &OverviewRow| row.counts.worst();
            let part = |row: &OverviewRow| {
                row.counts.differing() as f64 / row.counts.total().max(1) as f64
            };
            worst(b).cmp(&worst(a)).then_with(|| part(b).total_cmp(&part(a)))
        });
        Ok(overview)
    }

    /// Number of weights of each class in all of them.
    pub fn counts(&self) -> Counts {
        let mut all = Counts::default();
        self.rows.iter().for_each(|row| all.add(&row.counts));
        all
    }

    /// A line for each tensor, those that only one side has included.
    pub fn csv(&self) -> String {
        let header = [
            "tensor",
            "rows",
            "columns",
            "experts",
            "equal",
            "legal_tie",
            "one_step",
            "scale_differs",
            "other",
            "largest_difference",
            "note",
        ];
        let compared = self.rows.iter().map(|row| {
            let numbers = Class::ALL.map(|class| row.counts.of(class).to_string());
            let shape = row.shape.map(|length| length.to_string());
            let mut line = vec![row.tensor.clone()];
            line.extend(shape.into_iter().chain(numbers));
            line.extend([row.largest.to_string(), String::new()]);
            line
        });
        let noted = |name: &str, note: String| {
            let mut line = vec![String::new(); header.len()];
            line[0] = name.to_owned();
            line[header.len() - 1] = note;
            line
        };
        let alone = self.alone.iter().zip(&self.names).flat_map(|(tensors, side)| {
            tensors.iter().map(move |tensor| noted(tensor, format!("only in {side}")))
        });
        let sizes = self.sizes.iter().map(|(tensor, [a, b])| {
            noted(tensor, format!("{}×{} and {}×{}", a[0], a[1], b[0], b[1]))
        });
        let refused = self.refused.iter().map(|(tensor, why)| noted(tensor, why.clone()));
        table(&header, compared.chain(alone).chain(sizes).chain(refused))
    }
}

impl Comparison {
    /// Compares one matrix of two checkpoints, as an [`Overview`] compares all.
    pub fn between(
        sides: [Side<'_>; 2],
        (tensor, expert): (&str, u64),
        cancel: &AtomicBool,
        told: &mut dyn FnMut(u64),
    ) -> Result<Self, InspectError> {
        let subject = Subject { tensor: tensor.to_owned(), expert, format: None };
        let [a, b] = matrices(sides, &subject)?;
        let readers =
            [Reader::new(a, sides[0].backend, cancel)?, Reader::new(b, sides[1].backend, cancel)?];
        let names = sides.map(|side| side.name);
        Self::of(names, [&readers[0], &readers[1]], None, cancel, told)
    }
}

/// Whether both sides are one checkpoint under one plan, which two devices quantize.
fn is_one([a, b]: &[Side<'_>; 2]) -> bool {
    std::ptr::eq(a.checkpoint, b.checkpoint) && std::ptr::eq(a.plan, b.plan)
}

/// Compares all experts of a tensor that both have.
fn tensor(
    sides: [Side<'_>; 2],
    name: &str,
    cancel: &AtomicBool,
) -> Result<OverviewRow, InspectError> {
    let mut row = OverviewRow {
        tensor: name.to_owned(),
        shape: [0, 0, 1],
        counts: Counts::default(),
        largest: 0.0,
    };
    let mut expert = 0;
    while expert < row.shape[2] {
        let subject = Subject { tensor: name.to_owned(), expert, format: None };
        let [a, b] = matrices(sides, &subject)?;
        let readers =
            [Reader::new(a, sides[0].backend, cancel)?, Reader::new(b, sides[1].backend, cancel)?];
        let names = sides.map(|side| side.name);
        let pair = [&readers[0], &readers[1]];
        let compared = Comparison::of(names, pair, None, cancel, &mut |_| {})?;
        let experts = readers.iter().map(|reader| reader.matrix.experts).min().unwrap_or(1);
        row.shape = [compared.rows, compared.columns, experts];
        row.counts.add(&compared.counts);
        let largest = compared.largest.map_or(0.0, |largest| largest.distance());
        row.largest = match row.largest.is_nan() || largest.is_nan() {
            true => f64::NAN,
            false => row.largest.max(largest),
        };
        expert += 1;
    }
    Ok(row)
}

/// The two matrices of a subject, of which one is quantized as the other is stored.
fn matrices<'a>([a, b]: [Side<'a>; 2], subject: &Subject) -> Result<[Matrix<'a>; 2], InspectError> {
    let stored = |side: &Side<'a>| {
        let named = |layer: &&Layer| layer.weight == subject.tensor;
        side.layers.iter().any(|layer| named(&layer))
    };
    let as_stored = |side: Side<'a>| Matrix::of(side.checkpoint, side.layers, side.plan, subject);
    let floats = |side: Side<'a>| Matrix::floats(side.checkpoint, side.plan, subject);
    if is_one(&[a, b]) {
        return Ok([as_stored(a)?, as_stored(b)?]);
    }
    Ok(match (stored(&a), stored(&b)) {
        (true, true) => [as_stored(a)?, as_stored(b)?],
        (false, false) => [floats(a)?, floats(b)?],
        (true, false) => {
            let left = as_stored(a)?;
            let right = Matrix::against(b.checkpoint, b.plan, &left)?;
            [left, right]
        }
        (false, true) => {
            let right = as_stored(b)?;
            [Matrix::against(a.checkpoint, a.plan, &right)?, right]
        }
    })
}
