//! Text for a terminal.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::row::Row;
use crate::export::Companions;
use crate::export::verify::Verification;
use crate::model::Model;
use crate::plan::{Coverage, Finding, Plan};
use crate::stats::ScaleHealth;
use crate::units::{bytes, count, name, shape, significant};

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

/// What stands where nothing was measured. A column of nothing else is left out.
pub const NOTHING: &str = "–";

/// Columns side by side; one that says nothing in any row is left out.
pub fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.collect();
    let says_something = |column: &usize| rows.iter().any(|row| row[*column] != NOTHING);
    let shown: Vec<usize> = (0..header.len()).filter(says_something).collect();

    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(shown.iter().map(|&column| header[column]));
    for row in &rows {
        table.add_row(shown.iter().map(|&column| name(&row[column])));
    }
    for (column, &place) in table.column_iter_mut().zip(&shown) {
        column.set_padding((0, 2));
        if !TEXT_COLUMNS.contains(&header[place]) && !header[place].is_empty() {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
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
pub fn plan_table(rows: &[Row]) -> String {
    let with_group = |row: &Row| match row.scale_group {
        Some(group) => format!("{}; scale group {group}", row.reason),
        None => row.reason.clone(),
    };
    table(
        &["tensor", "shape", "dtype", "format", "before", "after", "reason"],
        rows.iter().map(|row| {
            vec![
                row.name.clone(),
                shapes(row),
                row.dtype.clone(),
                row.format.clone(),
                row.bytes_before.to_string(),
                row.bytes_after.to_string(),
                with_group(row),
            ]
        }),
    )
}

/// The shape of a tensor, and of several how many they are.
fn shapes(row: &Row) -> String {
    match row.tensors {
        1 => shape(&row.shape),
        count if row.shape.is_empty() => count.to_string(),
        count => format!("{count} of {}", shape(&row.shape)),
    }
}

/// The statistics table. `grouped` rows have no shapes.
pub fn stats_table(rows: &[Row], grouped: bool) -> String {
    let (label, form) = if grouped { ("group", "tensors") } else { ("tensor", "shape") };
    table(
        &[
            label,
            form,
            "dtype",
            "format",
            "amax",
            "mean |w|",
            "σ",
            "zeros %",
            "scales",
            "zero/sub/sat",
            "SQNR dB",
            "vs max",
            "max error",
            "before",
            "after",
        ],
        rows.iter().map(|row| {
            let form = if grouped { row.tensors.to_string() } else { shapes(row) };
            let mut cells = vec![row.name.clone(), form, row.dtype.clone(), row.format.clone()];
            cells.extend(measured(row));
            cells.extend([bytes(row.bytes_before), bytes(row.bytes_after)]);
            cells
        }),
    )
}

/// The nine measured columns; a dash where there is nothing to measure.
fn measured(row: &Row) -> [String; 9] {
    let dash = || NOTHING.to_owned();
    let Some(stats) = &row.stats else { return std::array::from_fn(|_| dash()) };
    let quantized = stats.quantized.as_ref();
    [
        significant(stats.amax.into()),
        significant(stats.weights.mean_abs()),
        significant(stats.weights.std_dev()),
        format!("{:.2}", 100.0 * stats.weights.zero_fraction()),
        quantized.map_or_else(dash, |q| scale_range(&q.scales)),
        quantized.map_or_else(dash, |q| scale_classes(&q.scales)),
        stats.sqnr_db().map_or_else(dash, |db| format!("{db:.2}")),
        stats.search_gain_db().map_or_else(dash, |db| format!("{db:+.2}")),
        // Without a source there is no signal to compare with.
        quantized
            .filter(|q| q.signal_squares > 0.0 || stats.amax == 0.0)
            .map_or_else(dash, |q| significant(q.errors.max_abs)),
    ]
}

/// Smallest and largest block scale.
pub fn scale_range(health: &ScaleHealth) -> String {
    format!("{}..{}", significant(health.min.into()), significant(health.max.into()))
}

/// How many scales are zero, subnormal and saturated.
pub fn scale_classes(health: &ScaleHealth) -> String {
    format!("{}/{}/{}", health.zero, health.subnormal, health.saturated)
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
pub fn verification(verification: &Verification) -> String {
    let rows = verification.checks.iter().map(|check| {
        let mark = if check.passed { "pass" } else { "FAIL" };
        vec![mark.to_owned(), check.name.to_owned(), check.detail.clone()]
    });
    let coverage = vec!["".to_owned(), "coverage".to_owned(), coverage(&verification.coverage)];
    table(&["", "check", ""], rows.chain(std::iter::once(coverage)))
}

/// The error of each layer.
pub fn layer_errors(verification: &Verification) -> String {
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
