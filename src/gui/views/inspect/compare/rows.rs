//! All matrices that both sides have, those that differ most first.

use std::ops::Range;

use eframe::egui::{
    Align2, CornerRadius, Painter, Rect, RichText, Role, ScrollArea, Sense, Ui, WidgetInfo, pos2,
    vec2,
};

use super::super::colours;
use crate::gui::theme::{self, Theme};
use crate::gui::widgets::{Mark, caption};
use crate::inspect::{Counts, DifferenceClass, Overview, OverviewRow};
use crate::units::{count, significant};

const LINE: f32 = 24.0;
/// Room for counts, for the bar and for the largest difference, from the right.
const NUMBERS: [f32; 3] = [86.0, 96.0, 84.0];

/// What came of it, in a sentence.
pub fn total_ui(ui: &mut Ui, overview: &Overview) {
    let (counts, theme) = (overview.counts(), Theme::of(ui));
    let differing = overview.rows.iter().filter(|row| row.counts.differing() > 0).count();
    let all = match overview.rows.len() {
        1 => "1 matrix".to_owned(),
        n => format!("{n} matrices"),
    };
    let left_out = overview.alone.iter().map(Vec::len).sum::<usize>()
        + overview.sizes.len()
        + overview.refused.len();
    let real = counts.differing() - counts.of(DifferenceClass::LegalTie);
    let (mark, colour, text) = match (overview.rows.len(), differing) {
        (0, _) => (Mark::Warn, theme.warn, "They have no matrix in common.".to_owned()),
        (1, 0) => (Mark::Good, theme.good, "The one matrix of both is equal.".to_owned()),
        (n, 0) => (Mark::Good, theme.good, format!("All {n} matrices are equal.")),
        _ if real == 0 => {
            let text =
                format!("{differing} of {all} differ in legal ties only: {}.", kinds(&counts));
            (Mark::Good, theme.good, text)
        }
        _ => {
            let weights = count(counts.differing(), "weight");
            let text = format!("{differing} of {all} differ, in {weights}: {}.", kinds(&counts));
            (Mark::Bad, theme.bad, text)
        }
    };
    ui.horizontal(|ui| {
        mark.show(ui);
        ui.label(RichText::new(text).font(theme::strong()).color(colour));
        if left_out > 0 {
            let text = format!(
                "{} could not be compared; they are listed last.",
                count(left_out as u64, "tensor")
            );
            ui.weak(text);
        }
    });
}

