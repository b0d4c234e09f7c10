//! What can be wrong with a checkpoint. Every message names the file or the tensor, gives the
//! numbers, and says what to do.

use std::cmp::Ordering;
use std::io;
use std::path::PathBuf;

use crate::onnx::OnnxProblem;

/// A checkpoint that cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The path is not there, or cannot be read.
    #[error("cannot read {}: {source}{}", path.display(), advice(source))]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A weight file that somebody writes to.
    #[error("{} was changed while it was read: {}. Try again once nobody writes to it", path.display(), change(*before, *now))]
    Changed {
        /// The file.
        path: PathBuf,
        /// Its length when it was opened.
        before: u64,
        /// Its length now.
        now: u64,
    },
    /// A folder without weights in a form that is read.
    #[error("{}: no safetensors or ONNX weights here{found}. Pass a Hugging Face checkpoint folder, a .safetensors file or an .onnx file", folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// What is there instead, as the end of a sentence, or nothing.
        found: String,
    },
    /// Several weight files and nothing that says how they belong together.
    #[error("{}: {count} .safetensors files and no model.safetensors.index.json that says which belong together. Add the index, or pass one of the files", folder.display())]
    NoIndex {
        /// The folder.
        folder: PathBuf,
        /// How many files.
        count: usize,
    },
    /// A .safetensors file that is not one.
    #[error("{}: {problem}", file.display())]
    Header {
        /// The file.
        file: PathBuf,
        /// What is wrong in it.
        problem: HeaderProblem,
    },
    /// An .onnx file that is none, or whose external data are not there.
    #[error("{}: {problem}", file.display())]
    Onnx {
        /// The file.
        file: PathBuf,
        /// What is wrong in it.
        problem: OnnxProblem,
    },
    /// An index that does not fit its files.
    #[error("{}: {problem}", index.display())]
    Index {
        /// The index file.
        index: PathBuf,
        /// What is wrong in it.
        problem: IndexProblem,
    },
    /// A tensor stored in two files.
    #[error(
        "tensor {tensor:?} is stored twice, in {first} and in {second}. Remove it from one of them"
    )]
    StoredTwice {
        /// The tensor.
        tensor: String,
        /// One file.
        first: String,
        /// The other.
        second: String,
    },
    /// `config.json` is not JSON.
    #[error("{}: not valid JSON: {message}. Repair the file, or download it again", file.display())]
    Config {
        /// The file.
        file: PathBuf,
        /// What the parser said.
        message: String,
    },
}

/// What became of a file, from its lengths.
fn change(before: u64, now: u64) -> String {
    match now.cmp(&before) {
        Ordering::Less => format!("it became shorter, from {before} to {now} bytes"),
        Ordering::Greater => format!("it became longer, from {before} to {now} bytes"),
        Ordering::Equal => format!("its {now} bytes were written to"),
    }
}

/// What to do about the read errors that users meet: the end of a message, or nothing.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => ". Check the path",
        io::ErrorKind::PermissionDenied => ". Ask for the right to read it",
        _ => "",
    }
}

