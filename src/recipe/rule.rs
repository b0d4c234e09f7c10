//! One rule: which tensors, and what becomes of them.

use std::sync::Arc;

use globset::{Glob, GlobSet, GlobSetBuilder};
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
    pub source: Arc<str>,
    /// Whether it may match nothing without being worth a word: part of a preset.
    pub optional: bool,
}

/// Rules ready to match. The last that matches wins.
#[derive(Debug)]
pub struct RuleSet {
    rules: Vec<SourcedRule>,
    /// The patterns, which are tried all at once.
    globs: GlobSet,
    /// The rule of each pattern.
    rule_of: Vec<usize>,
}

impl RuleSet {
    /// Compiles patterns.
    pub fn new(rules: Vec<SourcedRule>) -> Result<Self, RecipeError> {
        let (mut globs, mut rule_of) = (GlobSetBuilder::new(), Vec::new());
        for (i, SourcedRule { rule, source, .. }) in rules.iter().enumerate() {
            match &rule.pattern {
                Some(pattern) => {
                    let braces = braces(pattern);
                    if braces > MAX_BRACES {
                        let message = format!(
                            "it has {braces} braces, where {MAX_BRACES} may be: write several rules"
                        );
                        return Err(RecipeError::Pattern { pattern: start(pattern), message });
                    }
                    globs.add(Glob::new(pattern).map_err(|e| invalid(pattern, &e))?);
                    rule_of.push(i);
                }
                None if rule.roles.is_empty() => {
                    return Err(RecipeError::EmptyRule { source_name: source.to_string() });
                }
                None => {}
            }
        }
        let globs = globs.build().map_err(|e| invalid(e.glob().unwrap_or("*"), &e))?;
        Ok(Self { rules, globs, rule_of })
    }

    /// The rule that decides about a tensor and its number; `None` if none matches. A part of a
    /// stored tensor has two names, its own and that of the whole.
    pub fn decide(&self, names: [&str; 2], role: Role) -> Option<(usize, &SourcedRule)> {
        let last = *self.matching(names, role).last()?;
        Some((last, &self.rules[last]))
    }

    /// The numbers of all rules that match a tensor, in order.
    pub fn matching(&self, names: [&str; 2], role: Role) -> Vec<usize> {
        let mut fits: Vec<bool> =
            self.rules.iter().map(|sourced| sourced.rule.pattern.is_none()).collect();
        let [own, whole] = names;
        let names = if own == whole { &names[..1] } else { &names[..] };
        for name in names.iter().flat_map(|name| [name, module_of(name)]) {
            for glob in self.globs.matches(name) {
                fits[self.rule_of[glob]] = true;
            }
        }
        let by_role = |roles: &[Role]| roles.is_empty() || roles.contains(&role);
        let matches = |i: &usize| fits[*i] && by_role(&self.rules[*i].rule.roles);
        (0..self.rules.len()).filter(matches).collect()
    }

    /// Every rule, in order.
    pub fn iter(&self) -> impl Iterator<Item = &SourcedRule> {
        self.rules.iter()
    }
}

fn invalid(pattern: &str, error: &globset::Error) -> RecipeError {
    RecipeError::Pattern { pattern: start(pattern), message: error.kind().to_string() }
}

/// A pattern as messages quote it.
fn start(pattern: &str) -> String {
    const LONGEST: usize = 1000;
    pattern.chars().take(LONGEST).collect()
}

/// Braces that a pattern may open. What compiles patterns calls itself for each within another.
const MAX_BRACES: usize = 64;

/// How many braces a pattern opens, those aside that stand for themselves in brackets.
fn braces(pattern: &str) -> usize {
    let (mut braces, mut rest) = (0, pattern.chars());
    while let Some(c) = rest.next() {
        match c {
            // What follows begins no brackets.
            '\\' if rest.as_str().starts_with(['\\', '[']) => drop(rest.next()),
            '[' => {
                let inside = rest.as_str();
                let mut inside = inside.strip_prefix(['!', '^']).unwrap_or(inside).chars();
                // At first a closing bracket stands for itself.
                inside.next();
                rest = inside.as_str().split_once(']').map_or("", |(_, after)| after).chars();
            }
            '{' => braces += 1,
            _ => {}
        }
    }
    braces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pattern: String) -> Result<RuleSet, RecipeError> {
        let (source, rule) = ("test".into(), Rule::about(pattern, Action::Keep));
        RuleSet::new(vec![SourcedRule { rule, source, optional: false }])
    }

    #[test]
    fn braces_without_end_are_refused_before_anything_follows_them() {
        for (open, close) in
            [("{", "}"), ("\\[{", "]}"), ("\\\\[a]{", "}"), ("[]a]{", "}"), ("[!]]{", "}")]
        {
            let nested = |n: usize| format!("{}a{}", open.repeat(n), close.repeat(n));
            assert!(set(nested(20)).is_ok(), "{open}");
            let message = set(nested(100_000)).unwrap_err().to_string();
            assert!(message.contains("100000 braces") && message.len() < 2000, "{message}");
        }
        let literal = globset::escape(&"{".repeat(1000));
        let rules = set(literal).unwrap();
        assert_eq!(rules.matching([&"{".repeat(1000); 2], Role::Other), [0]);
    }
}
