//! Layers that are stored as ExecuTorch's packed constants, told from what headers say.

use std::collections::{BTreeMap, HashMap};

use super::{Layer, PackedAs, Parts};
use crate::checkpoint::{Checkpoint, Dtype};
use crate::dialect::Dialect;
use crate::dialect::q4gsw::{self, Packed, ScalesLayout};
use crate::format::Format;
use crate::model::natural_order;

/// Finds every weight that a header speaks of, heads that read the codes of a table among them.
pub fn find(checkpoint: &Checkpoint) -> Vec<Layer> {
    let mut layers = Vec::new();
    for (weight, packed) in stated(checkpoint) {
        match packed {
            Ok(packed) => layers.extend(layers_of(checkpoint, weight, &packed)),
            Err(problem) => {
                let mut layer = Layer::of(weight.to_owned(), Dialect::Q4gsw, Parts::default());
                layer.problem = Some(format!("{weight}: {problem}"));
                layers.push(layer);
            }
        }
    }
    refuse_shared_scales(checkpoint, &mut layers);
    // What table and head have in common is the table's.
    let reads_table = |layer: &Layer| layer.packed_as.is_some_and(|packed| packed.reads_table);
    layers.sort_by(|a, b| {
        let order = reads_table(a).cmp(&reads_table(b));
        order.then_with(|| natural_order(&a.weight, &b.weight))
    });
    layers
}

/// What all headers say of packed weights.
pub fn stated(checkpoint: &Checkpoint) -> BTreeMap<&str, Result<Packed, String>> {
    checkpoint.metadata().flat_map(q4gsw::stated).collect()
}

/// The weight itself, and the head that reads its codes.
fn layers_of(checkpoint: &Checkpoint, weight: &str, packed: &Packed) -> Vec<Layer> {
    let layer = |weight: &str, scales: &str, order: ScalesLayout, reads_table: bool| {
        let (codes, scales) = (checkpoint.index_of(&packed.packed), checkpoint.index_of(scales));
        let parts = Parts { codes, scales, ..Parts::default() };
        let mut layer = Layer::of(weight.to_owned(), Dialect::Q4gsw, parts);
        layer.packed_as = Some(PackedAs {
            packing: packed.packing(),
            scales_by_group: order == ScalesLayout::ByGroup,
            reads_table,
        });
        match told(checkpoint, &layer, packed) {
            Ok(format) => (layer.format, layer.shape) = (Some(format), packed.shape.to_vec()),
            Err(problem) => layer.problem = Some(format!("{weight}: {problem}")),
        }
        layer
    };
    let own = layer(weight, &packed.scales_tensor, packed.scales, false);
    let head = packed.head.as_ref();
    let head = head.map(|head| layer(&head.weight, &head.scales_tensor, head.scales, true));
    [own].into_iter().chain(head).collect()
}

/// The format of a weight, or what is wrong with its parts.
fn told(checkpoint: &Checkpoint, layer: &Layer, packed: &Packed) -> Result<Format, String> {
    let tensor = |index: Option<usize>| index.map(|i| &checkpoint.tensors[i]);
    let codes = tensor(layer.parts.codes).ok_or("it has no packed codes")?;
    let scales = tensor(layer.parts.scales).ok_or("it has no scales")?;
    if !packed.is_consistent() {
        return Err(
            "its header contradicts itself: operator, nibbles and order of scales".to_owned()
        );
    }
    let ([rows, columns], group) = (packed.shape, packed.group_size);
    let fits = rows > 0 && columns > 0 && group > 0 && columns % group == 0;
    // Far above any matrix, and far below what overflows.
    if !fits || rows >= 1 << 31 || columns >= 1 << 31 {
        return Err(format!("[{rows}, {columns}] weights have no groups of {group}"));
    }
    let row_bytes = crate::format::q4gsw::row_bytes(columns as usize) as u64;
    if codes.dtype != Dtype::U8 || codes.shape[..] != [rows, row_bytes] {
        let (dtype, shape) = (codes.dtype, &codes.shape);
        return Err(format!("its codes are {dtype} {shape:?}, not U8 [{rows}, {row_bytes}]"));
    }
    let groups = columns / group;
    let order = match layer.packed_as.is_some_and(|packed| packed.scales_by_group) {
        true => ScalesLayout::ByGroup,
        false => ScalesLayout::ByRow,
    };
    let expected = order.shape(rows, groups);
    let is_float = scales.float_kind().is_some() && scales.dtype != Dtype::F64;
    if !is_float || scales.shape != expected {
        let (dtype, shape) = (scales.dtype, &scales.shape);
        return Err(format!("its scales are {dtype} {shape:?}, not floats {expected:?}"));
    }
    let group = if groups == 1 { None } else { Some(group) };
    let group = group.map(u16::try_from).transpose().map_err(|_| "its groups are too long")?;
    Ok(Format::Int { bits: 4, group, symmetric: true })
}

/// The operators of table and head read scales in different orders: one tensor cannot serve both. Nor are
/// those of one weight another's.
fn refuse_shared_scales(checkpoint: &Checkpoint, layers: &mut [Layer]) {
    let mut first: HashMap<(usize, u64), String> = HashMap::new();
    for layer in layers {
        let Some(scales) = layer.parts.scales.map(|i| &checkpoint.tensors[i]) else { continue };
        let place = (scales.file, scales.offset);
        if let Some(other) = first.insert(place, layer.weight.clone()) {
            layer.problem = Some(format!(
                "{} serves both {other} and {}: each needs scales of its own, in the order that its \
                 operator reads",
                scales.name, layer.weight
            ));
        }
    }
}
