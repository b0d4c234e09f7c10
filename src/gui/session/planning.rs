//! From the recipe to the plan, after every change of the recipe.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::preview::Preview;
use super::task::{discard, take};
use super::{Analysis, Document, History, Notify, Task};
use crate::device::Device;
use crate::dialect::Dialect;
use crate::engine::{EngineError, Method, Progress, Resources};
use crate::model::Model;
use crate::model::ties::Tie;
use crate::plan::{Plan, PlanError, Sharding};
use crate::recipe::Recipe;

/// What was found out about embedding and head, by how the table is to be quantized; under no name
/// what holds for every way.
pub type Ties = HashMap<String, Tie>;

/// Where an export goes, as far as it is another for that.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Target {
    /// How outputs are spread over files.
    pub sharding: Sharding,
    /// The name of the file, if it is an ONNX model and not a folder with one.
    pub file_name: Option<String>,
}

impl Target {
    /// The plan for it.
    pub fn plan(
        &self,
        model: &Model<'_>,
        recipe: &Recipe,
        dialect: Dialect,
    ) -> Result<Plan, PlanError> {
        let plan = Plan::new(model, recipe, dialect, self.sharding)?;
        Ok(match &self.file_name {
            Some(name) => plan.named(model.checkpoint, name),
            None => plan,
        })
    }
}

/// The recipe, and what it makes of the checkpoint.
#[derive(Debug)]
pub struct Planning {
    /// The recipe.
    pub recipe: History<Recipe>,
    /// Bytes of a file, at most; as in the source if that is not said.
    pub max_shard_bytes: Option<u64>,
    /// The name of the file to export to, if it is to be an ONNX model and not a folder with one.
    pub file_name: Option<String>,
    /// What the recipe makes of the checkpoint; of the recipe before, as long as that is not there yet.
    pub analysis: Option<Arc<Analysis>>,
    /// Why there is no plan for the recipe as it is now.
    pub refused: Option<String>,
    /// The name of the last change, and by how many bytes it changed the export.
    pub last_change: Option<(String, i128)>,
    /// What the change is called for which a plan is being made.
    pub change_name: Option<String>,
    /// Bytes of the export before that change.
    bytes_before: u64,
    /// Why embedding and head could not be compared.
    tie_error: Option<String>,
    /// What follows from the last plan for which that is known.
    pub preview: Arc<Preview>,
    ties: Arc<Ties>,
    wanted: bool,
    task: Option<Task<Result<Analysis, String>>>,
    settling: Option<Task<Result<Settled, EngineError>>>,
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
            file_name: None,
            analysis: None,
            refused: None,
            last_change: None,
            change_name: None,
            bytes_before: 0,
            tie_error: None,
            preview: Arc::default(),
            ties: Arc::default(),
            wanted: true,
            task: None,
            settling: None,
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
        asks && self.tie_error.is_none()
    }

    /// Why there is nothing to export as things are.
    pub fn problem(&self) -> Option<&String> {
        self.refused.as_ref().or(self.tie_error.as_ref())
    }

    /// Lets what failed be tried again.
    pub fn try_again(&mut self) {
        self.tie_error = None;
    }

    /// Whether the preview is still that of another plan.
    pub fn is_previewing(&self) -> bool {
        self.preview_wanted || self.previewing.is_some()
    }

    /// Begins to find out what follows from the plan, if that has not been done.
    pub fn preview(&mut self, notify: &Notify, document: &Arc<Document>) {
        if let Some(analysis) = self.analysis.as_ref().filter(|_| self.preview_wanted) {
            self.preview_wanted = false;
            self.previewing = Some(preview(notify, document, analysis, self.target()));
        }
    }

    /// Whether embedding and head are being compared.
    pub fn is_settling(&self) -> bool {
        self.settling.is_some()
    }

    fn target(&self) -> Target {
        let sharding = self.max_shard_bytes.map_or(Sharding::AsSource, Sharding::AtMost);
        Target { sharding, file_name: self.file_name.clone() }
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
            let (recipe, target) = (self.recipe.current().clone(), self.target());
            // A plan for a recipe that has changed since is dropped here.
            self.task = Some(Task::start(notify, move |_| {
                let analysis = Analysis::new(&document, &recipe, &target, &ties);
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
                Ok(Err(message)) | Err(message) => self.tie_error = Some(message),
            }
        }
        match take(&mut self.previewing) {
            Some(Ok(preview)) => {
                discard(std::mem::replace(&mut self.preview, Arc::new(preview)));
            }
            Some(Err(message)) => {
                self.preview = Arc::default();
                self.refused = Some(message);
            }
            None => {}
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
                // A comparison for the plan before may say nothing about this one.
                self.settling = None;
                self.tie_error = None;
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
        let name = match (self.change_name.take(), &self.last_change) {
            (Some(name), _) => {
                self.bytes_before = before.plan.bytes_after;
                name
            }
            // The same recipe, of which more is known now.
            (None, Some((name, _))) => name.clone(),
            (None, None) => return,
        };
        let bytes = i128::from(now.plan.bytes_after) - i128::from(self.bytes_before);
        self.last_change = Some((name, bytes));
    }
}

/// Under which name the tie is remembered that a plan depends on: how its table is quantized.
pub fn tie_name(plan: &Plan, tie: &Tie) -> String {
    let table = match tie {
        Tie::Untied | Tie::OfCodes { .. } | Tie::BothCodes { .. } => None,
        Tie::HeadAbsent { embedding, .. }
        | Tie::HeadStored { embedding, .. }
        | Tie::HeadMatches { embedding, .. }
        | Tie::Apart { embedding, .. }
        | Tie::Unknown { embedding, .. } => Some(*embedding),
    };
    let entry = plan.entries.iter().find(|entry| Some(entry.member.index) == table);
    let format = entry.and_then(|entry| entry.format());
    format.map_or("kept".to_owned(), |format| format!("{:?}", Method::of(plan, format)))
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
        let tie = crate::quantized::settle_tie(&model, &analysis.plan, &resources)?;
        let holds_always = matches!(tie, Tie::HeadStored { .. });
        let known = tie_name(&analysis.plan, &analysis.tie);
        let name = if holds_always { String::new() } else { known };
        Ok((name, tie))
    })
}

/// Begins to find out what follows from a plan.
fn preview(
    notify: &Notify,
    document: &Arc<Document>,
    analysis: &Arc<Analysis>,
    target: Target,
) -> Task<Preview> {
    let (document, analysis) = (Arc::clone(document), Arc::clone(analysis));
    Task::start(notify, move |_| Preview::new(&document, &analysis, &target))
}

/// Nobody is told how far the comparison is.
struct Silent;

impl Progress for Silent {
    fn add(&self, _: u64) {}
}
