//! torchao's checkpoints: what every header says, tied tables, and bytes next to what torchao wrote.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{
    Place, Stored, bytes, config, language_model, load, read_folder, read_json, run, write_single,
};
use safetensors::Dtype;
use serde_json::{Value, json};

const TABLE: &str = "model.embed_tokens.weight";

/// Exports `src` with its embedding to `out`.
fn export(place: &Place, args: &[&str]) -> BTreeMap<String, Stored> {
    let (source, out) = (place.src().display().to_string(), place.out().display().to_string());
    let own = [&source, "--export", "executorch", "--out", &out, "--overwrite", "-q"];
    let format = if args.contains(&"--format") { &[][..] } else { &["--format", "int4-g32"] };
    run([&own[..], format, &["--quantize-embeddings"], args].concat()).ok();
    read_folder(&place.out())
}

/// What the header of a file says besides tensors.
fn metadata(file: &Path) -> BTreeMap<String, String> {
    let bytes = std::fs::read(file).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    serde_json::from_value(header["__metadata__"].clone()).unwrap()
}

#[test]
fn every_header_says_of_every_tensor_what_it_is() {
    let place = Place::empty();
    let model = language_model(Dtype::BF16, 2);
    write_single(&place.src(), &model, &config(false));
    export(&place, &["--max-shard-size", "40KB"]);
    let files: Vec<_> = std::fs::read_dir(place.out())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "safetensors"))
        .collect();
    assert!(files.len() > 2, "several shards");
    let said = metadata(&files[0]);
    for file in &files {
        assert_eq!(metadata(file), said, "{}", file.display());
        assert!(std::fs::metadata(file).unwrap().len() <= 40_000, "{}", file.display());
    }
    let mut names: Vec<String> = serde_json::from_str(&said["tensor_names"]).unwrap();
    names.sort();
    let mut expected: Vec<String> = model.iter().map(|tensor| tensor.name.clone()).collect();
    expected.sort();
    assert_eq!(names, expected);

    let kind = |name: &str| -> Value { serde_json::from_str(&said[name]).unwrap() };
    assert_eq!(kind("model.norm.weight"), json!({ "_type": "Tensor" }));
    assert_eq!(kind("lm_head.weight"), json!({ "_type": "Tensor" }), "kept by default");
    let expected = json!({
        "_type": "IntxUnpackedToInt8Tensor",
        "_data": {
            "target_dtype": { "_type": "torch.dtype", "_data": "int4" },
            "block_size": [1, 32],
            "dtype": { "_type": "torch.dtype", "_data": "bfloat16" },
            "activation_quantization": null,
        },
        "_tensor_data_names": ["qdata", "scale", "zero_point"],
    });
    assert_eq!(kind(TABLE), expected);
    // The whole row is one block.
    export(&place, &["--format", "int8", "--max-shard-size", "1GB"]);
    let said = metadata(&place.out().join("model.safetensors"));
    let kind: Value = serde_json::from_str(&said["model.layers.0.mlp.down_proj.weight"]).unwrap();
    assert_eq!(kind["_data"]["block_size"], json!([1, 128]));
    assert_eq!(kind["_data"]["target_dtype"]["_data"], "int8");
    let stated = &read_json(&place.out().join("config.json"))["quantization_config"];
    assert_eq!(stated["quant_method"], "torchao");
    let granularity = &stated["quant_type"]["default"]["_data"]["granularity"];
    assert_eq!(granularity["_type"], "PerAxis");
}

#[test]
fn a_tied_table_is_stored_once_and_stays_tied() {
    let place = Place::empty();
    let mut model = language_model(Dtype::BF16, 1);
    model.retain(|tensor| tensor.name != "lm_head.weight");
    write_single(&place.src(), &model, &config(true));
    let out = export(&place, &[]);
    let of_head = |out: &BTreeMap<String, Stored>| -> Vec<String> {
        out.keys().filter(|name| name.starts_with("lm_head")).cloned().collect()
    };
    assert!(of_head(&out).is_empty());
    assert!(out.contains_key("model.embed_tokens._weight_qdata") && !out.contains_key(TABLE));
    let stated = read_json(&place.out().join("config.json"));
    assert_eq!(stated["tie_word_embeddings"], true);
    assert!(stated["quantization_config"]["modules_to_not_convert"].is_null());

    let out = export(&place, &["--tied", "untie"]);
    assert_eq!(of_head(&out), ["lm_head.weight"]);
    let source = read_folder(&place.src());
    assert!(out["lm_head.weight"].bytes == source[TABLE].bytes);
    assert_eq!(read_json(&place.out().join("config.json"))["tie_word_embeddings"], false);

    let out = export(&place, &["--tied", "keep"]);
    assert!(out.contains_key(TABLE));
}

