//! What each rule of a recipe does in a model.

use crate::model::Model;
use crate::recipe::{Rule, RuleSet, SourcedRule};

/// A rule, and how many of the model's tensors it is about. Experts that are seen one by one count one
/// by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleUse {
    /// Where it comes from, as the reasons of decisions say.
    pub source: String,
    /// The rule.
    pub rule: Rule,
    /// Whether it may match nothing without being worth a word: part of a preset.
    pub optional: bool,
    /// Tensors that it matches.
    pub matched: u64,
    /// Those of them that it decides about, since no later rule matches them.
    pub decides: u64,
}

impl RuleUse {
    /// Whether it matches nothing.
    pub const fn is_empty(&self) -> bool {
        self.matched == 0
    }

    /// Whether later rules match all that it matches, so that it could as well not be there.
    pub const fn is_shadowed(&self) -> bool {
        self.matched > 0 && self.decides == 0
    }
}

/// Every rule in order, counted in one pass over the model.
pub fn rule_uses(rules: &RuleSet, model: &Model<'_>) -> Vec<RuleUse> {
    let unused = |SourcedRule { rule, source, optional }: &SourcedRule| RuleUse {
        source: source.to_string(),
        rule: rule.clone(),
        optional: *optional,
        matched: 0,
        decides: 0,
    };
    let mut uses: Vec<RuleUse> = rules.iter().map(unused).collect();
    for member in &model.members {
        let matching = rules.matching(model.names(member), member.role);
        matching.iter().for_each(|&i| uses[i].matched += 1);
        if let Some(&last) = matching.last() {
            uses[last].decides += 1;
        }
    }
    uses
}

#[cfg(test)]
mod tests {
    use crate::format::Format;
    use crate::plan::tests::{LLAMA, Synthetic};
    use crate::recipe::{Preset, Recipe};

    #[test]
    fn rules_are_counted_with_what_they_match_and_decide() {
        let model = Synthetic::new(LLAMA, &Synthetic::layers(2));
        let recipe = Recipe {
            preset: Some(Preset::Mlp),
            format: Some(Format::Nvfp4),
            include: vec!["*.up_proj".to_owned(), "nothing".to_owned()],
            exclude: vec!["*.layers.0.mlp.*".to_owned(), "*.mlp.up_proj.weight".to_owned()],
            ..Default::default()
        };
        let rules = model.plan(&recipe).rules;
        let counts: Vec<(&str, u64, u64)> =
            rules.iter().map(|rule| (rule.source.as_str(), rule.matched, rule.decides)).collect();
        assert_eq!(
            counts,
            [
                ("preset mlp", 6, 2),
                ("preset mlp", 8, 8),
                ("include \"*.up_proj\"", 2, 0),
                ("include \"nothing\"", 0, 0),
                ("exclude \"*.layers.0.mlp.*\"", 3, 2),
                ("exclude \"*.mlp.up_proj.weight\"", 2, 2),
            ]
        );
        assert!(rules[2].is_shadowed() && !rules[2].is_empty());
        assert!(rules[3].is_empty() && !rules[3].is_shadowed());
        assert!(rules[0].optional && !rules[2].optional);
    }
}
