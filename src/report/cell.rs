//! What a row has in a column: as text, and as a number.

use super::column::{Column, Origin};
use super::row::Row;
use crate::stats::{QuantizedStats, TensorStats};
use crate::units::{bytes, shape, significant};

/// What stands where nothing was measured. A column of nothing else is left out of a printed table.
pub const NOTHING: &str = "–";

/// What stands for the format of a row that stays as it is.
pub const KEPT: &str = "kept";

impl Column {
    /// The row's number in this column, in the unit that is shown: percent, dB, bytes. `None` in
    /// columns of text, and where the row has none. It may be NaN or infinite, as amax of weights that
    /// are.
    pub fn number(self, row: &Row) -> Option<f64> {
        let stats = row.stats.as_ref();
        let quantized = stats.and_then(|stats| stats.quantized.as_ref());
        let scales = quantized.map(|quantized| &quantized.scales);
        match self {
            Self::Name | Self::Shape | Self::Dtype | Self::Role | Self::Format | Self::Reason => {
                None
            }
            Self::Layer => row.layer.map(f64::from),
            Self::Expert => row.expert.map(f64::from),
            Self::Amax => stats.map(|stats| stats.amax.into()),
            Self::MeanAbs => stats.map(|stats| stats.weights.mean_abs()),
            Self::StdDev => stats.map(|stats| stats.weights.std_dev()),
            Self::Zeros => stats.map(|stats| 100.0 * stats.weights.zero_fraction()),
            // A group has several.
            Self::GlobalScale if row.tensors != 1 => None,
            Self::GlobalScale => quantized?.global_scale.map(f64::from),
            Self::ScaleMin => scales.map(|scales| scales.min.into()),
            Self::ScaleMax => scales.map(|scales| scales.max.into()),
            Self::ScalesZero => scales.map(|scales| scales.zero as f64),
            Self::ScalesSubnormal => scales.map(|scales| scales.subnormal as f64),
            Self::ScalesSaturated => scales.map(|scales| scales.saturated as f64),
            Self::Sqnr => stats?.sqnr_db(),
            Self::SearchGain => stats?.search_gain_db(),
            Self::MaxError => max_error(stats?, quantized?),
            Self::BytesBefore => Some(row.bytes_before as f64),
            Self::BytesAfter => Some(row.bytes_after as f64),
            Self::BytesSaved => Some(row.bytes_before as f64 - row.bytes_after as f64),
            Self::BitsPerWeight => {
                (row.weights > 0).then(|| 8.0 * row.bytes_after as f64 / row.weights as f64)
            }
            Self::Tensors => Some(row.tensors as f64),
        }
    }

    /// Whether measurements are missing of which the row's number in this column is made.
    pub fn is_pending(self, row: &Row) -> bool {
        let measured = || row.stats.as_ref().map_or(0, |stats| stats.weights.count);
        row.is_partial
            && match self.origin() {
                Origin::Plan => false,
                Origin::Weights => measured() < row.weights,
                // A group has no scale of its own, and never will.
                Origin::Codes if self == Self::GlobalScale && row.tensors != 1 => false,
                Origin::Codes => row.format != KEPT,
            }
    }

    /// Whether a row has something in this column, or will have once it is measured.
    pub fn says_something(self, row: &Row) -> bool {
        match self {
            Self::Name | Self::Shape | Self::Format => true,
            Self::Dtype => !row.dtype.is_empty(),
            Self::Role => row.role.is_some(),
            Self::Reason => !row.reason.is_empty(),
            _ => self.number(row).is_some() || self.is_pending(row),
        }
    }

    /// The smallest and the largest number above 0 that rows have in this column, infinite ones aside.
    pub fn extent(self, rows: &[Row]) -> Option<(f64, f64)> {
        let numbers = rows.iter().filter_map(|row| self.number(row));
        let numbers = numbers.filter(|number| number.is_finite() && *number > 0.0);
        numbers.fold(None, |extent, number| {
            let (least, most) = extent.unwrap_or((number, number));
            Some((number.min(least), number.max(most)))
        })
    }

    /// What the row shows in this column; [`NOTHING`] where it has nothing.
    pub fn text(self, row: &Row) -> String {
        let text = match self {
            Self::Name => row.name.clone(),
            Self::Shape => shapes(row),
            Self::Dtype => row.dtype.clone(),
            Self::Role => row.role.map_or("", |role| role.name()).to_owned(),
            Self::Format => row.format.clone(),
            Self::Reason => row.reason.clone(),
            _ => self.number(row).map_or(String::new(), |number| self.shown(number)),
        };
        if text.is_empty() { NOTHING.to_owned() } else { text }
    }

    /// A number of this column as it is shown.
    pub fn shown(self, number: f64) -> String {
        match self {
            Self::Zeros | Self::Sqnr => format!("{number:.2}"),
            Self::SearchGain => format!("{number:+.2}"),
            Self::BitsPerWeight => format!("{number:.3}"),
            _ if self.is_bytes() => {
                let sign = if number < 0.0 { "-" } else { "" };
                format!("{sign}{}", bytes(number.abs() as u64))
            }
            Self::Layer
            | Self::Expert
            | Self::Tensors
            | Self::ScalesZero
            | Self::ScalesSubnormal
            | Self::ScalesSaturated => number.to_string(),
            _ => significant(number),
        }
    }

