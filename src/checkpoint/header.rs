//! The header of a safetensors file: a little-endian u64 length, then JSON that gives every tensor
//! a dtype, a shape and a byte range of the data that follows.
//!
//! Reads what the `safetensors` crate accepts and nothing else, but says which tensor is wrong and
//! keeps the order of names; it needs the header's bytes only, never the data.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use safetensors::Dtype;
use serde::de::{Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::error::HeaderProblem;

/// Bytes of the length field before the header.
pub const LENGTH_BYTES: u64 = 8;

/// Longest header that the format allows.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Longest name of a tensor, in bytes. Real ones have a hundred, and what is done with names takes time that
/// grows faster than they do.
pub const MAX_NAME_BYTES: usize = 4096;

const METADATA: &str = "__metadata__";

/// What a header says besides, by key.
pub type Metadata = BTreeMap<String, String>;

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderEntry {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, outermost first; empty for a scalar.
    pub shape: Vec<u64>,
    /// Start of its bytes, from the end of the header.
    pub begin: u64,
    /// End of its bytes, from the end of the header.
    pub end: u64,
}

/// What a header is to say of one tensor.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a> {
    /// Its name.
    pub name: &'a str,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, outermost first.
    pub shape: &'a [u64],
    /// Its bytes, from the end of the header: start and end.
    pub data_offsets: [u64; 2],
}

impl<'a> From<&'a HeaderEntry> for Described<'a> {
    fn from(HeaderEntry { name, dtype, shape, begin, end }: &'a HeaderEntry) -> Self {
        Self { name, dtype: *dtype, shape, data_offsets: [*begin, *end] }
    }
}

/// Reads the length field and checks it against the file and the format's limit.
pub fn header_bytes(first_bytes: &[u8], file_bytes: u64) -> Result<u64, HeaderProblem> {
    let Some(length) = first_bytes.first_chunk::<8>() else {
        return Err(HeaderProblem::TooShort { file_bytes });
    };
    let header_bytes = u64::from_le_bytes(*length);
    if header_bytes > MAX_HEADER_BYTES {
        return Err(HeaderProblem::TooLarge { header_bytes, limit: MAX_HEADER_BYTES });
    }
    if header_bytes > file_bytes.saturating_sub(LENGTH_BYTES) {
        return Err(HeaderProblem::LongerThanFile { header_bytes, file_bytes });
    }
    Ok(header_bytes)
}

/// Parses and checks a header whose data are `data_bytes` long. Tensors come in the order of their
/// data, without overlap or hole, and with what else the header says.
pub fn parse(
    header: &[u8],
    data_bytes: u64,
) -> Result<(Vec<HeaderEntry>, Metadata), HeaderProblem> {
    let not_json = |message: String| HeaderProblem::NotJson { message };
    if header.first() != Some(&b'{') {
        return Err(not_json("it does not start with {".to_owned()));
    }
    let raw: RawHeader<'_> = serde_json::from_slice(header).map_err(|e| not_json(e.to_string()))?;

    let mut names = HashSet::with_capacity(raw.tensors.len());
    let mut entries = Vec::with_capacity(raw.tensors.len());
    for (name, tensor) in &raw.tensors {
        if name.len() > MAX_NAME_BYTES {
            let (bytes, limit) = (name.len(), MAX_NAME_BYTES);
            let start = name.chars().take(100).collect();
            return Err(HeaderProblem::LongName { start, bytes, limit });
        }
        if !names.insert(&**name) {
            return Err(HeaderProblem::DuplicateName { tensor: name.to_string() });
        }
        entries.push(check(name, tensor, data_bytes)?);
    }
    entries.sort_by_key(|entry| (entry.begin, entry.end));
    check_layout(&entries, data_bytes)?;
    Ok((entries, raw.metadata))
}

