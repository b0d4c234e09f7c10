//! Reports as files: JSON, CSV or Markdown, by the ending of the name.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::row::Row;
use crate::export::verify::Verification;
use crate::plan::{Finding, Plan};
use crate::units::{name, shape, significant};

/// Everything that a report says.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// The checkpoint's path.
    pub checkpoint: String,
    /// The plan.
    pub plan: &'a Plan,
    /// The device that computed; `None` if nothing was read.
    pub device: Option<String>,
    /// The statistics table.
    pub rows: &'a [Row],
    /// All findings, those of the run included.
    pub findings: &'a [Finding],
    /// The gate table, if there was an export.
    pub verification: Option<&'a Verification>,
}

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportFormat {
    /// Everything, nested.
    Json,
    /// The statistics table, with a header.
    Csv,
    /// The statistics table, readable.
    Markdown,
}

/// A report that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The name has no known ending.
    #[error("{}: a report's name ends in .json, .csv or .md", file.display())]
    UnknownEnding {
        /// The file.
        file: PathBuf,
    },
    /// There is no folder to put the file into.
    #[error("{}: there is no such folder to write the report into. Create it, or choose another --report", folder.display())]
    NoFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// The file is there already, in the folder of the checkpoint that is read.
    #[error("{} exists in the checkpoint's own folder: a report does not replace what is there. Choose another --report", file.display())]
    InInput {
        /// The file.
        file: PathBuf,
    },
    /// There is a folder of that name.
    #[error("{} is a folder. Choose another --report", file.display())]
    IsFolder {
        /// The folder.
        file: PathBuf,
    },
    /// The file cannot be written.
    #[error("cannot write report {}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ReportFormat {
    /// The format that a file's name asks for.
    pub fn of(file: &Path) -> Result<Self, ReportError> {
        match file.extension().and_then(|ending| ending.to_str()) {
            Some("json") => Ok(Self::Json),
            Some("csv") => Ok(Self::Csv),
            Some("md") => Ok(Self::Markdown),
            _ => Err(ReportError::UnknownEnding { file: file.to_owned() }),
        }
    }
}

/// A row without nesting: one column each. Numbers that were not measured are left empty.
#[derive(Debug, Serialize)]
struct Flat<'a> {
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
    fn of(row: &'a Row) -> Self {
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
            mean_abs: stats.map(|stats| stats.weights.mean_abs()),
            std_dev: stats.map(|stats| stats.weights.std_dev()),
            zero_fraction: stats.map(|stats| stats.weights.zero_fraction()),
            // A group has several.
            global_scale: quantized.filter(|_| row.tensors == 1).and_then(|q| q.global_scale),
            scale_min: quantized.map(|q| q.scales.min),
            scale_max: quantized.map(|q| q.scales.max),
            scales_zero: quantized.map(|q| q.scales.zero),
            scales_subnormal: quantized.map(|q| q.scales.subnormal),
            scales_saturated: quantized.map(|q| q.scales.saturated),
            sqnr_db: stats.and_then(|stats| stats.sqnr_db()),
            search_gain_db: stats.and_then(|stats| stats.search_gain_db()),
            max_abs_error: quantized.map(|q| q.errors.max_abs),
            bytes_before: row.bytes_before,
            bytes_after: row.bytes_after,
        }
    }
}

/// Checks before any work that a report can be written to `file`, and that this does not touch the
/// checkpoint `input`.
pub fn check_file(file: &Path, input: &Path) -> Result<(), ReportError> {
    ReportFormat::of(file)?;
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let Ok(folder) = folder.canonicalize() else {
        return Err(ReportError::NoFolder { folder: folder.to_owned() });
    };
    let input = if input.is_dir() { input } else { input.parent().unwrap_or(input) };
    let in_input = input.canonicalize().is_ok_and(|input| folder.starts_with(input));
    if in_input && file.exists() {
        return Err(ReportError::InInput { file: file.to_owned() });
    }
    if file.is_dir() {
        return Err(ReportError::IsFolder { file: file.to_owned() });
    }
    Ok(())
}

impl Report<'_> {
    /// Writes the report; the form follows from the name's ending.
    pub fn write(&self, file: &Path) -> Result<(), ReportError> {
        let text = self.text(ReportFormat::of(file)?);
        let io_error = |source| ReportError::Io { file: file.to_owned(), source };
        // Beside the file and then renamed, so that a report is never half there.
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut builder = tempfile::Builder::new();
        // The rights of any new file, where temporary ones are private.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let folder = folder.unwrap_or(Path::new("."));
        let mut partial = builder.tempfile_in(folder).map_err(io_error)?;
        partial.write_all(text.as_bytes()).map_err(io_error)?;
        partial.persist(file).map_err(|e| io_error(e.error))?;
        Ok(())
    }

    /// The report's text.
    pub fn text(&self, format: ReportFormat) -> String {
        match format {
            ReportFormat::Json => self.json(),
            ReportFormat::Csv => self.csv(),
            ReportFormat::Markdown => self.markdown(),
        }
    }

    fn json(&self) -> String {
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|f| json!({ "message": f.kind.to_string(), "tensors": f.tensors, "bytes": f.bytes }))
            .collect();
        let report = json!({
            "checkpoint": self.checkpoint,
            "device": self.device,
            "dialect": self.plan.dialect,
            "coverage": self.plan.coverage(),
            "bytes_before": self.plan.bytes_before,
            "bytes_after": self.plan.bytes_after,
            "bits_per_quantized_weight": self.plan.bits_per_quantized_weight(),
            "findings": findings,
            "verification": self.verification,
            "tensors": self.rows.iter().map(Flat::of).collect::<Vec<_>>(),
        });
        let mut text =
            serde_json::to_string_pretty(&report).expect("report values are always JSON");
        text.push('\n');
        text
    }

    fn csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in self.rows {
            writer.serialize(Flat::of(row)).expect("flat rows always fit a CSV line");
        }
        let bytes = writer.into_inner().expect("writing to memory does not fail");
        String::from_utf8(bytes).expect("rows are text")
    }

    fn markdown(&self) -> String {
        let mut text = format!(
            "# {}\n\n{}\n",
            self.checkpoint,
            super::terminal::summary(self.plan)
                .lines()
                .map(|line| format!("    {line}\n"))
                .collect::<String>()
        );
        text.push_str("| tensor | shape | dtype | format | amax | mean abs | σ | zeros % | SQNR dB | max error | bytes before | bytes after | reason |\n");
        text.push_str("|---|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|\n");
        for row in self.rows {
            let flat = Flat::of(row);
            let number = |value: Option<f64>| value.map_or(String::new(), significant);
            let cells = [
                flat.name.to_owned(),
                flat.shape,
                flat.dtype.to_owned(),
                flat.format.to_owned(),
                number(flat.amax.map(f64::from)),
                number(flat.mean_abs),
                number(flat.std_dev),
                number(flat.zero_fraction.map(|f| 100.0 * f)),
                flat.sqnr_db.map_or(String::new(), |db| format!("{db:.2}")),
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
}
