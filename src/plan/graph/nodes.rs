//! The nodes of ONNX Runtime's own that take the place of those with float weights.

use super::{Build, Names};
use crate::checkpoint::Onnx;
use crate::dialect::onnx::OPSET;
use crate::format::Format;
use crate::model::onnx::{LayerUse, Operator};
use crate::onnx::{Data, ElementType, MICROSOFT, NewNode, NewTensor};

impl Build<'_> {
    /// Rewrites the nodes that take a tensor. Whether any takes the codes of a table as a matrix.
    pub(super) fn rewrite(
        &mut self,
        index: usize,
        names: &Names,
        format: Format,
        gathers_only: bool,
    ) -> bool {
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
                    name: format!("{}_bias", old.outputs[0]),
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

    /// Makes nodes that multiply by codes take those of a table.
    pub(super) fn take_codes_of(&mut self, id: usize, names: &Names) {
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

    /// Gives the codes of a table the shape of a matrix: as a second name for the same bytes where these
    /// are in a file of their own, else by a `Reshape`.
    pub(super) fn add_blocks(&mut self, names: &Names, format: Format) {
        let Format::Int { bits, group: Some(group), .. } = format else { return };
        let [rows, columns] = names.parts.shape;
        let block_bytes = u64::from(group) * u64::from(bits) / 8;
        let dims = vec![rows, columns / u64::from(group), block_bytes];
        let mut known = self.edits.initializers.iter().map(|tensor| &tensor.name);
        if known.any(|name| *name == names.blocks() || *name == names.block_shape()) {
            return;
        }
        let place = self.data.iter().find(|t| t.of(self.entries).name == names.parts.codes);
        if let (Some(place), Some(location)) = (place, self.data_name) {
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
