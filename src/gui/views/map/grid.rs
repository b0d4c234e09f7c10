//! The cells, with the names of their rows and columns, which stay in sight; clicks and keys.

use eframe::egui::{
    Align2, EventFilter, Id, Key, Modifiers, Painter, Pos2, Rect, Role, ScrollArea, Sense, Ui,
    Vec2, WidgetInfo, epaint::TextShape, pos2, vec2,
};

use super::act::{Act, How};
use super::cells;
use super::layout::{Content, Layout, SLOPE};
use super::sheet::Sheet;
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
        let last = sheet.rows.last().map_or("", |row| &row.short);
        Content {
            rows: sheet.rows.len(),
            columns: sheet.columns.len(),
            label: width(last).max(width(self.row_title)),
            name: sheet.columns.iter().map(|head| width(&elided(&head.short))).fold(0.0, f32::max),
            number,
            wraps: self.wraps,
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
            let stroke = eframe::egui::Stroke::new(1.5, theme.text);
            let kind = eframe::egui::StrokeKind::Outside;
            painter.rect_stroke(place.cell(at), 2.0, stroke, kind);
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

    fn row_names_ui(&self, ui: &Ui, place: &Placed, seen: &mut Seen) {
        let theme = Theme::of(ui);
        let top = place.body.top();
        let clip = Rect::from_min_max(pos2(place.clip.left(), top), place.clip.max);
        let painter = ui.painter().with_clip_rect(clip.intersect(ui.clip_rect()));
        for block in 0..place.layout.blocks {
            let (rows, _) = place.layout.in_sight(block, place.body.translate(-place.origin));
            for r in rows {
                let head = &self.sheet.rows[r];
                let rect = place.label(r);
                let columns = 0..self.sheet.columns.len();
                let response =
                    ui.interact(rect.intersect(clip), ui.scope_id().with(("row", r)), Sense::CLICK);
                let said = format!("select {}", head.full);
                response.widget_info(|| WidgetInfo::labeled(Role::RowHeader, true, &said));
                let is_lit = response.hovered() || seen.hovered.is_some_and(|at| at.0 == r);
                let colour = if is_lit { theme.text } else { theme.muted };
                let at = rect.right_center() - vec2(8.0, 0.0);
                painter.text(at, Align2::RIGHT_CENTER, &head.short, theme::small(), colour);
                if response.clicked() {
                    let how = How::without_range(ui.input(|input| input.modifiers));
                    seen.act = Some(Act::Select(columns.map(|c| (r, c)).collect(), how));
                }
                response.on_hover_text(said);
            }
        }
    }

    fn column_names_ui(&self, ui: &Ui, place: &Placed, seen: &mut Seen) {
        let theme = Theme::of(ui);
        let layout = &place.layout;
        let bottom = place.body.top();
        for block in 0..layout.blocks {
            let corner = place.header(block, 0).left_bottom();
            let clip = Rect::from_min_max(
                pos2(place.body.left(), place.clip.top()),
                pos2(place.clip.right(), bottom),
            );
            let painter = ui.painter().with_clip_rect(clip.intersect(ui.clip_rect()));
            let title_at = pos2(corner.x.max(place.body.left()) - 8.0, bottom - 5.0);
            let title = self.row_title;
            ui.painter().text(title_at, Align2::RIGHT_BOTTOM, title, theme::small(), theme.muted);
            let mut lit = seen.hovered.map(|at| at.1);
            let mut clicked = None;
            for (c, head) in self.sheet.columns.iter().enumerate() {
                let rect = place.header(block, c).intersect(clip);
                if !rect.is_positive() {
                    continue;
                }
                let id = ui.scope_id().with(("column", block, c));
                let response = ui.interact(rect, id, Sense::CLICK);
                let said = format!("select {}", head.full);
                response.widget_info(|| WidgetInfo::labeled(Role::ColumnHeader, true, &said));
                // A name that rises lies over the places of its neighbours.
                let pointed = response.hover_pos().map(|at| place.column_at(block, at));
                lit = pointed.or(lit);
                if response.clicked() {
                    clicked = Some(pointed.unwrap_or(c));
                }
                let full = pointed.map_or(&head.full, |c| &self.sheet.columns[c].full);
                response.on_hover_text(format!("select {full}"));
            }
            for (c, head) in self.sheet.columns.iter().enumerate() {
                let rect = place.header(block, c);
                let colour = if lit == Some(c) { theme.text } else { theme.muted };
                let foot = pos2(rect.left() + layout.cell.x / 2.0, bottom - 5.0);
                name(&painter, foot, &elided(&head.short), layout.slanted, colour);
            }
            if let Some(c) = clicked {
                let how = How::without_range(ui.input(|input| input.modifiers));
                let rows = 0..self.sheet.rows.len();
                seen.act = Some(Act::Select(rows.map(|r| (r, c)).collect(), how));
            }
        }
    }

    /// The map takes keys as one widget, and says where its cursor is.
    fn keys(&self, ui: &Ui, place: &Placed, seen: &mut Seen) {
        let response = ui.interact(place.body, keyboard(ui), Sense::FOCUSABLE);
        seen.has_focus = response.has_focus();
        if seen.has_focus {
            let filter = EventFilter {
                horizontal_arrows: true,
                vertical_arrows: true,
                ..EventFilter::default()
            };
            ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
            self.keys_pressed(ui, place, seen);
        }
        let (r, c) = seen.cursor.unwrap_or(self.cursor);
        let said = self
            .sheet
            .cell(r, c)
            .map_or_else(|| "nothing here".to_owned(), |row| cells::said(self.column, row));
        response.widget_info(|| WidgetInfo {
            current_text_value: Some(said.clone()),
            ..WidgetInfo::labeled(Role::Grid, true, format!("Map of {}", self.column.title()))
        });
    }

    fn keys_pressed(&self, ui: &Ui, place: &Placed, seen: &mut Seen) {
        let (rows, columns) = (self.sheet.rows.len(), self.sheet.columns.len());
        if rows == 0 || columns == 0 {
            return;
        }
        let (mut r, mut c) = (self.cursor.0.min(rows - 1), self.cursor.1.min(columns - 1));
        let before = (r, c);
        let pressed = |key| ui.input(|input| input.key_pressed(key));
        for (key, down, right) in [
            (Key::ArrowDown, 1, 0),
            (Key::ArrowUp, -1, 0),
            (Key::ArrowRight, 0, 1),
            (Key::ArrowLeft, 0, -1),
            (Key::PageDown, 10, 0),
            (Key::PageUp, -10, 0),
            (Key::End, 0, columns as isize),
            (Key::Home, 0, -(columns as isize)),
        ] {
            if pressed(key) {
                r = r.saturating_add_signed(down).min(rows - 1);
                c = c.saturating_add_signed(right).min(columns - 1);
            }
        }
        if (r, c) != before {
            seen.cursor = Some((r, c));
            ui.scroll_to_rect(place.with_names(place.cell((r, c))), None);
        }
        let Some(row) = self.sheet.cell(r, c) else { return };
        let modifiers = ui.input(|input| input.modifiers);
        match self.sheet.experts_in(row) {
            Some(layer) if pressed(Key::Enter) => seen.act = Some(Act::Experts(Some(layer))),
            _ if pressed(Key::Enter) || pressed(Key::Space) => {
                // Space with control is the system's; the map has no other way to add by keys.
                let modifiers = Modifiers { command: modifiers.any(), ..Modifiers::NONE };
                seen.act = Some(Act::Select(vec![(r, c)], How::of(modifiers)));
            }
            _ => {}
        }
    }
}

