use std::path::PathBuf;

use crate::dialect::Dialect;
use crate::format::{Format, ScaleSearch};
use crate::recipe::RecipeError;

/// A plan that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The source is no float checkpoint.
    #[error("{} is already quantized ({method}). Pass the float checkpoint that it was made from, or make it float with --dequantize, if it is in a format that --formats lists", checkpoint.display())]
    AlreadyQuantized {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// How that shows.
        method: String,
    },
    /// The source is of another kind than the dialect.
    #[error(
        "{} {} in the layout {dialect}",
        checkpoint.display(),
        if dialect.is_onnx() {
            "is no ONNX model: only such models are written"
        } else {
            "is an ONNX model: choose --export onnx, or leave --export out; it cannot be written"
        }
    )]
    OtherKind {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// The dialect.
        dialect: Dialect,
    },
    /// The operators of the model are of a version that does not dequantize blocks.
    #[error(
        "{} imports version {opset} of ONNX's operators, and DequantizeLinear has blocks from {needed} on: \
         convert the model (onnx.version_converter does), or choose --export onnx, which takes any version",
        checkpoint.display()
    )]
    OldOpset {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// The version it imports.
        opset: i64,
        /// The version needed.
        needed: i64,
    },
    /// The dialect cannot hold the format.
    #[error(
        "{dialect} has no place for {format}; it has {}{}",
        names(dialect.formats()),
        elsewhere(*format, *dialect)
    )]
    NoPair {
        /// The format.
        format: Format,
        /// The dialect.
        dialect: Dialect,
    },
    /// No runtime loads the format in the dialect.
    #[error(
        "no known runtime loads {format} in {dialect}{}. --unserved writes it all the same; \
         --formats shows who loads what",
        elsewhere(*format, *dialect)
    )]
    Unserved {
        /// The format.
        format: Format,
        /// The dialect.
        dialect: Dialect,
    },
    /// No format of the recipe has scales that can be searched for so.
    #[error(
        "no chosen format has the scale search {search} in {dialect}; {}",
        searches(*search)
    )]
    NoSearch {
        /// The search.
        search: ScaleSearch,
        /// The dialect.
        dialect: Dialect,
    },
    /// Scales of the dialect have the type they have.
    #[error(
        "scales in {dialect} have one type: --scale-dtype is for {}",
        choosing().collect::<Vec<_>>().join(" and ")
    )]
    NoScaleDtype {
        /// The dialect.
        dialect: Dialect,
    },
    /// Nibbles of the dialect have the order they have.
    #[error("codes in {dialect} lie in one order: --nibbles is for q4gsw")]
    NoNibbles {
        /// The dialect.
        dialect: Dialect,
    },
    /// No runtime reads one packed table for embedding and head.
    #[error(
        "no runtime reads one packed table for embedding and head in {dialect}: \
         choose --tied keep or --tied untie"
    )]
    CannotShare {
        /// The dialect.
        dialect: Dialect,
    },
    /// There is no `config.json`, and the dialect keeps the quantization there and nowhere else.
    #[error(
        "there is no config.json in {}, where {dialect} keeps what is quantized how. Add the \
         model's, or choose --export modelopt",
        folder.display()
    )]
    NeedsConfig {
        /// The dialect.
        dialect: Dialect,
        /// The checkpoint's folder.
        folder: PathBuf,
    },
    /// A value of the model has the name that a new one would get.
    #[error(
        "the model has a value called {name:?}, and one that an export adds would be called so too: \
         give it another name, or keep the weight with --exclude"
    )]
    ValueTaken {
        /// The name.
        name: String,
    },
    /// Two tensors would be stored under one name.
    #[error(
        "{name:?} would be stored twice, for {first:?} and for {second:?}. Keep one of them with --exclude"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// One tensor.
        first: String,
        /// The other.
        second: String,
    },
    /// The recipe is not usable.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
}

fn names(formats: impl Iterator<Item = Format>) -> String {
    formats.map(Format::name).collect::<Vec<_>>().join(", ")
}

/// The dialects whose scales may be of several types.
fn choosing() -> impl Iterator<Item = &'static str> {
    Dialect::ALL.into_iter().filter(|dialect| dialect.chooses_scale_dtype()).map(Dialect::name)
}

/// Where a search can be had.
fn searches(search: ScaleSearch) -> String {
    let of = |dialect: Dialect| {
        let formats = dialect.formats();
        let has = formats.filter(|format| search.is_for(*format, dialect.arithmetic()));
        let names: Vec<String> = has.map(|format| format.to_string()).collect();
        (!names.is_empty()).then(|| format!("{dialect} has it for {}", names.join(", ")))
    };
    Dialect::ALL.into_iter().filter_map(of).collect::<Vec<_>>().join("; ")
}

/// The dialects in which somebody loads a format: the end of a message, or nothing.
fn elsewhere(format: Format, not: Dialect) -> String {
    let fits = |dialect: &Dialect| *dialect != not && dialect.is_onnx() == not.is_onnx();
    let served = |dialect: &Dialect| fits(dialect) && !dialect.runtimes(format).is_empty();
    let dialects: Vec<&str> = Dialect::ALL.into_iter().filter(served).map(Dialect::name).collect();
    match dialects[..] {
        [] => String::new(),
        _ => format!("; for {format} choose --export {}", dialects.join(" or --export ")),
    }
}
