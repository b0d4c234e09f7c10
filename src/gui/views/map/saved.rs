//! The map as a file.

use super::cells;
use super::sheet::{Head, Sheet};
use crate::gui::theme::Theme;
use crate::report::svg::{HeatCell, HeatMap, Ink, heat_map};
use crate::report::{Column, Row, Value};

/// The map as SVG, with the values and colours that are shown.
pub fn svg(sheet: &Sheet, column: Column, title: &str, row_title: &str) -> String {
    let rgb = |colour: eframe::egui::Color32| [colour.r(), colour.g(), colour.b()];
    let scale = sheet.summary.scale;
    let ink = |value: Value| {
        let Some((number, scale)) = value.number().zip(scale) else {
            return match value {
                Value::Pending => Ink::Pending,
                Value::NotFinite(_) => Ink::NotFinite,
                _ => Ink::Nothing,
            };
        };
        let fill = cells::colour(&scale, number);
        match value {
            Value::Partial(_) => Ink::Partial(rgb(fill), rgb(Theme::on(fill))),
            _ => Ink::Number(rgb(fill), rgb(Theme::on(fill))),
        }
    };
    let cell = |row: &Row| HeatCell {
        said: cells::said(column, row),
        text: column.text(row),
        ink: ink(Value::of(column, row)),
    };
    let columns = 0..sheet.columns.len();
    let line = |r| columns.clone().map(|c| sheet.cell(r, c).map(cell)).collect();
    let steps = (0..=16).map(|i| f64::from(i) / 16.0);
    let map = HeatMap {
        title: format!("{title} · {}", column.title()),
        about: format!("{} {}.", column.describe(), sheet.summary.text()),
        row_title: row_title.to_owned(),
        rows: sheet.rows.iter().map(|head| head.short.clone()).collect(),
        columns: sheet.columns.iter().map(Head::alone).collect(),
        cells: (0..sheet.rows.len()).map(line).collect(),
        outside: sheet.outside().map(|(name, row)| (name.to_owned(), cell(row))).collect(),
        gradient: scale.map_or(Vec::new(), |scale| {
            steps.map(|part| rgb(cells::colour(&scale, scale.at(part)))).collect()
        }),
        ends: scale.map_or_else(Default::default, |scale| {
            [scale.min, scale.max].map(|end| column.shown(end))
        }),
    };
    heat_map(&map)
}
