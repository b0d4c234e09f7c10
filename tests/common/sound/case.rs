//! A checkpoint that is described by text, so that changes of it mostly stay one.

use std::fs;
use std::path::{Path, PathBuf};

use quantscope::checkpoint::Dtype;
use quantscope::checkpoint::header::{HeaderEntry, Metadata, encode};
use quantscope::numeric::FloatKind;
use serde_json::Value;
use tempfile::TempDir;

/// Most bytes of data that a case has.
const MAX_DATA_BYTES: u64 = 1 << 20;

/// A folder in memory, where the system has such.
pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a folder for a case")
}

/// Four parts between lines of `---`: `config.json`; another description, which is `hf_quant_config.json` and
/// `q4gsw.json`; tensors, one a line with name, type and dimensions, and perhaps `=` and their first values, or
/// `@ KEY VALUE` for what the header says besides; and bytes, which all other data consist of over and over.
pub struct Case<'a> {
    config: &'a [u8],
    other: &'a [u8],
    tensors: Vec<HeaderEntry>,
    metadata: Metadata,
    /// Where data begin that are given, and what they are.
    given: Vec<(u64, Vec<u8>)>,
    pattern: &'a [u8],
}

impl<'a> Case<'a> {
    /// `None` for bytes that describe no checkpoint, or too large a one.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (config, rest) = split(bytes);
        let (other, rest) = split(rest);
        let (tensors, pattern) = split(rest);
        let (tensors_of, metadata, given) = (Vec::new(), Metadata::new(), Vec::new());
        let mut case = Self { config, other, tensors: tensors_of, metadata, given, pattern };
        let mut end = 0_u64;
        for line in std::str::from_utf8(tensors).ok()?.lines() {
            if let Some(said) = line.strip_prefix("@ ") {
                let (key, value) = said.split_once(' ')?;
                case.metadata.insert(key.to_owned(), value.to_owned());
                continue;
            }
            let (line, values) = line.split_once(" = ").unwrap_or((line, ""));
            let mut words = line.split(' ');
            let name = words.next().filter(|name| !name.is_empty())?.to_owned();
            let dtype: Dtype = serde_json::from_value(Value::from(words.next()?)).ok()?;
            let shape: Vec<u64> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
            let bits = dtype.bitsize() as u64;
            let bits = shape.iter().try_fold(bits, |bits, n| bits.checked_mul(*n))?;
            let begin = end;
            end = begin.checked_add(bits / 8).filter(|end| *end <= MAX_DATA_BYTES)?;
            case.given.push((begin, encoded(dtype, values)));
            case.tensors.push(HeaderEntry { name, dtype, shape, begin, end });
        }
        Some(case)
    }

    /// Writes it into `src` of a folder; gives that.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let source = folder.join("src");
        fs::create_dir(&source).expect("a folder for a case");
        let mut file = encode(&self.tensors, &self.metadata);
        let data = self.tensors.last().map_or(0, |tensor| tensor.end as usize);
        let pattern = if self.pattern.is_empty() { b"\x3C" } else { self.pattern };
        let start = file.len();
        file.extend(pattern.repeat(data.div_ceil(pattern.len())));
        file.truncate(start + data);
        for (at, bytes) in &self.given {
            let place = file[start + *at as usize..].iter_mut();
            place.zip(bytes).for_each(|(to, byte)| *to = *byte);
        }
        for (name, bytes) in [
            ("model.safetensors", file.as_slice()),
            ("config.json", self.config),
            ("hf_quant_config.json", self.other),
            ("q4gsw.json", self.other),
        ] {
            if !bytes.is_empty() {
                fs::write(source.join(name), bytes).expect("a file for a case");
            }
        }
        source
    }
}

/// Values as they lie in a tensor: floats of 16 and 32 bits as numbers, `NaN` and `inf` among them, and all
/// others as whole numbers of so many bytes. What is neither is left out.
fn encoded(dtype: Dtype, values: &str) -> Vec<u8> {
    let words = values.split(' ');
    let floats = words.clone().filter_map(|word| word.parse::<f32>().ok());
    let short = |kind: FloatKind, value: f32| (kind.pattern(value) as u16).to_le_bytes();
    match dtype {
        Dtype::F32 => floats.flat_map(f32::to_le_bytes).collect(),
        Dtype::F16 => floats.flat_map(|value| short(FloatKind::F16, value)).collect(),
        Dtype::BF16 => floats.flat_map(|value| short(FloatKind::Bf16, value)).collect(),
        _ => {
            let numbers = words.filter_map(|word| word.parse::<i64>().ok());
            let width = dtype.bitsize() / 8;
            numbers.flat_map(|n| n.to_le_bytes().into_iter().take(width)).collect()
        }
    }
}

/// What is before the first line of `---`, and what is after it.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    const BETWEEN: &[u8] = b"\n---\n";
    match bytes.windows(BETWEEN.len()).position(|window| window == BETWEEN) {
        Some(at) => (&bytes[..at], &bytes[at + BETWEEN.len()..]),
        None => (bytes, &[]),
    }
}
