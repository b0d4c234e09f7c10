use std::path::PathBuf;

use crate::recipe::RecipeError;

/// A plan that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The source is no float checkpoint.
    #[error("{} is already quantized ({method}). Pass the float checkpoint that it was made from", checkpoint.display())]
    AlreadyQuantized {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// How that shows.
        method: String,
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
