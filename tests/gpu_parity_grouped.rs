//! Formats with one level of scales: every GPU adapter of the machine against the CPU, bit for bit.

mod common;

use common::{KINDS, Random, Tensor, assert_close, gpus, infinity, normal, sign};
use quantscope::backend::{Backend, GroupedChunk};
use quantscope::cpu::Cpu;
use quantscope::format::{Arithmetic, Coder, Extent, Format, GroupScale, Quotient, Scheme, Scope};
use quantscope::gpu::Gpu;
use quantscope::numeric::FloatKind;

/// Every arithmetic of every format, under both kinds of quotients where there are any.
fn schemes() -> Vec<(String, Scheme)> {
    let mut schemes = Vec::new();
    for format in Format::all() {
        for arithmetic in Arithmetic::ALL {
            let Some(scheme) = format.scheme(arithmetic) else { continue };
            let quotients = match (arithmetic, format) {
                (Arithmetic::OnnxRuntime, Format::Int { .. }) => &[Quotient::Reciprocal][..],
                // All lengths of groups are tried with others.
                (Arithmetic::TorchAo, Format::Int { group: None | Some(32), .. }) => {
                    &[Quotient::ProductF32, Quotient::ProductOwn]
                }
                // They have no others.
                (Arithmetic::OnnxRuntime | Arithmetic::TorchAo, _) => &[],
                _ => &[Quotient::F32, Quotient::Own],
            };
            for &quotient in quotients {
                let name = format!("{format} {arithmetic:?} {quotient:?}");
                schemes.push((name, Scheme { quotient, ..scheme }));
            }
        }
    }
    assert!(schemes.len() > 50, "{}", schemes.len());
    schemes
}

/// Runs all kernels on a matrix and compares everything.
fn compare(gpu: &Gpu, tensor: &Tensor, columns: usize, (name, scheme): &(String, Scheme)) {
    let what = format!("{}: {name}: {} of {columns} columns", gpu.name(), tensor.what);
    let weights = tensor.weights();
    let coder = Coder::new(*scheme, tensor.kind, tensor.amax());
    let expected = Cpu.grouped_quantize(weights, columns, &coder).unwrap();
    let got = gpu.grouped_quantize(weights, columns, &coder).unwrap();
    assert_eq!(got.amax, expected.amax, "{what}");
    let bits = |group: &GroupScale| (group.scale.to_bits(), group.zero_point);
    assert!(got.scales.iter().map(bits).eq(expected.scales.iter().map(bits)), "{what}: scales");
    let differs = (0..got.codes.len()).find(|&i| got.codes[i] != expected.codes[i]);
    if let Some(i) = differs {
        let (got, expected) = (got.codes[i], expected.codes[i]);
        panic!("{what}: code {i} is {got:#x}, on the CPU {expected:#x}");
    }
    assert_close((got.weights, got.errors), (expected.weights, expected.errors), &what);

    let chunk = GroupedChunk { columns, codes: &expected.codes, scales: &expected.scales };
    compare_chunk(gpu, tensor, chunk, scheme, &what);
    // Codes of no weight that is near.
    let last = if scheme.element.bits() == 8 { 0xFF } else { 0x0F };
    let codes: Vec<u8> =
        expected.codes.iter().map(|code| (code ^ 1).rotate_left(3) & last).collect();
    let extended = |code: u8| match scheme.element {
        quantscope::format::Element::Int(4) => ((code << 4) as i8 >> 4) as u8,
        _ => code,
    };
    let codes: Vec<u8> = codes.into_iter().map(extended).collect();
    compare_chunk(gpu, tensor, GroupedChunk { codes: &codes, ..chunk }, scheme, &what);
}

fn compare_chunk(gpu: &Gpu, tensor: &Tensor, chunk: GroupedChunk<'_>, scheme: &Scheme, what: &str) {
    let expected = Cpu.grouped_dequantize(chunk, scheme).unwrap();
    let got = gpu.grouped_dequantize(chunk, scheme).unwrap();
    assert_eq!(got.len(), expected.len(), "{what}");
    let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    assert!(got.iter().zip(&expected).all(same), "{what}: values");
    compare_matches(gpu, tensor, chunk, scheme, what);
}

fn compare_matches(
    gpu: &Gpu,
    tensor: &Tensor,
    chunk: GroupedChunk<'_>,
    scheme: &Scheme,
    what: &str,
) {
    let weights = tensor.weights();
    for made_of in KINDS {
        let expected = Cpu.grouped_match(weights, chunk, scheme, made_of).unwrap();
        let got = gpu.grouped_match(weights, chunk, scheme, made_of).unwrap();
        assert_eq!(got, expected, "{what} made of {made_of:?}");
        if scheme.quotient.divides() {
            // Nothing else depends on it.
            break;
        }
    }
}

