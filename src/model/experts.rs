//! Experts that are stored in one tensor.

use super::module_of;
use crate::checkpoint::{Checkpoint, Config, Tensor};

/// The dimension that a matrix product sums over. Blocks of weights run along it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputAxis {
    /// `[.., outputs, inputs]`: every linear layer, and experts of most models.
    Last,
    /// `[experts, inputs, outputs]`: fused experts of gpt-oss and Llama 4. `[inputs, outputs]`:
    /// GPT-2's projections.
    SecondToLast,
}

/// What becomes of fused experts `[experts, inputs, outputs]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FusedExperts {
    /// They stay one tensor.
    Packed,
    /// Every expert's projections become matrices of their own.
    Split,
}

/// Families whose fused experts are `[experts, inputs, outputs]`.
const INPUTS_FIRST: [&str; 3] = ["gpt_oss", "llama4", "llama4_text"];

/// Projections that GPT-2 and its kin store as `[inputs, outputs]`.
const CONV1D: [&str; 3] = ["c_attn", "c_proj", "c_fc"];

/// Families with such projections.
const CONV1D_FAMILIES: [&str; 4] = ["gpt2", "openai-gpt", "imagegpt", "decision_transformer"];

/// The input axis of a tensor; `None` if it has three dimensions or more and that is not known.
pub fn input_axis(checkpoint: &Checkpoint, tensor: &Tensor) -> Option<InputAxis> {
    if tensor.shape.len() > 2 {
        return fused_input_axis(checkpoint, tensor);
    }
    let family = checkpoint.config.as_ref().and_then(Config::model_type);
    let projection = module_of(&tensor.name).rsplit('.').next().unwrap_or_default();
    let is_conv1d =
        CONV1D.contains(&projection) && family.is_some_and(|f| CONV1D_FAMILIES.contains(&f));
    Some(if is_conv1d { InputAxis::SecondToLast } else { InputAxis::Last })
}

/// Projections that fused experts are stored under, and whether they take hidden states in.
const FUSED: [(&str, bool); 4] =
    [("gate_up_proj", true), ("gate_proj", true), ("up_proj", true), ("down_proj", false)];

/// The input axis of fused experts `[experts, a, b]`; `None` for any other tensor.
///
/// The shape decides where the model's hidden size tells the axes apart: `gate_up_proj` takes
/// hidden states in, `down_proj` gives them out. Where it does not, the shape of a sibling does,
/// and without one the model's family.
fn fused_input_axis(checkpoint: &Checkpoint, tensor: &Tensor) -> Option<InputAxis> {
    let (list, _) = tensor.name.rsplit_once('.')?;
    let siblings =
        || FUSED.iter().filter_map(|(name, _)| checkpoint.tensor(&format!("{list}.{name}")));
    let config = checkpoint.config.as_ref()?;
    let hidden = config.hidden_size()?;
    if !fits_hidden(tensor, hidden) {
        return None;
    }
    let by_family = || match config.model_type() {
        Some(family) if INPUTS_FIRST.contains(&family) => Some(InputAxis::SecondToLast),
        _ => None,
    };
    let by_siblings = || siblings().find_map(|sibling| axis_by_shape(sibling, hidden));
    axis_by_shape(tensor, hidden).or_else(by_siblings).or_else(by_family)
}

fn fits_hidden(tensor: &Tensor, hidden: u64) -> bool {
    let is_fused = FUSED.iter().any(|(name, _)| tensor.name.rsplit('.').next() == Some(*name));
    is_fused && matches!(tensor.shape[..], [_, a, b] if a == hidden || b == hidden)
}

/// The axis where hidden size and shape tell it; `None` where both dimensions fit, or none does.
fn axis_by_shape(tensor: &Tensor, hidden: u64) -> Option<InputAxis> {
    let [_, a, b] = tensor.shape[..] else { return None };
    let projection = tensor.name.rsplit('.').next()?;
    let (_, takes_hidden) = FUSED.iter().find(|(name, _)| *name == projection)?;
    match (a == hidden, b == hidden) {
        (true, false) if *takes_hidden => Some(InputAxis::SecondToLast),
        (false, true) if !takes_hidden => Some(InputAxis::SecondToLast),
        (true, false) | (false, true) => Some(InputAxis::Last),
        _ => None,
    }
}

