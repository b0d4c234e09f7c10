//! The pictures of the page: a map for each main statistic, and the layer profile.

use super::of_tensors;
use crate::report::file::Report;
use crate::report::svg::{HeatCell, HeatMap, Ink, LinePlot, PlotLine, Rgb, heat_map, line_plot};
use crate::report::{Column, Grid, Row, Scale, Spread, Summary, Value, together};

/// What is mapped: of weights, of errors, of sizes.
const MAPPED: [Column; 5] =
    [Column::Sqnr, Column::MaxError, Column::Amax, Column::StdDev, Column::BitsPerWeight];

/// What is drawn by layer.
const PROFILED: [Column; 2] = [Column::Sqnr, Column::Amax];

/// From the smallest number to the largest, for every kind of eye.
const MAGNITUDE: [Rgb; 10] = [
    [0x00, 0x22, 0x4E],
    [0x12, 0x35, 0x70],
    [0x3B, 0x49, 0x6C],
    [0x57, 0x5D, 0x6D],
    [0x70, 0x71, 0x73],
    [0x8A, 0x86, 0x78],
    [0xA5, 0x9C, 0x74],
    [0xC3, 0xB3, 0x69],
    [0xE1, 0xCC, 0x55],
    [0xFE, 0xE8, 0x38],
];

/// Colours of lines. The page's style has a lighter one for each on dark ground.
const SERIES: [Rgb; 8] = [
    [0x1B, 0x69, 0xB0],
    [0xB8, 0x77, 0x08],
    [0x2A, 0x82, 0x46],
    [0xBD, 0x35, 0x30],
    [0x73, 0x50, 0xB8],
    [0x13, 0x87, 0x87],
    [0xA9, 0x44, 0x7F],
    [0x77, 0x71, 0x1C],
];

/// Tensors by layer and projection, norms and biases left aside.
struct Sheet {
    layers: Vec<u32>,
    columns: Vec<String>,
    rows: Vec<Vec<Option<Row>>>,
    outside: Vec<Row>,
}

impl Sheet {
    fn of(report: &Report<'_>) -> Self {
        let (grid, rows) = (Grid::of(report.plan), of_tensors(report));
        let large: Vec<usize> =
            (0..grid.columns.len()).filter(|&c| !grid.columns[c].is_small).collect();
        let cell = |r: usize, c: usize| {
            let entries = grid.cells.get(&(r, c))?;
            let rows = entries.iter().filter_map(|entry| rows.get(entry)).map(|row| (*row).clone());
            let name = format!("layer {} {}", grid.layers[r], grid.columns[c].short());
            together(&name, rows)
        };
        let line = |r| large.iter().map(|&c| cell(r, c)).collect();
        let outside = grid.outside.iter().filter_map(|entry| rows.get(entry));
        Self {
            columns: large.iter().map(|&c| grid.columns[c].short().to_owned()).collect(),
            rows: (0..grid.layers.len()).map(line).collect(),
            outside: outside.filter(|row| row.shape.len() > 1).map(|row| (*row).clone()).collect(),
            layers: grid.layers,
        }
    }

    fn all(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().flatten().flatten().chain(&self.outside)
    }
}

/// A map for each statistic that there are numbers of.
pub fn maps(report: &Report<'_>) -> String {
    let sheet = Sheet::of(report);
    let mut number = 0;
    let figure = |column: &Column| {
        let map = map(&sheet, *column)?;
        number += 1;
        // A wide one has a line for itself.
        let class = if map.columns.len() > 8 { " class=\"whole\"" } else { "" };
        Some(figure_of(&heat_map(&map), class, number))
    };
    MAPPED.iter().filter_map(figure).collect()
}

/// A picture in a frame. Ids are of the whole page, so the gradient gets a number.
fn figure_of(svg: &str, class: &str, number: usize) -> String {
    let svg = svg
        .replace("id=\"scale\"", &format!("id=\"scale-{number}\""))
        .replace("url(#scale)", &format!("url(#scale-{number})"));
    format!("<figure{class}>\n{svg}</figure>\n")
}

