//! Views of how weights are spread, of outliers and of regimes show the numbers of the library.
#![cfg(feature = "gui")]

mod common;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use common::window::*;
use eframe::egui::Role;
use egui_kittest::kittest::{NodeT, Queryable};
use quantscope::checkpoint::Checkpoint;
use quantscope::cpu::Cpu;
use quantscope::format::Format;
use quantscope::gui::{Settings, Source, View};
use quantscope::inspect::{
    Axis, Histogram, InspectError, Matrix, Outliers, Reader, Regimes, Region, Subject,
};
use quantscope::plan::Plan;
use quantscope::recipe::Recipe;

const TENSOR: &str = "model.layers.0.mlp.up_proj.weight";
const GO: AtomicBool = AtomicBool::new(false);

/// A view of the first tensor of the demo that is quantized.
fn open(view: View) -> Window {
    let settings = Settings { view, ..settings() };
    let mut window = window(settings, Some(Source::Path(DEMO.into())));
    settle(&mut window);
    choose_format(&mut window, "nvfp4");
    window.state_mut().session.inspection.focus.turn_to(TENSOR);
    window.state_mut().session.selection = [TENSOR.to_owned()].into();
    settle(&mut window);
    window
}
