//! The statistics table: a line for each tensor, or group of tensors, with all that is known of it.

mod body;
mod cells;
mod columns;
mod filter_bar;
mod header;
mod selecting;

use eframe::egui::{Id, Rect, Ui, UiBuilder};

pub use cells::shortened;
pub use columns::TableColumns;

use crate::gui::app::{App, Asked};
use crate::gui::session::Session;
use crate::report::Row;

/// What it remembers.
#[derive(Debug, Default)]
pub struct TableView {
    /// Whether the filter is to be typed into.
    pub focus_filter: bool,
    /// The line that the keyboard acts on.
    cursor: Option<usize>,
    /// The line from which a selection is extended.
    anchor: Option<usize>,
    /// How often something else had been selected, when it was brought on screen last.
    seen: u64,
    /// The line to bring on screen.
    scroll_to: Option<usize>,
    /// How many lines fit on the screen.
    page: usize,
}

/// Draws it.
pub fn table_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    filter_bar::filter_bar_ui(app, ui, asked);
    let area = ui.available_rect_before_wrap();
    let id = Id::unique("statistics table");
    selecting::notice_changes(app);
    selecting::keys(app, ui, id);
    let places = columns::places(app, area.width());
    let (top, below) = area.split_top_bottom_at_y(area.top() + header::HEIGHT);
    // The header follows what the lines below it are scrolled to.
    let scrolled = body::body_ui(app, &mut child(ui, below), id, &places);
    header::header_ui(app, &mut child(ui, top), &places, scrolled);
    ui.advance_cursor_after_rect(area);
}

fn child(ui: &mut Ui, rect: Rect) -> Ui {
    ui.new_child(UiBuilder::new().max_rect(rect))
}

/// The rows that are shown, or folded away, in their order.
pub fn shown_rows(session: &Session) -> Vec<&Row> {
    session.tables.order.iter().map(|&i| &session.tables.rows[i]).collect()
}

/// The rows that are shown and selected; all that are shown if none is.
pub fn chosen_rows(session: &Session) -> Vec<&Row> {
    let shown = shown_rows(session);
    let chosen: Vec<&Row> = shown.iter().copied().filter(|row| session.chosen.has(row)).collect();
    if chosen.is_empty() { shown } else { chosen }
}

/// Selects every tensor of the rows that are shown.
pub fn select_shown(session: &mut Session) {
    let Some(analysis) = session.analysis().cloned() else { return };
    let names = shown_rows(session).into_iter().flat_map(|row| analysis.tensors_of(row));
    session.selection = names.cloned().collect();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use eframe::egui::{Key, Modifiers, Vec2};
    use egui_kittest::kittest::Queryable;
    use egui_kittest::{Harness, Node};

    use crate::device::CPU;
    use crate::format::Format;
    use crate::gui::{App, Settings, Source, View};
    use crate::recipe::Recipe;
    use crate::report::Column;

    fn opened() -> Harness<'static, Option<App>> {
        let mut harness = Harness::builder().with_size(Vec2::new(1600.0, 900.0)).build_ui_state(
            |ui, app: &mut Option<App>| {
                let new = || {
                    let settings = Settings {
                        view: View::Table,
                        device: CPU.to_owned(),
                        ..Settings::default()
                    };
                    let mut app = App::new(ui.ctx(), settings, None, None);
                    let recipe = Recipe { format: Some(Format::Nvfp4), ..Recipe::default() };
                    app.open_with(Source::Demo, recipe);
                    app
                };
                app.get_or_insert_with(new).show(ui);
            },
            None,
        );
        settle(&mut harness);
        harness
    }

    fn settle(harness: &mut Harness<'static, Option<App>>) {
        harness.run_steps(2);
        while harness.state().as_ref().is_none_or(App::is_busy) {
            std::thread::sleep(Duration::from_millis(2));
            harness.step();
        }
        harness.run_steps(4);
    }

    fn app<'a>(harness: &'a Harness<'static, Option<App>>) -> &'a App {
        harness.state().as_ref().unwrap()
    }

    fn row<'a>(harness: &'a Harness<'static, Option<App>>, name: &'a str) -> Node<'a> {
        harness.get_by_label_contains(name)
    }

    fn selected(harness: &Harness<'static, Option<App>>) -> Vec<String> {
        let parts = |name: &String| name.split('.').skip(2).take(3).collect::<Vec<_>>().join(".");
        app(harness).session.selection.iter().map(parts).collect()
    }

    #[test]
    fn rows_are_selected_by_pointer_and_by_keyboard() {
        let mut harness = opened();
        row(&harness, "layers.0.mlp.down_proj.weight: amax").click();
        settle(&mut harness);
        assert_eq!(selected(&harness), ["0.mlp.down_proj"]);
        row(&harness, "layers.0.mlp.up_proj.weight: amax").click_modifiers(Modifiers::COMMAND);
        settle(&mut harness);
        assert_eq!(selected(&harness), ["0.mlp.down_proj", "0.mlp.up_proj"]);
        row(&harness, "layers.0.mlp.gate_proj.weight: amax").click();
        settle(&mut harness);
        row(&harness, "layers.0.post_attention_layernorm.weight: amax")
            .click_modifiers(Modifiers::SHIFT);
        settle(&mut harness);
        let three = ["0.mlp.gate_proj", "0.mlp.up_proj", "0.post_attention_layernorm.weight"];
        assert_eq!(selected(&harness), three);

        harness.key_press(Key::Home);
        settle(&mut harness);
        harness.key_press(Key::ArrowDown);
        settle(&mut harness);
        harness.key_press(Key::Enter);
        settle(&mut harness);
        assert_eq!(selected(&harness), ["0.input_layernorm.weight"]);
        harness.key_press_modifiers(Modifiers::SHIFT, Key::ArrowDown);
        settle(&mut harness);
        assert_eq!(selected(&harness), ["0.input_layernorm.weight", "0.mlp.down_proj"]);
        harness.key_press(Key::Space);
        settle(&mut harness);
        assert_eq!(selected(&harness), ["0.input_layernorm.weight"]);
    }

    #[test]
    fn a_click_on_a_header_sorts() {
        let mut harness = opened();
        let first = |harness: &Harness<'static, Option<App>>| {
            let tables = &app(harness).session.tables;
            Column::Amax.number(&tables.rows[tables.order[0]]).unwrap()
        };
        harness.get_by_label("sort by amax").click();
        settle(&mut harness);
        let most = first(&harness);
        harness.get_by_label("sort by amax, largest first").click();
        settle(&mut harness);
        assert!(first(&harness) < most);
        harness.get_by_label("sort by amax, smallest first").click();
        settle(&mut harness);
        assert_eq!(app(&harness).session.query.sort, None);
    }

    #[test]
    fn what_is_typed_filters_and_a_mistake_is_told() {
        let mut harness = opened();
        harness.get_by_label("Filter").focus();
        harness.step();
        harness.get_by_label("Filter").type_text("down_proj");
        settle(&mut harness);
        assert_eq!(app(&harness).session.tables.lines.len(), 4);
        harness.get_by_label("4 of 38 rows");
        harness.get_by_label("Filter").type_text(" amx>2");
        settle(&mut harness);
        harness.get_by_label_contains("no column is called amx");
    }
}
