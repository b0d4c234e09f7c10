//! Checkpoints that tests write and read: safetensors files from lists of tensors.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

/// A tensor with its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<u64>,
    pub bytes: Vec<u8>,
}

impl Stored {
    pub fn new(name: &str, dtype: Dtype, shape: &[u64], bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), dtype, shape: shape.to_vec(), bytes }
    }

    /// A tensor of plausible weights, which its name and shape determine.
    pub fn weights(name: &str, dtype: Dtype, shape: &[u64]) -> Self {
        let count = shape.iter().product::<u64>() as usize;
        let mut random =
            Random(name.bytes().fold(7u64, |seed, b| seed.wrapping_mul(31) + u64::from(b)));
        Self::new(name, dtype, shape, floats(dtype, (0..count).map(|_| random.weight())))
    }
}

/// Values as the bytes of a float type.
pub fn floats(dtype: Dtype, values: impl Iterator<Item = f32>) -> Vec<u8> {
    match dtype {
        Dtype::BF16 => values.flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect(),
        Dtype::F16 => values.flat_map(|v| f16::from_f32(v).to_le_bytes()).collect(),
        Dtype::F32 => values.flat_map(f32::to_le_bytes).collect(),
        Dtype::F64 => values.flat_map(|v| f64::from(v).to_le_bytes()).collect(),
        other => panic!("{other} is no float"),
    }
}

/// xorshift64*.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    /// Bell-shaped, of a deviation of about 0.02.
    fn weight(&mut self) -> f32 {
        let bits = self.bits();
        let sum: u64 = (0..4).map(|i| (bits >> (16 * i)) & 0xFFFF).sum();
        (sum as f32 / 131_072.0 - 1.0) * 0.07
    }
}

/// A language model of `layers` layers, with a head of its own.
pub fn language_model(dtype: Dtype, layers: u32) -> Vec<Stored> {
    let mut tensors = vec![
        Stored::weights("lm_head.weight", dtype, &[96, 64]),
        Stored::weights("model.embed_tokens.weight", dtype, &[96, 64]),
        Stored::weights("model.norm.weight", dtype, &[64]),
    ];
    for layer in 0..layers {
        let of_layer = [
            ("input_layernorm.weight", vec![64]),
            ("mlp.down_proj.weight", vec![64, 128]),
            ("mlp.gate_proj.weight", vec![128, 64]),
            ("mlp.up_proj.weight", vec![128, 64]),
            ("self_attn.k_proj.weight", vec![32, 64]),
            ("self_attn.o_proj.weight", vec![64, 64]),
            ("self_attn.q_proj.weight", vec![64, 64]),
            ("self_attn.v_proj.weight", vec![32, 64]),
        ];
        tensors.extend(of_layer.map(|(name, shape)| {
            Stored::weights(&format!("model.layers.{layer}.{name}"), dtype, &shape)
        }));
    }
    tensors
}

/// The config of [`language_model`].
pub fn config(tied: bool) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64,
        "tie_word_embeddings": tied,
    })
}

/// A file with any header and data.
pub fn write_raw(file: &Path, header: &str, data: &[u8]) {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    fs::write(file, bytes).unwrap();
}

/// A valid file of tensors, in their order.
pub fn write_file(file: &Path, tensors: &[Stored]) {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for tensor in tensors {
        let begin = data.len();
        data.extend(&tensor.bytes);
        let info = json!({
            "dtype": tensor.dtype.to_string(), "shape": tensor.shape,
            "data_offsets": [begin, data.len()],
        });
        header.insert(tensor.name.clone(), info);
    }
    write_raw(file, &Value::Object(header).to_string(), &data);
}

/// A checkpoint folder of one file.
pub fn write_single(folder: &Path, tensors: &[Stored], config: &Value) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    write_file(&folder.join("model.safetensors"), tensors);
}

/// A checkpoint folder of shards with an index, tensors dealt out in turn.
pub fn write_sharded(folder: &Path, tensors: &[Stored], shards: usize, config: &Value) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut weight_map = Map::new();
    for shard in 0..shards {
        let name = format!("model-{:05}-of-{shards:05}.safetensors", shard + 1);
        let of_shard: Vec<Stored> = tensors.iter().skip(shard).step_by(shards).cloned().collect();
        write_file(&folder.join(&name), &of_shard);
        weight_map.extend(of_shard.into_iter().map(|t| (t.name, name.clone().into())));
    }
    write_index(folder, weight_map.into());
}

/// The index of a folder.
pub fn write_index(folder: &Path, weight_map: Value) {
    let index = json!({ "metadata": {}, "weight_map": weight_map });
    fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

/// The tensors of one file.
pub fn read_file(file: &Path) -> Vec<Stored> {
    let bytes = fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut stored: Vec<Stored> = tensors
        .iter()
        .map(|(name, t)| {
            let shape: Vec<u64> = t.shape().iter().map(|&n| n as u64).collect();
            Stored::new(name, t.dtype(), &shape, t.data().to_vec())
        })
        .collect();
    stored.sort_by(|a, b| a.name.cmp(&b.name));
    stored
}

/// All tensors of a folder, by name; none may be stored twice.
pub fn read_folder(folder: &Path) -> BTreeMap<String, Stored> {
    let mut tensors = BTreeMap::new();
    for (name, _) in files(folder) {
        if name.ends_with(".safetensors") {
            for tensor in read_file(&folder.join(name)) {
                let twice = tensors.insert(tensor.name.clone(), tensor);
                assert_eq!(twice, None);
            }
        }
    }
    tensors
}

/// Every file below a folder, by its path from there, with its bytes. Folders without files count
/// as files without bytes.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            let below = files(&entry.path());
            if below.is_empty() {
                found.insert(format!("{name}/"), Vec::new());
            }
            found.extend(below.into_iter().map(|(path, bytes)| (format!("{name}/{path}"), bytes)));
        } else {
            found.insert(name, fs::read(entry.path()).unwrap_or_default());
        }
    }
    found
}

/// A JSON file.
pub fn read_json(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// Changes a JSON file.
pub fn edit_json(file: &Path, change: impl FnOnce(&mut Value)) {
    let mut json = read_json(file);
    change(&mut json);
    fs::write(file, json.to_string()).unwrap();
}

/// The values of a bf16 tensor.
pub fn values(tensor: &Stored) -> Vec<f32> {
    let bytes = tensor.bytes.as_chunks().0.iter();
    bytes.map(|b| bf16::from_le_bytes(*b).to_f32()).collect()
}

/// Signal to noise of a bf16 tensor beside its source, in dB.
pub fn sqnr(source: &Stored, other: &Stored) -> f64 {
    let (source, other) = (values(source), values(other));
    let squares = |values: &mut dyn Iterator<Item = f32>| -> f64 {
        values.map(|v| f64::from(v).powi(2)).sum()
    };
    let noise = squares(&mut source.iter().zip(&other).map(|(a, b)| a - b));
    10.0 * (squares(&mut source.iter().copied()) / noise).log10()
}
