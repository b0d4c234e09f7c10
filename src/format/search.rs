//! How scales are chosen: from the largest magnitude, or from more, or by trying several.

use std::fmt;
use std::str::FromStr;

use super::{Arithmetic, Format};

/// How the scale of a block or a group is chosen. None needs data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScaleSearch {
    /// The largest magnitude becomes the largest number that a code is.
    #[default]
    Max,
    /// Of 39 multiples of the largest magnitude, from 0.25 to 4, that of the least squared error.
    Mse,
    /// Of all scales, that of the least squared error.
    Sweep,
    /// The largest magnitude becomes 6 or 4, whichever has the lesser squared error.
    FourOverSix,
    /// Of several scales and zero points, those of the least weighted error: [`super::k_quant`].
    KQuant,
    /// Largest and smallest weight both have a code: [`super::torchao`].
    NoClipping,
}

impl ScaleSearch {
    /// Every one, in the order they are listed.
    pub const ALL: [Self; 6] =
        [Self::Max, Self::Mse, Self::Sweep, Self::FourOverSix, Self::KQuant, Self::NoClipping];

    /// The name on the command line and in recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Max => "max",
            Self::Mse => "mse",
            Self::Sweep => "sweep",
            Self::FourOverSix => "four-over-six",
            Self::KQuant => "k-quant",
            Self::NoClipping => "no-clipping",
        }
    }

    /// Whether a format has it. compressed-tensors' scales are a reciprocal of ModelOpt's, and no
    /// tool multiplies magnitudes under them; a sweep only asks which scale is best.
    pub fn is_for(self, format: Format, arithmetic: Arithmetic) -> bool {
        let is_nvfp4 = format == Format::Nvfp4;
        let is_asymmetric = matches!(format, Format::Int { group: Some(_), symmetric: false, .. });
        let is_symmetric = matches!(format, Format::Int { symmetric: true, .. });
        match (self, arithmetic) {
            (Self::Max, _) => true,
            (Self::NoClipping, _) => is_symmetric && arithmetic == Arithmetic::TorchAo,
            (Self::KQuant, _) => is_asymmetric && arithmetic == Arithmetic::OnnxRuntime,
            (_, Arithmetic::ModelOpt) => is_nvfp4,
            (_, Arithmetic::CompressedTensors) => is_nvfp4 && self == Self::Sweep,
            (_, Arithmetic::OnnxRuntime | Arithmetic::TorchAo) => false,
        }
    }
}

impl fmt::Display for ScaleSearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no search.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown scale search \"{0}\"; known: max, mse, sweep, four-over-six, k-quant, no-clipping"
)]
pub struct UnknownSearch(String);

impl FromStr for ScaleSearch {
    type Err = UnknownSearch;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|search| search.name() == text);
        known.ok_or_else(|| UnknownSearch(text.to_owned()))
    }
}

impl serde::Serialize for ScaleSearch {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for ScaleSearch {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}
