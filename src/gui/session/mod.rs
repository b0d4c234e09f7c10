//! The open checkpoint, and all that the window shows of it. Knows nothing of how it is drawn: every
//! piece of work runs in the background, and [`Session::poll`] takes what is done.

mod analysis;
mod chosen;
mod comparing;
mod device;
mod document;
mod exporting;
mod focus;
mod history;
mod inspection;
mod loaded;
mod measure;
mod measurements;
mod outline;
mod planning;
mod preview;
mod tables;
mod task;
mod trials;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use analysis::Analysis;
pub use chosen::Chosen;
pub use comparing::{Other, Pair};
pub use device::{Devices, WindowGpu};
pub use document::{Document, Quantized, Source};
pub use exporting::{Done, Exporting, Outcome, StageProgress};
pub use focus::{BlockPlace, Focus};
pub use history::History;
pub use inspection::{Facts, Inspection, Lens};
pub use loaded::{Loaded, Shown};
pub use measurements::Measurements;
pub use outline::Line;
pub use planning::Planning;
pub use tables::{Numbers, Query, Tables};
pub use task::{Notify, Task};
pub use trials::{Known, Trials, entries as choosing};

use crate::dialect::Dialect;
use crate::recipe::Recipe;
use task::{discard, take};

/// An open checkpoint and the work on it.
pub struct Session {
    pub(super) notify: Notify,
    /// What is open, and from where.
    pub document: Option<(Source, Arc<Document>)>,
    opening: Option<Opening>,
    /// How the first checkpoint is to be looked at.
    first: Option<Look>,
    /// What could not be opened, and why.
    pub open_error: Option<(Source, String)>,
    /// The recipe, and the plan that follows from it.
    pub planning: Planning,
    /// Who computes.
    pub devices: Devices,
    /// What has been measured.
    pub measurements: Measurements,
    /// What the table is to show.
    pub query: Query,
    /// The numbers that views show.
    pub tables: Arc<Tables>,
    tables_wanted: bool,
    measuring_wanted: bool,
    /// Tables being made for a query, and how long it took to put measurements together.
    tabulating: Option<(Query, Task<(Tables, Duration)>)>,
    tabulated: Option<Query>,
    /// Until measurements are put together again.
    resting: Option<Task<()>>,
    /// Names of the tensors that are selected, in all views.
    pub selection: BTreeSet<String>,
    /// The weight that is looked at, in all views that look into a tensor.
    pub inspection: Inspection,
    /// The same, for quick questions.
    pub chosen: Chosen,
    /// What to compare with, until that is begun.
    pub compare: Option<PathBuf>,
    /// The export, or verification, under way.
    pub exporting: Option<Exporting>,
    /// Those that were stopped, and still clean up after themselves.
    ending: Vec<Exporting>,
    /// What the last one brought.
    pub outcome: Option<Outcome>,
}

/// A checkpoint that is being opened, and how it is to be looked at.
struct Opening {
    source: Source,
    look: Look,
    task: Task<Result<Document, String>>,
}

/// How a checkpoint is to be looked at.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// The recipe.
    pub recipe: Recipe,
    /// Bytes of a file, at most; as in the source if that is not said.
    pub max_shard_bytes: Option<u64>,
    /// Names of the tensors that are selected.
    pub selection: BTreeSet<String>,
    /// The weight that is looked at.
    pub focus: Focus,
    /// The checkpoint to compare with.
    pub compare: Option<PathBuf>,
}

impl Look {
    /// Takes from another what that says.
    fn add(&mut self, other: Self) {
        if other.recipe != Recipe::default() {
            self.recipe = other.recipe;
        }
        self.max_shard_bytes = other.max_shard_bytes.or(self.max_shard_bytes);
        if other.focus != Focus::default() {
            self.selection = other.selection;
            self.focus = other.focus;
        }
        self.compare = other.compare.or(self.compare.take());
    }
}

impl Session {
    /// Nothing is open yet. `notify` is called when there is something new to show.
    pub fn new(notify: Notify, mut devices: Devices) -> Self {
        let name = devices.name.clone();
        devices.choose(&notify, &name);
        Self {
            notify,
            document: None,
            opening: None,
            first: None,
            open_error: None,
            planning: Planning::new(Recipe::default(), None),
            devices,
            measurements: Measurements::default(),
            query: Query::default(),
            tables: Arc::default(),
            tables_wanted: false,
            measuring_wanted: false,
            tabulating: None,
            tabulated: None,
            resting: None,
            selection: BTreeSet::new(),
            inspection: Inspection::default(),
            chosen: Chosen::default(),
            compare: None,
            exporting: None,
            ending: Vec::new(),
            outcome: None,
        }
    }

