//! Tensors of an ONNX file: their types, and where their elements are.

use std::ops::Range;

use prost::bytes::Bytes;

use super::OnnxProblem;
use super::proto::tensor_proto::{DataLocation, DataType};
use super::proto::{StringStringEntryProto, TensorProto};

/// A type of elements.
pub type ElementType = DataType;

/// Where the elements of a tensor are, little-endian and in row-major order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the file itself, at these bytes.
    Inline(Range<u64>),
    /// In a file beside it.
    External {
        /// Path of that file from the folder of the model.
        location: String,
        /// Where the elements begin.
        offset: u64,
        /// Bytes that they take.
        length: u64,
    },
    /// In a field for numbers of their type: these bytes are made from it.
    Typed(Bytes),
}

/// Bits of an element; `None` for strings.
pub fn bits(data_type: DataType) -> Option<u64> {
    use DataType::{
        Bfloat16, Bool, Complex64, Complex128, Double, Float, Float4e2m1, Float6e2m3, Float6e3m2,
        Float8e4m3fn, Float8e4m3fnuz, Float8e5m2, Float8e5m2fnuz, Float8e8m0, Float16, Int2, Int4,
        Int8, Int16, Int32, Int64, String, Uint2, Uint4, Uint8, Uint16, Uint32, Uint64, Undefined,
    };
    Some(match data_type {
        Uint2 | Int2 => 2,
        Uint4 | Int4 | Float4e2m1 => 4,
        Float6e2m3 | Float6e3m2 => 6,
        Uint8 | Int8 | Bool | Float8e4m3fn | Float8e4m3fnuz | Float8e5m2 | Float8e5m2fnuz
        | Float8e8m0 => 8,
        Uint16 | Int16 | Float16 | Bfloat16 => 16,
        Float | Int32 | Uint32 => 32,
        Double | Int64 | Uint64 | Complex64 => 64,
        Complex128 => 128,
        String | Undefined => return None,
    })
}

/// Dimensions of a tensor, and the bytes that its elements take together; `None` for strings.
pub fn shape(proto: &TensorProto) -> Result<(Vec<u64>, Option<u64>), OnnxProblem> {
    let tensor = || proto.name().to_owned();
    let dimensions = || OnnxProblem::Dimensions { tensor: tensor(), dims: proto.dims.clone() };
    let dims: Option<Vec<u64>> = proto.dims.iter().map(|&n| u64::try_from(n).ok()).collect();
    let dims = dims.ok_or_else(dimensions)?;
    let number = proto.data_type.unwrap_or(0);
    let data_type =
        DataType::try_from(number)
            .ok()
            .filter(|known| *known != DataType::Undefined)
            .ok_or_else(|| OnnxProblem::UnknownType { tensor: tensor(), data_type: number })?;
    let bytes = match bits(data_type) {
        None => None,
        Some(bits) => {
            let total = dims.iter().try_fold(bits, |all, &n| all.checked_mul(n));
            Some(total.ok_or_else(dimensions)?.div_ceil(8))
        }
    };
    Ok((dims, bytes))
}

/// Where the elements of a tensor are, which take `needed` bytes; `raw` is where its raw data are in the
/// file, which the message comes without.
pub fn place(
    proto: &TensorProto,
    needed: Option<u64>,
    raw: Option<Range<usize>>,
) -> Result<Place, OnnxProblem> {
    let tensor = || proto.name().to_owned();
    let sized = |found: u64| match needed {
        Some(needed) if needed != found => {
            Err(OnnxProblem::WrongSize { tensor: tensor(), found, needed })
        }
        _ => Ok(()),
    };
    if proto.data_location() == DataLocation::External {
        return external(proto, needed);
    }
    if let Some(raw) = raw {
        sized(raw.len() as u64)?;
        return Ok(Place::Inline(raw.start as u64..raw.end as u64));
    }
    let bytes = typed(proto);
    sized(bytes.len() as u64)?;
    Ok(Place::Typed(bytes))
}

fn external(proto: &TensorProto, needed: Option<u64>) -> Result<Place, OnnxProblem> {
    let tensor = || proto.name().to_owned();
    let value = |key: &str| {
        let entry = proto.external_data.iter().find(|entry| entry.key() == key);
        entry.map(StringStringEntryProto::value)
    };
    let location = value("location").unwrap_or_default().to_owned();
    let problem = |why: &str| OnnxProblem::External {
        tensor: tensor(),
        location: location.clone(),
        why: why.to_owned(),
    };
    let number = |key: &str, otherwise: u64| match value(key) {
        None | Some("") => Ok(otherwise),
        Some(text) => text.parse().map_err(|_| problem(&format!("given with the {key} {text:?}"))),
    };
    let leaves = |part: &str| matches!(part, "" | "..") || part.contains(['\\', ':', '\0']);
    let mut parts = location.split('/').filter(|part| *part != ".").peekable();
    if parts.peek().is_none() || parts.any(leaves) {
        return Err(problem("not a path below the folder of the model"));
    }
    let needed = needed.ok_or_else(|| problem("said to hold strings"))?;
    let (offset, length) = (number("offset", 0)?, number("length", needed)?);
    if length != needed {
        return Err(OnnxProblem::WrongSize { tensor: tensor(), found: length, needed });
    }
    offset.checked_add(length).ok_or_else(|| problem("too short"))?;
    Ok(Place::External { location, offset, length })
}

/// Elements from the fields for numbers, as their types lie in memory.
fn typed(proto: &TensorProto) -> Bytes {
    let data_type = DataType::try_from(proto.data_type.unwrap_or(0)).unwrap_or_default();
    let bytes: Vec<u8> = match data_type {
        DataType::String => {
            proto.string_data.iter().flat_map(|text| text.iter().copied()).collect()
        }
        DataType::Float | DataType::Complex64 => {
            proto.float_data.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        DataType::Double | DataType::Complex128 => {
            proto.double_data.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        DataType::Int64 => proto.int64_data.iter().flat_map(|n| n.to_le_bytes()).collect(),
        DataType::Uint64 => proto.uint64_data.iter().flat_map(|n| n.to_le_bytes()).collect(),
        DataType::Uint32 => {
            proto.uint64_data.iter().flat_map(|n| (*n as u32).to_le_bytes()).collect()
        }
        // Whatever is shorter has a whole 32-bit number for itself, or for the byte that it shares.
        _ => {
            let width = bits(data_type).map_or(1, |bits| (bits / 8).max(1)) as usize;
            proto.int32_data.iter().flat_map(|n| n.to_le_bytes()[..width.min(4)].to_vec()).collect()
        }
    };
    Bytes::from(bytes)
}
