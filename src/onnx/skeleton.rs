//! The file that edits make of a model.

use std::ops::Range;

use prost::Message;

use super::document::{Document, Part};
use super::edits::{Data, Edits, Hole, NewNode, NewTensor};
use super::proto::attribute_proto::AttributeType;
use super::proto::tensor_proto::DataLocation;
use super::proto::{
    AttributeProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
};
use super::walk::Item;
use super::wire::prefix;

/// Numbers of fields of the schema.
mod number {
    pub const MODEL_OPSET: u32 = 8;
    pub const GRAPH_NODE: u32 = 1;
    pub const NODE_INPUT: u32 = 1;
    pub const GRAPH_INITIALIZER: u32 = 5;
    pub const TENSOR_RAW_DATA: u32 = 9;
    /// Fields of a tensor that say where its elements are, or that are the elements.
    pub const TENSOR_ELEMENTS: [u32; 9] = [4, 5, 6, 7, 9, 10, 11, 13, 14];
    /// Fields of a node that say what it does: inputs, outputs, operator, attributes, domain,
    /// overload.
    pub const NODE_ACTION: [u32; 6] = [1, 2, 4, 5, 7, 8];
}

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A part of the source.
    Source(Range<usize>),
    /// New bytes.
    Bytes(Vec<u8>),
    /// Room for bytes to come.
    Hole(Hole),
}

/// A file as pieces, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skeleton {
    /// The pieces.
    pub pieces: Vec<Piece>,
    /// Bytes of the file.
    pub bytes: u64,
}

impl Skeleton {
    /// Pieces with the places where they begin.
    pub fn placed(&self) -> impl Iterator<Item = (u64, &Piece)> {
        self.pieces.iter().scan(0, |at, piece| {
            let begin = *at;
            *at += length(piece);
            Some((begin, piece))
        })
    }

    fn push(&mut self, piece: Piece) {
        self.bytes += length(&piece);
        match (self.pieces.last_mut(), piece) {
            (Some(Piece::Source(last)), Piece::Source(next)) if last.end == next.start => {
                last.end = next.end;
            }
            (Some(Piece::Bytes(last)), Piece::Bytes(next)) => last.extend(next),
            (_, piece) => self.pieces.push(piece),
        }
    }

    fn extend(&mut self, other: Self) {
        other.pieces.into_iter().for_each(|piece| self.push(piece));
    }

    /// Appends a message as a field.
    fn field(&mut self, number: u32, message: Self) {
        self.push(Piece::Bytes(prefix(number, message.bytes)));
        self.extend(message);
    }

    fn message(&mut self, number: u32, message: &impl Message) {
        let bytes = message.encode_to_vec();
        self.push(Piece::Bytes(prefix(number, bytes.len() as u64)));
        self.push(Piece::Bytes(bytes));
    }
}

fn length(piece: &Piece) -> u64 {
    match piece {
        Piece::Source(range) => range.len() as u64,
        Piece::Bytes(bytes) => bytes.len() as u64,
        Piece::Hole(hole) => hole.bytes,
    }
}

impl Document {
    /// The file of the model with changes.
    pub fn edited(&self, edits: &Edits) -> Skeleton {
        let mut file = self.written(&self.items, edits);
        for (domain, version) in &edits.opsets {
            if !self.opsets.contains_key(domain) {
                let (domain, version) = (Some(domain.clone()), Some(*version));
                file.message(number::MODEL_OPSET, &OperatorSetIdProto { domain, version });
            }
        }
        file
    }

