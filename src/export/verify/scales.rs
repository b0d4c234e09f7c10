//! Checks over scales that were read.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, Opened, check, fused};
use crate::format::Format;
use crate::quantized::{Layer, is_sound};
use crate::stats::ScaleHealth;
use crate::units::count;

/// What was read of the scales of one layer.
pub struct LayerScales<'a> {
    pub layer: &'a Layer,
    /// The global scale as it is stored; 1 where the format has none.
    pub global: f32,
    pub health: ScaleHealth,
    /// Codes that are no number.
    pub nan_codes: u64,
}

impl LayerScales<'_> {
    /// Its module with its global scale, or with its format, where that has none.
    fn described(&self) -> String {
        match self.layer.format {
            Some(Format::Nvfp4) => format!("{} {:e}", self.layer.module, self.global),
            Some(format) => format!("{} {format}", self.layer.module),
            None => self.layer.module.clone(),
        }
    }
}

/// Every scale is a finite number above zero.
pub fn scales(layers: &[LayerScales<'_>]) -> Check {
    let (mut problems, mut blocks) = (Vec::new(), 0);
    for LayerScales { layer, global, health, nan_codes } in layers {
        if *nan_codes > 0 {
            problems.push(format!("{} has {}", layer.module, count(*nan_codes, "NaN code")));
        }
        if !is_sound(*global) {
            problems.push(format!("{} has the global scale {global}", layer.module));
        }
        blocks += health.blocks;
        // ONNX Runtime gives blocks of zeros the scale 0.
        let zero = if layer.dialect.is_onnx() { 0 } else { health.zero };
        if zero + health.invalid > 0 {
            let invalid = health.invalid;
            problems.push(format!(
                "{} has {zero} scales of zero, and {invalid} that are NaN, infinite or negative",
                layer.module
            ));
        }
    }
    let nvfp4 = layers.iter().filter(|scales| scales.layer.format == Some(Format::Nvfp4)).count();
    let global = match nvfp4 {
        0 => String::new(),
        _ => format!(" and {}", count(nvfp4 as u64, "global scale")),
    };
    let saturated = saturated(layers);
    check("scales", problems, format!("{blocks} scales{global}, finite and above zero{saturated}"))
}

/// How many scales are at the largest number of their type: at 448, in NVFP4. No number of them is a
/// fault, since the block with the largest weight is there by design, and where rows have one
/// amplitude all are. But a layer where many are may have been clipped.
fn saturated(layers: &[LayerScales<'_>]) -> String {
    const MANY: u64 = 16;
    let total: u64 = layers.iter().map(|scales| scales.health.saturated).sum();
    if total == 0 {
        return String::new();
    }
    let share = |health: &ScaleHealth| health.saturated as f64 / health.blocks.max(1) as f64;
    let many = layers.iter().filter(|scales| {
        scales.health.saturated > MANY && scales.health.saturated * 100 > scales.health.blocks
    });
    let most = many.max_by(|a, b| share(&a.health).total_cmp(&share(&b.health)));
    let most = most.map(|LayerScales { layer, health, .. }| {
        format!(", most in {} ({} of {})", layer.module, health.saturated, health.blocks)
    });
    format!("; {total} at the largest value{}", most.unwrap_or_default())
}

/// Layers that runtimes fuse have one global scale.
pub fn groups(opened: &Opened<'_>, layers: &[LayerScales<'_>]) -> Check {
    let by_weight: BTreeMap<&str, &LayerScales<'_>> =
        layers.iter().map(|scales| (scales.layer.weight.as_str(), scales)).collect();
    let groups = fused(&opened.layers);
    let (mut torn, mut mixed, mut shared) = (Vec::new(), Vec::new(), 0);
    for group in &groups {
        let members: Vec<_> =
            group.iter().filter_map(|layer| by_weight.get(layer.weight.as_str())).collect();
        let formats: BTreeSet<_> = members.iter().map(|member| member.layer.format).collect();
        if formats.len() > 1 {
            let described = |m: &&&LayerScales<'_>| {
                let format = m.layer.format.map_or("no known format", Format::name);
                format!("{} is {format}", m.layer.module)
            };
            let names: Vec<String> = members.iter().map(described).collect();
            mixed.push(names.join(", "));
            continue;
        }
        shared += u64::from(formats.contains(&Some(Format::Nvfp4)));
        let scales = || members.iter().map(|member| member.global);
        if scales().any(|scale| scale.to_bits() != members[0].global.to_bits()) {
            let names: Vec<String> = members.iter().map(|member| member.described()).collect();
            torn.push((factor(scales()), names.join(", ")));
        }
    }
    torn.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let problem = |(factor, names): (f32, String)| {
        format!(
            "{names} are fused by runtimes, but differ in global scale by a factor of {factor:.4}"
        )
    };
    let problems = torn.into_iter().map(problem).collect();
    let groups = count(groups.len() as u64, "fused group");
    let mut passed = match (shared, mixed.first()) {
        (_, Some(example)) => {
            format!("of {groups} {} in several formats, which vLLM refuses: {example}", mixed.len())
        }
        (0, None) => format!("{groups}, in one format each"),
        _ => String::new(),
    };
    if shared > 0 {
        let joint = if passed.is_empty() { "" } else { "; " };
        passed =
            format!("{} share their global scale{joint}{passed}", count(shared, "fused group"));
    }
    check("groups", problems, passed)
}

/// The largest scale over the smallest; infinite where one is no positive number.
fn factor(scales: impl Iterator<Item = f32>) -> f32 {
    let (mut min, mut max) = (f32::INFINITY, 0f32);
    for scale in scales {
        if !is_sound(scale) {
            return f32::INFINITY;
        }
        (min, max) = (min.min(scale), max.max(scale));
    }
    max / min
}
