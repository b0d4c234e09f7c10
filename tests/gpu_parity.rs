//! Every GPU adapter of the machine against the CPU, bit for bit.
//!
//! Without an adapter the tests pass and say that nothing ran, unless `QUANTSCOPE_REQUIRE_GPU` is
//! set, as it is in CI.

mod common;

use quantscope::backend::{Backend, Nvfp4Chunk};
use quantscope::cpu::Cpu;
use quantscope::format::nvfp4::{BLOCK_LEN, Rule, Scaling};
use quantscope::format::nvfp4_search::Search;
use quantscope::format::{Nvfp4Tables, SCALE_CODES, ScaleSearch};
use quantscope::gpu::{Choice, Gpu, OpenError, adapters};
use quantscope::numeric::FloatKind;

use common::{KINDS, Random, Tensor, assert_close, gpus, infinity, normal, sign};

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

    let expected = Cpu.nvfp4_match(weights, chunk, &tables).unwrap();
    assert_eq!(gpu.nvfp4_match(weights, chunk, &tables).unwrap(), expected, "{what}");
    // Other codes and other scales, any of them.
    let codes: Vec<_> = chunk.codes.iter().map(|code| code.rotate_left(3) ^ 0x10).collect();
    let scales: Vec<_> = (0..chunk.scales.len()).map(|i| (i * 37) as u8).collect();
    let chunk = Nvfp4Chunk { codes: &codes, scales: &scales };
    let expected = Cpu.nvfp4_match(weights, chunk, &tables).unwrap();
    assert_eq!(gpu.nvfp4_match(weights, chunk, &tables).unwrap(), expected, "{what}: other codes");
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
        let amax = tables.thresholds().scale_starts[scale].min(infinity(kind) - 1);
        for amax in [amax.saturating_sub(1), amax, (amax + 1).min(infinity(kind) - 1)] {
            patterns.push(amax);
            for _ in 1..BLOCK_LEN {
                let start = tables.thresholds().code_starts[scale][random.below(7)];
                let near = (start + random.below(3) as u32).saturating_sub(1).min(amax);
                patterns.push(near | random.sign(kind));
            }
        }
    }
    Tensor::new("ties", kind, &patterns)
}

/// Tensors that are hard on a kernel.
fn nasty(kind: FloatKind) -> Vec<Tensor> {
    let random = &mut Random(7);
    let (infinity, normal) = (infinity(kind), normal(kind));
    let mut random_below = |end: u32, len: usize| -> Vec<u32> {
        (0..len).map(|_| random.pattern(kind, end)).collect()
    };
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

/// Every search that there is, for a tensor with this largest magnitude.
fn searches(kind: FloatKind, amax: f32) -> impl Iterator<Item = Search> {
    let modelopt = ScaleSearch::ALL.map(|search| (search, Rule::Dynamic));
    let pairs = modelopt.into_iter().chain([(ScaleSearch::Sweep, Rule::CompressedTensors)]);
    pairs.filter_map(move |(search, rule)| Search::new(search, rule, kind, amax))
}

/// The CPU against the specification, then every adapter against the CPU.
fn compare_searches(gpus: &[Gpu], tensor: &Tensor, amax: f32) {
    for search in searches(tensor.kind, amax) {
        let what = format!("{} under {:?} of {:?}", tensor.what, search.trials, search.scaling);
        let weights = tensor.weights();
        let values: Vec<f32> =
            tensor.patterns().iter().map(|pattern| value(*pattern, tensor.kind)).collect();
        let specified: Vec<u8> =
            values.as_chunks().0.iter().map(|block| search.block_scale(block)).collect();
        let tables = Nvfp4Tables::searching(search);
        let expected = Cpu.nvfp4_quantize(weights, &tables).unwrap();
        assert!(expected.scales == specified, "CPU: {what}");
        for gpu in gpus {
            let got = gpu.nvfp4_quantize(weights, &tables).unwrap();
            assert!(got.scales == expected.scales, "{}: {what}: block scales", gpu.name());
            assert!(got.codes == expected.codes, "{}: {what}: codes", gpu.name());
        }
    }
}

fn value(pattern: u32, kind: FloatKind) -> f32 {
    let magnitude = kind.widen(pattern & !sign(kind));
    if pattern & sign(kind) != 0 { -magnitude } else { magnitude }
}

#[test]
fn searched_scales_are_as_specified_everywhere() {
    let gpus = gpus();
    for kind in KINDS {
        for tensor in nasty(kind) {
            let patterns = tensor.patterns();
            let few = &patterns[..patterns.len().min(2048)];
            let tensor = Tensor::new(&tensor.what, kind, few);
            let own = tensor.amax();
            for amax in [own, (own * 1000.0).min(f32::MAX)] {
                compare_searches(&gpus, &tensor, amax);
            }
        }
    }
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
            let patterns: Vec<_> =
                (0..len).map(|_| random.pattern(kind, one - low) + low).collect();
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
                    (0..len).map(|_| random.pattern(kind, infinity(kind) / 2)).collect();
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
                    let random = &mut Random(1 + thread as u64);
                    for round in 0..12 {
                        let len = BLOCK_LEN * (1 + random.below(3000));
                        let patterns: Vec<_> =
                            (0..len).map(|_| random.pattern(kind, infinity(kind))).collect();
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

#[test]
fn grids_are_halved_alike() {
    let mut random = Random(11);
    for gpu in gpus() {
        for (rows, columns) in
            [(1, 1), (1, 7), (5, 3), (64, 64), (33, 1001), (2000, 1500), (3, 900_000)]
        {
            let cells: Vec<[u32; 3]> = (0..rows * columns)
                .map(|_| [random.bits() as u32, random.bits() as u32, random.below(7) as u32])
                .collect();
            let what = format!("{}: {rows}×{columns}", gpu.name());
            assert!(
                gpu.halve(&cells, columns).unwrap() == Cpu.halve(&cells, columns).unwrap(),
                "{what}"
            );
        }
    }
}
