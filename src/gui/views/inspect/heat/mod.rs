//! A map of a grid too large to draw cell by cell: a texture of what is in sight, painted in the background.

mod window;

use eframe::egui::{
    self, Color32, ColorImage, Rect, Response, Role, Sense, Stroke, StrokeKind, TextureHandle,
    TextureOptions, Ui, Vec2, WidgetInfo, vec2,
};

pub use window::Window;

use crate::gui::session::{Loaded, Notify, Shown};
use crate::gui::theme::Theme;

/// A cell is drawn no larger than this: blocks are wide.
const MOST_POINTS: Vec2 = vec2(200.0, 40.0);

/// What is in sight, and its picture.
#[derive(Default)]
pub struct HeatView {
    /// What is in sight; all if nobody has moved it.
    window: Option<Window>,
    painting: Loaded<Painted>,
    texture: Option<(u64, Window, TextureHandle)>,
}

/// A picture of a part of the grid.
#[derive(Debug)]
pub struct Painted {
    window: Window,
    image: ColorImage,
}

impl Clone for HeatView {
    /// The same part, whose picture is painted anew.
    fn clone(&self) -> Self {
        Self { window: self.window, ..Self::default() }
    }
}

/// A grid to draw.
pub struct Heat<'a> {
    /// Cells one below the other.
    pub rows: u64,
    /// Cells side by side.
    pub columns: u64,
    /// Stands for the numbers and how they are coloured.
    pub key: u64,
    /// The cell that is looked at.
    pub chosen: (u64, u64),
    /// Cells that deserve a look, and the colour of their rings.
    pub marked: &'a [(u64, u64)],
    /// What it shows, in a sentence.
    pub said: &'a str,
    /// Height that there is.
    pub height: f32,
}

/// What was done to it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Seen {
    /// The cell that was clicked.
    pub clicked: Option<(u64, u64)>,
    /// The cell that is pointed at.
    pub hovered: Option<(u64, u64)>,
}

impl HeatView {
    /// Whether a picture is being painted.
    pub fn is_busy(&self) -> bool {
        self.painting.is_busy()
    }

    /// Draws it. `paint` gives the colours of a window, texel by texel, in the background. Scrolling
    /// zooms, dragging moves, a double click shows all.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        notify: &Notify,
        heat: &Heat<'_>,
        paint: impl FnOnce(&Window) -> Vec<Color32> + Send + 'static,
    ) -> (Seen, Response) {
        let whole = Window::whole(heat.rows, heat.columns);
        let room = vec2(ui.available_width(), heat.height.max(80.0));
        let most = vec2(heat.columns as f32, heat.rows as f32) * MOST_POINTS;
        let (area, response) = ui.allocate_exact_size(room.min(most), Sense::click_and_drag());
        self.moved(ui, &response, area, whole);
        let mut window = self.window.unwrap_or(whole);
        let pixels = area.size() * ui.ctx().pixels_per_point();
        window.fit(pixels);
        self.take_picture(ui, notify, (heat.key, window), paint);
        let painter = ui.painter().with_clip_rect(area);
        painter.rect_filled(area, 2.0, Theme::of(ui).panel);
        if let Some((_, painted, texture)) = &self.texture {
            let place = window.rect_of(area, painted);
            let uv = Rect::from_min_max(egui::Pos2::ZERO, egui::pos2(1.0, 1.0));
            painter.image(texture.id(), place, uv, Color32::WHITE);
        }
        let theme = Theme::of(ui);
        for &(row, column) in heat.marked {
            let cell = window.cell(area, row, column);
            if area.intersects(cell) {
                let radius = (cell.size().max_elem() / 2.0 + 3.0).clamp(5.0, 40.0);
                painter.circle_stroke(cell.center(), radius, Stroke::new(1.5, theme.bad));
            }
        }
        let cell = window.cell(area, heat.chosen.0, heat.chosen.1);
        let outline = Rect::from_center_size(cell.center(), cell.size().max(Vec2::splat(7.0)));
        // Two colours, of which one is seen on any ground.
        let outer = Stroke::new(4.0, theme.ground);
        painter.rect_stroke(outline, 1.0, outer, StrokeKind::Outside);
        painter.rect_stroke(outline, 1.0, Stroke::new(2.0, theme.accent), StrokeKind::Outside);
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, heat.said));
        let hovered = response.hover_pos().and_then(|at| window.cell_at(area, at, whole));
        let clicked = hovered.filter(|_| response.clicked());
        (Seen { clicked, hovered }, response)
    }

    fn moved(&mut self, ui: &Ui, response: &Response, area: Rect, whole: Window) {
        let window = self.window.unwrap_or(whole);
        let scroll = ui.input(|input| input.smooth_scroll_delta().y);
        if response.double_clicked() {
            self.window = None;
        } else if let Some(pointer) = response.hover_pos().filter(|_| scroll != 0.0) {
            let factor = f64::from(-scroll / 200.0).exp();
            self.window = Some(window.zoomed(area, pointer, factor, whole));
        } else if response.drag_delta() != Vec2::ZERO {
            self.window = Some(window.dragged(area, response.drag_delta(), whole));
        }
    }

    /// Takes the picture of what is in sight, or has it painted.
    fn take_picture(
        &mut self,
        ui: &Ui,
        notify: &Notify,
        (key, window): (u64, Window),
        paint: impl FnOnce(&Window) -> Vec<Color32> + Send + 'static,
    ) {
        let wanted = window.key(key);
        if self.texture.as_ref().is_some_and(|(known, ..)| *known == wanted) {
            return;
        }
        let shown = self.painting.get(notify, wanted, move |_| {
            let pixels = paint(&window);
            let image = ColorImage::new(window.texels, pixels);
            Ok(Painted { window, image })
        });
        if let Shown::Ready(painted) = shown {
            let options = TextureOptions::NEAREST;
            let texture = ui.ctx().load_texture("heat", painted.image.clone(), options);
            self.texture = Some((wanted, painted.window, texture));
        }
    }
}
