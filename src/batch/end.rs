//! How the program ends: what it says last, and its exit code.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use super::events::{Event, Events};
use super::{Args, BatchError, Exit, progress};
use crate::checkpoint::Checkpoint;

/// Reads the command line. After help, or a message that says what is wrong with it, the program is to end.
pub fn parse() -> Result<Args, ExitCode> {
    Args::try_parse().map_err(|error| {
        // That nobody reads it is no reason to do anything else.
        let _ = error.print();
        if !error.use_stderr() {
            return Exit::Done.into();
        }
        if std::env::args_os().any(|arg| arg == "--json") {
            let text = error.to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            let message = text.split("\n\n").next().unwrap_or_default().trim().to_owned();
            Events::default().send(&Event::error(Exit::Usage, message));
        }
        Exit::Usage.into()
    })
}

/// Says what went wrong, and gives the exit code.
pub fn fail(error: &BatchError) -> ExitCode {
    progress::say(&format!("error: {error}"));
    error.exit().into()
}

/// The same where events are told.
pub fn fail_with(error: &BatchError, events: &Events) -> ExitCode {
    events.send(&Event::error(error.exit(), error.to_string()));
    fail(error)
}

/// The last event of a run that ends well.
pub fn done(
    args: &Args,
    written: Option<&Path>,
    findings: u64,
    bytes_total: u64,
    begun: Instant,
) -> Event<'static> {
    let text = |path: &Path| path.display().to_string();
    let bytes_written = written.and_then(|path| Some(Checkpoint::open(path).ok()?.file_bytes()));
    Event::Done {
        written: written.map(text),
        report: args.report.as_deref().map(text),
        bytes_written,
        bytes_total,
        findings,
        seconds: begun.elapsed().as_secs_f64(),
    }
}

/// Takes what is printed even when nobody reads it any more, as after `| head`: the work is to be
/// finished all the same.
pub struct WhileRead<W>(pub W);

impl<W: Write> Write for WhileRead<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.write(bytes) {
            Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self.0.flush() {
            Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}
