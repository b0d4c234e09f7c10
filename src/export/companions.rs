//! The files beside the weights: tokenizer, generation config, remote code, licence.

use std::path::{Path, PathBuf};

use super::ExportError;
use crate::checkpoint::{CONFIG_FILE, Checkpoint, index::INDEX_FILE};

/// Endings of files that hold weights in some form: they describe the model before quantization.
const WEIGHT_ENDINGS: [&str; 10] =
    ["safetensors", "bin", "pt", "pth", "ckpt", "h5", "msgpack", "onnx", "gguf", "onnx_data"];

/// Files of a checkpoint's folder besides its weights, as paths below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Companions {
    /// To be carried.
    pub carried: Vec<PathBuf>,
    /// Left: weights in other forms, and the indexes that list them.
    pub left: Vec<PathBuf>,
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
            // Bookkeeping of download tools and version control.
            if name.starts_with('.') {
                continue;
            }
            let metadata = std::fs::metadata(found.path())
                .map_err(|source| ExportError::io("read", found.path(), source))?;
            let is_link = found.file_type().map_err(io_error)?.is_symlink();
            if metadata.is_dir() {
                // A link to a folder could lead in a circle.
                if !is_link {
                    self.list(checkpoint, &path)?;
                }
            } else if !metadata.is_file() || rewritten(&path) || is_source(checkpoint, &path) {
                // A pipe or a socket has no content to carry: reading it could wait for ever.
                continue;
            } else if is_weights(&name) {
                self.left.push(path);
            } else {
                self.bytes += metadata.len();
                self.carried.push(path);
            }
        }
        Ok(())
    }

    /// Copies the files to be carried into another folder.
    pub fn copy(&self, checkpoint: &Checkpoint, to: &Path) -> Result<(), ExportError> {
        for path in &self.carried {
            let target = to.join(path);
            let io_error = |source| ExportError::io("copy", &target, source);
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent).map_err(io_error)?;
            }
            std::fs::copy(checkpoint.folder.join(path), &target).map_err(io_error)?;
        }
        Ok(())
    }
}

/// Whether the export writes a file of that name itself.
fn rewritten(path: &Path) -> bool {
    [CONFIG_FILE, INDEX_FILE].iter().any(|name| path == Path::new(name))
}

fn is_source(checkpoint: &Checkpoint, path: &Path) -> bool {
    checkpoint.files.iter().any(|file| Path::new(&file.name) == path)
}

fn is_weights(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    WEIGHT_ENDINGS.contains(&ending) || name.ends_with(".index.json")
}