/// The classes of what differs, with how many there are of each.
pub fn kinds(counts: &Counts) -> String {
    let there = DifferenceClass::ALL.into_iter().skip(1).filter(|class| counts.of(*class) > 0);
    there
        .map(|class| format!("{} {}", counts.of(class), class.name()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Draws them; the one that was clicked.
pub fn rows_ui(ui: &mut Ui, overview: &Overview, selected: Option<&str>) -> Option<String> {
    let columns = columns(Rect::from_min_size(ui.cursor().min, vec2(ui.available_width(), LINE)));
    let (head, _) = ui.allocate_exact_size(vec2(ui.available_width(), 18.0), Sense::hover());
    let muted = Theme::of(ui).muted;
    let titles = ["matrix", "differ", "of all weights", "largest"];
    for (i, (column, title)) in columns.iter().zip(titles).enumerate() {
        let (x, align) = match i {
            1 | 3 => (column.end, Align2::RIGHT_TOP),
            _ => (column.start, Align2::LEFT_TOP),
        };
        ui.painter().text(pos2(x, head.top()), align, title, theme::small(), muted);
    }
    let notes = notes(overview);
    let lines = overview.rows.len() + notes.len();
    let mut clicked = None;
    let area = ScrollArea::vertical().id_salt("matrices").auto_shrink(false);
    ui.spacing_mut().item_spacing.y = 0.0;
    area.show_rows(ui, LINE, lines, |ui, shown| {
        for line in shown {
            match overview.rows.get(line) {
                Some(row) => {
                    if row_ui(ui, row, selected == Some(row.tensor.as_str())) {
                        clicked = Some(row.tensor.clone());
                    }
                }
                None => {
                    let note = notes.get(line - overview.rows.len());
                    let text = note.map(String::as_str).unwrap_or_default();
                    ui.set_min_height(LINE);
                    caption(ui, text);
                }
            }
        }
    });
    clicked
}

/// What cannot be compared, and why.
fn notes(overview: &Overview) -> Vec<String> {
    let alone = overview.alone.iter().zip(&overview.names).flat_map(|(tensors, side)| {
        tensors.iter().map(move |tensor| format!("{tensor}: only in {side}"))
    });
    let sizes = overview
        .sizes
        .iter()
        .map(|(tensor, [a, b])| format!("{tensor}: {}×{} and {}×{}", a[0], a[1], b[0], b[1]));
    let refused = overview.refused.iter().map(|(tensor, why)| format!("{tensor}: {why}"));
    sizes.chain(refused).chain(alone).collect()
}

/// Where the name, the count, the bar and the largest difference are.
fn columns(line: Rect) -> [Range<f32>; 4] {
    let [counts, bar, largest] = NUMBERS;
    let right = line.right() - 8.0;
    [
        line.left() + 8.0..right - counts - bar - largest - 8.0,
        right - counts - bar - largest..right - bar - largest - 10.0,
        right - bar - largest..right - largest,
        right - largest..right,
    ]
}

fn row_ui(ui: &mut Ui, row: &OverviewRow, is_selected: bool) -> bool {
    let size = vec2(ui.available_width(), LINE);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let (theme, painter) = (Theme::of(ui), ui.painter());
    if is_selected || response.hovered() || response.has_focus() {
        let fill = if is_selected { theme.selected } else { theme.raised };
        painter.rect_filled(rect, CornerRadius::same(4), fill);
    }
    let [name, differ, bar, largest] = columns(rect);
    let y = rect.center().y;
    let clipped =
        painter.with_clip_rect(Rect::from_x_y_ranges(name.start..=name.end, rect.y_range()));
    let font = eframe::egui::TextStyle::Body.resolve(ui.style());
    // Names differ at their ends, so that is what is seen of one that has no room.
    let galley = painter.layout_no_wrap(row.tensor.clone(), font.clone(), theme.text);
    let is_long = galley.size().x > name.end - name.start;
    let (x, align) = match is_long {
        true => (name.end, Align2::RIGHT_CENTER),
        false => (name.start, Align2::LEFT_CENTER),
    };
    clipped.text(pos2(x, y), align, &row.tensor, font, theme.text);
    let differing = row.counts.differing();
    let text = |x: f32, text: &str, colour| {
        painter.text(pos2(x, y), Align2::RIGHT_CENTER, text, theme::small(), colour);
    };
    if differing == 0 {
        text(differ.end, "equal", theme.good);
    } else {
        text(differ.end, &differing.to_string(), theme.text);
        text(largest.end, &significant(row.largest), theme.text);
    }
    let bar = Rect::from_x_y_ranges(bar.start..=bar.end, y - 5.0..=y + 5.0);
    shares(painter, theme, bar, &row.counts);
    let kinds = if differing == 0 { "equal".to_owned() } else { kinds(&row.counts) };
    let said = format!("{}: {kinds} of {}", row.tensor, row.counts.total());
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, is_selected, &said));
    response.on_hover_text(&said).clicked()
}

/// A bar of all weights by class, in which the fewest can be seen too.
fn shares(painter: &Painter, theme: &Theme, rect: Rect, counts: &Counts) {
    painter.rect_filled(rect, CornerRadius::same(3), theme.raised);
    let total = counts.total().max(1) as f32;
    let mut right = rect.right();
    for class in DifferenceClass::ALL.into_iter().rev() {
        let share = counts.of(class) as f32 / total;
        if class == DifferenceClass::Equal || share == 0.0 {
            continue;
        }
        let left = (right - (share * rect.width()).max(3.0)).max(rect.left());
        let part = Rect::from_x_y_ranges(left..=right, rect.y_range());
        painter.rect_filled(part, CornerRadius::same(1), colours::difference(theme, class));
        right = left;
    }
}
