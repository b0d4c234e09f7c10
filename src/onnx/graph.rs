//! Which node takes which value, and where values come from.

use std::collections::{HashMap, HashSet};

use super::document::{Document, TensorOwner};

/// A place where a value is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// The node, an index in [`Document::nodes`].
    pub node: usize,
    /// Number of its input.
    pub input: usize,
}

/// The values of a model: who makes them, and who takes them.
#[derive(Debug)]
pub struct Links<'a> {
    uses: HashMap<&'a str, Vec<Use>>,
    producers: HashMap<&'a str, usize>,
    constants: HashMap<&'a str, usize>,
    outputs: HashSet<&'a str>,
    inputs: HashSet<&'a str>,
    /// Names that several graphs give to values of their own.
    ambiguous: HashSet<&'a str>,
}

impl<'a> Links<'a> {
    /// Links the nodes of all graphs; graphs within nodes see the values around them.
    pub fn new(document: &'a Document) -> Self {
        let mut links = Self {
            uses: HashMap::new(),
            producers: HashMap::new(),
            constants: HashMap::new(),
            outputs: HashSet::new(),
            inputs: HashSet::new(),
            ambiguous: HashSet::new(),
        };
        let mut defined: HashSet<&str> = HashSet::new();
        for (id, tensor) in document.tensors.iter().enumerate() {
            match tensor.owner {
                TensorOwner::Graph(_) => {
                    if !defined.insert(&tensor.name) {
                        links.ambiguous.insert(&tensor.name);
                    }
                }
                TensorOwner::Node(node) if document.nodes[node].is("", "Constant") => {}
                TensorOwner::Node(_) | TensorOwner::Other => continue,
            }
            links.constants.insert(&tensor.name, id);
        }
        for graph in &document.graphs {
            links.outputs.extend(graph.outputs.iter().map(String::as_str));
            links.inputs.extend(graph.inputs.iter().map(String::as_str));
        }
        // A graph within another may call an input like a value around it, and hides that.
        let inner = document.graphs.iter().skip(1).flat_map(|graph| &graph.inputs);
        for name in inner.map(String::as_str) {
            if !defined.insert(name) {
                links.ambiguous.insert(name);
            }
        }
        for (id, node) in document.nodes.iter().enumerate() {
            for (input, name) in node.inputs.iter().enumerate().filter(|(_, name)| !name.is_empty())
            {
                links.uses.entry(name).or_default().push(Use { node: id, input });
            }
            for name in node.outputs.iter().filter(|name| !name.is_empty()) {
                if !defined.insert(name) {
                    links.ambiguous.insert(name);
                }
                links.producers.insert(name, id);
            }
        }
        links
    }

    /// Every place where a value is taken.
    pub fn uses(&self, value: &str) -> &[Use] {
        self.uses.get(value).map_or(&[], Vec::as_slice)
    }

    /// The node that makes a value; `None` for inputs and initializers.
    pub fn producer(&self, value: &str) -> Option<usize> {
        self.producers.get(value).copied()
    }

    /// The tensor that a value is, an index in [`Document::tensors`]: an initializer, or the value of a
    /// `Constant`.
    pub fn constant(&self, value: &str) -> Option<usize> {
        self.constants.get(value).copied()
    }

    /// Whether a graph gives a value to whoever runs it.
    pub fn is_output(&self, value: &str) -> bool {
        self.outputs.contains(value)
    }

    /// Whether whoever runs a graph may give it a value.
    pub fn is_input(&self, value: &str) -> bool {
        self.inputs.contains(value)
    }

    /// Whether a name means more than one value.
    pub fn is_ambiguous(&self, value: &str) -> bool {
        self.ambiguous.contains(value)
    }
}
