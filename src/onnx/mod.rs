//! ONNX files, without loss: what is not understood of one, or not to be changed, stays byte for byte.
//!
//! A model is a protobuf message. [`Document`] walks it once and notes where nodes and tensors are;
//! weights stay in the file. [`Edits`] say what becomes of nodes and tensors, and
//! [`Skeleton`] is the file that results: pieces of the source, new bytes, and holes for new weights.

mod document;
mod edits;
mod error;
mod graph;
pub mod proto;
pub mod scope;
mod skeleton;
mod source;
mod tensor;
mod walk;
mod wire;

pub use document::{Document, Graph, Node, Tensor, TensorOwner, start};
pub use edits::{Data, Edits, Hole, NewNode, NewTensor};
pub use error::OnnxProblem;
pub use graph::{Links, Use};
pub use skeleton::{Piece, Skeleton};
pub use source::ReadAt;
pub use tensor::{ElementType, Place};

/// The domain of ONNX Runtime's own operators.
pub const MICROSOFT: &str = "com.microsoft";

/// Most bytes that a protobuf message may have.
pub const MAX_MESSAGE_BYTES: u64 = (1 << 31) - 1;
