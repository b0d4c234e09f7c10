//! An export, or a verification, in the background.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::{Analysis, Document, Notify, Task};
use crate::checkpoint::Checkpoint;
use crate::device::Device;
use crate::engine::{self, EngineError, Resources, Run};
use crate::export::verify::{Opened, Verification};
use crate::export::{ExportError, Exported, NotExported, Options, Stage, export, unfinished};

/// What an export, or a verification, brought.
#[derive(Debug)]
pub enum Outcome {
    /// The checkpoint is written and verified.
    Exported(Box<Done>),
    /// A checkpoint was verified; the gate says how that went.
    Verified(Verification),
    /// What was written did not pass the gate, and was removed.
    Refused(Verification),
    /// It was stopped; what is done is in this folder, if it is to be gone on with.
    Stopped(Option<PathBuf>),
    /// It failed, for this reason.
    Failed(String),
}

/// An export, as it was begun, whatever the recipe has become since.
#[derive(Debug)]
pub struct Done {
    /// What it did.
    pub exported: Exported,
    /// What it was of.
    pub analysis: Arc<Analysis>,
    /// Where it is.
    pub out: PathBuf,
    /// What computed it.
    pub device: String,
}

/// Work that is under way.
#[derive(Debug)]
pub struct Exporting {
    task: Task<Outcome>,
    progress: Arc<Stages>,
}

/// How far one stage is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageProgress {
    /// What it does.
    pub stage: Stage,
    /// Bytes that are done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
    /// How long it has taken so far.
    pub seconds: f64,
}

impl StageProgress {
    /// The part of it that is done, 0 to 1.
    pub fn fraction(&self) -> f32 {
        (self.done as f64 / self.total.max(1) as f64).min(1.0) as f32
    }

    /// Bytes a second.
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.seconds.max(1e-9)
    }

    /// Seconds that are left at the rate so far; `None` as long as nothing is done.
    pub fn seconds_left(&self) -> Option<f64> {
        let left = self.total.saturating_sub(self.done);
        (self.done > 0).then(|| left as f64 / self.rate())
    }
}

/// The stages so far, the last of which is under way.
#[derive(Debug, Default)]
struct Stages {
    ended: Mutex<Vec<StageProgress>>,
    current: Mutex<Option<(Stage, u64, Instant)>>,
    done: AtomicU64,
}

impl engine::Progress for Stages {
    fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Stages {
    fn begin(&self, stage: Stage, total: u64) {
        self.end();
        self.done.store(0, Ordering::Relaxed);
        *lock(&self.current) = Some((stage, total, Instant::now()));
    }

    fn end(&self) {
        let now = self.now();
        lock(&self.ended).extend(now);
        *lock(&self.current) = None;
    }

    fn now(&self) -> Option<StageProgress> {
        let (stage, total, started) = (*lock(&self.current))?;
        let done = self.done.load(Ordering::Relaxed);
        Some(StageProgress { stage, done, total, seconds: started.elapsed().as_secs_f64() })
    }
}

impl Exporting {
    /// Begins to write the checkpoint that an analysis plans.
    pub fn export(
        notify: &Notify,
        document: Arc<Document>,
        analysis: Arc<Analysis>,
        device: Device,
        (out, overwrite, resume): (PathBuf, bool, bool),
    ) -> Self {
        Self::start(notify, move |stages, cancel| {
            let resources = resources(&device, stages, cancel);
            let (checkpoint, plan) = (&document.checkpoint, &analysis.plan);
            let run = Run { checkpoint, plan, sink: None, resources };
            let options = Options { out: &out, overwrite, strict: false, sync: true, resume };
            match export(&run, &options, &|stage, total| stages.begin(stage, total)) {
                Ok(exported) => {
                    let device = device.backend.name().to_owned();
                    let (analysis, out) = (Arc::clone(&analysis), out.clone());
                    Outcome::Exported(Box::new(Done { exported, analysis, out, device }))
                }
                Err(NotExported::Refused(verification)) => Outcome::Refused(*verification),
                Err(NotExported::Failed(ExportError::Engine(EngineError::Cancelled))) => {
                    Outcome::Stopped(unfinished(&out, None).filter(|_| resume))
                }
                Err(NotExported::Failed(error)) => Outcome::of_error(&error),
                Err(error) => Outcome::Failed(error.to_string()),
            }
        })
    }

    /// Begins to verify a quantized checkpoint, against its source if that is given.
    pub fn verify(
        notify: &Notify,
        path: PathBuf,
        against: Option<PathBuf>,
        device: Device,
    ) -> Self {
        Self::start(notify, move |stages, cancel| {
            let resources = resources(&device, stages, cancel);
            match verify(&path, against.as_deref(), stages, &resources) {
                Ok(verification) => Outcome::Verified(verification),
                Err(error) => Outcome::of_error(&error),
            }
        })
    }

    fn start(
        notify: &Notify,
        work: impl FnOnce(&Stages, &AtomicBool) -> Outcome + Send + 'static,
    ) -> Self {
        let progress = Arc::new(Stages::default());
        let stages = Arc::clone(&progress);
        let task = Task::start(notify, move |cancel| {
            let outcome = work(&stages, cancel);
            stages.end();
            outcome
        });
        Self { task, progress }
    }

    /// The stages so far; the last is under way.
    pub fn stages(&self) -> Vec<StageProgress> {
        let ended = lock(&self.progress.ended).clone();
        ended.into_iter().chain(self.progress.now()).collect()
    }

    /// Asks it to stop.
    pub fn cancel(&self) {
        self.task.cancel();
    }

    /// What it brought, once.
    pub fn outcome(&self) -> Option<Outcome> {
        Some(self.task.poll()?.unwrap_or_else(Outcome::Failed))
    }
}

impl Outcome {
    fn of_error(error: &ExportError) -> Self {
        match error {
            ExportError::Engine(EngineError::Cancelled) => Self::Stopped(None),
            error => Self::Failed(error.to_string()),
        }
    }
}

fn verify(
    path: &Path,
    against: Option<&Path>,
    stages: &Stages,
    resources: &Resources<'_>,
) -> Result<Verification, ExportError> {
    let source = against.map(Checkpoint::open).transpose()?;
    let opened = Opened::new(path, source.as_ref())?;
    stages.begin(Stage::Verify, opened.bytes());
    opened.verify(resources)
}

fn resources<'a>(device: &'a Device, stages: &'a Stages, cancel: &'a AtomicBool) -> Resources<'a> {
    let (backend, workers) = (device.backend.as_ref(), device.workers(None));
    Resources { backend, workers, progress: stages, cancel }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
