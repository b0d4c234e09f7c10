//! `model.safetensors.index.json`: which shard holds which tensor.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::error::IndexProblem;

/// The name of the index beside sharded weights.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// Shard file of each tensor, by name.
pub type WeightMap = BTreeMap<String, String>;

/// Parses an index. Names that occur twice, and shard names that are not plain relative paths
/// below the folder, are refused.
pub fn parse(json: &[u8]) -> Result<WeightMap, IndexProblem> {
    let raw: RawIndex = serde_json::from_slice(json)
        .map_err(|e| IndexProblem::NotJson { message: e.to_string() })?;
    let mut map = WeightMap::new();
    for (tensor, shard) in raw.weight_map.0 {
        if !stays_below(&shard) {
            return Err(IndexProblem::OutsideFolder { shard });
        }
        match map.entry(tensor) {
            Entry::Vacant(place) => place.insert(shard),
            Entry::Occupied(place) => {
                return Err(IndexProblem::DuplicateName { tensor: place.key().clone() });
            }
        };
    }
    Ok(map)
}

/// The text of an index, as `save_pretrained` writes it: names sorted, two spaces of indent.
pub fn encode(weight_map: &WeightMap, data_bytes: u64) -> String {
    let index = WrittenIndex { metadata: Total { total_size: data_bytes }, weight_map };
    let mut text = serde_json::to_string_pretty(&index).expect("strings are always JSON");
    text.push('\n');
    text
}

/// Whether a shard name, on any system's rules, cannot leave the folder.
fn stays_below(shard: &str) -> bool {
    !shard.is_empty()
        && !shard.contains(['\\', ':', '\0'])
        && shard.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[derive(Serialize)]
struct WrittenIndex<'a> {
    metadata: Total,
    weight_map: &'a WeightMap,
}

#[derive(Serialize)]
struct Total {
    total_size: u64,
}

#[derive(Deserialize)]
struct RawIndex {
    weight_map: Pairs,
}

/// A JSON object of strings with repeated names kept, so that they can be refused.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensor names and shard names")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let map: WeightMap =
            [("b.weight", "model-1.safetensors"), ("a.weight", "sub/model-2.safetensors")]
                .map(|(tensor, shard)| (tensor.to_owned(), shard.to_owned()))
                .into();
        let text = encode(&map, 12);
        assert!(text.starts_with("{\n  \"metadata\": {\n    \"total_size\": 12\n"));
        assert_eq!(parse(text.as_bytes()).unwrap(), map);
    }

    #[test]
    fn shards_that_could_leave_the_folder_are_refused() {
        for shard in ["../x", "/etc/passwd", "a/../../x", "", ".", "a//b", "..\\x", "C:x", "./x"] {
            let json = serde_json::json!({ "weight_map": { "w": shard } }).to_string();
            assert_eq!(
                parse(json.as_bytes()),
                Err(IndexProblem::OutsideFolder { shard: shard.to_owned() })
            );
        }
    }

    #[test]
    fn hostile_indexes_are_errors() {
        let twice = br#"{"weight_map":{"w":"a","w":"b"}}"#;
        assert_eq!(parse(twice), Err(IndexProblem::DuplicateName { tensor: "w".to_owned() }));
        for json in ["", "{}", "[]", r#"{"weight_map":[]}"#, r#"{"weight_map":{"w":1}}"#] {
            assert!(matches!(parse(json.as_bytes()), Err(IndexProblem::NotJson { .. })), "{json}");
        }
    }
}
