//! What can be verified of an ONNX model without reading weights.

use std::collections::HashSet;

use super::{Check, Opened, check};
use crate::checkpoint::{Checkpoint, CheckpointError, Onnx, Stored, Tensor, equal_bytes};
use crate::dialect::onnx;
use crate::onnx::{Document, Links, MICROSOFT, Node, TensorOwner, scope};
use crate::quantized::{part, shared_floats, shared_tables};
use crate::units::count;

/// What the names of tensors end in that an export adds.
const ENDINGS: [&str; 4] = ["_Q4", "_Q8", onnx::SCALES, onnx::ZERO_POINTS];

/// All checks that need no weights, those aside of tensors that others stand for.
pub fn checks(opened: &Opened<'_>) -> Result<Vec<Check>, CheckpointError> {
    let checkpoint = &opened.checkpoint;
    let Some(onnx) = &checkpoint.onnx else { return Ok(Vec::new()) };
    let broken = opened.layers.iter().filter_map(|layer| layer.problem.clone()).collect();
    let layers = count(opened.layers.len() as u64, "layer");
    let files = checkpoint.files.iter().filter(|file| file.file_bytes > 0).count() as u64;
    let files = format!("{} of {} tensors", count(files, "file"), checkpoint.tensors.len());
    let nodes = count(onnx.document.nodes.len() as u64, "node");
    let mut checks = vec![
        check("files", Vec::new(), files),
        check("layers", broken, format!("{layers} with codes and scales")),
        check(
            "graph",
            graph(onnx, opened.source.and_then(|s| s.onnx.as_ref())),
            format!("{nodes}, each after those whose values it takes"),
        ),
        check("ties", Vec::new(), ties(opened)),
    ];
    if let Some((source, graph)) = opened.source.zip(opened.source.and_then(|s| s.onnx.as_ref())) {
        checks.push(check(
            "interface",
            interface(&graph.document, &onnx.document),
            "inputs, outputs, operator sets and functions of the source",
        ));
        checks.push(complete(opened, source)?);
        checks.push(super::structure::size(opened, source));
    }
    Ok(checks)
}

/// What no runtime would load, or would load and get wrong.
fn graph(onnx: &Onnx, source: Option<&Onnx>) -> Vec<String> {
    let document = &onnx.document;
    let links = Links::new(document);
    let mut problems = Vec::new();
    let own = document.nodes.iter().any(|node| node.is(MICROSOFT, &node.op_type));
    if own && !document.opsets.contains_key(MICROSOFT) {
        problems.push(format!("it does not import the operators of {MICROSOFT}"));
    }
    // What was so before is for its maker to mend.
    let were = source.map(|source| scope::problems(&source.document)).unwrap_or_default();
    problems.extend(scope::problems(document).into_iter().filter(|found| !were.contains(found)));
    for node in &document.nodes {
        let was_so = |source: &Onnx| source.document.nodes.iter().any(|other| other == node);
        let lacks_zero_points =
            node.is(MICROSOFT, "GatherBlockQuantized") && node.input(3).is_none();
        if lacks_zero_points && !source.is_some_and(was_so) {
            problems.push(format!("{} has no zero points, which CUDA takes for 0", node.label()));
        }
    }
    let unused = document.tensors.iter().filter(|tensor| {
        let in_graph = matches!(tensor.owner, TensorOwner::Graph(_));
        in_graph && links.uses(&tensor.name).is_empty() && !links.is_output(&tensor.name)
    });
    let was_there = |name: &str| {
        source.is_some_and(|source| source.document.tensors.iter().any(|other| other.name == name))
    };
    let made_here = |name: &str| ENDINGS.iter().any(|ending| name.ends_with(ending));
    let unused = unused.filter(|tensor| made_here(&tensor.name) && !was_there(&tensor.name));
    problems.extend(unused.map(|tensor| format!("nothing takes {}", tensor.name)));
    problems
}

/// Which nodes read the codes of a table.
fn ties(opened: &Opened<'_>) -> String {
    let shared = shared_tables(&opened.checkpoint);
    let shared = shared.iter().map(|(node, table)| format!("{node} reads the codes of {table}"));
    let floats = shared_floats(&opened.checkpoint);
    let floats = floats.iter().map(|(table, nodes)| format!("{nodes} nodes take {table}"));
    let said: Vec<String> = shared.chain(floats).collect();
    if said.is_empty() { "no table is shared".to_owned() } else { said.join(", ") }
}

