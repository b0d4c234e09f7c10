//! All that has been measured of the open checkpoint, whatever the recipe was then.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::measure::{Measured, Measurement, Measuring};
use super::{Analysis, Document, Notify};
use crate::device::Device;
use crate::stats::TensorStats;

/// Measurements, and the work that brings them.
#[derive(Debug, Default)]
pub struct Measurements {
    /// In the order of the plan's entries. What quantizing does to a tensor is missing as long as only
    /// its weights have been measured.
    pub stats: Vec<Option<Arc<TensorStats>>>,
    /// Entries that cannot be measured, and why.
    pub failures: BTreeMap<usize, String>,
    /// Whether the user has asked to wait.
    pub paused: bool,
    /// Why measuring ended early.
    pub error: Option<String>,
    /// By what they depend on: a recipe that comes back finds them.
    known: HashMap<u64, Arc<TensorStats>>,
    failed: HashMap<u64, String>,
    /// Weights alone, by the tensor's name.
    weights: HashMap<String, Arc<TensorStats>>,
    /// By entries: whether a measurement is missing.
    missing: Vec<bool>,
    measuring: Option<Measuring>,
}

impl Measurements {
    /// Nothing is measured yet.
    pub fn new(paused: bool) -> Self {
        Self { paused, ..Self::default() }
    }

    /// Turns to another plan: takes what is known of it.
    pub fn turn_to(&mut self, analysis: &Analysis) {
        self.measuring = None;
        self.error = None;
        self.failures.clear();
        self.stats = vec![None; analysis.keys.len()];
        self.missing = vec![false; analysis.keys.len()];
        for (i, entry) in analysis.plan.entries.iter().enumerate() {
            let key = analysis.keys[i];
            if let Some(stats) = self.known.get(&key) {
                self.stats[i] = Some(Arc::clone(stats));
            } else if let Some(why) = self.failed.get(&key) {
                self.failures.insert(i, why.clone());
            } else if entry.member.tensor.float_kind().is_some() {
                self.stats[i] = self.weights.get(&entry.member.tensor.name).cloned();
                self.missing[i] = true;
            }
        }
    }

    /// Lets what could not be measured be tried again.
    pub fn forget_failures(&mut self) {
        self.failed.clear();
        for entry in std::mem::take(&mut self.failures).into_keys() {
            self.missing[entry] = true;
        }
    }

    /// Begins to measure what is not known of the plan that was turned to.
    pub fn begin(
        &mut self,
        notify: &Notify,
        document: &Arc<Document>,
        analysis: &Arc<Analysis>,
        device: &Device,
    ) {
        let is_missing = |i: &usize| self.missing[*i] && !self.failures.contains_key(i);
        let units = analysis.units.iter().enumerate();
        let units: Vec<usize> =
            units.filter(|(_, unit)| unit.iter().any(is_missing)).map(|(n, _)| n).collect();
        self.measuring = None;
        if !units.is_empty() {
            // Growing them later would take longer than a frame.
            let missing = self.missing.iter().filter(|missing| **missing).count();
            self.known.reserve(missing);
            self.weights.reserve(missing.saturating_sub(self.weights.len()));
            let (document, analysis) = (Arc::clone(document), Arc::clone(analysis));
            let measuring = Measuring::start(notify, document, analysis, device.clone(), units);
            measuring.pause(self.paused);
            self.measuring = Some(measuring);
        }
    }

    /// Takes what has been measured; whether there was anything.
    pub fn poll(&mut self, analysis: &Analysis) -> bool {
        let Some(measuring) = &self.measuring else { return false };
        // Asked first: what ends has sent all its news before.
        let ended = measuring.ended();
        let news = measuring.news();
        let any = !news.is_empty() || ended.is_some();
        for measured in news {
            match measured {
                Measured::Stats(stats) => {
                    stats.into_iter().for_each(|measurement| self.take(analysis, measurement));
                }
                Measured::Failed(entries, why) => {
                    for i in entries {
                        self.failed.insert(analysis.keys[i], why.clone());
                        self.failures.insert(i, why.clone());
                    }
                }
            }
        }
        if let Some(result) = ended {
            self.error = result.err();
            self.measuring = None;
        }
        any
    }

    fn take(&mut self, analysis: &Analysis, measurement: Measurement) {
        let Measurement { entry, name, stats, weights } = measurement;
        self.weights.insert(name, weights);
        self.known.insert(analysis.keys[entry], Arc::clone(&stats));
        self.stats[entry] = Some(stats);
        self.missing[entry] = false;
    }

    /// Says which entries are on screen.
    pub fn want(&self, entries: &[usize]) {
        if let Some(measuring) = &self.measuring {
            measuring.want(entries);
        }
    }

    /// Waits, or goes on.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
        if let Some(measuring) = &self.measuring {
            measuring.pause(paused);
        }
    }

    /// Bytes that are measured, of how many; `None` if nothing is left to measure.
    pub fn progress(&self) -> Option<(u64, u64)> {
        let measuring = self.measuring.as_ref()?;
        Some((measuring.done_bytes().min(measuring.total_bytes), measuring.total_bytes))
    }
}
