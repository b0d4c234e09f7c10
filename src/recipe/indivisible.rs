use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::format::Format;

/// What becomes of a tensor whose rows are no multiple of its format's block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Indivisible {
    /// It stays float.
    #[default]
    Keep,
    /// It gets the same format with the largest smaller block that fits; where none does, it stays.
    Smaller,
    /// Its rows get zeros at their ends, up to a multiple of the block.
    Pad,
    /// It gets this format; where that does not fit either, it stays.
    Format(Format),
}

impl fmt::Display for Indivisible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Keep => "keep",
            Self::Smaller => "smaller",
            Self::Pad => "pad",
            Self::Format(format) => format.name(),
        })
    }
}

impl FromStr for Indivisible {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "keep" => Ok(Self::Keep),
            "smaller" => Ok(Self::Smaller),
            "pad" => Ok(Self::Pad),
            name => {
                let format = name.parse().map(Self::Format);
                format.map_err(|e| format!("{e}; or write \"keep\", \"smaller\" or \"pad\""))
            }
        }
    }
}

impl Serialize for Indivisible {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Indivisible {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
