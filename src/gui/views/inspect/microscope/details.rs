//! One weight and the scale of its block: bit by bit, and how they came about.

use eframe::egui::{
    Align2, CornerRadius, FontId, Label, RichText, Role, ScrollArea, Sense, Ui, Vec2, WidgetInfo,
    pos2, vec2,
};

use super::super::colours;
use crate::gui::theme::{self, Theme};
use crate::gui::widgets::{caption, heading};
use crate::inspect::{Block, Class, Codec, explain};

/// Draws them.
pub fn details_ui(ui: &mut Ui, block: &Block, index: usize) {
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        let Some(cell) = block.cells.get(index) else { return };
        heading(ui, &format!("Weight {} of the block", index + 1));
        caption(ui, &format!("row {}, column {}", cell.row, cell.column));
        if let Some(weight) = cell.weight {
            let codec = Codec::Float(block.kind);
            part_ui(ui, "Weight", codec, codec.encode(weight), &weight.to_string());
        }
        let codec = block.coder.codec();
        part_ui(ui, "Code", codec, cell.code, &codec.value(cell.code).to_string());
        let scale = &block.scale;
        let of = if block.tile.is_block { "Scale of the block" } else { "Scale" };
        part_ui(ui, of, scale.codec, scale.code, &scale.value.to_string());
        if let Some((global, divides)) = scale.global {
            let name = if divides { "Global scale, which divides" } else { "Global scale" };
            let codec = Codec::Float(crate::numeric::FloatKind::F32);
            part_ui(ui, name, codec, codec.encode(global), &global.to_string());
        }
        if let Some(zero) = scale.zero_point {
            ui.label(format!("Zero point {zero}"));
        }
        ui.add_space(6.0);
        heading(ui, "How it came about");
        let muted = Theme::of(ui).muted;
        for step in explain(block, index) {
            ui.horizontal_wrapped(|ui| {
                ui.label(RichText::new(step.name).font(theme::strong()));
                ui.label(RichText::new(&step.formula).small().color(muted));
            });
            ui.add(Label::new(RichText::new(&step.numbers).monospace()).wrap());
            ui.add_space(2.0);
        }
        let amax = block.amax_at.filter(|_| block.tile.is_block);
        if let Some(cell) = amax.and_then(|at| block.cells.get(at)) {
            let text = match amax == Some(index) {
                true => "This is the largest weight of its block.".to_owned(),
                false => {
                    let (row, column) = (cell.row, cell.column);
                    format!("The largest weight of the block is in row {row}, column {column}.")
                }
            };
            caption(ui, &text);
        }
    });
}

/// A number with its bits.
fn part_ui(ui: &mut Ui, name: &str, codec: Codec, code: u32, value: &str) {
    ui.add_space(4.0);
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new(name).font(theme::strong()));
        ui.label(RichText::new(codec.name()).small().color(Theme::of(ui).muted));
        ui.label(RichText::new(value).monospace());
        let class = codec.class(code);
        if let Some(colour) = colours::class(Theme::of(ui), class).filter(|_| class != Class::Zero)
        {
            ui.label(RichText::new(class.name()).small().color(colour));
        }
    });
    bits_ui(ui, codec, code);
    caption(ui, &format!("{code:#x} = {}", codec.formula(code)));
}

/// The bits of a code, coloured by what they are.
pub fn bits_ui(ui: &mut Ui, codec: Codec, code: u32) {
    let fields = codec.fields(code);
    let bits = f32::from(codec.bits());
    let gaps = 6.0 * fields.len().saturating_sub(1) as f32;
    let side = ((ui.available_width() - gaps) / bits).clamp(7.0, 20.0);
    let size = vec2(bits * side + gaps, side.max(14.0));
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let theme = Theme::of(ui);
    let mut x = rect.left();
    for field in &fields {
        let colour = colours::field(theme, field.kind);
        for bit in (0..field.bits).rev() {
            let is_set = (field.value >> bit) & 1 == 1;
            let corner = pos2(x, rect.top());
            let cell = eframe::egui::Rect::from_min_size(corner, Vec2::new(side - 1.0, size.y));
            let fill = if is_set { colour } else { colour.gamma_multiply(0.28) };
            ui.painter().rect_filled(cell, CornerRadius::same(2), fill);
            let font = FontId::monospace((side * 0.62).min(12.0));
            let on = if is_set { Theme::on(colour) } else { theme.text };
            let digit = if is_set { "1" } else { "0" };
            ui.painter().text(cell.center(), Align2::CENTER_CENTER, digit, font, on);
            x += side;
        }
        x += 6.0;
    }
    let parts = fields.iter().map(|field| format!("{} {}", field.kind.name(), field.value));
    let said = parts.collect::<Vec<_>>().join(", ");
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, format!("bits: {said}")));
    response.on_hover_text(said);
}
