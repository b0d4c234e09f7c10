//! The folder in which an output grows: beside its target, named after it, and locked by the run that is at
//! work on it.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::ExportError;
use super::target::{check_target, contains};
use crate::checkpoint::folder_of;

/// What is added to the name of a target for the folder in which it grows.
pub const PARTIAL: &str = ".quantscope-partial";

/// What says how far the work is. Whoever is at work has it locked.
const JOURNAL: &str = "journal";
/// What is to get the target's name.
pub(super) const FILES: &str = "files";
/// Where publishing puts what had the target's name.
pub(super) const REPLACED: &str = "replaced";
/// What that is called once the output has its name.
pub(super) const PUBLISHED: &str = "published";

/// A folder being filled. Dropped before [`Staging::publish`], it disappears, unless it is to be kept.
/// Where the target is an ONNX file, what is in it is to be beside one another there.
#[derive(Debug)]
pub struct Staging {
    root: PathBuf,
    files: PathBuf,
    journal: File,
    pub(super) target: PathBuf,
    pub(super) source: PathBuf,
    pub(super) overwrite: bool,
    pub(super) kept: bool,
}

/// The path beside a target whose name is longer by `addition`.
pub fn beside(target: &Path, addition: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(addition);
    target.with_file_name(name)
}

/// Whether a run has left something in such a folder that can be gone on with.
pub fn holds_work(root: &Path) -> bool {
    root.join(JOURNAL).metadata().is_ok_and(|metadata| metadata.len() > 0)
}

impl Staging {
    /// Creates an empty folder to fill. `source` is the checkpoint that is read, `needed` the bytes that
    /// will be written. What an interrupted export has left is only removed with `overwrite`.
    pub fn create(
        target: &Path,
        source: &Path,
        overwrite: bool,
        needed: u64,
    ) -> Result<Self, ExportError> {
        let mut staging =
            Self::claim(check_target(target, source, overwrite)?, PARTIAL, source, overwrite)?;
        if staging.holds_work() && !overwrite {
            return Err(ExportError::Interrupted { partial: staging.root.clone() });
        }
        staging.begin(needed)?;
        Ok(staging)
    }

    /// Takes the folder beside a target whose name is longer by `addition`, and what is in it; until
    /// [`Self::begin`] it stays. Fails if another run is at work on it.
    pub fn claim(
        target: PathBuf,
        addition: &str,
        source: &Path,
        overwrite: bool,
    ) -> Result<Self, ExportError> {
        let root = beside(&target, addition);
        if contains(&root, source) {
            return Err(ExportError::OutputIsInput { out: target });
        }
        let journal = lock(&root)?;
        let (files, source) = (root.join(FILES), source.to_owned());
        let staging = Self { root, files, journal, target, source, overwrite, kept: true };
        staging.settle_publishing().map_err(|source| {
            ExportError::io("put back what an interrupted run moved from", &staging.target, source)
        })?;
        Ok(staging)
    }

    /// Whether an interrupted run has left something that can be gone on with.
    pub fn holds_work(&self) -> bool {
        holds_work(&self.root)
    }

    /// Whether it has files of an output.
    pub fn holds_files(&self) -> bool {
        std::fs::read_dir(&self.files).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Empties the folder, and has it disappear if it is not published.
    pub fn begin(&mut self, needed: u64) -> Result<(), ExportError> {
        self.kept = false;
        // The journal first: with it and no files it would look as if these had got their name.
        self.journal.set_len(0).and_then(|()| self.clear()).map_err(|e| self.io(e))?;
        self.go_on(needed)
    }

    /// Goes on with what is in the folder.
    pub fn go_on(&self, needed: u64) -> Result<(), ExportError> {
        let parent = folder_of(&self.root);
        let available = fs4::available_space(parent).map_err(|e| self.io(e))?;
        if available < needed {
            let parent = parent.to_owned();
            return Err(ExportError::NotEnoughSpace { parent, available, needed });
        }
        match std::fs::create_dir(&self.files) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(self.io(error)),
            _ => Ok(()),
        }
    }

    /// Removes all files but these, by their paths from where to write.
    pub fn retain(&self, names: &BTreeSet<&str>) -> Result<(), ExportError> {
        let wanted = names.iter().map(|name| self.files.join(name)).collect();
        retain(&self.files, &wanted).map_err(|e| self.io(e))
    }