    fn written(&self, items: &[Item], edits: &Edits) -> Skeleton {
        let mut out = Skeleton::default();
        for item in items {
            match item {
                Item::Raw(range) => out.push(Piece::Source(range.clone())),
                Item::Value { name, .. } if edits.gone.contains(name) => {}
                Item::Value { whole, .. } => out.push(Piece::Source(whole.clone())),
                Item::Message { number, items } => out.field(*number, self.written(items, edits)),
                Item::MainGraph { number, items } => {
                    let mut graph = Skeleton::default();
                    for node in &edits.first_nodes {
                        graph.field(number::GRAPH_NODE, self.node(node));
                    }
                    graph.extend(self.written(items, edits));
                    for tensor in &edits.initializers {
                        graph.field(number::GRAPH_INITIALIZER, initializer(tensor));
                    }
                    out.field(*number, graph);
                }
                Item::Node { number, id, items } => match edits.nodes.get(id) {
                    Some(others) => {
                        others.iter().for_each(|node| out.field(*number, self.node(node)));
                    }
                    None if edits.inputs.contains_key(id) => {
                        let input = edits.inputs[id].clone();
                        let mut node = Skeleton::default();
                        let proto = NodeProto { input, ..NodeProto::default() };
                        node.push(Piece::Bytes(proto.encode_to_vec()));
                        let fields = &self.nodes[*id].fields;
                        copy_fields(fields, &[number::NODE_INPUT], &mut node);
                        out.field(*number, node);
                    }
                    None => out.field(*number, self.written(items, edits)),
                },
                Item::Tensor { number, id } => match edits.tensors.get(id) {
                    Some(others) => {
                        others.iter().for_each(|tensor| out.field(*number, initializer(tensor)));
                    }
                    None => out.field(*number, self.tensor(*id, edits)),
                },
            }
        }
        out
    }

    fn node(&self, node: &NewNode) -> Skeleton {
        let mut out = Skeleton::default();
        let proto = NodeProto {
            input: node.inputs.clone(),
            output: node.outputs.clone(),
            name: node.like.is_none().then(|| node.name.clone()),
            op_type: Some(node.op_type.to_owned()),
            domain: (!node.domain.is_empty()).then(|| node.domain.to_owned()),
            attribute: node.attributes.iter().map(|(name, value)| int(name, *value)).collect(),
            ..NodeProto::default()
        };
        out.push(Piece::Bytes(proto.encode_to_vec()));
        if let Some(id) = node.like {
            copy_fields(&self.nodes[id].fields, &number::NODE_ACTION, &mut out);
        }
        out
    }

    fn tensor(&self, id: usize, edits: &Edits) -> Skeleton {
        let tensor = &self.tensors[id];
        let mut out = Skeleton::default();
        match edits.moved.get(&id) {
            None => out.push(Piece::Source(tensor.message.clone())),
            Some(data) => {
                copy_fields(&tensor.fields, &number::TENSOR_ELEMENTS, &mut out);
                elements(data, &mut out);
            }
        }
        out
    }
}

/// Copies the fields of a message that are not in a list, those that no schema knows included.
fn copy_fields(fields: &[Part], left_out: &[u32], out: &mut Skeleton) {
    for (_, bytes) in fields.iter().filter(|(number, _)| !left_out.contains(number)) {
        out.push(Piece::Source(bytes.start as usize..bytes.end as usize));
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Int.into()),
        i: Some(value),
        ..AttributeProto::default()
    }
}

fn initializer(tensor: &NewTensor) -> Skeleton {
    let mut out = Skeleton::default();
    let proto = TensorProto {
        dims: tensor.dims.iter().map(|&n| n as i64).collect(),
        data_type: Some(tensor.element_type.into()),
        name: Some(tensor.name.clone()),
        ..TensorProto::default()
    };
    out.push(Piece::Bytes(proto.encode_to_vec()));
    elements(&tensor.data, &mut out);
    out
}

/// The fields of a tensor that say where its elements are.
fn elements(data: &Data, out: &mut Skeleton) {
    match data {
        Data::Bytes(bytes) => {
            out.push(Piece::Bytes(prefix(number::TENSOR_RAW_DATA, bytes.len() as u64)));
            out.push(Piece::Bytes(bytes.clone()));
        }
        Data::Hole(hole) => {
            out.push(Piece::Bytes(prefix(number::TENSOR_RAW_DATA, hole.bytes)));
            out.push(Piece::Hole(*hole));
        }
        Data::External { location, offset, length } => {
            let entry = |key: &str, value: String| StringStringEntryProto {
                key: Some(key.to_owned()),
                value: Some(value),
            };
            let proto = TensorProto {
                external_data: vec![
                    entry("location", location.clone()),
                    entry("offset", offset.to_string()),
                    entry("length", length.to_string()),
                ],
                data_location: Some(DataLocation::External.into()),
                ..TensorProto::default()
            };
            out.push(Piece::Bytes(proto.encode_to_vec()));
        }
    }
}
