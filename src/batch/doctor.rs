//! `quantscope doctor`: what this machine can do.

use std::io::Write;

use super::BatchError;
use crate::doctor::{Diagnosis, PATIENCE, Report, System};

/// Examines the machine and prints what was found out: for people as it comes, or as one JSON object. Fails if
/// a device that is no software driver does not pass.
pub fn doctor(json: bool, out: &mut dyn Write) -> Result<(), BatchError> {
    let system = System::here();
    let report = if json {
        let report = Report::new(system, PATIENCE, &mut |_| ());
        let text = serde_json::to_string_pretty(&report).map_err(std::io::Error::from)?;
        writeln!(out, "{text}")?;
        report
    } else {
        writeln!(out, "quantscope {}\n\n{system}", env!("CARGO_PKG_VERSION"))?;
        let mut printed = Ok(());
        let mut seen = |device: &Diagnosis| {
            if printed.is_ok() {
                printed = write!(out, "{device}").and_then(|()| out.flush());
            }
        };
        let report = Report::new(system, PATIENCE, &mut seen);
        printed?;
        report
    };
    match report.passed {
        true if json => Ok(()),
        true => Ok(writeln!(out, "\n{}", report.conclusion())?),
        false => Err(BatchError::Doctor(report.conclusion())),
    }
}