/// Weights at, just below and just above what lies between two codes, in groups of every scale.
fn ties(kind: FloatKind, columns: usize, scheme: &Scheme, random: &mut Random) -> Tensor {
    let group_len = match scheme.scope {
        Scope::Group(len) => len,
        _ => columns,
    };
    let mut patterns = Vec::new();
    let tensor_amax = random.below(infinity(kind) as usize) as u32;
    for _ in 0..40 * columns / group_len {
        let of_tensor = matches!(scheme.scope, Scope::Tensor | Scope::Tile(_));
        let amax =
            if of_tensor { tensor_amax } else { random.below(infinity(kind) as usize) as u32 };
        let extent = Extent::of_amax(kind.widen(amax));
        let GroupScale { scale, zero_point } = scheme.scale(extent, kind);
        patterns.push(amax);
        patterns.push(amax | sign(kind));
        for _ in 2..group_len {
            let code = (random.bits() as i64 >> (64 - u32::from(scheme.element.bits()))) as u8;
            let number = |code: u8| scheme.element.decode(code) - f32::from(zero_point);
            let between = (number(code) + number(code ^ 1)) / 2.0 * scale;
            let between = if between.is_finite() { between } else { scale };
            let near = kind.pattern(between.abs()).min(infinity(kind) - 1);
            let near = (near + random.below(3) as u32).saturating_sub(1).min(amax);
            patterns.push(near | random.sign(kind));
        }
    }
    Tensor::new("ties", kind, &patterns)
}

#[test]
fn ties_and_their_neighbours_are_the_same_on_every_adapter() {
    for gpu in gpus() {
        for kind in KINDS {
            for scheme in schemes() {
                let tensor = ties(kind, 256, &scheme.1, &mut Random(11));
                compare(&gpu, &tensor, 256, &scheme);
            }
        }
    }
}

#[test]
fn nasty_weights_are_the_same_on_every_adapter() {
    for gpu in gpus() {
        for kind in KINDS {
            let random = &mut Random(7);
            let mut below = |end: u32, len: usize| -> Vec<u32> {
                (0..len).map(|_| random.pattern(kind, end)).collect()
            };
            let (infinity, normal) = (infinity(kind), normal(kind));
            let mut outlier = below(normal * 2, 4096);
            outlier[1234] = infinity - 1;
            let tensors = [
                Tensor::new("every finite magnitude", kind, &below(infinity, 1 << 14)),
                Tensor::new("subnormals", kind, &below(normal, 4096)),
                Tensor::new("zeros of both signs", kind, &below(1, 4096)),
                Tensor::new(
                    "largest",
                    kind,
                    &[infinity - 1, sign(kind) | (infinity - 1)].repeat(512),
                ),
                Tensor::new("one huge outlier", kind, &outlier),
                Tensor::new("empty", kind, &[]),
            ];
            for scheme in schemes() {
                for tensor in &tensors {
                    compare(&gpu, tensor, 256, &scheme);
                }
            }
        }
    }
}

#[test]
fn shapes_at_every_edge_are_the_same_on_every_adapter() {
    for gpu in gpus() {
        for (kind, seed) in KINDS.into_iter().zip(1..) {
            for scheme in schemes() {
                let group = match scheme.1.scope {
                    Scope::Group(len) => len,
                    _ => 1,
                };
                // Rows that a group fills, odd ones, and more than one tile each way.
                for (rows, columns) in
                    [(1, 1usize), (3, 5), (7, 17), (129, 131), (260, 20), (2, 513)]
                {
                    let columns = match scheme.1.quotient {
                        // Groups may be short at the ends of rows.
                        Quotient::Reciprocal => columns,
                        _ => columns.div_ceil(group) * group,
                    };
                    let random = &mut Random(seed);
                    let end = kind.pattern(8.0);
                    let patterns: Vec<_> =
                        (0..rows * columns).map(|_| random.pattern(kind, end)).collect();
                    let tensor = Tensor::new(format!("{rows} rows"), kind, &patterns);
                    compare(&gpu, &tensor, columns, &scheme);
                }
            }
        }
    }
}