/// What is wrong with a safetensors file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderProblem {
    /// Shorter than the length that starts every file.
    #[error(
        "{file_bytes} bytes are too few for a safetensors file. The file is empty or cut off: download it again"
    )]
    TooShort {
        /// Length of the file.
        file_bytes: u64,
    },
    /// The header length is above the limit of the format.
    #[error(
        "the header claims {header_bytes} bytes, above the format's limit of {limit}. This is not a safetensors file, or it is damaged"
    )]
    TooLarge {
        /// The claim.
        header_bytes: u64,
        /// [`super::header::MAX_HEADER_BYTES`].
        limit: u64,
    },
    /// The header does not fit the file.
    #[error(
        "the header claims {header_bytes} bytes, but the file has only {file_bytes}. The file is cut off: download it again"
    )]
    LongerThanFile {
        /// The claim.
        header_bytes: u64,
        /// Length of the file.
        file_bytes: u64,
    },
    /// The header is not the JSON that it has to be.
    #[error("the header is not valid: {message}. The file is damaged: download it again")]
    NotJson {
        /// What the parser said.
        message: String,
    },
    /// A name that no tensor has.
    #[error(
        "the name of a tensor has {bytes} bytes, and no more than {limit} are read. It starts with {start:?}: give it a shorter one"
    )]
    LongName {
        /// Its first characters.
        start: String,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// One name, two tensors.
    #[error(
        "tensor {tensor:?} appears twice in the header. Which one is meant cannot be known: write the file anew"
    )]
    DuplicateName {
        /// The tensor.
        tensor: String,
    },
    /// A dtype that the format does not have.
    #[error(
        "tensor {tensor:?} has the unknown dtype {dtype:?}. Known: BOOL, F4, F6_E2M3, F6_E3M2, U8, I8, F8_E5M2, F8_E4M3, F8_E8M0, I16, U16, F16, BF16, I32, U32, F32, F64, I64, U64, C64"
    )]
    UnknownDtype {
        /// The tensor.
        tensor: String,
        /// Its dtype.
        dtype: String,
    },
    /// The shape has more elements than can be counted.
    #[error("tensor {tensor:?} has shape {shape:?}, whose size overflows. The header is damaged")]
    ShapeOverflow {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<u64>,
    },
    /// Shape and byte range disagree.
    #[error("tensor {tensor:?} needs {needed} bytes for its shape and dtype, but its offsets {begin}..{end} hold {}. The header is damaged", end.wrapping_sub(*begin) as i64)]
    WrongSize {
        /// The tensor.
        tensor: String,
        /// Bytes that shape and dtype ask for.
        needed: u64,
        /// Start of its data.
        begin: u64,
        /// End of its data.
        end: u64,
    },
    /// Elements below a byte that do not fill their last byte.
    #[error(
        "tensor {tensor:?} of dtype {dtype} has shape {shape:?}, which does not fill whole bytes"
    )]
    PartialByte {
        /// The tensor.
        tensor: String,
        /// Its dtype.
        dtype: String,
        /// Its shape.
        shape: Vec<u64>,
    },
    /// Data past the end of the file.
    #[error("tensor {tensor:?} ends at byte {end} of the data, but the file has only {data_bytes}: {} bytes are missing. The file is cut off: download it again", end - data_bytes)]
    OutOfRange {
        /// The tensor.
        tensor: String,
        /// End of its data.
        end: u64,
        /// Data bytes in the file.
        data_bytes: u64,
    },
    /// Two tensors share bytes.
    #[error(
        "tensors {first:?} and {second:?} overlap at byte {begin} of the data. The header is damaged"
    )]
    Overlap {
        /// The one before.
        first: String,
        /// The one that starts inside it.
        second: String,
        /// Where that one starts.
        begin: u64,
    },
    /// Bytes that no tensor owns.
    #[error(
        "{bytes} bytes at byte {begin} of the data belong to no tensor. The format allows no holes: the header is damaged"
    )]
    Hole {
        /// Where they start.
        begin: u64,
        /// How many.
        bytes: u64,
    },
}

/// What is wrong with a `model.safetensors.index.json`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexProblem {
    /// Not the JSON that it has to be.
    #[error("not a valid index: {message}. Download it again")]
    NotJson {
        /// What the parser said.
        message: String,
    },
    /// One name, two shards.
    #[error("tensor {tensor:?} is listed twice")]
    DuplicateName {
        /// The tensor.
        tensor: String,
    },
    /// A shard that is not there.
    #[error(
        "shard {shard} is missing ({tensors} tensors, {example:?} among them). Download it into the folder"
    )]
    MissingShard {
        /// The file.
        shard: String,
        /// How many tensors it holds.
        tensors: usize,
        /// One of them.
        example: String,
    },
    /// A shard outside the checkpoint's folder.
    #[error(
        "shard {shard:?} lies outside the folder. Only files of the checkpoint's own folder are read: put the file there"
    )]
    OutsideFolder {
        /// The file.
        shard: String,
    },
    /// A tensor that is in no file.
    #[error(
        "tensor {tensor:?} is listed in {shard}, which does not hold it. Index and shards are of different versions: download both again"
    )]
    TensorNowhere {
        /// The tensor.
        tensor: String,
        /// Where it should be.
        shard: String,
    },
}
