//! The lines of the table. Only what is on screen is made.

use std::ops::Range;

use eframe::egui::{
    Align2, Color32, CornerRadius, Id, Painter, Pos2, Rect, Response, Role, ScrollArea, Sense,
    Shape, Stroke, StrokeKind, Ui, UiBuilder, Vec2, WidgetInfo, pos2, vec2,
};

use super::columns::Place;
use super::{cells, selecting};
use crate::gui::app::App;
use crate::gui::session::Line;
use crate::gui::theme::Theme;
use crate::gui::widgets::Mark;
use crate::report::{Column, Row};

/// Height of a line.
pub const LINE: f32 = 22.0;
/// Room for marks, to the left of names.
pub const GUTTER: f32 = 22.0;
/// How far the rows of experts are set in.
const STEP: f32 = 14.0;
/// Entries that measuring is told to take first, at most.
const MOST_WANTED: usize = 4096;

/// Draws the lines; how far they are scrolled sideways.
pub fn body_ui(app: &mut App, ui: &mut Ui, id: Id, places: &[Place]) -> f32 {
    let lines = app.session.tables.lines.len();
    let total = places.last().map_or(0.0, |(_, place)| place.max);
    let area = ui.max_rect();
    let focus = ui.interact(area, id, Sense::focusable_noninteractive());
    focus.widget_info(|| WidgetInfo::labeled(Role::Table, true, "Statistics"));
    let mut scroll = ScrollArea::both().id_salt("lines").auto_shrink(false);
    if let Some(line) = app.views.table.scroll_to.take() {
        let state =
            eframe::egui::scroll_area::State::load(ui.ctx(), ui.make_persistent_id("lines"));
        let now = state.map_or(0.0, |state| state.clamped_offset().y);
        if let Some(offset) = revealed(line, now, area.height()) {
            scroll = scroll.vertical_scroll_offset(offset);
        }
    }
    let scrolled = scroll.show_viewport(ui, |ui, viewport| {
        ui.set_min_size(vec2(total, lines as f32 * LINE));
        let first = (viewport.min.y / LINE).max(0.0) as usize;
        let last = ((viewport.max.y / LINE).ceil().max(0.0) as usize).min(lines);
        let shown = first.min(last)..last;
        app.views.table.page = shown.len();
        let top = ui.max_rect().top();
        let view = Rect::from_min_size(area.min, viewport.size());
        lines_ui(app, ui, Frame { places, view, top, scrolled: viewport.min.x }, shown, &focus);
    });
    if lines == 0 {
        let nothing = match app.session.tables.rows.is_empty() {
            true => "",
            false => "No row is as the filter wants it.",
        };
        let muted = Theme::of(ui).muted;
        let font = eframe::egui::TextStyle::Body.resolve(ui.style());
        ui.painter().text(area.center(), Align2::CENTER_CENTER, nothing, font, muted);
    }
    scrolled.state.clamped_offset().x
}

/// To where to scroll so that a line is on screen; nowhere if it is.
fn revealed(line: usize, now: f32, height: f32) -> Option<f32> {
    let (top, bottom) = (line as f32 * LINE, (line + 1) as f32 * LINE);
    // With a scroll bar below, the last line would be half hidden.
    let height = (height - LINE).max(LINE);
    if top < now {
        // What is far away is shown with some of what comes before.
        Some(if now - top > height { (top - 4.0 * LINE).max(0.0) } else { top })
    } else if bottom > now + height {
        let far = bottom - (now + height) > height;
        Some(if far { (top - 4.0 * LINE).max(0.0) } else { bottom - height })
    } else {
        None
    }
}

/// Where lines are drawn.
#[derive(Clone, Copy)]
struct Frame<'a> {
    places: &'a [Place],
    /// What is seen.
    view: Rect,
    /// Where the first line begins.
    top: f32,
    /// How far columns other than the first are scrolled to the left.
    scrolled: f32,
}

impl Frame<'_> {
    /// Width of the first column, which stays.
    fn names(&self) -> f32 {
        self.places.first().map_or(0.0, |(_, place)| place.max)
    }

    fn line(&self, line: usize) -> Rect {
        let top = self.top + line as f32 * LINE;
        Rect::from_min_size(pos2(self.view.left(), top), vec2(self.view.width(), LINE))
    }

    /// The column at a place.
    fn column_at(&self, at: Pos2) -> Option<Column> {
        let x = at.x - self.view.left();
        let x = if x < self.names() { x } else { x + self.scrolled };
        self.places.iter().find(|(_, place)| place.contains(x)).map(|(column, _)| *column)
    }
}

