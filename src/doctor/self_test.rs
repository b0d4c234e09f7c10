//! Whether a device computes what the specification says.

use std::time::Instant;

use serde::Serialize;

use super::expected;
use super::sample::{COLUMNS, KINDS, Sample};
use crate::backend::{Backend, BackendError, GroupedChunk, Nvfp4Chunk};
use crate::format::nvfp4::{Rule, Scaling};
use crate::format::{Arithmetic, Coder, Format, GroupScale, Nvfp4Tables, Quotient, Scheme};

/// A format of each kind: every element under every scope, with zero points and without.
const FORMATS: [&str; 12] = [
    "nvfp4",
    "mxfp4",
    "mxfp8",
    "fp8",
    "fp8-channel",
    "fp8-block",
    "int8",
    "int8-g32",
    "int8-asym-g32",
    "int4",
    "int4-g32",
    "int4-asym-g32",
];

/// What a device made of a format.
#[derive(Debug, Serialize)]
pub struct Tested {
    /// The format.
    pub format: Format,
    /// Whether every byte is as specified.
    pub passed: bool,
    /// What is wrong.
    pub problem: Option<String>,
    /// How long it took, the compiling of kernels included.
    pub milliseconds: u64,
}

/// Why a device does not pass.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It failed.
    #[error(transparent)]
    Failed(#[from] BackendError),
    /// It computes something else.
    #[error("{what} {at} of {sample} is {got:#x}, and {expected:#x} is right")]
    Differs {
        /// Codes, scales or values.
        what: &'static str,
        /// Which of them.
        at: usize,
        /// The weights, their type, and whose arithmetic.
        sample: String,
        /// The bits that it gives.
        got: u32,
        /// Those that are specified.
        expected: u32,
    },
    /// It gives more or fewer numbers than there are.
    #[error("there are {got} {what} of {sample}, and {expected} is right")]
    Count {
        /// Codes, scales or values.
        what: &'static str,
        /// The weights, their type, and whose arithmetic.
        sample: String,
        /// How many it gives.
        got: usize,
        /// How many there have to be.
        expected: usize,
    },
}

/// Tests all formats; tells of each as soon as it is done.
pub fn all(backend: &dyn Backend, tell: &mut dyn FnMut(Tested)) {
    for format in FORMATS.iter().filter_map(|name| name.parse().ok()) {
        let begun = Instant::now();
        let problem = one(backend, format).err().map(|problem| problem.to_string());
        let milliseconds = begun.elapsed().as_millis() as u64;
        tell(Tested { format, passed: problem.is_none(), problem, milliseconds });
    }
}

/// Tests a format in every arithmetic that is its own, for weights of every type.
fn one(backend: &dyn Backend, format: Format) -> Result<(), Problem> {
    for sample in KINDS.into_iter().flat_map(Sample::all) {
        if format == Format::Nvfp4 {
            for rule in [Rule::Dynamic, Rule::Static { largest: 256 }, Rule::CompressedTensors] {
                nvfp4(backend, &sample, rule)?;
            }
        }
        for (name, scheme) in schemes(format) {
            grouped(backend, &sample, &name, scheme)?;
        }
    }
    Ok(())
}

/// The arithmetic of a format with one level of scales, whosoever it is.
fn schemes(format: Format) -> Vec<(String, Scheme)> {
    let mut schemes = Vec::new();
    for arithmetic in Arithmetic::ALL {
        let of_others = matches!(arithmetic, Arithmetic::OnnxRuntime | Arithmetic::TorchAo);
        let Some(scheme) = format.scheme(arithmetic) else { continue };
        if of_others && !matches!(format, Format::Int { .. }) {
            continue;
        }
        schemes.push((format!("{arithmetic:?}"), scheme));
        if arithmetic == Arithmetic::TorchAo {
            let scheme = Scheme { quotient: Quotient::ProductF32, ..scheme };
            schemes.push((format!("{arithmetic:?} in f32"), scheme));
        }
    }
    schemes
}

fn nvfp4(backend: &dyn Backend, sample: &Sample, rule: Rule) -> Result<(), Problem> {
    let same = Same { sample: format!("{} as {:?}, {rule:?}", sample.name, sample.kind) };
    let (weights, values) = (sample.weights(), sample.values());
    let amax = values.iter().fold(0f32, |amax, value| amax.max(value.abs()));
    let found = backend.amax(weights)?;
    same.all("amax", [found].into_iter(), [sample.kind.pattern(amax)].into_iter())?;

    let scaling = Scaling::new(rule, sample.kind, amax);
    let tables = Nvfp4Tables::new(scaling);
    let (codes, scales, values) = expected::nvfp4(&values, &scaling);
    let got = backend.nvfp4_quantize(weights, &tables)?;
    same.bytes("scale", &got.scales, &scales)?;
    same.bytes("code", &got.codes, &codes)?;
    let chunk = Nvfp4Chunk { codes: &codes, scales: &scales };
    same.floats("value", &backend.nvfp4_dequantize(chunk, &tables)?, &values)
}

fn grouped(
    backend: &dyn Backend,
    sample: &Sample,
    name: &str,
    scheme: Scheme,
) -> Result<(), Problem> {
    let same = Same { sample: format!("{} as {:?}, {name}", sample.name, sample.kind) };
    let (weights, values) = (sample.weights(), sample.values());
    let amax = values.iter().fold(0f32, |amax, value| amax.max(value.abs()));
    let coder = Coder::new(scheme, sample.kind, amax);
    let (codes, scales, values) = expected::grouped(&values, &coder);
    let got = backend.grouped_quantize(weights, COLUMNS, &coder)?;
    let numbers =
        |groups: &[GroupScale]| groups.iter().map(|group| group.scale).collect::<Vec<_>>();
    same.floats("scale", &numbers(&got.scales), &numbers(&scales))?;
    let zero_points = |groups: &[GroupScale]| {
        groups.iter().map(|group| group.zero_point.cast_unsigned()).collect::<Vec<_>>()
    };
    same.bytes("zero point", &zero_points(&got.scales), &zero_points(&scales))?;
    same.bytes("code", &got.codes, &codes)?;
    let chunk = GroupedChunk { columns: COLUMNS, codes: &codes, scales: &scales };
    same.floats("value", &backend.grouped_dequantize(chunk, &scheme)?, &values)
}

/// Compares what came of a sample.
struct Same {
    sample: String,
}

impl Same {
    fn bytes(&self, what: &'static str, got: &[u8], expected: &[u8]) -> Result<(), Problem> {
        let word = |byte: &u8| u32::from(*byte);
        self.all(what, got.iter().map(word), expected.iter().map(word))
    }

    /// Floats bit by bit; of NaN there is but one.
    fn floats(&self, what: &'static str, got: &[f32], expected: &[f32]) -> Result<(), Problem> {
        let bits = |value: &f32| if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() };
        self.all(what, got.iter().map(bits), expected.iter().map(bits))
    }

    fn all(
        &self,
        what: &'static str,
        got: impl ExactSizeIterator<Item = u32>,
        expected: impl ExactSizeIterator<Item = u32>,
    ) -> Result<(), Problem> {
        let sample = || self.sample.clone();
        if got.len() != expected.len() {
            let (got, expected) = (got.len(), expected.len());
            return Err(Problem::Count { what, sample: sample(), got, expected });
        }
        match got.zip(expected).enumerate().find(|(_, (got, expected))| got != expected) {
            None => Ok(()),
            Some((at, (got, expected))) => {
                Err(Problem::Differs { what, at, sample: sample(), got, expected })
            }
        }
    }
}
