//! Two sides to compare: the open checkpoint and another, or the open one on two devices.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Analysis, Document, Source};
use crate::checkpoint::{Checkpoint, Dtype};
use crate::device::{CPU, Device};
use crate::dialect::Dialect;
use crate::format::{Format, Quotient, ScaleDtype};
use crate::inspect::{Comparison, InspectError, Overview, Side};
use crate::model::Model;
use crate::plan::{Plan, Sharding};
use crate::quantized::{self, Layer, Outputs};
use crate::recipe::{Action, Recipe, Rule, patterns};

/// What to compare with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Other {
    /// Another checkpoint.
    Path(PathBuf),
    /// The same on the CPU and on this device.
    Device(String),
}

/// Two sides, ready to be read.
pub struct Pair {
    sides: [Arc<Held>; 2],
    devices: [Device; 2],
    /// What each is called, in short.
    pub names: [String; 2],
    /// What each is, in full.
    pub places: [String; 2],
    /// What is compared of each.
    pub says: [String; 2],
}

/// A checkpoint with its layers and its plan.
struct Held {
    document: Arc<Document>,
    layers: Vec<Layer>,
    plan: Plan,
}

impl Pair {
    /// Opens the other side, and finds out what to compare of both. Not for a frame.
    pub fn open(
        (source, document): (&Source, &Arc<Document>),
        analysis: &Analysis,
        device: &Device,
        other: &Other,
    ) -> Result<Self, String> {
        let place = source.to_string();
        match other {
            Other::Path(path) => {
                let theirs = Source::path(path);
                let opened = Document::open(&theirs).map_err(|error| error.to_string())?;
                let documents = [Arc::clone(document), Arc::new(opened)];
                let names = names(&documents, [&place, &theirs.to_string()]);
                let mut sides = held(documents, analysis)?;
                let on_cpu = divide_as_stored(&mut sides, &names, device);
                let mut says = [says(&sides[0], &sides[1]), says(&sides[1], &sides[0])];
                if let Some(side) = on_cpu {
                    says[side].push_str(", and rounded as the library does on a CPU");
                }
                let devices = [device.clone(), device.clone()];
                let places = [place, theirs.to_string()];
                Ok(Self { sides: sides.map(Arc::new), devices, names, places, says })
            }
            Other::Device(name) => {
                let open = |name: &str| Device::open_alone(name).map_err(|error| error.to_string());
                let devices = [open(CPU)?, open(name)?];
                let names = devices.each_ref().map(|device| device.backend.name().to_owned());
                let held = Arc::new(Held {
                    document: Arc::clone(document),
                    layers: Vec::new(),
                    plan: analysis.plan.clone(),
                });
                let says = names.clone().map(|name| format!("quantized by {name}"));
                let sides = [Arc::clone(&held), held];
                Ok(Self { sides, devices, names, places: [place.clone(), place], says })
            }
        }
    }

    fn sides(&self) -> [Side<'_>; 2] {
        [0, 1].map(|i| self.sides[i].side(&self.names[i], &self.devices[i]))
    }

    /// Compares all that both have.
    pub fn overview(
        &self,
        cancel: &AtomicBool,
        told: &mut dyn FnMut(usize, usize),
    ) -> Result<Overview, InspectError> {
        Overview::of(self.sides(), cancel, told)
    }

    /// Compares one matrix.
    pub fn compare(
        &self,
        tensor: &str,
        expert: u64,
        cancel: &AtomicBool,
    ) -> Result<Comparison, InspectError> {
        Comparison::between(self.sides(), (tensor, expert), cancel, &mut |_| {})
    }
}

/// Names that tell two checkpoints apart: those of their folders, unless these are the same.
fn names(documents: &[Arc<Document>; 2], places: [&String; 2]) -> [String; 2] {
    let [a, b] = documents.each_ref().map(|document| document.name.clone());
    if a == b { places.map(String::clone) } else { [a, b] }
}

/// Both with their layers, and with plans under which what one has stored is what the other becomes.
fn held([a, b]: [Arc<Document>; 2], analysis: &Analysis) -> Result<[Held; 2], String> {
    let stored = |own: &Arc<Document>, other: &Arc<Document>| {
        let quantized = own.quantized.as_ref()?;
        let checkpoint = &own.checkpoint;
        // In a graph only its source tells what weights were called.
        let source = other.quantized.is_none().then_some(&other.checkpoint);
        let stated = &quantized.stated;
        let layers = quantized::find(checkpoint, source, stated.ignore_list(), stated.dialect);
        let plan = quantized::plan(checkpoint, &layers, Outputs::Stored, Sharding::AsSource);
        Some(Held { document: Arc::clone(own), layers, plan })
    };
    let floats = |document: Arc<Document>, plan: Plan| Held { document, layers: Vec::new(), plan };
    Ok(match (stored(&a, &b), stored(&b, &a)) {
        (Some(left), Some(right)) => [left, right],
        (Some(left), None) => {
            let plan = plan_as(&b.checkpoint, Some(&left))?;
            [left, floats(b, plan)]
        }
        (None, Some(right)) => {
            let is_like = |layer: &Layer| {
                let entry = analysis.by_name.get(&layer.weight);
                let entry = entry.and_then(|entry| analysis.plan.entries.get(*entry));
                entry.is_some_and(|entry| entry.format() == layer.format)
                    && layer.dialect == analysis.plan.dialect
            };
            // The recipe at hand also knows how scales were searched for.
            let plan = match right.layers.iter().all(is_like) {
                true => analysis.plan.clone(),
                false => plan_as(&a.checkpoint, Some(&right))?,
            };
            [floats(a, plan), right]
        }
        (None, None) => {
            let plans = [plan_as(&a.checkpoint, None)?, plan_as(&b.checkpoint, None)?];
            let [left, right] = plans;
            [floats(a, left), floats(b, right)]
        }
    })
}

