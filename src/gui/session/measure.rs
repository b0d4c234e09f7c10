//! Measuring in the background: what is on screen first, then the rest in the order of files.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Analysis, Document, Notify, Task};
use crate::device::Device;
use crate::engine::{EngineError, Progress, Resources, Run};
use crate::quantized;
use crate::stats::TensorStats;

/// Bytes that are measured together, unless one unit has more: enough to keep all workers busy, and
/// little enough that what comes on screen need not wait.
const BATCH_BYTES: u64 = 32 << 20;

/// What one batch brought.
#[derive(Debug)]
pub enum Measured {
    /// Measurements of entries.
    Stats(Vec<Measurement>),
    /// Entries that cannot be measured, and why.
    Failed(Vec<usize>, String),
}

/// What was measured of one entry, so that taking it costs the window next to nothing.
#[derive(Debug)]
pub struct Measurement {
    /// The entry of the plan.
    pub entry: usize,
    /// Its name.
    pub name: String,
    /// All that was measured.
    pub stats: Arc<TensorStats>,
    /// That of it which holds for every recipe.
    pub weights: Arc<TensorStats>,
}

impl Measurement {
    fn new(analysis: &Analysis, entry: usize, stats: TensorStats) -> Self {
        let weights =
            TensorStats { amax: stats.amax, weights: stats.weights, ..TensorStats::default() };
        Self {
            entry,
            name: analysis.plan.entries[entry].member.tensor.name.clone(),
            stats: Arc::new(stats),
            weights: Arc::new(weights),
        }
    }
}

/// Measuring that is under way.
#[derive(Debug)]
pub struct Measuring {
    task: Task<()>,
    results: Receiver<Measured>,
    shared: Arc<Shared>,
    /// Bytes to read in all.
    pub total_bytes: u64,
}

/// What window and worker share.
#[derive(Debug, Default)]
struct Shared {
    wanted: Mutex<Vec<usize>>,
    paused: AtomicBool,
    done_bytes: AtomicU64,
}

impl Progress for Shared {
    fn add(&self, bytes: u64) {
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Measuring {
    /// Begins to measure units of an analysis, which are told by their numbers.
    pub fn start(
        notify: &Notify,
        document: Arc<Document>,
        analysis: Arc<Analysis>,
        device: Device,
        units: Vec<usize>,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let (sender, results) = channel();
        let bytes = |&i: &usize| analysis.plan.entries[i].member.tensor.bytes;
        let total_bytes = units.iter().flat_map(|&n| &analysis.units[n]).map(bytes).sum();
        let (own, news) = (Arc::clone(&shared), Arc::clone(notify));
        let task = Task::start(notify, move |cancel| {
            let worker = Worker { document, analysis, device, shared: own, sender, news };
            let units = units.iter().map(|&n| worker.analysis.units[n].clone()).collect();
            worker.work(units, cancel);
        });
        Self { task, results, shared, total_bytes }
    }

    /// What has been measured since the last call.
    pub fn news(&self) -> Vec<Measured> {
        self.results.try_iter().collect()
    }

    /// Whether it has ended; an error if it broke off.
    pub fn ended(&self) -> Option<Result<(), String>> {
        self.task.poll()
    }

    /// Says which entries are on screen.
    pub fn want(&self, entries: &[usize]) {
        let mut wanted = self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if *wanted != entries {
            *wanted = entries.to_vec();
        }
    }

    /// Stops after the batch under way, or goes on.
    pub fn pause(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Relaxed);
    }

    /// Bytes that have been read.
    pub fn done_bytes(&self) -> u64 {
        self.shared.done_bytes.load(Ordering::Relaxed)
    }
}

struct Worker {
    document: Arc<Document>,
    analysis: Arc<Analysis>,
    device: Device,
    shared: Arc<Shared>,
    sender: Sender<Measured>,
    news: Notify,
}

impl Worker {
    fn work(&self, units: Vec<Vec<usize>>, cancel: &AtomicBool) {
        let unit_of: HashMap<usize, usize> = units
            .iter()
            .enumerate()
            .flat_map(|(n, unit)| unit.iter().map(move |&i| (i, n)))
            .collect();
        let mut left: Vec<Option<Vec<usize>>> = units.into_iter().map(Some).collect();
        let mut next = 0;
        while !cancel.load(Ordering::Relaxed) {
            if self.shared.paused.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            let batch = self.batch(&unit_of, &mut left, &mut next);
            if batch.is_empty() {
                return;
            }
            self.measure(&batch, cancel);
            (self.news)();
        }
    }

    /// Takes the next units: those of entries on screen, then the first of the others.
    fn batch(
        &self,
        unit_of: &HashMap<usize, usize>,
        left: &mut [Option<Vec<usize>>],
        next: &mut usize,
    ) -> Vec<Vec<usize>> {
        let wanted = self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut candidates = wanted.iter().filter_map(|entry| unit_of.get(entry).copied());
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES {
            let on_screen = candidates.find(|&n| left[n].is_some());
            let number = on_screen.unwrap_or_else(|| {
                while *next < left.len() && left[*next].is_none() {
                    *next += 1;
                }
                *next
            });
            let Some(unit) = left.get_mut(number).and_then(Option::take) else { break };
            bytes += self.bytes(&unit);
            batch.push(unit);
        }
        batch
    }

    fn bytes(&self, unit: &[usize]) -> u64 {
        unit.iter().map(|&i| self.analysis.plan.entries[i].member.tensor.bytes).sum()
    }

    /// Measures a batch; where a part of it fails, one unit after the other.
    fn measure(&self, batch: &[Vec<usize>], cancel: &AtomicBool) {
        let before = self.shared.done_bytes.load(Ordering::Relaxed);
        match self.run(batch, cancel) {
            Ok(stats) => {
                let measured = |(entry, stats)| Measurement::new(&self.analysis, entry, stats);
                self.send(Measured::Stats(stats.into_iter().map(measured).collect()));
            }
            Err(EngineError::Cancelled) => {}
            Err(_) if batch.len() > 1 => {
                self.shared.done_bytes.store(before, Ordering::Relaxed);
                for unit in batch {
                    self.measure(std::slice::from_ref(unit), cancel);
                }
            }
            Err(error) => {
                let bytes: u64 = batch.iter().map(|unit| self.bytes(unit)).sum();
                self.shared.done_bytes.store(before + bytes, Ordering::Relaxed);
                self.send(Measured::Failed(batch.concat(), error.to_string()));
            }
        }
    }

    fn run(
        &self,
        batch: &[Vec<usize>],
        cancel: &AtomicBool,
    ) -> Result<Vec<(usize, TensorStats)>, EngineError> {
        let Document { checkpoint, quantized, .. } = self.document.as_ref();
        let plan = &self.analysis.plan;
        let resources = Resources {
            backend: self.device.backend.as_ref(),
            workers: self.device.workers(None),
            progress: self.shared.as_ref(),
            cancel,
        };
        let stats = match quantized.as_ref().filter(|_| self.analysis.is_stored) {
            Some(stored) => {
                let entries = batch.concat();
                let layers = &stored.layers;
                quantized::run_entries(checkpoint, layers, plan, &entries, None, &resources)?
            }
            None => Run { checkpoint, plan, sink: None, resources }.execute_units(batch)?,
        };
        Ok(stats.into_iter().collect())
    }

    fn send(&self, measured: Measured) {
        // The window may have moved on.
        let _ = self.sender.send(measured);
    }
}
