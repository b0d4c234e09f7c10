//! Checks over scales that were read.

use std::collections::BTreeMap;

use super::{Check, Opened, check, fused};
use crate::format::Format;
use crate::quantized::Layer;
use crate::stats::ScaleHealth;
use crate::units::count;

/// What was read of the scales of one layer.
pub struct LayerScales<'a> {
    pub layer: &'a Layer,
    /// The global scale as it is stored; 1 where the format has none.
    pub global: f32,
    pub health: ScaleHealth,
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
    for LayerScales { layer, global, health } in layers {
        if !(global.is_finite() && *global > 0.0) {
            problems.push(format!("{} has the global scale {global}", layer.module));
        }
        blocks += health.blocks;
        if health.zero + health.invalid > 0 {
            let (zero, invalid) = (health.zero, health.invalid);
            problems.push(format!(
                "{} has {zero} zero and {invalid} NaN, infinite or negative scales",
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
    let mut torn = Vec::new();
    for group in &groups {
        let members: Vec<_> =
            group.iter().filter_map(|layer| by_weight.get(layer.weight.as_str())).collect();
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
    check("groups", problems, format!("{} fused groups share their global scale", groups.len()))
}

/// The largest scale over the smallest; infinite where one is no positive number.
fn factor(scales: impl Iterator<Item = f32>) -> f32 {
    let (mut min, mut max) = (f32::INFINITY, 0f32);
    for scale in scales {
        if !(scale.is_finite() && scale > 0.0) {
            return f32::INFINITY;
        }
        (min, max) = (min.min(scale), max.max(scale));
    }
    max / min
}
