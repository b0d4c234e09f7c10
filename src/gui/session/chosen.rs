//! What is selected, by entries of the plan, so that every line of a table can ask in every frame.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use super::Analysis;
use crate::report::Row;

/// What is selected, as it was when it was looked at last.
#[derive(Debug, Default)]
pub struct Chosen {
    /// Tensors of the plan that are selected.
    pub tensors: u64,
    /// Bytes of the tensors, before.
    pub bytes: u64,
    /// How often something else has been selected.
    pub changes: u64,
    names: BTreeSet<String>,
    analysis: Weak<Analysis>,
    entries: Vec<bool>,
}

impl Chosen {
    /// Takes what is selected now.
    pub fn update(&mut self, selection: &BTreeSet<String>, analysis: &Arc<Analysis>) {
        let is_same = self.names == *selection;
        if is_same && std::ptr::eq(self.analysis.as_ptr(), Arc::as_ptr(analysis)) {
            return;
        }
        if !is_same {
            self.changes += 1;
            self.names.clone_from(selection);
        }
        self.analysis = Arc::downgrade(analysis);
        self.entries = vec![false; analysis.plan.entries.len()];
        (self.tensors, self.bytes) = (0, 0);
        for entry in selection.iter().filter_map(|name| analysis.by_name.get(name)) {
            self.entries[*entry] = true;
            self.tensors += 1;
            self.bytes += analysis.plan.entries[*entry].member.tensor.bytes;
        }
    }

    /// Whether every tensor of a row is selected.
    pub fn has(&self, row: &Row) -> bool {
        let is_chosen = |&entry: &usize| self.entries.get(entry).copied().unwrap_or(false);
        !self.names.is_empty() && !row.entries.is_empty() && row.entries.iter().all(is_chosen)
    }
}
