//! Layers that torchao stored, told from names and from what headers say.

use std::collections::BTreeMap;

use super::graph::are_all;
use super::{Layer, Parts};
use crate::checkpoint::{Checkpoint, Dtype};
use crate::dialect::{Dialect, executorch};
use crate::format::Format;
use crate::model::natural_order;

/// Finds every weight that has a part in this layout.
pub fn find(checkpoint: &Checkpoint) -> Vec<Layer> {
    let mut weights: BTreeMap<String, Parts> = BTreeMap::new();
    for (index, tensor) in checkpoint.tensors.iter().enumerate() {
        let Some((weight, part)) = executorch::weight_of(&tensor.name) else { continue };
        let parts = weights.entry(weight).or_default();
        *match part {
            executorch::CODES => &mut parts.codes,
            executorch::SCALES => &mut parts.scales,
            _ => &mut parts.zero_points,
        } = Some(index);
    }
    let bits = stated_bits(checkpoint);
    let layer = |(weight, parts): (String, Parts)| {
        let stated = bits.get(weight.as_str()).copied();
        let mut layer = Layer::of(weight, Dialect::ExecuTorch, parts);
        match told(checkpoint, parts, stated) {
            Ok((format, shape)) => (layer.format, layer.shape) = (Some(format), shape),
            Err(problem) => layer.problem = Some(format!("{}: {problem}", layer.weight)),
        }
        layer
    };
    let mut layers: Vec<Layer> = weights.into_iter().map(layer).collect();
    layers.sort_by(|a, b| natural_order(&a.weight, &b.weight));
    layers
}

/// Bits of the codes of each weight, as all headers say together.
pub fn stated_bits(checkpoint: &Checkpoint) -> BTreeMap<&str, u8> {
    checkpoint.metadata().flat_map(executorch::stated_bits).collect()
}

/// Format and shape of a weight, or what is wrong with its parts.
fn told(
    checkpoint: &Checkpoint,
    parts: Parts,
    stated: Option<u8>,
) -> Result<(Format, Vec<u64>), String> {
    let tensor = |index: Option<usize>| index.map(|i| &checkpoint.tensors[i]);
    let codes = tensor(parts.codes).ok_or("it has no codes (qdata)")?;
    let scales = tensor(parts.scales).ok_or("it has no scales")?;
    let zero_points = tensor(parts.zero_points).ok_or("it has no zero points")?;
    let bits = stated.ok_or("no header says how many bits its codes have")?;
    let (Dtype::I8, [rows, columns]) = (codes.dtype, &codes.shape[..]) else {
        return Err(format!("its codes are {} {:?}, no matrix of I8", codes.dtype, codes.shape));
    };
    if ![4, 8].contains(&bits) || codes.is_empty() {
        return Err(format!("{bits}-bit codes {:?} are not read here", codes.shape));
    }
    let [scale_rows, across] = scales.shape[..] else {
        return Err(format!("its scales are {:?}, no matrix", scales.shape));
    };
    let fits = scale_rows == *rows && across > 0 && columns % across == 0;
    if !fits || scales.float_kind().is_none() || scales.dtype == Dtype::F64 {
        let (shape, dtype) = (&scales.shape, scales.dtype);
        return Err(format!("its scales are {dtype} {shape:?} for codes {:?}", codes.shape));
    }
    if zero_points.dtype != Dtype::I8 || zero_points.shape != scales.shape {
        let (shape, dtype) = (&zero_points.shape, zero_points.dtype);
        return Err(format!("its zero points are {dtype} {shape:?}, not I8 {:?}", scales.shape));
    }
    let symmetric = are_all(checkpoint, zero_points, 0);
    let group = match across {
        1 => None,
        _ => Some(u16::try_from(columns / across).map_err(|_| "its groups are too long")?),
    };
    let format = match (group, symmetric) {
        // Whole rows with zero points have no name: they are one group.
        (None, false) => {
            let group = u16::try_from(*columns).map_err(|_| "its rows are too long")?;
            Format::Int { bits, group: Some(group), symmetric }
        }
        _ => Format::Int { bits, group, symmetric },
    };
    Ok((format, vec![*rows, *columns]))
}
