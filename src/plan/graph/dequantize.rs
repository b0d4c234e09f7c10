//! Quantized weights that `DequantizeLinear` makes floats of: every node goes on as before.

use super::{Build, Names};
use crate::dialect::{Part, onnx_qdq};
use crate::format::Format;
use crate::model::onnx::Operator;
use crate::onnx::NewNode;

impl Build<'_> {
    /// Puts codes in the place of a weight, and nodes that give the weight's name to what these stand
    /// for. Where the floats stay, for others, only nodes that take rows of the table read codes.
    pub(super) fn dequantize(&mut self, number: usize, format: Format) {
        let entry = &self.entries[number];
        let index = entry.member.index;
        let id = self.onnx.ids[index];
        let names = Names::of(entry);
        let shape = names.parts.shape;
        let mut tensors = self.outputs(number);
        let stored = entry.outputs.iter().filter(|output| output.part != Part::Verbatim);
        for (tensor, output) in tensors.iter_mut().zip(stored) {
            if let Some(element_type) = onnx_qdq::element_type(output.part, format) {
                tensor.element_type = element_type;
                // Elements, where the plan counts bytes.
                let across = shape[1].div_ceil(format.block_len() as u64);
                let columns = if output.part == Part::Codes { shape[1] } else { across };
                tensor.dims = vec![shape[0], columns];
            }
        }
        let value = self.onnx.document.tensors[id].name.clone();
        let gathers_only = entry.outputs.iter().any(|output| output.part == Part::Verbatim);
        let (given, inputs_first) = if gathers_only {
            self.edits.initializers.extend(tensors);
            let given = format!("{}_dequantized", names.parts.codes);
            self.take_rows_of(index, &given);
            (given, false)
        } else {
            self.replace(id, tensors);
            self.edits.gone.remove(&value);
            (value, self.uses[index].inputs_first)
        };
        let rows = if inputs_first { format!("{}_rows", names.parts.codes) } else { given.clone() };
        let mut inputs = vec![names.parts.codes.clone(), names.parts.scales.clone()];
        inputs.extend(names.parts.zero_points.clone());
        let node = |op_type, inputs, output: &str, attributes| NewNode {
            like: None,
            name: format!("{output}_{op_type}"),
            op_type,
            domain: "",
            inputs,
            outputs: vec![output.to_owned()],
            attributes,
        };
        let block = vec![("axis", 1), ("block_size", format.block_len() as i64)];
        self.edits.first_nodes.push(node("DequantizeLinear", inputs, &rows, block));
        if inputs_first {
            self.edits.first_nodes.push(node("Transpose", vec![rows], &given, Vec::new()));
        }
    }

    /// Makes nodes that take rows of a table take those of another value.
    fn take_rows_of(&mut self, index: usize, value: &str) {
        for layer in &self.uses[index].layers {
            if layer.operator == Operator::Gather {
                let mut inputs = self.onnx.document.nodes[layer.node].inputs.clone();
                inputs[0] = value.to_owned();
                self.edits.inputs.insert(layer.node, inputs);
            }
        }
    }
}
