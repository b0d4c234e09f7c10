//! The files of ONNX exports: tensors inside and beside the model, and what is replaced or not.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Model, Place, files, onnx_model, run};
use quantscope::onnx::proto::TensorProto;

/// A place with a model of `tests/data/onnx` in its folder `src`, with its data if it has any.
fn with_model(name: &str) -> (Place, PathBuf) {
    let place = Place::empty();
    fs::create_dir(place.src()).unwrap();
    let file = place.src().join(format!("{name}.onnx"));
    fs::copy(onnx_model(name), &file).unwrap();
    let data = format!("{name}.onnx.data");
    if common::data(&format!("onnx/{data}")).exists() {
        fs::copy(common::data(&format!("onnx/{data}")), place.src().join(data)).unwrap();
    }
    (place, file)
}

/// The initializers that are in another file, with their ranges there, by offset.
fn external(model: &Model) -> Vec<(&str, u64, u64)> {
    let names = model.graph().initializer.iter().map(TensorProto::name);
    let range = |name| {
        let (location, offset, length) = model.external(name)?;
        assert_eq!(location, "model.onnx.data");
        Some((name, offset, offset + length))
    };
    let mut ranges: Vec<_> = names.filter_map(range).collect();
    ranges.sort_by_key(|(_, begin, end)| (*begin, *end));
    ranges
}

#[test]
fn tensors_are_beside_the_model_if_they_were_there_or_if_that_is_wanted() {
    let place = Place::empty();
    let model = place.quantized("tied_transpose", &[]);
    assert!(external(&model).is_empty() && !place.data_onnx().exists());

    // What was inside and is small stays there.
    let model = place.quantized("untied", &["--external-data"]);
    let names: Vec<&str> = external(&model).into_iter().map(|(name, ..)| name).collect();
    assert!(names.contains(&"lm_head.weight") && names.contains(&"model.embed_tokens.weight_Q4"));
    assert!(!names.contains(&"model.norm.weight"));

    let model = place.quantized("external", &[]);
    let source = Model::read(&onnx_model("external"));
    for tensor in &source.graph().initializer {
        let name = tensor.name();
        if model.tensor(name).is_some() {
            let is_external = model.external(name).is_some();
            assert_eq!(is_external, source.external(name).is_some(), "{name}");
            assert!(model.bytes(name) == source.bytes(name), "{name}");
        }
    }
    assert_eq!(model.external("model.norm.weight"), None, "one was inside");
    assert!(model.external("model.layers.0.norm.weight").is_some(), "one was not");
}

#[test]
fn tensors_in_one_file_are_aligned_and_apart_but_for_those_that_are_the_same() {
    let place = Place::empty();
    for name in ["external", "tied_transpose", "untied", "if_branch", "constant_node", "tied_f16"] {
        let model = place.quantized(name, &["--external-data"]);
        let ranges = external(&model);
        assert!(ranges.len() > 3, "{name}");
        let bytes = fs::metadata(place.data_onnx()).unwrap().len();
        assert_eq!(ranges.last().unwrap().2, bytes, "{name}: no byte that nobody reads");
        for pair in ranges.windows(2) {
            let [(first, begin, end), (second, next, next_end)] = pair else { unreachable!() };
            assert_eq!(next % 64, 0, "{name}: {second}");
            let is_same = (begin, end) == (next, next_end);
            let of_table = [first, second].iter().any(|name| name.ends_with("_blocks"));
            assert!(if is_same { of_table } else { next >= end }, "{name}: {first} and {second}");
            assert!(is_same || next - end < 64, "{name}: a hole before {second}");
        }
    }
}

#[test]
fn a_model_and_its_data_are_whole_wherever_they_are() {
    let place = Place::empty();
    let source = onnx_model("external").display().to_string();
    place.quantized("external", &[]);
    let elsewhere = Place::empty();
    for (file, to) in
        [(place.out_onnx(), elsewhere.out_onnx()), (place.data_onnx(), elsewhere.data_onnx())]
    {
        fs::rename(file, to).unwrap();
    }
    let moved = elsewhere.out_onnx().display().to_string();
    run([&moved, "--verify", "--against", &source, "-q"]).ok();
    fs::remove_file(elsewhere.data_onnx()).unwrap();
    run([&moved, "--verify", "-q"]).fails(6, &["model.onnx.data", "not there"]);
}

