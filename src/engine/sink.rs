//! Where the results of a run go, and what is kept of a run that may be interrupted.

use serde::{Deserialize, Serialize};

use super::EngineError;
use crate::stats::TensorStats;

/// Takes what a run produces. Called from several threads at once.
pub trait Sink: Sync {
    /// Stores `bytes` at `offset` of output `output` of entry `entry` of the plan. Gives where that is;
    /// `None` where it is there already.
    fn write(
        &self,
        entry: usize,
        output: usize,
        offset: u64,
        bytes: &[u8],
    ) -> Result<Option<Piece>, EngineError>;

    /// Whether results of an entry are wanted at all.
    fn wants(&self, _entry: usize) -> bool {
        true
    }

    /// Bytes of source that a job takes, if that was settled before.
    fn chunk_bytes(&self) -> Option<u64> {
        None
    }

    /// What a job did in an earlier run, if all that it wrote is still there.
    fn recall(&self, _job: usize) -> Result<Option<Done>, EngineError> {
        Ok(None)
    }

    /// A job is done.
    fn note(&self, _job: usize, _done: &Done) -> Result<(), EngineError> {
        Ok(())
    }
}

/// What a job did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// What it wrote.
    pub pieces: Vec<Piece>,
    /// What it measured; `None` for a tensor that is no float.
    pub measured: Option<Measured>,
}

/// A piece of a file that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Its file, as a number among those of the plan.
    pub file: usize,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: usize,
    /// XXH3 of the bytes.
    pub hash: u64,
}

/// What was measured of one chunk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Index of the entry in the plan.
    pub entry: usize,
    /// Number of the chunk among those of its tensor.
    pub chunk: usize,
    /// The expert that it is part of, if the tensor holds several.
    pub expert: Option<usize>,
    /// The measurements.
    pub stats: TensorStats,
}
