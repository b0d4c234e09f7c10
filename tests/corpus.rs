//! What the fuzz targets begin with, and what they have found: nothing panics, and what is accepted is sound.

mod common;

use std::fs;
use std::path::Path;

/// Takes all files of `fuzz/corpus` of that name.
#[track_caller]
fn all_of(target: &str, take: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 2, "the corpus is there");
    for file in files {
        eprintln!("{}", file.display());
        take(&fs::read(file).unwrap());
    }
}

#[test]
fn headers() {
    all_of("header", |bytes| drop(common::accepted_file(bytes)));
}

#[test]
fn indexes() {
    all_of("index", |bytes| drop(common::accepted_index(bytes)));
}

#[test]
fn configs() {
    all_of("config", common::any_config);
}

#[test]
fn onnx_models() {
    all_of("onnx", common::any_onnx);
}

#[test]
fn recipes() {
    all_of("recipe", common::any_recipe);
}

#[test]
fn patterns() {
    all_of("patterns", common::any_patterns);
}

#[test]
fn quantized_layers() {
    all_of("quantized", common::any_quantized);
}
