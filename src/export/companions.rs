//! The files beside the weights: tokenizer, generation config, remote code, licence.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::ExportError;
use crate::checkpoint::{CONFIG_FILE, Checkpoint, index::INDEX_FILE, lies_within};
use crate::dialect::modelopt::QUANT_CONFIG_FILE;
use crate::dialect::q4gsw::MANIFEST_FILE;
use crate::engine::EngineError;

/// Endings of files that hold weights in some form: they describe the model before quantization.
const WEIGHT_ENDINGS: [&str; 11] = [
    "safetensors",
    "bin",
    "pt",
    "pth",
    "ckpt",
    "h5",
    "msgpack",
    "onnx",
    "gguf",
    "onnx_data",
    "data",
];

/// Files of a checkpoint's folder besides its weights, as paths below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Companions {
    /// To be carried.
    pub carried: Vec<PathBuf>,
    /// To be left, each with the reason.
    pub left: Vec<(PathBuf, &'static str)>,
    /// Bytes of those to be carried.
    pub bytes: u64,
}

impl Companions {
    /// Lists the files of the checkpoint's folder; none for a checkpoint that is one file.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self, ExportError> {
        let mut companions = Self::default();
        if checkpoint.path.is_dir() {
            companions.list(checkpoint, Path::new(""))?;
            companions.carried.sort();
            companions.left.sort();
        }
        Ok(companions)
    }

    fn list(&mut self, checkpoint: &Checkpoint, below: &Path) -> Result<(), ExportError> {
        let folder = checkpoint.folder.join(below);
        let io_error = |source| ExportError::io("list", &folder, source);
        for found in std::fs::read_dir(&folder).map_err(io_error)? {
            let found = found.map_err(io_error)?;
            // Names need not be text, and are carried all the same.
            let path = below.join(found.file_name());
            let name = found.file_name().to_string_lossy().into_owned();
            let Ok(metadata) = std::fs::metadata(found.path()) else {
                self.left.push((path, "a link to nothing"));
                continue;
            };
            let is_link = found.file_type().map_err(io_error)?.is_symlink();
            if (checkpoint.onnx.is_none() && rewritten(&path)) || is_source(checkpoint, &path) {
                continue;
            } else if name.starts_with('.') {
                self.left.push((path, "hidden"));
            } else if metadata.is_dir() && is_link {
                self.left.push((path, "a link to a folder"));
            } else if metadata.is_dir() {
                self.list(checkpoint, &path)?;
            } else if !metadata.is_file() {
                // Reading a pipe or a socket could wait for ever.
                self.left.push((path, "not a regular file"));
            } else if is_link && !lies_within(&checkpoint.folder, &found.path()) {
                self.left.push((path, "a link out of the folder"));
            } else if is_weights(&name) {
                self.left.push((path, "weights of the source"));
            } else {
                self.bytes += metadata.len();
                self.carried.push(path);
            }
        }
        Ok(())
    }

    /// Copies the files to be carried into another folder.
    pub fn copy(
        &self,
        checkpoint: &Checkpoint,
        to: &Path,
        cancel: &AtomicBool,
    ) -> Result<(), ExportError> {
        for path in &self.carried {
            if cancel.load(Ordering::Relaxed) {
                return Err(EngineError::Cancelled.into());
            }
            let target = to.join(path);
            let io_error = |source| ExportError::io("copy", path, source);
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent).map_err(io_error)?;
            }
            // What an interrupted run has copied may be read-only.
            let _ = std::fs::remove_file(&target);
            std::fs::copy(checkpoint.folder.join(path), &target).map_err(io_error)?;
        }
        Ok(())
    }
}

/// Whether the export writes a file of that name itself.
fn rewritten(path: &Path) -> bool {
    [CONFIG_FILE, INDEX_FILE, QUANT_CONFIG_FILE, MANIFEST_FILE]
        .iter()
        .any(|name| path == Path::new(name))
}

fn is_source(checkpoint: &Checkpoint, path: &Path) -> bool {
    checkpoint.files.iter().any(|file| Path::new(&file.name) == path)
}

/// Whether a file of that name holds weights, or lists where they are.
pub(super) fn is_weights(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    WEIGHT_ENDINGS.contains(&ending) || name.ends_with(".index.json")
}
