//! Layers and experts: odd ones stand out.

mod list;
mod map;
mod sheet;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use eframe::egui::{CentralPanel, Frame, Margin, Panel, Ui};

use self::sheet::Sheet;
use crate::gui::app::{App, Asked};
use crate::gui::session::{Analysis, Loaded, Session, Shown, Tables};
use crate::gui::theme::Theme;
use crate::gui::views::cursor::At;
use crate::gui::widgets::{caption, choices, segments};
use crate::inspect::{ExpertGrid, ExpertStatistic, ODD};
use crate::units::count;

/// What it remembers.
#[derive(Default)]
pub struct ExpertsView {
    projection: Option<String>,
    statistic: ExpertStatistic,
    by_z: bool,
    cursor: Option<At>,
    sheet: Loaded<Sheet>,
    /// What the last sheet was asked for of; held, so that no other has their addresses.
    of: Option<(Arc<Analysis>, Arc<Tables>)>,
}

impl ExpertsView {
    /// Whether anything is being worked on.
    pub fn is_busy(&self) -> bool {
        self.sheet.is_busy()
    }

    /// Whether there are numbers to save.
    pub fn has_csv(&self) -> bool {
        self.grid().is_some()
    }

    /// What was shown last.
    fn grid(&self) -> Option<&ExpertGrid> {
        let sheet = self.sheet.ready()?;
        Some(&sheet.of(self.projection.as_deref(), self.statistic)?.grid)
    }

    /// All grids there are, made anew where measurements have come in.
    fn sheet(&mut self, session: &Session) -> Shown<Sheet> {
        let Some(analysis) = session.analysis() else { return Shown::Working(None) };
        // Tables are made anew whenever there are new measurements, and not too often.
        let mut hasher = DefaultHasher::new();
        (Arc::as_ptr(analysis), Arc::as_ptr(&session.tables)).hash(&mut hasher);
        let known = self.of.as_ref().is_some_and(|(known, tables)| {
            Arc::ptr_eq(known, analysis) && Arc::ptr_eq(tables, &session.tables)
        });
        if !known {
            self.of = Some((Arc::clone(analysis), Arc::clone(&session.tables)));
        }
        let (analysis, stats) = (Arc::clone(analysis), &session.measurements.stats);
        let stats = if known && self.sheet.ready().is_some() { Vec::new() } else { stats.clone() };
        self.sheet
            .get(&session.notify, hasher.finish(), move |_| Ok(Sheet::new(&analysis.plan, &stats)))
    }
}

/// Draws it.
pub fn experts_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    let mut view = std::mem::take(&mut app.views.inspect.experts);
    let shown = view.sheet(&app.session);
    match shown.any() {
        Some(sheet) => sheet_ui(app, ui, asked, &mut view, sheet),
        None => {
            ui.centered_and_justified(|ui| match &shown {
                Shown::Failed(why) => ui.label(why),
                _ => ui.spinner(),
            });
        }
    }
    app.views.inspect.experts = view;
}

fn sheet_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked, view: &mut ExpertsView, sheet: &Sheet) {
    bar_ui(ui, view, sheet);
    let Some(part) = sheet.of(view.projection.as_deref(), view.statistic) else {
        let text = match app.session.is_busy() {
            true => "Experts that share a tensor show once they are measured.",
            false => "This checkpoint has no experts.",
        };
        ui.centered_and_justified(|ui| ui.label(text));
        return;
    };
    let grid = &part.grid;
    let known = grid.cells.iter().filter(|cell| cell.value.is_some()).count();
    caption(ui, &said(grid, part.odd.len(), known));
    let chosen = chosen(app, grid).or(view.cursor.filter(|at| grid.cell(at.0, at.1).is_some()));
    let ground = Frame::NONE.fill(Theme::of(ui).ground);
    let panel = Panel::right("odd experts").default_size(360.0).size_range(260.0..=520.0);
    let mut picked = None;
    panel.frame(ground.inner_margin(Margin { left: 12, ..Margin::ZERO })).show(ui, |ui| {
        picked = list::list_ui(app, ui, asked, sheet, part, chosen);
    });
    CentralPanel::default().frame(ground).show(ui, |ui| {
        map::legend_ui(ui, part, view.by_z);
        let seen = map::map_ui(ui, part, view.by_z, chosen, view.cursor);
        view.cursor = seen.cursor.or(view.cursor);
        picked = picked.or(seen.picked);
        app.session.measurements.want(&seen.entries);
    });
    if let Some(at) = picked {
        view.cursor = Some(at);
        choose(app, grid, at);
    }
}

