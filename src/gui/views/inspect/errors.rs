//! What quantizing does to every weight, as a map.

use eframe::egui::Ui;

use super::pane::At;
use crate::gui::session::Inspection;

/// How it is seen.
#[derive(Debug, Clone, Default)]
pub struct ErrorsView {}

/// Draws it.
pub fn errors_ui(ui: &mut Ui, at: &mut At<'_>) {
    super::microscope::microscope_ui(ui, at);
}

/// Its numbers, if they are there.
pub fn csv(_inspection: &Inspection) -> Option<String> {
    None
}
