//! What each quantized format is, in plain scalar Rust. **This is the specification**: every
//! backend is checked against it bit for bit, and it against bytes that the reference tools wrote.
//!
//! NVFP4 has two levels of scales and is told in [`nvfp4`]. Every other format has one, and is a
//! [`Scheme`]: [`fp8`], [`int`], [`mx`], [`onnx_runtime`] and [`torchao`] say which.

mod coder;
mod element;
mod extent;
pub mod fp8;
mod group_scale;
mod grouped;
pub mod int;
pub mod k_quant;
pub mod mx;
pub mod nvfp4;
pub mod nvfp4_search;
mod nvfp4_tables;
pub mod onnx_runtime;
pub mod packing;
pub mod q4gsw;
mod rule;
mod scale_dtype;
mod scope;
mod search;
pub mod torchao;

use std::fmt;
use std::str::FromStr;

pub use coder::Coder;
pub use element::{Element, SmallFloatTies};
pub use extent::Extent;
pub use group_scale::{GroupScale, ScaleStore};
pub use grouped::{Quotient, Scheme};
pub use nvfp4_tables::{Nvfp4Tables, SCALE_CODES, SearchTables, Thresholds};
pub use rule::ScaleRule;
pub use scale_dtype::ScaleDtype;
pub use scope::Scope;
pub use search::{ScaleSearch, UnknownSearch};

/// Whose version of a format's arithmetic: the tools round scales differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// NVIDIA ModelOpt 0.47 on a CPU.
    ModelOpt,
    /// compressed-tensors 0.20. Quotients are in f32 here, as that library has them on a GPU.
    CompressedTensors,
    /// The block-wise quantizer of MLAS, in ONNX Runtime 1.32, of which only whole numbers are:
    /// [`onnx_runtime`].
    OnnxRuntime,
    /// torchao 0.18 on a CPU, of which only whole numbers are: [`torchao`].
    TorchAo,
}

impl Arithmetic {
    /// Every one.
    pub const ALL: [Self; 4] =
        [Self::ModelOpt, Self::CompressedTensors, Self::OnnxRuntime, Self::TorchAo];
}

/// A quantized format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Blocks of 16 E2M1 codes with an E4M3 scale each, and one f32 scale a tensor: [`nvfp4`].
    Nvfp4,
    /// Blocks of 32 E2M1 codes with a power of two each: [`mx`].
    Mxfp4,
    /// Blocks of 32 E4M3 codes with a power of two each: [`mx`].
    Mxfp8,
    /// E4M3 codes with one scale a tensor: [`fp8`].
    Fp8,
    /// E4M3 codes with a scale for each row: [`fp8`].
    Fp8Channel,
    /// E4M3 codes with a scale for each 128×128 tile: [`fp8`].
    Fp8Block,
    /// Whole numbers: [`int`].
    Int {
        /// Bits of a code: 4 or 8.
        bits: u8,
        /// Consecutive weights of a row that share a scale; `None` for the whole row.
        group: Option<u16>,
        /// Whether zero is always code 0; else every group has a zero point.
        symmetric: bool,
    },
}

const fn int(bits: u8, group: Option<u16>, symmetric: bool) -> Format {
    Format::Int { bits, group, symmetric }
}

