//! What a picture of many numbers says, in a sentence.

use super::column::Column;
use super::row::Row;
use super::scale::Scale;
use super::value::Value;
use crate::units::count;

/// What there is of a column in some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The column.
    pub column: Column,
    /// Where numbers stand; `None` if there is none.
    pub scale: Option<Scale>,
    /// The row of the smallest number, and of the largest.
    ends: Option<[End; 2]>,
    median: f64,
    /// Number of rows that are not measured yet, or not all of their tensors.
    pub pending: usize,
    /// Number of rows whose number is NaN or infinite.
    pub not_finite: usize,
    /// Number of rows of which the column says nothing.
    pub nothing: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct End {
    number: f64,
    name: String,
}

impl Summary {
    /// Looks at rows.
    pub fn of<'a>(column: Column, rows: impl IntoIterator<Item = &'a Row>) -> Self {
        let mut numbers: Vec<(f64, &Row)> = Vec::new();
        let (mut pending, mut not_finite, mut nothing) = (0, 0, 0);
        for row in rows {
            let value = Value::of(column, row);
            numbers.extend(value.number().map(|number| (number, row)));
            match value {
                Value::Pending | Value::Partial(_) => pending += 1,
                Value::NotFinite(_) => not_finite += 1,
                Value::Nothing => nothing += 1,
                Value::Number(_) => {}
            }
        }
        numbers.sort_by(|a, b| a.0.total_cmp(&b.0));
        let end = |(number, row): &(f64, &Row)| End { number: *number, name: row.name.clone() };
        let ends = numbers.first().zip(numbers.last());
        Self {
            column,
            scale: Scale::of(column, numbers.iter().map(|(number, _)| *number)),
            ends: ends.map(|(first, last)| [end(first), end(last)]),
            median: numbers.get(numbers.len() / 2).map_or(f64::NAN, |(number, _)| *number),
            pending,
            not_finite,
            nothing,
        }
    }

    /// The sentence: `amax from 0.12 (layer 0 k_proj) to 7.9 (layer 3 down_proj), median 0.8; 4 cells
    /// are not measured yet`.
    pub fn text(&self) -> String {
        let (column, title) = (self.column, self.column.title());
        let shown = |number| column.shown(number);
        let mut parts = vec![match &self.ends {
            Some([low, high]) if low.number == high.number => {
                format!("{title} is {} everywhere", shown(low.number))
            }
            Some([low, high]) => format!(
                "{title} from {} ({}) to {} ({}), median {}",
                shown(low.number),
                low.name,
                shown(high.number),
                high.name,
                shown(self.median)
            ),
            None => format!("no {title}"),
        }];
        let mut cells = |n: usize, singular: &str, plural: &str| {
            let what = if n == 1 { singular } else { plural };
            let said = (n > 0).then(|| format!("{} {what}", count(n as u64, "cell")));
            parts.extend(said);
        };
        cells(self.pending, "is not measured yet", "are not measured yet");
        cells(self.not_finite, "is NaN or infinite", "are NaN or infinite");
        cells(self.nothing, "has none", "have none");
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::TensorStats;

    fn row(name: &str, amax: Option<f32>) -> Row {
        Row {
            name: name.to_owned(),
            tensors: 1,
            is_partial: amax.is_none(),
            stats: amax.map(|amax| Box::new(TensorStats { amax, ..TensorStats::default() })),
            ..Row::default()
        }
    }

    #[test]
    fn the_sentence_has_both_ends_the_median_and_what_is_missing() {
        let rows = [
            row("layer 3 down_proj", Some(7.5)),
            row("layer 0 k_proj", Some(0.125)),
            row("layer 1 k_proj", Some(0.5)),
            row("a", None),
            row("b", None),
            row("c", Some(f32::NAN)),
        ];
        let summary = Summary::of(Column::Amax, &rows);
        assert_eq!(
            summary.text(),
            "amax from 0.1250 (layer 0 k_proj) to 7.500 (layer 3 down_proj), median 0.5000; \
             2 cells are not measured yet; 1 cell is NaN or infinite"
        );
        assert_eq!(Summary::of(Column::Sqnr, &rows[..1]).text(), "no SQNR dB; 1 cell has none");
        assert_eq!(Summary::of(Column::Amax, &rows[..1]).text(), "amax is 7.500 everywhere");
    }
}
