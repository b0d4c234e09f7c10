//! What a run shows of its results: text for people, and the same as events for programs.

use std::io::{BufWriter, Write};

use super::events::Event;
use super::{Batch, BatchError, progress};
use crate::device::Device;
use crate::export::verify::Verification;
use crate::plan::{Finding, Plan};
use crate::report::{GroupBy, Report, Row, TextTable, grouped, ordered, rows, terminal};
use crate::stats::TensorStats;
use crate::units;

/// Bytes that are printed at once.
const OUTPUT_BYTES: usize = 64 << 10;

impl Batch<'_> {
    /// Tells programs what happens.
    pub(super) fn tell(&self, event: &Event<'_>) {
        if let Some(events) = self.events {
            events.send(event);
        }
    }

    /// Opens the device, and says why it is not the one that there is.
    pub(super) fn device(&self) -> Result<Device, BatchError> {
        let device = Device::open(&self.args.device)?;
        let refused = device.refused.as_ref().map(ToString::to_string);
        if let Some(error) = &refused {
            progress::say(&format!("device    {error}"));
        }
        self.tell(&Event::Device { name: device.backend.name(), refused });
        self.devices.borrow_mut().push(device.clone());
        Ok(device)
    }

    /// Says what devices did not do as they should.
    pub(super) fn show_notices(&self) {
        for device in &*self.devices.borrow() {
            self.warn(&device.backend.notices());
        }
    }

    /// Says what was not as it should be, and did not matter.
    pub(super) fn warn(&self, notices: &[String]) {
        for message in notices {
            match self.events {
                Some(events) => events.send(&Event::Notice { message }),
                None => progress::say(&format!("warning: {message}")),
            }
        }
    }

    pub(super) fn show_device(&self, name: &str, out: &mut dyn Write) -> Result<(), BatchError> {
        if !self.args.quiet {
            writeln!(out, "device    {name}")?;
        }
        Ok(())
    }

    /// Prints findings.
    pub(super) fn list(&self, findings: &[Finding], out: &mut dyn Write) -> Result<(), BatchError> {
        findings.iter().for_each(|finding| self.tell(&Event::finding(finding)));
        self.found.set(self.found.get() + findings.len() as u64);
        Ok(write!(out, "{}", terminal::findings(findings))?)
    }

    /// Prints findings; with `--strict` any is a failure.
    pub(super) fn show_findings(
        &self,
        findings: &[Finding],
        out: &mut dyn Write,
    ) -> Result<(), BatchError> {
        self.list(findings, out)?;
        self.strict(findings)
    }

    /// With `--strict` any finding is a failure.
    pub(super) fn strict(&self, findings: &[Finding]) -> Result<(), BatchError> {
        if self.args.strict && !findings.is_empty() {
            return Err(BatchError::Findings(units::count(findings.len() as u64, "finding")));
        }
        Ok(())
    }

    /// Prints an empty line.
    pub(super) fn line(&self, out: &mut dyn Write) -> Result<(), BatchError> {
        if !self.args.quiet {
            writeln!(out)?;
        }
        Ok(())
    }

    /// Prints the gate table.
    pub(super) fn show_gate(
        &self,
        verification: &Verification,
        out: &mut dyn Write,
    ) -> Result<(), BatchError> {
        verification.checks.iter().for_each(|check| self.tell(&Event::check(check)));
        if !self.args.quiet || !verification.passed() {
            writeln!(out, "{}", terminal::verification(verification))?;
        }
        Ok(())
    }

    pub(super) fn show_stats(
        &self,
        plan: &Plan,
        stats: &[Option<TensorStats>],
        default: GroupBy,
        out: &mut dyn Write,
    ) -> Result<(), BatchError> {
        // A filter is about tensors, unless it is said what else rows are.
        let default = if self.args.filter.is_some() { GroupBy::None } else { default };
        let by = self.args.group_by.unwrap_or(default);
        let has_groups = matches!(by, GroupBy::Layer | GroupBy::Role);
        let table = |rows: &[Row]| terminal::stats_table(rows, has_groups);
        if !self.args.quiet {
            self.show_table(grouped(rows(plan, stats), by), table, out)?;
        }
        Ok(())
    }

    /// Prints a table of the chosen rows, and with a filter how many these are; gives these rows.
    pub(super) fn show_table(
        &self,
        rows: Vec<Row>,
        table: impl Fn(&[Row]) -> TextTable,
        out: &mut dyn Write,
    ) -> Result<Vec<Row>, BatchError> {
        let all = rows.len() as u64;
        let chosen = self.chosen(rows);
        if self.args.quiet || self.events.is_some() {
            return Ok(chosen);
        }
        if let Some(filter) = &self.args.filter {
            let (all, filter) = (units::count(all, "row"), filter.to_string());
            writeln!(out, "filter    {} of {all}: {}", chosen.len(), units::name(&filter))?;
        }
        // A terminal's output is flushed at every end of a line.
        let mut out = BufWriter::with_capacity(OUTPUT_BYTES, out);
        writeln!(out, "\n{}", table(&chosen))?;
        out.flush()?;
        Ok(chosen)
    }

    /// The rows that --filter leaves, as --sort has them.
    fn chosen(&self, rows: Vec<Row>) -> Vec<Row> {
        ordered(rows, &self.args.filter.clone().unwrap_or_default(), self.args.sort)
    }

    pub(super) fn write_report(
        &self,
        plan: &Plan,
        device: Option<&str>,
        stats: &[Option<TensorStats>],
        findings: &[Finding],
        verification: Option<&Verification>,
    ) -> Result<(), BatchError> {
        if self.args.report.is_none() {
            return Ok(());
        }
        self.report(plan, device, &self.chosen(rows(plan, stats)), findings, verification)
    }

    /// Writes a report of the chosen rows, if one is wanted.
    pub(super) fn report(
        &self,
        plan: &Plan,
        device: Option<&str>,
        rows: &[Row],
        findings: &[Finding],
        verification: Option<&Verification>,
    ) -> Result<(), BatchError> {
        let Some(file) = &self.args.report else { return Ok(()) };
        let report = Report {
            checkpoint: self.args.checkpoint().display().to_string(),
            plan,
            device: device.map(str::to_owned),
            rows,
            findings,
            verification,
        };
        Ok(report.write(file)?)
    }
}
