use std::io;
use std::path::PathBuf;

use crate::checkpoint::CheckpointError;
use crate::engine::{EngineError, advice};

/// An export that did not happen. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is something at the target.
    #[error("{} exists already. Choose another --out, or pass --overwrite to replace it", out.display())]
    OutputExists {
        /// The target.
        out: PathBuf,
    },
    /// What is at the target is no export, and not to be replaced.
    #[error("{} is neither an earlier export nor empty: --overwrite would remove what is in it. Choose another --out, or remove it yourself", out.display())]
    OutputIsNoExport {
        /// The target.
        out: PathBuf,
    },
    /// The old folder could not be put back.
    #[error("cannot rename the finished export to {}: {source}. What was there before is now {}", out.display(), kept.display())]
    OldKeptAside {
        /// The target.
        out: PathBuf,
        /// Where its old content is.
        kept: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The target would replace or fill the source.
    #[error("{} is the checkpoint that is read, or lies in it or around it. Choose another --out", out.display())]
    OutputIsInput {
        /// The target.
        out: PathBuf,
    },
    /// Only what is quantized of an ONNX model is written as a file.
    #[error("{}: only quantizing an ONNX model gives an .onnx file; choose a folder here", out.display())]
    NoModelFile {
        /// The target.
        out: PathBuf,
    },
    /// There is no folder to put the target into.
    #[error("{}: there is no such folder to write into. Create it, or choose another --out", parent.display())]
    NoParent {
        /// The folder.
        parent: PathBuf,
    },
    /// The target's disk is too small.
    #[error("{} has {available} bytes free, but the export needs {needed}. Free space, or choose another --out", parent.display())]
    NotEnoughSpace {
        /// The folder of the target.
        parent: PathBuf,
        /// Bytes free.
        available: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// Nothing would be quantized.
    #[error(
        "no tensor would be quantized: the plan (--dry-run) says why for each. Name tensors with --include"
    )]
    NothingToQuantize,
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The run failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint that is to be verified is in no form that can be.
    #[error("{}: {problem}", path.display())]
    NotVerifiable {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A layer of the checkpoint cannot be read as floats.
    #[error("{}: {problem}; --verify says all that is wrong with it", path.display())]
    Unreadable {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl ExportError {
    /// No layer of a checkpoint is quantized in a way that is known; `method` is what gives away
    /// that it is quantized at all.
    pub fn not_quantized(path: PathBuf, method: Option<String>) -> Self {
        let problem = match method {
            Some(method) => {
                format!("{method}: no layer of it is in a form that is read here")
            }
            None => "no quantized layer in it. Pass a folder that an export wrote".to_owned(),
        };
        Self::NotVerifiable { path, problem }
    }

    /// An error of the system about a path.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { action, path: path.into(), source }
    }
}