#[test]
fn a_head_that_equals_the_table_gets_the_same_codes_under_its_own_name() {
    let place = Place::empty();
    let mut model = language_model(Dtype::BF16, 1);
    let table = model.iter().find(|tensor| tensor.name == TABLE).unwrap().bytes.clone();
    let head = model.iter_mut().find(|tensor| tensor.name == "lm_head.weight").unwrap();
    head.bytes = table;
    write_single(&place.src(), &model, &config(false));
    let out = export(&place, &[]);
    for part in ["qdata", "scale", "zero_point"] {
        let of = |module: &str| &out[&format!("{module}._weight_{part}")];
        assert!(of("lm_head").bytes == of("model.embed_tokens").bytes, "{part}");
    }
    // Asked for, it stays.
    let out = export(&place, &["--exclude", "lm_head"]);
    assert!(out.contains_key("lm_head.weight"));
}

#[test]
fn the_bytes_are_those_of_torchao() {
    let golden = load("torchao/intx_goldens.safetensors");
    let mut compared = 0;
    for (kind, dtype) in [("f32", Dtype::F32), ("bf16", Dtype::BF16), ("f16", Dtype::F16)] {
        let weight = format!("{kind}.weight");
        let shape: Vec<u64> = golden[&weight].0.iter().map(|&length| length as u64).collect();
        let name = "model.layers.0.mlp.down_proj.weight";
        let model = [
            Stored::new(name, dtype, &shape, bytes(&golden, &weight)),
            language_model(dtype, 1).remove(1),
        ];
        for (how, format) in [
            ("int4.sym.g32", "int4-g32"),
            ("int4.sym.g64", "int4-g64"),
            ("int4.sym.g128", "int4-g128"),
            ("int4.sym.g512", "int4"),
            ("int8.sym.row", "int8"),
            ("int8.sym.g32", "int8-g32"),
        ] {
            let place = Place::empty();
            write_single(&place.src(), &model, &config(false));
            let out = export(&place, &["--format", format]);
            for part in ["qdata", "scale", "zero_point"] {
                let ours = &out[&format!("model.layers.0.mlp.down_proj._weight_{part}")];
                let theirs = format!("{kind}.{how}.{part}");
                assert!(ours.bytes == bytes(&golden, &theirs), "{theirs}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 54);
}

#[test]
fn what_is_torn_or_unsaid_fails_verification() {
    let place = Place::empty();
    write_single(&place.src(), &language_model(Dtype::BF16, 1), &config(false));
    export(&place, &[]);
    let file = place.out().join("model.safetensors");
    let sound = std::fs::read(&file).unwrap();
    let out = place.out().display().to_string();
    let verify = || run([out.as_str(), "--verify", "-q"]);
    verify().ok();
    let replaced = |from: &str, to: &str| {
        let at = sound.windows(from.len()).position(|bytes| bytes == from.as_bytes()).unwrap();
        let mut bytes = sound.clone();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        std::fs::write(&file, bytes).unwrap();
    };
    for (from, to, problem) in [
        ("embed_tokens._weight_zero_point", "embed_tokens._weight_zero_paint", "no zero points"),
        ("embed_tokens._weight_scale", "embed_tokens._weight_scaly", "no scales"),
        ("IntxUnpackedToInt8Tensor", "IntxUnpackedToInt9Tensor", "how many bits its codes have"),
    ] {
        replaced(from, to);
        let ran = verify();
        assert_eq!(ran.code, Some(3), "{from}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(problem), "{from}: {}", ran.stdout);
    }
    let repair = place.path("repaired").display().to_string();
    run([out.as_str(), "--repair", "--out", &repair]).fails(6, &["verified, but not repaired"]);
}
