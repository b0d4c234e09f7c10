//! Projections that a runtime runs as one matrix, and that therefore share a global scale.

use std::borrow::Cow;

use super::{grouped_weight, module_of};

/// What identifies a scale group: the modules of one are equal in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScaleGroup<'a> {
    /// The module that holds the members.
    pub parent: Cow<'a, str>,
    /// Names of the projections that may be in it.
    pub projections: &'static [&'static str],
}

/// Siblings that read the same input and are fused when they are served. The list is that of
/// ModelOpt 0.47 (`SHARED_PATTERNS`, and what its export merges).
const FUSED: &[&[&str]] = &[
    &["q_proj", "k_proj", "v_proj"],
    &["q_a_proj", "kv_a_proj_with_mqa"],
    &["gate_proj", "up_proj"],
    &["w1", "w3"],
    &["in_proj_qkv", "in_proj_z"],
];

/// The scale group of a weight, or of a module; `None` if it stands alone. Weights of grouped experts
/// are in one with those of the same number.
pub fn scale_group(name: &str) -> Option<ScaleGroup<'_>> {
    let (parent, projection) = module_of(name).rsplit_once('.')?;
    let projections = FUSED.iter().copied().find(|names| names.contains(&projection))?;
    let parent = match grouped_weight(name) {
        Some((_, expert)) => Cow::Owned(format!("{parent}.{expert}")),
        None => Cow::Borrowed(parent),
    };
    Some(ScaleGroup { parent, projections })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_group_by_parent() {
        let group = scale_group;
        assert_eq!(group("m.0.self_attn.q_proj"), group("m.0.self_attn.v_proj"));
        assert_ne!(group("m.0.self_attn.q_proj"), group("m.1.self_attn.q_proj"));
        assert_eq!(group("m.0.mlp.experts.1.gate_proj"), group("m.0.mlp.experts.1.up_proj"));
        assert_ne!(group("m.0.mlp.experts.1.gate_proj"), group("m.0.mlp.experts.2.gate_proj"));
        assert_eq!(group("m.0.self_attn.q_a_proj"), group("m.0.self_attn.kv_a_proj_with_mqa"));
        assert_eq!(group("m.0.self_attn.o_proj"), None);
        assert_eq!(group("m.0.mlp.down_proj"), None);
        assert_eq!(group("lm_head"), None);
        assert_eq!(group("m.experts.w1.weight2"), group("m.experts.w3.weight2"));
        assert_ne!(group("m.experts.w1.weight2"), group("m.experts.w1.weight3"));
        assert_eq!(group("m.0.self_attn.q_proj.weight"), group("m.0.self_attn.k_proj"));
    }
}
