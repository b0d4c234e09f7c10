//! An ONNX model that is open.

use std::collections::BTreeMap;
use std::ops::Range;

use super::proto::AttributeProto;
use super::tensor::{ElementType, Place};
use super::walk::{Item, Walk};
use super::wire::Field;
use super::{MAX_MESSAGE_BYTES, OnnxProblem, ReadAt};

/// A model: where everything is in its file, and what is known of it.
#[derive(Debug)]
pub struct Document {
    /// The whole file in order.
    pub(super) items: Vec<Item>,
    /// The graphs: first that of the model, then those within nodes.
    pub graphs: Vec<Graph>,
    /// Nodes of all graphs.
    pub nodes: Vec<Node>,
    /// Tensors wherever they are, those of functions included.
    pub tensors: Vec<Tensor>,
    /// Versions of operator sets by domain; "" is ONNX's own.
    pub opsets: BTreeMap<String, i64>,
    /// Version of the file format.
    pub ir_version: i64,
}

/// A graph, of the model or within a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// Names of its inputs.
    pub inputs: Vec<String>,
    /// Names of its outputs.
    pub outputs: Vec<String>,
    /// The graph whose values it sees too: that of the node which it is within.
    pub around: Option<usize>,
}

/// A node.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// Its name, which may be empty.
    pub name: String,
    /// Its operator.
    pub op_type: String,
    /// The domain of that, "" for ONNX's own.
    pub domain: String,
    /// Values that it takes; "" for one that is left out.
    pub inputs: Vec<String>,
    /// Values that it gives; "" for one that nobody wants.
    pub outputs: Vec<String>,
    /// Its attributes, those aside that hold tensors or graphs.
    pub attributes: Vec<AttributeProto>,
    /// The graph that it is in, an index in [`Document::graphs`].
    pub graph: usize,
    /// The fields of its message.
    pub(super) fields: Vec<Part>,
}

/// Nodes are equal that do the same to the same values, wherever they are.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        (&self.op_type, &self.domain, &self.inputs, &self.outputs, &self.attributes)
            == (&other.op_type, &other.domain, &other.inputs, &other.outputs, &other.attributes)
    }
}

impl Node {
    /// Whether it is this operator of this domain; "ai.onnx" is another name for ONNX's own.
    pub fn is(&self, domain: &str, op_type: &str) -> bool {
        let own = if self.domain == "ai.onnx" { "" } else { self.domain.as_str() };
        own == domain && self.op_type == op_type
    }

    /// What a person finds it by: its name, or else its operator and the first value that it gives.
    pub fn label(&self) -> String {
        match self.name.as_str() {
            "" => {
                let output = self.outputs.first().map_or("", String::as_str);
                format!("{} of {:?}", start(&self.op_type), start(output))
            }
            name => start(name),
        }
    }

    /// A whole number among its attributes.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).and_then(|attribute| attribute.i)
    }

    /// Several of them.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    /// A float among its attributes.
    pub fn float(&self, name: &str) -> Option<f32> {
        self.attribute(name).and_then(|attribute| attribute.f)
    }

    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attributes.iter().find(|attribute| attribute.name() == name)
    }

    /// The input of that number, if it is given.
    pub fn input(&self, number: usize) -> Option<&str> {
        self.inputs.get(number).map(String::as_str).filter(|name| !name.is_empty())
    }
}

/// A name, or the start of one that is longer than any of a model: of one node much may be said.
pub fn start(name: &str) -> String {
    const LONGEST: usize = 200;
    name.chars().take(LONGEST).collect()
}

/// Who has a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorOwner {
    /// A graph, as a value with a name.
    Graph(usize),
    /// An attribute of a node, for `Constant` the one that is its value.
    Node(usize),
    /// A sparse tensor, or a node within a function.
    Other,
}

/// A tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name; that of its output for the value of a `Constant`.
    pub name: String,
    /// Type of its elements.
    pub element_type: ElementType,
    /// Its dimensions, outermost first.
    pub dims: Vec<u64>,
    /// Where its elements are.
    pub place: Place,
    /// Who has it.
    pub owner: TensorOwner,
    /// Its message in the file.
    pub(super) message: Range<usize>,
    /// The fields of that.
    pub(super) fields: Vec<Part>,
}

/// A field of a message: its number, and its bytes in the file, key included.
pub(super) type Part = (u32, Range<u32>);

/// Fields of a message; no place in a file is above [`MAX_MESSAGE_BYTES`].
pub(super) fn parts(fields: &[Field]) -> Vec<Part> {
    let part = |field: &Field| (field.number, field.whole.start as u32..field.whole.end as u32);
    fields.iter().map(part).collect()
}

impl Document {
    /// Reads the structure of a model from its file.
    pub fn new(file: &dyn ReadAt) -> Result<Self, OnnxProblem> {
        let bytes = file.length();
        if bytes > MAX_MESSAGE_BYTES {
            return Err(OnnxProblem::TooLarge { bytes });
        }
        let walk = Walk::model(file)?;
        if walk.graphs.is_empty() {
            return Err(OnnxProblem::NoGraph);
        }
        // Only the oldest models mean the first operators by saying nothing.
        if walk.opsets.is_empty() && walk.ir_version >= 3 {
            return Err(OnnxProblem::NoOpset);
        }
        let Walk { items, graphs, nodes, tensors, opsets, ir_version, .. } = walk;
        Ok(Self { items, graphs, nodes, tensors, opsets, ir_version })
    }

    /// Version of ONNX's own operators; 1 if none is said.
    pub fn opset(&self) -> i64 {
        let own = self.opsets.get("").or_else(|| self.opsets.get("ai.onnx"));
        own.copied().unwrap_or(1)
    }
}
