//! What is to become of a model.

use std::collections::{BTreeMap, HashSet};

use super::tensor::ElementType;

/// Changes of a model. What no change speaks of stays, byte for byte and in its order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edits {
    /// What takes the place of nodes; nothing for those that go.
    pub nodes: BTreeMap<usize, Vec<NewNode>>,
    /// Other inputs for nodes that else stay as they are.
    pub inputs: BTreeMap<usize, Vec<String>>,
    /// Nodes before all others of the model's graph.
    pub first_nodes: Vec<NewNode>,
    /// What takes the place of tensors; nothing for those that go.
    pub tensors: BTreeMap<usize, Vec<NewTensor>>,
    /// Tensors whose elements are elsewhere from now on.
    pub moved: BTreeMap<usize, Data>,
    /// Initializers of the model's graph after all others.
    pub initializers: Vec<NewTensor>,
    /// Values that are gone, and of which no graph is to speak.
    pub gone: HashSet<String>,
    /// Operator sets that the model has to import, with the version for those it does not yet.
    pub opsets: BTreeMap<String, i64>,
}

/// A node to write.
#[derive(Debug, Clone, PartialEq)]
pub struct NewNode {
    /// The node that it takes the place of, whose name, description and metadata it keeps.
    pub like: Option<usize>,
    /// Its name, where it takes nobody's place.
    pub name: String,
    /// Its operator.
    pub op_type: &'static str,
    /// The domain of that.
    pub domain: &'static str,
    /// Values that it takes.
    pub inputs: Vec<String>,
    /// Values that it gives.
    pub outputs: Vec<String>,
    /// Its attributes, all whole numbers.
    pub attributes: Vec<(&'static str, i64)>,
}

/// An initializer to write.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTensor {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub element_type: ElementType,
    /// Its dimensions, outermost first.
    pub dims: Vec<u64>,
    /// Where its elements are.
    pub data: Data,
}

/// Where elements are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// Here they are.
    Bytes(Vec<u8>),
    /// In the model's file, later.
    Hole(Hole),
    /// In another file.
    External {
        /// Its name.
        location: String,
        /// Where they begin.
        offset: u64,
        /// Bytes that they take.
        length: u64,
    },
}

/// A place in a file for bytes to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// What whoever fills it calls it.
    pub id: usize,
    /// Bytes that it takes.
    pub bytes: u64,
}