fn lines_ui(app: &mut App, ui: &mut Ui, frame: Frame<'_>, shown: Range<usize>, focus: &Response) {
    let tables = std::sync::Arc::clone(&app.session.tables);
    let lines = &tables.lines[shown.clone()];
    let rows = lines.iter().map(|line| &tables.rows[line.row]).filter(|row| row.is_partial);
    let wanted: Vec<usize> = rows.flat_map(|row| &row.entries).copied().take(MOST_WANTED).collect();
    app.session.measurements.want(&wanted);

    let theme = Theme::of(ui);
    let has_keyboard = focus.has_focus();
    for (place, line) in shown.zip(lines) {
        let (row, rect) = (&tables.rows[line.row], frame.line(place));
        let is_chosen = app.session.chosen.has(row);
        let response = ui.interact(rect, ui.scope_id().with(&row.name), Sense::CLICK);
        let info = || WidgetInfo::selected(Role::Row, true, is_chosen, said(row));
        response.widget_info(info);
        let ground = match (is_chosen, response.contains_pointer()) {
            (true, _) => theme.selected,
            (false, true) => theme.panel.lerp_to_gamma(theme.raised, 0.5),
            (false, false) => theme.ground,
        };
        ui.painter().rect_filled(rect, CornerRadius::ZERO, ground);
        let failures = &app.session.measurements.failures;
        let entries = row.entries.iter().filter(|_| !failures.is_empty());
        let failure = entries.filter_map(|entry| failures.get(entry)).next().cloned();
        let failure = failure.as_deref();
        numbers_ui(ui, frame, rect, row, &tables, failure.is_some());
        let folded = name_ui(ui, frame, rect, line, row, ground, failure.is_some());
        if has_keyboard && app.views.table.cursor == Some(place) {
            let stroke = Stroke::new(1.5, theme.accent);
            ui.painter().rect_stroke(rect, CornerRadius::same(2), stroke, StrokeKind::Inside);
        }
        if folded {
            let open = line.open == Some(false);
            app.session.query.folds.insert(row.name.clone(), open);
        } else if response.clicked() {
            focus.request_focus();
            selecting::pick(app, place, ui.input(|input| input.modifiers));
        }
        let column = response.hover_pos().and_then(|at| frame.column_at(at));
        if let Some(text) = column.and_then(|column| cells::explained(column, row, failure)) {
            response.on_hover_text_at_pointer(text);
        }
    }
    let right = frame.view.left() + frame.names();
    ui.painter().vline(right, frame.view.y_range(), Stroke::new(1.0, theme.line));
}

/// Draws all of a line but its name.
fn numbers_ui(
    ui: &Ui,
    frame: Frame<'_>,
    rect: Rect,
    row: &Row,
    numbers: &crate::gui::session::Numbers,
    failed: bool,
) {
    let theme = Theme::of(ui);
    let beside = rect.with_min_x(rect.left() + frame.names());
    let painter = ui.painter().with_clip_rect(beside.intersect(ui.clip_rect()));
    for (column, place) in frame.places.iter().skip(1) {
        let left = rect.left() - frame.scrolled;
        let cell = Rect::from_x_y_ranges(left + place.min..=left + place.max, rect.y_range());
        if cell.intersects(beside) {
            cells::draw(&painter, cell, theme, *column, row, numbers, failed);
        }
    }
}

/// Draws the name of a line, and what stands before it; whether that was clicked to open or close it.
fn name_ui(
    ui: &mut Ui,
    frame: Frame<'_>,
    rect: Rect,
    line: &Line,
    row: &Row,
    ground: Color32,
    failed: bool,
) -> bool {
    let theme = Theme::of(ui);
    let cell = rect.with_max_x(rect.left() + frame.names());
    let painter = ui.painter_at(cell.intersect(ui.clip_rect()));
    painter.rect_filled(cell, CornerRadius::ZERO, ground);
    let gutter = Rect::from_min_size(cell.min, vec2(GUTTER, LINE));
    let mut is_clicked = false;
    if failed {
        let place = Rect::from_center_size(gutter.center(), Vec2::splat(14.0));
        Mark::Bad.show(&mut ui.new_child(UiBuilder::new().max_rect(place)));
    } else if let Some(open) = line.open {
        let response = ui.interact(gutter, ui.scope_id().with(("fold", &row.name)), Sense::CLICK);
        let what = if open { "hide" } else { "show" };
        let said = format!("{what} the experts of {}", row.name);
        response.widget_info(|| WidgetInfo::selected(Role::DisclosureTriangle, true, open, &said));
        let colour = if response.hovered() { theme.accent } else { theme.muted };
        triangle(&painter, gutter.center(), open, colour);
        is_clicked = response.clicked();
    }
    let indent = if line.is_part { STEP } else { 0.0 };
    let left = gutter.right() + indent;
    let width = cell.right() - left - cells::PADDING;
    let font = cells::digits();
    let character = ui.fonts_mut(|fonts| fonts.glyph_width(&font, '0'));
    let name = crate::units::name(&row.name);
    let text = cells::shortened(&name, (width / character) as usize);
    let colour = if line.is_part { theme.muted } else { theme.text };
    painter.text(pos2(left, cell.center().y), Align2::LEFT_CENTER, text, font, colour);
    is_clicked
}

fn triangle(painter: &Painter, centre: Pos2, open: bool, colour: Color32) {
    let corners = match open {
        true => [vec2(-4.5, -2.5), vec2(4.5, -2.5), vec2(0.0, 3.5)],
        false => [vec2(-2.5, -4.5), vec2(3.5, 0.0), vec2(-2.5, 4.5)],
    };
    let corners = corners.map(|corner| centre + corner).to_vec();
    painter.add(Shape::convex_polygon(corners, colour, Stroke::NONE));
}

/// What a screen reader says of a row.
fn said(row: &Row) -> String {
    let mut said = row.name.clone();
    for (i, (column, unit)) in [(Column::Amax, ""), (Column::Sqnr, " dB")].into_iter().enumerate() {
        if column.number(row).is_some() {
            let begin = if i == 0 { ": " } else { ", " };
            said += &format!("{begin}{} {}{unit}", name_of(column), column.text(row));
        }
    }
    said
}

const fn name_of(column: Column) -> &'static str {
    match column {
        Column::Sqnr => "SQNR",
        column => column.title(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_brought_on_screen_only_from_outside() {
        assert_eq!(revealed(3, 0.0, 440.0), None);
        assert_eq!(revealed(2, 3.0 * LINE, 440.0), Some(2.0 * LINE));
        assert_eq!(revealed(19, 0.0, 440.0), Some(20.0 * LINE - 418.0));
        assert_eq!(revealed(1000, 0.0, 440.0), Some(996.0 * LINE));
        assert_eq!(revealed(2, 1000.0 * LINE, 440.0), Some(0.0));
    }
}
