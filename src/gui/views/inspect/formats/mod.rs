//! What every format would cost each projection.

mod grid;
mod plot;
mod sheet;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use eframe::egui::{CentralPanel, Frame, Panel, ProgressBar, Ui};

use self::sheet::Sheet;
use crate::gui::app::{App, Asked};
use crate::gui::panels::{self, Wish};
use crate::gui::session::{Loaded, Session, Shown, Trials};
use crate::gui::theme::Theme;
use crate::gui::views::cursor::At;
use crate::gui::widgets::{caption, segments};
use crate::inspect::FormatMatrix;
use crate::recipe::Action;

/// What it remembers.
#[derive(Default)]
pub struct FormatsView {
    trials: Trials,
    sheet: Loaded<Sheet>,
    /// What the sheet that was asked for last is made of.
    key: u64,
    single: bool,
    cursor: At,
    /// The point of the frontier that was clicked.
    point: Option<usize>,
}

impl FormatsView {
    /// Whether anything is being worked on.
    pub fn is_busy(&self) -> bool {
        self.trials.is_busy() || self.sheet.is_busy()
    }

    /// Whether there are numbers to save.
    pub fn has_csv(&self) -> bool {
        self.sheet.ready().is_some_and(|sheet| !sheet.matrix.rows.is_empty())
    }

    fn sheet(&mut self, session: &Session) -> Shown<Sheet> {
        let Some(analysis) = session.analysis() else { return Shown::Working(None) };
        if !self.sheet.is_busy() {
            // Tensors may come in faster than a sheet is made: the one under way is let end first.
            let mut hasher = DefaultHasher::new();
            let known = self.trials.known();
            (Arc::as_ptr(analysis), Arc::as_ptr(known), known.generation()).hash(&mut hasher);
            self.key = hasher.finish();
        }
        let (analysis, known) = (Arc::clone(analysis), Arc::clone(self.trials.known()));
        self.sheet.get(&session.notify, self.key, move |_| Ok(Sheet::new(&analysis, &known)))
    }
}

/// Draws it.
pub fn formats_ui(app: &mut App, ui: &mut Ui, _asked: &mut Asked) {
    if app.session.analysis().is_some_and(|analysis| analysis.is_stored) {
        let text = "This checkpoint is quantized already. Open the floats that it was made from to see what \
                    each format does to them.";
        ui.centered_and_justified(|ui| ui.label(text));
        return;
    }
    let mut view = std::mem::take(&mut app.views.inspect.formats);
    view.trials.update(&app.session);
    let shown = view.sheet(&app.session);
    match shown.any() {
        Some(sheet) => sheet_ui(app, ui, &mut view, sheet),
        None => {
            ui.centered_and_justified(|ui| match &shown {
                Shown::Failed(why) => ui.label(why),
                _ => ui.spinner(),
            });
        }
    }
    app.views.inspect.formats = view;
}

fn sheet_ui(app: &mut App, ui: &mut Ui, view: &mut FormatsView, sheet: &Arc<Sheet>) {
    ui.horizontal_wrapped(|ui| {
        let ways = [
            (false, "projections", "A row for all layers of a projection"),
            (true, "single tensors", "A row for each tensor"),
        ];
        if let Some(single) = segments(ui, "Rows", &ways, view.single) {
            view.single = single;
            view.cursor = (0, 0);
        }
        let (done, all) = view.trials.known().progress();
        if view.trials.is_busy() && all > 0 {
            let text = format!("{done} of {all} tensors measured");
            let bar = ProgressBar::new(done as f32 / all as f32).text(text).desired_width(240.0);
            ui.add(bar);
        }
        if let Some(error) = &view.trials.error {
            ui.colored_label(Theme::of(ui).bad, error);
        }
    });
    caption(
        ui,
        "Above: signal to noise in dB, more is better. Below it: stored bits a weight. ● is the plan. A click \
         makes it so.",
    );
    let ground = Frame::NONE.fill(Theme::of(ui).ground);
    let height = (ui.available_height() * 0.46).clamp(180.0, 420.0);
    let panel = Panel::bottom("frontier").default_size(height).size_range(140.0..=700.0);
    panel.frame(ground).show(ui, |ui| plot_ui(app, ui, view, sheet));
    let mut clicked = None;
    CentralPanel::default().frame(ground).show(ui, |ui| {
        let rows = if view.single { &sheet.single } else { &sheet.rows };
        clicked = grid::grid_ui(ui, sheet, rows, &mut view.cursor);
        if let Some((row, column)) = clicked
            && let Some(row) = rows.get(row)
        {
            let Some(analysis) = app.session.analysis().cloned() else { return };
            let entries = row.entries.iter().filter_map(|i| analysis.plan.entries.get(*i));
            app.session.selection = entries.map(|entry| entry.member.tensor.name.clone()).collect();
            let wish = match sheet.columns.get(column).copied().flatten() {
                Some(format) => Wish::Set(Action::Format(format)),
                None => Wish::Keep,
            };
            panels::set_selection(&mut app.session, wish);
        }
    });
}

fn plot_ui(app: &mut App, ui: &mut Ui, view: &mut FormatsView, sheet: &Sheet) {
    ui.add_space(6.0);
    let frontier = &sheet.frontier;
    view.point = view.point.filter(|point| *point < frontier.points.len());
    ui.horizontal_wrapped(|ui| {
        ui.label(sheet.said());
        let Some(point) = view.point.and_then(|point| frontier.points.get(point)) else { return };
        let button = ui.button("Make the plan this point");
        let help = "Sets a rule for every tensor here, in place of the rules there are. Undo brings those back.";
        if button.on_hover_text(help).clicked() {
            let index = view.point.unwrap_or_default();
            let wishes: Vec<_> =
                frontier.tensors.iter().cloned().zip(frontier.choice(index)).collect();
            let name = format!("the best of {}", crate::units::bytes(point.bytes));
            panels::set_all(&mut app.session, &name, &wishes);
        }
        ui.weak(sheet.point_said(point));
    });
    plot::plot_ui(ui, sheet, &mut view.point);
}

/// Its numbers, if they are there: of every tensor in every format.
pub fn csv(app: &App) -> Option<String> {
    let sheet = app.views.inspect.formats.sheet.ready()?;
    (!sheet.matrix.rows.is_empty()).then(|| FormatMatrix::csv(&sheet.matrix))
}