#[test]
fn a_folder_is_exported_with_what_lies_beside_the_model() {
    for name in ["tied_transpose", "external"] {
        let (place, _) = with_model(name);
        fs::write(place.src().join("tokenizer.json"), "{}").unwrap();
        let (source, out) = (place.src().display().to_string(), place.out().display().to_string());
        run([&source, "--format", "int4", "--out", &out, "-q"]).ok();
        let names: Vec<String> = files(&place.out()).into_keys().collect();
        let expected = ["model.onnx", "model.onnx.data", "tokenizer.json"];
        let expected: Vec<&str> = expected
            .into_iter()
            .filter(|n| name == "external" || *n != "model.onnx.data")
            .collect();
        assert_eq!(names, expected, "{name}");
        run([&out, "--verify", "--against", &source, "-q"]).ok();
    }
}

#[test]
fn an_earlier_export_is_replaced_only_when_asked_for_and_then_as_a_whole() {
    let (place, source) = with_model("tied_transpose");
    place.quantize(&source, &["--external-data"]).ok();
    let first = files(place.folder.path());
    assert!(first.contains_key("model.onnx.data"));
    place.quantize(&source, &[]).fails(2, &["model.onnx", "exists already", "--overwrite"]);
    assert!(files(place.folder.path()) == first);

    place.quantize(&source, &["--overwrite"]).ok();
    assert_eq!(place.listing(), ["model.onnx", "src"], "data of the old one are gone with it");
    let inline = fs::read(place.out_onnx()).unwrap();
    assert!(inline != first["model.onnx"]);
    place.quantize(&source, &["--overwrite", "--external-data"]).ok();
    assert!(files(place.folder.path()) == first);
}

#[test]
fn what_is_no_export_is_not_replaced() {
    let (place, source) = with_model("tied_transpose");
    let refused = |parts: &[&str]| {
        let before = files(place.folder.path());
        place.quantize(&source, &["--overwrite"]).fails(2, parts);
        assert!(files(place.folder.path()) == before);
    };
    fs::copy(&source, place.out_onnx()).unwrap();
    refused(&["model.onnx", "neither an earlier export"]);
    fs::write(place.out_onnx(), "my thesis").unwrap();
    refused(&["model.onnx", "neither an earlier export"]);
    fs::remove_file(place.out_onnx()).unwrap();
    fs::write(place.data_onnx(), "my thesis").unwrap();
    refused(&["model.onnx.data", "exists already"]);

    // An export without data, and something that only has the name of them.
    fs::remove_file(place.data_onnx()).unwrap();
    place.quantize(&source, &[]).ok();
    fs::write(place.data_onnx(), "my thesis").unwrap();
    refused(&["model.onnx.data", "neither an earlier export"]);
}

#[test]
fn no_file_that_is_read_is_replaced() {
    let (place, source) = with_model("external");
    let source_text = source.display().to_string();
    let before = files(place.folder.path());
    let refused = |out: &Path, source: &str| {
        let out = out.display().to_string();
        let args = [source, "--format", "int4", "--out", &out, "--overwrite", "-q"];
        run(args).fails(2, &["Choose another --out"]);
    };
    refused(&source, &source_text);
    // The model is another, but its data would take the place of those that are read.
    let renamed = place.src().join("renamed.onnx");
    fs::rename(&source, &renamed).unwrap();
    refused(&source, &renamed.display().to_string());
    fs::rename(&renamed, &source).unwrap();
    refused(&place.src(), &source_text);
    assert!(files(place.folder.path()) == before);
}

#[cfg(unix)]
#[test]
fn a_link_to_an_export_is_replaced_and_not_what_it_leads_to() {
    let (place, source) = with_model("tied_transpose");
    place.quantize(&source, &[]).ok();
    let kept = place.path("kept.onnx");
    fs::rename(place.out_onnx(), &kept).unwrap();
    let before = fs::read(&kept).unwrap();
    std::os::unix::fs::symlink("kept.onnx", place.out_onnx()).unwrap();
    place.quantize(&source, &["--format", "int8"]).fails(2, &["exists already"]);
    place.quantize(&source, &["--format", "int8", "--overwrite"]).ok();
    assert!(fs::read(&kept).unwrap() == before, "what the link led to");
    assert!(!place.out_onnx().is_symlink());
    assert!(
        !Model::read(&place.out_onnx()).tensors("model.layers.0.mlp.proj.weight_Q8").is_empty()
    );
}

