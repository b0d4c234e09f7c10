//! The quantized layers of an ONNX model, told from its nodes.

use std::collections::{HashMap, HashSet};

use super::{Layer, Parts, qdq};
use crate::checkpoint::{Checkpoint, Dtype, Onnx, Tensor};
use crate::dialect::{Dialect, onnx};
use crate::format::Format;
use crate::model::{FusedExperts, Model, module_of, natural_order};
use crate::onnx::{Links, MICROSOFT, Node};

/// Finds every node that multiplies by quantized weights, takes rows of a quantized table, or makes floats
/// of either.
///
/// A layer is called after the weight of the source whose layer gives the same value; without a
/// source, after its codes. Layers that read the codes of another one are layers of their own.
pub fn find(checkpoint: &Checkpoint, source: Option<&Checkpoint>) -> Vec<Layer> {
    let Some(graph) = &checkpoint.onnx else { return Vec::new() };
    let links = Links::new(&graph.document);
    let sources = source.map(weights_by_output).unwrap_or_default();
    let mut layers: Vec<Layer> = Vec::new();
    let (mut names, mut seen) = (HashSet::new(), HashSet::new());
    for node in &graph.document.nodes {
        let Some(inputs) = Inputs::of(node) else { continue };
        let mut layer = read(checkpoint, graph, &links, node, inputs);
        let output = node.outputs.first().map_or("", String::as_str);
        if let Some(weight) = sources.get(&(node.graph, output.to_owned())) {
            layer.weight.clone_from(weight);
        } else if names.contains(&layer.weight) {
            layer.weight = format!("{} as {output}", layer.weight);
        }
        layer.module = module_of(&layer.weight).to_owned();
        // A table that several nodes take, or a matrix, is one layer.
        names.insert(layer.weight.clone());
        if seen.insert((layer.weight.clone(), layer.parts)) {
            layers.push(layer);
        }
    }
    layers.extend(qdq::find(checkpoint, source));
    layers.sort_by(|a, b| natural_order(&a.weight, &b.weight));
    layers
}

/// Nodes that multiply by the codes of a table, each with the name of the table's codes.
pub fn shared_tables(checkpoint: &Checkpoint) -> Vec<(String, String)> {
    let Some(graph) = &checkpoint.onnx else { return Vec::new() };
    let links = Links::new(&graph.document);
    // Two tensors may be one range of bytes.
    let place = |node: &Node, inputs: &Inputs| {
        let codes = part(graph, &links, node, inputs.codes)?;
        let tensor = &checkpoint.tensors[codes];
        Some((tensor.file, tensor.offset))
    };
    let nodes = || {
        let nodes = graph.document.nodes.iter();
        nodes.filter_map(|node| {
            let inputs = Inputs::of(node)?;
            Some((node, inputs.is_table, place(node, &inputs)?))
        })
    };
    let (tables, matrices): (Vec<_>, Vec<_>) = nodes().partition(|(_, is_table, _)| *is_table);
    let tables: HashMap<(usize, u64), &Node> =
        tables.into_iter().map(|(node, _, at)| (at, node)).collect();
    let shared = matrices.into_iter().filter_map(|(node, _, at)| {
        let codes = tables.get(&at)?.input(0)?;
        Some((node.label(), weight_of_codes(codes)))
    });
    shared.collect()
}

/// The weight of each layer of a float model, by the graph that the layer is in and the value that it gives.
fn weights_by_output(source: &Checkpoint) -> HashMap<(usize, String), String> {
    let model = Model::new(source, FusedExperts::Packed);
    let Some(graph) = &source.onnx else { return HashMap::new() };
    let mut weights = HashMap::new();
    for member in model.members.iter().filter(|member| member.is_weight) {
        for layer in &model.uses[member.index].layers {
            let node = &graph.document.nodes[layer.node];
            let output = node.outputs.first().map(|output| (node.graph, output.clone()));
            weights.extend(output.map(|output| (output, member.tensor.name.clone())));
        }
    }
    weights
}

/// Which inputs of a node are the parts of its layer.
struct Inputs {
    is_table: bool,
    codes: usize,
    scales: usize,
    zero_points: usize,
}

impl Inputs {
    fn of(node: &Node) -> Option<Self> {
        if node.is(MICROSOFT, "MatMulNBits") {
            Some(Self { is_table: false, codes: 1, scales: 2, zero_points: 3 })
        } else if node.is(MICROSOFT, "GatherBlockQuantized") {
            Some(Self { is_table: true, codes: 0, scales: 2, zero_points: 3 })
        } else {
            None
        }
    }
}

fn read(
    checkpoint: &Checkpoint,
    graph: &Onnx,
    links: &Links<'_>,
    node: &Node,
    inputs: Inputs,
) -> Layer {
    let part = |input: usize| part(graph, links, node, input);
    let parts = Parts {
        codes: part(inputs.codes),
        scales: part(inputs.scales),
        zero_points: part(inputs.zero_points),
        ..Parts::default()
    };
    let codes_name = parts.codes.map(|i| checkpoint.tensors[i].name.as_str());
    let weight = codes_name.map_or_else(|| node.name.clone(), weight_of_codes);
    let mut layer = Layer { is_table: inputs.is_table, ..Layer::of(weight, Dialect::Onnx, parts) };
    match told(checkpoint, node, &layer) {
        Ok((format, shape)) => (layer.format, layer.shape) = (Some(format), shape),
        Err(problem) => layer.problem = Some(format!("{}: {problem}", node.label())),
    }
    layer
}

