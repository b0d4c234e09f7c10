//! Layers of an ONNX model whose floats `DequantizeLinear` makes of blocks.

use std::collections::HashSet;

use super::graph::weight_of_codes;
use super::{Layer, Parts};
use crate::checkpoint::{Checkpoint, Dtype, Onnx};
use crate::dialect::{Dialect, onnx_qdq};
use crate::format::Format;
use crate::model::module_of;
use crate::onnx::{ElementType, Links, Node};

/// Finds every node that makes floats of an initializer's blocks. A layer is called after its codes. With
/// a source, each of its weights that is now made of such floats, turned round or not, is a layer too.
pub fn find(checkpoint: &Checkpoint, source: Option<&Checkpoint>) -> Vec<Layer> {
    let Some(graph) = &checkpoint.onnx else { return Vec::new() };
    let links = Links::new(&graph.document);
    let nodes = graph.document.nodes.iter();
    let found = nodes.filter_map(|node| Some((node, layer(checkpoint, graph, &links, node)?)));
    let Some((source, was)) = source.and_then(|source| Some((source, source.onnx.as_ref()?)))
    else {
        return found.map(|(_, layer)| layer).collect();
    };
    // What the source had in a form that is not read here is none of ours.
    let nodes = &was.document.nodes;
    let is_ours = |(node, layer): &(&Node, Layer)| layer.problem.is_none() || !nodes.contains(node);
    let mut layers: Vec<Layer> = found.filter(is_ours).map(|(_, layer)| layer).collect();
    let names: HashSet<String> = layers.iter().map(|layer| layer.weight.clone()).collect();
    for (index, tensor) in source.tensors.iter().enumerate() {
        let is_there = checkpoint.tensor(&tensor.name).is_some() || names.contains(&tensor.name);
        let made = || dequantized(graph, &links, &was.initializer(index).name);
        if let (false, Some(node)) = (is_there, made()) {
            let found = layer(checkpoint, graph, &links, node);
            layers.extend(found.map(|layer| Layer {
                module: module_of(&tensor.name).to_owned(),
                weight: tensor.name.clone(),
                ..layer
            }));
        }
    }
    layers
}

/// Tables that several nodes read: each by its name, with the number of them.
pub fn shared(checkpoint: &Checkpoint) -> Vec<(String, usize)> {
    let Some(graph) = &checkpoint.onnx else { return Vec::new() };
    let links = Links::new(&graph.document);
    let shared = graph.document.nodes.iter().filter_map(|node| {
        let layer = layer(checkpoint, graph, &links, node)?;
        let takers = links.uses(node.outputs.first()?).len();
        (takers > 1).then_some((layer.weight, takers))
    });
    shared.collect()
}

/// The node that makes a value of codes, be it turned round after.
fn dequantized<'a>(graph: &'a Onnx, links: &Links<'_>, value: &str) -> Option<&'a Node> {
    let mut node = &graph.document.nodes[links.producer(value)?];
    // A copy of a transposed table is two nodes away from its codes.
    for _ in 0..3 {
        if !["Transpose", "Identity"].iter().any(|op_type| node.is("", op_type)) {
            break;
        }
        node = &graph.document.nodes[links.producer(node.input(0)?)?];
    }
    node.is("", "DequantizeLinear").then_some(node)
}

fn layer(checkpoint: &Checkpoint, graph: &Onnx, links: &Links<'_>, node: &Node) -> Option<Layer> {
    if !node.is("", "DequantizeLinear") || node.int("block_size").unwrap_or(0) == 0 {
        return None;
    }
    let part = |input: usize| graph.index_of(links, node.input(input)?);
    let codes = part(0)?;
    let weight = weight_of_codes(&checkpoint.tensors[codes].name);
    let (scales, zero_points) = (part(1), part(2));
    let parts = Parts { codes: Some(codes), scales, zero_points, ..Parts::default() };
    let mut layer = Layer::of(weight, Dialect::OnnxQdq, parts);
    match told(checkpoint, graph, node, codes, parts) {
        Ok((format, shape)) => (layer.format, layer.shape) = (Some(format), shape),
        Err(problem) => layer.problem = Some(format!("{}: {problem}", node.label())),
    }
    Some(layer)
}

/// Format and shape of the weight of a node, or what is wrong with it.
fn told(
    checkpoint: &Checkpoint,
    graph: &Onnx,
    node: &Node,
    codes: usize,
    parts: Parts,
) -> Result<(Format, Vec<u64>), String> {
    let tensor = |index: Option<usize>| index.map(|i| &checkpoint.tensors[i]);
    let stored = graph.initializer(codes);
    let [rows, columns] = stored.dims[..] else {
        return Err(format!("its codes are {:?}, no matrix", stored.dims));
    };
    let (bits, signed) = match stored.element_type {
        ElementType::Int4 => (4, true),
        ElementType::Uint4 => (4, false),
        ElementType::Int8 => (8, true),
        ElementType::Uint8 => (8, false),
        other => {
            return Err(format!("its codes are {}, which is not read here", other.as_str_name()));
        }
    };
    if !matches!(node.int("axis"), None | Some(1 | -1)) {
        return Err("its blocks run down columns, which is not read here".to_owned());
    }
    let symmetric = match (signed, node.input(2)) {
        (true, None) => true,
        (false, Some(_)) => false,
        (true, Some(_)) => {
            return Err("its signed codes have zero points: not read here".to_owned());
        }
        (false, None) => return Err("its codes are all above zero: not read here".to_owned()),
    };
    let block = node.int("block_size").and_then(|block| u16::try_from(block).ok());
    let format = Format::Int { bits, group: block, symmetric };
    let fits = |group: u16| onnx_qdq::packing(format).is_some() && columns % u64::from(group) == 0;
    let Some(group) = block.filter(|group| fits(*group)) else {
        return Err(format!(
            "its rows of {columns} have blocks of {}, where whole ones of 16 to 256 are read here",
            node.int("block_size").unwrap_or(0)
        ));
    };
    let across = columns / u64::from(group);
    if onnx_qdq::has_odd_zero_points(format, columns) {
        return Err(format!("its rows have {across} zero points, which are no whole bytes"));
    }
    let scales = tensor(parts.scales).ok_or("its scales are no initializer")?;
    if scales.float_kind().is_none() || scales.dtype == Dtype::F64 {
        return Err(format!("its scales are {}, no floats", scales.dtype));
    }
    if scales.shape != [rows, across] {
        return Err(format!("its scales are {:?}, not [{rows}, {across}]", scales.shape));
    }
    if !symmetric {
        let index = parts.zero_points.ok_or("its zero points are no initializer")?;
        let zero_points = graph.initializer(index);
        let is_same = zero_points.element_type == stored.element_type;
        if zero_points.dims != [rows, across] || !is_same {
            return Err(format!(
                "its zero points are {} {:?}, not {} [{rows}, {across}]",
                zero_points.element_type.as_str_name(),
                zero_points.dims,
                stored.element_type.as_str_name()
            ));
        }
    }
    Ok((format, vec![rows, columns]))
}
