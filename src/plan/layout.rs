//! Which output goes into which file, at which byte.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::Entry;
use crate::checkpoint::Metadata;
use crate::checkpoint::header::{self, Described};
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
    pub tensors: Vec<Placed>,
    /// What else is in it.
    pub contents: Contents,
    /// Bytes of the whole file.
    pub bytes: u64,
}

/// A tensor of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The entry that it is stored for, an index in [`super::Plan::entries`].
    pub entry: usize,
    /// Which of its outputs it is.
    pub output: usize,
    /// Where its bytes start, from [`PlannedFile::data_start`].
    pub begin: u64,
    /// Where they end.
    pub end: u64,
}

impl Placed {
    /// What is stored, and what a header says of it.
    pub fn of(self, entries: &[Entry]) -> &Output {
        &entries[self.entry].outputs[self.output]
    }

    /// What a header says of it.
    pub fn described(self, entries: &[Entry]) -> Described<'_> {
        let Output { name, dtype, shape, .. } = self.of(entries);
        Described { name, dtype: *dtype, shape, data_offsets: [self.begin, self.end] }
    }

    /// Its bytes.
    pub const fn bytes(self) -> u64 {
        self.end - self.begin
    }
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
    /// Bytes of the data.
    pub fn data_bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.bytes()).sum()
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
    let none = std::iter::empty::<Described<'_>>;
    let empty = header::encoded_bytes(none(), metadata);
    let alone = header::encoded_bytes(none(), &Metadata::new());
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
    let tensors = entry.outputs.iter().map(|Output { name, dtype, shape, .. }| Described {
        name,
        dtype: *dtype,
        shape,
        data_offsets: [limit; 2],
    });
    header::encoded_bytes(tensors, &Metadata::new()) + PADDING
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
    let placed = |id: &(usize, usize)| {
        let begin = end;
        end += output(id).bytes();
        Placed { entry: id.0, output: id.1, begin, end }
    };
    let tensors: Vec<Placed> = outputs.iter().map(placed).collect();
    let described = tensors.iter().map(|tensor| tensor.described(entries));
    let bytes = header::encoded_bytes(described, metadata) + end;
    PlannedFile { name, tensors, contents: Contents::Safetensors(Arc::clone(metadata)), bytes }
}
