//! The columns of the statistics table: what they are called, and what their numbers are.

use std::fmt;
use std::str::FromStr;

/// A column of the statistics table. What a row has in it is said by [`Column::text`] and
/// [`Column::number`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Column {
    /// Name of the tensor, or of the group.
    Name,
    /// Dimensions.
    Shape,
    /// Stored type.
    Dtype,
    /// What the tensor is.
    Role,
    /// Decoder layer.
    Layer,
    /// Routed expert.
    Expert,
    /// Format it gets.
    Format,
    /// Why it gets that.
    Reason,
    /// Largest magnitude.
    Amax,
    /// Mean magnitude.
    MeanAbs,
    /// Standard deviation.
    StdDev,
    /// Percent of weights that are zero.
    Zeros,
    /// Scale of the whole tensor.
    GlobalScale,
    /// Smallest scale.
    ScaleMin,
    /// Largest scale.
    ScaleMax,
    /// Number of scales that are 0.
    ScalesZero,
    /// Number of subnormal scales.
    ScalesSubnormal,
    /// Number of saturated scales.
    ScalesSaturated,
    /// Signal-to-quantization-noise ratio in dB.
    Sqnr,
    /// What a search for scales gained, in dB.
    SearchGain,
    /// Largest error of a weight.
    MaxError,
    /// Bytes before.
    BytesBefore,
    /// Bytes after.
    BytesAfter,
    /// Bytes that are gone.
    BytesSaved,
    /// Stored bits a weight.
    BitsPerWeight,
    /// Number of tensors.
    Tensors,
}

/// What a number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The plan alone.
    Plan,
    /// The weights, whatever becomes of them.
    Weights,
    /// What quantizing makes of them.
    Codes,
}

/// A name that no column has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no column is called {0}; columns: {keys}", keys = keys())]
pub struct UnknownColumn(pub String);

/// All keys, as a list in a message.
fn keys() -> String {
    Column::ALL.map(Column::key).join(", ")
}

impl Column {
    /// All columns, in the order in which a table shows them.
    pub const ALL: [Self; 26] = [
        Self::Name,
        Self::Tensors,
        Self::Shape,
        Self::Dtype,
        Self::Role,
        Self::Layer,
        Self::Expert,
        Self::Format,
        Self::Amax,
        Self::MeanAbs,
        Self::StdDev,
        Self::Zeros,
        Self::GlobalScale,
        Self::ScaleMin,
        Self::ScaleMax,
        Self::ScalesZero,
        Self::ScalesSubnormal,
        Self::ScalesSaturated,
        Self::Sqnr,
        Self::SearchGain,
        Self::MaxError,
        Self::BytesBefore,
        Self::BytesAfter,
        Self::BytesSaved,
        Self::BitsPerWeight,
        Self::Reason,
    ];

