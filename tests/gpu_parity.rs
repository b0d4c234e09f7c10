//! Every GPU adapter of the machine against the CPU, bit for bit.
//!
//! Without an adapter the tests pass and say that nothing ran, unless `QUANTSCOPE_REQUIRE_GPU` is
//! set, as it is in CI.

mod common;

use quantscope::backend::{Backend, Nvfp4Chunk, Weights};
use quantscope::cpu::Cpu;
use quantscope::format::nvfp4::{BLOCK_LEN, Rule, Scaling};
use quantscope::format::{Nvfp4Tables, SCALE_CODES};
use quantscope::gpu::{Choice, Gpu, OpenError, adapters};
use quantscope::numeric::FloatKind;
use quantscope::stats::{ErrorSums, WeightSums};

use common::gpus;

const KINDS: [FloatKind; 3] = [FloatKind::Bf16, FloatKind::F16, FloatKind::F32];

/// splitmix64.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z >> 32) as u32
    }

    fn below(&mut self, end: u32) -> u32 {
        ((u64::from(self.bits()) * u64::from(end)) >> 32) as u32
    }

    /// A finite weight of either sign whose magnitude pattern is below `end`.
    fn weight(&mut self, kind: FloatKind, end: u32) -> u32 {
        self.below(end) | if self.bits() & 1 == 0 { 0 } else { sign(kind) }
    }
}

fn sign(kind: FloatKind) -> u32 {
    1 << (8 * kind.bytes() - 1)
}

/// The first magnitude pattern that is no finite number.
fn infinity(kind: FloatKind) -> u32 {
    match kind {
        FloatKind::Bf16 => 0x7F80,
        FloatKind::F16 => 0x7C00,
        FloatKind::F32 => 0x7F80_0000,
    }
}

/// The first magnitude pattern that is a normal number.
fn normal(kind: FloatKind) -> u32 {
    match kind {
        FloatKind::Bf16 => 0x0080,
        FloatKind::F16 => 0x0400,
        FloatKind::F32 => 0x0080_0000,
    }
}

/// Weights in memory that is aligned for every kind.
struct Tensor {
    what: String,
    kind: FloatKind,
    words: Vec<u32>,
    len: usize,
}

impl Tensor {
    fn new(what: impl Into<String>, kind: FloatKind, patterns: &[u32]) -> Self {
        let bytes: Vec<u8> =
            patterns.iter().flat_map(|p| p.to_le_bytes().into_iter().take(kind.bytes())).collect();
        Self::from_bytes(what, kind, &bytes)
    }

    fn from_bytes(what: impl Into<String>, kind: FloatKind, bytes: &[u8]) -> Self {
        let mut words = vec![0; bytes.len().div_ceil(4)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self { what: format!("{} {kind:?}", what.into()), kind, words, len: bytes.len() }
    }

    fn weights(&self) -> Weights<'_> {
        Weights { kind: self.kind, bytes: &bytemuck::cast_slice(&self.words)[..self.len] }
    }

    fn amax(&self) -> f32 {
        self.kind.widen(Cpu.amax(self.weights()).unwrap())
    }
}

fn assert_close(got: (WeightSums, ErrorSums), expected: (WeightSums, ErrorSums), what: &str) {
    let ((got, got_errors), (weights, errors)) = (got, expected);
    assert_eq!((got.count, got.zeros), (weights.count, weights.zeros), "{what}");
    let close = |name: &str, a: f64, b: f64, tolerance: f64| {
        assert!((a - b).abs() <= tolerance, "{what}: {name} {a:e}, on the CPU {b:e}");
    };
    let rms = (weights.sum_squares / weights.count.max(1) as f64).sqrt();
    close("sum", got.sum, weights.sum, 1e-4 * weights.sum_abs);
    close("sum_abs", got.sum_abs, weights.sum_abs, 1e-4 * weights.sum_abs);
    close("sum_squares", got.sum_squares, weights.sum_squares, 1e-4 * weights.sum_squares);
    let floor = 1e-12 * weights.sum_squares;
    close("errors", got_errors.sum_squares, errors.sum_squares, 1e-4 * errors.sum_squares + floor);
    close("error_max", got_errors.max_abs, errors.max_abs, 1e-4 * errors.max_abs + 1e-7 * rms);
}