/// Most experts that a fused tensor is split into; no model has nearly as many.
pub const MAX_EXPERTS: u32 = 1 << 16;

/// How the projections of `gate_up_proj` lie beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// All outputs of the gate, then all of the up projection.
    Halves,
    /// An output of the one, then one of the other.
    Turns,
}

/// Families that interleave gate and up projection.
const INTERLEAVED: [&str; 1] = ["gpt_oss"];

/// The tensors of single experts that a fused one holds, by the names that they have where every
/// expert is a tensor of its own: `experts.3.up_proj.weight`, or `w3` in Mixtral's family, and
/// `experts.3.up_proj.bias`. Empty for any other tensor, and for `[experts, inputs, outputs]` that
/// stays packed.
///
/// Matrices are `[outputs, inputs]`, read across the stored ones where these are transposed.
pub fn split_experts(checkpoint: &Checkpoint, tensor: &Tensor, fused: FusedExperts) -> Vec<Tensor> {
    let Some((list, last)) = tensor.name.rsplit_once('.') else { return Vec::new() };
    let experts = tensor.shape.first().copied().unwrap_or(0);
    let is_list = list.ends_with("experts") && experts <= u64::from(MAX_EXPERTS);
    if !is_list || tensor.is_empty() || tensor.float_kind().is_none() {
        return Vec::new();
    }
    let (fused_name, ending) = match last.strip_suffix("_bias") {
        Some(name) => (name, "bias"),
        None => (last, "weight"),
    };
    let weight = checkpoint.tensor(&format!("{list}.{fused_name}"));
    let axis = weight.and_then(|weight| input_axis(checkpoint, weight));
    let Some(axis) = axis.filter(|axis| *axis == InputAxis::Last || fused == FusedExperts::Split)
    else {
        return Vec::new();
    };
    let [gate, up, down] = match list.contains("block_sparse_moe") {
        true => ["w1", "w3", "w2"],
        false => ["gate_proj", "up_proj", "down_proj"],
    };
    let projections: &[&str] = match fused_name {
        "gate_up_proj" => &[gate, up],
        "gate_proj" => &[gate],
        "up_proj" => &[up],
        "down_proj" => &[down],
        _ => return Vec::new(),
    };
    let family = checkpoint.config.as_ref().and_then(Config::model_type);
    let beside = match family {
        Some(family) if INTERLEAVED.contains(&family) => Beside::Turns,
        _ => Beside::Halves,
    };

    let count = projections.len() as u64;
    // Outputs and inputs of the fused tensor, and how far apart their neighbours are.
    let (outputs, inputs, output_stride, input_stride) = match (&tensor.shape[..], axis) {
        ([_, outputs, inputs], InputAxis::Last) => (*outputs, Some(*inputs), *inputs, 1),
        ([_, inputs, outputs], InputAxis::SecondToLast) => (*outputs, Some(*inputs), 1, *outputs),
        ([_, outputs], _) => (*outputs, None, 1, 1),
        _ => return Vec::new(),
    };
    if outputs % count != 0 {
        return Vec::new();
    }
    let own = outputs / count;
    let (step, between) = match beside {
        Beside::Turns => (count, 1),
        Beside::Halves => (1, own),
    };
    let element_bytes = tensor.unit_bytes();
    let part = |expert: u64, place: u64| {
        let first = expert * outputs * inputs.unwrap_or(1) + place * between * output_stride;
        let shape: Vec<u64> = std::iter::once(own).chain(inputs).collect();
        let strides = [output_stride * step, input_stride];
        let follow_one_another = strides[..shape.len()] == [inputs.unwrap_or(1), 1][..shape.len()];
        Tensor {
            name: format!("{list}.{expert}.{}.{ending}", projections[place as usize]),
            dtype: tensor.dtype,
            file: tensor.file,
            offset: tensor.offset + first * element_bytes,
            bytes: own * inputs.unwrap_or(1) * element_bytes,
            strides: (!follow_one_another).then(|| strides[..shape.len()].to_vec()),
            shape,
        }
    };
    (0..experts)
        .flat_map(|expert| (0..count).map(move |place| (expert, place)))
        .map(|(expert, place)| part(expert, place))
        .collect()
}
