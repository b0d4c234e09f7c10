//! The headless program: arguments, run, exit codes.

mod args;
mod command_line;
mod dequantize;
mod doctor;
mod end;
mod error;
mod events;
mod exit;
mod export;
mod progress;
mod repair;
mod show;
mod size;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub use args::{Args, Command, Mode, UsageError};
pub use command_line::{Call, Link, RECIPE_FILE, command_line, link};
pub use end::{fail, parse};
pub use error::BatchError;
pub use events::{Events, SCHEMA};
pub use exit::Exit;
pub use size::{exact as size_text, parse as parse_size};

use crate::checkpoint::Checkpoint;
use crate::device::Device;
use crate::engine::{Resources, Run, tie_matters};
use crate::export::verify::Opened;
use crate::export::{check_start, contains, is_model, run_findings};
use crate::model::Model;
use crate::plan::{Plan, second_table_bytes, tie_outcomes};
use crate::quantized::settle_tie;
use crate::report::{GroupBy, check_file, formats, rows, terminal, tie_text};
use crate::units;
use end::{WhileRead, done, fail_with};
use events::Event;
use progress::Progress;

/// Does what the arguments say and gives the exit code. Results go to standard output, progress
/// and errors to standard error; with `--json` there are events on standard output instead.
pub fn main(args: &Args) -> ExitCode {
    if let Some(Command::Doctor { json }) = args.command {
        let ended = doctor::doctor(json, &mut WhileRead(std::io::stdout().lock()));
        return ended.map_or_else(|error| fail(&error), |()| Exit::Done.into());
    }
    let cancel = Arc::new(AtomicBool::new(false));
    let on_signal = Arc::clone(&cancel);
    // Without a handler a signal still ends the program, only less tidily.
    let _ = ctrlc::set_handler(move || {
        if on_signal.swap(true, Ordering::Relaxed) {
            // Asked twice: at once, whatever is left behind.
            std::process::exit(Exit::Stopped.code().into());
        }
    });

    if !args.json {
        let ended = run(args, &cancel, None, &mut WhileRead(std::io::stdout().lock()));
        return ended.map_or_else(|error| fail(&error), |()| Exit::Done.into());
    }
    let events = Events::default();
    let ended = run(args, &cancel, Some(&events), &mut std::io::sink());
    let ended = ended.and_then(|()| Ok(events.end()?));
    ended.map_or_else(|error| fail_with(&error, &events), |()| Exit::Done.into())
}

/// The same with a flag that stops the run, events if they are wanted, and a place for results.
///
/// # Errors
/// Whatever ended the run; what it had begun to write is gone.
pub fn run(
    args: &Args,
    cancel: &AtomicBool,
    events: Option<&Events>,
    out: &mut dyn Write,
) -> Result<(), BatchError> {
    if args.formats {
        return Ok(writeln!(out, "{}", formats())?);
    }
    if !args.batch {
        return Err(UsageError::NoWindow.into());
    }
    let (mode, begun) = (args.mode()?, Instant::now());
    let progress = Progress::new(args.quiet, events);
    let (found, devices) = Default::default();
    let batch = Batch { args, cancel, progress, events, found, devices };
    batch.tell(&Event::start(args, mode));
    if let Some(report) = &args.report {
        check_file(report, args.checkpoint(), mode.out().map(PathBuf::as_path))?;
    }
    let ended = match mode {
        Mode::Verify => batch.verify(out),
        Mode::Dequantize { out: folder } => batch.dequantize(folder, out),
        Mode::Repair { out: folder } => batch.repair(folder, out),
        _ => batch.quantize(mode, out),
    };
    batch.show_notices();
    let written = ended?;
    let written = mode.out().filter(|_| written).map(PathBuf::as_path);
    let (found, bytes) = (batch.found.get(), batch.progress.all_stages());
    if batch.events.is_some() {
        batch.tell(&done(args, written, found, bytes, begun));
    }
    Ok(())
}

/// One run of the program.
struct Batch<'a> {
    args: &'a Args,
    cancel: &'a AtomicBool,
    progress: Progress<'a>,
    /// Where programs are told what happens.
    events: Option<&'a Events>,
    /// How many findings there were.
    found: Cell<u64>,
    /// The devices that were opened.
    devices: RefCell<Vec<Device>>,
}

impl Batch<'_> {
    /// What begins with floats; gives whether a checkpoint was written.
    fn quantize(&self, mode: Mode<'_>, out: &mut dyn Write) -> Result<bool, BatchError> {
        let recipe = self.args.recipe()?;
        if recipe.formats().next().is_none() && matches!(mode, Mode::Export { .. }) {
            return Err(UsageError::NoFormat.into());
        }
        let checkpoint = Checkpoint::open(self.args.checkpoint())?;
        if mode == Mode::Stats
            && recipe.format.is_none()
            && checkpoint.existing_quantization().is_some()
        {
            self.stats_of_quantized(&checkpoint, out)?;
            return Ok(false);
        }
        if let Mode::Export { out: folder } = mode {
            if let Some(recipe) =
                self.args.recipe.as_deref().filter(|recipe| contains(folder, recipe))
            {
                return Err(UsageError::RecipeInOut { recipe: recipe.to_owned() }.into());
            }
            check_start(folder, &checkpoint.path, self.args.overwrite, self.args.resume)?;
        }
        let dialect = recipe.dialect_for(&checkpoint);
        let mut model = Model::new(&checkpoint, dialect.fused_experts());
        let sharding = self.args.sharding();
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
        self.tell(&Event::plan(&plan));
        drop(model);
        if mode == Mode::DryRun {
            // The plan says all that the table does.
            drop(checkpoint);
            // The plan is what one needs to see then.
            self.list(&plan.findings, out)?;
            self.dry_run(&plan, out)?;
            self.strict(&plan.findings)?;
            return Ok(false);
        }
        self.show_findings(&plan.findings, out)?;
        match mode {
            Mode::Export { out: folder } => self
                .export(&checkpoint, &plan, folder, out)
                .map_err(|error| self.or_left(error, folder)),
            _ => self.stats(&checkpoint, &plan, out).map(|()| false),
        }
    }

    fn resources<'b>(&'b self, device: &'b Device) -> Resources<'b> {
        let workers = device.workers(self.args.threads);
        let backend = device.backend.as_ref();
        Resources { backend, workers, progress: &self.progress, cancel: self.cancel }
    }

    fn dry_run(&self, plan: &Plan, out: &mut dyn Write) -> Result<(), BatchError> {
        if self.args.quiet && self.args.report.is_none() {
            return Ok(());
        }
        let rows = self.show_table(rows(plan, &[]), terminal::plan_table, out)?;
        self.report(plan, None, &rows, &plan.findings, None)
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

    fn verify(&self, out: &mut dyn Write) -> Result<bool, BatchError> {
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
        self.show_gate(&verification, out)?;
        if verification.passed() { Ok(false) } else { Err(BatchError::Unverified) }
    }
}
