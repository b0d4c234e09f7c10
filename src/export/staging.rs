//! A folder that appears under its name only when it is complete.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::ExportError;

/// A folder being filled beside its target. Dropped before [`Staging::publish`], it disappears.
#[derive(Debug)]
pub struct Staging {
    folder: TempDir,
    target: PathBuf,
}

impl Staging {
    /// Checks the target and creates the folder to fill. `source` is the checkpoint that is read,
    /// `needed` the bytes that the export will take.
    pub fn create(
        target: &Path,
        source: &Path,
        overwrite: bool,
        needed: u64,
    ) -> Result<Self, ExportError> {
        let named = target.file_name().is_some();
        let parent = match target.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => target,
        };
        if target.symlink_metadata().is_ok() {
            if !overwrite {
                return Err(ExportError::OutputExists { out: target.to_owned() });
            }
            if overlaps(target, source) {
                return Err(ExportError::OutputIsInput { out: target.to_owned() });
            }
        }
        if !named || !parent.is_dir() {
            return Err(ExportError::NoParent { parent: parent.to_owned() });
        }
        if source.is_dir() && contains(source, parent) {
            return Err(ExportError::OutputIsInput { out: target.to_owned() });
        }
        let io_error = |source| ExportError::io("write into", parent, source);
        let available = fs4::available_space(parent).map_err(io_error)?;
        if available < needed {
            return Err(ExportError::NotEnoughSpace {
                parent: parent.to_owned(),
                available,
                needed,
            });
        }
        let folder = tempfile::Builder::new()
            .prefix(".quantscope-partial-")
            .tempdir_in(parent)
            .map_err(io_error)?;
        Ok(Self { folder, target: target.to_owned() })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Gives the folder its name. What had the name is removed only after that.
    pub fn publish(self) -> Result<(), ExportError> {
        let io_error =
            |source| ExportError::io("rename the finished export to", &self.target, source);
        allow_listing(self.path()).map_err(io_error)?;
        if self.target.symlink_metadata().is_err() {
            std::fs::rename(self.path(), &self.target).map_err(io_error)?;
            let _ = self.folder.keep();
            return Ok(());
        }
        let parent = self.path().parent().unwrap_or(Path::new("."));
        let aside = tempfile::Builder::new()
            .prefix(".quantscope-replaced-")
            .tempdir_in(parent)
            .map_err(io_error)?;
        let old = aside.path().join("old");
        std::fs::rename(&self.target, &old).map_err(io_error)?;
        if let Err(error) = std::fs::rename(self.path(), &self.target) {
            std::fs::rename(&old, &self.target).map_err(io_error)?;
            return Err(io_error(error));
        }
        let _ = self.folder.keep();
        Ok(())
    }
}

/// Temporary folders are private; the export is to have the rights of any new folder.
#[cfg(unix)]
fn allow_listing(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let probe = folder.join(".rights");
    std::fs::create_dir(&probe)?;
    let mode = std::fs::metadata(&probe)?.permissions().mode();
    std::fs::remove_dir(&probe)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn allow_listing(_: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Whether replacing `target` would remove `source`, or the other way round.
fn overlaps(target: &Path, source: &Path) -> bool {
    contains(target, source) || contains(source, target)
}

fn contains(outer: &Path, inner: &Path) -> bool {
    match (outer.canonicalize(), inner.canonicalize()) {
        (Ok(outer), Ok(inner)) => inner.starts_with(outer),
        _ => false,
    }
}
