//! The quantized layers of a checkpoint, told from its tensors.

use std::collections::BTreeMap;

use super::{Layer, Parts, graph, q4gsw, torchao};
use crate::checkpoint::{Checkpoint, Dtype, Tensor};
use crate::dialect::{Dialect, ExcludeList, Output, Part, compressed_tensors as ct, modelopt};
use crate::format::Format;
use crate::model::{Role, grouped_weight, is_weight, natural_order, owner_of};
use crate::plan::is_packed_lookalike;

/// Where a part is kept.
type Place = fn(&mut Parts) -> &mut Option<usize>;

/// The last part of the name of a tile's scales in DeepSeek's FP8.
const SCALE_INV: &str = "weight_scale_inv";

/// What follows the names of gpt-oss' experts.
const BLOCKS: &str = "_blocks";
const SCALES: &str = "_scales";

/// Names of scales and their like, longest first, with the place of each in [`Parts`].
const PARTS: [(&str, Place); 9] = [
    (ct::GLOBAL_SCALE, |parts| &mut parts.global_scale),
    (modelopt::GLOBAL_SCALE, |parts| &mut parts.global_scale),
    (ct::ZERO_POINT, |parts| &mut parts.zero_points),
    (ct::PACKED, |parts| &mut parts.codes),
    (SCALE_INV, |parts| &mut parts.scales),
    (modelopt::SCALE, |parts| &mut parts.scales),
    (ct::SHAPE, |parts| &mut parts.shape),
    (BLOCKS, |parts| &mut parts.codes),
    (SCALES, |parts| &mut parts.scales),
];

/// Finds every module that has a part of a quantized layer.
///
/// A U8 weight without any scale may be a layer that lost all, or a tensor that was never a float:
/// it is the latter if the source has it so, or if the config lists it as not quantized.
pub fn find(
    checkpoint: &Checkpoint,
    source: Option<&Checkpoint>,
    ignored: &ExcludeList,
    dialect: Dialect,
) -> Vec<Layer> {
    if checkpoint.onnx.is_some() {
        return graph::find(checkpoint, source);
    }
    if dialect == Dialect::ExecuTorch {
        return torchao::find(checkpoint);
    }
    if dialect == Dialect::Q4gsw {
        return q4gsw::find(checkpoint);
    }
    // By the name of the weight.
    let mut layers: BTreeMap<String, Parts> = BTreeMap::new();
    for (i, tensor) in checkpoint.tensors.iter().enumerate() {
        // Two of the endings are common words.
        let is_mx = tensor.dtype == Dtype::U8 && tensor.shape.len() > 2;
        let mut parts = PARTS.iter().filter(|(name, _)| is_mx || !matches!(*name, BLOCKS | SCALES));
        let part =
            parts.find_map(|(name, place)| Some((weight_of_part(&tensor.name, name)?, place)));
        match part {
            Some((weight, place)) => *place(layers.entry(weight).or_default()) = Some(i),
            None if holds_codes(tensor, source, ignored) => {
                layers.entry(tensor.name.clone()).or_default().codes = Some(i);
            }
            None => {}
        }
    }
    let layer = |(weight, mut parts): (String, Parts)| {
        parts.codes = parts.codes.or_else(|| checkpoint.index_of(&weight));
        let mut layer = Layer::of(weight, dialect, parts);
        layer.altered_by = altered_by(checkpoint, &layer.module);
        match told(checkpoint, &layer) {
            Ok((format, shape)) => {
                (layer.format, layer.shape) = (Some(format), shape);
                layer.problem = mismatch(checkpoint, &layer);
            }
            Err(problem) => layer.problem = Some(problem),
        }
        layer
    };
    let mut layers: Vec<Layer> = layers.into_iter().map(layer).collect();
    layers.sort_by(|a, b| natural_order(&a.weight, &b.weight));
    layers
}

/// The weight that a tensor is a part of by its name, if it is a part of this name.
fn weight_of_part(name: &str, part: &str) -> Option<String> {
    if let Some(before) = name.strip_suffix(part) {
        if part.starts_with('_') {
            return Some(before.to_owned());
        }
        let joint = before.chars().next_back()?;
        return match joint {
            '.' => Some(format!("{before}weight")),
            '_' => Some(before[..before.len() - 1].to_owned()),
            _ => None,
        };
    }
    let weight = name.strip_suffix(part.strip_prefix("weight")?)?;
    grouped_weight(weight).map(|_| weight.to_owned())
}

