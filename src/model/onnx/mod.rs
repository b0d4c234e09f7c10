//! What the tensors of an ONNX model are: told from the nodes that take them.

mod tie;
mod uses;

use super::{InputAxis, Member, Role, natural_order, role_of};
use crate::checkpoint::{Checkpoint, Onnx, Tensor};
use crate::onnx::{Document, Links, TensorOwner};

pub use tie::tie;
pub use uses::{LayerUse, Operator, TensorUses};

use tie::codes_tables;

/// The members of a model, in natural order of their names, and who takes each stored tensor.
/// Matrices are `[outputs, inputs]`, read across the stored ones where these are transposed.
pub fn members(checkpoint: &Checkpoint, graph: &Onnx) -> (Vec<Member>, Vec<TensorUses>) {
    let document = &graph.document;
    let links = Links::new(document);
    let uses = |index: usize| {
        let tensor = graph.initializer(index);
        match tensor.owner {
            TensorOwner::Node(node) if !document.nodes[node].is("", "Constant") => {
                // An attribute is no value, whatever it is called.
                let other = Some(document.nodes[node].label());
                TensorUses { other, ..TensorUses::default() }
            }
            _ => TensorUses::of(document, &links, &tensor.name),
        }
    };
    let uses: Vec<TensorUses> = (0..checkpoint.tensors.len()).map(uses).collect();
    let of_codes = codes_tables(checkpoint, graph).map(|table| table.shape[0]);
    let vocabularies: Vec<u64> = checkpoint
        .tensors
        .iter()
        .zip(&uses)
        .filter(|(tensor, uses)| tensor.shape.len() == 2 && uses.is_table())
        .map(|(tensor, _)| tensor.shape[0])
        .chain(of_codes)
        .collect();
    let member = |(index, uses): (usize, &TensorUses)| {
        let stored = &checkpoint.tensors[index];
        let is_matrix = stored.shape.len() == 2 && stored.float_kind().is_some();
        if !is_matrix || uses.layers.is_empty() {
            let member = Member::of(index, stored.clone(), Some(InputAxis::Last));
            return Member { is_weight: false, ..member };
        }
        let view = if uses.inputs_first { transposed(stored) } else { stored.clone() };
        let outputs = view.shape[0];
        let member = Member::of(index, view, Some(InputAxis::Last));
        let ends = || uses.layers.iter().any(|layer| reaches_output(document, &links, layer.node));
        let role = match role_of(&module_weight(&stored.name), &member.tensor.shape) {
            Role::Position => Role::Position,
            _ if uses.is_table() => Role::Embedding,
            Role::Other | Role::Embedding if vocabularies.contains(&outputs) && ends() => {
                Role::Head
            }
            Role::Other | Role::Embedding | Role::Norm | Role::Bias => Role::Linear,
            role => role,
        };
        Member { role, is_weight: true, ..member }
    };
    let mut members: Vec<Member> = uses.iter().enumerate().map(member).collect();
    members.sort_by(|a, b| natural_order(&a.tensor.name, &b.tensor.name));
    (members, uses)
}

/// The name that a weight has in the checkpoints that models are exported from: exporters add what the
/// graph does with it, as in `q_proj.weight_t` and `q_proj.MatMul.weight`.
pub fn module_weight(name: &str) -> String {
    let module = name.find(".weight").map_or(name, |end| &name[..end]);
    let module = module.strip_suffix(".MatMul").unwrap_or(module);
    format!("{}.weight", module.replace('/', "."))
}

/// A stored matrix `[inputs, outputs]` as `[outputs, inputs]`.
fn transposed(stored: &Tensor) -> Tensor {
    let [inputs, outputs] = stored.shape[..] else { return stored.clone() };
    Tensor { shape: vec![outputs, inputs], strides: Some(vec![1, outputs]), ..stored.clone() }
}

/// Whether what a node gives becomes an output of the model without another layer in between: as it
/// is, or cast, reshaped, scaled or capped.
fn reaches_output(document: &Document, links: &Links<'_>, node: usize) -> bool {
    const PASSING: [&str; 9] =
        ["Cast", "Reshape", "Add", "Mul", "Div", "Tanh", "Identity", "Squeeze", "Softmax"];
    const MOST_STEPS: usize = 12;
    let mut node = &document.nodes[node];
    for _ in 0..MOST_STEPS {
        let Some(output) = node.outputs.first() else { return false };
        if links.is_output(output) {
            return true;
        }
        let [next] = links.uses(output) else { return false };
        node = &document.nodes[next.node];
        if !PASSING.iter().any(|op_type| node.is("", op_type)) {
            return false;
        }
    }
    false
}
