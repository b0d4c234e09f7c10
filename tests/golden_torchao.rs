//! torchao's arithmetic, on the CPU and on every GPU, against what it wrote, and ExecuTorch's packing.

mod common;

use common::{KINDS, Tensor, Tensors, backends, bytes, infinity, load};
use quantscope::backend::{Grouped, GroupedChunk};
use quantscope::format::packing::Packing;
use quantscope::format::q4gsw::{NibbleOrder, filled_rows, scale_place};
use quantscope::format::{Arithmetic, Coder, GroupScale, ScaleStore, Scheme, Scope, int, torchao};
use quantscope::numeric::FloatKind;

/// The type and scheme that the name of a golden tells: `TYPE.intBITS.HOW.gLEN`, or `.row` at its end.
fn read_name(name: &str) -> (FloatKind, Scheme) {
    let parts: Vec<&str> = name.split('.').collect();
    let [kind, bits, how, group] = parts[..] else { panic!("{name}") };
    let kind = match kind {
        "f32" => FloatKind::F32,
        "bf16" => FloatKind::Bf16,
        "f16" => FloatKind::F16,
        _ => panic!("{name} begins with its type"),
    };
    let scope = match group {
        "row" => Scope::Row,
        _ => Scope::Group(group[1..].parse().unwrap()),
    };
    let bits = bits[3..].parse().unwrap();
    let scheme = int::scheme(bits, scope, how != "asym", Arithmetic::TorchAo);
    let scheme = match how {
        "sym" | "asym" => scheme,
        "noclip" => torchao::without_clipping(scheme),
        "scale_f32" => torchao::with_f32_scales(scheme),
        _ => panic!("{name}"),
    };
    (kind, scheme)
}

/// Groups whose range is beyond the type of the weights: torchao has infinite scales for them, and
/// loses all of their weights.
fn lost_groups(golden: &Tensors, name: &str, store: FloatKind) -> Vec<bool> {
    let infinity = infinity(store).to_le_bytes();
    let scales = bytes(golden, &format!("{name}.scale"));
    scales.chunks(store.bytes()).map(|scale| infinity.starts_with(scale)).collect()
}

/// What there is of the other groups, of which all have as many bytes.
fn kept(of_all: &[u8], lost: &[bool]) -> Vec<u8> {
    let groups = of_all.chunks(of_all.len() / lost.len()).zip(lost);
    groups.filter(|(_, lost)| !**lost).flat_map(|(group, _)| group.to_vec()).collect()
}

/// Compares a part of a golden where it is there.
fn compare(golden: &Tensors, name: &str, got: &[u8], what: &str) -> usize {
    if !golden.contains_key(name) {
        return 0;
    }
    assert!(bytes(golden, name) == got, "{what}: {name}");
    1
}

