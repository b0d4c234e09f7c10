//! ONNX Runtime's arithmetic, on the CPU and on every GPU, against what its own quantizer wrote.

mod common;

use common::{Tensor, backends, bytes, data, load};
use quantscope::backend::{Backend, Grouped, GroupedChunk};
use quantscope::cpu::Cpu;
use quantscope::format::packing::{Packing, pack_zero_points_in_rows, unpack_zero_points_in_rows};
use quantscope::format::{Arithmetic, Coder, Format, GroupScale, ScaleSearch};
use quantscope::numeric::FloatKind;

/// A matrix `[columns, rows]` of elements of so many bytes, row by row.
fn transposed(stored: &[u8], [columns, rows]: [usize; 2], bytes: usize) -> Vec<u8> {
    let places = (0..rows).flat_map(|row| (0..columns).map(move |column| column * rows + row));
    places.flat_map(|at| stored[at * bytes..][..bytes].to_vec()).collect()
}

fn kind_of(name: &str) -> FloatKind {
    match name.split('.').next() {
        Some("f16") => FloatKind::F16,
        Some("f32") => FloatKind::F32,
        _ => panic!("{name} begins with its type"),
    }
}

/// Values of stored floats.
fn values(kind: FloatKind, bytes: &[u8]) -> Vec<f32> {
    let pattern = |bytes: &[u8]| bytes.iter().rev().fold(0, |all, b| all << 8 | u32::from(*b));
    bytes.chunks(kind.bytes()).map(|bytes| kind.widen(pattern(bytes))).collect()
}

fn coder(bits: u8, group: u16, symmetric: bool, kind: FloatKind) -> Coder {
    let format = Format::Int { bits, group: Some(group), symmetric };
    Coder::new(format.scheme(Arithmetic::OnnxRuntime).unwrap(), kind, 0.0)
}

/// Packed codes of 4 bits without what MLAS leaves in the high nibble of the last byte of a row of odd
/// length.
fn without_stale_lanes(mut packed: Vec<u8>, row_bytes: usize, columns: usize, bits: u8) -> Vec<u8> {
    if bits == 4 && columns % 2 == 1 {
        for row in packed.chunks_mut(row_bytes) {
            row[columns / 2] &= 0xF;
        }
    }
    packed
}

#[test]
fn every_matrix_of_the_quantizer_is_reproduced() {
    let golden = load("onnxruntime/rtn_goldens.safetensors");
    let backends = backends();
    let (mut compared, mut of_2_bits) = (0, 0);
    for name in golden.keys().filter_map(|name| name.strip_suffix(".packed")) {
        // Type, block, input; bits and symmetry.
        let parts: Vec<&str> = name.split('.').collect();
        let [kind, block, input, bits, symmetry] = parts[..] else { panic!("{name}") };
        if bits == "q2" {
            // No format of the product has codes of 2 bits.
            of_2_bits += 1;
            continue;
        }
        let (bits, group) = (bits[1..].parse().unwrap(), block[1..].parse().unwrap());
        let coder = coder(bits, group, symmetry == "sym", kind_of(name));
        let source = format!("{kind}.{block}.{input}.W");
        let shape = [golden[&source].0[0], golden[&source].0[1]];
        let columns = shape[0];
        let rows = transposed(&bytes(&golden, &source), shape, coder.kind.bytes());
        let tensor = Tensor::from_bytes(name, coder.kind, &rows);

        let packing = Packing::Blocks { bits, len: group };
        let row_bytes = packing.bytes(1, columns);
        let expected = bytes(&golden, &format!("{name}.packed"));
        let expected = without_stale_lanes(expected, row_bytes, columns, bits);
        for backend in &backends {
            let what = format!("{name} on {}", backend.name());
            let Grouped { codes, scales, .. } =
                backend.grouped_quantize(tensor.weights(), columns, &coder).unwrap();
            let stored = coder.scheme.store.encode(&scales, coder.kind);
            assert_eq!(stored, bytes(&golden, &format!("{name}.scales")), "{what}: scales");
            assert!(packing.pack(codes, columns) == expected, "{what}: codes");
            if coder.scheme.zero_points {
                let across = coder.scheme.scope.across(columns);
                let packed = pack_zero_points_in_rows(&scales, across, bits);
                assert_eq!(packed, bytes(&golden, &format!("{name}.zp")), "{what}: zero points");
            }
        }
        compared += 1;
    }
    assert_eq!((compared, of_2_bits), (192, 24));
}

#[test]
fn heads_that_are_the_table_are_told_from_others() {
    let golden = load("onnxruntime/gate_goldens.safetensors");
    let cases = std::fs::read(data("onnxruntime/gate_goldens.json")).unwrap();
    let cases: serde_json::Value = serde_json::from_slice(&cases).unwrap();
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 64);
    let backends = backends();
    for case in cases {
        let name = case["key"].as_str().unwrap();
        // Type, symmetry and bits, what the head is.
        let parts: Vec<&str> = name.split('.').collect();
        let (kind, table, head) = (kind_of(name), parts[1], parts[2..].join("."));
        let (symmetric, bits) = match table {
            "sym4" => (true, 4),
            "sym8" => (true, 8),
            "asym4" => (false, 4),
            "asym8" => (false, 8),
            _ => panic!("{name}"),
        };
        let scheme = coder(bits, 32, symmetric, kind).scheme;
        let head = format!("{}.{head}.head", parts[0]);
        let columns = golden[&head].0[1];
        let across = scheme.scope.across(columns);

        let packing = Packing::Blocks { bits, len: 32 };
        let codes = packing.unpack(&bytes(&golden, &format!("{name}.q")), columns, true);
        let scales = values(kind, &bytes(&golden, &format!("{name}.s")));
        let zero_points = match symmetric {
            true => vec![0; scales.len()],
            false => {
                unpack_zero_points_in_rows(&bytes(&golden, &format!("{name}.z")), across, bits)
            }
        };
        let groups = scales.into_iter().zip(zero_points);
        let scales: Vec<_> =
            groups.map(|(scale, zero_point)| GroupScale { scale, zero_point }).collect();
        let chunk = GroupedChunk { columns, codes: &codes, scales: &scales };
        let head = Tensor::from_bytes(name, kind, &bytes(&golden, &head));
        for backend in &backends {
            let found = backend.grouped_match(head.weights(), chunk, &scheme, kind).unwrap();
            let what = format!("{name} on {}: {found:?}", backend.name());
            assert_eq!(found.weights as usize, codes.len(), "{what}");
            assert_eq!(found.apart == 0, case["tied"].as_bool().unwrap(), "{what}");
        }
    }
}

