//! Lists of modules that are not quantized, as config files of either dialect write them.

use regex::{Regex, RegexBuilder};

use crate::dialect::{Dialect, ExcludeList};

/// A list, ready to be asked.
#[derive(Debug, Clone)]
pub struct IgnoreList {
    names: ExcludeList,
    patterns: Vec<Regex>,
}

impl IgnoreList {
    /// Takes in entries as a dialect writes them.
    pub fn new(dialect: Dialect, entries: &[String]) -> Self {
        let is_pattern =
            |entry: &String| dialect == Dialect::CompressedTensors && entry.starts_with("re:");
        let (patterns, names): (Vec<String>, Vec<String>) =
            entries.iter().cloned().partition(is_pattern);
        Self { names: ExcludeList::new(&names), patterns: self::patterns(&patterns) }
    }

    /// Whether a module is on the list.
    pub fn contains(&self, module: &str) -> bool {
        self.names.contains(module) || self.patterns.iter().any(|p| p.is_match(module))
    }

    /// Its entries that are no regular expressions.
    pub fn names(&self) -> &ExcludeList {
        &self.names
    }
}

/// Bytes that one pattern may take in memory. Those of real configs take a twentieth of it.
const PATTERN_BYTES: usize = 1 << 18;

/// Bytes of text that all patterns of a list may have together; a real one has some hundred.
const LIST_BYTES: usize = 1 << 14;

/// The targets or exceptions that are written `re:PATTERN`, which has to match from the start. Of a list
/// whose patterns would fill the memory the first are taken, and what cannot be read matches nothing.
pub fn patterns(entries: &[String]) -> Vec<Regex> {
    let patterns = entries.iter().filter_map(|entry| entry.strip_prefix("re:"));
    let mut left = LIST_BYTES;
    let fitting = patterns.take_while(|pattern| {
        let fits = pattern.len() <= left;
        left = left.saturating_sub(pattern.len());
        fits
    });
    let compiled = |pattern: &str| {
        RegexBuilder::new(&format!("^(?:{pattern})")).size_limit(PATTERN_BYTES).build().ok()
    };
    fitting.filter_map(compiled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_patterns_are_read_and_hostile_ones_take_no_memory() {
        let real = [
            "re:.*self_attn.(q|k|v|o)_proj.*",
            r"re:model\.layers\.\d+\.mlp\.experts\.\d+\.(gate|up|down)_proj$",
            r"re:.*(visual|vision)[\w.]*",
            "re:(?!x)",
            "lm_head",
        ];
        let list: Vec<String> = real.map(str::to_owned).to_vec();
        assert_eq!(patterns(&list).len(), 3, "a look-ahead is none of this language");
        assert!(patterns(&list)[1].is_match("model.layers.12.mlp.experts.3.up_proj"));
        let hostile = ["re:(a{999}){999}".to_owned(), format!("re:{}", "(".repeat(10_000))];
        assert!(patterns(&hostile).is_empty());
        let many = vec![format!("re:{}", "b".repeat(100)); 100_000];
        assert_eq!(patterns(&many).len(), 163);
    }
}