#[test]
fn matrices_of_several_pieces_are_the_same_on_every_adapter() {
    for gpu in gpus() {
        let kind = FloatKind::Bf16;
        let random = &mut Random(3);
        let (rows, columns) = (1500, 4096);
        let (low, one) = (kind.pattern(1.0 / 16384.0), kind.pattern(1.0));
        let patterns: Vec<_> =
            (0..rows * columns).map(|_| random.pattern(kind, one - low) + low).collect();
        let tensor = Tensor::new("several pieces", kind, &patterns);
        let (modelopt, other) = (Arithmetic::ModelOpt, Arithmetic::CompressedTensors);
        for (name, arithmetic) in [
            ("fp8", modelopt),
            ("fp8-block", modelopt),
            ("int8", modelopt),
            ("int4-g128", modelopt),
            ("mxfp4", modelopt),
            ("int4-asym-g32", other),
            ("fp8-channel", other),
            ("int4-g16", Arithmetic::OnnxRuntime),
            ("int8-asym-g32", Arithmetic::OnnxRuntime),
            ("int4-g32", Arithmetic::TorchAo),
        ] {
            let format: Format = name.parse().unwrap();
            let scheme = format.scheme(arithmetic).unwrap();
            compare(&gpu, &tensor, columns, &(name.to_owned(), scheme));
        }
    }
}

#[test]
fn rows_of_the_most_groups_there_can_be_fit() {
    let format: Format = "int4-asym-g16".parse().unwrap();
    let scheme = ("short groups".to_owned(), format.scheme(Arithmetic::OnnxRuntime).unwrap());
    let (kind, random) = (FloatKind::F16, &mut Random(13));
    let end = kind.pattern(1.0);
    let patterns: Vec<_> = (0..17 * 300_000).map(|_| random.pattern(kind, end)).collect();
    let tensor = Tensor::new("many short groups", kind, &patterns);
    for gpu in gpus() {
        compare(&gpu, &tensor, 17, &scheme);
    }
}

#[test]
fn scales_of_every_kind_match_the_same() {
    let nasty = [0.0, -0.0, -1.0, 1e-45, -1e-45, 1e-40, -3e-39, 1e38, f32::MAX, -f32::MAX, 0.3];
    let damaged = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let random = &mut Random(17);
    for scales in [&nasty[..], &[&nasty[..], &damaged].concat()] {
        for (bits, symmetric, arithmetic) in [
            (4, true, Arithmetic::OnnxRuntime),
            (4, false, Arithmetic::OnnxRuntime),
            (8, true, Arithmetic::OnnxRuntime),
            (8, false, Arithmetic::OnnxRuntime),
            (4, true, Arithmetic::TorchAo),
            (8, false, Arithmetic::TorchAo),
        ] {
            let format = Format::Int { bits, group: Some(32), symmetric };
            let scheme = format.scheme(arithmetic).unwrap();
            let mut groups = Vec::new();
            for _ in 0..20 {
                for &scale in scales {
                    let zero_point = (random.bits() as i8) >> (8 - bits);
                    let zero_point = if symmetric { 0 } else { zero_point };
                    groups.push(GroupScale { scale, zero_point });
                }
            }
            let mut codes = Vec::new();
            let mut patterns = Vec::new();
            for (i, group) in groups.iter().flat_map(|group| [*group; 32]).enumerate() {
                let code = ((random.bits() as i8) >> (8 - bits)) as u8;
                let steps = [0.0, 0.5, 0.51, 0.52, 1.0, 1.01, 1.5, 9.0][i % 8];
                let near = scheme.decode(code, group) + steps * group.scale;
                let any = f32::from_bits(random.bits() as u32);
                let weight = if random.below(8) == 0 { any } else { near };
                let by = random.below(3) as u32;
                patterns.push(weight.to_bits().wrapping_add(by).wrapping_sub(1));
                codes.push(code);
            }
            let tensor = Tensor::new("around codes", FloatKind::F32, &patterns);
            let chunk = GroupedChunk { columns: 32, codes: &codes, scales: &groups };
            for gpu in gpus() {
                compare_matches(&gpu, &tensor, chunk, &scheme, &format!("{format} {scales:?}"));
            }
        }
    }
}

#[test]
fn damaged_scales_read_the_same() {
    let scales = [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-45].map(GroupScale::symmetric);
    let codes: Vec<u8> = (0..5 * 32u8).map(|i| i % 100).collect();
    let scheme = "int8-g32".parse::<Format>().unwrap();
    let scheme = scheme.scheme(Arithmetic::CompressedTensors).unwrap();
    let chunk = GroupedChunk { columns: 32, codes: &codes, scales: &scales };
    for gpu in gpus() {
        let tensor = Tensor::new("any", FloatKind::F32, &vec![1f32.to_bits(); codes.len()]);
        compare_chunk(&gpu, &tensor, chunk, &scheme, "damaged scales");
    }
}
