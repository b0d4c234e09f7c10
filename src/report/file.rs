//! Reports as files: JSON, CSV, Markdown or HTML, by the ending of the name.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::flat::{Flat, table_text};
use super::html::html;
use super::row::Row;
use crate::export::verify::Verification;
use crate::plan::{Finding, Plan};

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
    /// Everything, as a page with pictures.
    Html,
}

/// A report that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The name has no known ending.
    #[error("{}: a report's name ends in .json, .csv, .md or .html", file.display())]
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
            Some("html") => Ok(Self::Html),
            _ => Err(ReportError::UnknownEnding { file: file.to_owned() }),
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

/// Writes a file whole, or not at all: beside its place, then renamed.
pub fn write_file(file: &Path, contents: &[u8]) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    // The rights of any new file, where temporary ones are private.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut partial = builder.tempfile_in(folder.unwrap_or(Path::new(".")))?;
    partial.write_all(contents)?;
    partial.persist(file)?;
    Ok(())
}

impl Report<'_> {
    /// Writes the report; the form follows from the name's ending.
    pub fn write(&self, file: &Path) -> Result<(), ReportError> {
        let text = self.text(ReportFormat::of(file)?);
        let io_error = |source| ReportError::Io { file: file.to_owned(), source };
        write_file(file, text.as_bytes()).map_err(io_error)
    }

    /// The report's text.
    pub fn text(&self, format: ReportFormat) -> String {
        match format {
            ReportFormat::Json => self.json(),
            ReportFormat::Csv => table_text(self.rows, format),
            ReportFormat::Markdown => self.markdown(),
            ReportFormat::Html => html(self),
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

    fn markdown(&self) -> String {
        let summary = super::terminal::summary(self.plan);
        let lines: String = summary.lines().map(|line| format!("    {line}\n")).collect();
        let table = table_text(self.rows, ReportFormat::Markdown);
        format!("# {}\n\n{lines}\n{table}", self.checkpoint)
    }
}
