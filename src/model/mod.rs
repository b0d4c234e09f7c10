//! What each tensor of a checkpoint is: role, layer, expert, and which belong together.

mod experts;
mod group;
mod natural;
pub mod onnx;
mod projection;
mod role;
pub mod ties;

pub use experts::{FusedExperts, InputAxis, MAX_EXPERTS, input_axis, split_experts};
pub use group::{ScaleGroup, scale_group};
pub use natural::natural_order;
pub use role::{Role, role_of};

use crate::checkpoint::{Checkpoint, Tensor};
use onnx::TensorUses;
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
    /// Who takes each tensor of an ONNX model, in the order of [`Checkpoint::tensors`]; else empty.
    pub uses: Vec<TensorUses>,
}

/// One tensor, understood; or the part of one that runtimes know as a tensor of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Index of the stored tensor in [`Checkpoint::tensors`].
    pub index: usize,
    /// Name, type, shape and place: those of the stored tensor, or of a part of it.
    pub tensor: Tensor,
    /// What it is.
    pub role: Role,
    /// Decoder layer, if it is part of one.
    pub layer: Option<u32>,
    /// Routed expert, if it is part of one.
    pub expert: Option<u32>,
    /// Whether it is the weight of a layer, and so may be quantized.
    pub is_weight: bool,
    /// Along which dimension its blocks run; `None` for a tensor of three dimensions or more for
    /// which that is not known.
    pub input_axis: Option<InputAxis>,
}

impl Member {
    /// Understands a stored tensor as a whole.
    pub fn whole(checkpoint: &Checkpoint, index: usize) -> Self {
        let tensor = &checkpoint.tensors[index];
        Self::of(index, tensor.clone(), input_axis(checkpoint, tensor))
    }

    /// Understands a tensor, or a part of one, by its name and shape.
    pub fn of(index: usize, tensor: Tensor, input_axis: Option<InputAxis>) -> Self {
        Self {
            index,
            role: role_of(&tensor.name, &tensor.shape),
            layer: number_after(&tensor.name, &["layers", "h", "blocks", "layer"]),
            expert: number_after(&tensor.name, &["experts", "local_experts"])
                .or_else(|| grouped_weight(&tensor.name).map(|(_, expert)| expert)),
            is_weight: is_weight(&tensor.name),
            input_axis,
            tensor,
        }
    }
}

impl<'a> Model<'a> {
    /// Understands a checkpoint from its names, shapes and config. `fused` says which experts are
    /// seen one by one, though they are stored together.
    pub fn new(checkpoint: &'a Checkpoint, fused: FusedExperts) -> Self {
        if let Some(graph) = &checkpoint.onnx {
            let (members, uses) = onnx::members(checkpoint, graph);
            let tie = onnx::tie(checkpoint, graph, &members, &uses);
            return Self { checkpoint, members, tie, uses };
        }
        let indices = 0..checkpoint.tensors.len();
        let mut members: Vec<Member> =
            indices.flat_map(|index| members_of(checkpoint, index, fused)).collect();
        members.sort_by(|a, b| natural_order(&a.tensor.name, &b.tensor.name));
        mark_layers_past_the_last(checkpoint, &mut members);
        let tie = ties::find(checkpoint, &members);
        Self { checkpoint, members, tie, uses: Vec::new() }
    }
}

impl Model<'_> {
    /// The names that rules know a member by: its own, and that of the tensor that it is a part of or, in an
    /// ONNX model, the one that its tensor has in the graph.
    pub fn names<'a>(&'a self, member: &'a Member) -> [&'a str; 2] {
        let stored = &self.checkpoint.tensors[member.index].name;
        let graph = self.checkpoint.onnx.as_ref();
        [&member.tensor.name, graph.map_or(stored, |graph| &graph.initializer(member.index).name)]
    }

    /// A stored tensor as layers take it: a matrix `[outputs, inputs]`, however it is stored.
    pub fn tensor(&self, index: usize) -> &Tensor {
        let stored = &self.checkpoint.tensors[index];
        let whole = |member: &&Member| member.index == index && member.tensor.name == stored.name;
        self.members.iter().find(whole).map_or(stored, |member| &member.tensor)
    }
}

/// A stored tensor, or the experts that are fused in it where each can be told apart.
fn members_of(checkpoint: &Checkpoint, index: usize, fused: FusedExperts) -> Vec<Member> {
    let parts = split_experts(checkpoint, &checkpoint.tensors[index], fused);
    if parts.is_empty() {
        return vec![Member::whole(checkpoint, index)];
    }
    let part = |tensor| Member::of(index, tensor, Some(InputAxis::Last));
    parts.into_iter().map(part).collect()
}

/// Multi-token-prediction layers are stored as if they followed the last decoder layer.
fn mark_layers_past_the_last(checkpoint: &Checkpoint, members: &mut [Member]) {
    let layer_count = checkpoint.config.as_ref().and_then(|config| config.layer_count());
    let Some(layer_count) = layer_count else { return };
    for member in members {
        let name = &member.tensor.name;
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
    let mut pairs = name.split('.').zip(name.split('.').skip(1));
    pairs.find_map(|(list, number)| lists.contains(&list).then(|| number.parse().ok())?)
}

/// Whether a tensor is a matrix of floats that is no norm or bias: what coverage counts, and what a
/// config lists if it is not quantized.
pub fn is_quantizable(tensor: &Tensor, role: Role) -> bool {
    let is_matrix = tensor.float_kind().is_some() && tensor.shape.len() >= 2 && !tensor.is_empty();
    is_matrix && !matches!(role, Role::Norm | Role::Bias)
}

/// The module and the number of a weight of grouped experts, as Megatron stores them:
/// `experts.linear_fc1.weight0` to `experts.linear_fc1.weightN`.
pub fn grouped_weight(name: &str) -> Option<(&str, u32)> {
    let (module, last) = name.rsplit_once('.')?;
    let number = last.strip_prefix("weight").filter(|number| !number.is_empty())?;
    let of_experts = module.split('.').any(|part| part.ends_with("experts"));
    let is_number = number.bytes().all(|b| b.is_ascii_digit());
    (of_experts && is_number).then(|| Some((module, number.parse().ok()?)))?
}

/// Whether a name is that of a module's weight.
pub fn is_weight(name: &str) -> bool {
    name.ends_with(".weight") || grouped_weight(name).is_some()
}

/// The module that a matrix belongs to: for a bare parameter, such as fused experts, the one that
/// holds it.
pub fn owner_of(name: &str) -> &str {
    match name.strip_suffix(".weight") {
        Some(module) => module,
        None => name.rsplit_once('.').map_or(name, |(module, _)| module),
    }
}

/// The module that a tensor belongs to: its name without a last `.weight`, `.weightN` or `.bias`.
pub fn module_of(name: &str) -> &str {
    let module = name.strip_suffix(".weight").or_else(|| name.strip_suffix(".bias"));
    module.or_else(|| grouped_weight(name).map(|(module, _)| module)).unwrap_or(name)
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
        assert_eq!(module_of("m.mlp.experts.linear_fc1.weight12"), "m.mlp.experts.linear_fc1");
        assert_eq!(grouped_weight("m.mlp.experts.linear_fc1.weight12").map(|(_, n)| n), Some(12));
        for other in ["m.mlp.experts.linear_fc1.weight", "m.linear.weight1", "m.experts.weight_1"] {
            assert_eq!(grouped_weight(other), None);
        }
        assert_eq!(
            module_of("model.layers.0.mlp.experts.down_proj"),
            "model.layers.0.mlp.experts.down_proj"
        );
    }
}
