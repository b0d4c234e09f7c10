//! What has to hold for headers and indexes that are accepted. The fuzz targets include this file.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use quantscope::checkpoint::header::{self, HeaderEntry, LENGTH_BYTES};
use quantscope::checkpoint::index::{self, WeightMap};
use safetensors::SafeTensors;

/// Reads a safetensors file as the program does. If it is accepted, its tensors lie one after the
/// other and fill the data, and the `safetensors` crate reads the same from it.
pub fn accepted_file(file: &[u8]) -> Option<Vec<HeaderEntry>> {
    let first = &file[..file.len().min(LENGTH_BYTES as usize)];
    let length = header::header_bytes(first, file.len() as u64).ok()? as usize;
    let (json, data) = file[first.len()..].split_at(length);
    let (tensors, _) = header::parse(json, data.len() as u64).ok()?;

    let mut end = 0;
    for tensor in &tensors {
        assert_eq!(tensor.begin, end, "no overlap, no hole");
        end = tensor.end;
        let bits = tensor.shape.iter().product::<u64>() * tensor.dtype.bitsize() as u64;
        assert_eq!((tensor.end - tensor.begin) * 8, bits, "{}", tensor.name);
    }
    assert_eq!(end, data.len() as u64);
    let names: BTreeSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names.len(), tensors.len());

    let text = String::from_utf8_lossy(json);
    let theirs = SafeTensors::deserialize(file);
    let theirs = theirs.unwrap_or_else(|e| panic!("the safetensors crate says {e} of {text}"));
    assert_eq!(theirs.len(), tensors.len(), "{text}");
    for tensor in &tensors {
        let view = theirs.tensor(&tensor.name).unwrap();
        let shape: Vec<u64> = view.shape().iter().map(|&n| n as u64).collect();
        assert_eq!((view.dtype(), shape), (tensor.dtype, tensor.shape.clone()));
    }
    Some(tensors)
}

/// Parses an index. If it is accepted, no shard leaves the folder, and it is written and read back.
pub fn accepted_index(json: &[u8]) -> Option<WeightMap> {
    let map = index::parse(json).ok()?;
    for shard in map.values() {
        let below = Path::new(shard).components().all(|c| matches!(c, Component::Normal(_)));
        assert!(below && !shard.is_empty() && !shard.contains('\\'), "{shard}");
    }
    assert_eq!(index::parse(index::encode(&map, 12).as_bytes()).as_ref(), Ok(&map));
    Some(map)
}
