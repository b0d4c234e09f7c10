//! One rule: which tensors, and what becomes of them.

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::RecipeError;
use crate::format::Format;
use crate::model::{Role, module_of};

/// A rule. It matches a tensor whose name, or whose module's name, fits the pattern, and whose role
/// is listed; a part that is left out matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A glob over the whole name: `*` any text, `?` one character, `[ab]`, `{a,b}`.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// What becomes of the tensors.
    #[serde(rename = "set")]
    pub action: Action,
}

impl Rule {
    /// The rule for what fits a pattern, whatever its role.
    pub const fn about(pattern: String, action: Action) -> Self {
        Self { pattern: Some(pattern), roles: Vec::new(), action }
    }
}

/// What becomes of a tensor. In a recipe: `keep`, `quantize`, or the name of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It stays as it is, byte for byte.
    Keep,
    /// It becomes the recipe's format.
    Quantize,
    /// It becomes this format.
    Format(Format),
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Keep => "keep",
            Self::Quantize => "quantize",
            Self::Format(format) => format.name(),
        })
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "keep" => Ok(Self::Keep),
            "quantize" => Ok(Self::Quantize),
            name => name.parse().map(Self::Format).map_err(|e| {
                serde::de::Error::custom(format!("{e}; or write \"keep\" or \"quantize\""))
            }),
        }
    }
}

/// A rule and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcedRule {
    /// The rule.
    pub rule: Rule,
    /// Where it comes from, as the reason of a decision.
    pub source: String,
    /// Whether it may match nothing without being worth a word: part of a preset.
    pub optional: bool,
}

/// Rules ready to match. The last that matches wins.
#[derive(Debug)]
pub struct RuleSet {
    rules: Vec<(SourcedRule, Option<GlobMatcher>)>,
}

impl RuleSet {
    /// Compiles patterns.
    pub fn new(rules: Vec<SourcedRule>) -> Result<Self, RecipeError> {
        let compile = |sourced: SourcedRule| {
            let glob = match &sourced.rule.pattern {
                None => None,
                Some(pattern) => {
                    let glob = Glob::new(pattern).map_err(|e| RecipeError::Pattern {
                        pattern: pattern.clone(),
                        message: e.kind().to_string(),
                    })?;
                    Some(glob.compile_matcher())
                }
            };
            if glob.is_none() && sourced.rule.roles.is_empty() {
                return Err(RecipeError::EmptyRule { source_name: sourced.source });
            }
            Ok((sourced, glob))
        };
        Ok(Self { rules: rules.into_iter().map(compile).collect::<Result<_, _>>()? })
    }

    /// The rule that decides about a tensor and its number; `None` if none matches. A part of a
    /// stored tensor has two names, its own and that of the whole.
    pub fn decide(&self, names: [&str; 2], role: Role) -> Option<(usize, &SourcedRule)> {
        let last = (0..self.rules.len()).rev().find(|&i| self.matches(i, names, role))?;
        Some((last, &self.rules[last].0))
    }

    /// Whether rule `i` matches a tensor.
    pub fn matches(&self, i: usize, names: [&str; 2], role: Role) -> bool {
        let (SourcedRule { rule, .. }, glob) = &self.rules[i];
        let by_role = rule.roles.is_empty() || rule.roles.contains(&role);
        let by_name = |glob: &GlobMatcher| {
            let fits = |name| glob.is_match(name) || glob.is_match(module_of(name));
            fits(names[0]) || (names[1] != names[0] && fits(names[1]))
        };
        by_role && glob.as_ref().is_none_or(by_name)
    }

    /// Every rule, in order.
    pub fn iter(&self) -> impl Iterator<Item = &SourcedRule> {
        self.rules.iter().map(|(sourced, _)| sourced)
    }
}
