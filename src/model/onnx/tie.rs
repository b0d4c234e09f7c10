//! How embedding and head of a graph belong together.

use std::cell::LazyCell;
use std::collections::HashMap;

use super::{Operator, TensorUses};
use crate::checkpoint::{Checkpoint, Dtype, Onnx};
use crate::model::ties::{CodesTable, Tie};
use crate::model::{Member, Role};
use crate::onnx::{Document, Links, MICROSOFT, Node};

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
    // Few models have tables that are quantized already.
    let heads = LazyCell::new(|| Products::of(&graph.document));
    codes_tables(checkpoint, graph)
        .find_map(|table| {
            let fits = |member: &&Member| member.is_weight && member.tensor.shape == table.shape;
            let head = members.iter().find(fits);
            let of_floats = |head: &Member| Tie::OfCodes { table, head: head.index, matches: None };
            head.map(of_floats).or_else(|| both_codes(checkpoint, graph, &heads, table))
        })
        .unwrap_or(Tie::Untied)
}

/// Products with quantized matrices, by rows, columns, bits and the length of a block.
struct Products<'a> {
    links: Links<'a>,
    nodes: HashMap<[u64; 4], Vec<&'a Node>>,
}

impl<'a> Products<'a> {
    fn of(document: &'a Document) -> Self {
        let mut nodes: HashMap<[u64; 4], Vec<&Node>> = HashMap::new();
        for node in document.nodes.iter().filter(|node| node.is(MICROSOFT, "MatMulNBits")) {
            let numbers = [("N", 0), ("K", 0), ("bits", 4), ("block_size", 0)];
            let number =
                |(name, usual)| u64::try_from(node.int(name).unwrap_or(usual)).unwrap_or(0);
            nodes.entry(numbers.map(number)).or_default().push(node);
        }
        Self { links: Links::new(document), nodes }
    }
}

/// A head that is quantized in the form of a table, and has codes of its own.
fn both_codes(
    checkpoint: &Checkpoint,
    graph: &Onnx,
    products: &Products<'_>,
    table: CodesTable,
) -> Option<Tie> {
    let links = &products.links;
    let [rows, columns] = table.shape;
    let nodes = products.nodes.get(&[rows, columns, table.bits.into(), table.group.into()])?;
    nodes.iter().filter(|node| node.input(4).is_none()).find_map(|node| {
        let part = |input: usize| graph.index_of(links, node.input(input)?);
        let (codes, scales) = (part(1)?, part(2)?);
        let tensors = &checkpoint.tensors;
        let is_own = (tensors[codes].file, tensors[codes].offset)
            != (tensors[table.codes].file, tensors[table.codes].offset);
        let same_type = tensors[scales].dtype == tensors[table.scales].dtype;
        let others = std::iter::once(scales).chain(part(3)).collect();
        let has_parts = part(3).is_some() || node.input(3).is_none();
        // Nobody else may need what the head has of its own.
        let is_for_head = |value: &str| {
            links.uses(value).len() == 1 && !links.is_output(value) && !links.is_ambiguous(value)
        };
        let is_free = (1..4).filter_map(|input| node.input(input)).all(is_for_head);
        let tie = Tie::BothCodes { table, codes, others, matches: None };
        (is_own && same_type && has_parts && is_free).then_some(tie)
    })
}

/// The tables that are quantized already and whose bytes are those of a matrix.
pub(super) fn codes_tables<'a>(
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
        let columns = bytes.saturating_mul(8 / u64::from(bits));
        let fits = stored.dtype == Dtype::U8
            && (16..=256).contains(&group)
            && group.is_power_of_two()
            && columns.is_multiple_of(group.into())
            && (node.input(3).is_none() || zero_points.is_some());
        let shape = [rows, columns];
        fits.then_some(CodesTable { codes, scales, zero_points, shape, bits, group })
    })
}
