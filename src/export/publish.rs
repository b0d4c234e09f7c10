//! Giving a finished output its name. An interruption before the last rename is taken back by the next run;
//! after it there is only tidying up left, and what has the name is not touched any more.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::ExportError;
use super::staging::{FILES, PUBLISHED, REPLACED, Staging, beside, gone, holds_work};
use super::target::{check_target, data_of, is_model};
use crate::checkpoint::folder_of;

impl Staging {
    /// Gives the output its name. What had the name is removed only after that; where that is not
    /// possible, it is told. The target is checked once more: somebody may have put something there
    /// meanwhile. With `sync` the disk has it before what it replaces is gone.
    pub fn publish(mut self, sync: bool) -> Result<Option<String>, ExportError> {
        check_target(&self.target, &self.source, self.overwrite)?;
        if sync {
            let synced = sync_below(self.path());
            synced.map_err(|source| ExportError::io("write", self.path(), source))?;
        }
        if let Err(source) = self.rename(&mut || Ok(())) {
            if self.settle_publishing().is_err() {
                self.kept = true;
                let (out, kept) = (self.target.clone(), self.aside());
                return Err(ExportError::OldKeptAside { out, kept, source });
            }
            if !self.was_published() {
                return Err(ExportError::io("rename the finished export to", &self.target, source));
            }
        }
        if sync {
            sync_folder(folder_of(&self.target));
        }
        Ok(self.tidy())
    }

    /// Removes what is left here of an output that has its name. What cannot be removed is told.
    pub fn tidy(mut self) -> Option<String> {
        self.kept = false;
        let root = self.root().to_owned();
        drop(self);
        let root = root.exists().then_some(root)?;
        Some(format!("{} could not be removed: do so before the next export here", root.display()))
    }

    /// Whether an interrupted run has published it and not tidied up.
    pub fn was_published(&self) -> bool {
        self.root().join(PUBLISHED).is_dir()
    }

    /// Whether it has, or what it made is gone from here and something has the name.
    pub fn may_be_published(&self) -> bool {
        self.was_published() || (!self.staged(&self.target).exists() && self.target.exists())
    }

    /// Whether a run that was interrupted at `root` may have published something.
    pub(super) fn may_have_published(root: &Path) -> bool {
        [PUBLISHED, REPLACED].iter().any(|name| root.join(name).is_dir())
            || (holds_work(root) && !root.join(FILES).exists())
    }

    fn aside(&self) -> PathBuf {
        self.root().join(REPLACED)
    }

    /// What gets a name: what an ONNX model needs, then the model.
    fn names(&self) -> Vec<PathBuf> {
        let data = is_model(&self.target).then(|| data_of(&self.target));
        data.into_iter().chain([self.target.clone()]).collect()
    }

    /// Where that is now which is to be at `target`.
    fn staged(&self, target: &Path) -> PathBuf {
        match is_model(&self.target) {
            true => self.path().join(target.file_name().unwrap_or_default()),
            false => self.path().to_owned(),
        }
    }

    /// Where that is put which was at `target`, and a file that says what is to be there.
    fn old(&self, target: &Path) -> [PathBuf; 2] {
        let old = self.aside().join(target.file_name().unwrap_or_default());
        let new = beside(&old, ".new");
        [old, new]
    }

    /// `step` is called before each change.
    fn rename(&self, step: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        if !self.staged(&self.target).exists() {
            return Err(ErrorKind::NotFound.into());
        }
        step()?;
        std::fs::create_dir(self.aside())?;
        for target in self.names() {
            let [_, new] = self.old(&target);
            if let Some(id) = identity(&self.staged(&target)) {
                std::fs::write(new, id)?;
            }
        }
        // A model goes first and comes last: none is ever beside data that is not its own.
        for target in self.names().iter().rev() {
            let [old, _] = self.old(target);
            step()?;
            if target.symlink_metadata().is_ok() {
                std::fs::rename(target, old)?;
            }
        }
        for target in self.names() {
            let staged = self.staged(&target);
            if staged.exists() {
                step()?;
                std::fs::rename(staged, target)?;
            }
        }
        step()?;
        self.commit()
    }

