use std::io;
use std::path::PathBuf;

use super::Part;
use super::{part, staging};
use crate::checkpoint::CheckpointError;
use crate::engine::{EngineError, advice};

/// An export that did not happen.
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
    /// An interrupted export has left something, and it was not said what is to become of it.
    #[error("{} is what an interrupted run has left. Pass --resume to go on with it, or --overwrite to begin anew", partial.display())]
    Interrupted {
        /// The folder.
        partial: PathBuf,
    },
    /// An interrupted export has left files, and nothing that says what they are.
    #[error("{} is what an interrupted run has left, but its journal is damaged, missing, or of another version than {}: \
        nobody can go on with it. Pass --overwrite to begin anew", partial.display(), env!("CARGO_PKG_VERSION"))]
    JournalUnread {
        /// The folder.
        partial: PathBuf,
    },
    /// A part is of something else than the export that it is to be put into.
    #[error("{} is of another export: {difference}. Make it again with --part {part} --overwrite", partial.display())]
    OtherPart {
        /// The folder of the part.
        partial: PathBuf,
        /// The part.
        part: Part,
        /// What is not the same.
        difference: String,
    },
    /// What an interrupted run has published is not what it was.
    #[error("{} was finished by a run that was interrupted just after that, and is no longer what it wrote: {why}. \
        Pass --overwrite, and not --resume, to make it anew", out.display())]
    ChangedSince {
        /// The target.
        out: PathBuf,
        /// What is not as it was.
        why: String,
    },
    /// Another run writes to the same target.
    #[error("another run is at work in {}. Wait for it, or choose another --out", partial.display())]
    Busy {
        /// The folder that it works in.
        partial: PathBuf,
    },
    /// Something else has the name of the folder that the export grows in.
    #[error("{} is needed for the export to grow in, and holds something else. Rename it, or choose another --out", partial.display())]
    NotPartial {
        /// What has the name.
        partial: PathBuf,
    },
    /// What an interrupted export has left is of something else.
    #[error("cannot go on with {}: {difference}. To begin anew pass --overwrite, and not --resume", partial.display())]
    NotResumable {
        /// The folder.
        partial: PathBuf,
        /// What is not as it was.
        difference: String,
    },
    /// There is nothing to put together.
    #[error("there are no parts beside {}: make them with --part first", out.display())]
    NoParts {
        /// The target.
        out: PathBuf,
    },
    /// Some parts are not there yet, or not complete.
    #[error("parts of {} are missing or not complete: {}. Make them with --part, and --resume if they were begun", out.display(), part::listed(parts))]
    PartsMissing {
        /// The target.
        out: PathBuf,
        /// Which.
        parts: Vec<Part>,
    },
    /// Parts have been put together, and are still there.
    #[error("{} exists, and has the very files of the parts beside it: an earlier --finish has verified it and put it together, and was interrupted while it removed the parts. Remove what is left of them, and {}{} if it is there", out.display(), out.display(), staging::PARTIAL)]
    FinishedBefore {
        /// The target.
        out: PathBuf,
    },
    /// Parts of two divisions are there.
    #[error("beside {} are parts of {} and of {}. Remove those that are not wanted", out.display(), divisions[0], divisions[1])]
    TwoDivisions {
        /// The target.
        out: PathBuf,
        /// Into how many parts each divides.
        divisions: [u32; 2],
    },
    /// An ONNX model has no files that could be made apart.
    #[error("{}: an ONNX model is written in one go, not in parts", path.display())]
    NoPartsOfModel {
        /// The model.
        path: PathBuf,
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
            None => "no quantized layer in it. Pass a checkpoint that is quantized".to_owned(),
        };
        Self::NotVerifiable { path, problem }
    }

    /// An error of the system about a path.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { action, path: path.into(), source }
    }
}