/// The tensor that a node takes, also in another shape: the codes of a table as those of a matrix.
pub fn part(graph: &Onnx, links: &Links<'_>, node: &Node, input: usize) -> Option<usize> {
    let value = node.input(input)?;
    graph.index_of(links, value).or_else(|| {
        let reshape = &graph.document.nodes[links.producer(value)?];
        reshape.is("", "Reshape").then(|| graph.index_of(links, reshape.input(0)?))?
    })
}

/// The name of the weight that codes of that name stand for.
pub fn weight_of_codes(name: &str) -> String {
    let name = name.strip_suffix("_blocks").unwrap_or(name);
    let endings = [onnx::codes_ending(4), onnx::codes_ending(8)];
    let weight = endings.iter().find_map(|ending| name.strip_suffix(ending.as_str()));
    weight.unwrap_or(name).to_owned()
}

/// Format and shape of the weight of a node, or what is wrong with it.
fn told(checkpoint: &Checkpoint, node: &Node, layer: &Layer) -> Result<(Format, Vec<u64>), String> {
    let tensor = |index: Option<usize>| index.map(|i| &checkpoint.tensors[i]);
    let codes = tensor(layer.parts.codes).ok_or("its codes are no initializer")?;
    let scales = tensor(layer.parts.scales).ok_or("its scales are no initializer")?;
    if !layer.is_table && node.input(4).is_some() {
        return Err("it has a g_idx, with which ONNX Runtime gives wrong results".to_owned());
    }
    let bits = node.int("bits").unwrap_or(4);
    let block = node.int("block_size").unwrap_or(if layer.is_table { 128 } else { 0 });
    let (Ok(bits @ (4 | 8)), Ok(group)) = (u8::try_from(bits), u16::try_from(block)) else {
        return Err(format!(
            "its codes have {bits} bits in blocks of {block}, and are not read here"
        ));
    };
    if !(16..=1024).contains(&group) || !group.is_power_of_two() {
        return Err(format!("its blocks have {group} codes, where 16 to 1024 may be"));
    }
    if codes.dtype != Dtype::U8 {
        return Err(format!("its codes are {}, not U8", codes.dtype));
    }
    let shape = match (layer.is_table, &codes.shape[..]) {
        (true, [rows, bytes]) => vec![*rows, bytes.saturating_mul(8 / u64::from(bits))],
        (true, shape) => return Err(format!("its codes are {shape:?}, no matrix")),
        (false, _) => {
            let length = |name| node.int(name).and_then(|n| u64::try_from(n).ok());
            let rows = length("N").ok_or("it has no N")?;
            vec![rows, length("K").ok_or("it has no K")?]
        }
    };
    // Far above any matrix, and far below what overflows.
    if !shape.iter().all(|length| (1..1 << 31).contains(length)) {
        return Err(format!("its weight would be {shape:?}, which no matrix is"));
    }
    let symmetric = match tensor(layer.parts.zero_points) {
        None if node.input(3).is_some() => {
            return Err("its zero points are no initializer".to_owned());
        }
        None => true,
        Some(zero_points) if zero_points.dtype != Dtype::U8 => {
            return Err(format!("its zero points are {}, not U8", zero_points.dtype));
        }
        Some(zero_points) => are_in_the_middle(checkpoint, zero_points, bits),
    };
    let format = Format::Int { bits, group: Some(group), symmetric };
    let expected = [
        (codes.len(), "codes", layer_packing(layer, format, &shape)),
        (scales.len(), "scales", shape[0] * shape[1].div_ceil(group.into())),
    ];
    for (found, what, needed) in expected {
        if found != needed {
            return Err(format!("it has {found} bytes or numbers of {what}, not {needed}"));
        }
    }
    if let Some(zero_points) = tensor(layer.parts.zero_points) {
        let across = shape[1].div_ceil(group.into());
        let needed = shape[0] * (across * u64::from(bits)).div_ceil(8);
        if zero_points.len() != needed {
            return Err(format!("it has {} bytes of zero points, not {needed}", zero_points.len()));
        }
    }
    if scales.float_kind().is_none() || scales.dtype == Dtype::F64 {
        return Err(format!("its scales are {}, no floats", scales.dtype));
    }
    Ok((format, shape))
}

/// Bytes that the codes of a weight take.
fn layer_packing(layer: &Layer, format: Format, shape: &[u64]) -> u64 {
    let packing = Layer { format: Some(format), ..layer.clone() }.packing();
    packing.map_or(0, |packing| packing.bytes(shape[0] as usize, shape[1] as usize) as u64)
}

/// Whether all zero points are 2^(bits − 1), as of a weight that has none.
pub fn are_in_the_middle(checkpoint: &Checkpoint, zero_points: &Tensor, bits: u8) -> bool {
    // The other nibble of a last byte may be anything, but ONNX Runtime makes it the same.
    are_all(checkpoint, zero_points, if bits == 4 { 0x88 } else { 0x80 })
}

/// Whether every byte of a tensor can be read and is this one.
pub fn are_all(checkpoint: &Checkpoint, tensor: &Tensor, byte: u8) -> bool {
    const CHUNK_BYTES: u64 = 1 << 20;
    let mut buffer = Vec::new();
    let mut at = 0;
    while at < tensor.bytes {
        buffer.resize((tensor.bytes - at).min(CHUNK_BYTES) as usize, 0);
        let read = checkpoint.read_at(tensor, &mut buffer, at);
        if read.is_err() || buffer.iter().any(|found| *found != byte) {
            return false;
        }
        at += buffer.len() as u64;
    }
    true
}
