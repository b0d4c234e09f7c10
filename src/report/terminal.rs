//! Text for a terminal.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use super::cell::NOTHING;
use super::column::Column;
use super::row::Row;
use super::text_table::TextTable;
use crate::export::Companions;
use crate::export::verify::Verification;
use crate::model::Model;
use crate::plan::{Coverage, Finding, Plan};
use crate::units::{bytes, count, name, significant};

/// Columns that hold text; all others are aligned to the right.
const TEXT_COLUMNS: [&str; 11] = [
    "tensor",
    "group",
    "shape",
    "dtype",
    "format",
    "reason",
    "check",
    "scale for",
    "scale type",
    "modelopt",
    "compressed-tensors",
];

/// Columns side by side; one that says nothing in any row is left out.
pub fn table<R: IntoIterator<Item: AsRef<str>>>(
    header: &[&str],
    rows: impl Iterator<Item = R>,
) -> TextTable {
    let is_text = |title: &str| TEXT_COLUMNS.contains(&title) || title.is_empty();
    let mut table = TextTable::new(header, is_text);
    rows.for_each(|row| table.add(row));
    table
}

/// What the checkpoint is, in a line.
pub fn headline(model: &Model<'_>) -> String {
    let checkpoint = model.checkpoint;
    let config = checkpoint.config.as_ref();
    let architecture = config.and_then(|config| config.architecture().or(config.model_type()));
    let layers =
        model.members.iter().filter_map(|member| member.layer).max().map_or(0, |last| last + 1);
    let experts =
        model.members.iter().filter_map(|member| member.expert).max().map_or(0, |last| last + 1);
    let mut parts = vec![name(&checkpoint.path.display().to_string())];
    parts.extend(architecture.map(str::to_owned));
    parts.extend((layers > 0).then(|| count(layers.into(), "layer")));
    parts.extend((experts > 0).then(|| count(experts.into(), "expert")));
    parts.push(count(checkpoint.tensors.len() as u64, "tensor"));
    parts.push(count(checkpoint.files.len() as u64, "file"));
    parts.push(bytes(checkpoint.file_bytes()));
    parts.join(" · ")
}

/// Coverage in a line.
pub fn coverage(coverage: &Coverage) -> String {
    format!(
        "{:.1} % of quantizable bytes: {} of {} in {} of {}",
        coverage.percent(),
        bytes(coverage.quantized_bytes),
        bytes(coverage.quantizable_bytes),
        coverage.quantized_tensors,
        count(coverage.quantizable_tensors, "tensor"),
    )
}

/// Coverage, what is kept and why, and sizes.
pub fn summary(plan: &Plan) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(text, "{label:<9} {value}");
    };
    line("coverage", &coverage(&plan.coverage()));
    for (i, (reason, role, tensors, kept)) in plan.kept().into_iter().enumerate() {
        let what = format!("{} in {} ({role}): {reason}", bytes(kept), count(tensors, "tensor"));
        line(if i == 0 { "kept" } else { "" }, &what);
    }
    line("size", &size(plan));
    text
}

fn size(plan: &Plan) -> String {
    let (before, after) = (plan.bytes_before, plan.bytes_after);
    let percent = 100.0 * after as f64 / before.max(1) as f64;
    let mut text =
        format!("{before} → {after} bytes ({} → {}, {percent:.1} %)", bytes(before), bytes(after));
    if let Some(bits) = plan.bits_per_quantized_weight() {
        let _ = write!(text, ", {bits:.3} bits a quantized weight");
    }
    text
}

/// Every tensor with its format or the reason it is kept.
pub fn plan_table(rows: &[Row]) -> TextTable {
    let with_group = |row: &Row| match row.scale_group {
        Some(group) => format!("{}; scale group {group}", row.reason),
        None => row.reason.clone(),
    };
    table(
        &["tensor", "shape", "dtype", "format", "before", "after", "reason"],
        rows.iter().map(|row| {
            vec![
                Column::Name.text(row),
                Column::Shape.text(row),
                Column::Dtype.text(row),
                Column::Format.text(row),
                row.bytes_before.to_string(),
                row.bytes_after.to_string(),
                with_group(row),
            ]
        }),
    )
}

