//! Fused experts `[experts, inputs, outputs]` where a runtime wants each expert by itself: the same
//! as if they had been stored so.

mod common;

use std::collections::BTreeMap;

use common::{
    Place, Random, Stored, language_model, read_folder, run, write_sharded, write_single,
};
use safetensors::Dtype;
use serde_json::{Value, json};

const HIDDEN: usize = 64;
const INNER: usize = 96;
const EXPERTS: usize = 3;
const FORMATS: [&str; 4] = ["nvfp4", "fp8-channel", "int4-asym-g32", "mxfp8"];

/// A family that stores experts fused and transposed.
#[derive(Clone, Copy)]
struct Family {
    name: &'static str,
    list: &'static str,
    /// Whether outputs of gate and up projection take turns.
    interleaved: bool,
    biases: bool,
}

const FAMILIES: [Family; 2] = [
    Family { name: "gpt_oss", list: "mlp.experts", interleaved: true, biases: true },
    Family { name: "llama4_text", list: "feed_forward.experts", interleaved: false, biases: false },
];

fn config(family: Family) -> Value {
    json!({
        "architectures": ["Any"], "model_type": family.name, "hidden_size": HIDDEN,
        "num_hidden_layers": 1, "num_local_experts": EXPERTS, "tie_word_embeddings": false,
    })
}

fn bytes(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// The same experts twice: fused, and one by one.
fn experts(family: Family) -> (Vec<Stored>, Vec<Stored>) {
    let random = &mut Random(5);
    let list = format!("model.layers.0.{}", family.list);
    let mut weight = || (0x3C00 | (random.bits() & 0x83FF)) as u16;
    let (mut fused, mut single) = (Vec::new(), Vec::new());
    for (name, inputs, projections) in [
        ("gate_up_proj", HIDDEN, &["gate_proj", "up_proj"][..]),
        ("down_proj", INNER, &["down_proj"]),
    ] {
        let count = projections.len();
        let outputs = if count == 2 { INNER } else { HIDDEN };
        let mut all = vec![0u16; EXPERTS * inputs * count * outputs];
        let mut all_biases = vec![0u16; EXPERTS * count * outputs];
        for expert in 0..EXPERTS {
            for (place, projection) in projections.iter().enumerate() {
                let mut own = vec![0u16; outputs * inputs];
                let mut own_biases = vec![0u16; outputs];
                for output in 0..outputs {
                    let column = match family.interleaved {
                        true => output * count + place,
                        false => place * outputs + output,
                    };
                    own_biases[output] = weight();
                    all_biases[expert * count * outputs + column] = own_biases[output];
                    for input in 0..inputs {
                        let value = weight();
                        own[output * inputs + input] = value;
                        all[(expert * inputs + input) * count * outputs + column] = value;
                    }
                }
                let module = format!("{list}.{expert}.{projection}");
                let shape = [outputs as u64, inputs as u64];
                single.push(Stored::new(
                    &format!("{module}.weight"),
                    Dtype::BF16,
                    &shape,
                    bytes(&own),
                ));
                if family.biases {
                    single.push(Stored::new(
                        &format!("{module}.bias"),
                        Dtype::BF16,
                        &shape[..1],
                        bytes(&own_biases),
                    ));
                }
            }
        }
        let shape = [EXPERTS as u64, inputs as u64, (count * outputs) as u64];
        fused.push(Stored::new(&format!("{list}.{name}"), Dtype::BF16, &shape, bytes(&all)));
        if family.biases {
            fused.push(Stored::new(
                &format!("{list}.{name}_bias"),
                Dtype::BF16,
                &[EXPERTS as u64, (count * outputs) as u64],
                bytes(&all_biases),
            ));
        }
    }
    (fused, single)
}

fn with_others(experts: Vec<Stored>) -> Vec<Stored> {
    let others = language_model(Dtype::BF16, 1).into_iter().filter(|t| !t.name.contains(".mlp."));
    others.chain(experts).collect()
}

fn export(place: &Place, format: &str, more: &[&str]) -> BTreeMap<String, Stored> {
    let (source, out) = (place.src().display().to_string(), place.out().display().to_string());
    let arguments = [
        &source,
        "--format",
        format,
        "--export",
        "compressed-tensors",
        "--out",
        &out,
        "--overwrite",
    ];
    run([&arguments[..], more].concat()).ok();
    read_folder(&place.out())
}

#[test]
fn they_become_what_single_experts_become() {
    for family in FAMILIES {
        let (fused, single) = experts(family);
        let (a, b) = (Place::empty(), Place::empty());
        write_single(&a.src(), &with_others(fused.clone()), &config(family));
        write_single(&b.src(), &with_others(single), &config(family));
        for format in FORMATS {
            let expected = export(&b, format, &[]);
            let strict: &[&str] = if family.name == "gpt_oss" { &[] } else { &["--strict"] };
            let got = export(&a, format, strict);
            assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
            for (name, tensor) in &expected {
                assert!(got[name] == *tensor, "{} {format}: {name}", family.name);
            }
        }
        // In shards, of which each holds one of the fused tensors.
        let shards = Place::empty();
        write_sharded(&shards.src(), &with_others(fused), 4, &config(family));
        assert!(export(&shards, "nvfp4", &[]) == export(&b, "nvfp4", &[]), "{}", family.name);
    }
}

#[test]
fn those_that_are_kept_are_the_same_floats() {
    for family in FAMILIES {
        let (fused, single) = experts(family);
        let place = Place::empty();
        write_single(&place.src(), &with_others(fused.clone()), &config(family));
        let got = export(&place, "nvfp4", &["--exclude", "*.down_proj"]);
        let down = single.iter().filter(|tensor| tensor.name.contains("down_proj"));
        for tensor in down {
            assert!(got[&tensor.name] == *tensor, "{}", tensor.name);
        }
        let got = export(&place, "nvfp4", &["--exclude", "*.experts.*"]);
        for tensor in &fused {
            assert!(got[&tensor.name] == *tensor, "{}", tensor.name);
        }
    }
}
