//! What each tensor of a checkpoint is: role, layer, expert, and which belong together.

mod experts;
mod group;
mod natural;
mod role;
pub mod ties;

pub use experts::{InputAxis, input_axis};
pub use group::{ScaleGroup, scale_group};
pub use natural::natural_order;
pub use role::{Role, role_of};

use crate::checkpoint::Checkpoint;
use ties::Tie;

/// A checkpoint, understood.
#[derive(Debug)]
pub struct Model<'a> {
    /// The checkpoint.
    pub checkpoint: &'a Checkpoint,
    /// Its tensors in natural order of their names.
    pub members: Vec<Member>,
    /// How embedding and head belong together.
    pub tie: Tie,
}

/// One tensor, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Index in [`Checkpoint::tensors`].
    pub tensor: usize,
    /// What it is.
    pub role: Role,
    /// Decoder layer, if it is part of one.
    pub layer: Option<u32>,
    /// Routed expert, if it is part of one.
    pub expert: Option<u32>,
    /// Along which dimension its blocks run; `None` for a tensor of three dimensions or more for
    /// which that is not known.
    pub input_axis: Option<InputAxis>,
}

impl<'a> Model<'a> {
    /// Understands a checkpoint from its names, shapes and config.
    pub fn new(checkpoint: &'a Checkpoint) -> Self {
        let mut members: Vec<Member> = checkpoint
            .tensors
            .iter()
            .enumerate()
            .map(|(tensor, info)| Member {
                tensor,
                role: role_of(&info.name, &info.shape),
                layer: number_after(&info.name, &["layers", "h", "blocks", "layer"]),
                expert: number_after(&info.name, &["experts", "local_experts"]),
                input_axis: input_axis(checkpoint, info),
            })
            .collect();
        let name = |member: &Member| checkpoint.tensors[member.tensor].name.as_str();
        members.sort_by(|a, b| natural_order(name(a), name(b)));
        mark_layers_past_the_last(checkpoint, &mut members);
        let tie = ties::find(checkpoint, &members);
        Self { checkpoint, members, tie }
    }
}

/// Multi-token-prediction layers are stored as if they followed the last decoder layer.
fn mark_layers_past_the_last(checkpoint: &Checkpoint, members: &mut [Member]) {
    let layer_count = checkpoint.config.as_ref().and_then(|config| config.layer_count());
    let Some(layer_count) = layer_count else { return };
    for member in members {
        let name = &checkpoint.tensors[member.tensor].name;
        let past_the_last = member.layer.is_some_and(|layer| u64::from(layer) >= layer_count);
        let is_decoder = name
            .split(".layers.")
            .next()
            .is_some_and(|prefix| prefix.ends_with("model") && member.role != Role::Vision);
        if past_the_last && is_decoder && member.role != Role::Norm {
            member.role = Role::Mtp;
        }
    }
}

/// The number that follows the first part of a name that is one of `lists`.
fn number_after(name: &str, lists: &[&str]) -> Option<u32> {
    let parts: Vec<&str> = name.split('.').collect();
    parts
        .windows(2)
        .find_map(|pair| if lists.contains(&pair[0]) { pair[1].parse().ok() } else { None })
}

/// The module that a tensor belongs to: its name without a last `.weight` or `.bias`.
pub fn module_of(name: &str) -> &str {
    name.strip_suffix(".weight").or_else(|| name.strip_suffix(".bias")).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_and_expert_numbers() {
        let name = "model.layers.12.mlp.experts.7.up_proj.weight";
        assert_eq!(number_after(name, &["layers"]), Some(12));
        assert_eq!(number_after(name, &["experts"]), Some(7));
        assert_eq!(number_after("model.layers.0.mlp.experts.gate_up_proj", &["experts"]), None);
        assert_eq!(number_after("transformer.h.3.attn.weight", &["layers", "h"]), Some(3));
    }

    #[test]
    fn modules_of_tensors() {
        assert_eq!(module_of("lm_head.weight"), "lm_head");
        assert_eq!(module_of("a.q_proj.bias"), "a.q_proj");
        assert_eq!(
            module_of("model.layers.0.mlp.experts.down_proj"),
            "model.layers.0.mlp.experts.down_proj"
        );
    }
}