/// What the values of a layer also depend on, and is not read here.
fn altered_by(checkpoint: &Checkpoint, module: &str) -> Option<String> {
    const TENSORS: [&str; 2] = ["pre_quant_scale", "weight_g_idx"];
    let mut named = TENSORS.iter().map(|name| format!("{module}.{name}"));
    let tensor = named.find(|name| checkpoint.index_of(name).is_some());
    let transforms = || {
        let config = checkpoint.config.as_ref()?.quantization()?;
        let groups = config.get("transform_config")?.get("config_groups")?.as_object()?;
        (!groups.is_empty()).then(|| "the transforms of its config".to_owned())
    };
    tensor.or_else(transforms)
}

/// Whether a tensor called like a weight holds codes.
fn holds_codes(tensor: &Tensor, source: Option<&Checkpoint>, ignored: &ExcludeList) -> bool {
    let carried = match source.and_then(|source| source.tensor(&tensor.name)) {
        Some(other) => other.dtype == tensor.dtype,
        None => ignored.contains(owner_of(&tensor.name)),
    };
    let is_codes = match tensor.dtype {
        Dtype::U8 => is_packed_lookalike(tensor.dtype, &tensor.name, &tensor.shape),
        // Floats of 8 bits are codes of something, in whatever form.
        Dtype::F8_E4M3 => tensor.shape.len() > 1,
        Dtype::I8 => is_weight(&tensor.name) && tensor.shape.len() == 2,
        _ => false,
    };
    is_codes && !carried
}

/// Format and shape of the weight, or what makes them unknown.
fn told(checkpoint: &Checkpoint, layer: &Layer) -> Result<(Format, Vec<u64>), String> {
    let tensor = |index: Option<usize>| index.map(|i| &checkpoint.tensors[i]);
    let module = &layer.module;
    let codes = tensor(layer.parts.codes).ok_or_else(|| format!("{module} has no weight"))?;
    let scales =
        tensor(layer.parts.scales).ok_or_else(|| format!("{module} has no weight_scale"))?;
    if codes.is_empty() {
        return Err(format!("{} has no elements", codes.name));
    }
    let unknown = || {
        let described = |t: &Tensor| format!("{} {:?}", t.dtype, t.shape);
        let (codes, scales) = (described(codes), described(scales));
        format!("{module} is in no known format: codes {codes}, scales {scales}")
    };
    let is_byte = |dtype| matches!(dtype, Dtype::U8 | Dtype::F8_E8M0);
    let dimensions = scales.shape.iter().filter(|length| **length != 1).count();
    match (codes.dtype, &codes.shape[..]) {
        (Dtype::U8, [experts, outputs, groups, bytes]) if is_byte(scales.dtype) => {
            Ok((Format::Mxfp4, vec![*experts, *outputs, groups * bytes * 2]))
        }
        (Dtype::U8, [experts, inputs, outputs]) => {
            Ok((Format::Nvfp4, vec![*experts, inputs * 2, *outputs]))
        }
        (Dtype::U8, [rows, bytes]) if scales.dtype == Dtype::F8_E4M3 => {
            Ok((Format::Nvfp4, vec![*rows, bytes * 2]))
        }
        (Dtype::U8, [rows, bytes]) if is_byte(scales.dtype) => {
            Ok((Format::Mxfp4, vec![*rows, bytes * 2]))
        }
        (Dtype::U8, [pairs, columns]) if layer.dialect == Dialect::Modelopt => {
            // This dialect has no scale for whole rows of four-bit numbers: one of them is a group.
            let across = scales.shape.get(1).copied().unwrap_or(1).max(1);
            let group = u16::try_from(columns / across).ok();
            Ok((Format::Int { bits: 4, group, symmetric: true }, vec![pairs * 2, *columns]))
        }
        (Dtype::F8_E4M3, shape @ [_, _]) if is_byte(scales.dtype) => {
            Ok((Format::Mxfp8, shape.to_vec()))
        }
        (Dtype::F8_E4M3, shape @ [rows, _]) => {
            let format = match scales.shape[..] {
                _ if scales.len() == 1 && *rows != 1 => Format::Fp8,
                [n] | [n, 1] if n == *rows => Format::Fp8Channel,
                [_, _] | [_, 1, _, 1] => Format::Fp8Block,
                _ if dimensions == 0 => Format::Fp8,
                _ => return Err(unknown()),
            };
            Ok((format, shape.to_vec()))
        }
        (Dtype::I8, shape @ [_, columns]) => {
            let across = if scales.shape.len() == 2 { scales.shape[1] } else { 1 };
            Ok((int(8, *columns, across, true), shape.to_vec()))
        }
        (Dtype::I32, [rows, words]) => {
            let stated = tensor(layer.parts.shape)
                .ok_or_else(|| format!("{module} has no {}", ct::SHAPE))?;
            let shape = read_shape(checkpoint, stated).ok_or_else(unknown)?;
            // Rows that are not stored would be gone through all the same.
            if shape[0] != *rows {
                let (name, codes) = (&stated.name, &codes.shape);
                return Err(format!("{name} says {shape:?} for codes {codes:?}"));
            }
            let bits = [4, 8].into_iter().find(|bits| (shape[1] * bits).div_ceil(32) == *words);
            let across = if scales.shape.len() == 2 { scales.shape[1] } else { 1 };
            let symmetric = layer.parts.zero_points.is_none();
            let bits = bits.ok_or_else(unknown)? as u8;
            let format = match int(bits, shape[1], across, symmetric) {
                // A scale for each row has another form in 8 bits: here the row is a group.
                Format::Int { bits: 8, group: None, symmetric: true } => {
                    let group = u16::try_from(shape[1]).ok();
                    Format::Int { bits, group: Some(group.ok_or_else(unknown)?), symmetric }
                }
                format => format,
            };
            Ok((format, shape))
        }
        _ => Err(unknown()),
    }
}

