//! Large checkpoints that take no room: headers, index and config are written, weights are holes in files.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use quantscope::checkpoint::header::{self, HeaderEntry, Metadata};
use quantscope::checkpoint::index::{self, INDEX_FILE, WeightMap};
use safetensors::Dtype;

/// Names and shapes of tensors.
pub type Shapes = Vec<(String, Vec<u64>)>;

const HIDDEN: u64 = 2048;
const INNER: u64 = 512;
const VOCABULARY: u64 = 151_936;

/// How experts are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Experts {
    /// Each projection of each is a tensor of its own.
    Single,
    /// Those of a layer are two tensors of three dimensions.
    Fused,
}

/// The tensors of a mixture of experts in the family of Qwen 3.
pub fn mixture(layers: u32, experts: u32, stored: Experts) -> Shapes {
    let mut tensors: Shapes = Vec::new();
    let mut add = |name: String, shape: &[u64]| tensors.push((name, shape.to_vec()));
    add("model.embed_tokens.weight".to_owned(), &[VOCABULARY, HIDDEN]);
    for layer in 0..layers {
        let layer = format!("model.layers.{layer}");
        add(format!("{layer}.input_layernorm.weight"), &[HIDDEN]);
        let list = format!("{layer}.mlp.experts");
        match stored {
            Experts::Single => {
                for expert in 0..experts {
                    add(format!("{list}.{expert}.down_proj.weight"), &[HIDDEN, INNER]);
                    add(format!("{list}.{expert}.gate_proj.weight"), &[INNER, HIDDEN]);
                    add(format!("{list}.{expert}.up_proj.weight"), &[INNER, HIDDEN]);
                }
            }
            Experts::Fused => {
                let count = u64::from(experts);
                add(format!("{list}.down_proj"), &[count, HIDDEN, INNER]);
                add(format!("{list}.gate_up_proj"), &[count, 2 * INNER, HIDDEN]);
            }
        }
        add(format!("{layer}.mlp.gate.weight"), &[experts.into(), HIDDEN]);
        add(format!("{layer}.post_attention_layernorm.weight"), &[HIDDEN]);
        add(format!("{layer}.self_attn.k_norm.weight"), &[128]);
        add(format!("{layer}.self_attn.k_proj.weight"), &[512, HIDDEN]);
        add(format!("{layer}.self_attn.o_proj.weight"), &[HIDDEN, 4096]);
        add(format!("{layer}.self_attn.q_norm.weight"), &[128]);
        add(format!("{layer}.self_attn.q_proj.weight"), &[4096, HIDDEN]);
        add(format!("{layer}.self_attn.v_proj.weight"), &[512, HIDDEN]);
    }
    add("model.norm.weight".to_owned(), &[HIDDEN]);
    add("lm_head.weight".to_owned(), &[VOCABULARY, HIDDEN]);
    tensors
}

/// Writes a checkpoint of [`mixture`] in bf16, its tensors one after the other in so many shards; one is
/// a file without an index.
pub fn write_sparse(folder: &Path, layers: u32, experts: u32, stored: Experts, shards: usize) {
    fs::create_dir_all(folder).unwrap();
    let config = serde_json::json!({
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": HIDDEN,
        "moe_intermediate_size": INNER, "num_hidden_layers": layers, "num_experts": experts,
        "tie_word_embeddings": false, "vocab_size": VOCABULARY, "torch_dtype": "bfloat16",
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();

    let tensors = mixture(layers, experts, stored);
    let (mut weight_map, mut bytes) = (WeightMap::new(), 0);
    for (i, of_shard) in tensors.chunks(tensors.len().div_ceil(shards)).enumerate() {
        let name = match shards {
            1 => "model.safetensors".to_owned(),
            _ => format!("model-{:05}-of-{shards:05}.safetensors", i + 1),
        };
        bytes += write_shard(&folder.join(&name), of_shard);
        weight_map.extend(of_shard.iter().map(|(tensor, _)| (tensor.clone(), name.clone())));
    }
    if shards > 1 {
        fs::write(folder.join(INDEX_FILE), index::encode(&weight_map, bytes)).unwrap();
    }
}

/// Writes a file and gives the bytes of its data.
fn write_shard(path: &Path, tensors: &[(String, Vec<u64>)]) -> u64 {
    let mut end = 0;
    let entry = |(name, shape): &(String, Vec<u64>)| {
        let begin = end;
        end += 2 * shape.iter().product::<u64>();
        HeaderEntry { name: name.clone(), dtype: Dtype::BF16, shape: shape.clone(), begin, end }
    };
    let entries: Vec<HeaderEntry> = tensors.iter().map(entry).collect();
    let header = header::encode(&entries, &Metadata::new());
    let mut file = File::create(path).unwrap();
    file.write_all(&header).unwrap();
    file.set_len(header.len() as u64 + end).unwrap();
    end
}
