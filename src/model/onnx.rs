//! What the tensors of an ONNX model are: told from the nodes that take them.

use super::ties::{CodesTable, Tie};
use super::{InputAxis, Member, Role, natural_order, role_of};
use crate::checkpoint::{Checkpoint, Dtype, Onnx, Tensor};
use crate::onnx::{Document, Links, MICROSOFT, Node};

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

    fn of(document: &Document, links: &Links<'_>, value: &str) -> Self {
        let mut uses = Self::default();
        if links.is_output(value) || links.is_ambiguous(value) {
            uses.other = Some(format!("the graph's output {value:?}"));
        }
        for taken in links.uses(value) {
            let node = &document.nodes[taken.node];
            let quantized = ["MatMulNBits", "GatherBlockQuantized"];
            let is_codes = quantized.iter().any(|op_type| node.is(MICROSOFT, op_type));
            uses.is_part |= is_codes || node.is("", "DequantizeLinear");
            let is_plain = matches!(node.ints("perm"), None | Some([1, 0]));
            let output = node.outputs.first().map_or("", String::as_str);
            if node.is("", "Transpose") && is_plain && !links.is_ambiguous(output) {
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
            uses.other = Some(name_of(&document.nodes[other.node]));
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
                self.other = Some(name_of(&document.nodes[node]));
            }
            (Some((operator, inputs_first)), _) => {
                let inputs_first = inputs_first != transpose.is_some();
                self.layers.push(LayerUse { node, operator, transpose, inputs_first });
            }
        }
    }
}

/// A node as a person finds it.
fn name_of(node: &Node) -> String {
    match node.name.as_str() {
        "" => format!("{} of {:?}", node.op_type, node.outputs.first().map_or("", String::as_str)),
        name => format!("{name} ({})", node.op_type),
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

/// The members of a model, in natural order of their names, and who takes each stored tensor.
/// Matrices are `[outputs, inputs]`, read across the stored ones where these are transposed.
pub fn members(checkpoint: &Checkpoint, graph: &Onnx) -> (Vec<Member>, Vec<TensorUses>) {
    let document = &graph.document;
    let links = Links::new(document);
    let uses = |index: usize| TensorUses::of(document, &links, &graph.initializer(index).name);
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

/// How embedding and head belong together, as far as the graph tells.
pub fn tie(checkpoint: &Checkpoint, graph: &Onnx, members: &[Member], uses: &[TensorUses]) -> Tie {
    let tables = || members.iter().filter(|member| member.role == Role::Embedding);
    let shared = tables().find(|member| uses[member.index].is_matrix());
    if let Some(table) = shared {
        let heads = &uses[table.index].layers;
        let head = heads.iter().find(|layer| layer.operator != Operator::Gather);
        let head_name = head.map_or_else(String::new, |head| {
            let node = &graph.document.nodes[head.node];
            if node.name.is_empty() { node.outputs.join(", ") } else { node.name.clone() }
        });
        return Tie::HeadAbsent { embedding: table.index, head_name };
    }
    let heads = members.iter().filter(|member| member.role == Role::Head);
    let same_shape = |head: &Member| tables().find(|table| table.tensor.shape == head.tensor.shape);
    let pair = heads.filter_map(|head| Some((same_shape(head)?, head))).next();
    if let Some((table, head)) = pair {
        return Tie::Unknown { embedding: table.index, head: head.index };
    }
    codes_tables(checkpoint, graph)
        .find_map(|table| {
            let fits = |member: &&Member| member.is_weight && member.tensor.shape == table.shape;
            let head = members.iter().find(fits);
            let of_floats = |head: &Member| Tie::OfCodes { table, head: head.index, matches: None };
            head.map(of_floats).or_else(|| both_codes(checkpoint, graph, table))
        })
        .unwrap_or(Tie::Untied)
}

/// A head that is quantized in the form of a table, and has codes of its own.
fn both_codes(checkpoint: &Checkpoint, graph: &Onnx, table: CodesTable) -> Option<Tie> {
    let links = Links::new(&graph.document);
    let lengths = [("N", table.shape[0]), ("K", table.shape[1])];
    let numbers = [("bits", u64::from(table.bits), 4), ("block_size", table.group.into(), 0)];
    graph.document.nodes.iter().find_map(|node| {
        let is = |name: &str, value: u64, usual: i64| {
            u64::try_from(node.int(name).unwrap_or(usual)) == Ok(value)
        };
        let fits = node.is(MICROSOFT, "MatMulNBits")
            && lengths.iter().all(|(name, length)| is(name, *length, 0))
            && numbers.iter().all(|(name, value, usual)| is(name, *value, *usual))
            && node.input(4).is_none();
        let part = |input: usize| graph.index_of(&links, node.input(input)?);
        let (codes, scales) = (part(1).filter(|_| fits)?, part(2)?);
        let tensors = &checkpoint.tensors;
        let is_own = (tensors[codes].file, tensors[codes].offset)
            != (tensors[table.codes].file, tensors[table.codes].offset);
        let same_type = tensors[scales].dtype == tensors[table.scales].dtype;
        let others = std::iter::once(scales).chain(part(3)).collect();
        let has_parts = part(3).is_some() || node.input(3).is_none();
        let tie = Tie::BothCodes { table, codes, others, matches: None };
        (is_own && same_type && has_parts).then_some(tie)
    })
}

/// The tables that are quantized already and whose bytes are those of a matrix.
fn codes_tables<'a>(
    checkpoint: &'a Checkpoint,
    graph: &'a Onnx,
) -> impl Iterator<Item = CodesTable> + 'a {
    let links = Links::new(&graph.document);
    graph.document.nodes.iter().filter_map(move |node| {
        if !node.is(MICROSOFT, "GatherBlockQuantized") {
            return None;
        }
        let part = |input: usize| graph.index_of(&links, node.input(input)?);
        let (codes, scales) = (part(0)?, part(2)?);
        let zero_points = part(3);
        let bits =
            u8::try_from(node.int("bits").unwrap_or(4)).ok().filter(|b| [4, 8].contains(b))?;
        let group = u16::try_from(node.int("block_size").unwrap_or(128)).ok()?;
        let stored = &checkpoint.tensors[codes];
        let [rows, bytes] = stored.shape[..] else { return None };
        let columns = bytes * 8 / u64::from(bits);
        let fits = stored.dtype == Dtype::U8
            && (16..=256).contains(&group)
            && group.is_power_of_two()
            && columns.is_multiple_of(group.into())
            && (node.input(3).is_none() || zero_points.is_some());
        let shape = [rows, columns];
        fits.then_some(CodesTable { codes, scales, zero_points, shape, bits, group })
    })
}
