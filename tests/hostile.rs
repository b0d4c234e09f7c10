//! Checkpoints that are damaged or hostile: an error that names what is wrong, and nothing left.

mod common;

use std::fs;
use std::path::Path;

use common::{Place, Ran, Stored, config, floats, language_model, write_index, write_raw};
use safetensors::Dtype;

/// Exports a bad source: it has to fail as unfit and to leave the folder as it was.
#[track_caller]
fn refused(place: &Place, parts: &[&str]) -> Ran {
    fails(place, 6, parts)
}

/// Exports a source that cannot be read.
#[track_caller]
fn unread(place: &Place, parts: &[&str]) -> Ran {
    fails(place, 1, &[&["cannot read"], parts].concat())
}

#[track_caller]
fn fails(place: &Place, code: i32, parts: &[&str]) -> Ran {
    let before = place.listing();
    let ran = place.export(&["-q"]).fails(code, parts);
    assert_eq!(place.listing(), before);
    assert!(!place.out().exists());
    ran
}

fn model_file(place: &Place) -> std::path::PathBuf {
    place.src().join("model.safetensors")
}

/// A source whose weight file `edit` may damage.
fn damaged(edit: impl FnOnce(&mut Vec<u8>)) -> Place {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    let mut bytes = fs::read(model_file(&place)).unwrap();
    edit(&mut bytes);
    fs::write(model_file(&place), bytes).unwrap();
    place
}

#[test]
fn files_that_are_cut_off_or_no_safetensors() {
    let set_length = |bytes: &mut Vec<u8>, n: u64| bytes[..8].copy_from_slice(&n.to_le_bytes());
    let file = "model.safetensors";
    refused(&damaged(|b| b.clear()), &[file, "0 bytes are too few"]);
    refused(&damaged(|b| b.truncate(7)), &[file, "7 bytes are too few"]);
    refused(&damaged(|b| b.truncate(100)), &[file, "cut off"]);
    // The tensor with the last bytes of the file is the one that is cut off.
    let cut = damaged(|b| b.truncate(b.len() - 5));
    refused(&cut, &[file, "layers.0.self_attn.v_proj.weight", "5 bytes are missing"]);
    refused(&damaged(|b| b.extend([0; 3])), &[file, "3 bytes", "belong to no tensor"]);
    refused(&damaged(|b| set_length(b, u64::MAX)), &[file, "18446744073709551615", "limit"]);
    refused(&damaged(|b| set_length(b, 90_000_000)), &[file, "90000000", "cut off"]);
    refused(&damaged(|b| b[8] = b'x'), &[file, "does not start with {"]);
    refused(&damaged(|b| b[9] = 0xFF), &[file, "header is not valid"]);
    refused(&damaged(|b| set_length(b, 0)), &[file, "header is not valid"]);
}

/// A source whose weight file has this header, and 64 bytes of data.
fn with_header(header: &str) -> Place {
    let place = Place::with(&[]);
    write_raw(&model_file(&place), header, &[0; 64]);
    place
}

