//! The cells, drawn and clicked; those in sight only.

use eframe::egui::{Rect, Role, ScrollArea, Sense, Stroke, StrokeKind, Ui, Vec2, WidgetInfo, vec2};

use super::act::{Act, How};
use super::cells;
use super::keys::keyboard;
use super::layout::{Content, Layout};
use super::names::elided;
use super::placed::Placed;
use super::sheet::{Head, Sheet};
use crate::gui::session::Session;
use crate::gui::theme::{self, Theme};
use crate::report::{Column, Row, Value};

/// A cell, by row and column.
pub type At = (usize, usize);

/// What is drawn, and what it depends on.
pub struct Grid<'a> {
    /// What is in the cells.
    pub sheet: &'a Sheet,
    /// What is selected.
    pub session: &'a Session,
    /// Which of their numbers.
    pub column: Column,
    /// Where the keyboard is.
    pub cursor: At,
    /// What the rows are, such as `layer`.
    pub row_title: &'static str,
    /// Whether rows may stand in several blocks side by side.
    pub wraps: bool,
}

/// What a frame brought.
#[derive(Default)]
pub struct Seen {
    /// What was asked for.
    pub act: Option<Act>,
    /// The cell that is pointed at.
    pub hovered: Option<At>,
    /// Where the keyboard is now, if it has moved.
    pub cursor: Option<At>,
    /// Whether keys go to the map.
    pub has_focus: bool,
    /// The plan's entries that are in sight.
    pub entries: Vec<usize>,
}

impl Grid<'_> {
    /// Draws it.
    pub fn show(&self, ui: &mut Ui) -> Seen {
        let layout = Layout::new(self.content(ui), ui.available_size() - Vec2::splat(2.0));
        let mut seen = Seen::default();
        let area = ScrollArea::both().id_salt(self.row_title).auto_shrink(false);
        area.show_viewport(ui, |ui, viewport| {
            let (whole, _) = ui.allocate_exact_size(layout.size(), Sense::hover());
            let corner = whole.min + viewport.min.to_vec2();
            let clip = Rect::from_min_size(corner, viewport.size());
            // Row names of a single block stay in sight; those of several go with their block.
            let left = if layout.blocks == 1 { layout.label } else { 0.0 };
            let body = Rect::from_min_max(corner + vec2(left, layout.header), clip.max);
            let place = Placed { layout, origin: whole.min.to_vec2(), corner, clip, body };
            self.keys(ui, &place, &mut seen);
            self.cells_ui(ui, &place, &mut seen);
            self.row_names_ui(ui, &place, &mut seen);
            self.column_names_ui(ui, &place, &mut seen);
        });
        seen
    }

    fn content(&self, ui: &Ui) -> Content {
        let width = |text: &str| {
            let font = theme::small();
            ui.painter().layout_no_wrap(text.to_owned(), font, Theme::of(ui).text).size().x
        };
        let sheet = self.sheet;
        // Numbers of one column are about equally wide; the ends of the scale tell how wide.
        let number = sheet.summary.scale.map_or(0.0, |scale| {
            width(&self.column.shown(scale.min)).max(width(&self.column.shown(scale.max)))
        });
        let widest = |name: &dyn Fn(&Head) -> String| {
            let widths = sheet.columns.iter().map(|head| width(&elided(&name(head))));
            widths.fold(0.0, f32::max)
        };
        let last = sheet.rows.last().map_or("", |row| &row.short);
        Content {
            rows: sheet.rows.len(),
            columns: sheet.columns.len(),
            label: width(last).max(width(self.row_title)),
            name: widest(&|head| head.short.clone()),
            rising: widest(&Head::alone),
            number,
            wraps: self.wraps,
            modules: sheet.columns.iter().any(|head| !head.part_of.is_empty()),
        }
    }

    fn cells_ui(&self, ui: &mut Ui, place: &Placed, seen: &mut Seen) {
        let theme = Theme::of(ui);
        let painter = ui.painter().with_clip_rect(place.body.expand(1.0).intersect(ui.clip_rect()));
        let scale = self.sheet.summary.scale;
        let is_any_selected = !self.session.selection.is_empty();
        let fits = place.layout.cell.x >= self.content(ui).number + 8.0;
        for block in 0..place.layout.blocks {
            let sight = place.body.translate(-place.origin);
            let (rows, columns) = place.layout.in_sight(block, sight);
            for at in rows.flat_map(|r| columns.clone().map(move |c| (r, c))) {
                let Some(row) = self.sheet.cell(at.0, at.1) else { continue };
                let rect = place.cell(at);
                let value = Value::of(self.column, row);
                let text = fits.then(|| self.column.text(row));
                cells::cell(&painter, theme, rect, value, scale.as_ref(), text.as_deref());
                if self.sheet.experts_in(row).is_some() {
                    let fill = value.number().zip(scale).map(|(n, s)| cells::colour(&s, n));
                    cells::experts(&painter, rect, fill.map_or(theme.muted, Theme::on));
                }
                let is_selected = is_any_selected && self.is_selected(row);
                if is_selected {
                    cells::selected(&painter, theme, rect);
                }
                seen.entries.extend(&row.entries);
                self.cell_ui(ui, place, at, row, is_selected, seen);
            }
        }
        if let Some(at) = seen.hovered {
            let stroke = Stroke::new(1.5, theme.text);
            painter.rect_stroke(place.cell(at), 2.0, stroke, StrokeKind::Outside);
        }
        if seen.has_focus && !self.sheet.rows.is_empty() {
            cells::cursor(&painter, theme, place.cell(seen.cursor.unwrap_or(self.cursor)));
        }
    }

    fn is_selected(&self, row: &Row) -> bool {
        let mut names = self.sheet.names(row).peekable();
        names.peek().is_some() && names.all(|name| self.session.selection.contains(name))
    }

    fn cell_ui(&self, ui: &Ui, place: &Placed, at: At, row: &Row, chosen: bool, seen: &mut Seen) {
        let visible = place.cell(at).intersect(place.body);
        if !visible.is_positive() {
            return;
        }
        let response = ui.interact(visible, ui.scope_id().with(("cell", at)), Sense::CLICK);
        let said = || cells::said(self.column, row);
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, chosen, said()));
        if response.hovered() {
            seen.hovered = Some(at);
        }
        if response.double_clicked()
            && let Some(layer) = self.sheet.experts_in(row)
        {
            seen.act = Some(Act::Experts(Some(layer)));
        } else if response.clicked() {
            ui.memory_mut(|memory| memory.request_focus(keyboard(ui)));
            let modifiers = ui.input(|input| input.modifiers);
            seen.act = Some(Act::Select(vec![at], How::of(modifiers)));
            seen.cursor = (!modifiers.shift).then_some(at);
        }
        if response.hovered() || response.is_tooltip_open() {
            let failures = &self.session.measurements.failures;
            let failure = row.entries.iter().find_map(|entry| failures.get(entry));
            response.on_hover_ui(|ui| {
                cells::tooltip(ui, self.sheet, row, failure.map(String::as_str));
            });
        }
    }
}
