//! From the recipe to the plan, after every change of the recipe.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::preview::Preview;
use super::task::{discard, take};
use super::{Analysis, Document, History, Notify, Task};
use crate::device::Device;
use crate::engine::{EngineError, Method, Progress, Resources, settle_tie};
use crate::model::ties::Tie;
use crate::model::{Model, Role};
use crate::plan::{Plan, Sharding};
use crate::recipe::Recipe;

/// What was found out about embedding and head, by how the table is to be quantized; under no name
/// what holds for every way.
pub type Ties = HashMap<String, Tie>;

/// The recipe, and what it makes of the checkpoint.
#[derive(Debug)]
pub struct Planning {
    /// The recipe.
    pub recipe: History<Recipe>,
    /// Bytes of a file, at most; as in the source if that is not said.
    pub max_shard_bytes: Option<u64>,
    /// What the recipe makes of the checkpoint; of the recipe before, as long as that is not there yet.
    pub analysis: Option<Arc<Analysis>>,
    /// Why there is no plan for the recipe as it is now.
    pub refused: Option<String>,
    /// The name of the last change, and by how many bytes it changed the export.
    pub last_change: Option<(String, i128)>,
    /// What follows from the last plan for which that is known.
    pub preview: Arc<Preview>,
    ties: Arc<Ties>,
    wanted: bool,
    task: Option<Task<Result<Analysis, String>>>,
    settling: Option<Task<Result<Settled, EngineError>>>,
    /// Whether embedding and head could not be compared.
    is_unsettled: bool,
    previewing: Option<Task<Preview>>,
    preview_wanted: bool,
}

/// Under which name to remember a tie, and the tie.
type Settled = (String, Tie);

impl Planning {
    /// Begins with a recipe, and with files of so many bytes at most.
    pub fn new(recipe: Recipe, max_shard_bytes: Option<u64>) -> Self {
        Self {
            recipe: History::new(recipe),
            max_shard_bytes,
            analysis: None,
            refused: None,
            last_change: None,
            preview: Arc::default(),
            ties: Arc::default(),
            wanted: true,
            task: None,
            settling: None,
            is_unsettled: false,
            previewing: None,
            preview_wanted: false,
        }
    }

    /// Asks for a plan: something that it depends on has changed.
    pub fn ask(&mut self) {
        self.wanted = true;
    }

    /// Whether a plan is being made, or embedding and head are, or have to be, compared for one.
    pub fn is_busy(&self) -> bool {
        self.wanted || self.task.is_some() || self.settling.is_some() || self.has_to_settle()
    }

    fn has_to_settle(&self) -> bool {
        let asks = self.analysis.as_ref().is_some_and(|analysis| analysis.asks_for_tie);
        asks && !self.is_unsettled
    }

    /// Whether the preview is still that of another plan.
    pub fn is_previewing(&self) -> bool {
        self.preview_wanted || self.previewing.is_some()
    }

    /// Begins to find out what follows from the plan, if that has not been done.
    pub fn preview(&mut self, notify: &Notify, document: &Arc<Document>) {
        if let Some(analysis) = self.analysis.as_ref().filter(|_| self.preview_wanted) {
            self.preview_wanted = false;
            self.previewing = Some(preview(notify, document, analysis, self.sharding()));
        }
    }

    /// Whether embedding and head are being compared.
    pub fn is_settling(&self) -> bool {
        self.settling.is_some()
    }

    /// How outputs are spread over files.
    pub fn sharding(&self) -> Sharding {
        self.max_shard_bytes.map_or(Sharding::AsSource, Sharding::AtMost)
    }

