//! The tables of the page.

use crate::export::verify::Verification;
use crate::plan::{Decision, Finding, Plan, Sizes};
use crate::report::cell::NOTHING;
use crate::report::svg::escape;
use crate::report::terminal::coverage;
use crate::report::{Column, Row, Scale};
use crate::units::{bytes, count};

/// Names that a finding lists.
const NAMES: usize = 100;

/// What bytes are spent on, before and after.
pub fn sizes(plan: &Plan) -> String {
    let parts =
        |sizes: &Sizes| [sizes.weights, sizes.scales, sizes.embeddings, sizes.kept, sizes.headers];
    let mut names = [
        "quantized weights",
        "scales and zero points",
        "embeddings and head",
        "kept tensors",
        "headers",
    ];
    let after = plan.sizes_after();
    // Of what is only shown as it is stored there is nothing before.
    let is_stored = |decision: &Decision| matches!(decision, Decision::Stored(_));
    let is_shown =
        plan.groups.is_empty() && plan.entries.iter().any(|entry| is_stored(&entry.decision));
    let mut columns = vec![("after", after)];
    if is_shown {
        // Scales of a stored layer are counted with its codes.
        (columns[0].0, names[0]) = ("stored", "quantized layers, with their scales");
    } else {
        columns.insert(0, ("before", plan.sizes_before()));
    }
    let most = columns.iter().map(|(_, sizes)| sizes.total()).max().unwrap_or(0).max(1) as f64;
    let bar = |(name, sizes): &(&str, Sizes)| {
        let piece = |(i, part): (usize, u64)| match part {
            0 => String::new(),
            part => {
                let width = 100.0 * part as f64 / most;
                let said = format!("{} {}", names[i], bytes(part));
                format!("<i class=\"p{i}\" style=\"width:{width:.3}%\" title=\"{said}\"></i>")
            }
        };
        let pieces: String = parts(sizes).into_iter().enumerate().map(piece).collect();
        let total = bytes(sizes.total());
        format!(
            "<span>{name}</span><div class=\"bar\">{pieces}</div><span class=\"n\">{total}</span>\n"
        )
    };
    let bars: String = columns.iter().map(bar).collect();
    let head: String =
        columns.iter().map(|(name, _)| format!("<th class=\"n\">{name}</th>")).collect();
    let cells = |of: &dyn Fn(&Sizes) -> u64| -> String {
        let cell = |(_, sizes): &(&str, Sizes)| {
            let n = of(sizes);
            format!("<td class=\"n\" title=\"{n} bytes\">{}</td>", bytes(n))
        };
        let change = match columns[..] {
            [(_, before), (_, after)] => {
                let (before, after) = (of(&before), of(&after));
                let percent = 100.0 * after as f64 / before as f64;
                let shown = if before > 0 { format!("{percent:.1} %") } else { NOTHING.to_owned() };
                format!("<td class=\"n\">{shown}</td>")
            }
            _ => String::new(),
        };
        columns.iter().map(cell).collect::<String>() + &change
    };
    let change = if columns.len() == 2 { "<th class=\"n\">after / before</th>" } else { "" };
    let is_there = |(i, _): &(usize, &&str)| !is_shown || parts(&after)[*i] > 0;
    let rows = names.iter().enumerate().filter(is_there).map(|(i, name)| {
        let cells = cells(&|sizes| parts(sizes)[i]);
        format!("<tr><td><span class=\"key p{i}\"></span>{name}</td>{cells}</tr>\n")
    });
    let rows: String = rows.collect();
    let total = cells(&Sizes::total);
    format!(
        "<div class=\"bars\">\n{bars}</div>\n<table>\n<thead><tr><th>part</th>{head}{change}</tr></thead>\n\
         <tbody>\n{rows}</tbody>\n<tfoot><tr><td>all files</td>{total}</tr></tfoot>\n</table>\n"
    )
}

/// What the reader should look at.
pub fn findings(findings: &[Finding]) -> String {
    let one = |finding: &Finding| {
        let message = escape(&finding.kind.to_string());
        let tensors = finding.tensors.len();
        if tensors == 0 {
            return format!("<li>{message}</li>\n");
        }
        let name = |name: &String| format!("<code>{}</code>", escape(name));
        let names: Vec<String> = finding.tensors.iter().take(NAMES).map(name).collect();
        let more = tensors - names.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let what = format!("{}, {}", count(tensors as u64, "tensor"), bytes(finding.bytes));
        let names = names.join(", ");
        format!("<li>{message}<details><summary>{what}</summary>{names}{more}</details></li>\n")
    };
    let all: String = match findings {
        [] => "<li class=\"none\">Nothing was found.</li>\n".to_owned(),
        findings => findings.iter().map(one).collect(),
    };
    format!("<ul>\n{all}</ul>\n")
}

