//! Whether a run may begin.

use std::path::{Path, PathBuf};

use super::staging::{FILES, PARTIAL, REPLACED, Staging, beside};
use super::target::{check_target, resolve};
use super::{ExportError, Part};

/// Whether a run to `target` may begin, without changing anything; gives its absolute path. With `resume`
/// the target may be there if an interrupted run has published it and not tidied up behind itself. One that was
/// interrupted while it published is taken back first, and checked then.
pub fn check_start(
    target: &Path,
    source: &Path,
    overwrite: bool,
    resume: bool,
) -> Result<PathBuf, ExportError> {
    let root = beside(&resolve(target)?, PARTIAL);
    let is_halfway = root.join(REPLACED).is_dir();
    if is_halfway || (resume && Staging::may_have_published(&root)) {
        return resolve(target);
    }
    check_target(target, source, overwrite).map_err(|error| match error {
        ExportError::OutputExists { out } if is_made_of_parts(&out) => {
            ExportError::FinishedBefore { out }
        }
        error => error,
    })
}

/// Whether there are parts beside a target, and what files they still have, which are some, are also files of the
/// target.
fn is_made_of_parts(out: &Path) -> bool {
    let Ok(target) = resolve(out) else { return false };
    let parts = Part::beside(out).unwrap_or_default();
    let folders = parts.iter().map(|part| beside(&target, &part.addition()).join(FILES));
    let linked: Vec<bool> = folders.flat_map(|folder| links(&folder, &target)).collect();
    !linked.is_empty() && linked.iter().all(|is_linked| *is_linked)
}

/// Whether each of the files below a folder has a second name below another.
#[cfg(unix)]
fn links(folder: &Path, other: &Path) -> Vec<bool> {
    let id = |path: &Path| path.metadata().ok().map(super::staging::id);
    let of_entry = |path: PathBuf| {
        let second = other.join(path.file_name().unwrap_or_default());
        match path.is_dir() {
            true => links(&path, &second),
            false => vec![id(&path).is_some_and(|own| Some(own) == id(&second))],
        }
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(Result::ok).flat_map(|entry| of_entry(entry.path())).collect()
}

/// Files cannot be told apart there.
#[cfg(not(unix))]
fn links(_: &Path, _: &Path) -> Vec<bool> {
    Vec::new()
}
