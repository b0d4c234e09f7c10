//! The quantized layers of a checkpoint, told from its tensors alone.

use std::collections::{BTreeMap, HashMap};

use crate::checkpoint::{Checkpoint, Dtype, Tensor};
use crate::dialect::ExcludeList;
use crate::dialect::modelopt::{BLOCK_SCALE, GLOBAL_SCALE};
use crate::format::nvfp4::BLOCK_BYTES;
use crate::model::{ScaleGroup, module_of, natural_order, scale_group};

/// A layer with a scale: the parts of it that are there, and what is wrong with them.
#[derive(Debug)]
pub struct Layer {
    /// The module; for fused experts their own name.
    pub module: String,
    /// Name of the weight.
    pub weight: String,
    /// Row length of fused experts, whose blocks run down the columns.
    pub columns_of_blocks: Option<usize>,
    /// Its packed weight, an index in [`Checkpoint::tensors`].
    pub codes: Option<usize>,
    /// Its block scales.
    pub scales: Option<usize>,
    /// Its global scale.
    pub global_scale: Option<usize>,
    /// What makes it unreadable.
    pub problem: Option<String>,
}

/// Finds every module that has a part of a quantized layer.
///
/// A U8 weight without any scale may be a layer that lost both, or a tensor that was never a float:
/// it is the latter if the source has it so, or if the config lists it as not quantized.
pub fn find(
    checkpoint: &Checkpoint,
    source: Option<&Checkpoint>,
    ignored: &ExcludeList,
) -> Vec<Layer> {
    let by_name: HashMap<&str, usize> = checkpoint
        .tensors
        .iter()
        .enumerate()
        .map(|(i, tensor)| (tensor.name.as_str(), i))
        .collect();
    let packed = |tensor: &Tensor| {
        let in_source = source.and_then(|source| source.tensor(&tensor.name));
        let carried = match in_source {
            Some(other) => other.dtype == tensor.dtype,
            None => ignored.contains(module_of(&tensor.name)),
        };
        tensor.dtype == Dtype::U8 && tensor.name.ends_with(".weight") && !carried
    };
    let mut modules: Vec<&str> = checkpoint
        .tensors
        .iter()
        .filter_map(|tensor| {
            let of_scale = [BLOCK_SCALE, GLOBAL_SCALE]
                .iter()
                .find_map(|part| tensor.name.strip_suffix(part)?.strip_suffix(['.', '_']));
            of_scale.or_else(|| packed(tensor).then(|| module_of(&tensor.name)))
        })
        .collect();
    modules.sort_by(|a, b| natural_order(a, b));
    modules.dedup();

    let index_of = |name: &str| by_name.get(name).copied();
    modules
        .into_iter()
        .map(|module| {
            let fused = index_of(module);
            let joint = if fused.is_some() { '_' } else { '.' };
            let weight =
                if fused.is_some() { module.to_owned() } else { format!("{module}.weight") };
            let part = |part: &str| index_of(&format!("{module}{joint}{part}"));
            let columns = fused.and_then(|i| checkpoint.tensors[i].shape.last());
            let mut layer = Layer {
                module: module.to_owned(),
                codes: index_of(&weight),
                columns_of_blocks: columns.map(|&columns| columns as usize),
                scales: part(BLOCK_SCALE),
                global_scale: part(GLOBAL_SCALE),
                problem: None,
                weight,
            };
            layer.problem = problem(checkpoint, &layer);
            layer
        })
        .collect()
}

fn problem(checkpoint: &Checkpoint, layer: &Layer) -> Option<String> {
    let tensor = |index: Option<usize>| index.map(|i| &checkpoint.tensors[i]);
    let parts =
        [("weight", layer.codes), (BLOCK_SCALE, layer.scales), (GLOBAL_SCALE, layer.global_scale)];
    if let Some((missing, _)) = parts.iter().find(|(_, part)| part.is_none()) {
        return Some(format!("{} has no {missing}", layer.module));
    }
    let (codes, scales, global) =
        (tensor(layer.codes)?, tensor(layer.scales)?, tensor(layer.global_scale)?);
    let wrong = |tensor: &Tensor, expected: &str| {
        Some(format!("{} is {} {:?}, not {expected}", tensor.name, tensor.dtype, tensor.shape))
    };
    const BYTES: u64 = BLOCK_BYTES as u64;
    let expected = match (codes.dtype, codes.shape.as_slice(), layer.columns_of_blocks) {
        (Dtype::U8, [rows, bytes], None) if bytes % BYTES == 0 => vec![*rows, bytes / BYTES],
        (Dtype::U8, [experts, bytes, columns], Some(_)) if bytes % BYTES == 0 => {
            vec![*experts, bytes / BYTES, *columns]
        }
        (.., None) => return wrong(codes, "U8 [rows, columns/2]"),
        (.., Some(_)) => return wrong(codes, "U8 [experts, inputs/2, outputs]"),
    };
    if scales.dtype != Dtype::F8_E4M3 || scales.shape != expected {
        return wrong(scales, &format!("F8_E4M3 {expected:?}"));
    }
    if global.dtype != Dtype::F32 || global.len() != 1 {
        return wrong(global, "F32 []");
    }
    None
}

/// Layers that a runtime fuses, by group; groups of one left out.
pub fn fused(layers: &[Layer]) -> Vec<Vec<&Layer>> {
    let mut groups: BTreeMap<ScaleGroup, Vec<&Layer>> = BTreeMap::new();
    for layer in layers.iter().filter(|layer| layer.problem.is_none()) {
        if let Some(group) = scale_group(&layer.module) {
            groups.entry(group).or_default().push(layer);
        }
    }
    groups.into_values().filter(|group| group.len() > 1).collect()
}