/// Tensors that are kept, by reason.
pub fn kept(plan: &Plan) -> String {
    let row = |(reason, role, tensors, size)| {
        let reason = escape(&format!("{reason}"));
        let (tensors, size): (u64, String) = (tensors, bytes(size));
        format!(
            "<tr><td>{reason}</td><td>{role}</td><td class=\"n\">{tensors}</td><td class=\"n\">{size}</td></tr>\n"
        )
    };
    let rows: String = plan.kept().into_iter().map(row).collect();
    if rows.is_empty() {
        return rows;
    }
    format!(
        "<table>\n<thead><tr><th>reason</th><th>role</th><th class=\"n\">tensors</th>\
         <th class=\"n\">size</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"
    )
}

/// The gate table.
pub fn verification(verification: &Verification) -> String {
    let row = |mark: &str, name: &str, detail: &str| {
        let (class, detail) = (mark.to_lowercase(), escape(detail));
        format!("<tr><td class=\"{class}\">{mark}</td><td>{name}</td><td>{detail}</td></tr>\n")
    };
    let checks = verification
        .checks
        .iter()
        .map(|check| row(if check.passed { "pass" } else { "FAIL" }, check.name, &check.detail));
    let rows: String = checks.collect();
    let coverage = row("", "coverage", &coverage(&verification.coverage));
    format!("<table>\n<tbody>\n{rows}{coverage}</tbody>\n</table>\n")
}

/// The error of each tensor, the worst first; empty if none was measured.
pub fn errors(rows: &[Row]) -> String {
    let measured = rows.iter().filter(|row| row.part_of.is_none());
    let mut measured: Vec<(f64, &Row)> =
        measured.filter_map(|row| Some((Column::Sqnr.number(row)?, row))).collect();
    if measured.is_empty() {
        return String::new();
    }
    measured.sort_by(|a, b| a.0.total_cmp(&b.0));
    let scale = Scale::of(Column::Sqnr, measured.iter().map(|(ratio, _)| *ratio));
    let row = |(ratio, row): &(f64, &Row)| {
        // What is exact is at the end.
        let place = 100.0 * scale.as_ref().map_or(0.5, |scale| scale.place(*ratio));
        let text = |column: Column| escape(&column.text(row));
        format!(
            "<tr><td><code>{}</code></td><td class=\"t\">{}</td>\
             <td class=\"meter\"><div class=\"track\"><i style=\"left:{place:.2}%\"></i></div></td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
            text(Column::Name),
            text(Column::Format),
            text(Column::Sqnr),
            text(Column::MaxError),
        )
    };
    let rows: String = measured.iter().map(row).collect();
    let about = escape(Column::Sqnr.describe());
    let ends = |scale: &Scale| {
        [scale.min, scale.max]
            .map(|end| format!("<span>{}</span>", Column::Sqnr.shown(end)))
            .concat()
    };
    let ends = scale.as_ref().filter(|scale| scale.max > scale.min).map(ends).unwrap_or_default();
    format!(
        "<p class=\"note\">{about} The worst first.</p>\n<div class=\"tall\"><table>\n\
         <thead><tr><th>tensor</th><th>format</th><th class=\"meter\"><div class=\"ends\">{ends}</div></th>\
         <th class=\"n\">SQNR dB</th><th class=\"n\">max error</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

/// The statistics table of some rows, in their order. Columns that say nothing of any are left out.
pub fn statistics<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    let rows: Vec<&Row> = rows.into_iter().collect();
    let says = |column: &Column| {
        let is_name = *column == Column::Name;
        is_name || rows.iter().any(|row| column.text(row) != NOTHING)
    };
    // Of single tensors there is one each, and what is saved is what is before without what is after.
    let several = rows.iter().any(|row| row.tensors != 1);
    let is_told = |column: &Column| match column {
        Column::Tensors => several,
        Column::BytesSaved => false,
        _ => true,
    };
    let columns: Vec<Column> =
        Column::ALL.into_iter().filter(|column| is_told(column) && says(column)).collect();
    let class = |column: Column| if column.is_text() { "t" } else { "n" };
    let head = columns.iter().map(|column| {
        let (title, about) = (escape(column.title()), escape(column.describe()));
        format!("<th class=\"{}\" title=\"{about}\">{title}</th>", class(*column))
    });
    let head: String = head.collect();
    let cell = |column: &Column, row: &Row| {
        let text = escape(&column.text(row));
        let text = if *column == Column::Name { format!("<code>{text}</code>") } else { text };
        format!("<td class=\"{}\">{text}</td>", class(*column))
    };
    let lines = rows.iter().map(|row| {
        let cells: String = columns.iter().map(|column| cell(column, row)).collect();
        let part = if row.part_of.is_some() { " class=\"part\"" } else { "" };
        format!("<tr{part}>{cells}</tr>\n")
    });
    let lines: String = lines.collect();
    format!("<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}</tbody>\n</table>\n")
}
