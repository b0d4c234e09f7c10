//! The file of what windows remember. Several may be open at once: each writes the file whole or not at all,
//! and none forgets what another remembers.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::settings::Settings;
use crate::report::write_file;

/// The name of the file.
const FILE: &str = "settings.json";

/// Whoever writes the file has this one locked.
const LOCK: &str = "settings.lock";

/// Where the toolkit kept all of it, and would still: it writes in place, so another window may find half of
/// it. So each window gives it a file of its own, of which only the contents are remembered.
const TOOLKIT_FILE: &str = "app.ron";

/// What the toolkit remembers by itself: the place of its window, and the sizes of panels.
const TOOLKIT_KEYS: [&str; 2] = ["window", "egui"];

/// The contents of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Remembered {
    settings: Settings,
    toolkit: BTreeMap<String, String>,
}

/// The memory of a window.
#[derive(Debug)]
pub struct Memory {
    folder: PathBuf,
    /// What was remembered when the window began.
    begun: Option<Settings>,
    /// Holds the toolkit's file, and goes with the window.
    own: TempDir,
}

impl Memory {
    /// Opens what is remembered in a folder, which need not be there yet.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let mut memory = Self { folder, begun: None, own: tempfile::tempdir()? };
        match memory.read() {
            Some(remembered) => {
                fs::write(memory.toolkit_file(), ron(&remembered.toolkit))?;
                memory.begun = Some(remembered.settings);
            }
            // As an earlier version left it, or nothing.
            None => drop(fs::copy(memory.folder.join(TOOLKIT_FILE), memory.toolkit_file())),
        }
        Ok(memory)
    }

    /// The file that the toolkit may have for itself.
    pub fn toolkit_file(&self) -> PathBuf {
        self.own.path().join(TOOLKIT_FILE)
    }

    /// The settings that a window begins with; `None` if there were none yet.
    pub fn settings(&self) -> Option<Settings> {
        self.begun.clone()
    }

    /// Remembers the settings of this window, beside what others remember, and what the toolkit has under
    /// its keys.
    pub fn keep(
        &self,
        mut settings: Settings,
        toolkit: impl Fn(&str) -> Option<String>,
    ) -> io::Result<()> {
        let lock = File::create(self.folder.join(LOCK))?;
        // Without it, on some network drives, two windows that are closed at once may forget a draft.
        let _locked = lock.lock();
        if let Some(remembered) = self.read() {
            let begun = self.begun.clone().unwrap_or_default();
            settings.absorb(remembered.settings, &begun);
        }
        let of_key = |key: &str| Some((key.to_owned(), toolkit(key)?));
        let toolkit = TOOLKIT_KEYS.into_iter().filter_map(of_key).collect();
        let text = serde_json::to_vec_pretty(&Remembered { settings, toolkit })?;
        write_file(&self.file(), &text)
    }

    fn file(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    fn read(&self) -> Option<Remembered> {
        serde_json::from_slice(&fs::read(self.file()).ok()?).ok()
    }
}

/// Texts by key as the toolkit reads them: a map of RON, whose raw strings end at a quote with as many `#` as
/// they begin with.
fn ron(texts: &BTreeMap<String, String>) -> String {
    let entry = |(key, text): (&String, &String)| {
        let longest = text.split(|c| c != '#').map(str::len).max().unwrap_or(0);
        let hashes = "#".repeat(longest + 1);
        format!("{key:?}: r{hashes}\"{text}\"{hashes},\n")
    };
    format!("{{\n{}}}\n", texts.iter().map(entry).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::thread;

    use super::*;
    use crate::gui::settings::Draft;

    fn draft(path: &str) -> Draft {
        Draft {
            path: Some(path.into()),
            recipe: "r".repeat(1 << 16),
            max_shard_bytes: None,
            selection: Default::default(),
            out: String::new(),
        }
    }

    fn settings(path: &str) -> Settings {
        let mut settings = Settings::default();
        settings.opened(Path::new(path));
        settings.keep(draft(path));
        settings
    }

    #[test]
    fn windows_that_write_at_once_leave_a_whole_file_with_what_all_remember() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Memory::open(folder.path().join("below")).unwrap();
        let (one, other, reader) = (open(), open(), open());
        assert_eq!(one.settings(), None);
        one.keep(settings("/one"), |_| None).unwrap();
        thread::scope(|scope| {
            for (memory, path) in [(&one, "/one"), (&other, "/other")] {
                scope.spawn(move || {
                    for _ in 0..40 {
                        memory.keep(settings(path), |_| None).unwrap();
                    }
                });
            }
            for _ in 0..200 {
                assert!(reader.read().is_some(), "part of a file was there");
            }
        });
        let kept = open().settings().unwrap();
        let mut paths: Vec<_> = kept.drafts.iter().map(|draft| draft.path.clone()).collect();
        paths.sort();
        assert_eq!(paths, [Some("/one".into()), Some("/other".into())]);
        let left = fs::read_dir(folder.path().join("below")).unwrap().count();
        assert_eq!(left, 2, "the file and its lock");
    }

    #[test]
    fn a_draft_that_only_another_window_changed_stays_as_it_left_it() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Memory::open(folder.path().to_owned()).unwrap();
        let mut both = settings("/a");
        both.keep(draft("/b"));
        open().keep(both, |_| None).unwrap();

        let (one, other) = (open(), open());
        let mut of_other = other.settings().unwrap();
        of_other.keep(Draft { out: "changed".to_owned(), ..draft("/a") });
        other.keep(of_other, |_| None).unwrap();
        // The first window has the other checkpoint open, and the draft of this one from the start.
        one.keep(one.settings().unwrap(), |_| None).unwrap();
        let kept = open().settings().unwrap();
        let drafts = kept.drafts.iter().map(|draft| (draft.path.as_deref(), draft.out.as_str()));
        let expected =
            [("/b", ""), ("/a", "changed")].map(|(path, out)| (Some(Path::new(path)), out));
        assert_eq!(drafts.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn each_window_gives_the_toolkit_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Memory::open(folder.path().to_owned()).unwrap();
        fs::write(folder.path().join(TOOLKIT_FILE), "{\"app\": \"old\"}").unwrap();
        let (one, other) = (open(), open());
        assert_ne!(one.toolkit_file(), other.toolkit_file());
        assert_eq!(fs::read_to_string(one.toolkit_file()).unwrap(), "{\"app\": \"old\"}");
        let toolkit = |key: &str| (key == "window").then(|| "(a:\"#\\\",b:r##\"x\"##)".to_owned());
        one.keep(Settings::default(), toolkit).unwrap();
        let expected = "{\n\"window\": r###\"(a:\"#\\\",b:r##\"x\"##)\"###,\n}\n";
        assert_eq!(fs::read_to_string(open().toolkit_file()).unwrap(), expected);
    }
}
