//! What is wrong with a checkpoint, and what is to be done about each layer.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use super::super::verify::{Opened, Verification, fused};
use super::{Irreparable, NotRepaired};
use crate::checkpoint::{Config, Dtype};
use crate::dialect::Dialect;
use crate::engine::{CHUNK_BYTES, Resources, in_order, steps};
use crate::format::Format;
use crate::model::{Role, role_of};
use crate::quantized::{
    Layer, Mended, float_type, global_scale, global_scale_of_zeros, is_sound, read_chunk,
};

/// What is to be done about one layer.
#[derive(Debug, Clone, Default)]
pub struct Fix {
    /// The global scale that it gets.
    pub global_scale: Option<f32>,
    /// Whether that it has now is a positive number.
    pub has_scale: bool,
    /// What will become of its other scales.
    pub mended: Mended,
    /// The type it is written in, if it is to become floats.
    pub float: Option<Dtype>,
}

impl Fix {
    /// Whether anything has to be done.
    pub fn any(&self) -> bool {
        self.global_scale.is_some() || self.mended.any() || self.float.is_some()
    }
}

/// What is to be done.
#[derive(Debug, Clone, Default)]
pub struct Diagnosis {
    /// About each layer.
    pub fixes: Vec<Fix>,
    /// The module for which `tie_word_embeddings` becomes false.
    pub untied_for: Option<String>,
    /// Groups in which a layer changes its step.
    pub torn_groups: u64,
}

/// What was read of a layer.
#[derive(Default, Clone)]
struct Seen {
    mended: Mended,
    has_weights: bool,
}

/// Reads all scales, and decides. Fails with all that is beyond repair.
pub fn diagnose(
    opened: &Opened<'_>,
    verification: &Verification,
    resources: &Resources<'_>,
) -> Result<Diagnosis, NotRepaired> {
    let irreparable = |problems: Vec<Irreparable>| match problems.is_empty() {
        true => Ok(()),
        false => Err(NotRepaired::Irreparable { path: opened.checkpoint.path.clone(), problems }),
    };
    irreparable(structural(opened, verification))?;
    let seen = read(opened, resources)?;
    let mut problems = Vec::new();
    let mut diagnosis = Diagnosis::default();
    for (layer, seen) in opened.layers.iter().zip(&seen) {
        let scale = global_scale(&opened.checkpoint, layer)?;
        let has_scale = layer.format != Some(Format::Nvfp4) || is_sound(scale);
        if !has_scale && seen.has_weights {
            let tensor = name(opened, layer.parts.global_scale);
            problems.push(Irreparable::LostGlobalScale { tensor, value: scale });
        }
        if seen.mended.lost > 0 {
            let (tensor, scales) = (name(opened, layer.parts.scales), seen.mended.lost);
            problems.push(Irreparable::LostScales { tensor, scales });
        }
        let of_zeros = (!has_scale).then(|| global_scale_of_zeros(layer.dialect));
        let (mended, global_scale) = (seen.mended, of_zeros);
        diagnosis.fixes.push(Fix { global_scale, has_scale, mended, float: None });
    }
    join_groups(opened, &mut diagnosis, &mut problems)?;
    irreparable(problems)?;
    tables(opened, &mut diagnosis);
    Ok(diagnosis)
}

/// What makes every repair idle.
fn structural(opened: &Opened<'_>, verification: &Verification) -> Vec<Irreparable> {
    let broken = opened.layers.iter().filter_map(|layer| layer.problem.clone());
    let mut problems: Vec<Irreparable> = broken.map(Irreparable::Unreadable).collect();
    let experts = verification.checks.iter().find(|check| check.name == "experts" && !check.passed);
    problems.extend(experts.map(|check| Irreparable::Experts(check.detail.clone())));
    let has_place =
        opened.checkpoint.config.is_some() || opened.stated.dialect == Dialect::Modelopt;
    problems.extend((!has_place).then_some(Irreparable::NoConfig));
    problems
}

