//! What a view is given to draw with.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use eframe::egui::Ui;

use super::errors::ErrorsView;
use super::histogram::HistogramView;
use super::outliers::OutliersView;
use super::regimes::RegimesView;
use super::ruler::RulerView;
use super::scales::ScalesView;
use crate::gui::app::Asked;
use crate::gui::session::{Facts, Inspection, Lens, Loaded, Notify, Shown};
use crate::inspect::{Block, InspectError, Reader, Sheet};

/// How a tensor is seen; not what is looked at.
#[derive(Clone, Default)]
pub struct Pane {
    /// The sliders of the ruler.
    pub ruler: RulerView,
    /// The histogram.
    pub histogram: HistogramView,
    /// The outliers.
    pub outliers: OutliersView,
    /// The regimes.
    pub regimes: RegimesView,
    /// The scale map.
    pub scales: ScalesView,
    /// The error map.
    pub errors: ErrorsView,
    /// Whether to go to the largest weight of the block once it is read.
    pub to_amax: bool,
}

/// What a view is given to draw with.
pub struct At<'a> {
    /// What is looked at, and what has been read of it.
    pub inspection: &'a mut Inspection,
    /// How it is seen.
    pub pane: &'a mut Pane,
    /// What it is read with.
    pub lens: Lens,
    /// What the matrix is.
    pub facts: Arc<Facts>,
    /// Who is told of news.
    pub notify: &'a Notify,
    /// What the window is asked for.
    pub asked: &'a mut Asked,
    /// Whether keys are for it, and not for the view beside it.
    pub is_live: bool,
}

impl Pane {
    /// Whether any picture is being made.
    pub fn is_busy(&self) -> bool {
        self.scales.heat.is_busy() || self.errors.heat.is_busy()
    }
}

impl At<'_> {
    /// Something that is made of all of the matrix, in the background; `key` tells it from others of its
    /// kind.
    pub fn load<T: Send + Sync + 'static>(
        &mut self,
        of: impl FnOnce(&mut Inspection) -> &mut Loaded<T>,
        key: impl Hash,
        make: impl FnOnce(&Reader<'_>, &AtomicBool) -> Result<T, InspectError> + Send + 'static,
    ) -> Shown<T> {
        let own = self.lens.clone();
        let key = self.lens.key(key);
        of(self.inspection)
            .get(self.notify, key, move |cancel| own.read(cancel, |reader| make(reader, cancel)))
    }

    /// What was loaded, once it is there; says why there is none. What was loaded for something else would
    /// stand under a wrong name.
    pub fn shown<T>(&self, ui: &mut Ui, shown: &Shown<T>) -> Option<Arc<T>> {
        match shown {
            Shown::Failed(why) => {
                ui.label(why);
            }
            Shown::Working(_) => {
                ui.centered_and_justified(|ui| ui.spinner());
            }
            Shown::Ready(ready) => return Some(Arc::clone(ready)),
        }
        None
    }

    /// The rows around what is looked at; says why there are none.
    pub fn sheet(&mut self, ui: &mut Ui) -> Option<Arc<Sheet>> {
        let sheet = self.inspection.sheet(self.notify, &self.lens, &self.facts);
        self.shown(ui, &sheet)
    }

    /// The block that is looked at, and the number of the weight in it; says why there is none.
    pub fn block(&mut self, ui: &mut Ui) -> Option<(Block, usize)> {
        if let Some(why) = &self.facts.refused {
            ui.label(why);
            return None;
        }
        if self.facts.format.is_none() {
            ui.label(
                "The plan keeps this tensor as it is. Choose a format above to see it in one.",
            );
            return None;
        }
        let sheet = self.sheet(ui)?;
        let focus = &mut self.inspection.focus;
        let Some(block) = Block::of(&sheet, focus.row, focus.column) else {
            ui.label("There are no weights in it.");
            return None;
        };
        if std::mem::take(&mut self.pane.to_amax)
            && let Some(cell) = block.amax_at.map(|at| &block.cells[at])
        {
            (focus.row, focus.column) = (cell.row, cell.column);
        }
        let index = block.index(focus.row, focus.column)?;
        Some((block, index))
    }

    /// What pictures of it say of themselves.
    pub fn stamp(&self) -> String {
        super::saved::stamp(&self.facts)
    }
}
