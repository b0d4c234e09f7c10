//! What `config.json` says about a model.

use std::path::Path;

use serde_json::{Map, Value};

use super::error::CheckpointError;
use super::file::read_small_file;
use super::python_json;

/// The name of the model's config.
pub const CONFIG_FILE: &str = "config.json";

/// The key of the quantization.
pub const QUANTIZATION: &str = "quantization_config";

/// Where multimodal models keep the settings of their language model.
const TEXT_CONFIGS: [&str; 4] = ["text_config", "llm_config", "language_config", "thinker_config"];

/// `config.json`, every key and number as it was written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// The whole file.
    pub json: Map<String, Value>,
}

impl Config {
    /// Reads the file; `None` if there is none.
    pub fn read(file: &Path) -> Result<Option<Self>, CheckpointError> {
        let text = match read_small_file(file) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CheckpointError::Io { path: file.to_owned(), source }),
        };
        let invalid = |message: String| CheckpointError::Config { file: file.to_owned(), message };
        match python_json::parse(&text).map_err(|e| invalid(e.to_string()))? {
            Value::Object(json) => Ok(Some(Self { json })),
            _ => Err(invalid("it is not an object".to_owned())),
        }
    }

    /// The class that runs the model, such as `LlamaForCausalLM`.
    pub fn architecture(&self) -> Option<&str> {
        self.json.get("architectures")?.get(0)?.as_str()
    }

    /// The family, such as `llama`.
    pub fn model_type(&self) -> Option<&str> {
        self.get("model_type")?.as_str()
    }

    /// Whether embedding and head share a matrix, if the config says.
    pub fn tie_word_embeddings(&self) -> Option<bool> {
        self.get("tie_word_embeddings")?.as_bool()
    }

    /// The type that the model is run in, such as `bfloat16`.
    pub fn float_type(&self) -> Option<&str> {
        self.get("dtype").or_else(|| self.get("torch_dtype"))?.as_str()
    }

    /// Number of decoder layers.
    pub fn layer_count(&self) -> Option<u64> {
        self.first_number(&["num_hidden_layers", "n_layer", "num_layers"])
    }

    /// Length of a hidden state.
    pub fn hidden_size(&self) -> Option<u64> {
        self.first_number(&["hidden_size", "n_embd", "d_model"])
    }

    /// Number of routed experts a layer.
    pub fn expert_count(&self) -> Option<u64> {
        self.first_number(&[
            "num_experts",
            "num_local_experts",
            "n_routed_experts",
            "moe_num_experts",
        ])
    }

    /// What it says about the quantization, at the top or of the language model inside.
    pub fn quantization(&self) -> Option<&Value> {
        self.get(QUANTIZATION)
    }

    /// The whole file without what it says about the quantization.
    pub fn without_quantization(&self) -> Map<String, Value> {
        let mut json = self.json.clone();
        json.shift_remove(QUANTIZATION);
        for name in TEXT_CONFIGS {
            if let Some(inner) = json.get_mut(name).and_then(Value::as_object_mut) {
                inner.shift_remove(QUANTIZATION);
            }
        }
        json
    }

    /// The quantization method that the weights already are in, if any.
    pub fn quantization_method(&self) -> Option<String> {
        let quantization = self.quantization()?;
        let method = quantization.get("quant_method").and_then(Value::as_str);
        Some(method.unwrap_or("not named").to_owned())
    }

    /// A setting at the top or, failing that, of the language model inside.
    fn get(&self, key: &str) -> Option<&Value> {
        let inner = TEXT_CONFIGS.iter().filter_map(|name| self.json.get(*name)?.get(key));
        self.json.get(key).into_iter().chain(inner).find(|value| !value.is_null())
    }

    fn first_number(&self, keys: &[&str]) -> Option<u64> {
        keys.iter().find_map(|key| self.get(key)?.as_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: Value) -> Config {
        Config { json: json.as_object().unwrap().clone() }
    }

    #[test]
    fn settings_of_a_plain_and_of_a_nested_config() {
        let plain = config(serde_json::json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama",
            "tie_word_embeddings": true, "num_hidden_layers": 2, "num_local_experts": 4,
        }));
        assert_eq!(plain.architecture(), Some("LlamaForCausalLM"));
        assert_eq!(plain.tie_word_embeddings(), Some(true));
        assert_eq!((plain.layer_count(), plain.expert_count()), (Some(2), Some(4)));
        assert_eq!(plain.quantization_method(), None);

        let nested = config(serde_json::json!({
            "model_type": "gemma3", "tie_word_embeddings": null,
            "text_config": {
                "tie_word_embeddings": false, "num_hidden_layers": 3,
                "quantization_config": { "quant_method": "fp8" },
            },
        }));
        assert_eq!(nested.model_type(), Some("gemma3"));
        assert_eq!(nested.tie_word_embeddings(), Some(false));
        assert_eq!(nested.layer_count(), Some(3));
        assert_eq!(nested.quantization_method().as_deref(), Some("fp8"));
    }
}