    /// Takes what is done and begins what is to do. Gives a new plan when there is one.
    pub fn poll(
        &mut self,
        notify: &Notify,
        document: &Arc<Document>,
        device: Option<&Device>,
    ) -> Option<Arc<Analysis>> {
        if self.wanted {
            self.wanted = false;
            let (document, ties) = (Arc::clone(document), Arc::clone(&self.ties));
            let (recipe, sharding) = (self.recipe.current().clone(), self.sharding());
            // A plan for a recipe that has changed since is dropped here.
            self.task = Some(Task::start(notify, move |_| {
                let analysis = Analysis::new(&document, &recipe, sharding, &ties);
                analysis.map_err(|error| error.to_string())
            }));
        }
        if let Some(settled) = take(&mut self.settling) {
            match settled.map(|result| result.map_err(|error| error.to_string())) {
                Ok(Ok((name, tie))) => {
                    Arc::make_mut(&mut self.ties).insert(name, tie);
                    self.wanted = true;
                    notify();
                }
                Ok(Err(message)) | Err(message) => {
                    self.refused = Some(message);
                    self.is_unsettled = true;
                }
            }
        }
        if let Some(Ok(preview)) = take(&mut self.previewing) {
            discard(Some(std::mem::replace(&mut self.preview, Arc::new(preview))));
        }
        let is_idle = !self.wanted && self.task.is_none() && self.settling.is_none();
        if is_idle
            && self.has_to_settle()
            && let (Some(analysis), Some(device)) = (&self.analysis, device)
        {
            self.settling = Some(settle(notify, document, analysis, device));
        }
        match take(&mut self.task)? {
            Ok(Ok(analysis)) => {
                self.refused = None;
                self.note_change(&analysis);
                let analysis = Arc::new(analysis);
                discard(self.analysis.replace(Arc::clone(&analysis)));
                self.is_unsettled = false;
                self.previewing = None;
                self.preview_wanted = true;
                notify();
                Some(analysis)
            }
            Ok(Err(message)) | Err(message) => {
                self.refused = Some(message);
                None
            }
        }
    }

    fn note_change(&mut self, now: &Analysis) {
        let Some(before) = &self.analysis else { return };
        let Some(name) = self.recipe.to_undo() else {
            self.last_change = None;
            return;
        };
        if before.recipe != now.recipe {
            let bytes = i128::from(now.plan.bytes_after) - i128::from(before.plan.bytes_after);
            self.last_change = Some((name.to_owned(), bytes));
        }
    }
}

/// Under which name the tie is remembered that a plan depends on: how its table is quantized.
pub fn tie_name(plan: &Plan) -> String {
    let table = plan.entries.iter().find(|entry| entry.member.role == Role::Embedding);
    let format = table.and_then(|entry| entry.format());
    format.map(|format| format!("{:?}", Method::of(plan, format))).unwrap_or_default()
}

/// Begins to compare embedding and head.
fn settle(
    notify: &Notify,
    document: &Arc<Document>,
    analysis: &Arc<Analysis>,
    device: &Device,
) -> Task<Result<Settled, EngineError>> {
    let (document, analysis, device) = (Arc::clone(document), Arc::clone(analysis), device.clone());
    Task::start(notify, move |cancel: &Arc<AtomicBool>| {
        let backend = device.backend.as_ref();
        let resources =
            Resources { backend, workers: device.workers(None), progress: &Silent, cancel };
        let model = Model::new(&document.checkpoint, analysis.plan.dialect.fused_experts());
        let tie = settle_tie(&model, &analysis.plan, &resources)?;
        let holds_always = matches!(tie, Tie::HeadStored { .. });
        let name = if holds_always { String::new() } else { tie_name(&analysis.plan) };
        Ok((name, tie))
    })
}

/// Begins to find out what follows from a plan.
fn preview(
    notify: &Notify,
    document: &Arc<Document>,
    analysis: &Arc<Analysis>,
    sharding: Sharding,
) -> Task<Preview> {
    let (document, analysis) = (Arc::clone(document), Arc::clone(analysis));
    Task::start(notify, move |_| Preview::new(&document, &analysis, sharding))
}

/// Nobody is told how far the comparison is.
struct Silent;

impl Progress for Silent {
    fn add(&self, _: u64) {}
}
