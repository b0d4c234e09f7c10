//! Views that look into one tensor. All share what they look at: a tensor, an expert, a weight.

mod about;
mod axes;
mod bar;
mod codecs;
mod colours;
mod compare;
mod errors;
mod experts;
mod formats;
mod heat;
mod histogram;
pub mod lessons;
mod microscope;
mod numbers;
mod outliers;
mod pane;
mod regimes;
mod ruler;
mod saved;
mod scale_counts;
mod scales;

use eframe::egui::{CentralPanel, Frame, Key, Modifiers, Panel, Popup, Rect, Ui};

pub use about::about;
pub use pane::{At, Pane};

use super::{TABS, Tab, View};
use crate::gui::app::{App, Asked};
use crate::gui::session::{Inspection, Lens, Shown};
use crate::gui::theme::Theme;
use crate::gui::widgets::caption;
use crate::model::Role;

/// What these views remember.
#[derive(Default)]
pub struct InspectView {
    /// What the live views remember of how they are seen.
    pub pane: Pane,
    /// A view that is kept beside the live one.
    pub pinned: Option<Box<Pinned>>,
    /// The lesson that is under way.
    pub lesson: Option<lessons::Underway>,
    /// A lesson to begin once there is a plan.
    pub wanted_lesson: Option<lessons::Underway>,
    /// Where the view was drawn last, for a picture of it.
    pub area: Option<Rect>,
    /// The view that was shown last in each tab.
    last: Vec<View>,
    picker: bar::Picker,
    codecs: codecs::CodecsView,
    compare: compare::CompareView,
    experts: experts::ExpertsView,
    formats: formats::FormatsView,
}

/// A view that is kept.
pub struct Pinned {
    view: View,
    inspection: Inspection,
    pane: Pane,
}

impl InspectView {
    /// Forgets what was about another checkpoint.
    pub fn turn_to(&mut self) {
        self.pane = Pane::default();
        self.pinned = None;
        self.compare = compare::CompareView::default();
        self.experts = experts::ExpertsView::default();
        self.formats = formats::FormatsView::default();
        self.picker = bar::Picker::default();
    }

    /// Whether the view that is shown has numbers to save. Asked in every frame, it makes no table.
    pub fn has_csv(&self, app: &App) -> bool {
        match app.settings.view {
            View::Compare => self.compare.has_csv(),
            View::Experts => self.experts.has_csv(),
            View::Formats => self.formats.has_csv(),
            _ => numbers::numbers(app).is_some(),
        }
    }

    /// Whether anything is being read that the view which is shown waits for.
    pub fn is_busy(&self, view: View) -> bool {
        if self.wanted_lesson.is_some() {
            return true;
        }
        let pinned = self.pinned.as_ref();
        pinned.is_some_and(|pinned| pinned.inspection.is_busy() || pinned.pane.is_busy())
            || self.pane.is_busy()
            || match view {
                View::Compare => self.compare.is_busy(),
                View::Experts => self.experts.is_busy(),
                View::Formats => self.formats.is_busy(),
                _ => false,
            }
    }
}

impl App {
    /// The view that a tab turns to; `None` where it makes no sense.
    pub(in crate::gui) fn view_of(&self, tab: &Tab) -> Option<View> {
        let current = self.settings.view;
        let last = self.views.inspect.last.iter().copied().find(|view| tab.views.contains(view));
        let shown = tab.views.contains(&current).then_some(current).or(last);
        let view = shown.unwrap_or(tab.views[0]);
        self.can(view.command()).then_some(view)
    }

    /// Why the view that is shown has nothing to show.
    pub(in crate::gui) fn view_failure(&self) -> Option<&str> {
        match self.settings.view {
            View::Compare => self.views.inspect.compare.failure(),
            view if view.inspects() => {
                let inspection = &self.session.inspection;
                inspection.failure().or_else(|| inspection.beyond())
            }
            _ => None,
        }
    }

    /// Whether there are experts to compare.
    pub(in crate::gui) fn has_experts(&self) -> bool {
        self.session.analysis().is_some_and(|analysis| analysis.has_experts)
    }

    /// Keeps the view that is shown beside what comes next; or lets go of the one that was kept.
    pub(in crate::gui) fn pin(&mut self) {
        if self.views.inspect.pinned.take().is_some() {
            return;
        }
        let inspection = Inspection::at(self.session.inspection.focus.clone());
        let (view, pane) = (self.settings.view, self.views.inspect.pane.clone());
        self.views.inspect.pinned = Some(Box::new(Pinned { view, inspection, pane }));
    }

    /// Turns to the tensor that is selected, or to the first that is quantized.
    fn follow_selection(&mut self) {
        let Some(analysis) = self.session.analysis().cloned() else { return };
        let focus = &mut self.session.inspection.focus;
        let known = |name: &&String| analysis.by_name.contains_key(*name);
        let selected = self.session.selection.iter().find(known);
        let holds = focus.tensor.as_ref().is_some_and(|name| {
            analysis.by_name.contains_key(name)
                && (self.session.selection.is_empty() || self.session.selection.contains(name))
        });
        if holds {
            return;
        }
        let entries = || analysis.plan.entries.iter();
        let first = || {
            let quantized = entries().find(|entry| entry.format().is_some());
            let matrix =
                || entries().find(|e| e.is_quantizable() && e.member.role != Role::Embedding);
            quantized.or_else(matrix).or_else(|| entries().find(|e| e.is_quantizable()))
        };
        let name = selected.cloned().or_else(|| Some(first()?.member.tensor.name.clone()));
        if let Some(name) = name {
            focus.turn_to(&name);
        }
    }
}

