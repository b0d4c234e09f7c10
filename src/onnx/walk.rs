//! One walk through the messages of a model.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use prost::Message;
use prost::bytes::Bytes;

use super::document::{Graph, Node, Tensor, TensorOwner, parts};
use super::proto::{AttributeProto, OperatorSetIdProto, TensorProto, ValueInfoProto};
use super::source::Source;
use super::tensor::{ElementType, place, shape};
use super::wire::{Field, fields};
use super::{OnnxProblem, ReadAt};

/// Deepest nesting of messages that is followed; models have a few levels.
const MAX_LEVELS: usize = 64;

/// Longest name of a tensor, in bytes: far above real ones, and far below what takes time.
const MAX_NAME_BYTES: usize = 4096;

/// A piece of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Whole fields, as they are in the file.
    Raw(Range<usize>),
    /// A field that is a message with tensors or nodes somewhere in it.
    Message { number: u32, items: Vec<Item> },
    /// The graph of the model.
    MainGraph { number: u32, items: Vec<Item> },
    /// A node of a graph, and what is in it if that holds tensors.
    Node { number: u32, id: usize, items: Vec<Item> },
    /// A tensor.
    Tensor { number: u32, id: usize },
    /// What is said about a value of a graph: an input, or one in between.
    Value { name: String, whole: Range<usize> },
}

/// Kinds of messages that lead to tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    /// A graph; `None` for one within a function.
    Graph(Option<usize>),
    /// A node of a graph, or of a function.
    Node(Option<usize>),
    Attribute(Option<usize>),
    Function,
    Sparse,
    Training,
}

/// Number of the field of a tensor that has its elements as bytes.
const RAW_DATA: u32 = 9;

/// What was met so far.
pub struct Walk<'a> {
    pub items: Vec<Item>,
    pub graphs: Vec<Graph>,
    pub nodes: Vec<Node>,
    pub tensors: Vec<Tensor>,
    pub opsets: BTreeMap<String, i64>,
    pub ir_version: i64,
    file: Source<'a>,
    initializers: HashSet<(usize, String)>,
}

impl<'a> Walk<'a> {
    /// Walks through a whole model.
    pub fn model(file: &'a dyn ReadAt) -> Result<Self, OnnxProblem> {
        let mut walk = Self {
            items: Vec::new(),
            graphs: Vec::new(),
            nodes: Vec::new(),
            tensors: Vec::new(),
            opsets: BTreeMap::new(),
            ir_version: 0,
            file: Source::new(file),
            initializers: HashSet::new(),
        };
        walk.items = walk.message(Kind::Model, 0..walk.file.len(), 0)?;
        Ok(walk)
    }

    fn message(
        &mut self,
        kind: Kind,
        range: Range<usize>,
        level: usize,
    ) -> Result<Vec<Item>, OnnxProblem> {
        if level > MAX_LEVELS {
            return Err(OnnxProblem::TooDeep { levels: MAX_LEVELS });
        }
        let mut items: Vec<Item> = Vec::new();
        for field in fields(&self.file, range)? {
            let item = match field.payload.clone() {
                Some(payload) => self.field(kind, &field, payload, level)?,
                None => {
                    self.number(kind, &field)?;
                    None
                }
            };
            match (items.last_mut(), item) {
                (_, Some(item)) => items.push(item),
                (Some(Item::Raw(raw)), None) if raw.end == field.whole.start => {
                    raw.end = field.whole.end;
                }
                (_, None) => items.push(Item::Raw(field.whole)),
            }
        }
        Ok(items)
    }

    fn number(&mut self, kind: Kind, field: &Field) -> Result<(), OnnxProblem> {
        if (kind, field.number) == (Kind::Model, 1) {
            let own = self.decode::<super::proto::ModelProto>(field.whole.clone())?;
            self.ir_version = own.ir_version();
        }
        Ok(())
    }

