//! Two checkpoints, or two devices, weight by weight.

mod bar;
mod detail;
mod rows;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eframe::egui::{CentralPanel, Frame, Margin, Panel, ProgressBar, Ui};

use self::detail::DetailView;
use crate::gui::app::{App, Asked};
use crate::gui::session::{Analysis, Loaded, Other, Pair, Shown};
use crate::gui::theme::Theme;
use crate::inspect::Overview;

/// What it remembers.
#[derive(Default)]
pub struct CompareView {
    /// What is typed as the other checkpoint.
    typed: String,
    run: Option<Run>,
    /// Runs so far: each is another key.
    runs: u64,
    pair: Loaded<Pair>,
    overview: Loaded<Overview>,
    selected: Option<String>,
    detail: DetailView,
}

/// A comparison that was asked for.
struct Run {
    number: u64,
    other: Other,
    /// The plan it was begun with.
    of: Option<Arc<Analysis>>,
    progress: Arc<Progress>,
}

/// How far it is, told by the thread that compares.
#[derive(Default)]
struct Progress {
    done: AtomicUsize,
    all: AtomicUsize,
}

impl CompareView {
    /// Whether anything is being worked on.
    pub fn is_busy(&self) -> bool {
        self.pair.is_busy() || self.overview.is_busy() || self.detail.is_busy()
    }

    /// Whether there are numbers to save.
    pub fn has_csv(&self) -> bool {
        self.overview.ready().is_some()
    }

    /// Why there is nothing to compare.
    pub fn failure(&self) -> Option<&str> {
        self.pair.failure().or_else(|| self.overview.failure())
    }

    /// The checkpoint that is compared with.
    pub fn path(&self) -> Option<&Path> {
        match self.run.as_ref().map(|run| &run.other) {
            Some(Other::Path(path)) => Some(path),
            _ => None,
        }
    }

    fn begin(&mut self, other: Other) {
        self.runs += 1;
        self.selected = None;
        // What is left of the last one would be saved in its place.
        (self.pair, self.overview) = (Loaded::default(), Loaded::default());
        self.run = Some(Run { number: self.runs, other, of: None, progress: Arc::default() });
    }
}

/// Draws it.
pub fn compare_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    let mut view = std::mem::take(&mut app.views.inspect.compare);
    let is_ready = app.session.devices.open.is_some() && !app.session.planning.is_busy();
    if let Some(path) = app.session.compare.take_if(|_| is_ready) {
        view.typed = path.display().to_string();
        view.begin(Other::Path(path));
    }
    if let Some(other) = bar::bar_ui(app, ui, asked, &mut view.typed) {
        view.begin(other);
    }
    run_ui(app, ui, asked, &mut view);
    app.views.inspect.compare = view;
}

fn run_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked, view: &mut CompareView) {
    let Some(run) = &mut view.run else { return bar::empty_ui(ui) };
    let Some((source, document)) = app.session.document.clone() else { return };
    let Some(analysis) = app.session.analysis().cloned() else { return };
    let Some(device) = app.session.devices.open.clone() else { return };
    let (notify, number, other) = (&app.session.notify, run.number, run.other.clone());
    if !Arc::ptr_eq(run.of.get_or_insert_with(|| Arc::clone(&analysis)), &analysis)
        && outdated_ui(ui)
    {
        return view.begin(other);
    }
    let pair = view
        .pair
        .get(notify, number, move |_| Pair::open((&source, &document), &analysis, &device, &other));
    let pair = match pair {
        Shown::Ready(pair) => pair,
        Shown::Working(_) => return progress_ui(ui, &run.progress),
        Shown::Failed(why) => return failed_ui(ui, &why),
    };
    bar::sides_ui(ui, &pair);
    let (own, progress) = (Arc::clone(&pair), Arc::clone(&run.progress));
    let overview = view.overview.get(notify, number, move |cancel| {
        let mut told = |done, all| {
            progress.done.store(done, Ordering::Relaxed);
            progress.all.store(all, Ordering::Relaxed);
        };
        own.overview(cancel, &mut told).map_err(|error| error.to_string())
    });
    let overview = match overview {
        Shown::Ready(overview) => overview,
        Shown::Working(_) => return progress_ui(ui, &run.progress),
        Shown::Failed(why) => return failed_ui(ui, &why),
    };
    rows::total_ui(ui, &overview);
    ui.add_space(4.0);
    let is_known = |name: &&String| overview.rows.iter().any(|row| row.tensor == **name);
    let selected = view.selected.as_ref().filter(is_known).cloned();
    let selected = selected.or_else(|| Some(overview.rows.first()?.tensor.clone()));
    let ground = Frame::NONE.fill(Theme::of(ui).ground);
    let width = (ui.available_width() * 0.46).clamp(360.0, 760.0);
    let panel = Panel::left("compared").default_size(width).size_range(320.0..=900.0);
    panel.frame(ground.inner_margin(Margin { right: 10, ..Margin::ZERO })).show(ui, |ui| {
        if let Some(name) = rows::rows_ui(ui, &overview, selected.as_deref()) {
            view.selected = Some(name);
        }
    });
    CentralPanel::default().frame(ground.inner_margin(Margin { left: 6, ..Margin::ZERO })).show(
        ui,
        |ui| {
            let row = overview.rows.iter().find(|row| Some(&row.tensor) == selected.as_ref());
            if let Some(row) = row {
                view.detail.show(app, ui, asked, (number, &pair), row);
            }
        },
    );
}

/// Says that the plan is another now; whether to compare again.
fn outdated_ui(ui: &mut Ui) -> bool {
    ui.horizontal(|ui| {
        let warn = Theme::of(ui).warn;
        ui.colored_label(warn, "The plan has changed since: what is below is of the one before.");
        ui.button("Compare again").clicked()
    })
    .inner
}

fn progress_ui(ui: &mut Ui, progress: &Progress) {
    let (done, all) = (progress.done.load(Ordering::Relaxed), progress.all.load(Ordering::Relaxed));
    ui.add_space(24.0);
    ui.vertical_centered(|ui| match all {
        0 => {
            ui.spinner();
            ui.label("Opening the other side…");
        }
        all => {
            ui.label(format!("Comparing: {done} of {all} matrices"));
            ui.add(ProgressBar::new(done as f32 / all as f32).desired_width(320.0));
        }
    });
    // The thread that compares says nothing until it is done.
    ui.ctx().request_repaint_after(std::time::Duration::from_millis(100));
}

fn failed_ui(ui: &mut Ui, why: &str) {
    ui.add_space(12.0);
    ui.colored_label(Theme::of(ui).bad, why);
}

/// Its numbers, if they are there.
pub fn csv(app: &App) -> Option<String> {
    app.views.inspect.compare.overview.ready().map(Overview::csv)
}

/// What is typed as a path.
fn typed_path(typed: &str) -> PathBuf {
    let path = Path::new(typed.trim());
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
