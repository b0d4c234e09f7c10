//! What fills the middle of the window. One file a view; what a view remembers is plain data.

mod cursor;
pub mod export;
mod files;
pub mod inspect;
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum View {
    /// Layers and projections.
    #[default]
    Map,
    /// The statistics table.
    Table,
    /// Largest magnitudes by layer.
    Profile,
    /// Layers and experts.
    Experts,
    /// What every format would cost.
    Formats,
    /// One block, bit by bit.
    Microscope,
    /// The codes of a block on a line.
    Ruler,
    /// How weights are spread.
    Histogram,
    /// Every scale of a tensor.
    Scales,
    /// What quantizing does to every weight.
    Errors,
    /// The largest weights.
    Outliers,
    /// Errors of blocks against how small they are.
    Regimes,
    /// Two checkpoints, or two devices.
    Compare,
    /// Guided walks.
    Lessons,
    /// The small number types.
    Codecs,
    /// What an export would write.
    Files,
    /// Writing it, and proving it.
    Export,
}

/// Views that share a tab.
pub struct Tab {
    /// What it is called.
    pub name: &'static str,
    /// The views.
    pub views: &'static [View],
}

/// The tabs, from left to right.
pub const TABS: [Tab; 10] = [
    Tab { name: "Map", views: &[View::Map] },
    Tab { name: "Statistics", views: &[View::Table] },
    Tab { name: "Profile", views: &[View::Profile] },
    Tab { name: "Experts", views: &[View::Experts] },
    Tab { name: "Formats", views: &[View::Formats] },
    Tab { name: "Inspect", views: &View::INSPECT },
    Tab { name: "Compare", views: &[View::Compare] },
    Tab { name: "Learn", views: &[View::Lessons, View::Codecs] },
    Tab { name: "Files", views: &[View::Files] },
    Tab { name: "Export", views: &[View::Export] },
];

impl View {
    /// Every view, from left to right.
    pub const ALL: [Self; 17] = [
        Self::Map,
        Self::Table,
        Self::Profile,
        Self::Experts,
        Self::Formats,
        Self::Microscope,
        Self::Ruler,
        Self::Histogram,
        Self::Scales,
        Self::Errors,
        Self::Outliers,
        Self::Regimes,
        Self::Compare,
        Self::Lessons,
        Self::Codecs,
        Self::Files,
        Self::Export,
    ];

    /// Those that look into one tensor.
    pub const INSPECT: [Self; 7] = [
        Self::Microscope,
        Self::Ruler,
        Self::Histogram,
        Self::Scales,
        Self::Errors,
        Self::Outliers,
        Self::Regimes,
    ];

    /// What it is called in the window, on the command line, and the command that shows it.
    const fn said(self) -> (&'static str, &'static str, Command) {
        match self {
            Self::Map => ("Map", "map", Command::ShowMap),
            Self::Table => ("Statistics", "table", Command::ShowTable),
            Self::Profile => ("Profile", "profile", Command::ShowProfile),
            Self::Experts => ("Experts", "experts", Command::ShowExperts),
            Self::Formats => ("Formats", "formats", Command::ShowFormats),
            Self::Microscope => ("Microscope", "microscope", Command::ShowMicroscope),
            Self::Ruler => ("Ruler", "ruler", Command::ShowRuler),
            Self::Histogram => ("Histogram", "histogram", Command::ShowHistogram),
            Self::Scales => ("Scale map", "scales", Command::ShowScales),
            Self::Errors => ("Error map", "errors", Command::ShowErrors),
            Self::Outliers => ("Outliers", "outliers", Command::ShowOutliers),
            Self::Regimes => ("Regimes", "regimes", Command::ShowRegimes),
            Self::Compare => ("Compare", "compare", Command::ShowCompare),
            Self::Lessons => ("Lessons", "lessons", Command::ShowLessons),
            Self::Codecs => ("Codecs", "codecs", Command::ShowCodecs),
            Self::Files => ("Files", "files", Command::ShowFiles),
            Self::Export => ("Export", "export", Command::ShowExport),
        }
    }

    /// What it is called in the window.
    pub const fn name(self) -> &'static str {
        self.said().0
    }

    /// What it is called on the command line.
    pub const fn key(self) -> &'static str {
        self.said().1
    }

    /// The command that shows it.
    pub const fn command(self) -> Command {
        self.said().2
    }

    /// The view that a command shows.
    pub fn shown_by(command: Command) -> Option<Self> {
        Self::ALL.into_iter().find(|view| view.command() == command)
    }

    /// Whether it looks into one tensor.
    pub fn inspects(self) -> bool {
        Self::INSPECT.contains(&self)
    }

    /// Whether it takes all of the window: what it shows is not about the recipe.
    pub fn is_wide(self) -> bool {
        self.inspects()
            || matches!(self, Self::Compare | Self::Codecs | Self::Lessons | Self::Experts)
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
    pub inspect: inspect::InspectView,
}

impl Views {
    /// Forgets what was about another checkpoint.
    pub fn turn_to(&mut self, document: &Arc<Document>, out: Option<String>) {
        self.map = map::MapView::default();
        self.profile = profile::ProfileView::default();
        self.files = files::FilesView::default();
        self.inspect.turn_to();
        self.export.turn_to(document, out);
    }
}

/// Draws the view that is shown.
pub fn view_ui(app: &mut App, ui: &mut Ui, asked: &mut Asked) {
    app.views.inspect.area = Some(ui.max_rect());
    if app.settings.view == View::Codecs {
        return inspect::inspect_ui(app, ui, asked);
    }
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
        _ => inspect::inspect_ui(app, ui, asked),
    }
}
