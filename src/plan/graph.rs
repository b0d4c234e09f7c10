//! The file that a plan makes of an ONNX model, and the one beside it with the tensors.

use std::collections::{BTreeMap, HashSet};

use super::layout::{Contents, PlannedFile};
use super::{Decision, Entry, Reason, SharedTable};
use crate::checkpoint::header::HeaderEntry;
use crate::checkpoint::{Checkpoint, Onnx};
use crate::dialect::onnx::{EXTERNAL_BYTES, OPSET};
use crate::dialect::{Output, Part};
use crate::format::Format;
use crate::model::onnx::{LayerUse, Operator, TensorUses};
use crate::onnx::{
    Data, Edits, ElementType, Hole, MAX_MESSAGE_BYTES, MICROSOFT, NewNode, NewTensor, Piece, Place,
    Skeleton, TensorOwner,
};

/// A model of this size, and a little under it, is better not in one message.
const MAX_INLINE_BYTES: u64 = MAX_MESSAGE_BYTES / 4 * 3;

/// Tensors of this size begin at whole pages of the largest kind, which some runtimes map.
const LARGE_BYTES: u64 = 1 << 20;
const LARGE_ALIGNMENT: u64 = 64 << 10;
const SMALL_ALIGNMENT: u64 = 64;

/// The files of an ONNX export. `name` is that of the model, `external` whether its tensors are to be in
/// a file of their own: they are anyhow where they were in the source, or where one file would be too
/// large.
pub fn files(
    entries: &[Entry],
    checkpoint: &Checkpoint,
    uses: &[TensorUses],
    (name, external): (&str, bool),
) -> Vec<PlannedFile> {
    let Some(onnx) = &checkpoint.onnx else { return Vec::new() };
    let outputs = || entries.iter().flat_map(|entry| &entry.outputs).map(Output::bytes);
    let bytes = outputs().fold(0, u64::saturating_add);
    let external = external || onnx.has_external_data || bytes > MAX_INLINE_BYTES;
    let data_name = format!("{name}.data");
    let mut build = Build {
        entries,
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
    let skeleton = onnx.document.edited(&build.edits);
    let model = build.model_file(name, skeleton);
    let data = (!build.data.is_empty()).then(|| {
        let (outputs, tensors): (Vec<_>, Vec<_>) = build.data.into_iter().unzip();
        PlannedFile::new(data_name.clone(), Contents::Data, tensors, outputs, build.data_end)
    });
    std::iter::once(model).chain(data).collect()
}

struct Build<'a> {
    entries: &'a [Entry],
    onnx: &'a Onnx,
    uses: &'a [TensorUses],
    /// The file for tensors, if there is to be one.
    data_name: Option<&'a str>,
    edits: Edits,
    /// The output that each hole is for.
    ids: Vec<(usize, usize)>,
    /// Outputs in the file for tensors.
    data: Vec<((usize, usize), HeaderEntry)>,
    data_end: u64,
}

