//! Reports as files: JSON, CSV, Markdown or HTML, by the ending of the name.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::flat::{Flat, table_text};
use super::html::html;
use super::row::Row;
use crate::checkpoint::folder_of;
use crate::dialect::Dialect;
use crate::export::contains;
use crate::export::verify::Verification;
use crate::plan::{Coverage, Finding, Plan};

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
    /// The file is there already, in the folder that is to be replaced.
    #[error("{} exists in the folder of --out: a report does not replace what is there. Choose another --report", file.display())]
    InOutput {
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

/// Checks before any work that a report can be written to `file`, and that this replaces no file of the
/// checkpoint `input`, nor of what is at `out`.
pub fn check_file(file: &Path, input: &Path, out: Option<&Path>) -> Result<(), ReportError> {
    ReportFormat::of(file)?;
    let Ok(folder) = folder_of(file).canonicalize() else {
        return Err(ReportError::NoFolder { folder: folder_of(file).to_owned() });
    };
    let input = if input.is_dir() { input } else { folder_of(input) };
    if contains(input, &folder) && file.exists() {
        return Err(ReportError::InInput { file: file.to_owned() });
    }
    let is_in_output = |out: &Path| out.is_dir() && contains(out, &folder);
    if out.is_some_and(is_in_output) && file.exists() {
        return Err(ReportError::InOutput { file: file.to_owned() });
    }
    if file.is_dir() {
        return Err(ReportError::IsFolder { file: file.to_owned() });
    }
    Ok(())
}

/// Writes a file whole, or not at all: beside its place, then renamed.
pub fn write_file(file: &Path, contents: &[u8]) -> io::Result<()> {
    write_with(file, |out| out.write_all(contents))
}

/// The same with what writes the contents.
fn write_with(file: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    // The rights of any new file, where temporary ones are private.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut partial = builder.tempfile_in(folder_of(file))?;
    let mut out = BufWriter::new(&mut partial);
    write(&mut out)?;
    out.flush()?;
    drop(out);
    partial.persist(file)?;
    Ok(())
}

/// A report as JSON has it.
#[derive(Serialize)]
struct Json<'a> {
    checkpoint: &'a str,
    device: Option<&'a str>,
    dialect: Dialect,
    coverage: Coverage,
    bytes_before: u64,
    bytes_after: u64,
    bits_per_quantized_weight: Option<f64>,
    findings: Vec<Found<'a>>,
    verification: Option<&'a Verification>,
    tensors: Flats<'a>,
}

/// A finding as JSON has it.
#[derive(Serialize)]
struct Found<'a> {
    message: String,
    tensors: &'a [String],
    bytes: u64,
}

/// Rows, each made flat when it is written.
struct Flats<'a>(&'a [Row]);

impl Serialize for Flats<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Flat::of))
    }
}

impl Report<'_> {
    /// Writes the report; the form follows from the name's ending.
    pub fn write(&self, file: &Path) -> Result<(), ReportError> {
        let written = match ReportFormat::of(file)? {
            // The text would be larger than all that it is made of.
            ReportFormat::Json => write_with(file, |out| self.write_json(out)),
            format => write_file(file, self.text(format).as_bytes()),
        };
        written.map_err(|source| ReportError::Io { file: file.to_owned(), source })
    }

    /// The report's text.
    pub fn text(&self, format: ReportFormat) -> String {
        match format {
            ReportFormat::Json => {
                let mut bytes = Vec::new();
                self.write_json(&mut bytes).expect("report values are always JSON");
                String::from_utf8(bytes).expect("JSON is text")
            }
            ReportFormat::Csv => table_text(self.rows, format),
            ReportFormat::Markdown => self.markdown(),
            ReportFormat::Html => html(self),
        }
    }

    fn write_json(&self, mut out: &mut dyn Write) -> io::Result<()> {
        let findings = self.findings.iter().map(|finding| Found {
            message: finding.kind.to_string(),
            tensors: &finding.tensors,
            bytes: finding.bytes,
        });
        let report = Json {
            checkpoint: &self.checkpoint,
            device: self.device.as_deref(),
            dialect: self.plan.dialect,
            coverage: self.plan.coverage(),
            bytes_before: self.plan.bytes_before,
            bytes_after: self.plan.bytes_after,
            bits_per_quantized_weight: self.plan.bits_per_quantized_weight(),
            findings: findings.collect(),
            verification: self.verification,
            tensors: Flats(self.rows),
        };
        serde_json::to_writer_pretty(&mut out, &report)?;
        out.write_all(b"\n")
    }

    fn markdown(&self) -> String {
        let summary = super::terminal::summary(self.plan);
        let lines: String = summary.lines().map(|line| format!("    {line}\n")).collect();
        let table = table_text(self.rows, ReportFormat::Markdown);
        format!("# {}\n\n{lines}\n{table}", self.checkpoint)
    }
}
