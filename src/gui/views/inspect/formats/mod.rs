//! What every format would cost each projection.

use eframe::egui::Ui;

use crate::gui::app::{App, Asked};

/// What it remembers.
#[derive(Default)]
pub struct FormatsView {}

impl FormatsView {
    /// Whether anything is being worked on.
    pub fn is_busy(&self) -> bool {
        false
    }

    /// Whether there are numbers to save.
    pub fn has_csv(&self) -> bool {
        false
    }
}

/// Draws it.
pub fn formats_ui(_app: &mut App, _ui: &mut Ui, _asked: &mut Asked) {}

/// Its numbers, if they are there.
pub fn csv(_app: &App) -> Option<String> {
    None
}
