//! What the largest magnitudes of blocks would be if blocks were shorter or longer.

use eframe::egui::{Align2, FontId, Rect, RichText, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::gui::theme::{self, Theme};
use crate::gui::widgets::caption;
use crate::inspect::{BlockLength, LengthAmax, Outliers};
use crate::units::significant;

/// Height of a bar, with the gap below.
const BAR: f32 = 20.0;

/// How much room they take.
pub fn height(outliers: &Outliers) -> f32 {
    BAR * outliers.lengths.len() as f32 + 58.0
}

/// Draws them. `own` is the length that the format has.
pub fn lengths_ui(ui: &mut Ui, outliers: &Outliers, own: Option<BlockLength>) {
    let theme = Theme::of(ui);
    ui.label(RichText::new("If another number of weights shared a scale").font(theme::heading()));
    caption(
        ui,
        "How large the largest weight of a block is on average, beside that of the tensor. The shorter the \
         bar, the finer the steps.",
    );
    let (name, value) = (120.0, 122.0);
    ui.spacing_mut().item_spacing.y = 0.0;
    for length in &outliers.lengths {
        let size = vec2(ui.available_width(), BAR);
        let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
        let is_own = own == Some(length.length);
        let colour = if is_own { theme.accent } else { theme.muted };
        let text = if is_own { theme.text } else { theme.muted };
        let painter = ui.painter();
        let middle = rect.center().y;
        let at = pos2(rect.left() + name - 8.0, middle);
        painter.text(at, Align2::RIGHT_CENTER, self::name(length.length), theme::small(), text);
        let room = (rect.width() - name - value).max(20.0);
        let track =
            Rect::from_min_size(pos2(rect.left() + name, rect.top() + 3.0), vec2(room, BAR - 7.0));
        painter.rect_filled(track, 2.0, theme.raised.gamma_multiply(0.7));
        let part = if length.mean_of_tensor.is_finite() { length.mean_of_tensor } else { 0.0 };
        let bar = Rect::from_min_size(track.min, vec2(room * part as f32, track.height()));
        painter.rect_filled(bar, 2.0, colour);
        let number = format!("{:.1} %", 100.0 * part);
        let at = pos2(track.right() + 62.0, middle);
        painter.text(at, Align2::RIGHT_CENTER, number, FontId::monospace(12.0), theme.text);
        if is_own {
            let at = pos2(track.right() + 70.0, middle);
            painter.text(at, Align2::LEFT_CENTER, "as it is", theme::small(), theme.accent);
        }
        let said = said(length);
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &said));
        response.on_hover_text(said);
    }
    ui.add_space(4.0);
}

fn name(length: BlockLength) -> String {
    match length {
        BlockLength::Weights(count) => format!("{count} weights"),
        BlockLength::Row => "a row".to_owned(),
        BlockLength::Tensor => "the whole tensor".to_owned(),
    }
}

fn said(length: &LengthAmax) -> String {
    format!(
        "{}: {}, largest magnitudes {} on average, median {}, {:.1} % of the tensor's",
        name(length.length),
        crate::units::count(length.blocks, "block"),
        significant(length.mean),
        significant(length.median),
        100.0 * length.mean_of_tensor
    )
}
