//! Changes of the recipe that a plan was made from, about some of the plan's tensors.

use std::collections::{HashMap, HashSet};

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

    /// The globs of a list with `entries` lifted out of them: those that match any of these are replaced
    /// by others, for what else they match.
    fn lifted(
        &self,
        globs: &[String],
        source: impl Fn(&str) -> String,
        entries: &[&Entry],
    ) -> Vec<String> {
        let is_lifted: HashSet<&str> = entries.iter().map(|entry| name(entry)).collect();
        let sources: Vec<String> = globs.iter().map(|glob| source(glob)).collect();
        let (mut lifted, mut rest) = (Vec::new(), Vec::new());
        for (glob, matched) in globs.iter().zip(self.matched(globs, &sources)) {
            let is_rest = |entry: &&Entry| !is_lifted.contains(name(entry));
            match matched.iter().all(is_rest) {
                true => lifted.push(glob.clone()),
                false => rest.extend(matched.into_iter().filter(is_rest)),
            }
        }
        lifted.extend(self.patterns(&rest));
        lifted
    }

    /// The entries that each glob matches. Parts of a stored tensor that it matches by the name of the
    /// whole are told by their decisions.
    fn matched(&self, globs: &[String], sources: &[String]) -> Vec<Vec<&'a Entry>> {
        let rule = |(glob, source): (&String, &String)| SourcedRule {
            rule: Rule::about(glob.clone(), Action::Keep),
            source: source.as_str().into(),
            optional: false,
        };
        let mut matched = vec![Vec::new(); globs.len()];
        // A plan was made with these globs, so they are valid.
        let Ok(rules) = RuleSet::new(globs.iter().zip(sources).map(rule).collect()) else {
            return matched;
        };
        let places: HashMap<&str, usize> =
            sources.iter().enumerate().map(|(i, source)| (source.as_str(), i)).collect();
        for entry in &self.plan.entries {
            let by_name = rules.matching([name(entry); 2], entry.member.role);
            let decider = match &entry.decision {
                // What follows says why it is not the format that the rule asks for.
                Decision::Quantize { rule, .. } => {
                    Some(rule.split_once(", where rows of ").map_or(&**rule, |(rule, _)| rule))
                }
                Decision::Keep(Reason::Rule(rule)) => Some(rule.as_str()),
                Decision::Shared { .. } | Decision::Stored(_) | Decision::Keep(_) => None,
            };
            let decider = decider.and_then(|rule| places.get(rule).copied());
            let other = decider.filter(|i| !by_name.contains(i));
            by_name.into_iter().chain(other).for_each(|i| matched[i].push(entry));
        }
        matched
    }
}

fn name(entry: &Entry) -> &str {
    &entry.member.tensor.name
}