    /// From here on what was replaced is only removed, and never put back.
    fn commit(&self) -> io::Result<()> {
        std::fs::rename(self.aside(), self.root().join(PUBLISHED))
    }

    /// Takes back what publishing has done, unless it was done with all.
    pub(super) fn settle_publishing(&self) -> io::Result<()> {
        let is_there = |target: &PathBuf| self.staged(target).exists();
        match self.aside().is_dir() {
            false => Ok(()),
            true if self.target.exists() && !self.names().iter().any(is_there) => self.commit(),
            true => self.undo(),
        }
    }

    fn undo(&self) -> io::Result<()> {
        for target in self.names().iter().rev() {
            let [_, new] = self.old(target);
            // Somebody may have put something else there meanwhile.
            let is_ours = identity(target).is_some_and(|id| std::fs::read(&new).ok() == Some(id));
            if is_ours && !self.staged(target).exists() {
                std::fs::rename(target, self.staged(target))?;
            }
        }
        for target in self.names() {
            let [old, new] = self.old(&target);
            if old.symlink_metadata().is_ok() && target.symlink_metadata().is_err() {
                std::fs::rename(old, target)?;
            }
            gone(std::fs::remove_file(new))?;
        }
        std::fs::remove_dir(self.aside())
    }
}

/// What a file keeps when it is renamed, and one that is put in its place has not: numbers of files are used again,
/// so its time and length count too. `None` if it is not there.
#[cfg(unix)]
fn identity(path: &Path) -> Option<Vec<u8>> {
    use std::os::unix::fs::MetadataExt;
    let metadata = path.symlink_metadata().ok()?;
    let (written, length) = ([metadata.mtime(), metadata.mtime_nsec()], metadata.len());
    let [device, number] = super::staging::id(metadata);
    Some(format!("{device} {number} {written:?} {length}").into_bytes())
}

/// Files cannot be told apart there.
#[cfg(not(unix))]
fn identity(path: &Path) -> Option<Vec<u8>> {
    path.exists().then(Vec::new)
}

/// Waits until the disk has all that is in a folder.
#[cfg(unix)]
fn sync_below(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_below(&entry.path())?,
            false => std::fs::File::open(entry.path())?.sync_all()?,
        }
    }
    sync_folder(folder);
    Ok(())
}

/// Waits until the disk has the names in a folder. Network disks may not know that, and need not.
#[cfg(unix)]
fn sync_folder(folder: &Path) {
    let _ = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
}

