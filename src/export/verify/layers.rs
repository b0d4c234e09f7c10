//! The quantized layers of a checkpoint, told from its tensors alone.

use std::collections::BTreeMap;

use crate::checkpoint::{Checkpoint, Dtype, Tensor};
use crate::dialect::ExcludeList;
use crate::dialect::modelopt::{GLOBAL_SCALE, SCALE as BLOCK_SCALE};
use crate::format::nvfp4::BLOCK_BYTES;
use crate::model::{ScaleGroup, natural_order, owner_of, scale_group};
use crate::plan::is_packed_lookalike;

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
    let packed = |tensor: &Tensor| {
        let in_source = source.and_then(|source| source.tensor(&tensor.name));
        let carried = match in_source {
            Some(other) => other.dtype == tensor.dtype,
            None => ignored.contains(owner_of(&tensor.name)),
        };
        is_packed_lookalike(tensor.dtype, &tensor.name, &tensor.shape) && !carried
    };
    // A layer's name, and what joins the names of its scales to it: fused experts have no module.
    let of_tensor = |tensor: &Tensor| -> Option<(String, char)> {
        let scale = [BLOCK_SCALE, GLOBAL_SCALE].iter().find_map(|part| {
            let module = tensor.name.strip_suffix(part)?;
            let joint = module.chars().next_back().filter(|joint| matches!(joint, '.' | '_'))?;
            Some((module[..module.len() - 1].to_owned(), joint))
        });
        let codes = || match tensor.name.strip_suffix(".weight") {
            Some(module) => (module.to_owned(), '.'),
            None => (tensor.name.clone(), '_'),
        };
        scale.or_else(|| packed(tensor).then(codes))
    };
    let mut modules: Vec<(String, char)> =
        checkpoint.tensors.iter().filter_map(of_tensor).collect();
    modules.sort_by(|a, b| natural_order(&a.0, &b.0).then(a.1.cmp(&b.1)));
    modules.dedup();

    let layer = |(module, joint): (String, char)| {
        let part = |part: &str| checkpoint.index_of(&format!("{module}{joint}{part}"));
        let weight = if joint == '_' { module.clone() } else { format!("{module}.weight") };
        let codes = checkpoint.index_of(&weight);
        let columns =
            codes.filter(|_| joint == '_').and_then(|i| checkpoint.tensors[i].shape.last());
        let mut layer = Layer {
            codes,
            columns_of_blocks: columns.map(|&columns| columns as usize),
            scales: part(BLOCK_SCALE),
            global_scale: part(GLOBAL_SCALE),
            problem: None,
            weight,
            module,
        };
        layer.problem = problem(checkpoint, &layer);
        layer
    };
    modules.into_iter().map(layer).collect()
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
    if codes.is_empty() {
        return Some(format!("{} has no elements", codes.name));
    }
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
