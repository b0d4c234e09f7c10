//! Changes of the recipe that a plan was made from, about some of the plan's tensors.

use std::collections::HashSet;

use super::fused::fused_groups;
use super::{Decision, Entry, Plan, Reason, decide};
use crate::format::Format;
use crate::recipe::{
    Action, Recipe, Rule, RuleSet, SourcedRule, exclude_source, include_source, patterns,
};

/// A plan whose recipe is changed.
pub struct Edit<'a> {
    pub plan: &'a Plan,
    /// Whether formats are taken that no known runtime loads.
    pub unserved: bool,
}

impl<'a> Edit<'a> {
    /// The entries of these names, in the plan's order.
    pub fn named(&self, names: &[String]) -> Vec<&'a Entry> {
        let names: HashSet<&str> = names.iter().map(String::as_str).collect();
        self.plan.entries.iter().filter(|entry| names.contains(name(entry))).collect()
    }

    /// The groups of layers that runtimes fuse in which any of `entries` is.
    pub fn groups_of(&self, entries: &[&Entry]) -> Vec<Vec<&'a Entry>> {
        let names: HashSet<&str> = entries.iter().map(|entry| name(entry)).collect();
        let mut groups = fused_groups(&self.plan.entries);
        groups.retain(|group| group.iter().any(|entry| names.contains(name(entry))));
        groups
    }

    /// Whether a tensor can be in a format, or is.
    pub fn can_have(&self, entry: &Entry, format: Format) -> bool {
        let dialect = self.plan.dialect;
        let has_place = dialect.packing(format).is_some();
        let is_served = self.unserved || !dialect.runtimes(format).is_empty();
        let fits =
            || decide::why_not(&entry.member.tensor, &entry.member, format, dialect).is_none();
        entry.format() == Some(format) || (has_place && is_served && fits())
    }

    /// The recipe under which these tensors stay as they are.
    pub fn keep(&self, recipe: Recipe, entries: &[&Entry]) -> Recipe {
        let mut recipe = recipe;
        recipe.exclude.extend(self.patterns(entries));
        recipe
    }

    /// The recipe under which these tensors, which can have it, are in a format.
    pub fn quantize(&self, recipe: Recipe, entries: &[&Entry], format: Format) -> Recipe {
        let mut recipe = recipe;
        recipe.exclude = self.lifted(&recipe.exclude, exclude_source, entries);
        let patterns = self.patterns(entries);
        if recipe.format == Some(format) {
            recipe.include.extend(patterns);
        } else {
            // Patterns to include would win over the new rules, and mean the recipe's format.
            recipe.include = self.lifted(&recipe.include, include_source, entries);
            let rules = patterns.into_iter();
            recipe.rules.extend(rules.map(|glob| Rule::about(glob, Action::Format(format))));
        }
        recipe
    }

    /// Globs that match these entries and no other.
    fn patterns(&self, entries: &[&Entry]) -> Vec<String> {
        let chosen: Vec<&str> = entries.iter().map(|entry| name(entry)).collect();
        let is_chosen: HashSet<&str> = chosen.iter().copied().collect();
        let all = self.plan.entries.iter().map(name);
        let others: Vec<&str> = all.filter(|name| !is_chosen.contains(name)).collect();
        patterns(&chosen, &others)
    }

    /// The globs of a list with `entries` lifted out of them: one that matches any of these is replaced
    /// by others, for what else it matches.
    fn lifted(
        &self,
        globs: &[String],
        source: impl Fn(&str) -> String,
        entries: &[&Entry],
    ) -> Vec<String> {
        let is_lifted: HashSet<&str> = entries.iter().map(|entry| name(entry)).collect();
        let mut lifted = Vec::new();
        for glob in globs {
            let source = source(glob);
            let rest = |entry: &&Entry| !is_lifted.contains(name(entry));
            let (rest, hit): (Vec<&Entry>, Vec<&Entry>) =
                self.matched(glob, &source).into_iter().partition(rest);
            match hit[..] {
                [] => lifted.push(glob.clone()),
                _ => lifted.extend(self.patterns(&rest)),
            }
        }
        lifted
    }

    /// The entries that a glob matches. Parts of a stored tensor that it matches by the name of the whole
    /// are told by their decisions.
    fn matched(&self, glob: &str, source: &str) -> Vec<&'a Entry> {
        let rule = Rule::about(glob.to_owned(), Action::Keep);
        let sourced = SourcedRule { rule, source: source.to_owned(), optional: false };
        let rules = RuleSet::new(vec![sourced]).ok();
        let by_name = |entry: &Entry| {
            let names = [name(entry); 2];
            rules.as_ref().is_some_and(|rules| rules.matches(0, names, entry.member.role))
        };
        let decided = |entry: &Entry| match &entry.decision {
            Decision::Quantize { rule, .. } => rule.starts_with(source),
            Decision::Keep(Reason::Rule(rule)) => rule == source,
            Decision::Stored(_) | Decision::Keep(_) => false,
        };
        self.plan.entries.iter().filter(|entry| by_name(entry) || decided(entry)).collect()
    }
}

fn name(entry: &Entry) -> &str {
    &entry.member.tensor.name
}
