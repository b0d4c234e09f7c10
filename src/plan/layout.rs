//! Which output goes into which file, at which byte.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::Entry;
use crate::checkpoint::Metadata;
use crate::checkpoint::header::{self, HeaderEntry};
use crate::checkpoint::{Checkpoint, SINGLE_FILE};
use crate::dialect::Output;
use crate::onnx::Skeleton;

/// How outputs are spread over files. What is stored for one tensor always shares a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sharding {
    /// Each output goes where its source was.
    #[default]
    AsSource,
    /// Files of at most so many bytes, unless one tensor alone is larger.
    AtMost(u64),
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFile {
    /// Its name.
    pub name: String,
    /// Its tensors in the order of their data.
    pub tensors: Vec<HeaderEntry>,
    /// For each of them, which output it is: index of an entry, and of an output of that entry.
    pub outputs: Vec<(usize, usize)>,
    /// What else is in it.
    pub contents: Contents,
    /// Bytes of the whole file.
    pub bytes: u64,
}

/// What a file has besides the data of tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// A safetensors header, from which places of tensors count, and what it says besides tensors.
    Safetensors(Arc<Metadata>),
    /// An ONNX model, in which tensors lie.
    Onnx(Skeleton),
    /// Nothing: an ONNX model says what is where.
    Data,
}

impl PlannedFile {
    /// A file of so many bytes, with its tensors and the outputs that they are.
    pub const fn new(
        name: String,
        contents: Contents,
        tensors: Vec<HeaderEntry>,
        outputs: Vec<(usize, usize)>,
        bytes: u64,
    ) -> Self {
        Self { name, tensors, outputs, contents, bytes }
    }

    /// Bytes of the data.
    pub fn data_bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.end - tensor.begin).sum()
    }

    /// All other bytes: of headers and graphs.
    pub fn header_bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.data_bytes())
    }

    /// Where the places of its tensors count from.
    pub fn data_start(&self) -> u64 {
        match self.contents {
            Contents::Safetensors(_) => self.header_bytes(),
            Contents::Onnx(_) | Contents::Data => 0,
        }
    }
}

/// Spreads all outputs over files. Every header says `metadata`.
pub fn layout(
    entries: &[Entry],
    checkpoint: &Checkpoint,
    sharding: Sharding,
    metadata: Metadata,
) -> Vec<PlannedFile> {
    let metadata = &Arc::new(metadata);
    match sharding {
        Sharding::AsSource => {
            let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            let stored = entries.iter().enumerate().filter(|(_, entry)| !entry.outputs.is_empty());
            for (i, entry) in stored {
                members.entry(entry.member.tensor.file).or_default().push(i);
            }
            let name = |file: usize| match checkpoint.sharded {
                true => checkpoint.files[file].name.clone(),
                false => SINGLE_FILE.to_owned(),
            };
            members
                .into_iter()
                .map(|(file, members)| file_of(name(file), &members, entries, metadata))
                .collect()
        }
        Sharding::AtMost(limit) => {
            let shards = fill(entries, limit, metadata);
            let count = shards.len();
            let name = |i: usize| match count {
                1 => SINGLE_FILE.to_owned(),
                _ => format!("model-{:05}-of-{count:05}.safetensors", i + 1),
            };
            shards
                .iter()
                .enumerate()
                .map(|(i, members)| file_of(name(i), members, entries, metadata))
                .collect()
        }
    }
}

/// Fills shards in order, starting a new one where the next entry would exceed the limit.
fn fill(entries: &[Entry], limit: u64, metadata: &Metadata) -> Vec<Vec<usize>> {
    let empty = header::encode(&[], metadata).len() as u64;
    let alone = header::encode(&[], &Metadata::new()).len() as u64;
    let mut shards: Vec<Vec<usize>> = Vec::new();
    let mut filled = 0;
    for (i, entry) in entries.iter().enumerate().filter(|(_, entry)| !entry.outputs.is_empty()) {
        let bytes = entry.bytes_after() + header_share(entry, limit) - alone;
        match shards.last_mut() {
            Some(shard) if filled + bytes <= limit => shard.push(i),
            _ => {
                shards.push(vec![i]);
                filled = empty;
            }
        }
        filled += bytes;
    }
    shards
}

/// Bytes that a header takes for one entry, at most: offsets are as long as the limit's digits, and both
/// headers are padded.
fn header_share(entry: &Entry, limit: u64) -> u64 {
    const PADDING: u64 = 16;
    let largest = |output: &Output| HeaderEntry {
        name: output.name.clone(),
        dtype: output.dtype,
        shape: output.shape.clone(),
        begin: limit,
        end: limit,
    };
    let tensors: Vec<HeaderEntry> = entry.outputs.iter().map(largest).collect();
    header::encode(&tensors, &Metadata::new()).len() as u64 + PADDING
}

/// Orders the outputs of a file as the `safetensors` library does, widest type first and then by
/// name, which keeps every tensor aligned.
fn file_of(
    name: String,
    members: &[usize],
    entries: &[Entry],
    metadata: &Arc<Metadata>,
) -> PlannedFile {
    let mut outputs: Vec<(usize, usize)> = members
        .iter()
        .flat_map(|&entry| (0..entries[entry].outputs.len()).map(move |output| (entry, output)))
        .collect();
    let output = |&(entry, output): &(usize, usize)| &entries[entry].outputs[output];
    outputs.sort_by(|a, b| {
        let (a, b) = (output(a), output(b));
        Reverse(a.dtype).cmp(&Reverse(b.dtype)).then_with(|| a.name.cmp(&b.name))
    });

    let mut end = 0;
    let tensors: Vec<HeaderEntry> = outputs
        .iter()
        .map(|id| {
            let output = output(id);
            let begin = end;
            end += output.bytes();
            HeaderEntry {
                name: output.name.clone(),
                dtype: output.dtype,
                shape: output.shape.clone(),
                begin,
                end,
            }
        })
        .collect();
    let bytes = header::encode(&tensors, metadata).len() as u64 + end;
    PlannedFile::new(name, Contents::Safetensors(Arc::clone(metadata)), tensors, outputs, bytes)
}