#[test]
fn a_folder_with_another_model_is_not_replaced() {
    let (place, source) = with_model("tied_transpose");
    let folder = place.path("out");
    let arguments =
        [source.to_str().unwrap(), "--format", "int4", "--out", folder.to_str().unwrap()];
    let again = [&arguments[..], &["--overwrite"]].concat();
    run(arguments).ok();
    run(&again).ok();
    for other in ["other.onnx", "other.onnx.data"] {
        fs::write(folder.join(other), "precious").unwrap();
        run(&again).fails(2, &["neither an earlier export"]);
        assert_eq!(fs::read(folder.join(other)).unwrap(), b"precious");
        fs::remove_file(folder.join(other)).unwrap();
    }
}

#[test]
fn a_run_that_fails_leaves_the_earlier_export() {
    let (place, source) = with_model("tied_transpose");
    place.quantize(&source, &["--external-data"]).ok();
    // A weight that is no number is found when it is read.
    let model = Model::read(&source);
    let weight = model.bytes("model.layers.0.mlp.proj.weight");
    let mut bytes = fs::read(&source).unwrap();
    let at = bytes.windows(weight.len()).position(|window| window == weight).unwrap();
    bytes[at + 400..at + 404].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&source, bytes).unwrap();
    let before = files(place.folder.path());
    let parts = ["model.layers.0.mlp.proj.weight", "NaN", "--exclude"];
    for args in [&["--overwrite"][..], &["--overwrite", "--external-data"]] {
        place.quantize(&source, args).fails(6, &parts);
        assert!(files(place.folder.path()) == before);
    }
}

/// Nothing but the table, and its floats beside the codes: that is what was asked for.
#[test]
fn a_float_head_may_make_a_model_larger() {
    let place = Place::empty();
    let source = onnx_model("batched");
    place.quantize(&source, &["--tied", "untie", "--format", "int8"]).ok();
    let bytes = |path: &std::path::Path| fs::metadata(path).unwrap().len();
    assert!(bytes(&place.out_onnx()) > bytes(&source));
    let (out, source) = (place.out_onnx(), source.display().to_string());
    let verified = run([out.to_str().unwrap(), "--verify", "--against", &source]).ok();
    let size = verified.lines("pass  size")[0];
    assert!(size.ends_with("model.embed_tokens.weight as floats too"), "{size}");
}

#[test]
fn only_onnx_models_become_onnx_files() {
    let place = Place::with(&common::language_model(safetensors::Dtype::BF16, 1));
    let (source, out) = (place.src(), place.out_onnx().display().to_string());
    let source = source.display().to_string();
    let args = [&source, "--format", "nvfp4", "--out", &out, "-q"];
    run(args).fails(2, &["model.onnx", "gives an .onnx file", "choose a folder"]);
    let onnx = onnx_model("untied").display().to_string();
    let args = [&onnx, "--format", "nvfp4", "--out", &out, "-q"];
    run(args).fails(2, &["nvfp4", "onnx"]);
    assert_eq!(place.listing(), ["src"]);
}

#[test]
fn floats_and_what_is_repaired_do_not_become_onnx_files() {
    let (place, source) = with_model("tied_transpose");
    place.quantize(&source, &["--external-data"]).ok();
    let safetensors = Place::with(&common::language_model(safetensors::Dtype::BF16, 1));
    safetensors.export(&[]).ok();
    let before = files(place.folder.path());
    let [out, quantized] = [place.out_onnx(), safetensors.out()].map(|p| p.display().to_string());
    let new = place.path("new.onnx").display().to_string();
    for (what, source, out) in [
        ("--dequantize", &out, &new),
        ("--dequantize", &quantized, &new),
        ("--dequantize", &quantized, &out),
        ("--repair", &quantized, &out),
    ] {
        let ran = run([source, what, "--out", out, "--overwrite", "-q"]);
        ran.fails(2, &["choose a folder"]);
        assert!(files(place.folder.path()) == before);
    }
}
