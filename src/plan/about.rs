//! Findings about a plan as a whole.

use std::collections::{BTreeMap, BTreeSet};

use super::fused::fused_groups;
use super::{Entry, Finding, FindingKind, RuleUse};
use crate::checkpoint::{Checkpoint, Config, Tensor};
use crate::format::Format;
use crate::format::fp8::TILE_LEN;
use crate::model::{MAX_EXPERTS, Model, Role};

/// What is odd about the checkpoint itself.
pub fn about_checkpoint(checkpoint: &Checkpoint) -> Vec<Finding> {
    let mut findings = Vec::new();
    if checkpoint.config.is_none() && checkpoint.onnx.is_none() {
        findings.push(Finding::general(FindingKind::NoConfig));
    }
    if !checkpoint.unlisted.is_empty() {
        let bytes = checkpoint.unlisted.iter().filter_map(|name| checkpoint.tensor(name));
        findings.push(Finding {
            kind: FindingKind::Unlisted,
            bytes: bytes.map(|tensor| tensor.bytes).sum(),
            tensors: checkpoint.unlisted.clone(),
        });
    }
    if !checkpoint.ignored.is_empty() {
        let files = checkpoint.ignored.clone();
        findings.push(Finding::general(FindingKind::IgnoredFiles { files }));
    }
    findings
}

/// Layers whose experts are not as many as the config says.
pub fn about_experts(model: &Model<'_>) -> Vec<Finding> {
    let config = model.checkpoint.config.as_ref();
    let Some(expected) = config.and_then(Config::expert_count) else { return Vec::new() };
    let mut layers: BTreeMap<u32, (BTreeSet<u32>, Vec<&Tensor>)> = BTreeMap::new();
    for member in &model.members {
        let tensor = &member.tensor;
        let stored = match (member.expert, &tensor.shape[..], member.role, member.input_axis) {
            (Some(expert), ..) => expert..expert.saturating_add(1),
            (None, [experts, _, _], Role::Expert, Some(_)) => {
                0..u32::try_from(*experts).unwrap_or(0).min(MAX_EXPERTS)
            }
            _ => continue,
        };
        let Some(layer) = member.layer else { continue };
        let (experts, tensors) = layers.entry(layer).or_default();
        experts.extend(stored);
        tensors.push(tensor);
    }
    let odd = layers.into_values().filter(|(experts, _)| experts.len() as u64 != expected);
    let counted = odd.map(|(experts, tensors)| Finding {
        kind: FindingKind::ExpertCount { expected, found: experts.len() as u64 },
        bytes: tensors.iter().map(|tensor| tensor.bytes).sum(),
        tensors: tensors.into_iter().map(|tensor| tensor.name.clone()).collect(),
    });
    Finding::merged(counted.collect())
}

/// Layers whose fused siblings, or fellow experts, are quantized, and which are kept or in another
/// format.
pub fn about_fused(entries: &[Entry]) -> Vec<Finding> {
    let groups = fused_groups(entries).into_iter();
    let torn = groups.filter(|group| group.iter().any(|entry| entry.format().is_some()));
    let odd = torn.flat_map(|group| {
        // The first quantized one says what the others should be.
        let first = group.iter().find_map(|entry| entry.format());
        group.into_iter().filter_map(move |entry| match entry.format() {
            None => Some((FindingKind::PartlyQuantized, entry)),
            other if other != first => Some((FindingKind::MixedFormats, entry)),
            Some(_) => None,
        })
    });
    let about = |(kind, entry): (FindingKind, &Entry)| {
        Finding::about(kind, &entry.member.tensor.name, entry.member.tensor.bytes)
    };
    Finding::merged(odd.map(about).collect())
}

/// Experts that are split where no runtime of their family reads them so.
pub fn about_split(model: &Model<'_>, entries: &[Entry]) -> Vec<Finding> {
    const FUSED_ONLY: [&str; 1] = ["gpt_oss"];
    let family = model.checkpoint.config.as_ref().and_then(Config::model_type);
    if !family.is_some_and(|family| FUSED_ONLY.contains(&family)) {
        return Vec::new();
    }
    let split = entries.iter().filter(|entry| {
        let stored = &model.checkpoint.tensors[entry.member.index].name;
        entry.format().is_some() && entry.member.tensor.name != *stored
    });
    let about = |entry: &Entry| {
        let tensor = &entry.member.tensor;
        Finding::about(FindingKind::SplitUnread, &tensor.name, tensor.bytes)
    };
    Finding::merged(split.map(about).collect())
}

/// Layers in tiles that are not whole.
pub fn about_tiles(entries: &[Entry]) -> Vec<Finding> {
    let in_tiles = entries.iter().filter(|entry| entry.format() == Some(Format::Fp8Block));
    let partial = in_tiles.filter(|entry| {
        let shape = &entry.member.tensor.shape;
        !shape.iter().all(|length| length.is_multiple_of(TILE_LEN as u64))
    });
    let about = |entry: &Entry| {
        let tensor = &entry.member.tensor;
        Finding::about(FindingKind::PartialTiles, &tensor.name, tensor.bytes)
    };
    Finding::merged(partial.map(about).collect())
}

/// Rules that match nothing, presets aside.
pub fn about_rules(rules: &[RuleUse]) -> Vec<Finding> {
    let unused = rules.iter().filter(|rule| !rule.optional && rule.is_empty());
    let kind = |rule: &str| FindingKind::RuleMatchesNothing { rule: rule.to_owned() };
    unused.map(|rule| Finding::general(kind(&rule.source))).collect()
}
