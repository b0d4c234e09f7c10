//! Columns of text side by side, in memory that is little more than the text itself.

use std::fmt;

use unicode_width::UnicodeWidthStr;

use super::cell::NOTHING;
use crate::units::push_name;

/// Columns between one and the next.
const GAP: usize = 2;

/// What a name may be long without moving all that follows: longer ones stick out.
const WIDEST: usize = 1000;

/// A table for a terminal. Shows the columns that say something in any row, without space at the ends
/// of lines.
#[derive(Debug)]
pub struct TextTable {
    columns: Vec<TextColumn>,
    /// The text of all cells, row by row, header first.
    text: String,
    /// Where each cell ends in it.
    ends: Vec<usize>,
}

#[derive(Debug)]
struct TextColumn {
    /// Whether it is aligned to the left.
    is_text: bool,
    says_something: bool,
    width: usize,
}

impl TextTable {
    /// A table of columns with these titles; `is_text` tells which are aligned to the left.
    pub fn new(header: &[&str], is_text: impl Fn(&str) -> bool) -> Self {
        let column =
            |title: &&str| TextColumn { is_text: is_text(title), says_something: false, width: 1 };
        let columns = header.iter().map(column).collect();
        let mut table = Self { columns, text: String::new(), ends: Vec::new() };
        table.push(header);
        table
    }

    /// Adds a row: a cell for each column.
    pub fn add(&mut self, cells: impl IntoIterator<Item: AsRef<str>>) {
        let first = self.ends.len();
        self.push(cells);
        for i in 0..self.columns.len() {
            self.columns[i].says_something |= self.cell(first + i) != NOTHING;
        }
    }

    fn push(&mut self, cells: impl IntoIterator<Item: AsRef<str>>) {
        let mut cells = cells.into_iter();
        for column in &mut self.columns {
            let begin = self.text.len();
            if let Some(cell) = cells.next() {
                push_name(&mut self.text, cell.as_ref());
            }
            self.ends.push(self.text.len());
            column.width = column.width.max(width(&self.text[begin..]).min(WIDEST));
        }
    }

    fn cell(&self, i: usize) -> &str {
        let begin = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.text[begin..self.ends[i]]
    }
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = String::new();
        for first in (0..self.ends.len()).step_by(self.columns.len().max(1)) {
            if first > 0 {
                f.write_str("\n")?;
            }
            line.clear();
            for (i, column) in self.columns.iter().enumerate().filter(|(_, c)| c.says_something) {
                let cell = self.cell(first + i);
                let space = column.width.saturating_sub(width(cell));
                let (before, after) = if column.is_text { (0, space) } else { (space, 0) };
                line.extend(std::iter::repeat_n(' ', before));
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', after + GAP));
            }
            f.write_str(line.trim_end())?;
        }
        Ok(())
    }
}

/// Columns that a text without control characters takes.
fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_are_shown_and_say_something() {
        let mut table = TextTable::new(&["name", "none", "n", "why"], |title| title != "n");
        table.add(["a", NOTHING, "1", "x\ny"]);
        table.add(["表é", NOTHING, "12", ""]);
        assert_eq!(table.to_string(), "name   n  why\na      1  x\\ny\n表é   12");
    }

    #[test]
    fn one_endless_name_does_not_widen_all_lines() {
        let endless = "x".repeat(100_000);
        let mut table = TextTable::new(&["name", "why"], |_| true);
        table.add([endless.as_str(), "a"]);
        table.add(["y", "b"]);
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[1].len(), lines[2].len()), (100_003, WIDEST + 3));
    }

    #[test]
    fn a_table_without_rows_or_columns_is_empty() {
        assert_eq!(TextTable::new(&["a"], |_| true).to_string(), "");
        assert_eq!(TextTable::new(&[], |_| true).to_string(), "");
    }
}
