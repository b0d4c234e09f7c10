//! The largest weights, a line each.

use eframe::egui::{
    Align2, Color32, FontId, Rect, Role, ScrollArea, Sense, Stroke, StrokeKind, Ui, WidgetInfo,
    pos2, vec2,
};

use super::super::axes::tag;
use crate::gui::theme::{self, Theme};
use crate::gui::widgets::heading;
use crate::inspect::{Outlier, Outliers};
use crate::units::significant;

/// Height of a line.
const LINE: f32 = 22.0;

/// Where the columns end, as parts of the width: σ, weight, row, column, block.
const ENDS: [f32; 5] = [0.15, 0.43, 0.56, 0.73, 1.0];

/// Draws it; the row and column that were clicked.
pub fn table_ui(ui: &mut Ui, outliers: &Outliers, chosen: (u64, usize)) -> Option<(u64, usize)> {
    let theme = Theme::of(ui);
    heading(ui, "Largest weights");
    let (head, response) = ui.allocate_exact_size(vec2(ui.available_width(), 18.0), Sense::hover());
    let width = head.width() - 14.0;
    let end = |column: usize| head.left() + ENDS[column] * width;
    let block = match outliers.block {
        block if !block.is_block => "16 around / median",
        _ => "block / median",
    };
    for (column, name) in ["|w| / σ", "weight", "row", "column", block].into_iter().enumerate() {
        let at = pos2(end(column), head.center().y);
        ui.painter().text(at, Align2::RIGHT_CENTER, name, theme::small(), theme.muted);
    }
    ui.painter().hline(head.left()..=end(4), head.bottom(), Stroke::new(1.0, theme.line));
    response.on_hover_text(
        "σ: standard deviation of all weights. / median: the largest magnitude of the block beside the \
         median of all blocks, which is by how much coarser the outlier makes its steps",
    );
    let most = outliers.largest.first().map_or(1.0, |outlier| outlier.sigmas);
    let mut clicked = None;
    let area = ScrollArea::vertical().auto_shrink([false, false]).id_salt("largest");
    ui.spacing_mut().item_spacing.y = 0.0;
    area.show_rows(ui, LINE, outliers.largest.len(), |ui, shown| {
        for outlier in &outliers.largest[shown] {
            let (rect, response) = ui.allocate_exact_size(vec2(width, LINE), Sense::click());
            let is_chosen = (outlier.row, outlier.column) == chosen;
            let fill = match () {
                () if is_chosen => theme.selected,
                () if response.hovered() || response.has_focus() => theme.raised,
                () => Color32::TRANSPARENT,
            };
            ui.painter().rect_filled(rect, 3.0, fill);
            line_ui(ui, rect, outlier, most);
            if response.has_focus() {
                let stroke = Stroke::new(1.0, theme.accent);
                ui.painter().rect_stroke(rect, 3.0, stroke, StrokeKind::Inside);
            }
            let said = said(outlier);
            let info = || WidgetInfo::selected(Role::Button, true, is_chosen, &said);
            response.widget_info(info);
            if response.clicked() {
                clicked = Some((outlier.row, outlier.column));
            }
        }
    });
    if outliers.largest.is_empty() {
        let at = [head.center().x, head.bottom() + 30.0];
        tag(ui.painter(), theme, (Align2::CENTER_CENTER, at), "All are zero.");
    }
    clicked
}

fn line_ui(ui: &Ui, rect: Rect, outlier: &Outlier, most: f64) {
    let theme = Theme::of(ui);
    let end = |column: usize| rect.left() + ENDS[column] * rect.width();
    let y = rect.center().y;
    // As long as the weight is large beside the largest.
    let part = (outlier.sigmas / most).clamp(0.0, 1.0) as f32;
    let bar = Rect::from_min_size(
        pos2(end(0) + 8.0, rect.bottom() - 4.0),
        vec2((end(1) - end(0) - 8.0) * part, 2.0),
    );
    ui.painter().rect_filled(bar, 1.0, theme.series[0]);
    let number = |column: usize, text: String, colour: Color32| {
        let font = FontId::monospace(12.0);
        let at = pos2(end(column), y - if column == 1 { 1.0 } else { 0.0 });
        ui.painter().text(at, Align2::RIGHT_CENTER, text, font, colour);
    };
    number(0, format!("{:.1}", outlier.sigmas), theme.text);
    number(1, significant(outlier.value.into()), theme.text);
    number(2, outlier.row.to_string(), theme.text);
    number(3, outlier.column.to_string(), theme.text);
    let colour = if outlier.over_median >= 4.0 { theme.warn } else { theme.muted };
    number(4, format!("{:.1} ×", outlier.over_median), colour);
}

/// A weight in a sentence.
fn said(outlier: &Outlier) -> String {
    format!("weight {} at row {}, column {}", outlier.value, outlier.row, outlier.column)
}