#[test]
fn every_matrix_is_reproduced() {
    let golden = load("torchao/intx_goldens.safetensors");
    let backends = backends();
    let (mut matrices, mut parts) = (0, 0);
    for name in golden.keys().filter_map(|name| name.strip_suffix(".qdata")) {
        let (kind, scheme) = read_name(name);
        let weights = format!("{}.weight", name.split('.').next().unwrap());
        let columns = golden[&weights].0[1];
        let tensor = Tensor::from_bytes(name, kind, &bytes(&golden, &weights));
        let coder = Coder::new(scheme, kind, tensor.amax());
        let stored_as = if scheme.store == ScaleStore::F32 { FloatKind::F32 } else { kind };
        let lost = lost_groups(&golden, name, stored_as);
        // The largest weights of f16, with zero points.
        let expected = if name == "f16.int4.asym.g32" { 32 } else { 0 };
        assert_eq!(lost.iter().filter(|lost| **lost).count(), expected, "{name}");
        for (i, backend) in backends.iter().enumerate() {
            let what = backend.name();
            let Grouped { codes, scales, .. } =
                backend.grouped_quantize(tensor.weights(), columns, &coder).unwrap();
            let stored = scheme.store.encode(&scales, kind);
            let zero_points: Vec<u8> = scales.iter().map(|group| group.zero_point as u8).collect();
            for (part, got) in [("scale", &stored), ("zero_point", &zero_points), ("qdata", &codes)]
            {
                let part = format!("{name}.{part}");
                let expected = kept(&bytes(&golden, &part), &lost);
                assert!(kept(got, &lost) == expected, "{what}: {part}");
            }
            assert!(scales.iter().all(|group| group.scale.is_finite()), "{what}: {name}");

            let chunk = GroupedChunk { columns, codes: &codes, scales: &scales };
            let values = backend.grouped_dequantize(chunk, &scheme).unwrap();
            let values = bytemuck::cast_slice(&values);
            let compared = compare(&golden, &format!("{name}.embedding_q4gsw_out"), values, what);
            let found = backend.grouped_match(tensor.weights(), chunk, &scheme, kind).unwrap();
            assert_eq!((found.apart, found.weights as usize), (0, codes.len()), "{what}: {name}");

            if i > 0 {
                continue;
            }
            (matrices, parts) = (matrices + 1, parts + compared);
            for (order, part) in [
                (NibbleOrder::EvenLow, "packed_linear"),
                (NibbleOrder::EvenHigh, "packed_embedding"),
            ] {
                let packing = Packing::Q4gsw(order);
                let packed = packing.pack(codes.clone(), columns);
                let part = format!("{name}.{part}");
                parts += compare(&golden, &part, &packed, what);
                if golden.contains_key(&part) {
                    assert!(packing.unpack(&packed, columns, true) == codes, "{part}");
                }
            }
            // What the tool wrote is not filled up to a multiple of four rows.
            let (across, rows) = (scheme.scope.across(columns), codes.len() / columns);
            let mut ordered = vec![GroupScale::symmetric(0.0); across * filled_rows(rows)];
            for (i, scale) in scales.iter().enumerate() {
                ordered[scale_place(i % across, i / across, rows)] = *scale;
            }
            let groups = ordered.chunks(filled_rows(rows));
            let filled: Vec<_> = groups.flat_map(|group| group[..rows].to_vec()).collect();
            let stored = scheme.store.encode(&filled, kind);
            parts += compare(&golden, &format!("{name}.scale_linear"), &stored, what);
        }
    }
    // Of each type four lengths of groups and five other ways; packed only the former, two nibble
    // orders and scales, and the values of one.
    assert_eq!((matrices, parts), (3 * 9, 3 * (4 * 3 + 1)));
}

/// Ties in steps of a scale, and their codes without a zero point.
const TIES: [(f32, i16); 16] = [
    (0.5, 0),
    (-0.5, 0),
    (1.5, 2),
    (-1.5, -2),
    (2.5, 2),
    (-2.5, -2),
    (3.5, 4),
    (-3.5, -4),
    (4.5, 4),
    (-4.5, -4),
    (5.5, 6),
    (-5.5, -6),
    (6.5, 6),
    (-6.5, -6),
    (7.5, 8),
    (-7.5, -8),
];

#[test]
fn exact_ties_go_to_even_on_every_backend() {
    // The largest and the smallest of a group in steps of a scale that they make, and the zero point.
    let cases = [
        ("int4.sym.g32", [7.5, -7.5], 0),
        ("int4.scale_f32.g32", [7.5, -7.5], 0),
        ("int4.noclip.g32", [7.0, -8.0], 0),
        ("int4.asym.g32", [7.5, -7.5], 0),
        ("int4.asym.g32", [8.5, -6.5], -2),
        ("int8.sym.g32", [127.5, -127.5], 0),
        ("int8.asym.g32", [127.5, -127.5], 0),
        ("int8.asym.g32", [155.0, -100.0], -28),
    ];
    for (backend, kind) in backends().iter().flat_map(|backend| KINDS.map(|kind| (backend, kind))) {
        for (name, [largest, smallest], zero_point) in cases {
            let (_, scheme) = read_name(&format!("f32.{name}"));
            let coder = Coder::new(scheme, kind, 0.0);
            let half = 1i16 << (scheme.element.bits() - 1);
            let ties = TIES.iter().filter(|(tie, _)| (smallest..=largest).contains(tie));
            // Powers of two, so that every product is exact.
            for scale in [0.0625f32, 1.0, 4.0] {
                let what = format!("{name} under {scale} of {kind:?} on {}", backend.name());
                let steps = [largest, smallest].into_iter().chain(ties.clone().map(|tie| tie.0));
                let weights = steps.chain(std::iter::repeat(0.0)).take(32);
                let patterns: Vec<u32> = weights.map(|steps| kind.pattern(steps * scale)).collect();
                let tensor = Tensor::new(&*what, kind, &patterns);
                let got = backend.grouped_quantize(tensor.weights(), 32, &coder).unwrap();
                assert_eq!(got.scales, [GroupScale { scale, zero_point }], "{what}");
                for ((tie, even), code) in ties.clone().zip(&got.codes[2..]) {
                    let expected = (even + i16::from(zero_point)).clamp(-half, half - 1);
                    assert_eq!(i16::from(*code as i8), expected, "{what}: {tie} steps");
                }
            }
        }
    }
}
