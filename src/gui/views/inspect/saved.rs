//! Taking a view away: its numbers, its picture, and the line that opens it again.

use std::io::Cursor;
use std::sync::Arc;

use eframe::egui::{ColorImage, Rect, ScreenshotCallback, ViewportCommand};

use super::View;
use super::numbers::numbers;
use crate::batch::{Link, link};
use crate::gui::app::App;
use crate::gui::session::{Facts, Source};

/// What every picture and table of a tensor says of itself.
pub fn stamp(facts: &Facts) -> String {
    let expert = match facts.experts {
        0 | 1 => String::new(),
        _ => format!(", expert {}", facts.subject.expert),
    };
    let dialect = facts.dialect.map_or(String::new(), |dialect| format!(" as {dialect} has it"));
    let format = match (facts.format, facts.is_planned) {
        (None, _) => "float".to_owned(),
        (Some(format), true) => format!("{format}{dialect}"),
        (Some(format), false) => format!("{format}{dialect}, tried out"),
    };
    let version = env!("CARGO_PKG_VERSION");
    format!("{}{expert} · {format} · quantscope {version}", facts.subject.tensor)
}

/// What every picture and table of a whole checkpoint says of itself.
pub fn stamp_of(app: &App) -> String {
    let document = app.session.document.as_ref().map(|(_, document)| document.name.as_str());
    let format = app.recipe().format.map_or("as it is", |format| format.name());
    let version = env!("CARGO_PKG_VERSION");
    match document.filter(|_| app.settings.view != View::Codecs) {
        Some(name) => format!("{name} · {format} · quantscope {version}"),
        None => format!("quantscope {version}"),
    }
}

impl App {
    /// The command line that opens what is shown.
    pub(in crate::gui) fn link(&self) -> String {
        let focus = &self.session.inspection.focus;
        let view = self.settings.view;
        let inspects = view.inspects();
        let facts = self.session.inspection.known_facts();
        let block = facts.filter(|_| inspects).map(|facts| focus.block(facts.tile).to_string());
        let source = self.session.document.as_ref().map(|(source, _)| source);
        link(&Link {
            checkpoint: match source {
                Some(Source::Path(path)) => Some(path),
                _ => None,
            },
            recipe: self.recipe(),
            recipe_file: self.views.export.recipe_file_of(self.recipe()),
            tensor: focus.tensor.as_deref().filter(|_| inspects),
            expert: focus.expert,
            seen_as: focus.format.filter(|_| inspects),
            block,
            compare: self.views.inspect.compare.path().filter(|_| view == View::Compare),
            view: view.key(),
        })
    }

    /// The numbers of the view that is shown, with what they are of in the first line; `None` if it has none,
    /// or they are not there yet.
    pub fn view_csv(&self) -> Option<String> {
        Some(numbers(self)?())
    }

    /// Saves the numbers of the view that is shown.
    pub(in crate::gui) fn save_view_csv(&mut self) {
        let Some(table) = numbers(self) else { return };
        let name = self.file_name("csv");
        self.dialogs.save(&self.notify, &name, move || table().into_bytes(), None);
    }

    /// Asks for a picture of the window, and saves what of it is the view.
    pub(in crate::gui) fn save_view_png(&mut self, ctx: &eframe::egui::Context) {
        let area = self.views.inspect.area.unwrap_or(ctx.content_rect());
        let taken = Arc::clone(&self.picture);
        let (scale, repaint) = (ctx.pixels_per_point(), ctx.clone());
        let callback = ScreenshotCallback::new(move |image| {
            let png = png_of(&image, area, scale);
            *taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = png;
            repaint.request_repaint();
        });
        ctx.send_viewport_cmd(ViewportCommand::Screenshot(callback));
    }

    /// What a file of the view that is shown is called.
    pub(in crate::gui) fn file_name(&self, ending: &str) -> String {
        let view = self.settings.view;
        let tensor = self.session.inspection.focus.tensor.as_deref().filter(|_| view.inspects());
        let document = self.session.document.as_ref().map(|(_, document)| document.name.as_str());
        let about = tensor.or(document).unwrap_or("quantscope");
        let about: String =
            about.chars().map(|c| if c.is_alphanumeric() || c == '.' { c } else { '-' }).collect();
        format!("{about}-{}.{ending}", view.key())
    }
}

/// The part of a picture that a view takes, as PNG; `None` if it takes none.
fn png_of(image: &ColorImage, area: Rect, pixels_per_point: f32) -> Option<Vec<u8>> {
    let region = image.region(&area, Some(pixels_per_point));
    let [width, height] = region.size;
    let bytes: Vec<u8> = region.pixels.iter().flat_map(|pixel| pixel.to_array()).collect();
    let pixels = image::RgbaImage::from_raw(width as u32, height as u32, bytes)?;
    let mut png = Cursor::new(Vec::new());
    pixels.write_to(&mut png, image::ImageFormat::Png).ok()?;
    Some(png.into_inner())
}

/// Whether a view has numbers of its own to save.
pub const fn has_csv(view: View) -> bool {
    !matches!(view, View::Lessons | View::Files | View::Export)
}

#[cfg(test)]
mod tests {
    use super::*;
    use eframe::egui::{Color32, pos2};

    #[test]
    fn a_picture_is_cut_to_the_view() {
        let mut image = ColorImage::filled([40, 20], Color32::BLACK);
        image.pixels[10 * 40 + 30] = Color32::RED;
        let area = Rect::from_min_max(pos2(10.0, 4.0), pos2(20.0, 10.0));
        let png = png_of(&image, area, 2.0).unwrap();
        let read = image::load_from_memory(&png).unwrap().into_rgba8();
        assert_eq!(read.dimensions(), (20, 12));
        assert_eq!(read.get_pixel(10, 2).0, [255, 0, 0, 255]);
    }
}
