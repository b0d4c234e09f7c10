use std::io;

use crate::backend::BackendError;
use crate::checkpoint::CheckpointError;

/// A run that did not finish.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The user asked to stop.
    #[error("stopped on request")]
    Cancelled,
    /// A weight that is to be quantized is no number.
    #[error(
        "tensor {tensor:?} holds {value} at {position:?}: it cannot be quantized. Repair it, or keep the tensor with --exclude {tensor:?}"
    )]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// NaN, inf or -inf; for F64, what it is as an f32.
        value: String,
        /// Its indices, outermost first.
        position: Vec<u64>,
    },
    /// The source cannot be read.
    #[error(transparent)]
    Read(#[from] CheckpointError),
    /// The device failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The output cannot be written.
    #[error("cannot write {name}: {source}{}", advice(source))]
    Write {
        /// The file or tensor.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

/// What to do about the write errors that users meet: the end of a message, or nothing.
pub fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ". Free space, or choose another --out"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ". Choose an --out that you may write to"
        }
        _ => "",
    }
}
