//! What the user wants: ordered rules from presets, a TOML file and the command line.

mod error;
mod indivisible;
mod patterns;
mod rule;
mod rules;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use error::RecipeError;
pub use indivisible::Indivisible;
pub use patterns::patterns;
pub use rule::{Action, Rule, RuleSet, SourcedRule};
pub use rules::{exclude_source, include_source};

use crate::checkpoint::Checkpoint;
use crate::dialect::Dialect;
use crate::format::q4gsw::NibbleOrder;
use crate::format::{Format, ScaleDtype, ScaleSearch};

/// A recipe as it stands in a TOML file.
///
/// ```
/// let recipe: quantscope::recipe::Recipe = toml::from_str(r#"
///     preset = "linear"
///     format = "nvfp4"
///     quantize_embeddings = true
///
///     [[rule]]
///     match = "model.layers.0.*"
///     set = "keep"
/// "#).unwrap();
/// assert_eq!(recipe.rules.len(), 1);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The rules to start from; `linear` if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// What `set = "quantize"` means. Without one nothing is quantized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// The layout to export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<Dialect>,
    /// How block scales are chosen, in the formats that have a choice.
    #[serde(default)]
    pub scale_search: ScaleSearch,
    /// The float type that scales are stored in, in the layouts that have a choice.
    #[serde(default)]
    pub scale_dtype: ScaleDtype,
    /// Which of two codes has the low nibble in an embedding table that no head reads, in the layout that
    /// has a choice.
    #[serde(default)]
    pub nibbles: NibbleOrder,
    /// Whether embedding tables are quantized like linear layers.
    #[serde(default)]
    pub quantize_embeddings: bool,
    /// Whether the experts of a layer share scales of whole tensors.
    #[serde(default)]
    pub expert_scale: ExpertScale,
    /// What becomes of a table that the head shares, when it is to be quantized.
    /// What the layout has as usual, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tied: Option<TiedOutcome>,
    /// What becomes of a tensor whose rows do not divide into blocks.
    #[serde(default)]
    pub indivisible: Indivisible,
    /// Whether tensors of an ONNX model are written to a file of their own, also where one file could
    /// hold all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external_data: bool,
    /// Whether formats are taken that no known runtime loads in the dialect.
    #[serde(default)]
    pub unserved: bool,
    /// Rules after those of the preset.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
    /// Patterns to quantize, after all rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Patterns to keep, after everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

/// What becomes of an embedding table that the head shares, when it is to be quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum TiedOutcome {
    /// The table stays float, and both go on sharing it.
    Keep,
    /// The table is quantized, and the head has a float copy of its own.
    Untie,
    /// The table is quantized once, and the head reads its codes too.
    Share,
}

/// Which experts share the scale of a whole tensor, in formats that have one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ExpertScale {
    /// Every expert has its own, as ModelOpt has it from 0.47 on. Projections of one expert that
    /// runtimes fuse still share theirs.
    #[default]
    Each,
    /// All experts of a layer share one for each projection, or for projections that are fused.
    Joint,
}

