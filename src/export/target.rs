//! Where an export may be written.

use std::path::{Path, PathBuf};

use super::ExportError;
use super::companions::is_weights;
use crate::checkpoint::{CONFIG_FILE, Checkpoint, Config, ONNX_FILE, folder_of};
use crate::dialect::modelopt::QUANT_CONFIG_FILE;
use crate::dialect::q4gsw::MANIFEST_FILE;

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

/// The absolute path of a target, so that it means the same whatever becomes of the current folder.
pub fn resolve(target: &Path) -> Result<PathBuf, ExportError> {
    // A link to a file is itself replaced, and not what it leads to.
    let resolved = match is_model(target) {
        true => target.to_owned(),
        false => target.canonicalize().unwrap_or_else(|_| followed(target)),
    };
    let parent = folder_of(&resolved).canonicalize().ok().filter(|parent| parent.is_dir());
    match (parent, resolved.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.join(name)),
        _ => Err(ExportError::NoParent { parent: folder_of(target).to_owned() }),
    }
}

/// Where a link to nothing leads to: an interrupted run may have moved what was there.
fn followed(target: &Path) -> PathBuf {
    match target.read_link() {
        Ok(link) => folder_of(target).join(link),
        Err(_) => target.to_owned(),
    }
}

/// Whether an export may be written to `target`; gives its absolute path. `source` is the
/// checkpoint that is read.
pub fn check_target(target: &Path, source: &Path, overwrite: bool) -> Result<PathBuf, ExportError> {
    let is_input = || ExportError::OutputIsInput { out: target.to_owned() };
    let resolved = resolve(target)?;
    let parent = folder_of(&resolved);
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
    if source.is_dir() && contains(source, parent) {
        return Err(is_input());
    }
    Ok(resolved)
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
    entries.filter_map(Result::ok).all(|entry| {
        let (name, file) = (entry.file_name(), entry.path());
        !is_weights(&name.to_string_lossy()) || file == model || reads(model, &file)
    })
}

/// Whether a model has tensors in a file.
fn reads(model: &Path, file: &Path) -> bool {
    let Ok(model) = Checkpoint::open(model) else { return false };
    let name = file.file_name().unwrap_or_default();
    model.files.iter().any(|file| Path::new(&file.name) == name)
}

/// Whether a path lies in another, or is the same.
pub fn contains(outer: &Path, inner: &Path) -> bool {
    match (outer.canonicalize(), inner.canonicalize()) {
        (Ok(outer), Ok(inner)) => inner.starts_with(outer),
        _ => false,
    }
}
