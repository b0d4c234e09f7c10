//! The file that a plan makes of an ONNX model, and the one beside it with the tensors.

mod dequantize;
mod nodes;
mod place;

use std::collections::{BTreeMap, HashSet};

use super::layout::{Contents, Placed, PlannedFile};
use super::{Decision, Entry, PlanError, Reason, SharedTable};
use crate::checkpoint::{Checkpoint, Dtype, Onnx};
use crate::dialect::onnx::EXTERNAL_BYTES;
use crate::dialect::{Dialect, Output, Part};
use crate::model::onnx::TensorUses;
use crate::onnx::{
    Edits, ElementType, MAX_MESSAGE_BYTES, NewNode, NewTensor, Node, Place, Tensor, TensorOwner,
};

/// A model of this size, and a little under it, is better not in one message.
const MAX_INLINE_BYTES: u64 = MAX_MESSAGE_BYTES / 4 * 3;

/// The files of an ONNX export. `name` is that of the model, `external` whether its tensors are to be in
/// a file of their own: they are anyhow where they were in the source, or where one file would be too
/// large. Fails if a new value would be called like one that is there.
pub fn files(
    entries: &[Entry],
    dialect: Dialect,
    checkpoint: &Checkpoint,
    uses: &[TensorUses],
    (name, external): (&str, bool),
) -> Result<Vec<PlannedFile>, PlanError> {
    let Some(onnx) = &checkpoint.onnx else { return Ok(Vec::new()) };
    let outputs = || entries.iter().flat_map(|entry| &entry.outputs).map(Output::bytes);
    let bytes = outputs().fold(0, u64::saturating_add);
    let external = external || onnx.has_external_data || bytes > MAX_INLINE_BYTES;
    let data_name = format!("{name}.data");
    let mut build = Build {
        entries,
        dialect,
        onnx,
        uses,
        data_name: external.then_some(data_name.as_str()),
        edits: Edits::default(),
        ids: Vec::new(),
        data: Vec::new(),
        data_end: 0,
    };
    // Who shares a table needs its place.
    let (shared, own): (Vec<usize>, Vec<usize>) =
        (0..entries.len()).partition(|i| matches!(entries[*i].decision, Decision::Shared { .. }));
    own.into_iter().chain(shared).for_each(|entry| build.entry(entry));
    build.drop_transposes();
    build.check_names()?;
    let skeleton = onnx.document.edited(&build.edits);
    let model = build.model_file(name, skeleton);
    let data = (!build.data.is_empty()).then(|| PlannedFile {
        name: data_name.clone(),
        tensors: build.data,
        contents: Contents::Data,
        bytes: build.data_end,
    });
    Ok(std::iter::once(model).chain(data).collect())
}

struct Build<'a> {
    entries: &'a [Entry],
    dialect: Dialect,
    onnx: &'a Onnx,
    uses: &'a [TensorUses],
    /// The file for tensors, if there is to be one.
    data_name: Option<&'a str>,
    edits: Edits,
    /// The output that each hole is for.
    ids: Vec<(usize, usize)>,
    /// Outputs in the file for tensors.
    data: Vec<Placed>,
    data_end: u64,
}

