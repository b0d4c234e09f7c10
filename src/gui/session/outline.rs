//! Which rows of the statistics table have a line: experts are under the row that sums them up.

use std::collections::{BTreeMap, HashMap};

use crate::report::Row;

/// A list of more experts than this is closed until somebody opens it.
const MANY_EXPERTS: usize = 16;

/// A line of the statistics table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Its row.
    pub row: usize,
    /// Whether it is a part of the one above that can be opened and closed.
    pub is_part: bool,
    /// Whether its parts are shown; `None` if it has none.
    pub open: Option<bool>,
}

/// A line for each of some rows, side by side.
pub fn flat(order: &[usize]) -> Vec<Line> {
    order.iter().map(|&row| Line { row, is_part: false, open: None }).collect()
}

/// Lines of all rows, each with its parts after it, where these are shown. `folds` says what was opened
/// and closed by hand.
pub fn outlined(rows: &[Row], folds: &BTreeMap<String, bool>) -> Vec<Line> {
    let mut parts: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, row) in rows.iter().enumerate() {
        if let Some(whole) = &row.part_of {
            parts.entry(whole).or_default().push(i);
        }
    }
    let mut lines = Vec::new();
    for (i, row) in rows.iter().enumerate().filter(|(_, row)| row.part_of.is_none()) {
        let parts = parts.remove(row.name.as_str());
        let open = parts.as_ref().map(|parts| {
            let by_hand = folds.get(&row.name).copied();
            by_hand.unwrap_or(parts.len() <= MANY_EXPERTS)
        });
        lines.push(Line { row: i, is_part: false, open });
        let shown = parts.filter(|_| open == Some(true)).into_iter().flatten();
        lines.extend(shown.map(|row| Line { row, is_part: true, open: None }));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: String, part_of: Option<&str>) -> Row {
        Row { name, part_of: part_of.map(str::to_owned), ..Row::default() }
    }

    /// Two projections of so many experts, as a checkpoint has them: expert by expert.
    fn rows(experts: usize) -> Vec<Row> {
        let mut rows = vec![row("up*".to_owned(), None), row("down*".to_owned(), None)];
        for expert in 0..experts {
            rows.push(row(format!("up{expert}"), Some("up*")));
            rows.push(row(format!("down{expert}"), Some("down*")));
        }
        rows.push(row("norm".to_owned(), None));
        rows
    }

    fn shown(rows: &[Row], folds: &[(&str, bool)]) -> String {
        let folds = folds.iter().map(|&(name, open)| (name.to_owned(), open)).collect();
        let lines = outlined(rows, &folds);
        let name = |line: &Line| {
            let sign = match line.open {
                Some(true) => "-",
                Some(false) => "+",
                None if line.is_part => ">",
                None => "",
            };
            format!("{sign}{}", rows[line.row].name)
        };
        lines.iter().map(name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn few_experts_are_under_their_projection() {
        assert_eq!(shown(&rows(2), &[]), "-up* >up0 >up1 -down* >down0 >down1 norm");
        assert_eq!(shown(&rows(2), &[("up*", false)]), "+up* -down* >down0 >down1 norm");
    }

    #[test]
    fn many_experts_are_opened_by_hand() {
        assert_eq!(shown(&rows(17), &[]), "+up* +down* norm");
        let opened = shown(&rows(17), &[("down*", true)]);
        assert!(opened.starts_with("+up* -down* >down0 ") && opened.ends_with(" >down16 norm"));
    }
}