const RULES: [Rule; 3] = [Rule::Dynamic, Rule::Static { largest: 256 }, Rule::CompressedTensors];

/// Runs all kernels on whole blocks, under every rule, and compares everything.
fn compare(gpu: &Gpu, tensor: &Tensor, amax: f32) {
    for rule in RULES {
        compare_rule(gpu, tensor, Scaling::new(rule, tensor.kind, amax));
    }
}

fn compare_rule(gpu: &Gpu, tensor: &Tensor, scaling: Scaling) {
    let what = format!("{}: {} under {scaling:?}", gpu.name(), tensor.what);
    let weights = tensor.weights();
    assert_eq!(gpu.amax(weights).unwrap(), Cpu.amax(weights).unwrap(), "{what}");

    let tables = Nvfp4Tables::new(scaling);
    let expected = Cpu.nvfp4_quantize(weights, &tables).unwrap();
    let got = gpu.nvfp4_quantize(weights, &tables).unwrap();
    assert!(got.scales == expected.scales, "{what}: block scales");
    assert!(got.codes == expected.codes, "{what}: codes");
    assert_close((got.weights, got.errors), (expected.weights, expected.errors), &what);

    let chunk = Nvfp4Chunk { codes: &expected.codes, scales: &expected.scales };
    let errors = gpu.nvfp4_errors(weights, chunk, &tables).unwrap();
    assert_close(errors, (expected.weights, expected.errors), &what);
    compare_values(gpu, chunk, &tables, &what);
}

fn compare_values(gpu: &Gpu, chunk: Nvfp4Chunk<'_>, tables: &Nvfp4Tables, what: &str) {
    let expected = Cpu.nvfp4_dequantize(chunk, tables).unwrap();
    let got = gpu.nvfp4_dequantize(chunk, tables).unwrap();
    assert_eq!(got.len(), expected.len(), "{what}");
    let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    assert!(got.iter().zip(&expected).all(same), "{what}: values");
}

/// Weights at, just below and just above every threshold, in blocks of every scale code.
fn ties(kind: FloatKind, amax: f32, random: &mut Random) -> Tensor {
    let tables = Nvfp4Tables::new(Scaling::new(Rule::Dynamic, kind, amax));
    let mut patterns = Vec::new();
    for scale in 1..SCALE_CODES {
        let amax = tables.scale_starts[scale].min(infinity(kind) - 1);
        for amax in [amax.saturating_sub(1), amax, (amax + 1).min(infinity(kind) - 1)] {
            patterns.push(amax);
            for _ in 1..BLOCK_LEN {
                let start = tables.code_starts[scale][random.below(7) as usize];
                let near = (start + random.below(3)).saturating_sub(1).min(amax);
                patterns.push(near | if random.bits() & 1 == 0 { 0 } else { sign(kind) });
            }
        }
    }
    Tensor::new("ties", kind, &patterns)
}

/// Tensors that are hard on a kernel.
fn nasty(kind: FloatKind) -> Vec<Tensor> {
    let random = &mut Random(7);
    let (infinity, normal) = (infinity(kind), normal(kind));
    let mut random_below =
        |end: u32, len: usize| -> Vec<u32> { (0..len).map(|_| random.weight(kind, end)).collect() };
    let mut tensors = vec![
        Tensor::new("every finite magnitude", kind, &random_below(infinity, 1 << 16)),
        Tensor::new("subnormals", kind, &random_below(normal, 4096)),
        Tensor::new("zeros of both signs", kind, &random_below(1, 4096)),
        Tensor::new(
            "largest finite values",
            kind,
            &[infinity - 1, sign(kind) | (infinity - 1)].repeat(40),
        ),
        Tensor::new("empty", kind, &[]),
    ];
    // All but one are among the smallest numbers there are.
    let mut outlier = random_below(normal * 2, 4096);
    outlier[1234] = infinity - 1;
    tensors.push(Tensor::new("one huge outlier", kind, &outlier));
    for blocks in [1, 2, 3, 4, 5, 63, 64, 65, 255, 257] {
        let tail = random_below(infinity, blocks * BLOCK_LEN);
        tensors.push(Tensor::new(format!("{blocks} blocks"), kind, &tail));
    }
    for amax in [1.0, 0.037, 1e-4] {
        tensors.push(ties(kind, amax, &mut Random(11)));
    }
    tensors
}

