//! The CPU backend, and so the specification, against bytes that ModelOpt wrote.

mod common;

use quantscope::backend::{Backend, Weights};
use quantscope::cpu::Cpu;
use quantscope::format::Nvfp4Tables;
use quantscope::format::nvfp4::{BLOCK_LEN, Rule, Scaling, quantize_block};
use quantscope::numeric::FloatKind;
use safetensors::SafeTensors;

const KINDS: [(FloatKind, &str); 3] =
    [(FloatKind::Bf16, "bf16"), (FloatKind::F16, "f16"), (FloatKind::F32, "f32")];

/// Inputs for which ModelOpt's own global scale is 0, and its block scales NaN or its values lost.
fn lost_by_modelopt(name: &str, kind: FloatKind) -> bool {
    matches!(name, "allzero" | "allnegzero") || (name == "denorm" && kind == FloatKind::F32)
}

fn values(kind: FloatKind, bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(kind.bytes())
        .map(|b| kind.widen(b.iter().rev().fold(0, |bits, &byte| (bits << 8) | u32::from(byte))))
        .collect()
}

fn aligned(bytes: &[u8]) -> Vec<u64> {
    let mut words = vec![0u64; bytes.len().div_ceil(8)];
    bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
    words
}

#[test]
fn specification_and_cpu_write_the_bytes_of_modelopt() {
    let mut compared = 0;
    for (kind, kind_name) in KINDS {
        let file = std::fs::read(common::data(&format!("modelopt/nvfp4_{kind_name}.safetensors")))
            .unwrap();
        let golden = SafeTensors::deserialize(&file).unwrap();
        for (name, _, bytes) in common::nvfp4_inputs(kind) {
            if lost_by_modelopt(&name, kind) {
                continue;
            }
            let part =
                |part: &str| golden.tensor(&format!("{name}::{part}")).unwrap().data().to_vec();
            let what = format!("{name} {kind_name}");

            let weights = values(kind, &bytes);
            let amax = weights.iter().fold(0f32, |amax, w| amax.max(w.abs()));
            let scaling = Scaling::new(Rule::Dynamic, kind, amax);
            assert_eq!(
                scaling.global_scale.to_le_bytes().to_vec(),
                part("weight_scale_2"),
                "{what}"
            );

            let (mut codes, mut scales) = (Vec::new(), Vec::new());
            for block in weights.as_chunks::<BLOCK_LEN>().0 {
                let (scale, packed) = quantize_block(block, &scaling);
                scales.push(scale);
                codes.extend(packed);
            }
            assert!(scales == part("weight_scale"), "{what}: block scales of the specification");
            assert!(codes == part("weight"), "{what}: codes of the specification");

            let words = aligned(&bytes);
            let weights = Weights { kind, bytes: &bytemuck::cast_slice(&words)[..bytes.len()] };
            assert_eq!(kind.widen(Cpu.amax(weights).unwrap()), amax, "{what}");
            let quantized = Cpu.nvfp4_quantize(weights, &Nvfp4Tables::new(scaling)).unwrap();
            assert!(quantized.scales == scales, "{what}: block scales of the CPU");
            assert!(quantized.codes == codes, "{what}: codes of the CPU");
            compared += 1;
        }
    }
    assert_eq!(compared, 56);
}

#[test]
fn tensors_that_modelopt_loses_get_finite_scales() {
    for (kind, kind_name) in KINDS {
        for (name, _, bytes) in common::nvfp4_inputs(kind) {
            if !lost_by_modelopt(&name, kind) {
                continue;
            }
            let words = aligned(&bytes);
            let weights = Weights { kind, bytes: &bytemuck::cast_slice(&words)[..bytes.len()] };
            let amax = kind.widen(Cpu.amax(weights).unwrap());
            let scaling = Scaling::new(Rule::Dynamic, kind, amax);
            assert!(scaling.global_scale > 0.0, "{name} {kind_name}");
            let quantized = Cpu.nvfp4_quantize(weights, &Nvfp4Tables::new(scaling)).unwrap();
            assert!(quantized.scales.iter().all(|&scale| (1..=0x7E).contains(&scale)));
            if name != "denorm" {
                assert!(quantized.codes.iter().all(|&byte| byte == 0), "{name} {kind_name}");
                assert!(quantized.scales.iter().all(|&scale| scale == 0x38));
            }
        }
    }
}

#[test]
fn sums_are_those_of_a_plain_loop() {
    for (kind, _) in KINDS {
        for (name, _, bytes) in common::nvfp4_inputs(kind) {
            let words = aligned(&bytes);
            let chunk = Weights { kind, bytes: &bytemuck::cast_slice(&words)[..bytes.len()] };
            let amax = kind.widen(Cpu.amax(chunk).unwrap());
            let tables = Nvfp4Tables::new(Scaling::new(Rule::Dynamic, kind, amax));
            let quantized = Cpu.nvfp4_quantize(chunk, &tables).unwrap();
            let dequantized = Cpu
                .nvfp4_dequantize(
                    quantscope::backend::Nvfp4Chunk {
                        codes: &quantized.codes,
                        scales: &quantized.scales,
                    },
                    &tables,
                )
                .unwrap();
            let weights = values(kind, &bytes);
            let errors =
                weights.iter().zip(&dequantized).map(|(w, v)| f64::from(*w) - f64::from(*v));
            let squares: f64 = errors.clone().map(|e| e * e).sum();
            let max = errors.fold(0f64, |max, e| max.max(e.abs()));
            assert!((quantized.errors.sum_squares - squares).abs() <= 1e-5 * squares, "{name}");
            assert!((quantized.errors.max_abs - max).abs() <= 1e-6 * max, "{name}");
            assert_eq!(
                quantized.weights.zeros,
                weights.iter().filter(|w| **w == 0.0).count() as u64
            );
            assert_eq!(quantized.weights.count, weights.len() as u64);
            assert_eq!(quantscope::cpu::weight_sums(chunk), quantized.weights, "{name}");
        }
    }
}
