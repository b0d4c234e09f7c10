//! How far a stage is: a bar on a terminal, plain lines elsewhere, events for programs, nothing if it is
//! to be quiet.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::events::{Event, Events};
use crate::engine;
use crate::units::bytes;

/// Writes a line to standard error. That nobody reads it is no reason to fail.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Time between two events that say how far a stage is.
const EVENT_EVERY: Duration = Duration::from_millis(100);

/// Shows the progress of one stage after the other: on standard error, or as events.
pub struct Progress<'a> {
    quiet: bool,
    terminal: bool,
    events: Option<&'a Events>,
    stage: Mutex<Stage>,
    done: AtomicU64,
    all_stages: AtomicU64,
}

struct Stage {
    name: &'static str,
    total: u64,
    tenths_shown: u64,
    started: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
}

impl Stage {
    fn new(name: &'static str, total: u64, bar: Option<ProgressBar>) -> Self {
        let started = Instant::now();
        Self { name, total, tenths_shown: 0, started, told: started, bar }
    }

    /// An event that says that so much is done. What is done to a tensor is not always what it has in
    /// bytes, so it may come out as more than all.
    fn event(&self, done: u64) -> Event<'static> {
        let (stage, bytes_total, bytes_done) = (self.name, self.total, done.min(self.total));
        let seconds = self.started.elapsed().as_secs_f64().max(1e-9);
        let bytes_per_second = (bytes_done as f64 / seconds) as u64;
        Event::Progress { stage, bytes_done, bytes_total, bytes_per_second }
    }
}

impl<'a> Progress<'a> {
    /// Shows nothing if `quiet`. Where there are events, nothing goes to standard error.
    pub fn new(quiet: bool, events: Option<&'a Events>) -> Self {
        Self {
            quiet,
            terminal: events.is_none() && std::io::stderr().is_terminal(),
            events,
            stage: Mutex::new(Stage::new("", 0, None)),
            done: AtomicU64::new(0),
            all_stages: AtomicU64::new(0),
        }
    }

    /// Bytes of all stages that began.
    pub fn all_stages(&self) -> u64 {
        self.all_stages.load(Ordering::Relaxed)
    }

    /// Begins a stage of `total` bytes.
    pub fn begin(&self, name: &'static str, total: u64) {
        self.end();
        self.all_stages.fetch_add(total, Ordering::Relaxed);
        if let Some(events) = self.events {
            events.send(&Event::Stage { stage: name, bytes_total: total });
        }
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
        *self.lock() = Stage::new(name, total, bar);
    }

    /// Ends the stage and says how long it took.
    pub fn end(&self) {
        let mut stage = self.lock();
        if let Some(bar) = stage.bar.take() {
            bar.finish_and_clear();
        }
        if stage.total > 0 && !self.quiet {
            if let Some(events) = self.events {
                events.send(&stage.event(stage.total));
                stage.total = 0;
                return;
            }
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

impl engine::Progress for Progress<'_> {
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
        if let Some(events) = self.events {
            if stage.told.elapsed() >= EVENT_EVERY && done < stage.total {
                stage.told = Instant::now();
                events.send(&stage.event(done));
            }
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

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = self.lock().bar.take() {
            bar.finish_and_clear();
        }
    }
}