/// The weighted error of each group of rows: codes and zero points are signed.
fn weighted_errors(weights: &[f32], chunk: GroupedChunk<'_>, group: usize) -> Vec<f64> {
    let of_group = |weights: &[f32], codes: &[u8], scale: &GroupScale| {
        let squares = weights.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        // What is missing of a last group counts as zeros.
        let root = (squares / group as f64).sqrt();
        let error = |(x, code): (&f32, &u8)| {
            let number = f32::from(*code as i8) - f32::from(scale.zero_point);
            let error = f64::from(number) * f64::from(scale.scale) - f64::from(*x);
            (root + f64::from(x.abs())) * error * error
        };
        weights.iter().zip(codes).map(error).sum()
    };
    let (columns, across) = (chunk.columns, chunk.columns.div_ceil(group));
    let rows = weights.chunks(columns).zip(chunk.codes.chunks(columns));
    let groups = rows.flat_map(|(weights, codes)| weights.chunks(group).zip(codes.chunks(group)));
    assert_eq!(chunk.scales.len(), weights.len() / columns * across);
    groups
        .zip(chunk.scales)
        .map(|((weights, codes), scale)| of_group(weights, codes, scale))
        .collect()
}

#[test]
fn no_group_has_more_error_than_k_quant_gives_it() {
    let golden = load("onnxruntime/kquant_goldens.safetensors");
    let groups_of = |name: &str, scales: &str, zero_points: Vec<i8>| -> Vec<GroupScale> {
        let scales = values(FloatKind::F32, &bytes(&golden, &format!("{name}.{scales}")));
        assert_eq!(scales.len(), zero_points.len());
        let groups = scales.into_iter().zip(zero_points);
        groups.map(|(scale, zero_point)| GroupScale { scale, zero_point }).collect()
    };
    let mut cases = Vec::new();
    for (group, bits) in [(32, 4), (32, 8), (128, 4), (128, 8)] {
        let name = format!("b{group}.q{bits}");
        let half = 1 << (bits - 1);
        let signed = |part: &str| -> Vec<u8> {
            let unsigned = bytes(&golden, &format!("{name}.{part}"));
            unsigned.into_iter().map(|code| code.wrapping_sub(half)).collect()
        };
        let zero_points = signed("zp").into_iter().map(|zero_point| zero_point as i8).collect();
        let scales = groups_of(&name, "scale", zero_points);
        let weights = bytes(&golden, &format!("b{group}.X"));
        cases.push((name.clone(), bits, group, group as usize, weights, signed("codes"), scales));
    }
    let shape = [golden["mm.W"].0[0], golden["mm.W"].0[1]];
    let columns = shape[0];
    let weights = transposed(&bytes(&golden, "mm.W"), shape, 4);
    let packing = Packing::Blocks { bits: 4, len: 32 };
    let codes = packing.unpack(&bytes(&golden, "mm.packed"), columns, true);
    let across = columns.div_ceil(32);
    let zero_points = unpack_zero_points_in_rows(&bytes(&golden, "mm.zp"), across, 4);
    let scales = groups_of("mm", "scales", zero_points);
    cases.push(("a matrix".to_owned(), 4, 32, columns, weights, codes, scales));

    for (name, bits, group, columns, weights, codes, scales) in cases {
        let tensor = Tensor::from_bytes(&*name, FloatKind::F32, &weights);
        let weights = values(FloatKind::F32, &weights);
        let length = usize::from(group);
        let expected = GroupedChunk { columns, codes: &codes, scales: &scales };
        let expected = weighted_errors(&weights, expected, length);
        let mut coder = coder(bits, group, false, FloatKind::F32);
        let plain = Cpu.grouped_quantize(tensor.weights(), columns, &coder).unwrap();
        coder.scheme.search = ScaleSearch::KQuant;
        let found = Cpu.grouped_quantize(tensor.weights(), columns, &coder).unwrap();
        let errors = |quantized: &Grouped| {
            let (codes, scales) = (&quantized.codes, &quantized.scales);
            weighted_errors(&weights, GroupedChunk { columns, codes, scales }, length)
        };
        let (got, plain) = (errors(&found), errors(&plain));
        for (i, got) in got.iter().enumerate() {
            let (expected, plain) = (expected[i], plain[i]);
            assert!(*got <= expected, "{name}: group {i} has {got:e}, there {expected:e}");
            assert!(*got <= plain, "{name}: group {i} has {got:e}, without a search {plain:e}");
        }
        for backend in backends() {
            let got = backend.grouped_quantize(tensor.weights(), columns, &coder).unwrap();
            assert_eq!((&got.codes, &got.scales), (&found.codes, &found.scales));
        }
    }
}