    /// The number that a text of this column stands for, as it is shown or as people write it:
    /// percent with or without a sign, bytes with a binary unit (`1M`, `1.5 GiB`). `None` if it is
    /// none.
    pub fn parse(self, text: &str) -> Option<f64> {
        let text = text.trim();
        if !self.is_bytes() {
            return text
                .strip_suffix('%')
                .filter(|_| self == Self::Zeros)
                .unwrap_or(text)
                .parse()
                .ok();
        }
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let power = match text[number.len()..].to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kib" => 1,
            "m" | "mib" => 2,
            "g" | "gib" => 3,
            "t" | "tib" => 4,
            "p" | "pib" => 5,
            _ => return None,
        };
        Some(number.trim_end().parse::<f64>().ok()? * 1024f64.powi(power))
    }
}

/// Without a source there is no signal to compare with, and no error.
fn max_error(stats: &TensorStats, quantized: &QuantizedStats) -> Option<f64> {
    let known = quantized.signal_squares > 0.0 || stats.amax == 0.0;
    known.then_some(quantized.errors.largest())
}

/// The shape of a tensor, and of several how many they are.
fn shapes(row: &Row) -> String {
    match row.tensors {
        1 => shape(&row.shape),
        count if row.shape.is_empty() => count.to_string(),
        count => format!("{count} of {}", shape(&row.shape)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Role;
    use crate::stats::{ErrorSums, ScaleHealth, WeightSums};

    fn measured() -> Row {
        let weights =
            WeightSums { count: 8, zeros: 1, sum: 0.0, sum_abs: 16.0, sum_squares: 100.0 };
        let scales =
            ScaleHealth { blocks: 4, min: 0.5, max: 448.0, saturated: 1, ..Default::default() };
        let errors = |sum_squares| ErrorSums { sum_squares, max_abs: 0.25 };
        let quantized = QuantizedStats {
            global_scale: Some(2.0),
            scales,
            signal_squares: 100.0,
            errors: errors(1.0),
            unsearched: Some(errors(10.0)),
        };
        let stats = TensorStats { amax: 6.0, weights, quantized: Some(quantized), experts: vec![] };
        Row {
            name: "a.weight".to_owned(),
            tensors: 1,
            weights: 8,
            shape: vec![2, 4],
            role: Some(Role::Mlp),
            layer: Some(3),
            bytes_before: 2048,
            bytes_after: 9,
            stats: Some(Box::new(stats)),
            ..Row::default()
        }
    }

    #[test]
    fn a_measured_row_has_its_numbers_in_the_unit_that_is_shown() {
        let row = measured();
        for (column, number, text) in [
            (Column::Layer, 3.0, "3"),
            (Column::Amax, 6.0, "6.000"),
            (Column::MeanAbs, 2.0, "2.000"),
            (Column::Zeros, 12.5, "12.50"),
            (Column::GlobalScale, 2.0, "2.000"),
            (Column::ScaleMin, 0.5, "0.5000"),
            (Column::ScalesSaturated, 1.0, "1"),
            (Column::Sqnr, 20.0, "20.00"),
            (Column::SearchGain, 10.0, "+10.00"),
            (Column::MaxError, 0.25, "0.2500"),
            (Column::BytesBefore, 2048.0, "2.0 KiB"),
            (Column::BytesSaved, 2039.0, "2.0 KiB"),
            (Column::BitsPerWeight, 9.0, "9.000"),
        ] {
            assert_eq!(column.number(&row), Some(number), "{column}");
            assert_eq!(column.text(&row), text, "{column}");
        }
        let grown = Row { bytes_before: 1, bytes_after: 1025, ..Row::default() };
        assert_eq!(Column::BytesSaved.text(&grown), "-1.0 KiB");
    }

    #[test]
    fn columns_of_text_have_no_numbers_and_a_number_reads_back_as_it_is_shown() {
        let row = measured();
        for column in Column::ALL {
            let shown = column.text(&row);
            assert_eq!(
                column.number(&row).is_none(),
                column.is_text() || shown == NOTHING,
                "{column}"
            );
            assert_eq!(column.parse(&shown).is_some(), column.number(&row).is_some(), "{column}");
        }
    }

    #[test]
    fn nothing_is_shown_where_nothing_was_measured() {
        let row = Row { stats: None, role: None, ..measured() };
        for column in [Column::Role, Column::Amax, Column::Sqnr, Column::MaxError, Column::Expert] {
            assert_eq!((column.number(&row), &*column.text(&row)), (None, NOTHING), "{column}");
        }
        let group = Row { tensors: 2, ..measured() };
        assert_eq!(Column::GlobalScale.number(&group), None, "a group has several");
        assert_eq!(Column::Shape.text(&group), "2 of 2×4");
        let mut without_source = measured();
        let stats = without_source.stats.as_mut().unwrap();
        stats.quantized.as_mut().unwrap().signal_squares = 0.0;
        assert_eq!(Column::MaxError.number(&without_source), None);
    }

    #[test]
    fn bytes_and_percent_as_people_write_them() {
        for (text, bytes) in
            [("512", 512.0), ("1k", 1024.0), ("1.5 KiB", 1536.0), ("-2M", -2097152.0), ("1e3", 1e3)]
        {
            assert_eq!(Column::BytesSaved.parse(text), Some(bytes), "{text}");
        }
        for text in ["", "k", "1 MB", "1X", "–"] {
            assert_eq!(Column::BytesBefore.parse(text), None, "{text}");
        }
        assert_eq!(Column::Zeros.parse("5%"), Some(5.0));
        assert_eq!(Column::Amax.parse("5%"), None);
    }
}
