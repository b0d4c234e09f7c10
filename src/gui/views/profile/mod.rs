//! Numbers layer by layer, a line a projection, and which tensors are beyond a threshold.

mod legend;
mod lines;
mod list;
mod plot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use eframe::egui::{CentralPanel, DragValue, Frame, Margin, Panel, Ui};

use lines::{Profile, Wanted};

use super::map::{at_right, choose, how};
use crate::gui::app::{App, Asked};
use crate::gui::theme::Theme;
use crate::gui::widgets::{caption, segments};
use crate::report::svg::{LinePlot, PlotLine, line_plot};
use crate::report::{Column, ReportFormat, table_text};
use crate::units::significant;

/// What it remembers.
#[derive(Debug)]
pub struct ProfileView {
    column: Column,
    /// Whether norms and biases are shown.
    small: bool,
    /// Names of projections that are not shown.
    hidden: BTreeSet<String>,
    /// Where the user has moved each threshold.
    thresholds: HashMap<Column, f64>,
    profile: Option<Arc<Profile>>,
}

impl Default for ProfileView {
    fn default() -> Self {
        Self {
            column: Column::Amax,
            small: false,
            hidden: BTreeSet::new(),
            thresholds: HashMap::new(),
            profile: None,
        }
    }
}

/// Numbers that a profile can show: what they are called here.
const COLUMNS: [(Column, &str); 4] = [
    (Column::Amax, "amax"),
    (Column::StdDev, "σ"),
    (Column::MaxError, "max error"),
    (Column::Sqnr, "SQNR"),
];

/// Draws it.
pub fn profile_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    let Some(profile) = profile_of(app) else { return };
    app.session.measurements.want(&profile.entries);
    let column = app.views.profile.column;
    let known = app.views.profile.thresholds.get(&column).copied();
    let before = known.unwrap_or_else(|| profile.first_threshold());
    let mut threshold = before;
    bar_ui(app, ui, asked, &profile, &mut threshold);
    legend::legend_ui(ui, &profile, &mut app.views.profile.hidden);
    caption(ui, &profile.summary.text());
    let ground = Frame::NONE.fill(Theme::of(ui).ground);
    let list = |ui: &mut Ui| list::list_ui(ui, &mut app.session, &profile, column, threshold);
    match ui.available_width() > 660.0 {
        true => {
            let panel = Panel::right("beyond").default_size(290.0).size_range(200.0..=480.0);
            panel
                .frame(ground.inner_margin(Margin { left: 8, ..Default::default() }))
                .show(ui, list);
        }
        false => {
            let panel = Panel::bottom("beyond below").default_size(190.0).size_range(100.0..=400.0);
            panel.resizable(true).frame(ground).show(ui, list);
        }
    }
    CentralPanel::default().frame(ground).show(ui, |ui| {
        if profile.summary.scale.is_none() {
            let text = match app.session.is_busy() {
                true => "Numbers show as soon as they are measured.",
                false => "There are no such numbers: choose a format, or show more lines.",
            };
            ui.centered_and_justified(|ui| ui.label(text));
            return;
        }
        let selection = &app.session.selection;
        let clicked = plot::plot_ui(ui, &profile, column, &mut threshold, selection);
        if let Some(names) = clicked {
            choose(&mut app.session.selection, names, how(ui));
        }
    });
    if threshold != before {
        app.views.profile.thresholds.insert(column, threshold);
    }
}

/// What is shown, made anew where something has changed.
fn profile_of(app: &mut App) -> Option<Arc<Profile>> {
    let (session, view) = (&app.session, &mut app.views.profile);
    let analysis = session.analysis()?;
    let wanted = Wanted { column: view.column, small: view.small, hidden: view.hidden.clone() };
    let known = view.profile.take();
    let known = known.filter(|profile| profile.is_of(analysis, &session.tables, &wanted));
    let profile =
        known.unwrap_or_else(|| Arc::new(Profile::new(analysis, &session.tables, wanted)));
    view.profile = Some(Arc::clone(&profile));
    Some(profile)
}

fn bar_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked, profile: &Profile, threshold: &mut f64) {
    ui.horizontal_wrapped(|ui| {
        let view = &mut app.views.profile;
        let offered: Vec<_> = COLUMNS.map(|(c, name)| (c, name, c.describe())).into();
        let shown = view.column;
        if let Some(column) = segments(ui, "Numbers", &offered, view.column) {
            view.column = column;
        }
        ui.checkbox(&mut view.small, "Norms and biases")
            .on_hover_text("Shows the tensors that no format is for as well.");
        ui.add_space(8.0);
        threshold_ui(ui, threshold);
        let (app, threshold) = (&*app, *threshold);
        at_right(ui, |ui| save_ui(app, ui, asked, profile, shown, threshold));
    });
}

/// The threshold as a number.
fn threshold_ui(ui: &mut Ui, threshold: &mut f64) {
    ui.horizontal(|ui| {
        let label = ui.label("Threshold");
        let speed = threshold.abs().max(1e-9) / 200.0;
        let field = DragValue::new(threshold).speed(speed).custom_formatter(|n, _| significant(n));
        let help = "Tensors beyond it are listed. Drag it here, or the line in the plot.";
        ui.add(field).labelled_by(label.id).on_hover_text(help);
    });
}

fn save_ui(
    app: &App,
    ui: &mut Ui,
    asked: &mut Asked,
    profile: &Profile,
    column: Column,
    threshold: f64,
) {
    let Some((_, document)) = &app.session.document else { return };
    let name = document.name.clone();
    let file = |ending: &str| format!("{name}-profile-{}.{ending}", column.key());
    if ui.button("Save as CSV").on_hover_text("Every number of the points shown.").clicked() {
        let rows = profile.shown_points().filter_map(|(_, point)| profile.row(point));
        asked.save = Some((file("csv"), table_text(rows, ReportFormat::Csv).into_bytes()));
    }
    if ui.button("Save as SVG").on_hover_text("This plot as a picture.").clicked() {
        let svg = svg(profile, column, &name, threshold);
        asked.save = Some((file("svg"), svg.into_bytes()));
    }
}

/// The plot as SVG, on white.
fn svg(profile: &Profile, column: Column, name: &str, threshold: f64) -> String {
    let theme = Theme::in_mode(eframe::egui::Theme::Light);
    let shown = profile.lines.iter().enumerate().filter(|(_, line)| line.shown);
    let line = |(i, line): (usize, &lines::Line)| {
        let (colour, dashed) = plot::look(theme, i);
        PlotLine {
            name: line.name.clone(),
            colour: [colour.r(), colour.g(), colour.b()],
            dashed,
            points: line.points.iter().map(|p| (f64::from(p.layer), p.number)).collect(),
        }
    };
    line_plot(&LinePlot {
        title: format!("{name} · {}", column.title()),
        about: format!("{} {}.", column.describe(), profile.summary.text()),
        column,
        lines: shown.map(line).collect(),
        threshold: Some(threshold),
    })
}
