//! Lists of modules that are not quantized, as config files of either dialect write them.

use regex::Regex;

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
        Self {
            names: ExcludeList::new(&names),
            patterns: patterns.iter().filter_map(|entry| pattern(entry)).collect(),
        }
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

/// A target or exception written `re:PATTERN`, which has to match from the start.
pub fn pattern(entry: &str) -> Option<Regex> {
    Regex::new(&format!("^(?:{})", entry.strip_prefix("re:")?)).ok()
}
