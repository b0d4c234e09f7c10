//! To be drawn.

use eframe::egui::Ui;

use crate::gui::app::{App, Asked};

/// What it remembers.
#[derive(Debug, Default)]
pub struct MapView {}

/// Draws it.
pub fn map_ui(_: &mut App, _: &mut Ui, _: &mut Asked) {}