#[test]
fn golden_inputs_are_the_same_on_every_adapter() {
    for gpu in gpus() {
        for kind in KINDS {
            for (name, _, bytes) in common::nvfp4_inputs(kind) {
                let tensor = Tensor::from_bytes(name, kind, &bytes);
                compare(&gpu, &tensor, tensor.amax());
            }
        }
    }
}

#[test]
fn nasty_inputs_are_the_same_on_every_adapter() {
    for gpu in gpus() {
        for kind in KINDS {
            for tensor in nasty(kind) {
                let own = tensor.amax();
                // A scale group may hold a tensor that is far larger than this one.
                for amax in [own, (own * 1000.0).min(f32::MAX), (own * 1e20).min(f32::MAX)] {
                    compare(&gpu, &tensor, amax);
                }
            }
        }
    }
}

#[test]
fn inputs_of_several_pieces_are_the_same_on_every_adapter() {
    for gpu in gpus() {
        for kind in KINDS {
            let random = &mut Random(3);
            let len = (1 << 22) + (1 << 18) + 5 * BLOCK_LEN;
            // Magnitudes of sixteen binades below 1, as in a weight matrix.
            let one = kind.first_pattern_at_least(1f32.to_bits());
            let low = kind.first_pattern_at_least(2f32.powi(-14).to_bits());
            let patterns: Vec<_> = (0..len).map(|_| random.weight(kind, one - low) + low).collect();
            let tensor = Tensor::new("several pieces", kind, &patterns);
            compare(&gpu, &tensor, tensor.amax());
        }
    }
}

#[test]
fn amax_takes_any_length_and_any_pattern() {
    for gpu in gpus() {
        for kind in KINDS {
            let random = &mut Random(5);
            for len in [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 17, 2047, 8191, 8193, 100_001] {
                // The largest one is the very last.
                let mut patterns: Vec<_> =
                    (0..len).map(|_| random.weight(kind, infinity(kind) / 2)).collect();
                let nan = infinity(kind) + 1;
                for last in [0, infinity(kind) - 1, infinity(kind), nan, nan | sign(kind)] {
                    if let Some(weight) = patterns.last_mut() {
                        *weight = last;
                    }
                    let tensor = Tensor::new(format!("{len} weights"), kind, &patterns);
                    let expected = Cpu.amax(tensor.weights()).unwrap();
                    assert_eq!(gpu.amax(tensor.weights()).unwrap(), expected, "{}", tensor.what);
                }
            }
        }
    }
}

#[test]
fn any_scale_code_of_a_file_reads_the_same() {
    let scales: Vec<u8> = (0..=255).flat_map(|scale| [scale; 2]).collect();
    let codes: Vec<u8> = (0..scales.len() * 8).map(|i| ((i * 31) >> 2) as u8).collect();
    let chunk = Nvfp4Chunk { codes: &codes, scales: &scales };
    for gpu in gpus() {
        for amax in [0.0, 1e-40, 1e-20, 1.0, 1e30] {
            for rule in RULES {
                let tables = Nvfp4Tables::new(Scaling::new(rule, FloatKind::Bf16, amax));
                compare_values(&gpu, chunk, &tables, "any scale code");
            }
        }
    }
}

#[test]
fn threads_that_share_a_gpu_do_not_disturb_each_other() {
    for gpu in gpus() {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let gpu = &gpu;
                scope.spawn(move || {
                    let kind = KINDS[thread % 3];
                    let random = &mut Random(thread as u64);
                    for round in 0..12 {
                        let len = BLOCK_LEN * (1 + random.below(3000) as usize);
                        let patterns: Vec<_> =
                            (0..len).map(|_| random.weight(kind, infinity(kind))).collect();
                        let tensor =
                            Tensor::new(format!("thread {thread} round {round}"), kind, &patterns);
                        compare(gpu, &tensor, tensor.amax());
                    }
                });
            }
        });
    }
}

#[test]
fn an_unknown_adapter_is_an_error_that_lists_those_there_are() {
    let error = Gpu::open(&Choice::Named("no such adapter".into())).unwrap_err();
    match adapters().first() {
        None => assert_eq!(error, OpenError::NoAdapter),
        Some(first) => assert!(error.to_string().contains(&first.to_string()), "{error}"),
    }
}