/// The widget that takes keys.
fn keyboard(ui: &Ui) -> Id {
    ui.scope_id().with("keyboard")
}

/// A layout on the screen.
struct Placed {
    layout: Layout,
    /// The upper left corner of it all, which may be out of sight.
    origin: Vec2,
    /// The upper left corner of what is in sight.
    corner: Pos2,
    clip: Rect,
    /// Where cells are in sight.
    body: Rect,
}

impl Placed {
    fn cell(&self, (row, column): At) -> Rect {
        let rect = self.layout.cell_rect(row, column).translate(self.origin);
        rect.shrink2(vec2(1.0, 0.75))
    }

    /// Row names stay at the left, where there is one block of them.
    fn label(&self, row: usize) -> Rect {
        let rect = self.layout.label_rect(row).translate(self.origin);
        match self.layout.blocks {
            1 => rect.translate(vec2(self.corner.x - rect.left(), 0.0)),
            _ => rect,
        }
    }

    /// Column names stay at the top.
    fn header(&self, block: usize, column: usize) -> Rect {
        let rect = self.layout.header_rect(block, column).translate(self.origin);
        rect.translate(vec2(0.0, self.corner.y - rect.top()))
    }

    fn column_at(&self, block: usize, at: Pos2) -> usize {
        self.layout.column_at(block, vec2(at.x - self.origin.x, at.y - self.corner.y))
    }

    /// A cell with what lies over its surroundings: names must not hide it.
    fn with_names(&self, rect: Rect) -> Rect {
        let left = if self.layout.blocks == 1 { self.layout.label } else { 0.0 };
        Rect::from_min_max(rect.min - vec2(left, self.layout.header), rect.max)
    }
}

/// A column's name with its foot at a point: flat, or rising to the right.
fn name(painter: &Painter, foot: Pos2, text: &str, slanted: bool, colour: eframe::egui::Color32) {
    if !slanted {
        painter.text(foot, Align2::CENTER_BOTTOM, text, theme::small(), colour);
        return;
    }
    let galley = painter.layout_no_wrap(text.to_owned(), theme::small(), colour);
    // It turns about its upper left corner; the middle of its left side is to be over the foot.
    let half = galley.size().y / 2.0 * SLOPE;
    let corner = foot - vec2(half, half);
    painter.add(TextShape::new(corner, galley, colour).with_angle(-std::f32::consts::FRAC_PI_4));
}

/// A name without its middle, if it is too long for a header.
fn elided(name: &str) -> String {
    const MOST: usize = 26;
    let count = name.chars().count();
    if count <= MOST {
        return name.to_owned();
    }
    let half = MOST / 2;
    let start = name.chars().take(half);
    start.chain(['…']).chain(name.chars().skip(count - half + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::elided;

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(elided("post_attention_layernorm"), "post_attention_layernorm");
        let short = elided("a_very_long_name_of_a_projection_that_ends");
        assert_eq!(short, "a_very_long_n…on_that_ends");
    }
}
