//! The float type of scales, where a layout leaves it open.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Scheme, torchao};

/// The float type that scales are stored in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScaleDtype {
    /// The one that the format has: mostly that of the weights.
    #[default]
    Own,
    /// f32, which is all that WebGPU reads. The numbers are the same, but codes are then found in f32
    /// arithmetic, and about one of a hundred is a step away where weights are bf16.
    F32,
}

impl ScaleDtype {
    /// The name on the command line and in recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::F32 => "f32",
        }
    }

    /// A scheme of torchao's arithmetic with such scales.
    pub fn applied_to(self, scheme: Scheme) -> Scheme {
        match self {
            Self::Own => scheme,
            Self::F32 => torchao::with_f32_scales(scheme),
        }
    }
}

impl fmt::Display for ScaleDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no type of scales.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown type of scales \"{0}\"; known: own, f32")]
pub struct UnknownScaleDtype(String);

impl FromStr for ScaleDtype {
    type Err = UnknownScaleDtype;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = [Self::Own, Self::F32].into_iter().find(|dtype| dtype.name() == text);
        known.ok_or_else(|| UnknownScaleDtype(text.to_owned()))
    }
}