/// Rules that come with the program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Every linear layer of the decoder.
    #[default]
    Linear,
    /// Feed-forward layers and experts.
    Mlp,
    /// Routed experts.
    Experts,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 3] = [Self::Linear, Self::Mlp, Self::Experts];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Mlp => "mlp",
            Self::Experts => "experts",
        }
    }

    const fn toml(self) -> &'static str {
        match self {
            Self::Linear => include_str!("presets/linear.toml"),
            Self::Mlp => include_str!("presets/mlp.toml"),
            Self::Experts => include_str!("presets/experts.toml"),
        }
    }

    fn rules(self) -> Vec<Rule> {
        let recipe: Recipe = toml::from_str(self.toml()).expect("built-in presets are valid");
        recipe.rules
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Preset {
    type Err = RecipeError;

    fn from_str(text: &str) -> Result<Self, RecipeError> {
        let known = Self::ALL.into_iter().find(|preset| preset.name() == text);
        known.ok_or_else(|| RecipeError::UnknownPreset { name: text.to_owned() })
    }
}

impl Recipe {
    /// Reads a recipe file.
    pub fn read(file: &Path) -> Result<Self, RecipeError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| RecipeError::Io { file: file.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|e| RecipeError::Toml { file: file.to_owned(), message: e.to_string() })
    }

    /// What becomes of a tied table in a dialect: it is shared where somebody reads shared tables.
    pub fn tied_in(&self, dialect: Dialect) -> TiedOutcome {
        let usual = if dialect.shares_tables() { TiedOutcome::Share } else { TiedOutcome::Keep };
        self.tied.unwrap_or(usual)
    }

    /// The layout to write a checkpoint in.
    pub fn dialect_for(&self, checkpoint: &Checkpoint) -> Dialect {
        self.export.unwrap_or(Dialect::usual(checkpoint))
    }

    /// Every format that it speaks of.
    pub fn formats(&self) -> impl Iterator<Item = Format> {
        let of_rules = self.rules.iter().filter_map(|rule| match rule.action {
            Action::Format(format) => Some(format),
            Action::Keep | Action::Quantize => None,
        });
        let instead = match self.indivisible {
            Indivisible::Format(format) => Some(format),
            Indivisible::Keep | Indivisible::Smaller | Indivisible::Pad => None,
        };
        self.format.into_iter().chain(of_rules).chain(instead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Role;

    #[test]
    fn presets_parse_and_have_rules() {
        for preset in Preset::ALL {
            assert!(!preset.rules().is_empty());
            assert_eq!(preset.name().parse::<Preset>().unwrap(), preset);
        }
    }

    #[test]
    fn recipes_round_trip_and_refuse_unknown_keys() {
        let recipe = Recipe {
            preset: Some(Preset::Mlp),
            format: Some(Format::Nvfp4),
            tied: Some(TiedOutcome::Untie),
            rules: vec![Rule {
                pattern: Some("a.*".to_owned()),
                roles: vec![Role::Expert],
                action: Action::Format(Format::Nvfp4),
            }],
            exclude: vec!["b".to_owned()],
            ..Default::default()
        };
        let text = toml::to_string(&recipe).unwrap();
        assert_eq!(toml::from_str::<Recipe>(&text).unwrap(), recipe, "{text}");
        for wrong in ["fromat = 'nvfp4'", "format = 'nvfp5'", "[[rule]]\nmatch='a'", "preset = 'x'"]
        {
            assert!(toml::from_str::<Recipe>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_last_rule_that_matches_wins() {
        let recipe = Recipe {
            quantize_embeddings: true,
            rules: vec![Rule {
                pattern: Some("*.layers.0.*".to_owned()),
                roles: Vec::new(),
                action: Action::Keep,
            }],
            include: vec!["*.layers.0.mlp.*".to_owned()],
            exclude: vec!["*.layers.0.mlp.up_proj".to_owned()],
            ..Default::default()
        };
        let rules = recipe.rule_set().unwrap();
        let action =
            |name, role| rules.decide([name, name], role).map(|(_, rule)| rule.rule.action);
        assert_eq!(action("m.layers.1.q_proj.weight", Role::Attention), Some(Action::Quantize));
        assert_eq!(action("m.layers.0.q_proj.weight", Role::Attention), Some(Action::Keep));
        assert_eq!(action("m.layers.0.mlp.down_proj.weight", Role::Mlp), Some(Action::Quantize));
        assert_eq!(action("m.layers.0.mlp.up_proj.weight", Role::Mlp), Some(Action::Keep));
        assert_eq!(action("m.embed_tokens.weight", Role::Embedding), Some(Action::Quantize));
        assert_eq!(action("lm_head.weight", Role::Head), None);
    }
}
