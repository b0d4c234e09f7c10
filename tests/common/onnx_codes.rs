//! What the codes of a node of an ONNX model stand for.

use half::{bf16, f16};
use quantscope::onnx::proto::tensor_proto::DataType;
use quantscope::onnx::proto::{NodeProto, TensorProto};

use super::Model;

/// A quantized weight, in blocks along its rows.
pub struct Codes {
    pub rows: usize,
    pub columns: usize,
    pub block: usize,
    /// A code for each weight, row by row.
    codes: Vec<u8>,
    /// Of each block, row by row.
    pub scales: Vec<f32>,
    /// Likewise.
    zero_points: Vec<u8>,
}

impl Codes {
    /// The weight of a `MatMulNBits` or `GatherBlockQuantized`.
    pub fn of(model: &Model, node: &NodeProto) -> Self {
        let number = |name: &str| {
            let found = node.attribute.iter().find(|attribute| attribute.name() == name);
            found.map(|attribute| attribute.i() as usize)
        };
        let (bits, block) = (number("bits").unwrap(), number("block_size").unwrap());
        let is_table = node.op_type() == "GatherBlockQuantized";
        let at = usize::from(!is_table);
        // A head may take the codes of a table through a Reshape.
        let stored = match model.producer(&node.input[at]) {
            Some(reshape) => &reshape.input[0],
            None => &node.input[at],
        };
        let bytes = model.bytes(stored);
        let rows = number("N").unwrap_or_else(|| model.tensor(stored).unwrap().dims[0] as usize);
        let row_codes = bytes.len() / rows * 8 / bits;
        let columns = number("K").unwrap_or(row_codes);
        let of_row = |row: &[u8]| unpacked(row, bits)[..columns].to_vec();
        let codes = bytes.chunks(bytes.len() / rows).flat_map(of_row).collect();
        let scales = floats_of(model, &node.input[2]);
        let across = columns.div_ceil(block);
        assert_eq!((row_codes, scales.len()), (across * block, rows * across));
        let zero_points = match node.input.get(3).filter(|name| !name.is_empty()) {
            None => vec![1 << (bits - 1); scales.len()],
            Some(name) => {
                let bytes = model.bytes(name);
                let of_row = |row: &[u8]| unpacked(row, bits)[..across].to_vec();
                bytes.chunks(bytes.len() / rows).flat_map(of_row).collect()
            }
        };
        Self { rows, columns, block, codes, scales, zero_points }
    }

    /// The block of each weight, row by row.
    pub fn blocks(&self) -> impl Iterator<Item = usize> {
        let across = self.columns.div_ceil(self.block);
        let (columns, block) = (self.columns, self.block);
        (0..self.codes.len()).map(move |i| i / columns * across + i % columns / block)
    }

    /// The numbers that they stand for, row by row.
    pub fn values(&self) -> Vec<f32> {
        let value = |(code, block): (&u8, usize)| {
            (f32::from(*code) - f32::from(self.zero_points[block])) * self.scales[block]
        };
        self.codes.iter().zip(self.blocks()).map(value).collect()
    }
}

/// Codes from bytes, the first in the low bits.
fn unpacked(bytes: &[u8], bits: usize) -> Vec<u8> {
    match bits {
        4 => bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect(),
        8 => bytes.to_vec(),
        other => panic!("{other} bits"),
    }
}

/// The numbers of an initializer.
pub fn floats_of(model: &Model, name: &str) -> Vec<f32> {
    let bytes = model.bytes(name);
    match model.tensor(name).map(TensorProto::data_type).map(DataType::try_from) {
        Some(Ok(DataType::Float)) => {
            bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        }
        Some(Ok(DataType::Float16)) => {
            bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect()
        }
        Some(Ok(DataType::Bfloat16)) => {
            bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect()
        }
        other => panic!("{name} is {other:?}"),
    }
}
