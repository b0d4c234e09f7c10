//! A folder, or a file with the one beside it, that appears under its name only when it is complete.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::ExportError;
use crate::checkpoint::{CONFIG_FILE, Checkpoint, Config, ONNX_FILE};
use crate::dialect::modelopt::QUANT_CONFIG_FILE;
use crate::dialect::q4gsw::MANIFEST_FILE;

/// A folder being filled beside its target. Dropped before [`Staging::publish`], it disappears. Where
/// the target is an ONNX file, what is in the folder is to be beside one another there.
#[derive(Debug)]
pub struct Staging {
    folder: TempDir,
    target: PathBuf,
    source: PathBuf,
    overwrite: bool,
}

impl Staging {
    /// Creates the folder to fill. `source` is the checkpoint that is read, `needed` the bytes that
    /// the export will take.
    pub fn create(
        target: &Path,
        source: &Path,
        overwrite: bool,
        needed: u64,
    ) -> Result<Self, ExportError> {
        let target = check_target(target, source, overwrite)?;
        let parent = parent_of(&target);
        let io_error = |source| ExportError::io("write into", parent, source);
        let available = fs4::available_space(parent).map_err(io_error)?;
        if available < needed {
            let parent = parent.to_owned();
            return Err(ExportError::NotEnoughSpace { parent, available, needed });
        }
        let folder = tempfile::Builder::new()
            .prefix(".quantscope-partial-")
            .tempdir_in(parent)
            .map_err(io_error)?;
        Ok(Self { folder, target, source: source.to_owned(), overwrite })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Gives the folder its name. What had the name is removed only after that. The target is
    /// checked once more: somebody may have put something there meanwhile.
    pub fn publish(self) -> Result<(), ExportError> {
        let _turn = turn(parent_of(&self.target));
        check_target(&self.target, &self.source, self.overwrite)?;
        let io_error =
            |source| ExportError::io("rename the finished export to", &self.target, source);
        if is_model(&self.target) {
            return self.publish_files();
        }
        allow_listing(self.path()).map_err(io_error)?;
        if self.target.symlink_metadata().is_err() {
            std::fs::rename(self.path(), &self.target).map_err(io_error)?;
            let _ = self.folder.keep();
            return Ok(());
        }
        let aside = tempfile::Builder::new()
            .prefix(".quantscope-replaced-")
            .tempdir_in(parent_of(&self.target))
            .map_err(io_error)?;
        let old = aside.path().join("old");
        std::fs::rename(&self.target, &old).map_err(io_error)?;
        if let Err(error) = std::fs::rename(self.path(), &self.target) {
            if std::fs::rename(&old, &self.target).is_err() {
                let kept = aside.keep().join("old");
                return Err(ExportError::OldKeptAside { out: self.target, kept, source: error });
            }
            return Err(io_error(error));
        }
        let _ = self.folder.keep();
        Ok(())
    }

    /// Moves the files to where the target is: what the model needs first, then the model. If one
    /// cannot be moved, those that had the names are put back.
    fn publish_files(self) -> Result<(), ExportError> {
        let io_error =
            |source| ExportError::io("rename the finished export to", &self.target, source);
        let parent = parent_of(&self.target);
        let aside = tempfile::Builder::new()
            .prefix(".quantscope-replaced-")
            .tempdir_in(parent)
            .map_err(io_error)?;
        let model = self.path().join(self.target.file_name().unwrap_or_default());
        if !model.exists() {
            return Err(io_error(std::io::ErrorKind::NotFound.into()));
        }
        let mut done: Vec<PathBuf> = Vec::new();
        let rename = |done: &mut Vec<PathBuf>| {
            for target in [data_of(&self.target), self.target.clone()] {
                let name = target.file_name().unwrap_or_default();
                let staged = self.path().join(name);
                if target.symlink_metadata().is_ok() {
                    std::fs::rename(&target, aside.path().join(name))?;
                }
                if staged.exists() {
                    std::fs::rename(&staged, &target)?;
                    done.push(target);
                }
            }
            Ok(())
        };
        let renamed = rename(&mut done);
        if renamed.is_err() {
            // Nobody else has a hand in these names: what cannot be undone now could not be done.
            done.iter().for_each(|path| drop(std::fs::remove_file(path)));
            for target in [data_of(&self.target), self.target.clone()] {
                let old = aside.path().join(target.file_name().unwrap_or_default());
                if old.exists() && std::fs::rename(&old, &target).is_err() {
                    let kept = aside.keep();
                    let out = self.target.clone();
                    let source = std::io::ErrorKind::Other.into();
                    return Err(ExportError::OldKeptAside { out, kept, source });
                }
            }
        }
        renamed.map_err(io_error)
    }
}

/// Waits for other runs that give names to exports in a folder: of two for one target the second finds what
/// the first has put there. A rename takes no time, so a lock that stays is that of somebody else, who need
/// not be waited for; nor is there one where the system cannot lock folders.
fn turn(folder: &Path) -> Option<File> {
    const WAIT: Duration = Duration::from_millis(20);
    const TRIES: usize = 250;
    let folder = File::open(folder).ok()?;
    for _ in 0..TRIES {
        match folder.try_lock() {
            Ok(()) => return Some(folder),
            Err(TryLockError::WouldBlock) => std::thread::sleep(WAIT),
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}

/// Whether a target is an ONNX file, and not a folder.
pub fn is_model(target: &Path) -> bool {
    target.extension().is_some_and(|ending| ending == "onnx")
}

/// Refuses a target that is an ONNX file where a folder will be written.
pub fn check_folder(target: &Path) -> Result<(), ExportError> {
    match is_model(target) {
        true => Err(ExportError::NoModelFile { out: target.to_owned() }),
        false => Ok(()),
    }
}

/// The file with the tensors of an ONNX file.
pub fn data_of(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".data");
    target.with_file_name(name)
}

/// Whether an export may be written to `target`; gives its absolute path. `source` is the
/// checkpoint that is read.
pub fn check_target(target: &Path, source: &Path, overwrite: bool) -> Result<PathBuf, ExportError> {
    let is_input = || ExportError::OutputIsInput { out: target.to_owned() };
    // Absolute, so that it means the same whatever becomes of the current folder.
    // A link to a file is itself replaced, and not what it leads to.
    let resolved = match is_model(target) {
        true => target.to_owned(),
        false => target.canonicalize().unwrap_or_else(|_| target.to_owned()),
    };
    let parent = parent_of(&resolved).canonicalize().ok().filter(|parent| parent.is_dir());
    let (Some(parent), Some(name)) = (parent, resolved.file_name()) else {
        return Err(ExportError::NoParent { parent: parent_of(target).to_owned() });
    };
    let data = data_of(target);
    if is_model(target) && data.symlink_metadata().is_ok() && target.symlink_metadata().is_err() {
        return Err(ExportError::OutputExists { out: data });
    }
    if target.symlink_metadata().is_ok() {
        if !overwrite {
            return Err(ExportError::OutputExists { out: target.to_owned() });
        }
        if contains(target, source) || contains(source, target) {
            return Err(is_input());
        }
        if !may_be_replaced(target) {
            return Err(ExportError::OutputIsNoExport { out: target.to_owned() });
        }
        if is_model(target) && data.symlink_metadata().is_ok() && !reads(target, &data) {
            return Err(ExportError::OutputIsNoExport { out: data });
        }
    }
    if source.is_dir() && contains(source, &parent) {
        return Err(is_input());
    }
    Ok(parent.join(name))
}

/// Only an earlier export, or an empty folder, is worth no more than what replaces it.
fn may_be_replaced(target: &Path) -> bool {
    let is_empty = || std::fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none());
    let is_quantized = || {
        let config = Config::read(&target.join(CONFIG_FILE)).ok().flatten();
        config.is_some_and(|config| config.quantization_method().is_some())
    };
    if is_model(target) {
        let model = Checkpoint::open(target);
        return model.is_ok_and(|model| model.existing_quantization().is_some());
    }
    let is_model_folder = || {
        let model = target.join(ONNX_FILE);
        model.is_file() && may_be_replaced(&model) && has_no_other_weights(target, &model)
    };
    let is_described =
        || [QUANT_CONFIG_FILE, MANIFEST_FILE].iter().any(|name| target.join(name).is_file());
    is_described() || is_quantized() || is_empty() || is_model_folder()
}

/// Whether all weights in the folder of a model are its own.
fn has_no_other_weights(folder: &Path, model: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.filter_map(Result::ok).map(|entry| entry.path()).all(|file| {
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let is_weights = ["onnx", "data", "onnx_data", "safetensors", "bin"].contains(&ending);
        !is_weights || file == model || reads(model, &file)
    })
}

/// Whether a model has tensors in a file.
fn reads(model: &Path, file: &Path) -> bool {
    let Ok(model) = Checkpoint::open(model) else { return false };
    let name = file.file_name().unwrap_or_default();
    model.files.iter().any(|file| Path::new(&file.name) == name)
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
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

fn contains(outer: &Path, inner: &Path) -> bool {
    match (outer.canonicalize(), inner.canonicalize()) {
        (Ok(outer), Ok(inner)) => inner.starts_with(outer),
        _ => false,
    }
}

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
            let result = staging.publish();
            let expected =
                if overwrite { "is neither an earlier export" } else { "exists already" };
            assert!(result.unwrap_err().to_string().contains(expected));
            assert_eq!(std::fs::read_to_string(target.join("thesis")).unwrap(), "x");
            std::fs::remove_dir_all(&target).unwrap();
        }
        let left: Vec<_> = std::fs::read_dir(place.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "only the source");
    }

    #[test]
    fn a_folder_that_somebody_has_locked_is_written_to_all_the_same() {
        let place = tempfile::tempdir().unwrap();
        let source = place.path().join("src");
        std::fs::create_dir(&source).unwrap();
        let Ok(folder) = File::open(place.path()) else { return };
        let _ = folder.lock();
        let target = place.path().join("out");
        Staging::create(&target, &source, false, 0).unwrap().publish().unwrap();
        assert!(target.is_dir());
    }
}
