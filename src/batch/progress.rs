//! How far a stage is: a bar on a terminal, plain lines elsewhere, nothing if it is to be quiet.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::engine;
use crate::units::bytes;

/// Writes a line to standard error. That nobody reads it is no reason to fail.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Shows the progress of one stage after the other, on standard error.
pub struct Progress {
    quiet: bool,
    terminal: bool,
    stage: Mutex<Stage>,
    done: AtomicU64,
}

struct Stage {
    name: &'static str,
    total: u64,
    tenths_shown: u64,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Shows nothing if `quiet`.
    pub fn new(quiet: bool) -> Self {
        let stage =
            Stage { name: "", total: 0, tenths_shown: 0, started: Instant::now(), bar: None };
        Self {
            quiet,
            terminal: std::io::stderr().is_terminal(),
            stage: Mutex::new(stage),
            done: AtomicU64::new(0),
        }
    }

    /// Begins a stage of `total` bytes.
    pub fn begin(&self, name: &'static str, total: u64) {
        self.end();
        if self.quiet {
            return;
        }
        let bar = self.terminal.then(|| {
            let style = ProgressStyle::with_template(
                "{msg:<9} [{bar:30}] {binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
            );
            let bar = ProgressBar::new(total).with_message(name);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
            bar
        });
        self.done.store(0, Ordering::Relaxed);
        *self.lock() = Stage { name, total, tenths_shown: 0, started: Instant::now(), bar };
    }

    /// Ends the stage and says how long it took.
    pub fn end(&self) {
        let mut stage = self.lock();
        if let Some(bar) = stage.bar.take() {
            bar.finish_and_clear();
        }
        if stage.total > 0 && !self.quiet {
            let seconds = stage.started.elapsed().as_secs_f64();
            let rate = bytes((stage.total as f64 / seconds.max(1e-9)) as u64);
            let (name, total) = (stage.name, bytes(stage.total));
            say(&format!("{name:<9} {total} in {seconds:.1} s, {rate}/s"));
            stage.total = 0;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl engine::Progress for Progress {
    fn add(&self, done: u64) {
        if self.quiet {
            return;
        }
        let done = self.done.fetch_add(done, Ordering::Relaxed) + done;
        let mut stage = self.lock();
        if let Some(bar) = &stage.bar {
            bar.set_position(done);
            return;
        }
        // Lines for a log: one for each tenth, once a stage takes long enough to be waited for.
        let tenths = done * 10 / stage.total.max(1);
        let seconds = stage.started.elapsed().as_secs_f64();
        if tenths > stage.tenths_shown && seconds > 2.0 && done < stage.total {
            stage.tenths_shown = tenths;
            let rate = done as f64 / seconds;
            let left = (stage.total - done) as f64 / rate;
            let (name, of, rate) = (stage.name, bytes(stage.total), bytes(rate as u64));
            say(&format!("{name:<9} {} of {of}, {rate}/s, {left:.0} s left", bytes(done)));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.lock().bar.take() {
            bar.finish_and_clear();
        }
    }
}
