//! Every kernel that writes codes, on the CPU and on every GPU, against bytes that the reference
//! tools wrote.

mod common;

use common::{KINDS, Tensors, backends, bytes, load};
use quantscope::backend::{Backend, Grouped, Weights};
use quantscope::cpu::Cpu;
use quantscope::format::nvfp4::{Rule, Scaling};
use quantscope::format::nvfp4_search::Search;
use quantscope::format::packing::{Packing, pack_zero_points};
use quantscope::format::{
    Arithmetic, Coder, Format, Nvfp4Tables, Quotient, ScaleSearch, ScaleStore, Scheme, Scope, int,
};
use quantscope::numeric::FloatKind;

fn kind_name(kind: FloatKind) -> &'static str {
    match kind {
        FloatKind::Bf16 => "bf16",
        FloatKind::F16 => "f16",
        FloatKind::F32 => "f32",
    }
}

fn amax_of(kind: FloatKind, tensors: &Tensors, names: &[&str]) -> f32 {
    let amax = |name: &&str| {
        let (_, words, len) = &tensors[*name];
        Cpu.amax(Weights { kind, bytes: &bytemuck::cast_slice(words)[..*len] }).unwrap()
    };
    kind.widen(names.iter().map(amax).max().unwrap())
}

/// The parts of a quantized tensor, by the ends of their names.
type Parts = Vec<(&'static str, Vec<u8>)>;

/// The tool that wrote a file.
#[derive(Clone, Copy, PartialEq)]
enum Tool {
    ModelOpt,
    CompressedTensors,
}

/// One file of reference data.
struct File {
    tool: Tool,
    name: &'static str,
    of: Of,
}

/// What a file holds.
#[derive(Clone, Copy)]
enum Of {
    Nvfp4(Rule),
    Searched(ScaleSearch),
    Grouped(Scheme, Packing),
}

impl File {
    /// What joins the name of a tensor and that of a part.
    fn joint(&self) -> &'static str {
        match self.tool {
            Tool::ModelOpt => "::",
            Tool::CompressedTensors => ".",
        }
    }

    /// The parts of a tensor of this amax, as a backend makes them.
    fn parts(
        &self,
        backend: &dyn Backend,
        weights: Weights<'_>,
        columns: usize,
        amax: f32,
    ) -> Parts {
        let tables = match self.of {
            Of::Nvfp4(rule) => {
                let scaling = Scaling::new(rule, weights.kind, amax);
                Nvfp4Tables::new(match self.tool {
                    Tool::ModelOpt => scaling,
                    Tool::CompressedTensors => as_the_library(scaling),
                })
            }
            Of::Searched(search) => {
                let search = Search::new(search, Rule::Dynamic, weights.kind, amax);
                Nvfp4Tables::searching(search.unwrap())
            }
            Of::Grouped(scheme, packing) => {
                let coder = Coder::new(scheme, weights.kind, amax);
                return self.grouped(backend, weights, columns, &coder, packing);
            }
        };
        let quantized = backend.nvfp4_quantize(weights, &tables).unwrap();
        let (codes, global_scale) = match self.tool {
            Tool::ModelOpt => ("weight", "weight_scale_2"),
            Tool::CompressedTensors => ("weight_packed", "weight_global_scale"),
        };
        vec![
            (codes, quantized.codes),
            ("weight_scale", quantized.scales),
            (global_scale, tables.scaling.global_scale.to_le_bytes().to_vec()),
        ]
    }

    fn grouped(
        &self,
        backend: &dyn Backend,
        weights: Weights<'_>,
        columns: usize,
        coder: &Coder,
        packing: Packing,
    ) -> Parts {
        let Grouped { codes, scales, .. } =
            backend.grouped_quantize(weights, columns, coder).unwrap();
        let (scheme, bits) = (&coder.scheme, coder.scheme.element.bits());
        let name = match (self.tool, packing) {
            (Tool::CompressedTensors, Packing::Bytes) if bits == 8 => "weight",
            (Tool::CompressedTensors, _) => "weight_packed",
            (Tool::ModelOpt, _) => "weight",
        };
        let packed = match bits {
            3 => stream_of_3_bits(&codes, columns),
            _ => packing.pack(codes, columns),
        };
        let stored = scheme.store.encode(&scales, weights.kind);
        let mut parts = vec![(name, packed), ("weight_scale", stored)];
        if scheme.zero_points {
            let packed = pack_zero_points(&scales, scheme.scope.across(columns), bits);
            parts.push(("weight_zero_point", packed));
        }
        parts
    }
}

