//! Chunks that are kept from finding their amax until they are quantized, so that they are read once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::chunk::ChunkBuffer;
use super::schedule::Job;

/// Bytes of chunks that are held at once. Of groups that are larger the rest is read again.
const MOST_BYTES: usize = 256 << 20;

/// The chunks that are held, by entries and numbers.
#[derive(Debug, Default)]
pub struct Held(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    chunks: HashMap<(usize, usize), ChunkBuffer>,
    /// Memory of chunks and of spare buffers.
    bytes: usize,
    /// Buffers whose memory is used again.
    spare: Vec<ChunkBuffer>,
}

impl Held {
    /// Holds what the amax job of a chunk has read, if there is room, and leaves another buffer.
    pub fn hold(&self, job: &Job, buffer: &mut ChunkBuffer) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = buffer.memory_bytes();
        let spare = state.spare.pop().unwrap_or_default();
        state.bytes -= spare.memory_bytes();
        if state.bytes + bytes > MOST_BYTES {
            // Of the group before there may be more buffers than are needed again.
            let more: usize = state.spare.drain(..).map(|spare| spare.memory_bytes()).sum();
            state.bytes -= more;
        }
        if state.bytes + bytes <= MOST_BYTES {
            state.bytes += bytes;
            state.chunks.insert((job.entry, job.chunk), std::mem::replace(buffer, spare));
        }
    }

    /// Gives back what is held of a chunk; whether it is.
    pub fn take(&self, job: &Job, buffer: &mut ChunkBuffer) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = state.chunks.remove(&(job.entry, job.chunk)) else { return false };
        state.bytes -= held.memory_bytes();
        let spare = std::mem::replace(buffer, held);
        state.bytes += spare.memory_bytes();
        state.spare.push(spare);
        true
    }
}
