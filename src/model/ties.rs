//! Embedding and language-model head that are one matrix.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::checkpoint::{Checkpoint, CheckpointError, Config, equal_bytes};

use super::{Member, Model, Role};

/// How embedding and head belong together, as far as names and config tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tie {
    /// There is no head to tie, or config says that the stored head is on its own.
    Untied,
    /// The head is not stored: it is the embedding table.
    HeadAbsent {
        /// The table, an index in [`Checkpoint::tensors`].
        embedding: usize,
        /// The name that the head would have.
        head_name: String,
    },
    /// Config says tied, and a head is stored all the same.
    HeadStored {
        /// The table, an index in [`Checkpoint::tensors`].
        embedding: usize,
        /// The head, likewise.
        head: usize,
        /// Whether their bytes were compared and found to differ.
        differs: bool,
    },
    /// Config says untied, and the stored head has other bytes than the table, but every weight of it
    /// lies within half a step of what the quantized table stands for.
    HeadMatches {
        /// The table, an index in [`Checkpoint::tensors`].
        embedding: usize,
        /// The head, likewise.
        head: usize,
    },
    /// Both are stored, and were compared: the head is another matrix.
    Apart {
        /// The table, an index in [`Checkpoint::tensors`]; its codes, where it is quantized.
        embedding: usize,
        /// The head, likewise.
        head: usize,
        /// How far it is.
        distance: TieDistance,
    },
    /// The table is quantized already, and a float head of its shape is stored.
    OfCodes {
        /// The table.
        table: CodesTable,
        /// The head, an index in [`Checkpoint::tensors`].
        head: usize,
        /// Whether every weight of the head lies within half a step of what the table stands for;
        /// `None` before that was looked at.
        matches: Option<bool>,
    },
    /// Table and head are quantized already, in one form.
    BothCodes {
        /// The table.
        table: CodesTable,
        /// The codes of the head, an index in [`Checkpoint::tensors`].
        codes: usize,
        /// The other parts of the head, likewise.
        others: Vec<usize>,
        /// Whether all parts of the head equal those of the table; `None` before that was looked at.
        matches: Option<bool>,
    },
    /// Config says untied, but the stored head may equal the table: only its bytes can tell.
    Unknown {
        /// The table, an index in [`Checkpoint::tensors`].
        embedding: usize,
        /// The head, likewise.
        head: usize,
    },
}

/// How far a head is from what a quantized table stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TieDistance {
    /// Weights that are further away than half a step of their block.
    pub apart: u64,
    /// Weights that were compared.
    pub weights: u64,
    /// Row and column of the first that is apart.
    pub first: [u64; 2],
    /// Its distance in hundredths of a step; `None` in a block whose step is 0.
    pub hundredths: Option<u64>,
}

/// A table of an ONNX model that is quantized already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodesTable {
    /// Its codes, an index in [`Checkpoint::tensors`].
    pub codes: usize,
    /// Its scales, likewise.
    pub scales: usize,
    /// Its zero points, likewise, if it has any.
    pub zero_points: Option<usize>,
    /// Rows and columns of the table.
    pub shape: [u64; 2],
    /// Bits of a code.
    pub bits: u8,
    /// Codes of a block.
    pub group: u16,
}

impl fmt::Display for TieDistance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { apart, weights, first: [row, column], hundredths } = self;
        write!(f, "{apart} of {weights} weights are more than half a step away")?;
        match hundredths {
            Some(n) => {
                let steps = *n as f64 / 100.0;
                write!(f, ", the first at [{row}, {column}] by {steps:.2} steps")
            }
            None => write!(f, ", the first at [{row}, {column}]"),
        }
    }
}

impl Tie {
    /// Whether embedding and head are known to be one matrix.
    pub const fn is_tied(&self) -> bool {
        match self {
            Self::HeadAbsent { .. } | Self::HeadStored { .. } | Self::HeadMatches { .. } => true,
            Self::OfCodes { matches, .. } | Self::BothCodes { matches, .. } => {
                matches!(matches, Some(true))
            }
            Self::Untied | Self::Apart { .. } | Self::Unknown { .. } => false,
        }
    }