/// On a CPU the compressed-tensors library rounds quotients otherwise than on a GPU, and its files do not
/// say where they were made: a few layers tell. The side whose floats are to be divided so, if one is.
fn divide_as_stored(sides: &mut [Held; 2], names: &[String; 2], device: &Device) -> Option<usize> {
    const LAYERS: usize = 3;
    let floats = sides.iter().position(|side| side.layers.is_empty())?;
    let layers = sides[1 - floats].layers.iter().filter(|layer| layer.problem.is_none());
    let is_theirs = |layer: &&Layer| layer.dialect == Dialect::CompressedTensors;
    let probes: Vec<String> =
        layers.filter(is_theirs).take(LAYERS).map(|layer| layer.weight.clone()).collect();
    let differing = |sides: &[Held; 2]| -> u64 {
        let side = |i: usize| sides[i].side(&names[i], device);
        let never = AtomicBool::new(false);
        let compare = |name: &String| {
            Comparison::between([side(0), side(1)], (name, 0), &never, &mut |_| {}).ok()
        };
        probes.iter().filter_map(compare).map(|compared| compared.counts.differing()).sum()
    };
    let before = differing(sides);
    if before == 0 {
        return None;
    }
    let quotient = sides[floats].plan.quotient.replace(Quotient::Own);
    if differing(sides) < before {
        return Some(floats);
    }
    sides[floats].plan.quotient = quotient;
    None
}

impl Held {
    fn side<'a>(&'a self, name: &'a str, device: &'a Device) -> Side<'a> {
        Side {
            name,
            checkpoint: &self.document.checkpoint,
            layers: &self.layers,
            plan: &self.plan,
            backend: device.backend.as_ref(),
        }
    }
}

/// A plan that quantizes floats as another checkpoint has them stored.
fn plan_as(checkpoint: &Checkpoint, stored: Option<&Held>) -> Result<Plan, String> {
    let layers = stored.map_or(&[][..], |stored| &stored.layers);
    let dialect = layers
        .first()
        .map_or_else(|| Recipe::default().dialect_for(checkpoint), |layer| layer.dialect);
    let mut recipe = Recipe { export: Some(dialect), unserved: true, ..Recipe::default() };
    let mut by_format: HashMap<Format, Vec<&str>> = HashMap::new();
    for layer in layers {
        if let Some(format) = layer.format {
            by_format.entry(format).or_default().push(&layer.weight);
        }
    }
    let model = Model::new(checkpoint, dialect.fused_experts());
    if let Some(stored) = stored {
        let everything = Rule::about("*".to_owned(), Action::Keep);
        recipe.rules.push(everything);
        let all: Vec<&str> =
            model.members.iter().map(|member| member.tensor.name.as_str()).collect();
        for (format, names) in &by_format {
            recipe.format = Some(*format);
            let own: HashSet<&str> = names.iter().copied().collect();
            let others: Vec<&str> =
                all.iter().copied().filter(|name| !own.contains(name)).collect();
            let rules = patterns(names, &others).into_iter();
            recipe.rules.extend(rules.map(|glob| Rule::about(glob, Action::Format(*format))));
        }
        let tensors = &stored.document.checkpoint.tensors;
        let is_wide =
            |layer: &Layer| layer.parts.scales.map(|i| tensors[i].dtype) == Some(Dtype::F32);
        if dialect.chooses_scale_dtype() && layers.iter().any(is_wide) {
            recipe.scale_dtype = ScaleDtype::F32;
        }
    }
    Plan::new(&model, &recipe, dialect, Sharding::AsSource).map_err(|error| error.to_string())
}

/// What is compared of a side.
fn says(own: &Held, other: &Held) -> String {
    let formats = |held: &Held| {
        let mut names: Vec<&str> =
            held.layers.iter().filter_map(|layer| layer.format).map(Format::name).collect();
        names.sort_unstable();
        names.dedup();
        let dialect = held.layers.first().map_or("", |layer| layer.dialect.name());
        format!("{}, {dialect}", names.join(", "))
    };
    match (own.layers.is_empty(), other.layers.is_empty()) {
        (false, _) => format!("stored quantized: {}", formats(own)),
        (true, false) => "floats, quantized here as the other side is".to_owned(),
        (true, true) => "floats".to_owned(),
    }
}