fn check(name: &str, raw: &RawTensor<'_>, data_bytes: u64) -> Result<HeaderEntry, HeaderProblem> {
    let (tensor, shape) = (name.to_owned(), raw.shape.clone());
    let named: Result<Dtype, serde::de::value::Error> =
        Dtype::deserialize((&*raw.dtype).into_deserializer());
    let Ok(dtype) = named else {
        return Err(HeaderProblem::UnknownDtype { tensor, dtype: raw.dtype.to_string() });
    };
    let bits = shape.iter().try_fold(dtype.bitsize() as u64, |bits, &n| bits.checked_mul(n));
    let Some(bits) = bits else {
        return Err(HeaderProblem::ShapeOverflow { tensor, shape });
    };
    if bits % 8 != 0 {
        return Err(HeaderProblem::PartialByte { tensor, dtype: raw.dtype.to_string(), shape });
    }
    let [begin, end] = raw.data_offsets;
    if end.checked_sub(begin) != Some(bits / 8) {
        return Err(HeaderProblem::WrongSize { tensor, needed: bits / 8, begin, end });
    }
    if end > data_bytes {
        return Err(HeaderProblem::OutOfRange { tensor, end, data_bytes });
    }
    Ok(HeaderEntry { name: tensor, dtype, shape, begin, end })
}

fn check_layout(entries: &[HeaderEntry], data_bytes: u64) -> Result<(), HeaderProblem> {
    let mut end = 0;
    let mut last_name = "";
    for entry in entries {
        if entry.begin < end {
            return Err(HeaderProblem::Overlap {
                first: last_name.to_owned(),
                second: entry.name.clone(),
                begin: entry.begin,
            });
        }
        if entry.begin > end {
            return Err(HeaderProblem::Hole { begin: end, bytes: entry.begin - end });
        }
        end = entry.end;
        last_name = &entry.name;
    }
    if end < data_bytes {
        return Err(HeaderProblem::Hole { begin: end, bytes: data_bytes - end });
    }
    Ok(())
}

/// The length field and header for `tensors`, which are in the order of their data, and for what else it is
/// to say. Written as the `safetensors` library writes it, down to the padding: space up to a multiple of
/// 8 bytes.
pub fn encode<'a, T: Into<Described<'a>>>(
    tensors: impl IntoIterator<Item = T>,
    metadata: &Metadata,
) -> Vec<u8> {
    let mut bytes = vec![0; LENGTH_BYTES as usize];
    for_each_piece(tensors, metadata, |piece| bytes.extend(piece));
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    let length = bytes.len() as u64 - LENGTH_BYTES;
    bytes[..LENGTH_BYTES as usize].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// How many bytes [`encode`] gives, which takes no memory for them.
pub fn encoded_bytes<'a, T: Into<Described<'a>>>(
    tensors: impl IntoIterator<Item = T>,
    metadata: &Metadata,
) -> u64 {
    let mut bytes = LENGTH_BYTES;
    for_each_piece(tensors, metadata, |piece| bytes += piece.len() as u64);
    bytes.next_multiple_of(8)
}

/// The JSON of a header, a piece for each tensor.
fn for_each_piece<'a, T: Into<Described<'a>>>(
    tensors: impl IntoIterator<Item = T>,
    metadata: &Metadata,
    mut take: impl FnMut(&[u8]),
) {
    fn push(piece: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
        serde_json::to_writer(piece, value).expect("strings and numbers are always JSON");
    }
    let mut piece = br#"{"__metadata__":{"format":"pt""#.to_vec();
    for (key, value) in metadata {
        piece.push(b',');
        push(&mut piece, key);
        piece.push(b':');
        push(&mut piece, value);
    }
    piece.push(b'}');
    for tensor in tensors {
        take(&piece);
        piece.clear();
        let Described { name, dtype, shape, data_offsets } = tensor.into();
        piece.push(b',');
        push(&mut piece, name);
        piece.push(b':');
        push(&mut piece, &WrittenTensor { dtype, shape, data_offsets });
    }
    piece.push(b'}');
    take(&piece);
}

#[derive(Serialize)]
struct WrittenTensor<'a> {
    dtype: Dtype,
    shape: &'a [u64],
    data_offsets: [u64; 2],
}

#[derive(Deserialize)]
struct RawTensor<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The text of a JSON string, of the JSON itself where nothing is escaped in it.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The JSON object with repeated names kept, so that they can be refused.
struct RawHeader<'a> {
    tensors: Vec<(Cow<'a, str>, RawTensor<'a>)>,
    metadata: Metadata,
}

