//! How a runtime wants a quantized checkpoint: names, dtypes and shapes of the stored tensors, and
//! the config that describes them. One file a dialect; nothing here reads or writes files.

mod exclude;
pub mod modelopt;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::checkpoint::Dtype;
use crate::format::Format;

pub use exclude::{ExcludeList, shortest_patterns};

/// A dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// NVIDIA ModelOpt's Hugging Face export, read by vLLM, TensorRT-LLM and SGLang: [`modelopt`].
    Modelopt,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 1] = [Self::Modelopt];

    /// The name on the command line and in recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Modelopt => "modelopt",
        }
    }

    /// The tensors that stand for a weight `name` of `shape` in `format`.
    pub fn outputs(self, name: &str, shape: &[u64], format: Format) -> Vec<Output> {
        match self {
            Self::Modelopt => modelopt::outputs(name, shape, format),
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no dialect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown dialect \"{0}\"; known dialects: modelopt")]
pub struct UnknownDialect(String);

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|dialect| dialect.name() == text);
        known.ok_or_else(|| UnknownDialect(text.to_owned()))
    }
}

/// A tensor to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, outermost first.
    pub shape: Vec<u64>,
    /// What is in it.
    pub part: Part,
}

impl Output {
    /// Bytes of its data.
    pub fn bytes(&self) -> u64 {
        self.shape.iter().product::<u64>() * self.dtype.bitsize() as u64 / 8
    }
}

/// What an output holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The source tensor's bytes.
    Verbatim,
    /// Packed codes.
    Codes,
    /// One scale a block.
    BlockScales,
    /// The scale of the tensor.
    GlobalScale,
}
