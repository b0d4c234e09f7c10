//! The rules of a recipe in the order in which they are tried, and where each comes from.

use super::{Action, Recipe, RecipeError, Rule, RuleSet, SourcedRule};
use crate::model::Role;

/// Where the wish to quantize embeddings stands.
const EMBEDDINGS: &str = "quantize embeddings";

impl Recipe {
    /// The rules in the order in which they are tried; the last that matches wins: preset,
    /// embedding opt-in, the file's rules, `include`, `exclude`.
    pub fn rule_set(&self) -> Result<RuleSet, RecipeError> {
        let preset = self.preset.unwrap_or_default();
        let of_preset = preset.rules().into_iter().map(|rule| SourcedRule {
            rule,
            source: format!("preset {preset}").into(),
            optional: true,
        });
        let sourced = |(source, rule): (String, _)| SourcedRule {
            rule,
            source: source.into(),
            optional: false,
        };
        let embeddings =
            Rule { pattern: None, roles: vec![Role::Embedding], action: Action::Quantize };
        let embeddings = self.quantize_embeddings.then(|| (EMBEDDINGS.to_owned(), embeddings));
        let numbered = self.rules.iter().enumerate();
        let rules = numbered.map(|(i, rule)| (rule_source(i, rule), rule.clone()));
        let include = self.include.iter().map(|pattern| {
            (include_source(pattern), Rule::about(pattern.clone(), Action::Quantize))
        });
        let exclude = self
            .exclude
            .iter()
            .map(|pattern| (exclude_source(pattern), Rule::about(pattern.clone(), Action::Keep)));
        let own = embeddings.into_iter().chain(rules).chain(include).chain(exclude).map(sourced);
        RuleSet::new(of_preset.chain(own).collect())
    }

    /// The same recipe without what stands at `source`, which is the text that its rule set gives; the
    /// same if nothing of the recipe's own stands there.
    pub fn without(&self, source: &str) -> Self {
        let mut recipe = self.clone();
        recipe.quantize_embeddings &= source != EMBEDDINGS;
        let numbered = self.rules.iter().enumerate();
        let others = numbered.filter(|(i, rule)| rule_source(*i, rule) != source);
        recipe.rules = others.map(|(_, rule)| rule.clone()).collect();
        recipe.include.retain(|pattern| include_source(pattern) != source);
        recipe.exclude.retain(|pattern| exclude_source(pattern) != source);
        recipe
    }
}

fn rule_source(i: usize, rule: &Rule) -> String {
    match &rule.pattern {
        Some(pattern) => format!("rule {} \"{pattern}\"", i + 1),
        None => format!("rule {}", i + 1),
    }
}

/// Where a pattern of `include` stands.
pub fn include_source(pattern: &str) -> String {
    format!("include \"{pattern}\"")
}

/// Where a pattern of `exclude` stands.
pub fn exclude_source(pattern: &str) -> String {
    format!("exclude \"{pattern}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_of_the_recipe_can_be_taken_out() {
        let rule = |pattern: Option<&str>| Rule {
            pattern: pattern.map(str::to_owned),
            roles: vec![Role::Mlp],
            action: Action::Keep,
        };
        let full = Recipe {
            quantize_embeddings: true,
            rules: vec![rule(Some("a")), rule(None)],
            include: vec!["b".to_owned(), "c".to_owned()],
            exclude: vec!["b".to_owned()],
            ..Default::default()
        };
        let set = full.rule_set().unwrap();
        let own: Vec<&str> =
            set.iter().filter(|rule| !rule.optional).map(|rule| &*rule.source).collect();
        assert_eq!(own.len(), 6);
        for source in own {
            let less = full.without(source).rule_set().unwrap();
            assert_eq!(less.iter().count(), set.iter().count() - 1, "{source}");
        }
        assert_eq!(full.without("preset linear"), full);
        assert_eq!(full.without("include \"b\"").exclude, full.exclude);
    }
}
