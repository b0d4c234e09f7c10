//! A picture of a view, without a display.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use eframe::egui::{Theme, ThemePreference, Vec2};
use eframe::egui_wgpu::{RenderState, RendererOptions, WgpuConfiguration};
use egui_kittest::Harness;
use egui_kittest::wgpu::{WgpuTestRenderer, default_wgpu_setup};

use super::App;
use super::session::{Look, Source};
use super::settings::Settings;
use super::views::View;
use super::views::inspect::lessons::Underway;
use crate::device::CPU;
use crate::recipe::Recipe;
use crate::report::write_file;

/// What a picture is to show.
#[derive(Debug, Clone)]
pub struct Screenshot {
    /// What to open.
    pub source: Source,
    /// How to look at it.
    pub look: Look,
    /// The view; what there is before anything is open if there is none.
    pub view: Option<View>,
    /// A lesson to begin.
    pub lesson: Option<Underway>,
    /// Whether it is light.
    pub light: bool,
    /// Width and height in points.
    pub size: [f32; 2],
    /// Pixels a point.
    pub scale: f32,
}

/// A picture that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NotShown {
    /// The checkpoint cannot be opened, or the recipe makes no plan.
    #[error("{0}")]
    Refused(String),
    /// It has not got ready.
    #[error("the view was not ready after {} s", .0.as_secs())]
    TooSlow(Duration),
    /// It cannot be drawn.
    #[error(
        "cannot draw: {0}. A Vulkan, Metal or Direct3D 12 driver is needed, which may be a software driver"
    )]
    Drawing(String),
    /// What is to be written has another ending.
    #[error("{}: a picture is a .png file, and the numbers of a view are a .csv file", .0.display())]
    Ending(PathBuf),
    /// It has no numbers of its own.
    #[error("this view has no numbers to write as CSV; name a .png file for a picture of it")]
    NoNumbers,
    /// It cannot be written.
    #[error("cannot write {}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// How long measuring may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Frames after which everything has its place: what is laid out by its contents needs a second one, and
/// what fades in some more.
const LAST_FRAMES: usize = 12;

/// Draws a view once all its numbers are there, and writes it as PNG; or its numbers, if the file is called
/// `.csv`.
pub fn screenshot(wanted: &Screenshot, file: &Path) -> Result<(), NotShown> {
    let ends_in = |ending| file.extension().is_some_and(|own| own.eq_ignore_ascii_case(ending));
    if !ends_in("png") && !ends_in("csv") {
        return Err(NotShown::Ending(file.to_owned()));
    }
    let mut harness = Harness::builder()
        .with_size(Vec2::from(wanted.size))
        .with_pixels_per_point(wanted.scale)
        .with_theme(if wanted.light { Theme::Light } else { Theme::Dark })
        .allow_missing_glyphs()
        .with_accessibility_check(false)
        .renderer(renderer()?)
        .build_eframe(|creation| begin(wanted, &creation.egui_ctx));
    let started = Instant::now();
    while harness.state().is_busy() {
        if started.elapsed() > PATIENCE {
            return Err(NotShown::TooSlow(PATIENCE));
        }
        std::thread::sleep(Duration::from_millis(2));
        harness.step();
    }
    if let Some(why) = refusal(harness.state(), wanted) {
        return Err(NotShown::Refused(why));
    }
    harness.run_steps(LAST_FRAMES);
    let io_error = |source| NotShown::Io { file: file.to_owned(), source };
    if ends_in("csv") {
        let numbers = harness.state().view_csv().ok_or(NotShown::NoNumbers)?;
        return write_file(file, numbers.as_bytes()).map_err(io_error);
    }
    let image = harness.render().map_err(NotShown::Drawing)?;
    let mut png = io::Cursor::new(Vec::new());
    let encoded = image.write_to(&mut png, image::ImageFormat::Png);
    encoded.map_err(|error| io_error(io::Error::other(error)))?;
    write_file(file, png.get_ref()).map_err(io_error)
}

/// Draws with a software driver if there is one, so that pictures are the same on all machines.
fn renderer() -> Result<WgpuTestRenderer, NotShown> {
    let wgpu_setup = default_wgpu_setup();
    let instance = pollster::block_on(wgpu_setup.new_instance());
    let options = WgpuConfiguration { wgpu_setup, ..WgpuConfiguration::default() };
    let predictable = RendererOptions::PREDICTABLE;
    let state = RenderState::create(&options, &instance, None, predictable);
    let state = pollster::block_on(state).map_err(|error| NotShown::Drawing(error.to_string()))?;
    Ok(WgpuTestRenderer::from_render_state(state))
}

fn begin(wanted: &Screenshot, ctx: &eframe::egui::Context) -> App {
    let settings = Settings {
        theme: if wanted.light { ThemePreference::Light } else { ThemePreference::Dark },
        view: wanted.view.unwrap_or_default(),
        device: CPU.to_owned(),
        ..Settings::default()
    };
    let mut app = App::new(ctx, settings, None, None);
    if wanted.view.is_some() {
        app.views.inspect.wanted_lesson = wanted.lesson;
        app.session.open(wanted.source.clone(), wanted.look.clone());
    }
    app
}

impl App {
    /// Opens a checkpoint under a recipe.
    pub fn open_with(&mut self, source: Source, recipe: Recipe) {
        self.session.open(source, Look { recipe, ..Look::default() });
    }

    /// Opens a checkpoint, to be looked at in some way.
    pub fn look_at(&mut self, source: Source, look: Look) {
        self.session.open(source, look);
    }

    /// Whether there is something to see of what is open.
    pub fn shows_numbers(&self) -> bool {
        !self.session.tables.rows.is_empty()
    }
}

/// What keeps a view from being what it should be.
fn refusal(app: &App, wanted: &Screenshot) -> Option<String> {
    let opening = app.session.open_error.as_ref().map(|(_, why)| why.clone());
    opening.or_else(|| app.session.planning.refused.clone()).or_else(|| {
        let analysis = app.session.analysis()?;
        let is_unknown = |name: &&String| !analysis.by_name.contains_key(*name);
        // Of those that the window has now it has left out what is not there.
        match wanted.look.selection.iter().find(is_unknown) {
            Some(unknown) => {
                Some(format!("there is no tensor {unknown:?}; --dry-run lists them all"))
            }
            None => app.view_failure().map(str::to_owned),
        }
    })
}
