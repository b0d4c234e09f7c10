//! Small things that several panels and views draw.

use eframe::egui::{
    self, Color32, CornerRadius, Rect, Response, RichText, Role, Sense, Stroke, StrokeKind, Ui,
    Vec2, WidgetInfo, pos2,
};

use super::theme::{self, Theme};

/// A heading of a panel or view.
pub fn heading(ui: &mut Ui, text: &str) -> Response {
    ui.label(RichText::new(text).font(theme::heading()))
}

/// The name of a group of controls.
pub fn caption(ui: &mut Ui, text: &str) -> Response {
    let muted = Theme::of(ui).muted;
    ui.label(RichText::new(text).font(theme::small()).color(muted))
}

/// Choices side by side, of which one holds; the one that was clicked. `name` says what they are about.
pub fn segments<T: PartialEq + Copy>(
    ui: &mut Ui,
    name: &str,
    choices: &[(T, &str, &str)],
    current: T,
) -> Option<T> {
    let mut clicked = None;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        for (choice, label, help) in choices {
            let button = egui::Button::selectable(*choice == current, *label);
            let response = ui.add(button);
            let said = format!("{name}: {label}");
            let selected = *choice == current;
            response.widget_info(|| WidgetInfo::selected(Role::RadioButton, true, selected, &said));
            if response.on_hover_text(*help).clicked() {
                clicked = Some(*choice);
            }
        }
    });
    clicked.filter(|choice| *choice != current)
}

/// Choices that open below what is chosen now. `name` says what they are about, to screen readers.
pub fn choices(
    ui: &mut Ui,
    name: &str,
    current: &str,
    width: f32,
    contents: impl FnOnce(&mut Ui),
) -> Response {
    let combo =
        egui::ComboBox::from_id_salt(name).width(width).height(480.0).selected_text(current);
    let response = combo.show_ui(ui, contents).response;
    response.widget_info(|| {
        let mut info = WidgetInfo::labeled(Role::ComboBox, true, name);
        info.current_text_value = Some(current.to_owned());
        info
    });
    response
}

/// Gives a widget without a text of its own the name that screen readers say.
pub fn named(response: &Response, role: Role, name: &str) {
    response.widget_info(|| WidgetInfo::labeled(role, response.enabled(), name));
}

/// Lets a widget that has the focus keep the arrow keys, which would move the focus else.
pub fn keep_arrows(ui: &Ui, id: egui::Id, horizontal: bool) {
    let filter = egui::EventFilter {
        horizontal_arrows: horizontal,
        vertical_arrows: true,
        ..egui::EventFilter::default()
    };
    ui.memory_mut(|memory| memory.set_focus_lock_filter(id, filter));
}

/// The state of something, by shape as well as by colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It holds: a tick.
    Good,
    /// It deserves a look: a triangle.
    Warn,
    /// It is wrong: a cross.
    Bad,
    /// It has no effect: an empty circle.
    Off,
}

impl Mark {
    /// What it says.
    const fn name(self) -> &'static str {
        match self {
            Self::Good => "passed",
            Self::Warn => "finding",
            Self::Bad => "failed",
            Self::Off => "no effect",
        }
    }

    /// Draws it.
    pub fn show(self, ui: &mut Ui) -> Response {
        let (rect, response) = ui.allocate_exact_size(Vec2::splat(14.0), Sense::hover());
        let theme = Theme::of(ui);
        let (centre, r) = (rect.center(), 5.0);
        let painter = ui.painter();
        let at = |x: f32, y: f32| pos2(centre.x + x * r, centre.y + y * r);
        match self {
            Self::Good => {
                let stroke = Stroke::new(2.0, theme.good);
                painter.line(vec![at(-0.9, 0.0), at(-0.2, 0.7), at(0.9, -0.8)], stroke);
            }
            Self::Warn => {
                let corners = vec![at(0.0, -1.0), at(1.0, 0.8), at(-1.0, 0.8)];
                painter.add(egui::Shape::convex_polygon(corners, theme.warn, Stroke::NONE));
            }
            Self::Bad => {
                let stroke = Stroke::new(2.0, theme.bad);
                painter.line_segment([at(-0.8, -0.8), at(0.8, 0.8)], stroke);
                painter.line_segment([at(-0.8, 0.8), at(0.8, -0.8)], stroke);
            }
            Self::Off => {
                painter.circle_stroke(centre, r - 1.0, Stroke::new(1.5, theme.muted));
            }
        }
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, self.name()));
        response
    }
}

/// A part of a stacked bar: its name, its size, and its colour.
pub type BarPart<'a> = (&'a str, u64, Color32);

/// A bar of parts that lie side by side, as long as their sum is of `whole`. `said` is what a screen
/// reader says.
pub fn stacked_bar(ui: &mut Ui, parts: &[BarPart<'_>], whole: u64, said: &str) -> Response {
    let size = Vec2::new(ui.available_width(), 18.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let theme = Theme::of(ui);
    let painter = ui.painter();
    painter.rect_filled(rect, CornerRadius::same(4), theme.raised);
    let scale = f64::from(rect.width()) / whole.max(1) as f64;
    let mut left = f64::from(rect.left());
    let pointer = response.hover_pos();
    let mut hovered = None;
    for (name, bytes, colour) in parts.iter().filter(|(_, bytes, _)| *bytes > 0) {
        let right = left + *bytes as f64 * scale;
        let part = Rect::from_x_y_ranges(left as f32..=right as f32, rect.y_range());
        painter.rect_filled(part, CornerRadius::same(2), *colour);
        if pointer.is_some_and(|at| part.contains(at)) {
            painter.rect_stroke(part, 2.0, Stroke::new(1.5, theme.text), StrokeKind::Inside);
            hovered = Some((*name, *bytes));
        }
        left = right;
    }
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, said));
    match hovered {
        Some((name, bytes)) => {
            let text = format!("{name}: {} ({bytes} bytes)", crate::units::bytes(bytes));
            response.on_hover_text(text)
        }
        None => response,
    }
}

/// A square of a colour, as in a legend.
pub fn swatch(ui: &mut Ui, colour: Color32) {
    let (rect, _) = ui.allocate_exact_size(Vec2::splat(10.0), Sense::hover());
    ui.painter().rect_filled(rect, CornerRadius::same(2), colour);
}

/// A name and a value, on both sides of a row.
pub fn fact(ui: &mut Ui, name: &str, value: impl Into<egui::WidgetText>) {
    let muted = Theme::of(ui).muted;
    ui.horizontal(|ui| {
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.label(value);
            ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| {
                ui.add(egui::Label::new(RichText::new(name).color(muted)).truncate());
            });
        });
    });
}
