//! What a tensor is called in every layer.

use super::onnx::module_weight;
use super::{Member, is_weight};

impl Member {
    /// What follows the layer in its name, without `.weight`, and with stars for the number of an
    /// expert: `self_attn.q_proj`, `mlp.experts.*.up_proj`. `None` for what is in no layer. Weights of an
    /// ONNX model go by the names that they have in the checkpoints which models are exported from.
    pub fn projection(&self, is_onnx: bool) -> Option<String> {
        let name = match is_onnx && self.is_weight {
            true => module_weight(&self.tensor.name),
            false => self.tensor.name.clone(),
        };
        let layer = format!(".{}.", self.layer?);
        let (_, rest) = name.split_once(&layer)?;
        let rest = match is_weight(rest) {
            true => rest.strip_suffix(".weight").unwrap_or(rest),
            false => rest,
        };
        let Some(expert) = self.expert else { return Some(rest.to_owned()) };
        let number = expert.to_string();
        let grouped = format!("weight{number}");
        let parts = rest.split('.').map(|part| match part {
            part if part == number => "*",
            part if part == grouped => "weight*",
            part => part,
        });
        Some(parts.collect::<Vec<_>>().join("."))
    }
}