    /// Begins to open a checkpoint. What is open stays until that has worked; what was being opened is
    /// given up.
    pub fn open(&mut self, source: Source, mut look: Look) {
        if let Some(first) = self.first.take() {
            look.add(first);
        }
        self.open_error = None;
        let wanted = source.clone();
        let task = Task::start(&self.notify, move |_| {
            Document::open(&wanted).map_err(|error| error.to_string())
        });
        self.opening = Some(Opening { source, look, task });
    }

    /// Looks at what is being opened, or will be first, as the command line says, where it says anything.
    pub fn start_with(&mut self, first: Look) {
        match &mut self.opening {
            Some(opening) => opening.look.add(first),
            None => self.first = Some(first),
        }
    }

    /// What is being opened.
    pub fn opening(&self) -> Option<&Source> {
        self.opening.as_ref().map(|opening| &opening.source)
    }

    /// The layout that the recipe, and else what is open, asks for.
    pub fn dialect(&self) -> Dialect {
        let recipe = self.planning.recipe.current();
        match &self.document {
            Some((_, document)) => recipe.dialect_for(&document.checkpoint),
            None => recipe.export.unwrap_or(Dialect::Modelopt),
        }
    }

    /// The plan, once there is one.
    pub fn analysis(&self) -> Option<&Arc<Analysis>> {
        self.planning.analysis.as_ref()
    }

    /// Whether plan and tables are those of the recipe as it is now.
    pub fn is_current(&self) -> bool {
        let recipe = self.planning.recipe.current();
        let is_planned = self.analysis().is_some_and(|analysis| analysis.recipe == *recipe);
        is_planned && self.tables.numbers.recipe.as_ref().is_none_or(|made| made == recipe)
    }

    /// Changes the recipe. `name` says what changes, for undoing.
    pub fn change(&mut self, name: &str, recipe: Recipe) {
        self.planning.recipe.change(name, recipe, false);
        self.planning.change_name = Some(name.to_owned());
        self.planning.ask();
    }

    /// Changes the recipe as somebody types: what follows under the same name is one change with it.
    pub fn type_change(&mut self, name: &str, recipe: Recipe) {
        self.planning.recipe.change(name, recipe, true);
        self.planning.change_name = Some(name.to_owned());
        self.planning.ask();
    }

    /// Takes the last change of the recipe back.
    pub fn undo(&mut self) {
        let name = self.planning.recipe.to_undo().map(|name| format!("undo: {name}"));
        if self.planning.recipe.undo() {
            self.planning.change_name = name;
            self.planning.ask();
        }
    }

    /// Makes the change that was taken back last again.
    pub fn redo(&mut self) {
        let name = self.planning.recipe.to_redo().map(str::to_owned);
        if self.planning.recipe.redo() {
            self.planning.change_name = name;
            self.planning.ask();
        }
    }

    /// Turns to another device.
    pub fn choose_device(&mut self, name: &str) {
        self.devices.choose(&self.notify, name);
    }

    /// Takes all that is done, and begins all that is to do. Never waits.
    pub fn poll(&mut self) {
        self.poll_opening();
        let has_device = self.devices.poll();
        if has_device {
            self.measurements.forget_failures();
            self.planning.try_again();
        }
        self.ending.retain(|exporting| exporting.outcome().is_none());
        let device = self.devices.open.as_ref();
        let Some((_, document)) = &self.document else { return };
        let names = self.planning.analysis.as_ref().map(|analysis| analysis.names);
        let planned = self.planning.poll(&self.notify, document, device);
        if let Some(analysis) = &planned {
            self.measurements.turn_to(analysis);
            self.tables_wanted = true;
            if names != Some(analysis.names) {
                // Entries have other numbers now.
                discard(std::mem::take(&mut self.tables));
                (self.tabulating, self.tabulated, self.resting) = (None, None, None);
            }
        }
        self.measuring_wanted |= planned.is_some() || has_device;
        let Some(analysis) = self.planning.analysis.clone() else { return };
        self.tables_wanted |= self.measurements.poll(&analysis);
        self.poll_tables(&analysis);
        self.begin_the_rest(&analysis);
        self.chosen.update(&self.selection, &analysis);
        if let Some(outcome) = self.exporting.as_ref().and_then(Exporting::outcome) {
            self.exporting = None;
            self.outcome = Some(outcome);
        }
    }

    /// Begins what can wait until the numbers that are known are shown.
    fn begin_the_rest(&mut self, analysis: &Arc<Analysis>) {
        let Some((_, document)) = &self.document else { return };
        if self.tabulating.is_some() || self.tables_wanted {
            return;
        }
        self.planning.preview(&self.notify, document);
        if let Some(device) = self.devices.open.as_ref().filter(|_| self.measuring_wanted) {
            self.measuring_wanted = false;
            self.measurements.begin(&self.notify, document, analysis, device);
        }
    }