/// The statistics table. `grouped` rows have no shapes.
pub fn stats_table(rows: &[Row], grouped: bool) -> TextTable {
    let form = if grouped { Column::Tensors } else { Column::Shape };
    let first = [Column::Name, form, Column::Dtype, Column::Format];
    let of_weights = [Column::Amax, Column::MeanAbs, Column::StdDev, Column::Zeros];
    let of_errors = [Column::Sqnr, Column::SearchGain, Column::MaxError];
    let sizes = [Column::BytesBefore, Column::BytesAfter];

    let titles = |columns: &[Column]| columns.iter().map(|c| c.title()).collect::<Vec<_>>();
    let texts = |columns: &[Column], row| columns.iter().map(|c| c.text(row)).collect::<Vec<_>>();
    let mut header = titles(&[&first[..], &of_weights].concat());
    header.extend(["scales", "zero/sub/sat"]);
    header.extend(titles(&[&of_errors[..], &sizes].concat()));
    if grouped {
        header[0] = "group";
    }
    table(
        &header,
        rows.iter().map(|row| {
            let mut cells = texts(&[&first[..], &of_weights].concat(), row);
            cells.extend(scales(row));
            cells.extend(texts(&[&of_errors[..], &sizes].concat(), row));
            cells
        }),
    )
}

/// Smallest and largest scale, and how many are zero, subnormal and saturated.
fn scales(row: &Row) -> [String; 2] {
    let joined = |columns: &[Column], by: &str| match columns[0].number(row) {
        Some(_) => columns.iter().map(|c| c.text(row)).collect::<Vec<_>>().join(by),
        None => NOTHING.to_owned(),
    };
    [
        joined(&[Column::ScaleMin, Column::ScaleMax], ".."),
        joined(&[Column::ScalesZero, Column::ScalesSubnormal, Column::ScalesSaturated], "/"),
    ]
}

/// Findings, one a line; empty text if there is none.
pub fn findings(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let _ = write!(text, "finding   {}", finding.kind);
        if let Some(example) = finding.tensors.first() {
            let (tensors, size) =
                (count(finding.tensors.len() as u64, "tensor"), bytes(finding.bytes));
            let _ = write!(text, " ({tensors}, {size}: {}", name(example));
            if finding.tensors.len() > 1 {
                let _ = write!(text, ", …");
            }
            let _ = write!(text, ")");
        }
        text.push('\n');
    }
    text
}

/// The gate table.
pub fn verification(verification: &Verification) -> TextTable {
    let rows = verification.checks.iter().map(|check| {
        let mark = if check.passed { "pass" } else { "FAIL" };
        vec![mark.to_owned(), check.name.to_owned(), check.detail.clone()]
    });
    let coverage = vec!["".to_owned(), "coverage".to_owned(), coverage(&verification.coverage)];
    table(&["", "check", ""], rows.chain(std::iter::once(coverage)))
}

/// The error of each layer.
pub fn layer_errors(verification: &Verification) -> TextTable {
    let rows = verification.errors.iter().map(|error| {
        let sqnr = error.sqnr_db.map_or_else(|| NOTHING.to_owned(), |db| format!("{db:.2}"));
        vec![error.name.clone(), sqnr, significant(error.max_abs_error)]
    });
    table(&["tensor", "SQNR dB", "max error"], rows)
}

/// The files beside the weights: carried, and left, a line for each reason.
pub fn companions(companions: &Companions) -> String {
    let names = |paths: &[&PathBuf]| {
        let names = paths.iter().map(|path| name(&path.display().to_string()));
        names.collect::<Vec<_>>().join(", ")
    };
    let mut text = String::new();
    if !companions.carried.is_empty() {
        let _ =
            writeln!(text, "carried   {}", names(&companions.carried.iter().collect::<Vec<_>>()));
    }
    let mut left: BTreeMap<&str, Vec<&PathBuf>> = BTreeMap::new();
    for (path, why) in &companions.left {
        left.entry(why).or_default().push(path);
    }
    for (why, paths) in left {
        let _ = writeln!(text, "left      {} ({why})", names(&paths));
    }
    text
}
