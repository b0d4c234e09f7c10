//! The header of the table: it says what columns hold, sorts by them and sets their widths.

use eframe::egui::{
    Align2, Color32, CornerRadius, CursorIcon, Painter, Pos2, Rect, Role, Sense, Shape, Stroke, Ui,
    WidgetInfo, pos2, vec2,
};

use super::body::GUTTER;
use super::cells::PADDING;
use super::columns::Place;
use crate::gui::app::App;
use crate::gui::theme::{self, Theme};
use crate::report::{Column, GroupBy};

/// Its height.
pub const HEIGHT: f32 = 26.0;
/// How near the pointer must be to the end of a column to move it.
const GRIP: f32 = 4.0;

/// Draws it above lines that are scrolled sideways so far.
pub fn header_ui(app: &mut App, ui: &mut Ui, places: &[Place], scrolled: f32) {
    let area = ui.max_rect();
    let colours = Theme::of(ui);
    ui.painter().rect_filled(area, CornerRadius::ZERO, colours.panel);
    let names = places.first().map_or(0.0, |(_, place)| place.max);
    let beside = area.with_min_x(area.left() + names);
    for (i, (column, place)) in places.iter().enumerate() {
        let left = if i == 0 { area.left() } else { area.left() - scrolled };
        let rect = Rect::from_x_y_ranges(left + place.min..=left + place.max, area.y_range());
        let seen = if i == 0 { area } else { beside };
        if rect.intersects(seen) {
            let mut cell = ui.new_child(eframe::egui::UiBuilder::new().max_rect(rect));
            cell.set_clip_rect(seen.intersect(ui.clip_rect()));
            column_ui(app, &cell, rect, *column);
        }
    }
    let line = Stroke::new(1.0, colours.line);
    ui.painter().hline(area.x_range(), area.bottom(), line);
    ui.painter().vline(area.left() + names, area.y_range(), line);
}

fn column_ui(app: &mut App, ui: &Ui, rect: Rect, column: Column) {
    let colours = Theme::of(ui);
    let title = match column {
        Column::Name if app.session.query.by == GroupBy::Layer => "layer",
        Column::Name if app.session.query.by == GroupBy::Role => "role",
        column => column.title(),
    };
    let sort = app.session.query.sort.filter(|(by, _)| *by == column);
    let order = match sort {
        Some((_, true)) => ", largest first",
        Some((_, false)) => ", smallest first",
        None => "",
    };
    let response = ui.interact(rect, ui.scope_id().with(("sort", column)), Sense::click());
    let said = format!("sort by {title}{order}");
    response.widget_info(|| WidgetInfo::labeled(Role::ColumnHeader, true, &said));
    let is_active = response.hovered() || response.has_focus() || sort.is_some();
    let colour = if is_active { colours.text } else { colours.muted };
    title_ui(ui.painter(), rect, column, title, sort, colour);
    if response.has_focus() {
        let stroke = Stroke::new(1.5, colours.accent);
        let inside = eframe::egui::StrokeKind::Inside;
        ui.painter().rect_stroke(rect, CornerRadius::same(2), stroke, inside);
    }
    if response.clicked() {
        app.session.query.sort = next_sort(app.session.query.sort, column);
    }
    response.on_hover_text(column.describe());

    let end = Rect::from_center_size(rect.right_center(), vec2(2.0 * GRIP, rect.height()));
    let grip = ui.interact(end, ui.scope_id().with(("grip", column)), Sense::DRAG | Sense::CLICK);
    let grip = grip.on_hover_cursor(CursorIcon::ResizeColumn);
    if grip.hovered() || grip.dragged() {
        ui.painter().vline(rect.right(), rect.y_range(), Stroke::new(2.0, colours.accent));
    }
    if grip.double_clicked() {
        app.settings.table.resize(column, None);
    } else if let Some(at) = grip.interact_pointer_pos().filter(|_| grip.dragged()) {
        app.settings.table.resize(column, Some(at.x - rect.left()));
    }
}

fn title_ui(
    painter: &Painter,
    rect: Rect,
    column: Column,
    title: &str,
    sort: Option<(Column, bool)>,
    colour: Color32,
) {
    let font = theme::small();
    let inside = Rect::from_x_y_ranges(
        rect.left() + if column == Column::Name { GUTTER } else { PADDING }
            ..=rect.right() - PADDING,
        rect.y_range(),
    );
    let text = match column.is_text() {
        true => painter.text(inside.left_center(), Align2::LEFT_CENTER, title, font, colour),
        false => painter.text(inside.right_center(), Align2::RIGHT_CENTER, title, font, colour),
    };
    if let Some((_, descending)) = sort {
        let x = if column.is_text() { text.right() + 8.0 } else { text.left() - 8.0 };
        arrow(painter, pos2(x, rect.center().y), descending, colour);
    }
}

fn arrow(painter: &Painter, centre: Pos2, descending: bool, colour: Color32) {
    let down = if descending { 1.0 } else { -1.0 };
    let corners = [vec2(-4.0, -2.5 * down), vec2(4.0, -2.5 * down), vec2(0.0, 3.5 * down)];
    let corners = corners.map(|corner| centre + corner).to_vec();
    painter.add(Shape::convex_polygon(corners, colour, Stroke::NONE));
}

/// How the table is sorted after a click on a header: largest first, then smallest first, then as the
/// checkpoint has it.
fn next_sort(sort: Option<(Column, bool)>, clicked: Column) -> Option<(Column, bool)> {
    match sort.filter(|(column, _)| *column == clicked) {
        None => Some((clicked, true)),
        Some((_, true)) => Some((clicked, false)),
        Some((_, false)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clicks_go_round() {
        let first = next_sort(None, Column::Amax);
        assert_eq!(first, Some((Column::Amax, true)));
        let second = next_sort(first, Column::Amax);
        assert_eq!(second, Some((Column::Amax, false)));
        assert_eq!(next_sort(second, Column::Amax), None);
        assert_eq!(next_sort(second, Column::Sqnr), Some((Column::Sqnr, true)));
    }
}
