//! The numbers that a block can have as marks on a line, with its weights above.

use eframe::egui::{Ui};

use super::pane::At;

/// Where the sliders are.
#[derive(Debug, Clone, Default)]
pub struct RulerView {}

/// Draws it.
pub fn ruler_ui(ui: &mut Ui, at: &mut At<'_>) {
    super::microscope::microscope_ui(ui, at);
}
