//! A real window, whose device the kernels use too.

use std::sync::Arc;

use eframe::egui::{IconData, ViewportBuilder, vec2};
use eframe::egui_wgpu::{RenderState, WgpuConfiguration, WgpuSetup, WgpuSetupCreateNew};
use eframe::{NativeOptions, Renderer};

use super::App;
use super::memory::Memory;
use super::session::{Look, Source, WindowGpu};
use super::settings::Settings;
use super::theme::Theme;
use super::views::View;
use super::views::inspect::lessons::Underway;
use crate::device::Device;
use crate::gpu::{AdapterInfo, Gpu, device_descriptor};

/// What the system knows windows by, and the folder of what they remember.
const NAME: &str = "quantscope";

/// A window that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot open a window: {0}. A display and a Vulkan, Metal or Direct3D 12 driver are needed, \
     which may be a software driver; --batch and --screenshot need no display"
)]
pub struct NoWindow(String);

/// What a window starts with. What is not said is as it was when the last one was closed.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// What to open; what was open last if there is nothing.
    pub source: Option<Source>,
    /// How to look at it; a recipe that says nothing leaves the one that was remembered.
    pub look: Look,
    /// The view.
    pub view: Option<View>,
    /// A lesson to begin.
    pub lesson: Option<Underway>,
    /// The device that computes.
    pub device: Option<String>,
}

/// Opens a window. Returns when it is closed.
pub fn run(start: Start) -> Result<(), NoWindow> {
    // It has a file of the toolkit's, and so outlives the window.
    let memory =
        eframe::storage_dir(NAME).and_then(|folder| Memory::open(folder).ok()).map(Arc::new);
    let of_window = memory.clone();
    let options = NativeOptions {
        viewport: ViewportBuilder::default()
            .with_title(NAME)
            .with_app_id(NAME)
            .with_inner_size(vec2(1440.0, 900.0))
            .with_min_inner_size(vec2(800.0, 500.0))
            .with_icon(icon())
            .with_drag_and_drop(true),
        renderer: Renderer::Wgpu,
        wgpu_options: WgpuConfiguration { wgpu_setup: setup(), ..Default::default() },
        persistence_path: memory.as_ref().map(|memory| memory.toolkit_file()),
        ..NativeOptions::default()
    };
    let made = eframe::run_native(
        NAME,
        options,
        Box::new(move |creation| {
            // An earlier version left them to the toolkit.
            let stored = || eframe::get_value(creation.storage?, eframe::APP_KEY);
            let settings: Option<Settings> =
                of_window.as_ref().and_then(|memory| memory.settings()).or_else(stored);
            let gpu = creation.wgpu_render_state.as_ref().map(share);
            let mut settings = settings.unwrap_or_default();
            settings.view = start.view.unwrap_or(settings.view);
            settings.device = start.device.unwrap_or(settings.device);
            let mut app = App::new(&creation.egui_ctx, settings, gpu, start.source);
            app.memory = of_window;
            app.views.inspect.wanted_lesson = start.lesson;
            app.session.start_with(start.look);
            Ok(Box::new(app))
        }),
    );
    made.map_err(|error| NoWindow(without_place(&error.to_string())))
}

/// An error of the system without the line of source code that met it.
fn without_place(message: &str) -> String {
    let told = message.rsplit_once(".rs:").and_then(|(_, told)| told.split_once(": "));
    told.map_or(message, |(_, told)| told).trim_end_matches('.').to_owned()
}

/// Asks for the device as the kernels need it.
fn setup() -> WgpuSetup {
    let setup = WgpuSetupCreateNew::without_display_handle();
    let device_descriptor = Arc::new(device_descriptor);
    WgpuSetup::CreateNew(WgpuSetupCreateNew { device_descriptor, ..setup })
}

/// A map of 4×4 cells, as the first view shows it.
fn icon() -> IconData {
    const CELLS: [f32; 16] =
        [0.1, 0.3, 0.2, 0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.5, 1.0, 0.6, 0.5, 0.8, 0.6, 0.9];
    const SIDE: usize = 64;
    let pixel = |i: usize| {
        let (x, y) = (i % SIDE, i / SIDE);
        let is_gap = x % 16 == 15 || y % 16 == 15;
        let colour = Theme::magnitude(CELLS[y / 16 * 4 + x / 16]);
        if is_gap { [0; 4] } else { colour.to_array() }
    };
    let rgba = (0..SIDE * SIDE).flat_map(pixel).collect();
    IconData { rgba, width: SIDE as u32, height: SIDE as u32 }
}

/// The GPU that draws a window, for the kernels.
pub fn share(window: &RenderState) -> WindowGpu {
    let info = AdapterInfo::of(&window.adapter);
    let gpu = Gpu::on(info.clone(), window.device.clone(), window.queue.clone());
    WindowGpu { info, device: Device::from(gpu) }
}
