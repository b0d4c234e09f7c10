use std::io;
use std::path::PathBuf;

/// A recipe that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file cannot be read.
    #[error("cannot read recipe {}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a recipe.
    #[error("recipe {} is not valid: {message}", file.display())]
    Toml {
        /// The file.
        file: PathBuf,
        /// What the parser said, with the line.
        message: String,
    },
    /// A preset that does not exist.
    #[error("unknown preset \"{name}\"; known presets: linear, mlp, experts")]
    UnknownPreset {
        /// Its name.
        name: String,
    },
    /// A glob that cannot be read.
    #[error("pattern \"{pattern}\" is not valid: {message}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        message: String,
    },
    /// A rule that would match everything by accident.
    #[error("{source_name} has neither match nor roles; write match = \"*\" to mean every tensor")]
    EmptyRule {
        /// Where the rule stands.
        source_name: String,
    },
}