/// Whole numbers with so many scales a row.
fn int(bits: u8, columns: u64, across: u64, symmetric: bool) -> Format {
    let group = (across > 1).then(|| columns.div_ceil(across).min(u64::from(u16::MAX)) as u16);
    Format::Int { bits, group, symmetric }
}

fn read_shape(checkpoint: &Checkpoint, tensor: &Tensor) -> Option<Vec<u64>> {
    let mut bytes = [0; 16];
    if tensor.dtype != Dtype::I64 || tensor.bytes != 16 {
        return None;
    }
    checkpoint.read_at(tensor, &mut bytes, 0).ok()?;
    let numbers = bytes.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b));
    let shape: Vec<u64> = numbers.collect();
    // Far above any matrix, and far below what overflows.
    shape.iter().all(|length| (1..1 << 31).contains(length)).then_some(shape)
}

/// Compares the parts with those that the dialect has for the format. Names, dimensions of one
/// element, and which float type scales are in, are free.
fn mismatch(checkpoint: &Checkpoint, layer: &Layer) -> Option<String> {
    let format = layer.format?;
    let block = format.block_len() as u64;
    let axis = layer.shape.len().checked_sub(if layer.is_fused() { 2 } else { 1 })?;
    if !layer.shape[axis].is_multiple_of(block) {
        return Some(format!(
            "{} has rows of {}, no multiple of {block}",
            layer.module, layer.shape[axis]
        ));
    }
    if layer.dialect.stored_packing(format).is_none() {
        let dialect = layer.dialect;
        return Some(format!("{} is in a form that {dialect} does not have", layer.module));
    }
    for expected in expected_parts(layer, format) {
        let place = match expected.part {
            Part::Codes => layer.parts.codes,
            Part::Scales | Part::ScalesByGroup => layer.parts.scales,
            Part::GlobalScale => layer.parts.global_scale,
            Part::ZeroPoints => layer.parts.zero_points,
            Part::Shape => layer.parts.shape,
            Part::Verbatim => continue,
        };
        let Some(i) = place else {
            let part = expected.name.rsplit('.').next().unwrap_or_default();
            return Some(format!("{} has no {part}", layer.module));
        };
        let stored = &checkpoint.tensors[i];
        let is_float = |dtype| matches!(dtype, Dtype::F32 | Dtype::BF16 | Dtype::F16);
        let same_type = stored.dtype == expected.dtype
            || (is_float(stored.dtype) && is_float(expected.dtype))
            || (stored.dtype == Dtype::F8_E8M0 && expected.dtype == Dtype::U8);
        let squeezed = |shape: &[u64]| -> Vec<u64> {
            shape.iter().copied().filter(|length| *length != 1).collect()
        };
        if !same_type || squeezed(&stored.shape) != squeezed(&expected.shape) {
            return Some(format!(
                "{} is {} {:?}, not {} {:?}",
                stored.name, stored.dtype, stored.shape, expected.dtype, expected.shape
            ));
        }
    }
    None
}

/// The parts that a layer of a format has.
fn expected_parts(layer: &Layer, format: Format) -> Vec<Output> {
    if let ([experts, outputs, inputs], false) = (&layer.shape[..], layer.is_fused()) {
        let groups = inputs / format.block_len() as u64;
        let part = |ending: &str, shape: Vec<u64>, part| Output {
            name: format!("{}{ending}", layer.weight),
            dtype: Dtype::U8,
            shape,
            part,
        };
        let bytes = format.block_len() as u64 / 2;
        return vec![
            part(BLOCKS, vec![*experts, *outputs, groups, bytes], Part::Codes),
            part(SCALES, vec![*experts, *outputs, groups], Part::Scales),
        ];
    }
    let weight = Tensor {
        name: layer.weight.clone(),
        dtype: Dtype::BF16,
        shape: layer.shape.clone(),
        file: 0,
        offset: 0,
        bytes: 0,
        strides: None,
    };
    layer.dialect.outputs(&weight, Role::Linear, format)
}