impl Build<'_> {
    fn entry(&mut self, number: usize) {
        let entry = &self.entries[number];
        let index = entry.member.index;
        let id = self.onnx.ids[index];
        match &entry.decision {
            Decision::Quantize { format, .. } if self.dialect == Dialect::OnnxQdq => {
                self.dequantize(number, *format);
            }
            Decision::Shared { table, .. } if self.dialect == Dialect::OnnxQdq => {
                self.store_once(index, &table.name);
            }
            Decision::Quantize { format, .. } => {
                let tensors = self.outputs(number);
                let gathers_only = entry.outputs.iter().any(|output| output.part == Part::Verbatim);
                let names = Names::of(entry);
                if gathers_only {
                    self.edits.initializers.extend(tensors);
                } else {
                    self.replace(id, tensors);
                }
                if self.rewrite(index, &names, *format, gathers_only) {
                    self.add_blocks(&names, *format);
                }
            }
            Decision::Shared { format, table } => {
                if entry.outputs.is_empty() {
                    self.replace(id, Vec::new());
                }
                let names = Names { is_table: true, parts: (**table).clone() };
                self.rewrite(index, &names, *format, false);
                self.take_codes_of(id, &names);
                self.add_blocks(&names, *format);
            }
            Decision::Keep(Reason::StoredOnce(table)) => self.store_once(index, table),
            Decision::Keep(_) | Decision::Stored(_) => {}
        }
        if entry.outputs.iter().any(|output| output.part == Part::Verbatim) {
            self.keep(number, id);
        }
    }

    /// A tensor that stays: where it was, or in the file for tensors.
    fn keep(&mut self, number: usize, id: usize) {
        let entry = &self.entries[number];
        let Some(output) = entry.outputs.iter().position(|output| output.part == Part::Verbatim)
        else {
            return;
        };
        let tensor = &self.onnx.document.tensors[id];
        let was_external = matches!(tensor.place, Place::External { .. });
        let is_large = entry.outputs[output].bytes() >= EXTERNAL_BYTES;
        let in_graph = matches!(tensor.owner, TensorOwner::Graph(_));
        // Strings have no fixed length, and no place in such a file.
        let can_move = in_graph && tensor.element_type != ElementType::String;
        if was_external || (self.data_name.is_some() && is_large && can_move) {
            let data = self.place(number, output);
            self.edits.moved.insert(id, data);
        }
    }

    /// The tensors that stand for an entry in the new model.
    fn outputs(&mut self, number: usize) -> Vec<NewTensor> {
        let entry = &self.entries[number];
        let stored = |(_, output): &(usize, &Output)| output.part != Part::Verbatim;
        let outputs: Vec<_> = entry.outputs.iter().enumerate().filter(stored).collect();
        let new = outputs.into_iter().map(|(i, output)| NewTensor {
            name: output.name.clone(),
            element_type: element_type(output.dtype),
            dims: output.shape.clone(),
            data: self.place(number, i),
        });
        new.collect()
    }

    /// Makes a tensor another name for the table that it equals. Parts of layers need none.
    fn store_once(&mut self, index: usize, table: &str) {
        let id = self.onnx.ids[index];
        let name = self.onnx.document.tensors[id].name.clone();
        self.replace(id, Vec::new());
        let uses = &self.uses[index];
        let of_table = |entry: &&Entry| entry.member.tensor.name == table;
        let table = self.entries.iter().find(of_table).map(|entry| entry.member.index);
        if let (false, Some(table)) = (uses.is_part, table) {
            self.edits.first_nodes.push(NewNode {
                like: None,
                name: format!("{name}_stored_once"),
                // Without a permutation the two dimensions change places.
                op_type: if uses.inputs_first { "Transpose" } else { "Identity" },
                domain: "",
                inputs: vec![self.onnx.initializer(table).name.clone()],
                outputs: vec![name],
                attributes: Vec::new(),
            });
        }
    }

    /// Puts tensors in the place of one that goes.
    fn replace(&mut self, id: usize, tensors: Vec<NewTensor>) {
        let old = &self.onnx.document.tensors[id];
        match old.owner {
            TensorOwner::Node(node) => {
                self.edits.nodes.insert(node, Vec::new());
                self.edits.initializers.extend(tensors);
            }
            TensorOwner::Graph(0) => {
                self.edits.tensors.insert(id, tensors);
            }
            // Nodes of the model's graph do not see into those of others.
            _ => {
                self.edits.tensors.insert(id, Vec::new());
                self.edits.initializers.extend(tensors);
            }
        }
        self.edits.gone.insert(old.name.clone());
    }

    /// No new value may be called like one of the model, in whichever graph, or like another new one.
    fn check_names(&self) -> Result<(), PlanError> {
        let document = &self.onnx.document;
        let is_value = |(id, tensor): &(usize, &Tensor)| {
            // Those of nodes are attributes; what a `Constant` gives is among outputs.
            !matches!(tensor.owner, TensorOwner::Node(_)) && !self.edits.tensors.contains_key(id)
        };
        let tensors = document.tensors.iter().enumerate().filter(is_value);
        // What a rewritten node gave, the new one gives.
        let stays = |(id, _): &(usize, &Node)| {
            self.edits.nodes.get(id).is_none_or(|nodes| !nodes.is_empty())
        };
        let nodes = document.nodes.iter().enumerate().filter(stays);
        let inputs = document.graphs.iter().flat_map(|graph| &graph.inputs);
        let mut taken: HashSet<&str> = tensors.map(|(_, tensor)| tensor.name.as_str()).collect();
        taken.extend(nodes.flat_map(|(_, node)| &node.outputs).map(String::as_str));
        taken.extend(inputs.map(String::as_str));
        let tensors = self.edits.tensors.values().flatten().chain(&self.edits.initializers);
        let was = |id: &usize, output: &String| document.nodes[*id].outputs.contains(output);
        let rewritten = self.edits.nodes.iter().flat_map(|(id, nodes)| {
            nodes.iter().flat_map(|node| &node.outputs).filter(move |output| !was(id, output))
        });
        let first = self.edits.first_nodes.iter().flat_map(|node| &node.outputs);
        let mut new = tensors.map(|tensor| &tensor.name).chain(rewritten).chain(first);
        match new.find(|name| !taken.insert(name)) {
            Some(name) => Err(PlanError::ValueTaken { name: name.clone() }),
            None => Ok(()),
        }
    }

    /// Takes out every `Transpose` whose takers are all rewritten.
    fn drop_transposes(&mut self) {
        let mut takers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut others: HashSet<usize> = HashSet::new();
        for uses in self.uses {
            for layer in &uses.layers {
                if let Some(transpose) = layer.transpose {
                    takers.entry(transpose).or_default().push(layer.node);
                    if uses.other.is_some() {
                        others.insert(transpose);
                    }
                }
            }
        }
        for (transpose, nodes) in takers {
            let all = nodes.iter().all(|node| self.edits.nodes.contains_key(node));
            if all && !others.contains(&transpose) {
                self.edits.nodes.insert(transpose, Vec::new());
                let outputs = self.onnx.document.nodes[transpose].outputs.iter().cloned();
                self.edits.gone.extend(outputs);
            }
        }
    }
}

/// What the parts of a quantized weight are called in the new model.
struct Names {
    is_table: bool,
    parts: SharedTable,
}

impl Names {
    fn of(entry: &Entry) -> Self {
        let codes = entry.outputs.iter().find(|output| output.part == Part::Codes);
        let is_table = codes.is_some_and(|codes| codes.shape.len() == 2);
        Self { is_table, parts: SharedTable::of(&entry.member.tensor, &entry.outputs) }
    }

    /// The codes of a table in blocks.
    fn blocks(&self) -> String {
        format!("{}_blocks", self.parts.codes)
    }

    fn block_shape(&self) -> String {
        format!("{}_shape", self.blocks())
    }
}

fn element_type(dtype: Dtype) -> ElementType {
    match dtype {
        Dtype::F32 => ElementType::Float,
        Dtype::F16 => ElementType::Float16,
        Dtype::BF16 => ElementType::Bfloat16,
        _ => ElementType::Uint8,
    }
}
