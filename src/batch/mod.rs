//! The headless program: arguments, run, exit codes.

mod args;
mod command_line;
mod dequantize;
mod error;
mod exit;
mod export;
mod progress;
mod repair;
mod size;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use args::{Args, Mode, UsageError};
pub use command_line::{Call, Link, RECIPE_FILE, command_line, link};
pub use error::BatchError;
pub use exit::Exit;
pub use size::{exact as size_text, parse as parse_size};

use crate::checkpoint::Checkpoint;
use crate::device::Device;
use crate::engine::{Resources, Run, tie_matters};
use crate::export::verify::{Opened, Verification};
use crate::export::{check_target, is_model, run_findings};
use crate::model::Model;
use crate::plan::{Finding, Plan, Sharding, second_table_bytes, tie_outcomes};
use crate::quantized::settle_tie;
use crate::report::{
    GroupBy, Report, Row, check_file, formats, grouped, ordered, rows, terminal, tie_text,
};
use crate::stats::TensorStats;
use crate::units;
use progress::Progress;

/// Does what the arguments say and gives the exit code. Results go to standard output, progress
/// and errors to standard error.
pub fn main(args: &Args) -> ExitCode {
    let cancel = Arc::new(AtomicBool::new(false));
    let on_signal = Arc::clone(&cancel);
    // Without a handler a signal still ends the program, only less tidily.
    let _ = ctrlc::set_handler(move || {
        if on_signal.swap(true, Ordering::Relaxed) {
            // Asked twice: at once, whatever is left behind.
            std::process::exit(Exit::Stopped.code().into());
        }
    });

    match run(args, &cancel, &mut WhileRead(std::io::stdout().lock())) {
        Ok(()) => Exit::Done.into(),
        Err(error) => fail(&error),
    }
}

/// Says what went wrong, and gives the exit code.
pub fn fail(error: &BatchError) -> ExitCode {
    progress::say(&format!("error: {error}"));
    error.exit().into()
}

/// The same with a place for results and a flag that stops the run.
pub fn run(args: &Args, cancel: &AtomicBool, out: &mut dyn Write) -> Result<(), BatchError> {
    if args.formats {
        return Ok(writeln!(out, "{}", formats())?);
    }
    if !args.batch {
        return Err(UsageError::NoWindow.into());
    }
    let mode = args.mode()?;
    if let Some(report) = &args.report {
        check_file(report, args.checkpoint())?;
    }
    let batch = Batch { args, cancel, progress: Progress::new(args.quiet) };
    match mode {
        Mode::Verify => batch.verify(out),
        Mode::Dequantize { out: folder } => batch.dequantize(folder, out),
        Mode::Repair { out: folder } => batch.repair(folder, out),
        _ => batch.quantize(mode, out),
    }
}

/// Takes what is printed even when nobody reads it any more, as after `| head`: the work is to be
/// finished all the same.
struct WhileRead<W>(W);

impl<W: Write> Write for WhileRead<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.write(bytes) {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self.0.flush() {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}

/// One run of the program.
struct Batch<'a> {
    args: &'a Args,
    cancel: &'a AtomicBool,
    progress: Progress,
}