impl Build<'_> {
    fn entry(&mut self, number: usize) {
        let entry = &self.entries[number];
        let index = entry.member.index;
        let id = self.onnx.ids[index];
        match &entry.decision {
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
                let names = Names { is_table: true, parts: table.clone() };
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
        if was_external || (self.data_name.is_some() && is_large && in_graph) {
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
            element_type: element_type(output),
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

    /// Makes nodes that multiply by codes take those of a table.
    fn take_codes_of(&mut self, id: usize, names: &Names) {
        let codes = &self.onnx.document.tensors[id].name;
        for (number, node) in self.onnx.document.nodes.iter().enumerate() {
            if node.is(MICROSOFT, "MatMulNBits") && node.input(1) == Some(codes) {
                let mut inputs = node.inputs.clone();
                inputs.resize(inputs.len().max(4), String::new());
                inputs[1] = names.blocks();
                inputs[2] = names.parts.scales.clone();
                inputs[3] = names.parts.zero_points.clone().unwrap_or_default();
                self.edits.inputs.insert(number, inputs);
            }
        }
    }

    /// A place for an output.
    fn place(&mut self, entry: usize, output: usize) -> Data {
        let planned = &self.entries[entry].outputs[output];
        let bytes = planned.bytes();
        let Some(location) = self.data_name else {
            self.ids.push((entry, output));
            return Data::Hole(Hole { id: self.ids.len() - 1, bytes });
        };
        let alignment = if bytes >= LARGE_BYTES { LARGE_ALIGNMENT } else { SMALL_ALIGNMENT };
        let begin = self.data_end.next_multiple_of(alignment);
        self.data_end = begin + bytes;
        self.data.push(((entry, output), header_entry(planned, begin)));
        Data::External { location: location.to_owned(), offset: begin, length: bytes }
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

    /// Rewrites the nodes that take a tensor. Whether any takes the codes of a table as a matrix.
    fn rewrite(&mut self, index: usize, names: &Names, format: Format, gathers_only: bool) -> bool {
        let mut as_matrix = false;
        for layer in &self.uses[index].layers {
            match layer.operator {
                Operator::Gather => {
                    let node = gather(self.onnx, layer, names, format);
                    self.edits.nodes.insert(layer.node, vec![node]);
                }
                _ if gathers_only => continue,
                Operator::MatMul | Operator::Gemm => {
                    as_matrix |= names.is_table;
                    let nodes = self.matrix_nodes(layer, names, format);
                    self.edits.nodes.insert(layer.node, nodes);
                }
            }
            self.edits.opsets.insert(MICROSOFT.to_owned(), OPSET);
        }
        as_matrix
    }

    fn matrix_nodes(&self, layer: &LayerUse, names: &Names, format: Format) -> Vec<NewNode> {
        let old = &self.onnx.document.nodes[layer.node];
        let [rows, columns] = names.parts.shape;
        let Format::Int { bits, group: Some(group), .. } = format else { return Vec::new() };
        let input = old.input(0).unwrap_or_default().to_owned();
        let codes = if names.is_table { names.blocks() } else { names.parts.codes.clone() };
        let mut inputs = vec![input, codes, names.parts.scales.clone()];
        inputs.extend(names.parts.zero_points.clone());
        let bias = old.input(2).filter(|_| layer.operator == Operator::Gemm);
        let is_vector = bias.is_some_and(|bias| self.is_vector(bias, rows));
        let mut outputs = old.outputs.clone();
        let mut after = None;
        match bias {
            Some(bias) if is_vector => {
                // Without zero points, and always without an order of columns.
                inputs.resize(5, String::new());
                inputs.push(bias.to_owned());
            }
            Some(bias) => {
                let product = format!("{}_product", outputs[0]);
                after = Some(NewNode {
                    like: None,
                    name: format!("{}_bias", old.name),
                    op_type: "Add",
                    domain: "",
                    inputs: vec![product.clone(), bias.to_owned()],
                    outputs: std::mem::replace(&mut outputs, vec![product]),
                    attributes: Vec::new(),
                });
            }
            None => {}
        }
        let product = NewNode {
            like: Some(layer.node),
            name: String::new(),
            op_type: "MatMulNBits",
            domain: MICROSOFT,
            inputs,
            outputs,
            attributes: vec![
                ("K", columns as i64),
                ("N", rows as i64),
                ("bits", bits.into()),
                ("block_size", group.into()),
            ],
        };
        std::iter::once(product).chain(after).collect()
    }

    /// Whether a value is known to be a vector of that length.
    fn is_vector(&self, value: &str, length: u64) -> bool {
        let document = &self.onnx.document;
        document.tensors.iter().any(|tensor| tensor.name == value && tensor.dims == [length])
    }

    /// Gives the codes of a table the shape of a matrix: as a second name for the same bytes where these
    /// are in a file of their own, else by a `Reshape`.
    fn add_blocks(&mut self, names: &Names, format: Format) {
        let Format::Int { bits, group: Some(group), .. } = format else { return };
        let [rows, columns] = names.parts.shape;
        let block_bytes = u64::from(group) * u64::from(bits) / 8;
        let dims = vec![rows, columns / u64::from(group), block_bytes];
        let mut known = self.edits.initializers.iter().map(|tensor| &tensor.name);
        if known.any(|name| *name == names.blocks() || *name == names.block_shape()) {
            return;
        }
        let place = self.data.iter().find(|(_, tensor)| tensor.name == names.parts.codes);
        if let (Some((_, place)), Some(location)) = (place, self.data_name) {
            let data = Data::External {
                location: location.to_owned(),
                offset: place.begin,
                length: place.end - place.begin,
            };
            let (name, element_type) = (names.blocks(), ElementType::Uint8);
            self.edits.initializers.push(NewTensor { name, element_type, dims, data });
        } else {
            let numbers: Vec<i64> = dims.iter().map(|&n| n as i64).collect();
            self.edits.initializers.push(NewTensor {
                name: names.block_shape(),
                element_type: ElementType::Int64,
                dims: vec![numbers.len() as u64],
                data: Data::Bytes(numbers.iter().flat_map(|n| n.to_le_bytes()).collect()),
            });
            self.edits.first_nodes.push(NewNode {
                like: None,
                name: format!("{}_reshape", names.blocks()),
                op_type: "Reshape",
                domain: "",
                inputs: vec![names.parts.codes.clone(), names.block_shape()],
                outputs: vec![names.blocks()],
                attributes: Vec::new(),
            });
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

    /// The model's file, with the places of all outputs in it.
    fn model_file(&self, name: &str, skeleton: Skeleton) -> PlannedFile {
        let mut placed: Vec<((usize, usize), HeaderEntry)> = Vec::new();
        let kept = self.kept_inline();
        for (begin, piece) in skeleton.placed() {
            match piece {
                Piece::Hole(hole) => {
                    let id = self.ids[hole.id];
                    placed.push((id, header_entry(&self.entries[id.0].outputs[id.1], begin)));
                }
                Piece::Source(range) => {
                    let range = range.start as u64..range.end as u64;
                    for (at, id) in kept.range(range.clone()) {
                        let output = &self.entries[id.0].outputs[id.1];
                        if at + output.bytes() <= range.end {
                            placed.push((*id, header_entry(output, begin + at - range.start)));
                        }
                    }
                }
                Piece::Bytes(_) => {}
            }
        }
        let (outputs, tensors): (Vec<_>, Vec<_>) = placed.into_iter().unzip();
        let bytes = skeleton.bytes;
        PlannedFile::new(name.to_owned(), Contents::Onnx(skeleton), tensors, outputs, bytes)
    }

    /// The outputs that stay where they are in the model's file, by their places in the source.
    fn kept_inline(&self) -> BTreeMap<u64, (usize, usize)> {
        let outputs = self.entries.iter().enumerate().filter_map(|(number, entry)| {
            let id = self.onnx.ids[entry.member.index];
            let Place::Inline(range) = &self.onnx.document.tensors[id].place else { return None };
            let output = entry.outputs.iter().position(|output| output.part == Part::Verbatim)?;
            let moved = self.edits.moved.contains_key(&id);
            (!moved && !range.is_empty()).then_some((range.start, (number, output)))
        });
        outputs.collect()
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

fn gather(onnx: &Onnx, layer: &LayerUse, names: &Names, format: Format) -> NewNode {
    let old = &onnx.document.nodes[layer.node];
    let indices = old.input(1).unwrap_or_default().to_owned();
    let zero_points = names.parts.zero_points.clone().unwrap_or_default();
    NewNode {
        like: Some(layer.node),
        name: String::new(),
        op_type: "GatherBlockQuantized",
        domain: MICROSOFT,
        inputs: vec![names.parts.codes.clone(), indices, names.parts.scales.clone(), zero_points],
        outputs: old.outputs.clone(),
        attributes: vec![
            ("bits", format.code_bits().into()),
            ("block_size", format.block_len() as i64),
            ("gather_axis", 0),
            ("quantize_axis", 1),
        ],
    }
}

fn header_entry(output: &Output, begin: u64) -> HeaderEntry {
    let Output { name, dtype, shape, .. } = output;
    let (name, shape) = (name.clone(), shape.clone());
    HeaderEntry { name, dtype: *dtype, shape, begin, end: begin + output.bytes() }
}

fn element_type(output: &Output) -> ElementType {
    use crate::checkpoint::Dtype;
    match output.dtype {
        Dtype::F32 => ElementType::Float,
        Dtype::F16 => ElementType::Float16,
        Dtype::BF16 => ElementType::Bfloat16,
        _ => ElementType::Uint8,
    }
}
