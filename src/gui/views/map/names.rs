//! Names of rows and columns. They stay in sight, and a click on one selects all of its cells.

use eframe::egui::epaint::TextShape;
use eframe::egui::{
    Align2, Color32, Painter, Pos2, Rect, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2,
};

use super::act::{Act, How};
use super::grid::{Grid, Seen};
use super::layout::{MODULES, SLOPE};
use super::placed::Placed;
use crate::gui::theme::{self, Theme};

impl Grid<'_> {
    /// Names of rows, which stay at the left.
    pub(super) fn row_names_ui(&self, ui: &Ui, place: &Placed, seen: &mut Seen) {
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

    /// Names of columns, which stay at the top.
    pub(super) fn column_names_ui(&self, ui: &Ui, place: &Placed, seen: &mut Seen) {
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
                let text = if layout.slanted { elided(&head.alone()) } else { elided(&head.short) };
                name(&painter, foot, &text, layout.slanted, colour);
            }
            if !layout.slanted {
                self.modules_ui(&painter, theme, place, block);
            }
            if let Some(c) = clicked {
                let how = How::without_range(ui.input(|input| input.modifiers));
                let rows = 0..self.sheet.rows.len();
                seen.act = Some(Act::Select(rows.map(|r| (r, c)).collect(), how));
            }
        }
    }

    /// Names of modules over the columns that are a part of them.
    fn modules_ui(&self, painter: &Painter, theme: &Theme, place: &Placed, block: usize) {
        let columns = &self.sheet.columns;
        let mut first = 0;
        for run in columns.chunk_by(|a, b| a.part_of == b.part_of) {
            let (left, right) = (first, first + run.len() - 1);
            first = right + 1;
            let part_of = &run[0].part_of;
            if part_of.is_empty() {
                continue;
            }
            let (left, right) = (place.header(block, left), place.header(block, right));
            let y = left.top() + MODULES - 4.0;
            let line = left.left() + 2.0..=right.right() - 2.0;
            let middle = f32::midpoint(left.left(), right.right());
            let font = theme::small();
            let galley = painter.layout_no_wrap(part_of.clone(), font, theme.muted);
            painter.hline(line, y, Stroke::new(1.0, theme.line));
            if galley.size().x < right.right() - left.left() {
                painter.galley(pos2(middle - galley.size().x / 2.0, y - 15.0), galley, theme.muted);
            }
        }
    }
}

/// A column's name with its foot at a point: flat, or rising to the right.
fn name(painter: &Painter, foot: Pos2, text: &str, slanted: bool, colour: Color32) {
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
pub(super) fn elided(name: &str) -> String {
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