    /// Its short name, in filters and on the command line.
    pub const fn key(self) -> &'static str {
        self.names().0
    }

    /// Its header.
    pub const fn title(self) -> &'static str {
        self.names().1
    }

    /// What stands in it: a sentence with formula and unit.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Name => "The tensor's name, or the group's.",
            Self::Shape => {
                "Dimensions; for several tensors how many, and of what shape if they have one."
            }
            Self::Dtype => "Type in which it is stored, or the types of a group.",
            Self::Role => {
                "What the tensor is in the model: attention, mlp, expert, norm and so on."
            }
            Self::Layer => "Number of the decoder layer, from 0.",
            Self::Expert => "Number of the routed expert, from 0.",
            Self::Format => "Format it gets, or kept; mixed for a group with several.",
            Self::Reason => "The rule that quantizes it, or why it is kept.",
            Self::Amax => "Largest magnitude, max |w|; NaN or inf if a weight is.",
            Self::MeanAbs => "Mean magnitude, Σ|w| / n.",
            Self::StdDev => "Standard deviation over all weights, √(Σw²/n − (Σw/n)²).",
            Self::Zeros => "Weights that are +0 or −0, in percent of all.",
            Self::GlobalScale => {
                "Scale of the whole tensor as it is stored, in formats that have one."
            }
            Self::ScaleMin => "Smallest scale, NaN and negative ones aside.",
            Self::ScaleMax => "Largest scale, NaN and negative ones aside.",
            Self::ScalesZero => "Number of scales that are 0: what they scale reads as zeros.",
            Self::ScalesSubnormal => {
                "Number of scales below the smallest normal number of their type, which are \
                 less precise."
            }
            Self::ScalesSaturated => {
                "Number of scales at the largest number of their type; NVFP4 has one in each \
                 tensor by design."
            }
            Self::Sqnr => {
                "Signal-to-quantization-noise ratio in dB, 10·log₁₀(Σw² / Σ(w−ŵ)²), where ŵ is \
                 what a code stands for; inf if all codes are exact."
            }
            Self::SearchGain => {
                "What a search for scales gained over scales from the largest magnitude, in dB: \
                 10·log₁₀ of the squared error without it over that with it; negative where it \
                 lost."
            }
            Self::MaxError => {
                "Largest error of a weight, max |w−ŵ|, where ŵ is what its code stands for."
            }
            Self::BytesBefore => "Bytes in the checkpoint that is read.",
            Self::BytesAfter => "Bytes of what is stored for it, scales included.",
            Self::BytesSaved => "Bytes before − bytes after; negative where it grows.",
            Self::BitsPerWeight => {
                "Stored bits a weight, scales included: 8 · bytes after / number of weights."
            }
            Self::Tensors => "Number of tensors in the row.",
        }
    }

    /// Whether it holds text, which is aligned to the left and is only equal or not; all others hold
    /// numbers.
    pub const fn is_text(self) -> bool {
        matches!(
            self,
            Self::Name | Self::Shape | Self::Dtype | Self::Role | Self::Format | Self::Reason
        )
    }

    /// Whether it holds bytes.
    pub const fn is_bytes(self) -> bool {
        matches!(self, Self::BytesBefore | Self::BytesAfter | Self::BytesSaved)
    }

    /// What a number in it comes from.
    pub const fn origin(self) -> Origin {
        match self {
            Self::Amax | Self::MeanAbs | Self::StdDev | Self::Zeros => Origin::Weights,
            Self::GlobalScale
            | Self::ScaleMin
            | Self::ScaleMax
            | Self::ScalesZero
            | Self::ScalesSubnormal
            | Self::ScalesSaturated
            | Self::Sqnr
            | Self::SearchGain
            | Self::MaxError => Origin::Codes,
            _ => Origin::Plan,
        }
    }

    /// Key and title.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Name => ("name", "tensor"),
            Self::Shape => ("shape", "shape"),
            Self::Dtype => ("dtype", "dtype"),
            Self::Role => ("role", "role"),
            Self::Layer => ("layer", "layer"),
            Self::Expert => ("expert", "expert"),
            Self::Format => ("format", "format"),
            Self::Reason => ("reason", "reason"),
            Self::Amax => ("amax", "amax"),
            Self::MeanAbs => ("mean", "mean |w|"),
            Self::StdDev => ("std", "σ"),
            Self::Zeros => ("zeros", "zeros %"),
            Self::GlobalScale => ("global_scale", "global scale"),
            Self::ScaleMin => ("scale_min", "scale min"),
            Self::ScaleMax => ("scale_max", "scale max"),
            Self::ScalesZero => ("scales_zero", "scales zero"),
            Self::ScalesSubnormal => ("scales_subnormal", "scales sub"),
            Self::ScalesSaturated => ("scales_saturated", "scales sat"),
            Self::Sqnr => ("sqnr", "SQNR dB"),
            Self::SearchGain => ("gain", "vs max"),
            Self::MaxError => ("error", "max error"),
            Self::BytesBefore => ("before", "before"),
            Self::BytesAfter => ("after", "after"),
            Self::BytesSaved => ("saved", "saved"),
            Self::BitsPerWeight => ("bits", "bits/weight"),
            Self::Tensors => ("tensors", "tensors"),
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// The column of a key, in small or capital letters.
impl FromStr for Column {
    type Err = UnknownColumn;

    fn from_str(key: &str) -> Result<Self, UnknownColumn> {
        let found = Self::ALL.into_iter().find(|column| column.key().eq_ignore_ascii_case(key));
        found.ok_or_else(|| UnknownColumn(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_column_has_words_of_its_own() {
        for words in [Column::key, Column::title, Column::describe] {
            let all: HashSet<_> = Column::ALL.into_iter().map(words).collect();
            assert_eq!(all.len(), Column::ALL.len());
        }
        for column in Column::ALL {
            assert!(column.describe().ends_with('.'), "{column}");
            assert_eq!(column.key().to_uppercase().parse(), Ok(column));
        }
    }

    #[test]
    fn an_unknown_key_is_told_with_those_there_are() {
        let error = "amx".parse::<Column>().unwrap_err().to_string();
        assert!(error.starts_with("no column is called amx; columns: name, tensors, "), "{error}");
    }
}
