use std::path::PathBuf;

use super::super::ExportError;
use super::super::verify::Verification;
use crate::checkpoint::{CONFIG_FILE, CheckpointError, Dtype};
use crate::engine::EngineError;

/// Something that nothing but the float checkpoint, or a whole one, can mend.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Irreparable {
    /// A layer lacks a part, or has one in another form.
    #[error("{0}")]
    Unreadable(String),
    /// Lists of experts are incomplete.
    #[error("{0}")]
    Experts(String),
    /// What blocks stood for is not known.
    #[error(
        "{tensor} has {scales} scales that are NaN, infinite or negative over codes that are not zero"
    )]
    LostScales {
        /// The tensor of scales.
        tensor: String,
        /// How many.
        scales: u64,
    },
    /// What a layer stood for is not known.
    #[error("{tensor} is {value}, over codes that are not zero")]
    LostGlobalScale {
        /// The tensor of the global scale.
        tensor: String,
        /// What it is.
        value: f32,
    },
    /// Layers that are fused are in several formats.
    #[error("{} are fused by runtimes, but are not in one format", modules.join(", "))]
    SeveralFormats {
        /// The layers.
        modules: Vec<String>,
    },
    /// A table that has to be written as floats does not fit their type.
    #[error("{tensor} stands for {value}, which {dtype} does not hold")]
    Overflow {
        /// The weight.
        tensor: String,
        /// Its largest magnitude.
        value: f32,
        /// The type.
        dtype: Dtype,
    },
    /// The quantization has no place to be described in.
    #[error("there is no {CONFIG_FILE} that could describe the quantization")]
    NoConfig,
    /// A config that is lost said more than tensors do.
    #[error(
        "the config contradicts the tensors, and what it has to say of {tensor} cannot be told from them"
    )]
    MeaningLost {
        /// A tensor that only a config explains.
        tensor: String,
    },
}

impl Irreparable {
    /// What to do about it.
    fn advice(&self) -> &'static str {
        match self {
            Self::NoConfig => "Put that of the model beside the weights",
            Self::MeaningLost { .. } => {
                "Put the config that it was written with beside the weights"
            }
            Self::Unreadable(_) | Self::Experts(_) => {
                "Fetch the checkpoint again if files are missing, or quantize the float checkpoint again"
            }
            _ => "The float checkpoint is needed: quantize it again",
        }
    }
}

/// Several, as one text: a few of them, and what to do.
fn listed(problems: &[Irreparable]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = problems.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = match problems.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let advice = problems.first().map_or("", Irreparable::advice);
    format!("{}{more}. {advice}; nothing was written", shown.join("; "))
}

/// A repair that ended without an output. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum NotRepaired {
    /// It failed.
    #[error(transparent)]
    Failed(#[from] ExportError),
    /// Something is beyond repair.
    #[error("{} cannot be repaired: {}", path.display(), listed(problems))]
    Irreparable {
        /// The checkpoint.
        path: PathBuf,
        /// All that is.
        problems: Vec<Irreparable>,
    },
    /// What was written did not pass the gate.
    #[error("the repaired checkpoint did not pass verification and was removed")]
    Refused(Box<Verification>),
}

impl From<EngineError> for NotRepaired {
    fn from(error: EngineError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<CheckpointError> for NotRepaired {
    fn from(error: CheckpointError) -> Self {
        Self::Failed(error.into())
    }
}