#[test]
fn headers_that_lie() {
    let tensor = |name: &str, dtype: &str, shape: &str, offsets: &str| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[{offsets}]}}"#)
    };
    let a = tensor("a.weight", "F32", "8", "0,32");
    let with_b = |dtype: &str, shape: &str, offsets: &str| {
        with_header(&format!("{{{a},{}}}", tensor("b.weight", dtype, shape, offsets)))
    };
    refused(&with_b("F32", "8", "28,60"), &["\"a.weight\" and \"b.weight\" overlap", "28"]);
    refused(&with_b("F32", "8", "40,72"), &["\"b.weight\" ends at byte 72", "only 64"]);
    refused(&with_b("F32", "7", "36,64"), &["4 bytes at byte 32", "belong to no tensor"]);
    refused(&with_b("F32", "8", "64,32"), &["\"b.weight\" needs 32 bytes", "64..32"]);
    refused(&with_b("F32", "8", "-32,0"), &["\"b.weight\"", "-32"]);
    refused(&with_b("F32", "-8", "32,64"), &["\"b.weight\"", "-8"]);
    refused(&with_b("F32", "8.0", "32,64"), &["\"b.weight\"", "8.0"]);
    refused(&with_b("F32", "9", "32,64"), &["\"b.weight\" needs 36 bytes"]);
    refused(&with_b("F33", "8", "32,64"), &["\"b.weight\" has the unknown dtype \"F33\""]);
    refused(&with_b("F4", "63", "32,64"), &["\"b.weight\"", "does not fill whole bytes"]);
    let huge = "4294967296,4294967296,4";
    refused(&with_b("F32", huge, "32,64"), &["\"b.weight\"", "[4294967296, 4294967296, 4]"]);
    refused(&with_header(&format!("{{{a},{a}}}")), &["\"a.weight\" appears twice"]);
    refused(&with_header(&format!("{{{a}")), &["header is not valid"]);
    refused(&with_header("{\"a.weight\":{}}"), &["a.weight", "dtype"]);
    refused(&with_header(&"[".repeat(100_000)), &["does not start with {"]);
    let deep = format!("{{\"a.weight\":{}", "[".repeat(100_000));
    refused(&with_header(&deep), &["a.weight", "header is not valid"]);
}

/// A source of two shards.
fn sharded() -> Place {
    let place = Place::empty();
    common::write_sharded(&place.src(), &language_model(Dtype::BF16, 1), 2, &config(false));
    place
}

const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

