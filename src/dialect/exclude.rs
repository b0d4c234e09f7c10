//! The list of modules that are not quantized, shortened as ModelOpt shortens it.

use std::collections::{BTreeSet, HashSet};

/// Patterns for `kept` modules that match no `quantized` one: for each the shortest `prefix*` that
/// ends where a part of the name ends, else `prefix.*`, else the name itself. Sorted.
pub fn shortest_patterns(kept: &[String], quantized: &[&str]) -> Vec<String> {
    // Sorted names make "does any start with this" one lookup.
    let quantized: BTreeSet<&str> = quantized.iter().copied().collect();
    let any_starts_with = |prefix: &str| {
        quantized.range(prefix..).next().is_some_and(|name| name.starts_with(prefix))
    };

    let shortest = |name: &String| {
        let prefixes = name.match_indices('.').flat_map(|(at, _)| {
            let (prefix, dotted) = (&name[..at], &name[..=at]);
            let covers_none = !any_starts_with(prefix);
            let covers_none_below = !any_starts_with(dotted) && !quantized.contains(prefix);
            [
                covers_none.then(|| format!("{prefix}*")),
                covers_none_below.then(|| format!("{dotted}*")),
            ]
        });
        prefixes.flatten().next().unwrap_or_else(|| name.clone())
    };
    let patterns: BTreeSet<String> = kept.iter().map(shortest).collect();
    patterns.into_iter().collect()
}

/// A list of modules and of patterns with a `*` at the end, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct ExcludeList {
    names: HashSet<String>,
    prefixes: HashSet<String>,
}

impl ExcludeList {
    /// Takes in patterns.
    pub fn new(patterns: &[String]) -> Self {
        let mut list = Self::default();
        for pattern in patterns {
            match pattern.strip_suffix('*') {
                Some(prefix) => list.prefixes.insert(prefix.to_owned()),
                None => list.names.insert(pattern.clone()),
            };
        }
        list
    }

    /// Whether a module is on the list.
    pub fn contains(&self, module: &str) -> bool {
        let prefixes = (0..=module.len()).filter_map(|end| module.get(..end));
        self.names.contains(module) || prefixes.into_iter().any(|p| self.prefixes.contains(p))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(kept: &[&str], quantized: &[&str]) -> Vec<String> {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let patterns = shortest_patterns(&owned(kept), quantized);
        let list = ExcludeList::new(&patterns);
        assert!(kept.iter().all(|name| list.contains(name)), "{patterns:?}");
        assert!(!quantized.iter().any(|name| list.contains(name)), "{patterns:?}");
        patterns
    }

    #[test]
    fn patterns_are_as_short_as_the_quantized_modules_allow() {
        let layer =
            |i: u32| [format!("model.layers.{i}.attn.q"), format!("model.layers.{i}.attn.v")];
        let [q, v] = [&layer(0)[0], &layer(0)[1]];
        assert_eq!(patterns(&[v], &[q]), ["model.layers.0.attn.v"]);
        assert_eq!(patterns(&[q, v], &["model.layers.0.mlp.up"]), ["model.layers.0.attn*"]);
        assert_eq!(patterns(&[q, v], &["model.layers.1.mlp.up"]), ["model.layers.0*"]);
        assert_eq!(patterns(&["lm_head"], &[q]), ["lm_head"]);
        assert_eq!(patterns(&["visual.blocks.0.qkv", "visual.merger.0"], &[q]), ["visual*"]);
    }

    #[test]
    fn a_number_that_starts_another_gets_the_dotted_form() {
        let [one, ten] = ["model.layers.1.mlp.up", "model.layers.10.mlp.up"];
        assert_eq!(patterns(&[one], &[ten]), ["model.layers.1.*"]);
    }

    #[test]
    fn sorted_lookup_finds_prefixes() {
        assert_eq!(patterns(&["a.x"], &["a.b.c", "a-b"]), ["a.x"]);
        assert_eq!(patterns(&["a.x", "b.y"], &["c.z"]), ["a*", "b*"]);
    }
}
