//! The statistics table as text for other programs.

use serde::Serialize;

use super::cell::NOTHING;
use super::column::Column;
use super::file::ReportFormat;
use super::html::statistics;
use super::row::Row;
use crate::units::{name, shape, significant};

/// The table of some rows, in their order: a JSON array of objects, CSV with a header, or a table of
/// Markdown or HTML. Numbers that were not measured are null in JSON, as are NaN and infinite ones, and empty in
/// the others.
pub fn table_text<'a>(rows: impl IntoIterator<Item = &'a Row>, format: ReportFormat) -> String {
    match format {
        ReportFormat::Json => json(rows),
        ReportFormat::Csv => csv(rows),
        ReportFormat::Markdown => markdown(rows),
        ReportFormat::Html => statistics(rows),
    }
}

fn json<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    let rows: Vec<Flat<'_>> = rows.into_iter().map(Flat::of).collect();
    let mut text = serde_json::to_string_pretty(&rows).expect("flat rows are always JSON");
    text.push('\n');
    text
}

fn csv<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    let mut rows = rows.into_iter().map(Flat::of).peekable();
    let lines = |rows: &mut dyn Iterator<Item = Flat<'a>>| {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in rows {
            writer.serialize(row).expect("flat rows always fit a CSV line");
        }
        let bytes = writer.into_inner().expect("writing to memory does not fail");
        String::from_utf8(bytes).expect("rows are text")
    };
    if rows.peek().is_some() {
        return lines(&mut rows);
    }
    // The header comes with the first row, and a table without rows has one too.
    let one = lines(&mut std::iter::once(Flat::default()));
    one.split_inclusive('\n').take(1).collect()
}

fn markdown<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    let mut text = String::from(
        "| tensor | shape | dtype | format | amax | mean abs | σ | zeros % | SQNR dB | max error | bytes before | bytes after | reason |\n",
    );
    text.push_str("|---|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|\n");
    for row in rows {
        let flat = Flat::of(row);
        let number = |value: Option<f64>| value.map_or(String::new(), significant);
        let shown = |column: Column| column.text(row).replace(NOTHING, "");
        let cells = [
            flat.name.to_owned(),
            flat.shape,
            flat.dtype.to_owned(),
            flat.format.to_owned(),
            shown(Column::Amax),
            shown(Column::MeanAbs),
            shown(Column::StdDev),
            number(flat.zero_fraction.map(|f| 100.0 * f)),
            shown(Column::Sqnr),
            number(flat.max_abs_error),
            flat.bytes_before.to_string(),
            flat.bytes_after.to_string(),
            flat.reason.to_owned(),
        ];
        text.push_str(&format!(
            "| {} |\n",
            cells.map(|cell| name(&cell).replace('|', "\\|")).join(" | ")
        ));
    }
    text
}

/// A row without nesting: one column each. Numbers that were not measured are left empty.
#[derive(Debug, Default, Serialize)]
pub(super) struct Flat<'a> {
    name: &'a str,
    tensors: u64,
    part_of: Option<&'a str>,
    shape: String,
    dtype: &'a str,
    role: Option<&'a str>,
    layer: Option<u32>,
    expert: Option<u32>,
    format: &'a str,
    reason: &'a str,
    amax: Option<f32>,
    mean_abs: Option<f64>,
    std_dev: Option<f64>,
    zero_fraction: Option<f64>,
    global_scale: Option<f32>,
    scale_min: Option<f32>,
    scale_max: Option<f32>,
    scales_zero: Option<u64>,
    scales_subnormal: Option<u64>,
    scales_saturated: Option<u64>,
    sqnr_db: Option<f64>,
    search_gain_db: Option<f64>,
    max_abs_error: Option<f64>,
    bytes_before: u64,
    bytes_after: u64,
}

impl<'a> Flat<'a> {
    pub fn of(row: &'a Row) -> Self {
        let stats = row.stats.as_ref();
        let quantized = stats.and_then(|stats| stats.quantized.as_ref());
        Self {
            name: &row.name,
            tensors: row.tensors,
            part_of: row.part_of.as_deref(),
            shape: shape(&row.shape),
            dtype: &row.dtype,
            role: row.role.map(|role| role.name()),
            layer: row.layer,
            expert: row.expert,
            format: &row.format,
            reason: &row.reason,
            amax: stats.map(|stats| stats.amax),
            mean_abs: Column::MeanAbs.number(row),
            std_dev: Column::StdDev.number(row),
            zero_fraction: stats.map(|stats| stats.weights.zero_fraction()),
            // A group has several.
            global_scale: quantized.filter(|_| row.tensors == 1).and_then(|q| q.global_scale),
            scale_min: quantized.map(|q| q.scales.min),
            scale_max: quantized.map(|q| q.scales.max),
            scales_zero: quantized.map(|q| q.scales.zero),
            scales_subnormal: quantized.map(|q| q.scales.subnormal),
            scales_saturated: quantized.map(|q| q.scales.saturated),
            sqnr_db: Column::Sqnr.number(row),
            search_gain_db: Column::SearchGain.number(row),
            max_abs_error: Column::MaxError.number(row),
            bytes_before: row.bytes_before,
            bytes_after: row.bytes_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> Row {
        Row { name: name.to_owned(), tensors: 1, shape: vec![2, 4], ..Row::default() }
    }

    #[test]
    fn a_table_has_the_chosen_rows_in_their_order() {
        let rows = [row("a"), row("b|c"), row("d")];
        let chosen = || [2, 1].map(|place| &rows[place]);
        let json: serde_json::Value =
            serde_json::from_str(&table_text(chosen(), ReportFormat::Json)).unwrap();
        assert_eq!((&json[0]["name"], &json[1]["shape"]), (&"d".into(), &"2×4".into()));
        assert!(json[0]["amax"].is_null() && json.as_array().unwrap().len() == 2);
        let csv = table_text(chosen(), ReportFormat::Csv);
        let names: Vec<&str> = csv.lines().filter_map(|line| line.split(',').next()).collect();
        assert_eq!(names, ["name", "d", "b|c"]);
        let markdown = table_text(chosen(), ReportFormat::Markdown);
        let lines: Vec<&str> = markdown.lines().skip(2).collect();
        assert!(lines[0].starts_with("| d | 2×4 |") && lines[1].starts_with("| b\\|c | 2×4 |"));
    }

    #[test]
    fn a_table_without_rows_has_its_header() {
        let (none, one) = ([].iter(), [row("a")]);
        let csv = table_text(none.clone(), ReportFormat::Csv);
        assert!(csv.ends_with('\n') && csv.lines().count() == 1, "{csv}");
        assert!(table_text(&one, ReportFormat::Csv).starts_with(&csv));
        assert_eq!(table_text(none, ReportFormat::Json), "[]\n");
    }
}