fn bar_ui(ui: &mut Ui, view: &mut ExpertsView, sheet: &Sheet) {
    ui.horizontal_wrapped(|ui| {
        let current = sheet.projection(view.projection.as_deref()).unwrap_or_default().to_owned();
        choices(ui, "Projection", &current, 220.0, |ui| {
            for name in &sheet.projections {
                let odd: usize = sheet.parts_of(name).map(|part| part.odd.len()).sum();
                let text = if odd > 0 { format!("{name}  ({odd} odd)") } else { name.clone() };
                if ui.selectable_label(*name == current, text).clicked() {
                    view.projection = Some(name.clone());
                }
            }
        });
        let offered = ExpertStatistic::ALL.map(|statistic| {
            let part = sheet.of(Some(&current), statistic);
            let odd = part.map_or(0, |part| part.odd.len());
            let name = statistic.name();
            let text = if odd > 0 { format!("{name} · {odd} odd") } else { name.to_owned() };
            (statistic, text)
        });
        let offered: Vec<(ExpertStatistic, &str, &str)> =
            offered.iter().map(|(which, text)| (*which, text.as_str(), help(*which))).collect();
        if let Some(statistic) = segments(ui, "Statistic", &offered, view.statistic) {
            view.statistic = statistic;
        }
        ui.separator();
        ui.label("colour by");
        let ways = [
            (false, "value", "The number itself"),
            (true, "how odd", "Distance from the other experts of the layer, in robust σ"),
        ];
        if let Some(by_z) = segments(ui, "Colour by", &ways, view.by_z) {
            view.by_z = by_z;
        }
    });
}

const fn help(statistic: ExpertStatistic) -> &'static str {
    match statistic {
        ExpertStatistic::Amax => "Largest magnitude of the weights",
        ExpertStatistic::StdDev => "Standard deviation of the weights",
        ExpertStatistic::MeanAbs => "Mean magnitude of the weights",
        ExpertStatistic::Sqnr => {
            "Signal to quantization noise: higher is better. Needs a format in the recipe"
        }
        ExpertStatistic::MaxError => "Largest error of a weight. Needs a format in the recipe",
        ExpertStatistic::Zeros => "Weights that are exactly zero, in percent",
    }
}

/// What the map shows, in words.
fn said(grid: &ExpertGrid, odd: usize, known: usize) -> String {
    let all = count(grid.cells.len() as u64, "expert");
    if known == 0 {
        let why = match grid.statistic {
            ExpertStatistic::Sqnr | ExpertStatistic::MaxError => {
                "choose a format in the recipe, or wait until it is measured"
            }
            _ => "not measured yet",
        };
        return format!("{all} of {}: {why}", grid.projection);
    }
    if grid.cells.iter().all(|cell| cell.z.is_none()) {
        return format!(
            "{all} of {}. With fewer than four in a layer, none can be called odd.",
            grid.projection
        );
    }
    let odd = match odd {
        0 => "none is far from the others of its layer".to_owned(),
        1 => format!("one is outlined: {ODD} or more robust σ from the others of its layer"),
        n => format!("{n} are outlined: {ODD} or more robust σ from the others of their layer"),
    };
    format!("A row is a layer, a cell one expert of {}. Of {all} {odd}.", grid.projection)
}

/// The expert that is looked at.
fn chosen(app: &App, grid: &ExpertGrid) -> Option<At> {
    let focus = &app.session.inspection.focus;
    let analysis = app.session.analysis()?;
    let entry = *analysis.by_name.get(focus.tensor.as_ref()?)?;
    let own = analysis.plan.entries.get(entry)?.member.expert;
    let expert = own.map_or(focus.expert as usize, |expert| expert as usize);
    let row = (0..grid.layers.len())
        .find(|row| grid.cell(*row, expert).is_some_and(|cell| cell.entry == Some(entry)))?;
    Some((row, expert))
}

/// Looks at an expert.
fn choose(app: &mut App, grid: &ExpertGrid, (row, expert): At) {
    let Some(entry) = grid.cell(row, expert).and_then(|cell| cell.entry) else { return };
    let Some(analysis) = app.session.analysis().cloned() else { return };
    let Some(entry) = analysis.plan.entries.get(entry) else { return };
    let name = &entry.member.tensor.name;
    app.session.inspection.focus.turn_to(name);
    app.session.inspection.focus.expert =
        if entry.member.expert.is_some() { 0 } else { expert as u64 };
    app.session.selection = [name.clone()].into();
}

/// Its numbers, if they are there.
pub fn csv(app: &App) -> Option<String> {
    app.views.inspect.experts.grid().map(ExpertGrid::csv)
}