/// With the global scale that compressed-tensors has for f16 weights, which it rounds to f16 twice.
fn as_the_library(scaling: Scaling) -> Scaling {
    let kind = scaling.kind;
    let reciprocal = kind.round(1.0 / scaling.amax.max(kind.min_normal()));
    let rounded = kind.round(reciprocal * 2688.0);
    let global_scale = if rounded.is_finite() { rounded } else { 1.0 };
    Scaling { global_scale, ..scaling }
}

/// Inputs for which ModelOpt's own scale of the tensor is 0, and its block scales NaN or its values
/// lost.
fn lost_by_modelopt(file: &File, name: &str, kind: FloatKind) -> bool {
    let of_tensor = match file.of {
        Of::Nvfp4(_) | Of::Searched(_) => true,
        Of::Grouped(scheme, _) => scheme.scope == Scope::Tensor,
    };
    let is_lost = matches!(name, "allzero" | "allnegzero");
    of_tensor && (is_lost || (name == "denorm" && kind == FloatKind::F32))
}

/// The largest finite weights, for which compressed-tensors takes a power of two, or the difference
/// of two weights, to be infinite.
fn lost_by_compressed_tensors(file: &File, name: &str, _: FloatKind) -> bool {
    let overflows = match file.of {
        Of::Nvfp4(_) | Of::Searched(_) => false,
        Of::Grouped(scheme, _) => scheme.zero_points || scheme.store == ScaleStore::E8m0,
    };
    overflows && name == "max"
}

/// Biased codes of 3 bits, one after the other in words of 32 bits a row. No format of the product
/// has them, but the arithmetic is the same.
fn stream_of_3_bits(codes: &[u8], columns: usize) -> Vec<u8> {
    let row = |row: &[u8]| {
        let mut packed = vec![0u8; (3 * columns).div_ceil(32) * 4];
        for (i, code) in row.iter().enumerate() {
            for bit in 0..3 {
                let set = code.wrapping_add(4) >> bit & 1;
                packed[(3 * i + bit) / 8] |= set << ((3 * i + bit) % 8);
            }
        }
        packed
    };
    codes.chunks(columns).flat_map(row).collect()
}

fn scheme(format: &str, arithmetic: Arithmetic) -> Scheme {
    format.parse::<Format>().unwrap().scheme(arithmetic).unwrap()
}

fn modelopt(name: &'static str, of: Of) -> File {
    File { tool: Tool::ModelOpt, name, of }
}

fn modelopt_grouped(name: &'static str, format: &str, packing: Packing) -> File {
    modelopt(name, Of::Grouped(scheme(format, Arithmetic::ModelOpt), packing))
}

fn compressed_tensors(name: &'static str, scheme: Scheme, packing: Packing) -> File {
    // What the library does on a CPU, where the data was made.
    let scheme = Scheme { quotient: Quotient::Own, ..scheme };
    File { tool: Tool::CompressedTensors, name, of: Of::Grouped(scheme, packing) }
}

