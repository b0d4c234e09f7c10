//! What every format would do to every tensor, measured in the background, whatever the recipe says.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Analysis, Document, Notify, Session, Task};
use crate::device::Device;
use crate::format::Format;
use crate::inspect::{FormatCell, InspectError, measure};
use crate::plan::Decision;

/// Tensors that are measured at the same time, at most: each has its chunks in memory.
const MOST_WORKERS: usize = 4;

/// An entry, a format (none for floats), and what else its numbers depend on.
type Key = (usize, Option<Format>, u64);

/// Measurements, and the work that brings them.
#[derive(Default)]
pub struct Trials {
    known: Arc<Known>,
    /// The document and plan that are measured; held, so that no other has their addresses.
    of: Option<(Arc<Document>, Arc<Analysis>)>,
    context: u64,
    task: Option<Task<()>>,
    /// Why measuring ended early.
    pub error: Option<String>,
}

/// What is known, shared with those who measure.
#[derive(Default)]
pub struct Known {
    cells: RwLock<HashMap<Key, FormatCell>>,
    /// Grows with each tensor.
    generation: AtomicU64,
    done: AtomicUsize,
    all: AtomicUsize,
}

impl Trials {
    /// Turns to the plan as it is now, and measures what is not known of it.
    pub fn update(&mut self, session: &Session) {
        if let Some(ended) = self.task.as_ref().and_then(Task::poll) {
            self.error = ended.err();
            self.task = None;
        }
        let (Some((_, document)), Some(analysis), Some(device)) =
            (&session.document, session.analysis(), &session.devices.open)
        else {
            return;
        };
        let is_known = self
            .of
            .as_ref()
            .is_some_and(|(d, a)| Arc::ptr_eq(d, document) && Arc::ptr_eq(a, analysis));
        let context = context(document, analysis, &session.devices.name);
        if (is_known && context == self.context) || analysis.is_stored {
            return;
        }
        if context != self.context {
            self.known = Arc::default();
            self.context = context;
        }
        self.of = Some((Arc::clone(document), Arc::clone(analysis)));
        self.error = None;
        let (known, document, analysis) =
            (Arc::clone(&self.known), Arc::clone(document), Arc::clone(analysis));
        let (device, notify) = (device.clone(), Arc::clone(&session.notify));
        // The one before is told to stop by being dropped.
        self.task = Some(Task::start(&session.notify, move |cancel| {
            known.fill(&document, &analysis, &device, (cancel, &notify));
        }));
    }

    /// Whether anything is being measured.
    pub const fn is_busy(&self) -> bool {
        self.task.is_some()
    }

    /// What is known.
    pub const fn known(&self) -> &Arc<Known> {
        &self.known
    }
}

/// Stands for all that numbers of single tensors depend on.
fn context(document: &Arc<Document>, analysis: &Analysis, device: &str) -> u64 {
    let plan = &analysis.plan;
    let mut hasher = DefaultHasher::new();
    (Arc::as_ptr(document), analysis.names, device).hash(&mut hasher);
    format!("{:?}", (plan.dialect, plan.search, plan.scale_dtype, plan.quotient)).hash(&mut hasher);
    hasher.finish()
}

/// Under which key an entry is known in a format. What shares a scale with others, or is filled up, depends
/// on the plan.
fn key(analysis: &Analysis, entry: usize, format: Option<Format>) -> Key {
    let plan = &analysis.plan;
    let own = match plan.entries[entry].decision {
        Decision::Quantize { format: planned, group, padded_columns, .. }
            if format == Some(planned)
                && (plan.groups[group].len() > 1 || padded_columns.is_some()) =>
        {
            analysis.keys[entry]
        }
        _ => 0,
    };
    (entry, format, own)
}

/// The entries that have a choice of formats.
pub fn entries(analysis: &Analysis) -> impl Iterator<Item = usize> {
    let is_shared = |decision: &Decision| matches!(decision, Decision::Shared { .. });
    let entries = analysis.plan.entries.iter().enumerate();
    entries
        .filter(move |(_, entry)| entry.is_quantizable() && !is_shared(&entry.decision))
        .map(|(i, _)| i)
}

impl Known {
    /// Stands for what is known.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Tensors that are done, of how many.
    pub fn progress(&self) -> (usize, usize) {
        (self.done.load(Ordering::Relaxed), self.all.load(Ordering::Relaxed))
    }

    /// The floats of an entry and what each format does to it; `None` as long as that is not measured.
    pub fn of(
        &self,
        analysis: &Analysis,
        entry: usize,
        formats: &[Format],
    ) -> Option<Vec<FormatCell>> {
        let cells = self.cells.read().unwrap_or_else(PoisonError::into_inner);
        let all = std::iter::once(None).chain(formats.iter().copied().map(Some));
        all.map(|format| cells.get(&key(analysis, entry, format)).cloned()).collect()
    }

    fn fill(
        &self,
        document: &Document,
        analysis: &Analysis,
        device: &Device,
        (cancel, notify): (&AtomicBool, &Notify),
    ) {
        let formats: Vec<Format> = analysis.plan.dialect.formats().collect();
        let all: Vec<usize> = entries(analysis).collect();
        self.all.store(all.len(), Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(&entry) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                if cancel.load(Ordering::Relaxed) {
                    return;
                }
                self.measure(document, analysis, (entry, &formats), device, cancel);
                if !cancel.load(Ordering::Relaxed) {
                    self.done.fetch_add(1, Ordering::Relaxed);
                    self.generation.fetch_add(1, Ordering::Release);
                    notify();
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..device.workers(None).min(MOST_WORKERS) {
                scope.spawn(work);
            }
            work();
        });
    }

    fn measure(
        &self,
        document: &Document,
        analysis: &Analysis,
        (entry, formats): (usize, &[Format]),
        device: &Device,
        cancel: &AtomicBool,
    ) {
        let key = |format| key(analysis, entry, format);
        let missing: Vec<Format> = {
            let cells = self.cells.read().unwrap_or_else(PoisonError::into_inner);
            let is_missing = |format: &Format| !cells.contains_key(&key(Some(*format)));
            formats.iter().copied().filter(is_missing).collect()
        };
        if missing.is_empty() {
            return;
        }
        let (plan, backend) = (&analysis.plan, device.backend.as_ref());
        let name = &plan.entries[entry].member.tensor.name;
        let checkpoint = &document.checkpoint;
        let measured = match measure(checkpoint, plan, name, &missing, backend, cancel, &mut |_| {})
        {
            Ok(cells) => cells,
            Err(InspectError::Cancelled) => return,
            Err(error) => {
                let cell = |format| FormatCell { format, outcome: Err(error.to_string()) };
                std::iter::once(None).chain(missing.iter().copied().map(Some)).map(cell).collect()
            }
        };
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        let formats = std::iter::once(None).chain(missing.into_iter().map(Some));
        for (format, cell) in formats.zip(measured) {
            cells.insert(key(format), FormatCell { format, ..cell });
        }
    }
}