impl<'de: 'a, 'a> Deserialize<'de> for RawHeader<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<RawHeader<'de>, M::Error> {
                let mut entries = Vec::new();
                let mut metadata: Option<Metadata> = None;
                while let Some(Text(name)) = map.next_key()? {
                    if name == METADATA {
                        if metadata.replace(map.next_value()?).is_some() {
                            return Err(serde::de::Error::duplicate_field(METADATA));
                        }
                    } else {
                        let tensor = map.next_value().map_err(|e| {
                            serde::de::Error::custom(format!("tensor \"{name}\": {e}"))
                        })?;
                        entries.push((name, tensor));
                    }
                }
                Ok(RawHeader { tensors: entries, metadata: metadata.unwrap_or_default() })
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, dtype: Dtype, shape: &[u64], begin: u64, end: u64) -> HeaderEntry {
        HeaderEntry { name: name.to_owned(), dtype, shape: shape.to_vec(), begin, end }
    }

    #[test]
    fn what_is_written_reads_back_and_the_safetensors_crate_agrees() {
        let tensors = [
            entry("scalar", Dtype::F32, &[], 0, 4),
            entry("quote\" and ü", Dtype::BF16, &[2, 3], 4, 16),
            entry("empty", Dtype::U8, &[0, 7], 16, 16),
        ];
        let metadata = Metadata::from([("a \"key\"".to_owned(), "{}".to_owned())]);
        let bytes = encode(&tensors, &metadata);
        assert_eq!(bytes.len() % 8, 0);
        let length = header_bytes(&bytes, bytes.len() as u64 + 16).unwrap() as usize;
        assert_eq!(length, bytes.len() - 8);
        let (mut read, also) = parse(&bytes[8..], 16).unwrap();
        read.sort_by_key(|t| t.begin + u64::from(t.name == "empty"));
        assert_eq!(read, tensors);
        assert_eq!(also[r#"a "key""#], "{}");

        let mut file = bytes;
        file.extend([0; 16]);
        let crate_reads = safetensors::SafeTensors::deserialize(&file).unwrap();
        assert_eq!(crate_reads.tensor("quote\" and ü").unwrap().shape(), [2, 3]);
    }

    #[test]
    fn problems_name_the_tensor() {
        let header = |body: &str| parse(format!("{{{body}}}").as_bytes(), 8);
        let a = r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
        let at = |range: &str| {
            header(&format!(r#"{a},"b":{{"dtype":"F32","shape":[1],"data_offsets":[{range}]}}"#))
        };
        let tensor = || "b".to_owned();
        assert!(at("4,8").is_ok());
        assert_eq!(
            at("2,6"),
            Err(HeaderProblem::Overlap { first: "a".to_owned(), second: tensor(), begin: 2 })
        );
        assert_eq!(
            at("5,9"),
            Err(HeaderProblem::OutOfRange { tensor: tensor(), end: 9, data_bytes: 8 })
        );
        assert_eq!(
            at("8,4"),
            Err(HeaderProblem::WrongSize { tensor: tensor(), needed: 4, begin: 8, end: 4 })
        );
        assert_eq!(header(a), Err(HeaderProblem::Hole { begin: 4, bytes: 4 }));
        assert_eq!(
            header(&format!("{a},{a}")),
            Err(HeaderProblem::DuplicateName { tensor: "a".to_owned() })
        );
        assert_eq!(
            header(&a.replace("F32", "F33")),
            Err(HeaderProblem::UnknownDtype { tensor: "a".to_owned(), dtype: "F33".to_owned() })
        );
        let huge = a.replace("[1]", "[4294967296,4294967296]");
        assert!(matches!(header(&huge), Err(HeaderProblem::ShapeOverflow { .. })));
        let negative = header(&a.replace("[1]", "[-1]")).unwrap_err();
        assert!(negative.to_string().contains("tensor \"a\""), "{negative}");
        let sub_byte = r#""a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}"#;
        assert!(matches!(header(sub_byte), Err(HeaderProblem::PartialByte { .. })));
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        assert_eq!(header_bytes(&[1, 2], 2), Err(HeaderProblem::TooShort { file_bytes: 2 }));
        assert!(matches!(
            header_bytes(&100u64.to_le_bytes(), 50),
            Err(HeaderProblem::LongerThanFile { .. })
        ));
        assert!(matches!(
            header_bytes(&u64::MAX.to_le_bytes(), u64::MAX),
            Err(HeaderProblem::TooLarge { .. })
        ));
        assert!(matches!(parse(b"", 0), Err(HeaderProblem::NotJson { .. })));
        assert!(matches!(parse(b"[]", 0), Err(HeaderProblem::NotJson { .. })));
        assert!(matches!(parse(b"{\xff}", 0), Err(HeaderProblem::NotJson { .. })));
    }
}
