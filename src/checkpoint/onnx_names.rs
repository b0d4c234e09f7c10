//! What the tensors of an ONNX model are called.

use std::collections::{HashMap, HashSet};

use crate::onnx::{self, Document, Links};

/// A name for each tensor of a model, no two alike. An exporter often keeps the names of modules for
/// nodes and numbers weights (`onnx::MatMul_3281`): these are called after the node that takes them.
pub fn names<'a>(document: &'a Document) -> Vec<String> {
    let links = Links::new(document);
    let own: HashSet<&str> = document.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let mut taken: HashSet<String> = HashSet::new();
    // The number that the next of one name gets: graphs within graphs may all have it.
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let name = |tensor: &'a onnx::Tensor| {
        let told = match says_what_it_is(&tensor.name) {
            true => None,
            false => name_by_use(document, &links, &tensor.name),
        };
        let told = told.filter(|name| !own.contains(name.as_str()) && !taken.contains(name));
        let mut name = told.unwrap_or_else(|| tensor.name.clone());
        let number = numbers.entry(&tensor.name).or_insert(2);
        while !taken.insert(name.clone()) {
            name = format!("{}#{number}", tensor.name);
            *number += 1;
        }
        name
    };
    document.tensors.iter().map(name).collect()
}

/// Whether a name has the parts of a path to a module.
fn says_what_it_is(name: &str) -> bool {
    !name.contains("::") && name.contains(['.', '/'])
}

/// A name in the manner of the checkpoints that models are exported from, after the node that takes
/// a value: `/model/layers.0/mlp/up_proj/MatMul` takes `model.layers.0.mlp.up_proj.weight`.
fn name_by_use(document: &Document, links: &Links<'_>, value: &str) -> Option<String> {
    let mut taken = links.uses(value).first()?;
    if document.nodes[taken.node].is("", "Transpose") {
        taken = links.uses(document.nodes[taken.node].outputs.first()?).first()?;
    }
    let node = &document.nodes[taken.node];
    let parameter = match (node.op_type.as_str(), taken.input) {
        ("MatMulNBits" | "Gemm", 2) | ("Add", _) => "bias",
        ("MatMul" | "Gemm" | "Conv" | "MatMulNBits", 1)
        | ("Gather" | "GatherBlockQuantized", 0) => "weight",
        _ => return None,
    };
    let (module, last) = node.name.trim_matches('/').rsplit_once('/')?;
    last.starts_with(node.op_type.as_str())
        .then(|| format!("{}.{parameter}", module.replace('/', ".")))
}