fn map(sheet: &Sheet, column: Column) -> Option<HeatMap> {
    let summary = Summary::of(column, sheet.all());
    let scale = summary.scale?;
    let cell = |row: &Row| {
        let value = Value::of(column, row);
        let said = format!("{}: {}", row.name, value.said(column, row));
        HeatCell { said, text: column.text(row), ink: ink(value, &scale) }
    };
    let steps = (0..=18).map(|i| f64::from(i) / 18.0);
    Some(HeatMap {
        title: format!("{} by layer and projection", column.title()),
        about: format!("{} {}.", column.describe(), summary.text()),
        row_title: "layer".to_owned(),
        rows: sheet.layers.iter().map(u32::to_string).collect(),
        columns: sheet.columns.clone(),
        cells: sheet
            .rows
            .iter()
            .map(|r| r.iter().map(|c| c.as_ref().map(cell)).collect())
            .collect(),
        outside: sheet.outside.iter().map(|row| (row.name.clone(), cell(row))).collect(),
        gradient: steps.map(|part| colour(&scale, scale.at(part))).collect(),
        ends: [scale.min, scale.max].map(|end| column.shown(end)),
    })
}

fn ink(value: Value, scale: &Scale) -> Ink {
    let Some(number) = value.number() else {
        return match value {
            Value::Pending => Ink::Pending,
            Value::NotFinite(_) => Ink::NotFinite,
            _ => Ink::Nothing,
        };
    };
    let fill = colour(scale, number);
    match value {
        Value::Partial(_) => Ink::Partial(fill, on(fill)),
        _ => Ink::Number(fill, on(fill)),
    }
}

fn colour(scale: &Scale, number: f64) -> Rgb {
    let place = match scale.spread {
        Spread::Signed => f64::midpoint(scale.place(number), 1.0),
        Spread::Linear | Spread::Log => scale.place(number),
    };
    let last = MAGNITUDE.len() - 1;
    let place = if place.is_nan() { 0.0 } else { place.clamp(0.0, 1.0) } * last as f64;
    let below = (place as usize).min(last - 1);
    let (from, to, part) = (MAGNITUDE[below], MAGNITUDE[below + 1], place - below as f64);
    let mixed = |i: usize| f64::from(from[i]) + part * (f64::from(to[i]) - f64::from(from[i]));
    [0, 1, 2].map(|i| mixed(i).round() as u8)
}

/// Dark or light, whichever can be read on a colour. Neither is one that the page changes.
fn on(colour: Rgb) -> Rgb {
    let linear = colour.map(|part| (f64::from(part) / 255.0).powf(2.2));
    let luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    if luminance > 0.18 { [0x0B, 0x0D, 0x10] } else { [0xFE, 0xFE, 0xFE] }
}

/// The profile of each statistic that there are numbers of, in more than one layer.
pub fn profiles(report: &Report<'_>) -> String {
    let sheet = Sheet::of(report);
    if sheet.layers.len() < 2 {
        return String::new();
    }
    let figures = PROFILED.iter().filter_map(|column| profile(&sheet, *column));
    figures.map(|plot| figure_of(&line_plot(&plot), " class=\"whole\"", 0)).collect()
}

fn profile(sheet: &Sheet, column: Column) -> Option<LinePlot> {
    let point = |c: usize| {
        move |(layer, cells): (&u32, &Vec<Option<Row>>)| {
            let number = column.number(cells.get(c)?.as_ref()?)?;
            Some((f64::from(*layer), number))
        }
    };
    let line = |(c, name): (usize, &String)| PlotLine {
        name: name.clone(),
        colour: SERIES[c % SERIES.len()],
        dashed: c / SERIES.len() % 2 == 1,
        points: sheet.layers.iter().zip(&sheet.rows).filter_map(point(c)).collect(),
    };
    let mut lines: Vec<PlotLine> = sheet.columns.iter().enumerate().map(line).collect();
    lines.retain(|line| line.points.iter().any(|(_, number)| number.is_finite()));
    let title = format!("{} by layer", column.title());
    let about = column.describe().to_owned();
    (!lines.is_empty()).then_some(LinePlot { title, about, column, lines, threshold: None })
}
