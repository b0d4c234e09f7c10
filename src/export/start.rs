//! Whether a run may begin.

use std::path::{Path, PathBuf};

use super::staging::{FILES, PARTIAL, REPLACED, beside};
use super::target::{check_target, resolve};
use super::{ExportError, Part};

/// Whether a run to `target` may begin, without changing anything; gives its absolute path. With `resume`
/// the target may be there if an interrupted run has published it and not tidied up behind itself.
pub fn check_start(
    target: &Path,
    source: &Path,
    overwrite: bool,
    resume: bool,
) -> Result<PathBuf, ExportError> {
    let root = beside(&resolve(target)?, PARTIAL);
    if resume && root.join(REPLACED).is_dir() {
        return resolve(target);
    }
    // A run may have ended while it removed the last of what it worked with.
    check_target(target, source, overwrite).map_err(|error| match error {
        ExportError::OutputExists { out } if is_made_of_parts(&out) => {
            ExportError::FinishedBefore { out }
        }
        ExportError::OutputExists { out } if resume && !root.join(FILES).exists() => {
            ExportError::NothingToResume { out }
        }
        error => error,
    })
}

/// Whether there are parts beside a target whose files are also files of the target.
fn is_made_of_parts(out: &Path) -> bool {
    let parts = Part::beside(out).unwrap_or_default();
    let files = |part: &Part| Some(beside(&resolve(out).ok()?, &part.addition()).join(FILES));
    !parts.is_empty()
        && parts.iter().all(|part| files(part).is_some_and(|files| is_linked(&files, out)))
}

/// Whether all files below a folder, and there are some, have a second name below another.
#[cfg(unix)]
fn is_linked(folder: &Path, other: &Path) -> bool {
    use std::fs::{DirEntry, read_dir};
    use std::os::unix::fs::MetadataExt;

    let id = |path: &Path| path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let is_linked = |entry: std::io::Result<DirEntry>| {
        let Ok(path) = entry.map(|entry| entry.path()) else { return false };
        let second = other.join(path.file_name().unwrap_or_default());
        if path.is_dir() { is_linked(&path, &second) } else { id(&path) == id(&second) }
    };
    let is_empty = || read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    !is_empty() && read_dir(folder).is_ok_and(|mut entries| entries.all(is_linked))
}

/// Files cannot be told apart there.
#[cfg(not(unix))]
fn is_linked(_: &Path, _: &Path) -> bool {
    false
}