#[test]
fn indexes_that_do_not_fit_their_shards() {
    let place = sharded();
    fs::remove_file(place.src().join(SHARDS[1])).unwrap();
    refused(&place, &["index.json", SHARDS[1], "is missing (5 tensors"]);

    let place = sharded();
    let tensors = common::read_file(&place.src().join(SHARDS[0]));
    let rest = common::read_file(&place.src().join(SHARDS[1]));
    common::write_file(&place.src().join(SHARDS[1]), &[&rest[..], &tensors[..1]].concat());
    refused(&place, &[&tensors[0].name, "stored twice", SHARDS[0], SHARDS[1]]);

    let with_index = |json: &str| {
        let place = sharded();
        fs::write(place.src().join("model.safetensors.index.json"), json).unwrap();
        place
    };
    let maps = |name: &str, shard: &str| format!(r#"{{"weight_map":{{"{name}":"{shard}"}}}}"#);
    refused(&with_index(&maps("ghost.weight", SHARDS[0])), &["ghost.weight", SHARDS[0]]);
    refused(&with_index(&maps("lm_head.weight", SHARDS[1])), &["lm_head.weight", SHARDS[1]]);
    let twice = format!(r#"{{"weight_map":{{"x":"{}","x":"{}"}}}}"#, SHARDS[0], SHARDS[1]);
    refused(&with_index(&twice), &["tensor \"x\" is listed twice"]);
    for wrong in ["../src/x.safetensors", "/etc/passwd", "a/../../x", "..\\\\x", "C:x", ""] {
        refused(&with_index(&maps("x", wrong)), &["lies outside the folder"]);
    }
    for wrong in ["", "[]", "{}", r#"{"weight_map":{"x":1}}"#, r#"{"weight_map":["x"]}"#] {
        refused(&with_index(wrong), &["index.json", "not a valid index"]);
    }
}

#[cfg(unix)]
#[test]
fn links_leave_the_folder_only_to_the_blobs_of_a_hub_cache() {
    use std::os::unix::fs::symlink;

    let place = sharded();
    let shard = place.src().join(SHARDS[1]);
    fs::rename(&shard, place.path("elsewhere.safetensors")).unwrap();
    symlink("../elsewhere.safetensors", &shard).unwrap();
    refused(&place, &[SHARDS[1], "lies outside the folder"]);

    let place = Place::with(&language_model(Dtype::BF16, 1));
    fs::rename(model_file(&place), place.path("elsewhere.safetensors")).unwrap();
    symlink("../elsewhere.safetensors", model_file(&place)).unwrap();
    refused(&place, &["model.safetensors", "lies outside the folder"]);

    // The layout of the hub cache: snapshots/REVISION/NAME -> ../../blobs/HASH.
    let (place, hub) = (sharded(), Place::empty());
    let (blobs, snapshot) = (hub.path("blobs"), hub.path("snapshots/abc"));
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    for (i, name) in common::files(&place.src()).into_keys().enumerate() {
        fs::copy(place.src().join(&name), blobs.join(format!("blob{i}"))).unwrap();
        symlink(format!("../../blobs/blob{i}"), snapshot.join(name)).unwrap();
    }
    let exported = common::run(hub.export_args(&snapshot, &["-q"])).ok();
    assert_eq!(exported.stdout, "");
    place.export(&["-q"]).ok();
    assert!(common::files(&place.out()) == common::files(&hub.out()));
    assert!(!hub.out().join("config.json").is_symlink());
}

#[cfg(unix)]
#[test]
fn descriptions_are_regular_files_of_the_folder() {
    use std::os::unix::fs::symlink;

    // What is elsewhere on the disk must not come out in an export.
    let place = Place::with(&language_model(Dtype::BF16, 1));
    fs::rename(place.src().join("config.json"), place.path("elsewhere.json")).unwrap();
    symlink("../elsewhere.json", place.src().join("config.json")).unwrap();
    unread(&place, &["config.json", "a link out of the checkpoint's folder"]);
    fs::remove_file(place.src().join("config.json")).unwrap();
    fs::rename(place.path("elsewhere.json"), place.src().join("another.json")).unwrap();
    symlink("another.json", place.src().join("config.json")).unwrap();
    place.export(&["-q"]).ok();

    // Some files have no end, and some wait for a writer.
    let pipe = |path: &Path| {
        let _ = fs::remove_file(path);
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    };
    let place = Place::with(&language_model(Dtype::BF16, 1));
    pipe(&place.src().join("config.json"));
    unread(&place, &["config.json", "no regular file"]);
    fs::remove_file(place.src().join("config.json")).unwrap();
    symlink("/dev/zero", place.src().join("config.json")).unwrap();
    unread(&place, &["config.json", "no regular file"]);
    let place = Place::with(&language_model(Dtype::BF16, 1));
    pipe(&model_file(&place));
    unread(&place, &["model.safetensors", "no regular file"]);
    fs::rename(model_file(&place), place.src().join("model.onnx")).unwrap();
    unread(&place, &["model.onnx", "no regular file"]);
}

#[test]
fn names_without_end() {
    let name = "x.".repeat(3000);
    let place = Place::with(&[Stored::weights(&name, Dtype::BF16, &[2])]);
    refused(&place, &["the name of a tensor has 6000 bytes", "4096", "starts with \"x.x.x"]);
    let longest = format!("{}weight", "x.".repeat(2045));
    let place = Place::with(
        &[language_model(Dtype::BF16, 1), vec![Stored::weights(&longest, Dtype::BF16, &[2])]]
            .concat(),
    );
    place.export(&["-q"]).ok();
}

#[test]
fn recipes_that_are_nested_without_end() {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    let recipe = place.path("deep.toml");
    for text in [
        "[".repeat(100_000),
        format!("include = {}", "[".repeat(100_000)),
        format!("a{} = 1", ".a".repeat(100_000)),
    ] {
        fs::write(&recipe, text).unwrap();
        let ran = place.export(&["-q", "--recipe", &recipe.display().to_string()]);
        ran.fails(2, &["deep.toml is not valid"]);
    }
}

#[test]
fn folders_that_hold_no_weights_or_too_many() {
    let place = Place::empty();
    unread(&place, &["src"]);
    fs::create_dir(place.src()).unwrap();
    refused(&place, &["src: no safetensors or ONNX weights here"]);
    fs::write(place.src().join("pytorch_model.bin"), "x").unwrap();
    refused(&place, &["pytorch_model.bin is: convert it"]);
    for name in ["a.safetensors", "b.safetensors"] {
        common::write_file(&place.src().join(name), &[]);
    }
    refused(&place, &["src: 2 .safetensors files", "index.json"]);
    let one = place.src().join("pytorch_model.bin");
    common::run(place.export_args(&one, &[]))
        .fails(6, &["ends neither in .safetensors nor in .onnx"]);
    fs::create_dir(place.src().join("model.safetensors")).unwrap();
    unread(&place, &["model.safetensors"]);
    fs::remove_dir(place.src().join("model.safetensors")).unwrap();
    write_index(&place.src(), serde_json::json!({ "x": "a.safetensors/" }));
    refused(&place, &["a.safetensors/"]);
}

#[test]
fn a_weight_that_is_no_number_stops_the_export() {
    for (dtype, value, text) in [
        (Dtype::BF16, f32::NAN, "NaN"),
        (Dtype::F16, f32::INFINITY, "inf"),
        (Dtype::F32, f32::NEG_INFINITY, "-inf"),
        (Dtype::F64, f32::NAN, "NaN (as f32)"),
    ] {
        let mut model = language_model(dtype, 1);
        let tensor = model.iter_mut().find(|t| t.name.ends_with("gate_proj.weight")).unwrap();
        let bad = floats(dtype, [value].into_iter());
        let at = (3 * 64 + 17) * bad.len();
        tensor.bytes[at..at + bad.len()].copy_from_slice(&bad);
        let name = "model.layers.0.mlp.gate_proj.weight";
        let place = Place::with(&model);
        refused(&place, &[&format!("\"{name}\" holds {text} at [3, 17]"), "--exclude"]);
        // As the message says, excluding it helps; its group shares a scale without it.
        let ran = place.export(&["-q", "--exclude", name]).ok();
        let findings = ran.lines("finding");
        assert!(findings.iter().any(|finding| finding.contains("holds NaN or infinity")));
        assert!(findings.iter().any(|finding| finding.contains("runtimes fuse with them")));
        assert!(common::read_folder(&place.out())[name].bytes == bytes_of(&model, name));
    }
}

fn bytes_of(model: &[Stored], name: &str) -> Vec<u8> {
    model.iter().find(|tensor| tensor.name == name).unwrap().bytes.clone()
}

#[test]
fn configs_and_sources_that_cannot_be_used() {
    let with_config = |text: &str| {
        let place = Place::with(&language_model(Dtype::BF16, 1));
        fs::write(place.src().join("config.json"), text).unwrap();
        place
    };
    refused(&with_config("{"), &["config.json", "not valid JSON"]);
    refused(&with_config("[]"), &["config.json", "not an object"]);
    refused(&with_config(&"[".repeat(100_000)), &["config.json", "not valid JSON"]);
    let quantized = r#"{"quantization_config": {"quant_method": "fp8"}}"#;
    refused(&with_config(quantized), &["already quantized (quant_method fp8)"]);

    let place = Place::with(&language_model(Dtype::BF16, 1));
    place.export(&[]).ok();
    let again = Place::empty();
    fs::rename(place.out(), again.src()).unwrap();
    refused(&again, &["src is already quantized (quant_method modelopt)"]);
    fs::remove_file(again.src().join("config.json")).unwrap();
    fs::remove_file(again.src().join("hf_quant_config.json")).unwrap();
    refused(&again, &["already quantized (tensor", "_scale is there)"]);

    let taken = Stored::weights("model.layers.0.mlp.up_proj.weight_scale_2", Dtype::F32, &[1]);
    let place = Place::with(&[language_model(Dtype::BF16, 1), vec![taken]].concat());
    refused(&place, &["up_proj.weight_scale_2\" would be stored twice"]);
}

/// Makes of a quantized source whatever can be made; none of it may be more than an error that names this.
#[track_caller]
fn unreadable(place: &Place, problem: &str) {
    let source = place.src().display().to_string();
    let ran = common::run([&source, "--verify"]).fails(3, &[]);
    assert!(ran.stdout.contains(problem), "{}", ran.stdout);
    common::run([&source, "--stats"]).ok();
    let out = place.out().display().to_string();
    for mode in ["--dequantize", "--repair"] {
        let ran = common::run([&source, mode, "--out", &out]);
        assert!(matches!(ran.code, Some(3 | 6)), "{mode}: {:?}, {}", ran.code, ran.stderr);
    }
    assert_eq!(place.listing(), ["src"]);
}

#[test]
fn layers_that_are_stated_without_tensors() {
    let packed = serde_json::json!({
        "op": "et_vk.linear_q4gsw.default", "is_linear_weight": true, "shape": [64, 64],
        "group_size": 32, "packed": "a.weight.q4gsw_packed", "scales": "GN",
        "scales_tensor": "a.weight.q4gsw_scales",
    });
    let place = Place::with(&[]);
    let header = serde_json::json!({ "__metadata__": { "a.weight.q4gsw": packed.to_string() } });
    write_raw(&model_file(&place), &header.to_string(), &[]);
    unreadable(&place, "it has no packed codes");
}

#[test]
fn rows_that_nobody_stores_are_not_gone_through() {
    let tensor = |name: &str, dtype, shape: &[u64], bytes| {
        Stored::new(&format!("model.layers.0.mlp.up_proj.{name}"), dtype, shape, bytes)
    };
    let (rows, columns) = ((1_u64 << 31) - 1, 1_u64 << 18);
    let shape = [rows, columns].iter().flat_map(|n| n.to_le_bytes()).collect();
    let place = Place::empty();
    let model = [
        tensor("weight_shape", Dtype::I64, &[2], shape),
        tensor("weight_packed", Dtype::I32, &[1, columns / 8], vec![0; columns as usize / 2]),
        tensor("weight_scale", Dtype::BF16, &[1, 1], vec![0x80, 0x3F]),
    ];
    let config = serde_json::json!({ "quantization_config": {
        "quant_method": "compressed-tensors", "format": "pack-quantized",
        "config_groups": { "group_0": {
            "targets": ["Linear"],
            "weights": { "num_bits": 4, "type": "int", "strategy": "channel", "symmetric": true },
        } },
    } });
    common::write_single(&place.src(), &model, &config);
    unreadable(&place, "weight_shape says [2147483647, 262144] for codes [1, 32768]");
}

#[test]
fn odd_tensors_are_kept() {
    let odd = |name: &str, shape: &[u64]| Stored::weights(name, Dtype::BF16, shape);
    let model = [
        language_model(Dtype::BF16, 1),
        vec![
            odd("model.layers.0.mlp.fc1.weight", &[4, 24]),
            odd("model.layers.0.mlp.fc2.weight", &[0, 16]),
            odd("model.layers.0.mlp.w1.weight", &[16, 0]),
            odd("model.scalar", &[]),
            odd("nul\u{0} and \"quotes\" and ü", &[2]),
        ],
    ]
    .concat();
    let place = Place::with(&model);
    let ran = place.export(&["-q"]).ok();
    assert_eq!(ran.lines("finding").len(), 2, "{}", ran.stdout);
    let after = common::read_folder(&place.out());
    assert!(model.iter().rev().take(5).all(|tensor| after[&tensor.name] == *tensor));
    check_against(&place.out(), &place.src());
}

fn check_against(out: &Path, source: &Path) {
    let (out, source) = (out.display().to_string(), source.display().to_string());
    common::run(["-q", &out, "--verify", "--against", &source]).ok();
}