impl Batch<'_> {
    fn quantize(&self, mode: Mode<'_>, out: &mut dyn Write) -> Result<(), BatchError> {
        let recipe = self.args.recipe()?;
        if recipe.formats().next().is_none() && matches!(mode, Mode::Export { .. }) {
            return Err(UsageError::NoFormat.into());
        }
        let checkpoint = Checkpoint::open(self.args.checkpoint())?;
        if mode == Mode::Stats
            && recipe.format.is_none()
            && checkpoint.existing_quantization().is_some()
        {
            return self.stats_of_quantized(&checkpoint, out);
        }
        if let Mode::Export { out: folder } = mode {
            check_target(folder, &checkpoint.path, self.args.overwrite)?;
        }
        let dialect = recipe.dialect_for(&checkpoint);
        let mut model = Model::new(&checkpoint, dialect.fused_experts());
        let sharding = self.args.max_shard_size.map_or(Sharding::AsSource, Sharding::AtMost);
        let mut plan = Plan::new(&model, &recipe, dialect, sharding)?;
        if mode != Mode::DryRun && tie_matters(&plan) {
            let device = self.device()?;
            self.progress.begin("compare", 0);
            let settled = settle_tie(&model, &plan, &self.resources(&device))?;
            self.progress.end();
            if settled != model.tie {
                model.tie = settled;
                plan = Plan::new(&model, &recipe, dialect, sharding)?;
            }
        }
        if let Mode::Export { out: file } = mode
            && is_model(file)
            && let Some(name) = file.file_name()
        {
            // Its files have other names then, which they contain.
            plan = plan.named(&checkpoint, &name.to_string_lossy());
        }
        if !self.args.quiet {
            writeln!(out, "{}", terminal::headline(&model))?;
            let outcomes = tie_outcomes(&model, &recipe, &plan);
            let is_tied =
                || (!outcomes.is_empty()).then(|| "embedding and head are one".to_owned());
            if let Some(tie) = tie_text(&model).or_else(is_tied) {
                writeln!(out, "tie       {tie}")?;
            }
            let outcome =
                |(label, bytes): &(String, u64)| format!("{label} {}", units::bytes(*bytes));
            if !outcomes.is_empty() {
                let outcomes: Vec<String> = outcomes.iter().map(outcome).collect();
                let less = second_table_bytes(&model, &recipe, &plan)
                    .map_or_else(String::new, |bytes| {
                        format!(" ({} less than two)", units::bytes(bytes))
                    });
                writeln!(out, "          {}{less}", outcomes.join(" · "))?;
            }
            if recipe.format.is_some() {
                write!(out, "{}", terminal::summary(&plan))?;
            }
        }
        if mode == Mode::DryRun {
            // The plan is what one needs to see then.
            write!(out, "{}", terminal::findings(&plan.findings))?;
            self.dry_run(&plan, out)?;
            return self.strict(&plan.findings);
        }
        self.show_findings(&plan.findings, out)?;
        match mode {
            Mode::Export { out: folder } => self.export(&checkpoint, &plan, folder, out),
            _ => self.stats(&checkpoint, &plan, out),
        }
    }

    fn device(&self) -> Result<Device, BatchError> {
        let device = Device::open(&self.args.device)?;
        if let Some(error) = &device.refused {
            progress::say(&format!("device    {error}"));
        }
        Ok(device)
    }

    fn resources<'b>(&'b self, device: &'b Device) -> Resources<'b> {
        let workers = device.workers(self.args.threads);
        let backend = device.backend.as_ref();
        Resources { backend, workers, progress: &self.progress, cancel: self.cancel }
    }

    fn dry_run(&self, plan: &Plan, out: &mut dyn Write) -> Result<(), BatchError> {
        self.show_table(&rows(plan, &[]), terminal::plan_table, out)?;
        self.write_report(plan, None, &[], &plan.findings, None)
    }

    fn stats(
        &self,
        checkpoint: &Checkpoint,
        plan: &Plan,
        out: &mut dyn Write,
    ) -> Result<(), BatchError> {
        let device = self.device()?;
        self.show_device(device.backend.name(), out)?;
        self.progress
            .begin("measure", plan.entries.iter().map(|entry| entry.member.tensor.bytes).sum());
        let resources = self.resources(&device);
        let stats = Run { checkpoint, plan, sink: None, resources }.execute()?;
        self.progress.end();
        let found = run_findings(plan, &stats);
        self.show_findings(&found, out)?;
        self.show_stats(plan, &stats, GroupBy::None, out)?;
        let findings = [plan.findings.clone(), found].concat();
        self.write_report(plan, Some(device.backend.name()), &stats, &findings, None)
    }

    fn verify(&self, out: &mut dyn Write) -> Result<(), BatchError> {
        let source = self.args.against.as_deref().map(Checkpoint::open).transpose()?;
        let device = self.device()?;
        let opened = Opened::new(self.args.checkpoint(), source.as_ref())?;
        self.show_device(device.backend.name(), out)?;
        self.progress.begin("verify", opened.bytes());
        let verification = opened.verify(&self.resources(&device))?;
        self.progress.end();
        if !self.args.quiet && !verification.errors.is_empty() {
            writeln!(out, "{}\n", terminal::layer_errors(&verification))?;
        }
        if !self.args.quiet || !verification.passed() {
            writeln!(out, "{}", terminal::verification(&verification))?;
        }
        if verification.passed() { Ok(()) } else { Err(BatchError::Unverified) }
    }

    fn show_device(&self, name: &str, out: &mut dyn Write) -> Result<(), BatchError> {
        if !self.args.quiet {
            writeln!(out, "device    {name}")?;
        }
        Ok(())
    }

    /// Prints findings; with `--strict` any is a failure.
    fn show_findings(&self, findings: &[Finding], out: &mut dyn Write) -> Result<(), BatchError> {
        write!(out, "{}", terminal::findings(findings))?;
        self.strict(findings)
    }

    /// With `--strict` any finding is a failure.
    fn strict(&self, findings: &[Finding]) -> Result<(), BatchError> {
        if self.args.strict && !findings.is_empty() {
            return Err(BatchError::Findings(units::count(findings.len() as u64, "finding")));
        }
        Ok(())
    }

    fn show_stats(
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
        self.show_table(&grouped(rows(plan, stats), by), table, out)
    }

    /// Prints a table of the chosen rows, and with a filter how many these are.
    fn show_table(
        &self,
        rows: &[Row],
        table: impl Fn(&[Row]) -> String,
        out: &mut dyn Write,
    ) -> Result<(), BatchError> {
        if self.args.quiet {
            return Ok(());
        }
        let chosen = self.chosen(rows);
        if let Some(filter) = &self.args.filter {
            let (all, filter) = (units::count(rows.len() as u64, "row"), filter.to_string());
            writeln!(out, "filter    {} of {all}: {}", chosen.len(), units::name(&filter))?;
        }
        Ok(writeln!(out, "\n{}", table(&chosen))?)
    }

    /// The rows that --filter leaves, as --sort has them.
    fn chosen(&self, rows: &[Row]) -> Vec<Row> {
        ordered(rows, &self.args.filter.clone().unwrap_or_default(), self.args.sort)
    }

    fn write_report(
        &self,
        plan: &Plan,
        device: Option<&str>,
        stats: &[Option<TensorStats>],
        findings: &[Finding],
        verification: Option<&Verification>,
    ) -> Result<(), BatchError> {
        let Some(file) = &self.args.report else { return Ok(()) };
        let report = Report {
            checkpoint: self.args.checkpoint().display().to_string(),
            plan,
            device: device.map(str::to_owned),
            rows: &self.chosen(&rows(plan, stats)),
            findings,
            verification,
        };
        Ok(report.write(file)?)
    }
}
