//! What there is to see of a row in a column: a number, or why there is none.

use super::cell::NOTHING;
use super::column::{Column, Origin};
use super::row::Row;

/// What a picture shows of a row in a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// The number of a part of the row's tensors; the others are not measured yet.
    Partial(f64),
    /// NaN or infinite.
    NotFinite(f64),
    /// Not measured yet.
    Pending,
    /// The column says nothing of such a row, as of the error of a tensor that is kept.
    Nothing,
}

impl Value {
    /// What there is of a row.
    pub fn of(column: Column, row: &Row) -> Self {
        match column.number(row) {
            Some(number) if !number.is_finite() => Self::NotFinite(number),
            Some(number)
                if row.is_partial && row.tensors > 1 && column.origin() != Origin::Plan =>
            {
                Self::Partial(number)
            }
            Some(number) => Self::Number(number),
            None if row.is_partial => Self::Pending,
            None => Self::Nothing,
        }
    }

    /// The number, if it can be compared with others.
    pub const fn number(self) -> Option<f64> {
        match self {
            Self::Number(number) | Self::Partial(number) => Some(number),
            _ => None,
        }
    }

    /// What it says, in words.
    pub fn said(self, column: Column, row: &Row) -> String {
        let title = column.title();
        match self {
            Self::Pending => format!("{title} not measured yet"),
            Self::Nothing => format!("{title} {NOTHING}, {}", row.format),
            Self::Partial(_) => format!("{title} {} so far", column.text(row)),
            Self::Number(_) | Self::NotFinite(_) => format!("{title} {}", column.text(row)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::TensorStats;

    #[test]
    fn a_number_is_told_from_all_ways_to_have_none() {
        let with = |amax: f32| Row {
            tensors: 1,
            format: "kept".to_owned(),
            stats: Some(Box::new(TensorStats { amax, ..TensorStats::default() })),
            ..Row::default()
        };
        let row = with(2.0);
        assert_eq!(Value::of(Column::Amax, &row), Value::Number(2.0));
        assert_eq!(Value::of(Column::Sqnr, &row), Value::Nothing);
        assert_eq!(Value::Nothing.said(Column::Sqnr, &row), "SQNR dB –, kept");
        assert!(matches!(Value::of(Column::Amax, &with(f32::NAN)), Value::NotFinite(_)));
        let pending = Row { is_partial: true, ..with(2.0) };
        assert_eq!(Value::of(Column::Sqnr, &pending), Value::Pending);
        assert_eq!(Value::of(Column::Amax, &pending), Value::Number(2.0), "its weights are known");
        let several = Row { tensors: 8, ..pending };
        assert_eq!(Value::of(Column::Amax, &several), Value::Partial(2.0));
        assert_eq!(Value::of(Column::BytesSaved, &several), Value::Number(0.0));
        assert_eq!(Value::Partial(2.0).said(Column::Amax, &several), "amax 2.000 so far");
    }
}
