//! Which tensors share a scale of the whole tensor.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Decision, Entry};
use crate::format::Format;
use crate::model::{Member, ScaleGroup, module_of, scale_group};
use crate::recipe::ExpertScale;

/// Collects the tensors that share a scale of the whole tensor, and numbers the groups in order.
pub fn group(entries: &mut [Entry], experts: ExpertScale) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut numbers = HashMap::new();
    for (i, Entry { member, decision, .. }) in entries.iter_mut().enumerate() {
        let Decision::Quantize { format, group, .. } = decision else { continue };
        let key = shared_scale(member, *format, experts);
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
fn shared_scale(
    member: &Member,
    format: Format,
    experts: ExpertScale,
) -> Option<(Format, Cow<'_, str>, Cow<'_, str>)> {
    let module = module_of(&member.tensor.name);
    let fused = scale_group(&member.tensor.name);
    let is_joint = experts == ExpertScale::Joint && member.expert.is_some();
    // The first of them stands for all.
    let first = |group: &ScaleGroup<'_>| Cow::Borrowed(group.projections[0]);
    match format {
        Format::Nvfp4 | Format::Fp8 if is_joint => {
            let (parent, projection) = module.rsplit_once('.')?;
            let name = fused.as_ref().map_or(Cow::Borrowed(projection), first);
            let list = parent.rfind("experts").map_or(parent, |at| &parent[..at + "experts".len()]);
            Some((format, Cow::Borrowed(list), name))
        }
        // FP8's layers have a scale each, whatever runtimes fuse.
        Format::Nvfp4 => fused.map(|group| {
            let first = first(&group);
            (format, group.parent, first)
        }),
        _ => None,
    }
}