/// Goes through all layers.
fn read(opened: &Opened<'_>, resources: &Resources<'_>) -> Result<Vec<Seen>, NotRepaired> {
    let mut jobs = Vec::new();
    for (i, layer) in opened.layers.iter().enumerate() {
        let (lines, step) = (layer.lines(), layer.lines_in(CHUNK_BYTES / 4));
        jobs.extend(steps(lines, step).map(|rows| (i, rows)));
    }
    let seen: Mutex<Vec<Seen>> = Mutex::new(vec![Seen::default(); opened.layers.len()]);
    let job = |number: usize, _: &mut _| {
        let (i, rows) = &jobs[number];
        let layer = &opened.layers[*i];
        let Some(mut chunk) = read_chunk(&opened.checkpoint, layer, rows.clone())? else {
            return Ok(());
        };
        let (has_weights, mended) = (!chunk.is_zeros(), chunk.mend());
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen[*i].has_weights |= has_weights;
        match layer.format {
            // Every chunk has the scale of the whole tensor.
            Some(Format::Fp8) => seen[*i].mended.add_same(&mended),
            _ => seen[*i].mended.add(&mended),
        }
        resources.progress.add((rows.end - rows.start) * layer.line_weights());
        Ok(())
    };
    in_order(resources, jobs.len(), job, || {})?;
    Ok(seen.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Gives every layer of a fused group the largest step of the group, so that none saturates.
fn join_groups(
    opened: &Opened<'_>,
    diagnosis: &mut Diagnosis,
    problems: &mut Vec<Irreparable>,
) -> Result<(), NotRepaired> {
    let weights = opened.layers.iter().enumerate();
    let place: HashMap<&str, usize> =
        weights.map(|(i, layer)| (layer.weight.as_str(), i)).collect();
    for group in fused(&opened.layers) {
        let is_nvfp4 = |layer: &&&Layer| layer.format == Some(Format::Nvfp4);
        match group.iter().filter(is_nvfp4).count() {
            0 => continue,
            all if all == group.len() => {}
            _ => {
                let modules = group.iter().map(|layer| layer.module.clone()).collect();
                problems.push(Irreparable::SeveralFormats { modules });
                continue;
            }
        }
        let mut scales = BTreeMap::new();
        for layer in &group {
            scales.extend(
                place
                    .get(layer.weight.as_str())
                    .map(|i| Ok::<_, NotRepaired>((*i, global_scale(&opened.checkpoint, layer)?)))
                    .transpose()?,
            );
        }
        // compressed-tensors stores divisors.
        let largest = match opened.stated.dialect {
            Dialect::Modelopt
            | Dialect::ExecuTorch
            | Dialect::Q4gsw
            | Dialect::Onnx
            | Dialect::OnnxQdq => |a: f32, b: f32| a.max(b),
            Dialect::CompressedTensors => |a: f32, b: f32| a.min(b),
        };
        let sound = scales.values().copied().filter(|scale| is_sound(*scale));
        let Some(joint) = sound.reduce(largest) else { continue };
        let others = scales.iter().filter(|(_, scale)| scale.to_bits() != joint.to_bits());
        let others: Vec<usize> = others.map(|(i, _)| *i).collect();
        let is_torn = others.iter().any(|i| diagnosis.fixes[*i].has_scale);
        diagnosis.torn_groups += u64::from(is_torn);
        for i in others {
            diagnosis.fixes[i].global_scale = Some(joint);
        }
    }
    Ok(())
}

/// A table that the head reads too becomes floats; where the head is stored, it is untied.
fn tables(opened: &Opened<'_>, diagnosis: &mut Diagnosis) {
    let checkpoint = &opened.checkpoint;
    let tied = checkpoint.config.as_ref().and_then(Config::tie_word_embeddings);
    let has_head = checkpoint.tensors.iter().any(|t| role_of(&t.name, &t.shape) == Role::Head);
    for (layer, fix) in opened.layers.iter().zip(&mut diagnosis.fixes) {
        let role = role_of(&format!("{}.weight", layer.module), &[1, 1]);
        match (role, has_head, tied) {
            (Role::Embedding, false, None | Some(true)) => {
                *fix = Fix {
                    float: Some(float_type(checkpoint)),
                    mended: fix.mended,
                    ..Fix::default()
                };
            }
            (Role::Embedding | Role::Head, true, Some(true)) => {
                diagnosis.untied_for.get_or_insert_with(|| layer.module.clone());
            }
            _ => {}
        }
    }
}

fn name(opened: &Opened<'_>, part: Option<usize>) -> String {
    part.map(|i| opened.checkpoint.tensors[i].name.clone()).unwrap_or_default()
}
