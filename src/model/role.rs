//! What a tensor is in the model, told from its name and shape.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The part that a tensor plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Token embedding table.
    Embedding,
    /// Language-model head.
    Head,
    /// Attention projection.
    Attention,
    /// Feed-forward projection of a dense layer, or of experts that every token passes.
    Mlp,
    /// Feed-forward projection of a routed expert.
    Expert,
    /// What chooses experts, or gates shared ones.
    Router,
    /// Normalisation.
    Norm,
    /// Convolution.
    Convolution,
    /// Table of positions.
    Position,
    /// Part of a vision or audio tower, or of what connects it.
    Vision,
    /// Part of a multi-token-prediction layer.
    Mtp,
    /// The matrix of a linear layer of which no more is known.
    Linear,
    /// A bias.
    Bias,
    /// None of these.
    Other,
}

impl Role {
    /// Its name in tables and recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Head => "head",
            Self::Attention => "attention",
            Self::Mlp => "mlp",
            Self::Expert => "expert",
            Self::Router => "router",
            Self::Norm => "norm",
            Self::Convolution => "convolution",
            Self::Position => "position",
            Self::Vision => "vision",
            Self::Mtp => "mtp",
            Self::Linear => "linear",
            Self::Bias => "bias",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Names of modules with a fixed role, wherever they stand.
const EMBEDDINGS: &[&str] = &[
    "embed_tokens",
    "wte",
    "word_embeddings",
    "embed_in",
    "tok_embeddings",
    "token_embedding",
    "embeddings",
    "embed_tokens_per_layer",
    "shared",
];
const HEADS: &[&str] = &["lm_head", "embed_out", "output_layer"];
const POSITIONS: &[&str] = &[
    "wpe",
    "embed_positions",
    "position_embeddings",
    "position_embedding",
    "pos_embed",
    "rotary_emb",
    "relative_attention_bias",
];
const ROUTERS: &[&str] = &["router", "shared_expert_gate", "gate", "gating"];
/// Parts of names that only towers and their connectors have, when several words are joined in them.
const JOINED_TOWERS: &[&str] = &["patch_embed", "embed_tokens_extend"];
const EXPERT_LISTS: &[&str] = &["experts", "local_experts"];
const ATTENTION: &[&str] = &[
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "out_proj",
    "qkv_proj",
    "qkv",
    "wqkv",
    "Wqkv",
    "query_key_value",
    "q_a_proj",
    "q_b_proj",
    "kv_a_proj_with_mqa",
    "kv_b_proj",
    "kv_proj",
    "wq",
    "wk",
    "wv",
    "wo",
    "wq_a",
    "wq_b",
    "wkv_a",
    "wkv_b",
    "query",
    "key",
    "value",
    "dense",
    "in_proj_qkvz",
    "in_proj_qkv",
    "in_proj_z",
    "in_proj",
    "g_proj",
    "linear_qkv",
    "linear_proj",
];
const MLP: &[&str] = &[
    "gate_proj",
    "up_proj",
    "down_proj",
    "gate_up_proj",
    "w1",
    "w2",
    "w3",
    "fc1",
    "fc2",
    "fc_in",
    "fc_out",
    "dense_h_to_4h",
    "dense_4h_to_h",
    "linear_1",
    "linear_2",
    "linear_fc1",
    "linear_fc2",
    "wi",
    "wi_0",
    "wi_1",
    "w1_w3",
    "input_linear",
    "output_linear",
];
/// Small projections of linear attention that the reference keeps.
const KEPT_PROJECTIONS: &[&str] = &["in_proj_a", "in_proj_b", "in_proj_ba"];

/// The role of a tensor.
pub fn role_of(name: &str, shape: &[u64]) -> Role {
    let parts: Vec<&str> = name.split('.').collect();
    let has = |names: &[&str]| parts.iter().any(|part| names.contains(part));
    let module = match parts.as_slice() {
        [.., module, "weight"] | [.., module] => *module,
        [] => "",
    };

    if parts.last() == Some(&"bias") || name.ends_with("_bias") {
        Role::Bias
    } else if parts.iter().any(|part| is_tower(part)) {
        Role::Vision
    } else if parts.iter().any(|part| part.starts_with("mtp")) {
        Role::Mtp
    } else if POSITIONS.contains(&module) {
        Role::Position
    } else if has(HEADS) || name == "output.weight" {
        Role::Head
    } else if EMBEDDINGS.contains(&module) {
        Role::Embedding
    } else if is_norm(module)
        || (shape.len() < 2 && parts.iter().any(|part| is_norm(part)))
        || (shape.len() == 1 && module.starts_with("ln_"))
    {
        Role::Norm
    } else if module.contains("conv") || shape.len() > 3 {
        Role::Convolution
    } else if ROUTERS.contains(&module) || parts.contains(&"router") {
        Role::Router
    } else if has(EXPERT_LISTS) {
        Role::Expert
    } else if KEPT_PROJECTIONS.contains(&module) || parts.contains(&"indexer") {
        Role::Other
    } else if ATTENTION.contains(&module) {
        Role::Attention
    } else if MLP.contains(&module) {
        Role::Mlp
    } else {
        Role::Other
    }
}

/// Whether a part of a name is one of a tower's, alone or joined with others by underscores.
fn is_tower(part: &str) -> bool {
    part.split('_').any(is_tower_word) || JOINED_TOWERS.iter().any(|stem| part.contains(stem))
}

/// Whether a word is one that only towers and their connectors have. Every name is asked for all of
/// its words, and a match finds one by its length.
fn is_tower_word(word: &str) -> bool {
    matches!(
        word,
        "vision"
            | "visual"
            | "image"
            | "audio"
            | "speech"
            | "sound"
            | "video"
            | "vpm"
            | "apm"
            | "resampler"
            | "projector"
            | "aligner"
            | "token2wav"
            | "connector"
            | "vit"
    )
}

fn is_norm(part: &str) -> bool {
    part.contains("norm") || matches!(part, "ln_1" | "ln_2" | "ln_f" | "ln")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_of_real_names() {
        let matrix = [64, 64];
        for (name, role) in [
            ("model.embed_tokens.weight", Role::Embedding),
            ("transformer.wte.weight", Role::Embedding),
            ("lm_head.weight", Role::Head),
            ("output.weight", Role::Head),
            ("model.layers.0.self_attn.q_proj.weight", Role::Attention),
            ("model.layers.0.self_attn.kv_a_proj_with_mqa.weight", Role::Attention),
            ("model.layers.0.linear_attn.in_proj_qkvz.weight", Role::Attention),
            ("model.layers.0.linear_attn.in_proj_ba.weight", Role::Other),
            ("model.layers.0.linear_attn.conv1d.weight", Role::Convolution),
            ("model.layers.0.mlp.gate_proj.weight", Role::Mlp),
            ("model.layers.0.mlp.shared_expert.gate_proj.weight", Role::Mlp),
            ("model.layers.0.mlp.shared_expert_gate.weight", Role::Router),
            ("model.layers.0.mlp.gate.weight", Role::Router),
            ("model.layers.0.mlp.router.weight", Role::Router),
            ("model.layers.0.mlp.experts.3.up_proj.weight", Role::Expert),
            ("model.layers.0.block_sparse_moe.experts.3.w1.weight", Role::Expert),
            ("model.layers.0.block_sparse_moe.gate.weight", Role::Router),
            ("model.layers.0.mlp.experts.gate_up_proj", Role::Expert),
            ("model.layers.0.mlp.experts.gate_up_proj_bias", Role::Bias),
            ("model.layers.0.self_attn.q_proj.bias", Role::Bias),
            ("model.layers.0.self_attn.q_norm.weight", Role::Norm),
            ("transformer.h.0.ln_1.weight", Role::Norm),
            ("transformer.wpe.weight", Role::Position),
            ("model.visual.blocks.0.attn.qkv.weight", Role::Vision),
            ("vision_tower.embeddings.patch_embedding.weight", Role::Vision),
            ("vision.blocks.0.attn.qkv.weight", Role::Vision),
            ("vpm.encoder.layers.0.self_attn.q_proj.weight", Role::Vision),
            ("resampler.kv_proj.weight", Role::Vision),
            ("model.embed_tokens_extend.image_embed.q_proj.weight", Role::Vision),
            ("model.vision_backbone.image_vit.wq.weight", Role::Vision),
            ("model.aligner.fc1.weight", Role::Vision),
            ("speech_encoder.layers.0.fc1.weight", Role::Vision),
            ("language_model.model.layers.0.self_attn.q_proj.weight", Role::Attention),
            ("model.embed_tokens_per_layer.weight", Role::Embedding),
            ("shared.weight", Role::Embedding),
            ("lm_head.dense.weight", Role::Head),
            ("model.layers.0.self_attn.indexer.wk.weight", Role::Other),
            ("mtp.layers.0.mlp.up_proj.weight", Role::Mtp),
            ("model.layers.0.something.weight", Role::Other),
        ] {
            assert_eq!(role_of(name, &matrix), role, "{name}");
        }
        assert_eq!(role_of("backbone.stem.weight", &[8, 3, 3, 3]), Role::Convolution);
    }
}
