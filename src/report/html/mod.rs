//! The report as one HTML file: nothing outside it is needed to read it, no script, and it follows the
//! reader's light or dark colours.

mod pictures;
mod tables;

use std::collections::BTreeMap;

use super::file::Report;
use super::row::Row;
use super::svg::escape;
use super::terminal::coverage;
use crate::units::{bytes, count};

pub use tables::statistics;

const STYLE: &str = include_str!("style.css");

/// The whole file.
pub fn html(report: &Report<'_>) -> String {
    let path = escape(&report.checkpoint);
    let last = report.checkpoint.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next();
    let title = escape(last.filter(|name| !name.is_empty()).unwrap_or("checkpoint"));
    let mut parts: Vec<Part> = vec![
        Part::section("sizes", "Size", tables::sizes(report.plan)),
        Part::section("findings", "Findings", tables::findings(report.findings)),
        Part::section("kept", "Kept tensors", tables::kept(report.plan)),
    ];
    parts.extend(report.verification.map(|verification| {
        Part::section("verification", "Verification", tables::verification(verification))
    }));
    parts.push(Part::whole("maps", "Maps", pictures::maps(report)));
    parts.push(Part::whole("profile", "Layer profile", pictures::profiles(report)));
    parts.push(Part::section("sqnr", "SQNR by tensor", tables::errors(report.rows)));
    let table = tables::statistics(report.rows);
    let shown = count(report.rows.len() as u64, "row");
    let note = format!(
        "<p class=\"note\">{shown}. What a column is shows when its head is pointed at.</p>"
    );
    let table = format!("{note}<div class=\"tall\">{table}</div>");
    parts.push(Part::section("statistics", "Statistics", table));
    parts.retain(|part| !part.text.is_empty());

    let link = |part: &Part| format!("<a href=\"#{}\">{}</a>", part.id, part.title);
    let nav: String = parts.iter().map(link).collect();
    let body: String = parts.into_iter().map(|part| part.text).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} · quantscope</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n<p class=\"path\">{path}</p>\n{}<nav>{nav}</nav>\n{body}\
         <footer>{}</footer>\n</main>\n</body>\n</html>\n",
        stamp(report),
        program()
    )
}

fn program() -> String {
    format!("quantscope {}", env!("CARGO_PKG_VERSION"))
}

/// A part of the page.
struct Part {
    id: &'static str,
    title: &'static str,
    text: String,
}

impl Part {
    /// In a frame with its title; empty if there is nothing in it.
    fn section(id: &'static str, title: &'static str, inner: String) -> Self {
        let text = match inner.is_empty() {
            true => inner,
            false => format!("<section id=\"{id}\">\n<h2>{title}</h2>\n{inner}</section>\n"),
        };
        Self { id, title, text }
    }

    /// Of figures, which have titles of their own.
    fn whole(id: &'static str, title: &'static str, inner: String) -> Self {
        let text = match inner.is_empty() {
            true => inner,
            false => format!("<div id=\"{id}\">\n{inner}</div>\n"),
        };
        Self { id, title, text }
    }
}

/// What was made of what, with what, and how large it is.
fn stamp(report: &Report<'_>) -> String {
    let plan = report.plan;
    let mut formats: BTreeMap<&str, u64> = BTreeMap::new();
    for format in plan.entries.iter().filter_map(|entry| entry.format()) {
        *formats.entry(format.name()).or_default() += 1;
    }
    let formats: Vec<String> = formats
        .into_iter()
        .map(|(format, tensors)| format!("{format} ({})", count(tensors, "tensor")))
        .collect();
    let formats = if formats.is_empty() { "none".to_owned() } else { formats.join(", ") };
    let percent = 100.0 * plan.bytes_after as f64 / plan.bytes_before.max(1) as f64;
    let size = match plan.bytes_before == plan.bytes_after {
        true => bytes(plan.bytes_after),
        false => {
            format!("{} → {} ({percent:.1} %)", bytes(plan.bytes_before), bytes(plan.bytes_after))
        }
    };
    let mut items = vec![
        ("format", formats),
        ("layout", plan.dialect.title().to_owned()),
        ("device", report.device.clone().unwrap_or_else(|| "no weight was read".to_owned())),
        ("program", program()),
        ("size", size),
    ];
    let bits = plan.bits_per_quantized_weight();
    items.extend(bits.map(|bits| ("bits a quantized weight", format!("{bits:.3}"))));
    items.push(("coverage", coverage(&plan.coverage())));
    let item = |(name, text): &(&str, String)| {
        format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escape(text))
    };
    let items: String = items.iter().map(item).collect();
    format!("<dl class=\"stamp\">\n{items}</dl>\n")
}

/// The rows of whole tensors: experts of a tensor, which it sums up, are left aside, and so are rows
/// that sum up several.
fn of_tensors<'a>(report: &Report<'a>) -> BTreeMap<usize, &'a Row> {
    let named = |row: &&Row| {
        let entry = row.entries.first().and_then(|&entry| report.plan.entries.get(entry));
        row.entries.len() == 1 && entry.is_some_and(|entry| entry.member.tensor.name == row.name)
    };
    let rows = report.rows.iter().filter(named);
    rows.filter_map(|row| Some((*row.entries.first()?, row))).collect()
}

#[cfg(test)]
mod tests;
