//! The float type of scales, where a layout leaves it open.

use serde::{Deserialize, Serialize};

use super::{Scheme, torchao};

/// The float type that scales are stored in.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
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
    /// A scheme of torchao's arithmetic with such scales.
    pub fn applied_to(self, scheme: Scheme) -> Scheme {
        match self {
            Self::Own => scheme,
            Self::F32 => torchao::with_f32_scales(scheme),
        }
    }
}
