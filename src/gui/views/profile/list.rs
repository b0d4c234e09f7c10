//! The tensors beyond the threshold.

use std::collections::BTreeSet;

use eframe::egui::{self, Align, Button, Layout, RichText, ScrollArea, Ui, WidgetInfo, vec2};

use super::lines::{Profile, is_worse_below};
use crate::gui::session::Session;
use crate::gui::theme::{self, Theme};
use crate::gui::views::map::{choose, how, tooltip_of};
use crate::gui::widgets::heading;
use crate::report::Column;
use crate::units::count;

/// Draws it.
pub fn list_ui(
    ui: &mut Ui,
    session: &mut Session,
    profile: &Profile,
    column: Column,
    threshold: f64,
) {
    let beyond = profile.beyond(threshold);
    let side = if is_worse_below(column) { "below" } else { "above" };
    ui.add_space(4.0);
    let title =
        format!("{} {side} {}", count(beyond.len() as u64, "tensor"), column.shown(threshold));
    heading(ui, &title);
    if beyond.is_empty() {
        ui.weak("Move the threshold to list tensors here.");
        return;
    }
    let help =
        "Selects all tensors of this list, to keep them float or to give them another format.";
    if ui.button(format!("Select all {side}")).on_hover_text(help).clicked() {
        let rows = beyond.iter().filter_map(|(_, entry)| profile.tensor(*entry));
        session.selection = rows.map(|row| row.name.clone()).collect();
    }
    ui.add_space(2.0);
    let height = 22.0;
    let mut clicked: Option<BTreeSet<String>> = None;
    ScrollArea::vertical().auto_shrink(false).show_rows(ui, height, beyond.len(), |ui, shown| {
        let theme = Theme::of(ui);
        for (_, entry) in &beyond[shown] {
            let Some(row) = profile.tensor(*entry) else { continue };
            let is_selected = session.selection.contains(&row.name);
            ui.horizontal(|ui| {
                ui.set_height(height);
                let number = RichText::new(column.text(row)).font(theme::strong());
                let layout = Layout::right_to_left(Align::Center);
                ui.allocate_ui_with_layout(vec2(58.0, height), layout, |ui| {
                    ui.set_min_width(58.0);
                    ui.label(number);
                });
                let name = RichText::new(short(&row.name)).color(theme.text);
                let button = Button::selectable(is_selected, name).truncate();
                let response = ui.add(button);
                let said = format!("{}: {} {}", row.name, column.title(), column.text(row));
                response.widget_info(|| {
                    WidgetInfo::selected(egui::Role::Button, true, is_selected, &said)
                });
                if response.clicked() {
                    clicked = Some([row.name.clone()].into());
                }
                response.on_hover_ui(|ui| tooltip_of(ui, row));
            });
        }
    });
    if let Some(names) = clicked {
        choose(&mut session.selection, names, how(ui));
    }
}

/// A name without what all have.
fn short(name: &str) -> &str {
    let name = name.strip_suffix(".weight").unwrap_or(name);
    let name = name.strip_prefix("model.").unwrap_or(name);
    name.strip_prefix("layers.").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn names_keep_what_tells_them_apart() {
        assert_eq!(short("model.layers.3.mlp.down_proj.weight"), "3.mlp.down_proj");
        assert_eq!(short("lm_head.weight"), "lm_head");
    }
}
