//! What a window remembers until it is opened again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use eframe::egui::ThemePreference;
use serde::{Deserialize, Serialize};

use super::session::{Query, Source};
use super::views::View;
use super::views::table::TableColumns;
use crate::device::AUTO;
use crate::recipe::Recipe;

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Dark, light, or as the system is.
    pub theme: ThemePreference,
    /// Checkpoints that were open, the last first.
    pub recent: Vec<PathBuf>,
    /// The view that is shown.
    pub view: View,
    /// Whether the recipe panel is shown.
    pub recipe_panel: bool,
    /// Whether the size panel is shown.
    pub size_panel: bool,
    /// The device that computes.
    pub device: String,
    /// What the table shows.
    pub query: Query,
    /// The columns of the table.
    pub table: TableColumns,
    /// What was open, the last first, and how far its recipe was.
    pub drafts: Vec<Draft>,
}

/// A checkpoint and what somebody was about to make of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// Where it is; nowhere for the demo.
    pub path: Option<PathBuf>,
    /// The recipe, as TOML, since that is what recipes are made to be written in.
    pub recipe: String,
    /// Bytes of a file, at most.
    pub max_shard_bytes: Option<u64>,
    /// The tensors that were selected.
    pub selection: BTreeSet<String>,
    /// Where to export to.
    pub out: String,
}

/// How many checkpoints are remembered.
const RECENT: usize = 10;

impl Default for Settings {
    fn default() -> Self {
        Self {
            theme: ThemePreference::System,
            recent: Vec::new(),
            view: View::default(),
            recipe_panel: true,
            size_panel: true,
            device: AUTO.to_owned(),
            query: Query::default(),
            table: TableColumns::default(),
            drafts: Vec::new(),
        }
    }
}

impl Settings {
    /// Puts a checkpoint first among the recent ones.
    pub fn opened(&mut self, path: &Path) {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        self.recent.retain(|other| *other != path);
        self.recent.insert(0, path);
        self.recent.truncate(RECENT);
    }

    /// What was about to be made of a checkpoint, if it is one of those that were open last.
    pub fn draft_of(&self, source: &Source) -> Option<&Draft> {
        self.drafts.iter().find(|draft| draft.source() == *source)
    }

    /// Remembers what is about to be made of a checkpoint.
    pub fn keep(&mut self, draft: Draft) {
        self.drafts.retain(|other| other.path != draft.path);
        self.drafts.insert(0, draft);
        self.drafts.truncate(RECENT);
    }

    /// Takes over what other windows remember. Of one checkpoint that is their draft, unless it is open here
    /// or its draft has been changed since this window began.
    pub fn absorb(&mut self, others: Self, begun: &Self) {
        let is_new = |path: &PathBuf| !self.recent.contains(path);
        let recent: Vec<PathBuf> = others.recent.into_iter().filter(is_new).collect();
        self.recent.extend(recent);
        self.recent.truncate(RECENT);
        // What is open comes first.
        let is_own = |(i, draft): &(usize, Draft)| *i == 0 || !begun.drafts.contains(draft);
        let (own, old): (Vec<_>, Vec<_>) = self.drafts.drain(..).enumerate().partition(is_own);
        self.drafts = own.into_iter().map(|(_, draft)| draft).collect();
        for draft in others.drafts.into_iter().chain(old.into_iter().map(|(_, draft)| draft)) {
            if self.drafts.iter().all(|own| own.path != draft.path) {
                self.drafts.push(draft);
            }
        }
        self.drafts.truncate(RECENT);
    }
}

impl Draft {
    /// Where the checkpoint is.
    pub fn source(&self) -> Source {
        self.path.clone().map_or(Source::Demo, Source::Path)
    }

    /// The recipe; an empty one if it cannot be read any more.
    pub fn recipe(&self) -> Recipe {
        toml::from_str(&self.recipe).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_opened_comes_first_and_only_once() {
        let mut settings = Settings::default();
        for name in ["/a", "/b", "/a"] {
            settings.opened(Path::new(name));
        }
        assert_eq!(settings.recent, [Path::new("/a"), Path::new("/b")]);
    }

    #[test]
    fn settings_of_another_version_are_read_as_far_as_they_go() {
        let settings: Settings =
            serde_json::from_str(r#"{ "device": "cpu", "removed": 1, "view": "Table" }"#).unwrap();
        assert_eq!((settings.device.as_str(), settings.view), ("cpu", View::Table));
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
    }
}
