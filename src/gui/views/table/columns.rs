//! Which columns are shown, and how wide they are.

use std::collections::HashMap;

use eframe::egui::{Rangef, Ui};
use serde::{Deserialize, Serialize};

use super::body::GUTTER;
use super::cells::PADDING;
use crate::gui::app::App;
use crate::gui::session::Numbers;
use crate::report::{Column, GroupBy};

/// All columns as they stand side by side: what says most of the quality comes before what explains it.
const ORDER: [Column; Column::ALL.len()] = [
    Column::Name,
    Column::Tensors,
    Column::Shape,
    Column::Dtype,
    Column::Role,
    Column::Layer,
    Column::Expert,
    Column::Format,
    Column::Amax,
    Column::MeanAbs,
    Column::StdDev,
    Column::Zeros,
    Column::Sqnr,
    Column::SearchGain,
    Column::MaxError,
    Column::GlobalScale,
    Column::ScaleMin,
    Column::ScaleMax,
    Column::ScalesZero,
    Column::ScalesSubnormal,
    Column::ScalesSaturated,
    Column::BitsPerWeight,
    Column::BytesBefore,
    Column::BytesAfter,
    Column::BytesSaved,
    Column::Reason,
];

/// Width of a character of the names; those of formats are no wider.
const CHARACTER: f32 = 7.3;

/// What somebody has chosen, of the columns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableColumns {
    /// Columns that were shown or hidden by hand.
    shown: HashMap<Column, bool>,
    /// Widths that were set by hand.
    widths: HashMap<Column, f32>,
}

/// A column and where it begins and ends, without scrolling.
pub type Place = (Column, Rangef);

impl TableColumns {
    /// The columns to show, in their order.
    pub fn shown(&self, numbers: &Numbers, by: GroupBy) -> Vec<Column> {
        let is_shown = |column: &Column| self.is_shown(*column, numbers, by);
        ORDER.into_iter().filter(is_shown).collect()
    }

    fn is_shown(&self, column: Column, numbers: &Numbers, by: GroupBy) -> bool {
        let by_itself = || is_usual(column, by) && numbers.columns.contains(&column);
        column == Column::Name || self.shown.get(&column).copied().unwrap_or_else(by_itself)
    }

    /// Sets the width of a column; `None` as it was.
    pub fn resize(&mut self, column: Column, width: Option<f32>) {
        match width {
            Some(width) => self.widths.insert(column, width.clamp(40.0, 900.0)),
            None => self.widths.remove(&column),
        };
    }

    fn width(&self, column: Column, usual: f32) -> f32 {
        self.widths.get(&column).copied().unwrap_or(usual)
    }
}

/// Whether a column is shown unless somebody hides it.
fn is_usual(column: Column, by: GroupBy) -> bool {
    let is_group = matches!(by, GroupBy::Layer | GroupBy::Role);
    match column {
        Column::Shape => !is_group,
        Column::Tensors => is_group,
        Column::Role
        | Column::Layer
        | Column::Expert
        | Column::Reason
        | Column::GlobalScale
        | Column::ScalesZero
        | Column::ScalesSubnormal
        | Column::ScalesSaturated
        | Column::BytesSaved => false,
        _ => true,
    }
}

/// The width of a column that nobody has set, for its header and what usually stands in it.
const fn usual_width(column: Column) -> f32 {
    match column {
        Column::Name => 300.0,
        Column::Shape => 88.0,
        Column::Dtype => 50.0,
        Column::Role => 84.0,
        Column::Layer | Column::Expert | Column::Zeros => 60.0,
        Column::Tensors | Column::SearchGain => 64.0,
        Column::Format => 64.0,
        Column::Reason => 280.0,
        Column::Sqnr => 70.0,
        Column::Amax | Column::MeanAbs | Column::StdDev | Column::MaxError => 75.0,
        Column::BytesBefore | Column::BytesAfter | Column::BytesSaved => 82.0,
        _ => 84.0,
    }
}

/// Where the columns that are shown are, in a view of some width.
pub fn places(app: &App, view: f32) -> Vec<Place> {
    let chosen = &app.settings.table;
    let numbers = &app.session.tables.numbers;
    let longest = numbers.longest_name as f32 * CHARACTER + GUTTER + 10.0;
    let names = longest.clamp(120.0, (0.31 * view).clamp(230.0, 460.0));
    let longest = numbers.longest_format as f32 * CHARACTER + 2.0 * PADDING;
    let mut left = 0.0;
    let place = |column| {
        let usual = match column {
            Column::Name => names,
            Column::Format => longest.max(usual_width(column)),
            _ => usual_width(column),
        };
        let mut width = chosen.width(column, usual);
        if column == Column::Name {
            // What does not scroll must leave room for what does.
            width = width.min((0.7 * view).max(120.0));
        }
        let begin = left;
        left += width;
        (column, Rangef::new(begin, left))
    };
    chosen.shown(numbers, app.session.query.by).into_iter().map(place).collect()
}

/// The menu of columns.
pub fn menu_ui(app: &mut App, ui: &mut Ui) {
    let numbers = &app.session.tables.numbers;
    let by = app.session.query.by;
    let table = &mut app.settings.table;
    ui.set_min_width(180.0);
    for column in ORDER.into_iter().filter(|column| *column != Column::Name) {
        let mut shown = table.is_shown(column, numbers, by);
        let title = column.title();
        let says_something = numbers.columns.contains(&column);
        let text = if says_something { title.to_owned() } else { format!("{title} (empty)") };
        if ui.checkbox(&mut shown, text).on_hover_text(column.describe()).changed() {
            table.shown.insert(column, shown);
        }
    }
    ui.separator();
    if ui.button("Usual columns and widths").clicked() {
        *table = TableColumns::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_its_place() {
        for column in Column::ALL {
            assert_eq!(ORDER.iter().filter(|other| **other == column).count(), 1, "{column}");
        }
    }

    #[test]
    fn columns_are_shown_that_say_something() {
        let columns =
            vec![Column::Name, Column::Shape, Column::Tensors, Column::Amax, Column::Layer];
        let numbers = Numbers { columns, ..Numbers::default() };
        let mut chosen = TableColumns::default();
        let usual = chosen.shown(&numbers, GroupBy::None);
        assert_eq!(usual, [Column::Name, Column::Shape, Column::Amax]);
        let grouped = chosen.shown(&numbers, GroupBy::Role);
        assert_eq!(grouped, [Column::Name, Column::Tensors, Column::Amax]);
        chosen.shown.extend([(Column::Sqnr, true), (Column::Amax, false), (Column::Name, false)]);
        let by_hand = chosen.shown(&numbers, GroupBy::None);
        assert_eq!(by_hand, [Column::Name, Column::Shape, Column::Sqnr]);
    }

    #[test]
    fn choices_are_remembered_as_text() {
        let mut chosen = TableColumns::default();
        chosen.shown.insert(Column::Role, true);
        chosen.resize(Column::Amax, Some(5.0));
        let text = serde_json::to_string(&chosen).unwrap();
        assert_eq!(serde_json::from_str::<TableColumns>(&text).unwrap(), chosen);
        chosen.resize(Column::Amax, None);
        assert_eq!(chosen.width(Column::Amax, 90.0), 90.0);
    }
}