    /// Has the folder stay if it is not published, or not.
    pub fn keep(&mut self, kept: bool) {
        self.kept = kept;
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.files
    }

    /// The folder with all that belongs to it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file that says how far the work is.
    pub fn journal(&self) -> Result<File, ExportError> {
        self.journal.try_clone().map_err(|e| self.io(e))
    }

    fn io(&self, error: io::Error) -> ExportError {
        ExportError::io("write into", &self.root, error)
    }

    /// Removes all but the journal and, last, what tells that something was published.
    fn clear(&self) -> io::Result<()> {
        let replaced = self.root.join(PUBLISHED);
        let content = std::fs::read_dir(&replaced).into_iter().flatten();
        let old = content.filter_map(Result::ok).map(|entry| entry.path());
        for path in old.chain([self.files.clone()]) {
            let is_folder = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
            gone(if is_folder {
                std::fs::remove_dir_all(path)
            } else {
                std::fs::remove_file(path)
            })?;
        }
        gone(std::fs::remove_dir(replaced))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // Nothing more can be done about what cannot be removed.
        if !self.was_published() {
            let _ = self.journal.set_len(0);
        }
        let _ = self.clear();
        let _ = std::fs::remove_file(self.root.join(JOURNAL));
        let _ = std::fs::remove_dir(&self.root);
    }
}

/// Removes what is below a folder but some files, and folders that are empty then.
fn retain(folder: &Path, wanted: &BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let (path, is_folder) = entry.map(|entry| (entry.path(), entry.file_type()))?;
        if is_folder?.is_dir() {
            retain(&path, wanted)?;
            if std::fs::read_dir(&path)?.next().is_none() {
                std::fs::remove_dir(&path)?;
            }
        } else if !wanted.contains(&path) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// What is not there need not be removed.
pub(super) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a folder, or takes one that another run has left, and locks its journal.
fn lock(root: &Path) -> Result<File, ExportError> {
    let io_error = |source| ExportError::io("write into", root, source);
    loop {
        match std::fs::create_dir(root) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => check_ours(root)?,
            // Whoever may not write is told of the folder that they know.
            created => {
                created.map_err(|source| ExportError::io("write into", folder_of(root), source))?
            }
        }
        let path = root.join(JOURNAL);
        let mut options = File::options();
        let journal = match options.read(true).write(true).create(true).truncate(false).open(&path)
        {
            // The run that had it has just ended.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                // Of a folder with something in it nothing is removed.
                let _ = std::fs::remove_dir(root);
                return Err(io_error(error));
            }
            Ok(opened) => opened,
        };
        match journal.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(ExportError::Busy { partial: root.to_owned() });
            }
            _ if is_same(&journal, &path) => return Ok(journal),
            // Some file systems know no locks; but where there are, the run that had it has removed it meanwhile.
            _ => {}
        }
    }
}

/// Whether an open file is still the one of that name.
#[cfg(unix)]
fn is_same(file: &File, path: &Path) -> bool {
    file.metadata().ok().map(id) == path.symlink_metadata().ok().map(id)
}

/// What all names of a file have in common.
#[cfg(unix)]
pub(super) fn id(metadata: std::fs::Metadata) -> [u64; 2] {
    use std::os::unix::fs::MetadataExt;
    [metadata.dev(), metadata.ino()]
}

/// An open file cannot be removed there.
#[cfg(not(unix))]
fn is_same(_: &File, _: &Path) -> bool {
    true
}

/// Nothing is removed from a folder that holds anything else than what is put there.
fn check_ours(root: &Path) -> Result<(), ExportError> {
    let is_ours = |entry: io::Result<std::fs::DirEntry>| {
        let Ok(entry) = entry else { return false };
        let name = entry.file_name();
        if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            return false;
        }
        // Names of files that are removed while they are open on a network's disk.
        [JOURNAL, FILES, REPLACED, PUBLISHED].iter().any(|own| name == *own)
            || name.to_string_lossy().starts_with(".nfs")
    };
    let listed = match root.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Ok(metadata) if metadata.is_dir() => std::fs::read_dir(root),
        _ => Err(ErrorKind::NotADirectory.into()),
    };
    match listed.map(|mut entries| entries.all(is_ours)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(true) => Ok(()),
        _ => Err(ExportError::NotPartial { partial: root.to_owned() }),
    }
}
