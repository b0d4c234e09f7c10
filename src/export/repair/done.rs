//! What a repair did, in words.

use std::fmt;

use crate::checkpoint::Dtype;
use crate::units::count;

/// One kind of repair.
#[derive(Debug, Clone, PartialEq)]
pub enum Repair {
    /// Layers that are fused got one global scale.
    Groups {
        /// Layers that changed.
        layers: u64,
        /// Groups that they are in.
        groups: u64,
        /// The layer that changed most.
        example: String,
        /// Its ratio of values to their change, in dB.
        worst_db: Option<f64>,
    },
    /// Block scales over zeros became those of zeros.
    OfZeros {
        /// How many.
        scales: u64,
        /// A tensor that has some.
        example: String,
    },
    /// Codes under scales of zero became zeros, which they read as.
    Emptied {
        /// Scales.
        scales: u64,
        /// A tensor that has some.
        example: String,
    },
    /// Global scales of layers of zeros became those of zeros.
    ZeroLayers {
        /// How many.
        layers: u64,
        /// One of them.
        example: String,
    },
    /// A packed table that the head reads too is stored as floats.
    Table {
        /// The module.
        module: String,
        /// The type of the floats.
        dtype: Dtype,
    },
    /// Embedding and head are told to be two matrices.
    Untied {
        /// The module that is packed.
        module: String,
    },
    /// The list of modules that are not quantized.
    List {
        /// What was added.
        added: Vec<String>,
        /// What was removed.
        removed: Vec<String>,
    },
    /// A description of the quantization was missing, and was written.
    Missing {
        /// Where it was missing.
        place: &'static str,
        /// Why, if something is there.
        unread: Option<String>,
    },
    /// A description of the quantization was written anew.
    Config {
        /// Where it stands.
        place: &'static str,
        /// What of the old one was kept.
        kept: Vec<String>,
    },
    /// A weight file got the name that loaders look for.
    Renamed {
        /// Its old name.
        from: String,
        /// Its new one.
        to: String,
    },
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Groups { layers, groups, example, worst_db } => {
                let (layers, groups) = (count(*layers, "layer"), count(*groups, "fused group"));
                write!(f, "{layers} of {groups} took the largest step of their group")?;
                match worst_db {
                    Some(db) if db.is_finite() => {
                        write!(f, " (at worst {db:.2} dB from before, {example})")
                    }
                    _ => write!(f, " ({example})"),
                }
            }
            Self::OfZeros { scales, example } => {
                let scales = count(*scales, "scale");
                write!(f, "{scales} over nothing but zeros became that of zeros ({example})")
            }
            Self::Emptied { scales, example } => {
                let scales = count(*scales, "block");
                write!(
                    f,
                    "{scales} under a scale of zero got codes of zero, as which it read ({example})"
                )
            }
            Self::ZeroLayers { layers, example } => {
                let layers = count(*layers, "layer");
                write!(f, "{layers} of zeros got the global scale of zeros ({example})")
            }
            Self::Table { module, dtype } => {
                write!(f, "{module} is stored as {dtype}, since the head reads it too")
            }
            Self::Untied { module } => write!(
                f,
                "tie_word_embeddings is false, since {module} is packed and the head is stored"
            ),
            Self::List { added, removed } => {
                f.write_str("the list of what is not quantized:")?;
                let mut join = "";
                for (names, what) in [(added, "added"), (removed, "removed")] {
                    if let Some(example) = names.first() {
                        write!(f, "{join} {} {what} ({example}", names.len())?;
                        f.write_str(if names.len() > 1 { ", …)" } else { ")" })?;
                        join = ",";
                    }
                }
                Ok(())
            }
            Self::Missing { place, unread: None } => {
                write!(f, "{place} was missing, and says what is stored")
            }
            Self::Missing { place, unread: Some(why) } => {
                write!(f, "{place} was written anew, since {why}")
            }
            Self::Config { place, kept } => {
                write!(f, "{place} says what is stored")?;
                if !kept.is_empty() {
                    write!(f, "; kept of it: {}", kept.join(", "))?;
                }
                Ok(())
            }
            Self::Renamed { from, to } => write!(f, "{from} is called {to}"),
        }
    }
}
