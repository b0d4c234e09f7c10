//! Whether lists of routed experts are complete.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{Check, Opened, check};
use crate::checkpoint::{Checkpoint, Config, Tensor};
use crate::model::{MAX_EXPERTS, Member, Role, grouped_weight};
use crate::quantized::Layer;
use crate::units::count;

/// The experts of one list: what each of them is made of.
#[derive(Default)]
struct List {
    layer: Option<u32>,
    experts: BTreeMap<u32, BTreeSet<String>>,
}

/// Every list has the experts that the config says, without gaps, and each of them the projections
/// that its fellows have. `None` where there are no experts.
///
/// What the source lacks too is no fault of the export: it was told as a finding before.
pub fn experts(opened: &Opened<'_>) -> Option<Check> {
    let lists = lists(&opened.checkpoint, &opened.layers);
    if lists.is_empty() {
        return None;
    }
    let expected =
        |checkpoint: &Checkpoint| checkpoint.config.as_ref().and_then(Config::expert_count);
    let mut problems = problems(&lists, expected(&opened.checkpoint));
    if let Some(source) = opened.source.filter(|_| !problems.is_empty()) {
        let lacked = self::problems(&self::lists(source, &[]), expected(source));
        problems.retain(|problem| !lacked.contains(problem));
    }
    let all: usize = lists.values().map(|list| list.experts.len()).sum();
    let detail = format!(
        "{} in {}, each with all its projections",
        count(all as u64, "expert"),
        count(lists.len() as u64, "list")
    );
    Some(check("experts", problems, detail))
}

/// All lists of experts by their names, over quantized layers and float tensors alike.
fn lists(checkpoint: &Checkpoint, layers: &[Layer]) -> BTreeMap<String, List> {
    let parts: HashSet<usize> = layers.iter().flat_map(|layer| layer.parts.all()).collect();
    let of_layers = layers.iter().filter_map(|layer| {
        // Fused experts are counted even where a part that would tell their shape is missing.
        let stored =
            layer.codes(checkpoint).or(layer.parts.all().next().map(|i| &checkpoint.tensors[i]))?;
        let shape = if layer.shape.is_empty() { &stored.shape } else { &layer.shape };
        Some(Tensor { name: layer.weight.clone(), shape: shape.clone(), ..stored.clone() })
    });
    let floats = checkpoint.tensors.iter().enumerate().filter(|(i, tensor)| {
        !parts.contains(i) && tensor.float_kind().is_some() && tensor.shape.len() > 1
    });
    let mut lists: BTreeMap<String, List> = BTreeMap::new();
    for tensor in of_layers.chain(floats.map(|(_, tensor)| tensor.clone())) {
        let member = Member::of(0, tensor, None);
        let Some((name, projection)) = place(&member) else { continue };
        let numbers = match (member.expert, &member.tensor.shape[..]) {
            (Some(expert), _) => expert..expert.saturating_add(1),
            (None, [experts, _, _]) => 0..u32::try_from(*experts).unwrap_or(0).min(MAX_EXPERTS),
            _ => continue,
        };
        let list = lists.entry(name).or_default();
        list.layer = member.layer;
        for expert in numbers {
            list.experts.entry(expert).or_default().insert(projection.clone());
        }
    }
    lists
}

/// The list that a weight of an expert is in, and which projection it is there: its name after the
/// list, without the number of the expert.
fn place(member: &Member) -> Option<(String, String)> {
    if member.role == Role::Bias {
        return None;
    }
    let parts: Vec<&str> = member.tensor.name.split('.').collect();
    let end = parts.iter().rposition(|part| part.ends_with("experts"))? + 1;
    let number = member.expert.map(|expert| expert.to_string()).unwrap_or_default();
    let rest = parts[end..].iter().filter(|part| number.is_empty() || **part != number);
    let mut rest: Vec<&str> = rest.copied().collect();
    if let (Some(last), true) = (rest.last_mut(), grouped_weight(&member.tensor.name).is_some()) {
        // Experts side by side, `weight0`, `weight1`, as much as `7.weight`.
        *last = last.strip_suffix(&number).unwrap_or(last);
    }
    if rest.last() == Some(&"weight") {
        rest.pop();
    }
    (!rest.is_empty()).then(|| (parts[..end].join("."), rest.join(".")))
}

fn problems(lists: &BTreeMap<String, List>, expected: Option<u64>) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, list) in lists {
        let holder = match list.layer {
            Some(layer) => format!("layer {layer}"),
            None => name.clone(),
        };
        let says = expected.map(|n| format!(", and config.json says {n}")).unwrap_or_default();
        let mut next = 0;
        let mut gap = |next: u64, end: u64| match end.saturating_sub(next) {
            0 => {}
            1 => problems.push(format!("{holder} has no expert {next} in {name}{says}")),
            _ => problems
                .push(format!("{holder} has no experts {next} to {} in {name}{says}", end - 1)),
        };
        for expert in list.experts.keys().map(|expert| u64::from(*expert)) {
            gap(next, expert);
            next = expert + 1;
        }
        gap(next, expected.unwrap_or(next));
        if expected.is_some_and(|expected| next > expected) {
            problems.push(format!("{holder} has an expert {} in {name}{says}", next - 1));
        }

        let all: BTreeSet<&String> = list.experts.values().flatten().collect();
        for (expert, has) in &list.experts {
            let missing: Vec<&str> =
                all.iter().filter(|p| !has.contains(**p)).map(|p| p.as_str()).collect();
            if !missing.is_empty() {
                let missing = missing.join(" and no ");
                problems.push(format!("{holder} has no {missing} in expert {expert} of {name}"));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Dtype;

    fn place_of(name: &str, expert: Option<u32>) -> Option<(String, String)> {
        let (name, dtype) = (name.to_owned(), Dtype::BF16);
        let shape = vec![4, 4];
        let tensor = Tensor { name, dtype, shape, file: 0, offset: 0, bytes: 32, strides: None };
        let member = Member::of(0, tensor, None);
        place(&Member { expert, ..member })
    }

    #[test]
    fn a_projection_is_what_is_left_of_a_name() {
        let place = |name, expert| {
            place_of(name, expert).map(|(list, projection)| format!("{list} | {projection}"))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            place("m.7.mlp.experts.7.up_proj.weight", Some(7)),
            some("m.7.mlp.experts | up_proj")
        );
        assert_eq!(place("m.mlp.experts.fc1.weight12", Some(12)), some("m.mlp.experts | fc1"));
        assert_eq!(place("m.mlp.experts.gate_up_proj", None), some("m.mlp.experts | gate_up_proj"));
        assert_eq!(place("m.mlp.experts.3.up_proj.bias", Some(3)), None);
        assert_eq!(place("m.mlp.shared_expert.up_proj.weight", None), None);
    }

    #[test]
    fn gaps_are_told_as_ranges_whatever_numbers_names_hold() {
        let mut list = List { layer: Some(3), ..Default::default() };
        for expert in [0, 2, u32::MAX] {
            list.experts.insert(expert, BTreeSet::from(["up".to_owned()]));
        }
        let lists = BTreeMap::from([("m.experts".to_owned(), list)]);
        assert_eq!(
            problems(&lists, None),
            [
                "layer 3 has no expert 1 in m.experts",
                "layer 3 has no experts 3 to 4294967294 in m.experts",
            ]
        );
    }
}
