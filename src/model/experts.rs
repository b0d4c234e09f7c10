//! Experts that are stored in one tensor.

use crate::checkpoint::{Checkpoint, Tensor};

/// The dimension that a matrix product sums over. Blocks of weights run along it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InputAxis {
    /// `[.., outputs, inputs]`: every linear layer, and experts of most models.
    #[default]
    Last,
    /// `[experts, inputs, outputs]`: fused experts of gpt-oss and Llama 4.
    SecondToLast,
}

/// Families whose fused experts are `[experts, inputs, outputs]`.
const INPUTS_FIRST: [&str; 3] = ["gpt_oss", "llama4", "llama4_text"];

/// The input axis of fused experts `[experts, a, b]`; `None` for any other tensor.
///
/// The shape decides where the model's hidden size tells the axes apart: `gate_up_proj` takes
/// hidden states in, `down_proj` gives them out. Where it does not, the model's family does.
pub fn fused_input_axis(checkpoint: &Checkpoint, tensor: &Tensor) -> Option<InputAxis> {
    let [_, a, b] = tensor.shape[..] else { return None };
    let projection = tensor.name.rsplit('.').next()?;
    let takes_hidden_states = match projection {
        "gate_up_proj" | "gate_proj" | "up_proj" => true,
        "down_proj" => false,
        _ => return None,
    };
    let config = checkpoint.config.as_ref()?;
    let hidden = config.hidden_size()?;
    let by_family = || match config.model_type() {
        Some(family) if INPUTS_FIRST.contains(&family) => InputAxis::SecondToLast,
        _ => InputAxis::Last,
    };
    match (a == hidden, b == hidden) {
        (true, true) => Some(by_family()),
        (true, false) if takes_hidden_states => Some(InputAxis::SecondToLast),
        (true, false) => Some(InputAxis::Last),
        (false, true) if takes_hidden_states => Some(InputAxis::Last),
        (false, true) => Some(InputAxis::SecondToLast),
        (false, false) => None,
    }
}
