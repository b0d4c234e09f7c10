//! Telling whether a file is the one that was read before, without reading all of it.

use std::hash::Hasher;
use std::panic::resume_unwind;
use std::thread::Builder;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::{Checkpoint, CheckpointError, TensorFile};
use crate::onnx::ReadAt;

/// What tells a weight file from another, or from what it was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Its name inside the checkpoint's folder.
    pub name: String,
    /// Its length.
    bytes: u64,
    /// When it was changed last, in nanoseconds since 1970; `None` where the system does not tell.
    modified_ns: Option<u64>,
    /// XXH3 of its header; of an ONNX file and its data, of the beginning.
    header: u64,
    /// XXH3 of places spread over all of it: what other weights of the same shapes differ in.
    samples: u64,
}

/// How much of a header is read at once, and how much of a file without one stands for it.
const PIECE_BYTES: u64 = 1 << 20;
/// How many places of a file are sampled, and how much of it at each.
const SAMPLES: u64 = 256;
const SAMPLE_BYTES: u64 = 4 << 10;

/// Files that are read at once: from a network's disk it is waiting that takes the time.
const FILES_AT_ONCE: usize = 16;

impl Checkpoint {
    /// What tells each weight file from another, as it was opened.
    pub fn identity(&self) -> Result<Vec<FileIdentity>, CheckpointError> {
        let threads = FILES_AT_ONCE.min(self.files.len());
        let of_every = |first| -> Vec<_> {
            self.files.iter().skip(first).step_by(threads).map(FileIdentity::of).collect()
        };
        let mut found: Vec<_> = std::thread::scope(|scope| {
            let start = |first| Builder::new().spawn_scoped(scope, move || of_every(first));
            let started: Vec<_> = (0..threads).map(start).collect();
            let found = started.into_iter().enumerate().map(|(first, thread)| match thread {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                // The system allows no more threads.
                Err(_) => of_every(first),
            });
            found.map(Vec::into_iter).collect()
        });
        (0..self.files.len()).filter_map(|file| found[file % threads].next()).collect()
    }
}

impl FileIdentity {
    fn of(file: &TensorFile) -> Result<Self, CheckpointError> {
        let bytes = file.length();
        let mut buffer = Vec::new();
        let mut add = |hash: &mut XxHash3_64, begin: u64, length: u64| {
            buffer.resize(length.min(bytes - begin) as usize, 0);
            file.fill(&mut buffer, begin).map_err(|error| file.read_error(error))?;
            hash.write(&buffer);
            Ok::<_, CheckpointError>(())
        };
        let [mut header, mut samples] = [XxHash3_64::new(), XxHash3_64::new()];
        let length = if file.data_start > 0 { file.data_start } else { PIECE_BYTES };
        for piece in (0..length.min(bytes)).step_by(PIECE_BYTES as usize) {
            add(&mut header, piece, PIECE_BYTES.min(length - piece))?;
        }
        for place in 0..SAMPLES {
            let begin = u128::from(bytes) * u128::from(place) / u128::from(SAMPLES);
            add(&mut samples, begin as u64, SAMPLE_BYTES)?;
        }
        let modified = file.modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(Self {
            name: file.name.clone(),
            bytes,
            modified_ns: modified.and_then(|since| since.as_nanos().try_into().ok()),
            header: header.finish(),
            samples: samples.finish(),
        })
    }

    /// Whether it is the same file as `now`; a copy of it, if times do not count.
    pub fn is_same(&self, now: &Self, times_count: bool) -> bool {
        let times = if times_count { now.modified_ns } else { self.modified_ns };
        *self == Self { modified_ns: times, ..now.clone() }
    }

    /// What is not the same in `now`, in words.
    pub fn difference(&self, now: &Self) -> String {
        if self.name != now.name {
            format!("{} is in its place", now.name)
        } else if self.bytes != now.bytes {
            format!("it had {} bytes, and has {}", self.bytes, now.bytes)
        } else if self.header != now.header {
            "its header differs".to_owned()
        } else if self.samples != now.samples {
            "its weights differ".to_owned()
        } else {
            "it was written to since".to_owned()
        }
    }
}
