//! What each quantized format is, in plain scalar Rust. **This is the specification**: every
//! backend is checked against it bit for bit, and it against bytes that the reference tool wrote.

pub mod nvfp4;
mod nvfp4_tables;

use std::fmt;
use std::str::FromStr;

pub use nvfp4_tables::{Nvfp4Tables, SCALE_CODES};

/// A quantized format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Blocks of 16 E2M1 codes with an E4M3 scale each and one f32 scale a tensor: [`nvfp4`].
    Nvfp4,
}

impl Format {
    /// Every format, in the order they are listed.
    pub const ALL: [Self; 1] = [Self::Nvfp4];

    /// The name on the command line and in recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nvfp4 => "nvfp4",
        }
    }

    /// Consecutive elements of a row that share a block scale. The last dimension of a tensor in
    /// this format is a multiple of it.
    pub const fn block_len(self) -> usize {
        match self {
            Self::Nvfp4 => nvfp4::BLOCK_LEN,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown format \"{0}\"; known formats: nvfp4")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == text)
            .ok_or_else(|| UnknownFormat(text.to_owned()))
    }
}