    fn poll_opening(&mut self) {
        let Some(result) = self.opening.as_ref().and_then(|opening| opening.task.poll()) else {
            return;
        };
        let Some(opening) = self.opening.take() else { return };
        match result {
            Ok(Ok(document)) => {
                let Look { recipe, max_shard_bytes, selection, focus, compare } = opening.look;
                self.compare = compare;
                self.planning = Planning::new(recipe, max_shard_bytes);
                let measurements = Measurements::new(self.measurements.paused);
                discard(std::mem::replace(&mut self.measurements, measurements));
                discard(std::mem::take(&mut self.tables));
                (self.tabulating, self.tabulated, self.resting) = (None, None, None);
                self.selection = selection;
                self.inspection = Inspection::at(focus);
                self.query.experts_of = None;
                self.query.folds.clear();
                self.ending.extend(self.exporting.take().inspect(Exporting::cancel));
                self.outcome = None;
                discard(self.document.replace((opening.source, Arc::new(document))));
            }
            Ok(Err(error)) | Err(error) => self.open_error = Some((opening.source, error)),
        }
    }

    fn poll_tables(&mut self, analysis: &Arc<Analysis>) {
        if let Some((query, task)) = &self.tabulating
            && let Some(result) = task.poll()
        {
            if let Err(message) = &result {
                self.measurements.error = Some(message.clone());
                // What broke off once would break off again.
                self.tabulated = Some(query.clone());
            }
            if let Ok((tables, took)) = result {
                discard(std::mem::replace(&mut self.tables, Arc::new(tables)));
                self.tabulated = Some(query.clone());
                // A big table takes a while: half of the time is left for measuring.
                self.resting = (!took.is_zero())
                    .then(|| Task::start(&self.notify, move |_| std::thread::sleep(took)));
            }
            self.tabulating = None;
        }
        let has_rested = take(&mut self.resting).is_some() || self.resting.is_none();
        if self.tabulating.is_some() {
            return;
        }
        let query = self.query.clone();
        let tabulated = self.tabulated.as_ref();
        if !tabulated.is_some_and(|tabulated| tabulated.has_numbers_of(&query))
            || (self.tables_wanted && has_rested)
        {
            self.tables_wanted = false;
            let (analysis, stats) = (Arc::clone(analysis), self.measurements.stats.clone());
            let asked = query.clone();
            let work = move |_: &_| {
                let started = Instant::now();
                let numbers = Numbers::new(&analysis, &stats, &asked);
                (Tables::new(Arc::new(numbers), &asked), started.elapsed())
            };
            self.tabulating = Some((query, Task::start(&self.notify, work)));
        } else if tabulated != Some(&query) {
            let (numbers, asked) = (Arc::clone(&self.tables.numbers), query.clone());
            let work = move |_: &_| (Tables::new(numbers, &asked), Duration::ZERO);
            self.tabulating = Some((query, Task::start(&self.notify, work)));
        }
    }

    /// Whether anything is under way, but for an export.
    pub fn is_busy(&self) -> bool {
        let opened = self.document.is_some();
        self.opening.is_some()
            || self.devices.is_counting()
            || (self.devices.open.is_none() && self.devices.error.is_none())
            || (opened && (self.planning.is_busy() || self.planning.is_previewing()))
            || (opened && self.measuring_wanted && self.devices.error.is_none())
            || (self.measurements.progress().is_some() && !self.measurements.paused)
            || self.tabulating.is_some()
            || (opened && self.tables_wanted)
            || self.inspection.is_busy()
    }

    /// Stops all work and waits until an export has cleaned up after itself. Not for a frame: for the end of
    /// the program.
    pub fn stop(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(10);
        self.ending.extend(self.exporting.take());
        self.ending.iter().for_each(Exporting::cancel);
        let started = Instant::now();
        while !self.ending.is_empty() && started.elapsed() < PATIENCE {
            self.ending.retain(|exporting| exporting.outcome().is_none());
            std::thread::sleep(Duration::from_millis(5));
        }
        while self.devices.is_counting() && started.elapsed() < PATIENCE {
            self.devices.poll();
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Begins to export into a folder, or a file.
    pub fn export(&mut self, out: PathBuf, overwrite: bool, resume: bool) {
        let (Some((_, document)), Some(analysis), Some(device)) =
            (&self.document, &self.planning.analysis, &self.devices.open)
        else {
            return;
        };
        self.outcome = None;
        let (document, analysis) = (Arc::clone(document), Arc::clone(analysis));
        let device = device.clone();
        self.exporting = Some(Exporting::export(
            &self.notify,
            document,
            analysis,
            device,
            (out, overwrite, resume),
        ));
    }

    /// Begins to verify the open checkpoint, which is quantized.
    pub fn verify(&mut self, against: Option<PathBuf>) {
        let (Some((_, document)), Some(device)) = (&self.document, &self.devices.open) else {
            return;
        };
        self.outcome = None;
        let (path, device) = (document.checkpoint.path.clone(), device.clone());
        self.exporting = Some(Exporting::verify(&self.notify, path, against, device));
    }
}