/// Only what is open to be written can be synced there, and weight files are.
#[cfg(not(unix))]
fn sync_below(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_appears_at_the_target_meanwhile_is_not_removed() {
        let place = tempfile::tempdir().unwrap();
        let (target, source) = (place.path().join("out"), place.path().join("src"));
        std::fs::create_dir(&source).unwrap();
        for overwrite in [false, true] {
            let staging = Staging::create(&target, &source, overwrite, 0).unwrap();
            std::fs::create_dir_all(&target).unwrap();
            std::fs::write(target.join("thesis"), "x").unwrap();
            let result = staging.publish(false);
            let expected =
                if overwrite { "is neither an earlier export" } else { "exists already" };
            assert!(result.unwrap_err().to_string().contains(expected));
            assert_eq!(std::fs::read_to_string(target.join("thesis")).unwrap(), "x");
            std::fs::remove_dir_all(&target).unwrap();
        }
        let left: Vec<_> = std::fs::read_dir(place.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "only the source");
    }

    /// What is at paths: the content of files, and of the file `weights` in folders.
    fn content(paths: &[PathBuf]) -> Vec<Option<String>> {
        let read = |path: &PathBuf| {
            let weights = path.join("weights");
            std::fs::read_to_string(if weights.exists() { &weights } else { path }).ok()
        };
        paths.iter().map(read).collect()
    }

    fn write(path: &Path, as_folder: bool, text: &str) {
        match as_folder {
            true => {
                std::fs::create_dir_all(path).unwrap();
                std::fs::write(path.join("weights"), text).unwrap();
            }
            false => std::fs::write(path, text).unwrap(),
        }
    }

    /// Steps that end after so many, as if the process were killed then.
    fn ending_before(last: usize) -> impl FnMut() -> io::Result<()> {
        let mut steps = 0;
        move || {
            steps += 1;
            if steps > last { Err(ErrorKind::Interrupted.into()) } else { Ok(()) }
        }
    }

    /// Publishes `new` over `old`, each what is at the target and at the data of a model; ended before each
    /// change in turn, as if the process were killed there.
    fn interrupted(name: &str, old: &[Option<&str>], new: &[Option<&str>]) {
        let is_folder = !is_model(Path::new(name));
        let owned = |texts: &[Option<&str>]| -> Vec<Option<String>> {
            texts.iter().map(|text| text.map(str::to_owned)).collect()
        };
        for ends_before in 0.. {
            let place = tempfile::tempdir().unwrap();
            let source = place.path().join("src");
            std::fs::create_dir(&source).unwrap();
            let target = place.path().join(name);
            let paths = if is_folder {
                vec![target.clone()]
            } else {
                vec![target.clone(), data_of(&target)]
            };
            let mut staging = Staging::create(&target, &source, false, 0).unwrap();
            for ((path, old), new) in paths.iter().zip(old).zip(new) {
                old.iter().for_each(|text| write(path, is_folder, text));
                new.iter().for_each(|text| write(&staging.staged(path), is_folder, text));
            }
            let done = staging.rename(&mut ending_before(ends_before));
            staging.keep(true);
            drop(staging);

            let claim =
                || Staging::claim(target.clone(), super::super::staging::PARTIAL, &source, true);
            let mut again = claim().unwrap();
            if again.was_published() {
                assert_eq!(content(&paths), owned(new), "{name}, {ends_before}");
            } else {
                assert_eq!(content(&paths), owned(old), "{name}, {ends_before}");
                let staged: Vec<PathBuf> = paths.iter().map(|path| again.staged(path)).collect();
                assert_eq!(content(&staged), owned(new), "{name}, {ends_before}");
                again.rename(&mut || Ok(())).unwrap();
            }
            again.keep(false);
            drop(again);
            assert_eq!(content(&paths), owned(new), "{name}, {ends_before}");
            let left = std::fs::read_dir(place.path()).unwrap().count();
            assert_eq!(left, 1 + new.iter().flatten().count(), "{name}, {ends_before}");
            if done.is_ok() {
                return assert!(ends_before >= 3, "{name}");
            }
        }
    }

    #[test]
    fn interrupted_before_any_change_nothing_is_lost() {
        interrupted("out", &[None], &[Some("new")]);
        interrupted("out", &[Some("old")], &[Some("new")]);
        for old in [[None, None], [Some("old"), None], [Some("old"), Some("old data")]] {
            interrupted("out.onnx", &old, &[Some("new"), None]);
            interrupted("out.onnx", &old, &[Some("new"), Some("new data")]);
        }
    }

    #[test]
    fn what_somebody_puts_at_a_name_meanwhile_stays_there() {
        for with_data in [false, true] {
            for ends_before in 1..8 {
                let place = tempfile::tempdir().unwrap();
                let (target, source) = (place.path().join("out.onnx"), place.path().join("src"));
                std::fs::create_dir(&source).unwrap();
                let data = data_of(&target);
                let mut staging = Staging::create(&target, &source, true, 0).unwrap();
                write(&staging.staged(&target), false, "new");
                if with_data {
                    write(&staging.staged(&data), false, "new data");
                }
                let _ = staging.rename(&mut ending_before(ends_before));
                staging.keep(true);
                drop(staging);
                let _ = std::fs::remove_file(&data);
                write(&data, false, "mine");
                let again = Staging::claim(target, super::super::staging::PARTIAL, &source, false);
                drop(again);
                assert_eq!(std::fs::read_to_string(&data).unwrap(), "mine", "{ends_before}");
            }
        }
    }
}
