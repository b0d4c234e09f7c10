//! Layers that runtimes hold in one tensor, and which must therefore be in one format.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Entry;
use crate::model::{Role, module_of, scale_group};

/// Matrices of layers that runtimes fuse, group by group in the order of their names: projections
/// that read the same input, and all experts of a layer.
pub fn fused_groups(entries: &[Entry]) -> Vec<Vec<&Entry>> {
    let mut groups: BTreeMap<(Cow<'_, str>, &[&str]), Vec<&Entry>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.is_quantizable()) {
        let module = module_of(&entry.member.tensor.name);
        if entry.member.role == Role::Expert {
            // A runtime holds all experts of a layer in one tensor.
            let list = module.split(".experts.").next().unwrap_or(module);
            groups.entry((Cow::Borrowed(list), &[])).or_default().push(entry);
        } else if let Some(group) = scale_group(module) {
            groups.entry((group.parent, group.projections)).or_default().push(entry);
        }
    }
    groups.into_values().collect()
}
