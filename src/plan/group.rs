//! Which tensors share a scale of the whole tensor.

use std::collections::BTreeMap;

use super::{Decision, Entry};
use crate::format::Format;
use crate::model::{module_of, scale_group};
use crate::recipe::ExpertScale;

/// Collects the tensors that share a scale of the whole tensor, and numbers the groups in order.
pub fn group(entries: &mut [Entry], experts: ExpertScale) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut numbers = BTreeMap::new();
    for (i, entry) in entries.iter_mut().enumerate() {
        let key = shared_scale(entry, experts);
        let Decision::Quantize { group, .. } = &mut entry.decision else { continue };
        let number = match key {
            Some(key) => *numbers.entry(key).or_insert(groups.len()),
            None => groups.len(),
        };
        if number == groups.len() {
            groups.push(Vec::new());
        }
        groups[number].push(i);
        *group = number;
    }
    groups
}

/// What the members of a group have in common: the format, the module that holds them, and the names
/// of their projections. `None` for a tensor that shares its scale with none.
fn shared_scale(entry: &Entry, experts: ExpertScale) -> Option<(Format, String, String)> {
    let format = entry.format()?;
    let module = module_of(&entry.member.tensor.name);
    let fused = scale_group(&entry.member.tensor.name);
    let is_joint = experts == ExpertScale::Joint && entry.member.expert.is_some();
    match format {
        Format::Nvfp4 | Format::Fp8 if is_joint => {
            let (parent, projection) = module.rsplit_once('.')?;
            let names = fused.map_or(projection.to_owned(), |group| group.projections.join(" "));
            let list = parent.rfind("experts").map_or(parent, |at| &parent[..at + "experts".len()]);
            Some((format, list.to_owned(), names))
        }
        // FP8's layers have a scale each, whatever runtimes fuse.
        Format::Nvfp4 => fused.map(|group| (format, group.parent, group.projections.join(" "))),
        _ => None,
    }
}
