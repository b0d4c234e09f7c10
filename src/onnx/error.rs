use std::io;

use crate::onnx::MAX_MESSAGE_BYTES;

/// What is wrong with an ONNX file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OnnxProblem {
    /// The system does not give its bytes.
    #[error("it cannot be read from byte {at} on: {message}")]
    Unreadable {
        /// Where.
        at: usize,
        /// The kind of the failure.
        kind: io::ErrorKind,
        /// What the system said.
        message: String,
    },
    /// Not a protobuf message, or a damaged one.
    #[error(
        "byte {at} is no valid protobuf ({message}). This is no ONNX file, or it is damaged: export the model again"
    )]
    Damaged {
        /// Where the field begins that cannot be read.
        at: usize,
        /// What the parser said.
        message: String,
    },
    /// A message without a graph.
    #[error(
        "there is no graph in it. This is no ONNX model, or it is cut off: export the model again"
    )]
    NoGraph,
    /// A graph, and no word on whose operators it has.
    #[error("it does not say which operators it imports, so it is cut off: export the model again")]
    NoOpset,
    /// Larger than a protobuf message may be.
    #[error(
        "it has {bytes} bytes, and no protobuf message may have more than {MAX_MESSAGE_BYTES}. Write the model with external data"
    )]
    TooLarge {
        /// Bytes of the file.
        bytes: u64,
    },
    /// Graphs within graphs without end.
    #[error(
        "messages are nested more than {levels} deep, as in no model. The file is damaged: export the model again"
    )]
    TooDeep {
        /// How deep they may be.
        levels: usize,
    },
    /// A message of more fields than a model has.
    #[error(
        "a message has more than {limit} fields, at byte {at}, as in no model. The file is damaged: export the \
         model again"
    )]
    TooManyFields {
        /// Where the first one beyond the limit is.
        at: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Two initializers of one graph have one name.
    #[error(
        "two initializers are called {name:?}. Which one is meant cannot be known: export the model again"
    )]
    SameName {
        /// The name.
        name: String,
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
    /// Dimensions that no tensor has.
    #[error(
        "tensor {tensor:?} has the dimensions {dims:?}. The file is damaged: export the model again"
    )]
    Dimensions {
        /// The tensor.
        tensor: String,
        /// Its dimensions.
        dims: Vec<i64>,
    },
    /// More or fewer bytes than the dimensions say.
    #[error(
        "tensor {tensor:?} has {found} bytes, but its type and dimensions take {needed}. The file is damaged: export the model again"
    )]
    WrongSize {
        /// The tensor.
        tensor: String,
        /// Bytes that are there.
        found: u64,
        /// Bytes that it takes.
        needed: u64,
    },
    /// A reference to external data that says nothing, or that leaves the folder.
    #[error(
        "tensor {tensor:?} is in the external file {location:?}, which is {why}. Put the file beside the model, or export the model again"
    )]
    External {
        /// The tensor.
        tensor: String,
        /// The file, as it is written in the model.
        location: String,
        /// What is wrong with that.
        why: String,
    },
    /// A type that is not known.
    #[error(
        "tensor {tensor:?} has the unknown element type {data_type}. It was written by a newer version of ONNX than this program knows"
    )]
    UnknownType {
        /// The tensor.
        tensor: String,
        /// The number of its type.
        data_type: i32,
    },
}
