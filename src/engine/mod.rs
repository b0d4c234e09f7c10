//! Runs a plan: reads chunks, has a backend work on them, hands the results to a sink.
//!
//! Workers take jobs in order; each reads its chunk, computes and writes by itself, so reading,
//! computing and writing overlap without queues, and memory is bounded by one chunk a worker.
//! What is written does not depend on the number of workers.

mod chunk;
mod error;
mod group;
mod quantize;
mod run;
mod schedule;
mod settle;
mod sink;
mod tie_match;
mod transpose;
mod workers;

use std::sync::atomic::AtomicBool;

use crate::backend::Backend;

pub use chunk::{ChunkBuffer, padded_rows};
pub use error::{EngineError, advice};
pub use group::{Encoder, Method, Nvfp4Encoder};
pub use run::{Run, by_entry, merge};
pub use schedule::{CHUNK_BYTES, bytes_at_once, steps, units};
pub use settle::{settle_tie, tie_matters};
pub use sink::{Done, Measured, Piece, Sink};
pub use tie_match::{Comparison, tie_match};
pub use transpose::{codes_to_blocks, codes_to_rows};
pub use workers::in_order;

/// What work is done with.
#[derive(Clone, Copy)]
pub struct Resources<'a> {
    /// Who computes.
    pub backend: &'a dyn Backend,
    /// Number of threads; at least 1.
    pub workers: usize,
    /// Who is told how far the work is.
    pub progress: &'a dyn Progress,
    /// Set by the user to stop.
    pub cancel: &'a AtomicBool,
}

/// Somebody who is told how far the work is. Called from several threads at once.
pub trait Progress: Sync {
    /// So many bytes more are done.
    fn add(&self, bytes: u64);
}
