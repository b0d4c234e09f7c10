//! The fields of a protobuf message, as they lie in their bytes.

use std::ops::Range;

use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::encoding::{encode_key, encode_varint};

use super::OnnxProblem;
use super::source::{Cursor, Source};

/// Most fields of one message: far above the nodes and tensors of any model, and few enough to be held.
const MAX_FIELDS: usize = 1 << 22;

/// A field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its number in the schema.
    pub number: u32,
    /// All its bytes, key included.
    pub whole: Range<usize>,
    /// The bytes of its message, string or byte string; `None` for a number.
    pub payload: Option<Range<usize>>,
}

/// Splits the message at `range` of a file into its fields, in order. Payloads are passed over unread.
pub fn fields(source: &Source<'_>, range: Range<usize>) -> Result<Vec<Field>, OnnxProblem> {
    let mut rest = Cursor::new(source, range.clone());
    let fields = split(&mut rest, range.end);
    rest.failure().map_or(fields, Err)
}

/// Splits a message that ends at byte `end` of its file.
fn split(rest: &mut Cursor<'_>, end: usize) -> Result<Vec<Field>, OnnxProblem> {
    let mut fields = Vec::new();
    while rest.has_remaining() {
        let begin = end - rest.remaining();
        if fields.len() == MAX_FIELDS {
            return Err(OnnxProblem::TooManyFields { at: begin, limit: MAX_FIELDS });
        }
        let damaged =
            |e: prost::DecodeError| OnnxProblem::Damaged { at: begin, message: e.to_string() };
        let (number, wire_type) = decode_key(rest).map_err(damaged)?;
        let mut payload = None;
        if wire_type == WireType::LengthDelimited {
            let length = decode_varint(rest).map_err(damaged)?;
            if length > rest.remaining() as u64 {
                let message = format!("{length} bytes are said to follow, {} do", rest.remaining());
                return Err(OnnxProblem::Damaged { at: begin, message });
            }
            let start = end - rest.remaining();
            rest.advance(length as usize);
            payload = Some(start..start + length as usize);
        } else {
            skip_field(wire_type, number, rest, DecodeContext::default()).map_err(damaged)?;
        }
        fields.push(Field { number, whole: begin..end - rest.remaining(), payload });
    }
    Ok(fields)
}

/// What stands before `length` bytes of a message, string or byte string.
pub fn prefix(number: u32, length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut bytes);
    encode_varint(length, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_all_bytes_there_are() {
        // Number 1 is the varint 300, 2 the string "ab", 1999 a fixed 32-bit number.
        let mut bytes = vec![0x08, 0xAC, 0x02, 0x12, 2, b'a', b'b'];
        encode_key(1999, WireType::ThirtyTwoBit, &mut bytes);
        bytes.extend([1, 2, 3, 4]);
        let file = bytes.as_slice();
        let found = fields(&Source::new(&file), 0..bytes.len()).unwrap();
        let numbers: Vec<u32> = found.iter().map(|field| field.number).collect();
        assert_eq!(numbers, [1, 2, 1999]);
        assert_eq!(found[1].payload, Some(5..7));
        assert_eq!(found.last().unwrap().whole.end, bytes.len());
        assert_eq!(prefix(2, 2), bytes[3..5]);
    }

    #[test]
    fn fields_without_end_are_an_error_before_they_fill_memory() {
        let bytes = [0x78, 0].repeat(MAX_FIELDS + 1);
        let file = bytes.as_slice();
        let found = fields(&Source::new(&file), 0..bytes.len());
        assert_eq!(
            found,
            Err(OnnxProblem::TooManyFields { at: 2 * MAX_FIELDS, limit: MAX_FIELDS })
        );
        assert_eq!(fields(&Source::new(&file), 2..bytes.len()).unwrap().len(), MAX_FIELDS);
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        for bytes in [&[0x12, 5, b'a'][..], &[0x08], &[0x08, 0xFF], &[0x0F], &[0x00, 0x01]] {
            let found = fields(&Source::new(&bytes), 0..bytes.len());
            assert!(matches!(found, Err(OnnxProblem::Damaged { .. })));
        }
    }
}