    /// The table, an index in [`Checkpoint::tensors`].
    pub const fn embedding(&self) -> Option<usize> {
        match self {
            Self::Untied | Self::OfCodes { .. } | Self::BothCodes { .. } | Self::Apart { .. } => {
                None
            }
            Self::HeadAbsent { embedding, .. }
            | Self::HeadStored { embedding, .. }
            | Self::HeadMatches { embedding, .. }
            | Self::Unknown { embedding, .. } => Some(*embedding),
        }
    }
}

/// Finds the tie. A model without a config and without a head is tied only if it looks like a
/// language model at all: it has an embedding table.
pub fn find(checkpoint: &Checkpoint, members: &[Member]) -> Tie {
    let first = |role| {
        members
            .iter()
            .find(|member| member.role == role && member.tensor.shape.len() == 2)
            .map(|member| member.index)
    };
    let says_tied = checkpoint.config.as_ref().and_then(Config::tie_word_embeddings);
    match (first(Role::Embedding), first(Role::Head)) {
        (None, _) => Tie::Untied,
        (Some(embedding), None) if says_tied != Some(false) => {
            let head_name = head_name(&checkpoint.tensors[embedding].name);
            Tie::HeadAbsent { embedding, head_name }
        }
        (Some(_), None) => Tie::Untied,
        (Some(embedding), Some(head)) => {
            let (a, b) = (&checkpoint.tensors[embedding], &checkpoint.tensors[head]);
            let are_floats = a.float_kind().is_some() && b.float_kind().is_some();
            let may_match = a.shape == b.shape && are_floats;
            match says_tied {
                Some(true) => Tie::HeadStored { embedding, head, differs: false },
                _ if may_match => Tie::Unknown { embedding, head },
                _ => Tie::Untied,
            }
        }
    }
}

/// Where the head of a table of that name is stored when it is.
fn head_name(embedding: &str) -> String {
    if embedding.ends_with("embed_in.weight") {
        "embed_out.weight".to_owned()
    } else if let Some(prefix) = embedding.strip_suffix("language_model.model.embed_tokens.weight")
    {
        format!("{prefix}language_model.lm_head.weight")
    } else {
        "lm_head.weight".to_owned()
    }
}

/// Compares a stored head with the table, byte for byte: [`Tie::Unknown`] becomes one of the others,
/// and [`Tie::HeadStored`] learns whether the two differ. Ends early, with the tie still taken for
/// one, once the user stops the work.
pub fn settle(model: &Model<'_>, cancel: &AtomicBool) -> Result<Tie, CheckpointError> {
    let checkpoint = model.checkpoint;
    let equal = |embedding: usize, head: usize| {
        let (table, head) = (model.tensor(embedding), model.tensor(head));
        let go_on = || !cancel.load(Ordering::Relaxed);
        let are_alike = (table.dtype, &table.shape) == (head.dtype, &head.shape);
        Ok(are_alike && equal_bytes((checkpoint, table), (checkpoint, head), go_on)?)
    };
    match model.tie.clone() {
        Tie::Unknown { embedding, head } => match equal(embedding, head)? {
            true => Ok(Tie::HeadStored { embedding, head, differs: false }),
            false => Ok(Tie::Untied),
        },
        Tie::HeadStored { embedding, head, .. } => {
            let differs = !equal(embedding, head)?;
            Ok(Tie::HeadStored { embedding, head, differs })
        }
        tie => Ok(tie),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_names_follow_the_table() {
        assert_eq!(head_name("model.embed_tokens.weight"), "lm_head.weight");
        assert_eq!(head_name("gpt_neox.embed_in.weight"), "embed_out.weight");
        assert_eq!(
            head_name("language_model.model.embed_tokens.weight"),
            "language_model.lm_head.weight"
        );
    }
}