/// Compares every tensor of files that is not `lost` by the tool that wrote them.
fn compare(
    files: &[File],
    inputs_and_outputs: (&str, &str),
    lost: fn(&File, &str, FloatKind) -> bool,
) {
    let backends = backends();
    let mut wrong = Vec::new();
    for file in files {
        let compared = compare_file(file, inputs_and_outputs, &backends, lost, &mut wrong);
        assert!(compared > 50, "{}: {compared}", file.name);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Notes what differs; gives how many tensors there were.
fn compare_file(
    file: &File,
    (inputs, outputs): (&str, &str),
    backends: &[Box<dyn Backend>],
    lost: fn(&File, &str, FloatKind) -> bool,
    wrong: &mut Vec<String>,
) -> usize {
    let mut compared = 0;
    for kind in KINDS {
        let inputs = load(&format!("{inputs}_{}.safetensors", kind_name(kind)));
        let expected = load(&format!("{outputs}{}_{}.safetensors", file.name, kind_name(kind)));
        for (name, (shape, words, len)) in &inputs {
            let first = format!("{name}{}", file.joint());
            let stored = expected.keys().filter(|key| key.starts_with(&first)).count();
            // Shapes that the format does not take, and what is no number.
            if stored == 0 || ["nan", "inf"].contains(&name.as_str()) || lost(file, name, kind) {
                continue;
            }
            let weights = Weights { kind, bytes: &bytemuck::cast_slice(words)[..*len] };
            // Fused layers share the global scale of NVFP4.
            let fused = ["fused.q", "fused.k", "fused.v"];
            let shared = matches!(file.of, Of::Nvfp4(_)) && fused.contains(&name.as_str());
            let own = [name.as_str()];
            let amax = amax_of(kind, &inputs, if shared { &fused[..] } else { &own[..] });
            for backend in backends {
                for (part, got) in file.parts(&**backend, weights, shape[1], amax) {
                    let part = format!("{first}{part}");
                    let expected = bytes(&expected, &part);
                    if got != expected {
                        let count = got.iter().zip(&expected).filter(|(a, b)| a != b).count();
                        wrong.push(format!(
                            "{} {kind:?} {part} on {}: {count} bytes of {} differ",
                            file.name,
                            backend.name(),
                            expected.len()
                        ));
                    }
                }
            }
            compared += 1;
        }
    }
    compared
}

#[test]
fn every_modelopt_file_is_reproduced() {
    let files = [
        modelopt("nvfp4", Of::Nvfp4(Rule::Dynamic)),
        modelopt("nvfp4_static_max", Of::Nvfp4(Rule::Static { largest: 448 })),
        modelopt("nvfp4_mse_default", Of::Searched(ScaleSearch::Mse)),
        modelopt("nvfp4_mse_sweep", Of::Searched(ScaleSearch::Sweep)),
        modelopt("nvfp4_4o6", Of::Searched(ScaleSearch::FourOverSix)),
        modelopt_grouped("fp8", "fp8", Packing::Bytes),
        modelopt_grouped("fp8_pc_pt", "fp8-channel", Packing::Bytes),
        modelopt_grouped("fp8_pb_wo", "fp8-block", Packing::Bytes),
        modelopt_grouped("int8", "int8", Packing::Bytes),
        modelopt_grouped("int4", "int4-g128", Packing::RowPairs),
        modelopt_grouped("mxfp4", "mxfp4", Packing::Nibbles),
        modelopt_grouped("mxfp8", "mxfp8", Packing::Bytes),
    ];
    compare(&files, ("modelopt/inputs", "modelopt/"), lost_by_modelopt);
}

#[test]
fn every_compressed_tensors_file_is_reproduced() {
    let ct = |format: &str| scheme(format, Arithmetic::CompressedTensors);
    let (four, eight) = (Packing::Words { bits: 4 }, Packing::Words { bits: 8 });
    let three = int::scheme(3, Scope::Group(128), true, Arithmetic::CompressedTensors);
    let nvfp4 = File {
        tool: Tool::CompressedTensors,
        name: "NVFP4A16",
        of: Of::Nvfp4(Rule::CompressedTensors),
    };
    let files = [
        nvfp4,
        compressed_tensors("MXFP4A16", ct("mxfp4"), Packing::Nibbles),
        compressed_tensors("MXFP8A16", ct("mxfp8"), Packing::Bytes),
        compressed_tensors("FP8_TENSOR", ct("fp8"), Packing::Bytes),
        compressed_tensors("FP8_DYNAMIC", ct("fp8-channel"), Packing::Bytes),
        compressed_tensors("FP8_BLOCK", ct("fp8-block"), Packing::Bytes),
        compressed_tensors("W8A8", ct("int8"), Packing::Bytes),
        compressed_tensors("W8A16", ct("int8-g128"), eight),
        compressed_tensors("INT8_G128_ASYM", ct("int8-asym-g128"), eight),
        compressed_tensors("INT4_CHANNEL", ct("int4"), four),
        compressed_tensors("INT4_G32", ct("int4-g32"), four),
        compressed_tensors("INT4_G64", ct("int4-g64"), four),
        compressed_tensors("W4A16", ct("int4-g128"), four),
        compressed_tensors("INT4_G32_ASYM", ct("int4-asym-g32"), four),
        compressed_tensors("W4A16_ASYM", ct("int4-asym-g128"), four),
        compressed_tensors("INT3_G128", three, Packing::Bytes),
    ];
    let paths = ("compressed-tensors/inputs", "compressed-tensors/out_");
    compare(&files, paths, lost_by_compressed_tensors);
}
