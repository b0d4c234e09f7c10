//! What fills the middle of the window. One file a view; what a view remembers is plain data.

pub mod export;
mod files;
mod map;
mod profile;
pub mod table;
mod welcome;

use std::sync::Arc;

use eframe::egui::Ui;
use serde::{Deserialize, Serialize};

use super::app::{App, Asked};
use super::command::Command;
use super::session::Document;

/// A view of the open checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum View {
    /// Layers and projections.
    #[default]
    Map,
    /// The statistics table.
    Table,
    /// Largest magnitudes by layer.
    Profile,
    /// What an export would write.
    Files,
    /// Writing it, and proving it.
    Export,
}

impl View {
    /// Every view, from left to right.
    pub const ALL: [Self; 5] = [Self::Map, Self::Table, Self::Profile, Self::Files, Self::Export];

    /// What it is called in the window.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Map => "Map",
            Self::Table => "Statistics",
            Self::Profile => "Profile",
            Self::Files => "Files",
            Self::Export => "Export",
        }
    }

    /// What it is called on the command line.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Table => "table",
            Self::Profile => "profile",
            Self::Files => "files",
            Self::Export => "export",
        }
    }

    /// The command that shows it.
    pub const fn command(self) -> Command {
        match self {
            Self::Map => Command::ShowMap,
            Self::Table => Command::ShowTable,
            Self::Profile => Command::ShowProfile,
            Self::Files => Command::ShowFiles,
            Self::Export => Command::ShowExport,
        }
    }
}

/// What the views remember.
#[derive(Default)]
pub struct Views {
    pub welcome: welcome::Welcome,
    pub map: map::MapView,
    pub table: table::TableView,
    pub profile: profile::ProfileView,
    pub files: files::FilesView,
    pub export: export::ExportView,
}

impl Views {
    /// Forgets what was about another checkpoint.
    pub fn turn_to(&mut self, document: &Arc<Document>, out: Option<String>) {
        self.map = map::MapView::default();
        self.profile = profile::ProfileView::default();
        self.files = files::FilesView::default();
        self.export.turn_to(document, out);
    }
}

/// Draws the view that is shown.
pub fn view_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    if app.session.document.is_none() {
        return welcome::welcome_ui(app, ui, asked);
    }
    welcome::open_error_ui(app, ui);
    if app.session.analysis().is_none() {
        let refused = app.session.planning.refused.clone();
        ui.centered_and_justified(|ui| match refused {
            Some(why) => ui.label(why),
            None => ui.spinner(),
        });
        return;
    }
    match app.settings.view {
        View::Map => map::map_ui(app, ui, asked),
        View::Table => table::table_ui(app, ui, asked),
        View::Profile => profile::profile_ui(app, ui, asked),
        View::Files => files::files_ui(app, ui, asked),
        View::Export => export::export_ui(app, ui, asked),
    }
}
