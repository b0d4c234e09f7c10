use std::fmt;

use crate::checkpoint::Dtype;
use crate::dialect::Dialect;
use crate::format::Format;
use crate::model::Role;

/// Why a tensor is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No rule matches it, and its role is kept by default.
    Default(Role),
    /// A rule says so.
    Rule(String),
    /// There is no format to quantize to.
    NoFormat,
    /// Its elements are no floats.
    NotFloat(Dtype),
    /// It has no elements.
    Empty,
    /// It is no matrix.
    NotMatrix {
        /// Number of its dimensions.
        dimensions: usize,
    },
    /// It is stored as `[inputs, outputs]`, which no reader of the dialect expects.
    InputsFirst,
    /// It holds several experts in one tensor, and which dimension is which is not known.
    FusedExperts,
    /// It is a matrix that is no module's weight.
    NotWeight,
    /// It equals that tensor, which stands for both.
    StoredOnce(String),
    /// It is a part of a layer that is quantized already.
    Part,
    /// No node of the graph takes it as the weight of a layer.
    NoLayer,
    /// It is the weight of a layer, but is also used otherwise.
    OtherUse(String),
    /// Its rows do not divide into blocks.
    Indivisible {
        /// Length of a row.
        columns: u64,
        /// Length of a block.
        block: u64,
    },
    /// The dialect has no place for fused experts in this format.
    NoPlace {
        /// The format.
        format: Format,
        /// The dialect.
        dialect: Dialect,
    },
    /// Codes of two rows share bytes, and it has an odd number of rows.
    OddRows {
        /// Number of rows.
        rows: u64,
    },
    /// Zero points of a row end in a part of a byte, which the layout has no place for.
    OddBlocks {
        /// Blocks of a row.
        blocks: u64,
    },
    /// Its rows are too long for those that are quantized together to be read at once.
    TooWide {
        /// Length of a row.
        columns: u64,
    },
    /// It is part of a quantized layer that cannot be read.
    Unreadable,
    /// It is shared by embedding and head.
    Tied,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default(Role::Embedding) => {
                f.write_str("embeddings are opt-in (--quantize-embeddings)")
            }
            Self::Default(Role::Head) => f.write_str("the head is kept by default"),
            Self::Default(Role::Router) => f.write_str("routers and gates are kept by default"),
            Self::Default(Role::Norm) => f.write_str("norms are never quantized"),
            Self::Default(Role::Bias) => f.write_str("biases are never quantized"),
            Self::Default(Role::Convolution) => f.write_str("convolutions are kept by default"),
            Self::Default(Role::Position) => f.write_str("positions are kept by default"),
            Self::Default(Role::Vision) => {
                f.write_str("vision and audio towers are kept by default")
            }
            Self::Default(Role::Mtp) => f.write_str("multi-token prediction is kept by default"),
            Self::Default(
                Role::Attention | Role::Mlp | Role::Expert | Role::Linear | Role::Other,
            ) => f.write_str("no rule matches it"),
            Self::Rule(source) => write!(f, "{source}"),
            Self::NoFormat => f.write_str("no format is chosen (--format)"),
            Self::NotFloat(dtype) => write!(f, "{dtype} is no float type to quantize from"),
            Self::Empty => f.write_str("it has no elements"),
            Self::NotMatrix { dimensions } => write!(f, "it has {dimensions} dimensions, not 2"),
            Self::InputsFirst => f.write_str("it is stored as [inputs, outputs]"),
            Self::FusedExperts => {
                f.write_str("its experts are fused in a layout that is not known")
            }
            Self::NotWeight => f.write_str("its name does not end in .weight"),
            Self::StoredOnce(other) => write!(f, "equals {other}, which is stored once for both"),
            Self::Part => f.write_str("part of a layer that is quantized already"),
            Self::NoLayer => {
                f.write_str("no MatMul, Gemm or Gather takes it in a form that codes can have")
            }
            Self::OtherUse(other) => write!(f, "its floats are also needed by {other}"),
            Self::Indivisible { columns, block } => {
                write!(f, "rows of {columns} are no multiple of the block of {block}")
            }
            Self::TooWide { columns } => {
                write!(f, "rows of {columns} are too long to be read together")
            }
            Self::NoPlace { format, dialect } => {
                write!(f, "{dialect} has no place for fused experts in {format}")
            }
            Self::OddRows { rows } => {
                write!(f, "it has {rows} rows, and the format packs them in pairs")
            }
            Self::OddBlocks { blocks } => {
                write!(f, "its rows have {blocks} blocks, whose zero points are no whole bytes")
            }
            Self::Unreadable => f.write_str("its layer cannot be read (--verify says why)"),
            Self::Tied => f.write_str("embedding and head share it (--tied untie)"),
        }
    }
}
