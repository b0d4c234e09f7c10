//! Which rows of a table are shown, and in which order.

use std::cmp::Ordering;

use super::cell::NOTHING;
use super::column::Column;
use super::filter::Filter;
use super::row::Row;
use crate::model::natural_order;

/// Places in `rows` of those that the filter wants, in their order or sorted by a column, downwards
/// if its flag is set.
///
/// Rows that are equal there stay as they were. Those with nothing in the column come last in both
/// directions; NaN is above all numbers. Text is in natural order: `layers.2` before `layers.10`.
pub fn order(rows: &[Row], filter: &Filter, sort: Option<(Column, bool)>) -> Vec<usize> {
    let places = (0..rows.len()).filter(|&place| filter.matches(&rows[place]));
    let Some((column, descending)) = sort else { return places.collect() };
    // What is compared is made once for each row, not for each comparison.
    if column.is_text() {
        let texts = places.map(|place| (place, column.text(&rows[place])));
        let keyed = texts.map(|(place, text)| (place, Some(text).filter(|text| text != NOTHING)));
        sorted(keyed.collect(), descending, |a, b| natural_order(a, b))
    } else {
        let keyed = places.map(|place| (place, column.number(&rows[place]).map(comparable)));
        sorted(keyed.collect(), descending, f64::total_cmp)
    }
}

/// Rows in the order of [`order`].
pub fn ordered(rows: Vec<Row>, filter: &Filter, sort: Option<(Column, bool)>) -> Vec<Row> {
    if filter.is_empty() && sort.is_none() {
        return rows;
    }
    let order = order(&rows, filter, sort);
    let mut rows: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
    order.into_iter().filter_map(|place| rows[place].take()).collect()
}

/// The number without the signs of zero and NaN, which tell nothing here.
fn comparable(number: f64) -> f64 {
    if number.is_nan() { f64::NAN.copysign(1.0) } else { number + 0.0 }
}

fn sorted<K>(
    mut keyed: Vec<(usize, Option<K>)>,
    descending: bool,
    compare: impl Fn(&K, &K) -> Ordering,
) -> Vec<usize> {
    // Stable, so that clicking on one column after another sorts by both.
    keyed.sort_by(|(_, a), (_, b)| match (a, b) {
        (Some(a), Some(b)) if descending => compare(b, a),
        (Some(a), Some(b)) => compare(a, b),
        (a, b) => a.is_none().cmp(&b.is_none()),
    });
    keyed.into_iter().map(|(place, _)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Role;
    use crate::stats::TensorStats;

    /// Rows of these names and magnitudes.
    fn rows(all: &[(&str, Option<f32>)]) -> Vec<Row> {
        let row = |&(name, amax): &(&str, Option<f32>)| Row {
            name: name.to_owned(),
            role: name.contains("norm").then_some(Role::Norm),
            stats: amax.map(|amax| Box::new(TensorStats { amax, ..Default::default() })),
            ..Row::default()
        };
        all.iter().map(row).collect()
    }

    fn names(rows: &[Row], filter: &str, sort: Option<(Column, bool)>) -> String {
        let order = order(rows, &filter.parse().unwrap(), sort);
        order.into_iter().map(|place| &*rows[place].name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn without_a_column_rows_stay_in_order() {
        let rows = rows(&[("b", None), ("ab", None), ("c", None)]);
        assert_eq!(names(&rows, "", None), "b ab c");
        assert_eq!(names(&rows, "b", None), "b ab");
    }

    #[test]
    fn numbers_sort_in_both_directions_and_nothing_comes_last() {
        let (nan, minus) = (Some(-f32::NAN), Some(-0.0));
        let rows = rows(&[
            ("none", None),
            ("nan", nan),
            ("10", Some(10.0)),
            ("zero", Some(0.0)),
            ("2", Some(2.0)),
            ("minus", minus),
            ("also", None),
            ("inf", Some(f32::INFINITY)),
        ]);
        let sort = |descending| names(&rows, "", Some((Column::Amax, descending)));
        assert_eq!(sort(false), "zero minus 2 10 inf nan none also");
        assert_eq!(sort(true), "nan inf 10 2 zero minus none also");
        assert_eq!(names(&rows, "amax>1", Some((Column::Amax, false))), "2 10 inf");
    }

    #[test]
    fn text_sorts_in_natural_order() {
        let rows = rows(&[("l.10.w", None), ("l.2.norm", None), ("l.9.w", None)]);
        assert_eq!(names(&rows, "", Some((Column::Name, false))), "l.2.norm l.9.w l.10.w");
        assert_eq!(names(&rows, "", Some((Column::Name, true))), "l.10.w l.9.w l.2.norm");
        for descending in [false, true] {
            let by_role = names(&rows, "", Some((Column::Role, descending)));
            assert_eq!(by_role, "l.2.norm l.10.w l.9.w", "no role comes last");
        }
    }
}