/// Draws one of these views, and the one that is kept beside it.
pub fn inspect_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    app.follow_selection();
    let view = app.settings.view;
    app.views.inspect.last.retain(|last| !shares_tab(*last, view));
    app.views.inspect.last.push(view);
    bar::bar_ui(app, ui, asked);
    let ground = Frame::NONE.fill(Theme::of(ui).ground);
    if view == View::Lessons {
        return lessons::lessons_ui(app, ui, asked);
    }
    if !view.inspects() {
        let stamp = saved::stamp_of(app);
        Panel::bottom("stamp").frame(ground).show_separator_line(false).show(ui, |ui| {
            caption(ui, &stamp);
        });
    }
    match view {
        View::Codecs => return codecs::codecs_ui(ui, &mut app.views.inspect.codecs),
        View::Compare => return compare::compare_ui(app, ui, asked),
        View::Experts => return experts::experts_ui(app, ui, asked),
        View::Formats => return formats::formats_ui(app, ui, asked),
        _ => {}
    }
    if let Some(mut pinned) = app.views.inspect.pinned.take() {
        let mut kept = true;
        let half = ui.available_width() / 2.0;
        let panel = Panel::right("pinned").default_size(half).size_range(300.0..=half * 1.4);
        panel.frame(ground.inner_margin(8)).show(ui, |ui| {
            kept = bar::pinned_bar_ui(ui, &pinned);
            let Pinned { view, inspection, pane } = pinned.as_mut();
            pane_ui(app, ui, asked, (*view, false), (inspection, pane));
        });
        app.views.inspect.pinned = kept.then_some(pinned);
    }
    CentralPanel::default().frame(ground).show(ui, |ui| {
        let mut inspection = std::mem::take(&mut app.session.inspection);
        let mut pane = std::mem::take(&mut app.views.inspect.pane);
        pane_ui(app, ui, asked, (view, true), (&mut inspection, &mut pane));
        let tensor = inspection.focus.tensor.clone();
        app.session.inspection = inspection;
        app.views.inspect.pane = pane;
        // The table and the map show what is looked at here.
        if let Some(tensor) = tensor
            && app.session.selection.len() <= 1
            && !app.session.selection.contains(&tensor)
        {
            app.session.selection = [tensor].into();
        }
    });
}

fn shares_tab(a: View, b: View) -> bool {
    TABS.iter().any(|tab| tab.views.contains(&a) && tab.views.contains(&b))
}

/// Draws a view of what an inspection looks at; whether keys are for it.
fn pane_ui(
    app: &App,
    ui: &mut Ui,
    asked: &mut Asked,
    (view, is_live): (View, bool),
    (inspection, pane): (&mut Inspection, &mut Pane),
) {
    let Some(subject) = inspection.focus.subject() else {
        ui.centered_and_justified(|ui| ui.label("There is no tensor of floats here."));
        return;
    };
    let notify = &app.session.notify;
    let Some(lens) = Lens::new(&app.session, subject) else {
        ui.centered_and_justified(|ui| ui.spinner());
        return;
    };
    let facts = match inspection.facts(notify, &lens) {
        Shown::Ready(facts) => facts,
        Shown::Working(_) => {
            ui.centered_and_justified(|ui| ui.spinner());
            return;
        }
        Shown::Failed(why) => {
            ui.centered_and_justified(|ui| ui.label(why));
            return;
        }
    };
    let lens = lens.knowing(&facts);
    inspection.go_to_found(notify, &lens);
    if let Some(to_amax) = inspection.settle(&facts) {
        pane.to_amax = to_amax;
    }
    if let Some(why) = inspection.beyond() {
        ui.colored_label(Theme::of(ui).warn, why);
    }
    let mut at = At { inspection, pane, lens, facts, notify, asked, is_live };
    match view {
        View::Ruler => ruler::ruler_ui(ui, &mut at),
        View::Histogram => histogram::histogram_ui(ui, &mut at),
        View::Scales => scales::scales_ui(ui, &mut at),
        View::Errors => errors::errors_ui(ui, &mut at),
        View::Outliers => outliers::outliers_ui(ui, &mut at),
        View::Regimes => regimes::regimes_ui(ui, &mut at),
        _ => microscope::microscope_ui(ui, &mut at),
    }
}

/// Moves the weight that is looked at by keys, unless something else takes them.
fn walk_by_keys(ui: &Ui, at: &mut At<'_>) {
    if !at.is_live || ui.ctx().text_edit_focused() || Popup::is_any_open(ui.ctx()) {
        return;
    }
    let tile = at.facts.tile;
    let (rows, columns) = (at.facts.rows, at.facts.columns);
    let focus = &mut at.inspection.focus;
    let pressed = |key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key));
    let last = |length: u64| length.saturating_sub(1);
    for (key, down, right) in [
        (Key::ArrowDown, 1i64, 0i64),
        (Key::ArrowUp, -1, 0),
        (Key::ArrowRight, 0, 1),
        (Key::ArrowLeft, 0, -1),
        (Key::PageDown, 0, tile.columns as i64),
        (Key::PageUp, 0, -(tile.columns as i64)),
    ] {
        if !pressed(key) {
            continue;
        }
        // Beyond the end of a row the next one follows.
        let step = down * columns as i64;
        let place = focus.row as i64 * columns as i64 + focus.column as i64 + step + right;
        let most = last(rows * columns as u64) as i64;
        let place = place.clamp(0, most.max(0));
        focus.row = (place / columns.max(1) as i64).cast_unsigned();
        focus.column = (place % columns.max(1) as i64) as usize;
    }
}