impl Format {
    /// Every format by the name that it has on the command line and in recipes.
    const NAMED: [(&str, Self); 28] = [
        ("nvfp4", Self::Nvfp4),
        ("mxfp4", Self::Mxfp4),
        ("mxfp8", Self::Mxfp8),
        ("fp8", Self::Fp8),
        ("fp8-channel", Self::Fp8Channel),
        ("fp8-block", Self::Fp8Block),
        ("int8", int(8, None, true)),
        ("int8-g16", int(8, Some(16), true)),
        ("int8-g32", int(8, Some(32), true)),
        ("int8-g64", int(8, Some(64), true)),
        ("int8-g128", int(8, Some(128), true)),
        ("int8-g256", int(8, Some(256), true)),
        ("int8-asym-g16", int(8, Some(16), false)),
        ("int8-asym-g32", int(8, Some(32), false)),
        ("int8-asym-g64", int(8, Some(64), false)),
        ("int8-asym-g128", int(8, Some(128), false)),
        ("int8-asym-g256", int(8, Some(256), false)),
        ("int4", int(4, None, true)),
        ("int4-g16", int(4, Some(16), true)),
        ("int4-g32", int(4, Some(32), true)),
        ("int4-g64", int(4, Some(64), true)),
        ("int4-g128", int(4, Some(128), true)),
        ("int4-g256", int(4, Some(256), true)),
        ("int4-asym-g16", int(4, Some(16), false)),
        ("int4-asym-g32", int(4, Some(32), false)),
        ("int4-asym-g64", int(4, Some(64), false)),
        ("int4-asym-g128", int(4, Some(128), false)),
        ("int4-asym-g256", int(4, Some(256), false)),
    ];

    /// Every format, in the order they are listed.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::NAMED.into_iter().map(|(_, format)| format)
    }

    /// The name on the command line and in recipes.
    pub fn name(self) -> &'static str {
        let named = Self::NAMED.iter().find(|(_, format)| *format == self);
        // Groups of a length that is not offered, as found in a checkpoint.
        let other = if self.code_bits() == 4 { "int4-grouped" } else { "int8-grouped" };
        named.map_or(other, |(name, _)| name)
    }

    /// Consecutive weights of a row that a length must be a multiple of; 1 where any will do.
    pub const fn block_len(self) -> usize {
        match self {
            Self::Nvfp4 => nvfp4::BLOCK_LEN,
            Self::Mxfp4 | Self::Mxfp8 => mx::BLOCK_LEN,
            Self::Fp8 | Self::Fp8Channel | Self::Fp8Block => 1,
            Self::Int { group: Some(group), .. } => group as usize,
            Self::Int { group: None, .. } => 1,
        }
    }

    /// Bits of one code.
    pub const fn code_bits(self) -> u8 {
        match self {
            Self::Nvfp4 | Self::Mxfp4 => 4,
            Self::Mxfp8 | Self::Fp8 | Self::Fp8Channel | Self::Fp8Block => 8,
            Self::Int { bits, .. } => bits,
        }
    }

    /// Its arithmetic; `None` for NVFP4, whose scales have two levels.
    pub fn scheme(self, arithmetic: Arithmetic) -> Option<Scheme> {
        match self {
            Self::Nvfp4 => None,
            Self::Mxfp4 => Some(mx::mxfp4(arithmetic)),
            Self::Mxfp8 => Some(mx::mxfp8(arithmetic)),
            Self::Fp8 => Some(fp8::scheme(Scope::Tensor, arithmetic)),
            Self::Fp8Channel => Some(fp8::scheme(Scope::Row, arithmetic)),
            Self::Fp8Block => Some(fp8::scheme(Scope::Tile(fp8::TILE_LEN), arithmetic)),
            Self::Int { bits, group, symmetric } => {
                let scope = group.map_or(Scope::Row, |group| Scope::Group(group.into()));
                Some(int::scheme(bits, scope, symmetric, arithmetic))
            }
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
#[error("unknown format \"{0}\"; --formats lists the known ones")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::NAMED.into_iter().find(|(name, _)| *name == text);
        named.map(|(_, format)| format).ok_or_else(|| UnknownFormat(text.to_owned()))
    }
}

impl serde::Serialize for Format {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Format {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_parse_back() {
        for format in Format::all() {
            assert_eq!(format.name().parse::<Format>().unwrap(), format);
        }
        assert!("nvfp5".parse::<Format>().is_err());
    }

    #[test]
    fn schemes_agree_with_what_the_format_says_of_itself() {
        for format in Format::all() {
            for arithmetic in Arithmetic::ALL {
                let Some(scheme) = format.scheme(arithmetic) else { continue };
                assert_eq!(scheme.element.bits(), format.code_bits(), "{format}");
                if let Scope::Group(len) = scheme.scope {
                    assert_eq!(len, format.block_len(), "{format}");
                }
            }
        }
    }
}
