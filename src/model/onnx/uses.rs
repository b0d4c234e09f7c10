//! What the nodes of a graph do with its tensors.

use crate::onnx::{Document, Links, MICROSOFT, Node, start};

/// Who takes a tensor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TensorUses {
    /// Nodes that take it as the weight of a layer: as a matrix `[outputs, inputs]`, or as a table of
    /// rows.
    pub layers: Vec<LayerUse>,
    /// A node that takes it, or something made of it, otherwise; or what the graph gives away.
    pub other: Option<String>,
    /// Whether it is stored as `[inputs, outputs]`.
    pub inputs_first: bool,
    /// Whether it is a part of a layer that is quantized already.
    pub is_part: bool,
    /// Whether whoever runs the model may give it another value.
    pub is_input: bool,
}

/// A node that takes a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerUse {
    /// The node, an index in [`Document::nodes`].
    pub node: usize,
    /// What it does with it.
    pub operator: Operator,
    /// The `Transpose` through which it takes it.
    pub transpose: Option<usize>,
    /// Whether it takes the stored tensor as `[inputs, outputs]`.
    inputs_first: bool,
}

/// What a node does with a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// It takes rows of a table.
    Gather,
    /// It multiplies by it.
    MatMul,
    /// It multiplies by it and may add a bias.
    Gemm,
}

impl TensorUses {
    /// Whether any node takes rows of it.
    pub fn is_table(&self) -> bool {
        self.layers.iter().any(|layer| layer.operator == Operator::Gather)
    }

    /// Whether any node multiplies by it.
    pub fn is_matrix(&self) -> bool {
        self.layers.iter().any(|layer| layer.operator != Operator::Gather)
    }

    pub(super) fn of(document: &Document, links: &Links<'_>, value: &str) -> Self {
        let mut uses = Self::default();
        if links.is_output(value) {
            uses.other = Some(format!("the graph's output {value:?}"));
        }
        uses.is_input = links.is_input(value);
        if uses.is_input {
            uses.other =
                Some(format!("the graph's input {value:?}, which may be given another value"));
        }
        if links.is_ambiguous(value) {
            // Nobody can tell from the name which of them a node takes.
            uses.other = Some(format!("other values that are called {value:?} too"));
            return uses;
        }
        for taken in links.uses(value) {
            let node = &document.nodes[taken.node];
            let quantized = ["MatMulNBits", "GatherBlockQuantized"];
            let is_codes = quantized.iter().any(|op_type| node.is(MICROSOFT, op_type));
            uses.is_part |= is_codes || node.is("", "DequantizeLinear");
            let is_plain = matches!(node.ints("perm"), None | Some([1, 0]));
            let output = node.outputs.first().map_or("", String::as_str);
            // A node may take it several times, but turns only the first input round.
            let turns = node.is("", "Transpose") && taken.input == 0;
            if turns && is_plain && !links.is_ambiguous(output) {
                if links.is_output(output) {
                    uses.other = Some(format!("the graph's output {output:?}"));
                }
                for through in links.uses(output) {
                    let layer = layer_use(&document.nodes[through.node], through.input);
                    uses.add(document, through.node, layer, Some(taken.node));
                }
            } else {
                uses.add(document, taken.node, layer_use(node, taken.input), None);
            }
        }
        // A table has a row for each token, and rows of a matrix are then its outputs.
        uses.inputs_first = match uses.layers.first() {
            Some(first) if !uses.is_table() => first.inputs_first,
            _ => false,
        };
        let (layers, others): (Vec<_>, Vec<_>) =
            uses.layers.drain(..).partition(|layer| layer.inputs_first == uses.inputs_first);
        uses.layers = layers;
        if let Some(other) = others.first() {
            uses.other = Some(label(&document.nodes[other.node]));
        }
        uses
    }

    fn add(
        &mut self,
        document: &Document,
        node: usize,
        layer: Option<(Operator, bool)>,
        transpose: Option<usize>,
    ) {
        match (layer, transpose) {
            (Some((Operator::Gather, _)), Some(_)) | (None, _) => {
                self.other = Some(label(&document.nodes[node]));
            }
            (Some((operator, inputs_first)), _) => {
                let inputs_first = inputs_first != transpose.is_some();
                self.layers.push(LayerUse { node, operator, transpose, inputs_first });
            }
        }
    }
}

/// A node as a person finds it, with its operator.
fn label(node: &Node) -> String {
    match node.name.as_str() {
        "" => node.label(),
        _ => format!("{} ({})", node.label(), start(&node.op_type)),
    }
}

/// What a node does with its input of that number, if that can be a weight, and whether it wants it as
/// `[inputs, outputs]`.
fn layer_use(node: &Node, input: usize) -> Option<(Operator, bool)> {
    let is_one = |name: &str| node.float(name).is_none_or(|value| value == 1.0);
    if node.is("", "Gather") && input == 0 && node.int("axis").unwrap_or(0) == 0 {
        Some((Operator::Gather, false))
    } else if node.is("", "MatMul") && input == 1 && node.input(0) != node.input(1) {
        Some((Operator::MatMul, true))
    } else if node.is("", "Gemm") && input == 1 {
        let plain = is_one("alpha")
            && (is_one("beta") || node.input(2).is_none())
            && node.int("transA").unwrap_or(0) == 0
            && node.input(0) != node.input(1)
            && node.input(2) != node.input(1);
        plain.then(|| (Operator::Gemm, node.int("transB").unwrap_or(0) == 0))
    } else {
        None
    }
}
