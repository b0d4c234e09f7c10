//! Runs a plan: reads chunks, has a backend work on them, hands the results to a sink.
//!
//! Workers take jobs in order; each reads its chunk, computes and writes by itself, so reading,
//! computing and writing overlap without queues, and memory is bounded by one chunk a worker.
//! What is written does not depend on the number of workers.

mod chunk;
mod error;
mod group;
mod run;
mod schedule;
mod workers;

pub use chunk::ChunkBuffer;
pub use error::EngineError;
pub use run::{Run, Sink};
pub use schedule::CHUNK_BYTES;
pub use workers::in_order;