/// What callers of the source would miss.
fn interface(source: &Document, document: &Document) -> Vec<String> {
    let mut problems = Vec::new();
    let initializers = |document: &Document| -> HashSet<String> {
        document.tensors.iter().map(|tensor| tensor.name.clone()).collect()
    };
    let constant = initializers(source);
    let (was, is) = (&source.graphs[0], &document.graphs[0]);
    let inputs = was.inputs.iter().filter(|name| !constant.contains(*name));
    problems.extend(
        inputs.filter(|name| !is.inputs.contains(name)).map(|name| format!("no input {name:?}")),
    );
    if was.outputs != is.outputs {
        problems.push(format!("outputs {:?}, not {:?}", is.outputs, was.outputs));
    }
    for (domain, version) in &source.opsets {
        if document.opsets.get(domain) != Some(version) {
            problems.push(format!("another version of the operators of {domain:?}"));
        }
    }
    problems
}

/// Every tensor of the source is there, or a layer stands for it, or another tensor that it equals.
fn complete(opened: &Opened<'_>, source: &Checkpoint) -> Result<Check, CheckpointError> {
    let weights: HashSet<&str> = opened.layers.iter().map(|layer| layer.weight.as_str()).collect();
    let has = |name: &str| opened.checkpoint.tensor(name).is_some() || weights.contains(name);
    let mut problems = Vec::new();
    for tensor in source.tensors.iter().filter(|tensor| !has(&tensor.name)) {
        if !stands_elsewhere(opened, source, tensor)? {
            problems.push(format!("{} of the source is missing", tensor.name));
        }
    }
    Ok(check("complete", problems, format!("all {} tensors of the source", source.tensors.len())))
}

/// Whether every node that takes a tensor of the source takes one with the same elements now.
fn stands_elsewhere(
    opened: &Opened<'_>,
    source: &Checkpoint,
    tensor: &Tensor,
) -> Result<bool, CheckpointError> {
    let (Some(was), Some(is), Some(index)) =
        (&source.onnx, &opened.checkpoint.onnx, source.index_of(&tensor.name))
    else {
        return Ok(false);
    };
    let value = &was.initializer(index).name;
    let links = Links::new(&is.document);
    // The value may be made of another tensor, by a node that only turns it round.
    if let Some(node) = links.producer(value).map(|id| &is.document.nodes[id]) {
        let other = node.input(0).and_then(|input| is.index_of(&links, input));
        let Some(other) = other.map(|other| &opened.checkpoint.tensors[other]) else {
            return Ok(false);
        };
        return match node.op_type.as_str() {
            "Identity" => equal((source, tensor), (&opened.checkpoint, other)),
            "Transpose" => transposes(source, tensor, &opened.checkpoint, other),
            _ => Ok(false),
        };
    }
    let was_links = Links::new(&was.document);
    for taken in was_links.uses(value) {
        let node = &was.document.nodes[taken.node];
        let same_output =
            |other: &&Node| (other.graph, &other.outputs) == (node.graph, &node.outputs);
        let now = is.document.nodes.iter().find(same_output);
        let part = now.and_then(|now| part(is, &links, now, taken.input));
        let Some(part) = part else { return Ok(false) };
        let part = &opened.checkpoint.tensors[part];
        if !equal((source, tensor), (&opened.checkpoint, part))? {
            return Ok(false);
        }
    }
    Ok(!was_links.uses(value).is_empty())
}

fn equal(a: Stored<'_>, b: Stored<'_>) -> Result<bool, CheckpointError> {
    equal_bytes(a, b, || true)
}

/// Whether a matrix of the source is another one with rows and columns changed.
fn transposes(
    source: &Checkpoint,
    tensor: &Tensor,
    checkpoint: &Checkpoint,
    other: &Tensor,
) -> Result<bool, CheckpointError> {
    let ([rows, columns], [other_rows, other_columns]) = (&tensor.shape[..], &other.shape[..])
    else {
        return Ok(false);
    };
    let shape = vec![*columns, *rows];
    let view = Tensor { shape, strides: Some(vec![1, *columns]), ..tensor.clone() };
    let fits = (rows, columns, tensor.dtype) == (other_columns, other_rows, other.dtype);
    Ok(fits && equal((source, &view), (checkpoint, other))?)
}
