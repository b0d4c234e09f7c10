//! What can be verified of an ONNX model without reading weights.

use std::collections::HashSet;

use super::{Check, Opened, check};
use crate::checkpoint::{Checkpoint, Onnx};
use crate::onnx::{Document, Links, MICROSOFT, Node, TensorOwner};
use crate::quantized::shared_tables;
use crate::units::count;

/// All checks that need no weights.
pub fn checks(opened: &Opened<'_>) -> Vec<Check> {
    let checkpoint = &opened.checkpoint;
    let Some(onnx) = &checkpoint.onnx else { return Vec::new() };
    let broken = opened.layers.iter().filter_map(|layer| layer.problem.clone()).collect();
    let layers = count(opened.layers.len() as u64, "layer");
    let files = checkpoint.files.iter().filter(|file| file.file_bytes > 0).count() as u64;
    let files = format!("{} of {} tensors", count(files, "file"), checkpoint.tensors.len());
    let nodes = count(onnx.document.nodes.len() as u64, "node");
    let mut checks = vec![
        check("files", Vec::new(), files),
        check("layers", broken, format!("{layers} with codes and scales")),
        check("graph", graph(onnx), format!("{nodes}, each after those whose values it takes")),
        check("ties", Vec::new(), ties(opened)),
    ];
    if let Some((source, graph)) = opened.source.zip(opened.source.and_then(|s| s.onnx.as_ref())) {
        checks.push(check(
            "interface",
            interface(&graph.document, &onnx.document),
            "inputs, outputs, operator sets and functions of the source",
        ));
        checks.push(complete(opened, source));
        checks.push(super::structure::size(checkpoint, source));
    }
    checks
}

/// What no runtime would load, or would load and get wrong.
fn graph(onnx: &Onnx) -> Vec<String> {
    let document = &onnx.document;
    let links = Links::new(document);
    let mut problems = Vec::new();
    let own = document.nodes.iter().any(|node| node.is(MICROSOFT, &node.op_type));
    if own && !document.opsets.contains_key(MICROSOFT) {
        problems.push(format!("it does not import the operators of {MICROSOFT}"));
    }
    for (id, node) in document.nodes.iter().enumerate() {
        for value in node.inputs.iter().filter(|value| !value.is_empty()) {
            // A graph within a node comes after it, and before those that follow.
            let late = links.producer(value).is_some_and(|producer| producer >= id);
            if late || !is_known(document, &links, value) {
                problems.push(format!("{} takes {value:?}, which nothing before it gives", name(node)));
            }
        }
        if node.is(MICROSOFT, "GatherBlockQuantized") && node.input(3).is_none() {
            problems.push(format!("{} has no zero points, which CUDA takes for 0", name(node)));
        }
    }
    let unused = document.tensors.iter().filter(|tensor| {
        let in_graph = matches!(tensor.owner, TensorOwner::Graph(_));
        in_graph && links.uses(&tensor.name).is_empty() && !links.is_output(&tensor.name)
    });
    let made_here = |name: &str| ["_Q4", "_Q8", "_scales", "_zero_points"].iter().any(|e| name.ends_with(e));
    problems.extend(
        unused.filter(|tensor| made_here(&tensor.name)).map(|t| format!("nothing takes {}", t.name)),
    );
    problems
}

fn is_known(document: &Document, links: &Links<'_>, value: &str) -> bool {
    links.producer(value).is_some()
        || links.constant(value).is_some()
        || document.graphs.iter().any(|graph| graph.inputs.iter().any(|input| input == value))
        // Sparse initializers have the name of their values.
        || document.tensors.iter().any(|tensor| tensor.name == value)
}

fn name(node: &Node) -> String {
    match node.name.as_str() {
        "" => format!("{} of {:?}", node.op_type, node.outputs.first().map_or("", String::as_str)),
        name => name.to_owned(),
    }
}

/// Which nodes read the codes of a table.
fn ties(opened: &Opened<'_>) -> String {
    let shared = shared_tables(&opened.checkpoint);
    let said = shared.iter().map(|(node, table)| format!("{node} reads the codes of {table}"));
    if shared.is_empty() {
        "no table is shared".to_owned()
    } else {
        said.collect::<Vec<_>>().join(", ")
    }
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

/// Every tensor of the source is there, or a layer stands for it.
fn complete(opened: &Opened<'_>, source: &Checkpoint) -> Check {
    let weights: HashSet<&str> = opened.layers.iter().map(|layer| layer.weight.as_str()).collect();
    let has = |name: &str| opened.checkpoint.tensor(name).is_some() || weights.contains(name);
    let lost = source.tensors.iter().filter(|tensor| !has(&tensor.name));
    let problems = lost.map(|tensor| format!("{} of the source is missing", tensor.name)).collect();
    check("complete", problems, format!("all {} tensors of the source", source.tensors.len()))
}
