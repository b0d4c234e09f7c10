//! A quantized checkpoint as a plan: what is stored for each weight, or what it becomes as floats.

use std::collections::HashSet;

use super::Layer;
use crate::checkpoint::{Checkpoint, Config, Dtype, Metadata, Tensor};
use crate::dialect::{Output, Part};
use crate::format::q4gsw::NibbleOrder;
use crate::format::{ScaleDtype, ScaleSearch};
use crate::model::onnx::module_weight;
use crate::model::{InputAxis, Member, Role, role_of};
use crate::plan::{Decision, Entry, Plan, Reason, Sharding, layout};

/// What entries of layers have as outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// Their parts, as they are stored.
    Stored,
    /// Their weights, as floats of this type where the layers themselves do not say one.
    Float(Dtype),
}

/// A plan whose entries are the layers, then all tensors that are no part of one. Layers that have a
/// problem are entries all the same, without outputs.
pub fn plan(
    checkpoint: &Checkpoint,
    layers: &[Layer],
    outputs: Outputs,
    sharding: Sharding,
) -> Plan {
    let parts: HashSet<usize> = layers.iter().flat_map(|layer| layer.parts.all()).collect();
    let mut told = HashSet::new();
    let mut entries: Vec<Entry> =
        layers.iter().map(|layer| entry(checkpoint, layer, outputs, &mut told)).collect();
    for (index, tensor) in checkpoint.tensors.iter().enumerate() {
        let of_no_use = outputs != Outputs::Stored && scales_activations(tensor);
        if !parts.contains(&index) && !of_no_use {
            let member = Member::whole(checkpoint, index);
            let reason = match tensor.float_kind() {
                Some(_) => Reason::Default(member.role),
                None => Reason::NotFloat(tensor.dtype),
            };
            let outputs = vec![Output::verbatim(tensor)];
            entries.push(Entry { member, decision: Decision::Keep(reason), outputs });
        }
    }
    let files = layout(&entries, checkpoint, sharding, Metadata::new());
    Plan {
        dialect: super::dialect_of(checkpoint),
        quotient: None,
        search: ScaleSearch::Max,
        scale_dtype: ScaleDtype::Own,
        nibbles: NibbleOrder::EvenLow,
        groups: Vec::new(),
        exclude: Vec::new(),
        tie_word_embeddings: None,
        findings: Vec::new(),
        rules: Vec::new(),
        tie_is_open: false,
        external_data: false,
        bytes_before: checkpoint.file_bytes(),
        bytes_after: match outputs {
            Outputs::Stored => checkpoint.file_bytes(),
            Outputs::Float(_) => files.iter().map(|file| file.bytes).sum(),
        },
        entries,
        files,
    }
}

/// Whether a tensor scales activations, or what is cached of them: floats have no use for it.
pub fn scales_activations(tensor: &Tensor) -> bool {
    const ENDINGS: [&str; 4] = [".input_scale", ".input_global_scale", ".k_scale", ".v_scale"];
    tensor.len() == 1 && ENDINGS.iter().any(|ending| tensor.name.ends_with(ending))
}

/// The entry of a layer. `told` is where the parts of those before are: parts that several layers read
/// are outputs of the first.
fn entry(
    checkpoint: &Checkpoint,
    layer: &Layer,
    outputs: Outputs,
    told: &mut HashSet<(usize, u64)>,
) -> Entry {
    // What a header speaks of may have no part at all, in a checkpoint without a single tensor.
    let first = layer.parts.all().next();
    let (file, offset) = first.map_or((0, 0), |i| {
        let stored = &checkpoint.tensors[i];
        (stored.file, stored.offset)
    });
    // The weight as runtimes hold it where nothing is quantized: in ONNX in the type of its scales, which
    // is that of the layer's inputs, elsewhere in 16 bits.
    let scales = layer.parts.scales.map(|i| &checkpoint.tensors[i]);
    let scales = scales.filter(|scales| scales.float_kind().is_some());
    let float = match (outputs, scales) {
        (_, Some(scales)) if layer.dialect.is_onnx() => scales.dtype,
        (Outputs::Stored, _) => Dtype::BF16,
        (Outputs::Float(dtype), _) => dtype,
    };
    let length = layer.shape.iter().fold(1u64, |all, n| all.saturating_mul(*n));
    let tensor = Tensor {
        name: layer.weight.clone(),
        dtype: float,
        shape: layer.float_shape(),
        file,
        offset,
        bytes: length.saturating_mul(float.bitsize() as u64 / 8),
        strides: None,
    };
    let weight = Output { part: Part::Codes, ..Output::verbatim(&tensor) };
    let reads_table = layer.packed_as.is_some_and(|packed| packed.reads_table);
    // Two tensors may be one range of bytes, so places tell; an empty one takes none.
    let parts = layer.parts.all().map(|i| &checkpoint.tensors[i]);
    let parts: Vec<Output> = parts
        .filter(|tensor| tensor.bytes == 0 || told.insert((tensor.file, tensor.offset)))
        .map(|tensor| Output { part: Part::Codes, ..Output::verbatim(tensor) })
        .collect();
    let member = Member::of(first.unwrap_or(0), tensor, None);
    let is_onnx = layer.dialect.is_onnx();
    let role = match is_onnx {
        true => role_of(&module_weight(&layer.weight), &member.tensor.shape),
        false => member.role,
    };
    let member = Member {
        role: match role {
            // What has no codes of its own multiplies by those of a table.
            _ if reads_table || (is_onnx && parts.is_empty()) => Role::Head,
            // The names of products' weights say little in some models.
            Role::Other | Role::Norm | Role::Bias if is_onnx => Role::Linear,
            role => role,
        },
        is_weight: is_onnx || member.is_weight,
        input_axis: Some(match layer.shape.len() {
            3 => InputAxis::SecondToLast,
            _ => InputAxis::Last,
        }),
        ..member
    };
    // Loaders tie what the config does not say is untied.
    let config = checkpoint.config.as_ref();
    let is_tied = config.and_then(Config::tie_word_embeddings) != Some(false);
    let is_again = parts.is_empty() || (reads_table && is_tied);
    Entry {
        member,
        outputs: match outputs {
            Outputs::Stored => parts,
            Outputs::Float(_) if layer.problem.is_some() || is_again => Vec::new(),
            Outputs::Float(_) => vec![weight],
        },
        decision: match layer.format {
            Some(format) => Decision::Stored(format),
            None => Decision::Keep(Reason::Unreadable),
        },
    }
}

/// The float type that the config says the model is run in; bf16 where it says none.
pub fn float_type(checkpoint: &Checkpoint) -> Dtype {
    match checkpoint.config.as_ref().and_then(Config::float_type) {
        Some("float16") => Dtype::F16,
        Some("float32") => Dtype::F32,
        _ => Dtype::BF16,
    }
}
