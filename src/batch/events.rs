//! What a run tells programs that drive it: one JSON object a line, on standard output.

use std::io::{self, ErrorKind, Write};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::exit::Exit;
use super::{Args, Mode};
use crate::dialect::Dialect;
use crate::export::verify::Check;
use crate::format::Format;
use crate::plan::{Finding, FindingKind, Plan};

/// Version of the events. Under one version events and fields are added, but neither renamed nor
/// removed.
pub const SCHEMA: u32 = 1;

/// Something that happens in a run.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event<'a> {
    /// The run begins. Always the first.
    Start {
        /// [`SCHEMA`].
        schema: u32,
        /// Version of the program.
        version: &'static str,
        /// What was asked for.
        mode: &'static str,
        /// What is read.
        checkpoint: String,
        /// What is to be written.
        out: Option<String>,
    },
    /// What is to become of the checkpoint is known.
    Plan {
        /// The layout.
        layout: Dialect,
        /// The formats that tensors get.
        formats: Vec<Format>,
        /// How many tensors there are.
        tensors: usize,
        /// How many of them are quantized.
        quantized: usize,
        /// Bytes of the source's weight files.
        bytes_before: u64,
        /// Bytes of the weight files that are planned.
        bytes_after: u64,
        /// Names of these files.
        files: Vec<&'a str>,
    },
    /// The device that computes is open.
    Device {
        /// What it is called.
        name: &'a str,
        /// Why it is not the GPU that there is.
        refused: Option<String>,
    },
    /// A stage begins, and the one before ends.
    Stage {
        /// Its name.
        stage: &'static str,
        /// The work that it has to do.
        bytes_total: u64,
    },
    /// How far a stage is. The last of a stage that succeeds has all bytes done.
    Progress {
        /// Its name.
        stage: &'static str,
        /// The work that is done.
        bytes_done: u64,
        /// The work that it has to do.
        bytes_total: u64,
        /// Since the stage began.
        bytes_per_second: u64,
    },
    /// Something that is not as one would expect it.
    Finding {
        /// What it is, and its numbers.
        #[serde(flatten)]
        kind: &'a FindingKind,
        /// The same for a person.
        message: String,
        /// The tensors that it is about.
        tensors: &'a [String],
        /// Their bytes.
        bytes: u64,
    },
    /// Something went wrong and was made up for: the result is what it should be.
    Notice {
        /// What happened, and who goes on.
        message: &'a str,
    },
    /// A part of an export was made.
    Part {
        /// Which, and of how many.
        part: String,
        /// Where it is until all parts are put together.
        folder: String,
        /// Its files; none where there are more parts than files.
        files: Vec<&'a str>,
        /// Their bytes.
        bytes: u64,
    },
    /// A line of the gate.
    Check {
        /// What, in a word or two.
        name: &'static str,
        /// Whether it holds.
        passed: bool,
        /// The numbers, or what is wrong.
        detail: &'a str,
    },
    /// The run ends without success. Always the last.
    Error {
        /// The name of the exit code.
        code: Exit,
        /// The exit code.
        exit_code: u8,
        /// What went wrong, and what to do.
        message: String,
    },
    /// The run ends well. Always the last.
    Done {
        /// What was written.
        written: Option<String>,
        /// The report that was written.
        report: Option<String>,
        /// Bytes of the weight files that were written.
        bytes_written: Option<u64>,
        /// The work of all stages.
        bytes_total: u64,
        /// How many findings there were.
        findings: u64,
        /// How long the run took.
        seconds: f64,
    },
}

impl<'a> Event<'a> {
    /// The beginning of a run.
    pub fn start(args: &Args, mode: Mode<'_>) -> Self {
        Self::Start {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            mode: mode.name(),
            checkpoint: args.checkpoint().display().to_string(),
            out: mode.out().map(|out| out.display().to_string()),
        }
    }

    /// What a plan is.
    pub fn plan(plan: &'a Plan) -> Self {
        let mut formats: Vec<Format> = Vec::new();
        let of_entries = plan.entries.iter().filter_map(|entry| entry.format());
        let quantized = of_entries.inspect(|format| {
            if !formats.contains(format) {
                formats.push(*format);
            }
        });
        let quantized = quantized.count();
        Self::Plan {
            layout: plan.dialect,
            formats,
            tensors: plan.entries.len(),
            quantized,
            bytes_before: plan.bytes_before,
            bytes_after: plan.bytes_after,
            files: plan.files.iter().map(|file| file.name.as_str()).collect(),
        }
    }

    /// A finding.
    pub fn finding(finding: &'a Finding) -> Self {
        Self::Finding {
            kind: &finding.kind,
            message: finding.kind.to_string(),
            tensors: &finding.tensors,
            bytes: finding.bytes,
        }
    }

    /// A line of the gate.
    pub fn check(check: &'a Check) -> Self {
        Self::Check { name: check.name, passed: check.passed, detail: &check.detail }
    }

    /// The end of a run that failed.
    pub fn error(exit: Exit, message: String) -> Self {
        Self::Error { code: exit, exit_code: exit.code(), message }
    }
}

/// Where events go.
#[derive(Debug, Default)]
pub struct Events {
    failed: Mutex<Option<io::Error>>,
}

impl Events {
    /// Writes an event. That nobody reads them any more is no reason to stop; any other failure is told
    /// by [`Events::end`].
    pub fn send(&self, event: &Event<'_>) {
        let line = serde_json::to_string(event).map_err(io::Error::from);
        let written = line.and_then(|line| writeln!(io::stdout().lock(), "{line}"));
        match written {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
            _ => {}
        }
    }

    /// Fails if an event could not be written.
    pub fn end(&self) -> io::Result<()> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_did_not_do_is_an_event_that_the_readme_tells() {
        let line = serde_json::to_string(&Event::Notice { message: "X: lost" }).unwrap();
        assert_eq!(line, r#"{"event":"notice","message":"X: lost"}"#);
        assert!(include_str!("../../README.md").contains("\n| `notice` | `message`"));
    }
}
