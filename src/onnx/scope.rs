//! Which values each node can see.

use std::collections::HashSet;

use super::document::{Document, TensorOwner};

/// What is wrong with the values of a model: nodes that take what nothing before them gives, values that
/// are given twice, outputs that nothing gives. Empty for a model that runtimes can order.
pub fn problems(document: &Document) -> Vec<String> {
    let mut problems = Vec::new();
    let mut defined: Vec<HashSet<&str>> = document
        .graphs
        .iter()
        .map(|graph| graph.inputs.iter().map(String::as_str).collect())
        .collect();
    let mut anywhere: HashSet<&str> = HashSet::new();
    for tensor in &document.tensors {
        match tensor.owner {
            // An initializer may be the value that an input has unless another is given.
            TensorOwner::Graph(graph) => drop(defined[graph].insert(&tensor.name)),
            // Sparse initializers have the name of their values.
            TensorOwner::Other => drop(anywhere.insert(&tensor.name)),
            TensorOwner::Node(_) => {}
        }
    }
    let sees = |defined: &[HashSet<&str>], graph: usize, value: &str| {
        let around = |graph: &usize| document.graphs[*graph].around;
        let mut graphs = std::iter::successors(Some(graph), around);
        anywhere.contains(value) || graphs.any(|graph| defined[graph].contains(value))
    };
    // Nodes within a node come after it, and before those that follow.
    for node in &document.nodes {
        for value in node.inputs.iter().filter(|value| !value.is_empty()) {
            if !sees(&defined, node.graph, value) {
                let label = node.label();
                problems.push(format!("{label} takes {value:?}, which nothing before it gives"));
            }
        }
        for value in node.outputs.iter().filter(|value| !value.is_empty()) {
            if !defined[node.graph].insert(value) {
                problems.push(format!("{} gives {value:?}, which is there already", node.label()));
            }
        }
    }
    for (graph, found) in document.graphs.iter().enumerate() {
        let missing = found.outputs.iter().filter(|output| !sees(&defined, graph, output));
        problems.extend(missing.map(|output| format!("nothing gives the output {output:?}")));
    }
    problems
}