    /// What a field is, or `None` if it is of no interest.
    fn field(
        &mut self,
        kind: Kind,
        field: &Field,
        payload: Range<usize>,
        level: usize,
    ) -> Result<Option<Item>, OnnxProblem> {
        let number = field.number;
        let inner = match (kind, number) {
            (Kind::Model, 7) => {
                // Of two graphs readers merge what is in them; nobody writes two.
                let graph = self.begin_graph(None);
                let items = self.message(Kind::Graph(Some(graph)), payload, level + 1)?;
                return Ok(Some(Item::MainGraph { number, items }));
            }
            (Kind::Model, 8) => {
                let opset: OperatorSetIdProto = self.decode(payload)?;
                self.opsets.insert(opset.domain().to_owned(), opset.version());
                return Ok(None);
            }
            (Kind::Graph(Some(graph)), 1) => {
                let id = self.begin_node(graph, payload.clone())?;
                let items = self.message(Kind::Node(Some(id)), payload, level + 1)?;
                return Ok(Some(Item::Node { number, id, items }));
            }
            (Kind::Graph(graph), 5) => {
                let owner = graph.map_or(TensorOwner::Other, TensorOwner::Graph);
                return Ok(Some(Item::Tensor { number, id: self.tensor(payload, owner)? }));
            }
            (Kind::Graph(Some(graph)), 11..=13) => {
                let name = self.decode::<ValueInfoProto>(payload)?.name.unwrap_or_default();
                match number {
                    11 => self.graphs[graph].inputs.push(name.clone()),
                    12 => {
                        self.graphs[graph].outputs.push(name);
                        return Ok(None);
                    }
                    _ => {}
                }
                return Ok(Some(Item::Value { name, whole: field.whole.clone() }));
            }
            (Kind::Attribute(node), 5 | 10) => {
                let owner = node.map_or(TensorOwner::Other, TensorOwner::Node);
                return Ok(Some(Item::Tensor { number, id: self.tensor(payload, owner)? }));
            }
            (Kind::Sparse, 1 | 2) => {
                let id = self.tensor(payload, TensorOwner::Other)?;
                return Ok(Some(Item::Tensor { number, id }));
            }
            (Kind::Attribute(Some(node)), 6 | 11) => {
                Kind::Graph(Some(self.begin_graph(Some(self.nodes[node].graph))))
            }
            // Values of functions are none of the model's, though they may be called alike.
            (Kind::Attribute(None), 6 | 11) => Kind::Graph(None),
            (Kind::Graph(None), 1) => Kind::Node(None),
            (Kind::Training, 1 | 2) => Kind::Graph(Some(self.begin_graph(Some(0)))),
            (Kind::Node(node), 5) => Kind::Attribute(node),
            (Kind::Graph(_), 15) | (Kind::Attribute(_), 22 | 23) => Kind::Sparse,
            (Kind::Model, 25) => Kind::Function,
            (Kind::Model, 20) => Kind::Training,
            (Kind::Function, 7) => Kind::Node(None),
            (Kind::Function, 11) => Kind::Attribute(None),
            _ => return Ok(None),
        };
        let nodes = self.nodes.len();
        let items = self.message(inner, payload.clone(), level + 1)?;
        let plain = items.iter().all(|item| matches!(item, Item::Raw(_)));
        if let (Kind::Attribute(Some(node)), true) = (inner, plain && nodes == self.nodes.len()) {
            let attribute: AttributeProto = self.decode(payload)?;
            self.nodes[node].attributes.push(attribute);
        }
        Ok((!plain).then_some(Item::Message { number, items }))
    }

    fn begin_graph(&mut self, around: Option<usize>) -> usize {
        self.graphs.push(Graph { around, ..Graph::default() });
        self.graphs.len() - 1
    }

    /// Notes a node with all that is simple in it; attributes are met later.
    fn begin_node(&mut self, graph: usize, message: Range<usize>) -> Result<usize, OnnxProblem> {
        let fields = fields(&self.file, message)?;
        let mut node = Node { graph, fields: parts(&fields), ..Node::default() };
        for field in fields {
            let Some(payload) = field.payload else { continue };
            let text = || {
                let bytes = self.file.read(payload.clone())?;
                let damaged =
                    |_| OnnxProblem::Damaged { at: payload.start, message: "no UTF-8".to_owned() };
                String::from_utf8(bytes).map_err(damaged)
            };
            match field.number {
                1 => node.inputs.push(text()?),
                2 => node.outputs.push(text()?),
                3 => node.name = text()?,
                4 => node.op_type = text()?,
                7 => node.domain = text()?,
                _ => {}
            }
        }
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    fn tensor(&mut self, message: Range<usize>, owner: TensorOwner) -> Result<usize, OnnxProblem> {
        let fields = fields(&self.file, message.clone())?;
        let (mut raw, mut others) = (None, Vec::new());
        for field in &fields {
            match (field.number, &field.payload) {
                // It stays where it is.
                (RAW_DATA, Some(payload)) => raw = Some(payload.clone()),
                _ => others.extend(self.file.read(field.whole.clone())?),
            }
        }
        let proto = decoded::<TensorProto>(others, message.start)?;
        let (dims, bytes) = shape(&proto)?;
        let place = place(&proto, bytes, raw)?;
        // A `Constant` has one value. If there are more tensors in it, they are called what they say.
        let is_value = |node: usize| {
            let is_first = self.tensors.last().is_none_or(|tensor| tensor.owner != owner);
            self.nodes[node].op_type == "Constant" && is_first
        };
        let name = match owner {
            TensorOwner::Node(node) if is_value(node) => {
                self.nodes[node].outputs.first().cloned().unwrap_or_default()
            }
            _ => proto.name().to_owned(),
        };
        if name.len() > MAX_NAME_BYTES {
            let (bytes, limit) = (name.len(), MAX_NAME_BYTES);
            let start = name.chars().take(100).collect();
            return Err(OnnxProblem::LongName { start, bytes, limit });
        }
        if let TensorOwner::Graph(graph) = owner
            && !self.initializers.insert((graph, name.clone()))
        {
            return Err(OnnxProblem::SameName { name });
        }
        let element_type = ElementType::try_from(proto.data_type()).unwrap_or_default();
        let fields = parts(&fields);
        self.tensors.push(Tensor { name, element_type, dims, place, owner, message, fields });
        Ok(self.tensors.len() - 1)
    }

    /// Reads and decodes a message.
    fn decode<M: Message + Default>(&self, range: Range<usize>) -> Result<M, OnnxProblem> {
        let at = range.start;
        decoded(self.file.read(range)?, at)
    }
}

/// Decodes a message that begins at byte `at` of the file.
fn decoded<M: Message + Default>(bytes: Vec<u8>, at: usize) -> Result<M, OnnxProblem> {
    M::decode(Bytes::from(bytes)).map_err(|e| OnnxProblem::Damaged { at, message: e.to_string() })
}
