//! Scales that are searched for, from the command line to the output and its statistics.

mod common;

use common::{Place, language_model, read_folder, read_json, run};
use safetensors::Dtype;
use serde_json::Value;

const SEARCHES: [&str; 3] = ["mse", "sweep", "four-over-six"];

/// Rows of quantized tensors in a report on an export.
fn rows(place: &Place, arguments: &[&str]) -> Vec<Value> {
    let report = place.src().with_file_name("report.json");
    let with_report = [arguments, &["--overwrite", "--report", report.to_str().unwrap()]].concat();
    place.export(&with_report).ok();
    let rows = read_json(&report)["tensors"].take();
    let rows = rows.as_array().unwrap().iter().filter(|row| row["format"] == "nvfp4");
    rows.cloned().collect()
}

#[test]
fn every_search_reduces_the_error_of_every_layer_and_says_by_how_much() {
    let place = Place::with(&language_model(Dtype::BF16, 2));
    let by_max = rows(&place, &[]);
    assert!(by_max.len() > 10);
    assert!(by_max.iter().all(|row| row["search_gain_db"].is_null()));
    let sqnr = |row: &Value| row["sqnr_db"].as_f64().unwrap();
    for search in SEARCHES {
        let searched = rows(&place, &["--scale-search", search]);
        assert_eq!(searched.len(), by_max.len());
        for (row, plain) in searched.iter().zip(&by_max) {
            let gain = row["search_gain_db"].as_f64().unwrap();
            assert!(gain > 0.0, "{search}: {} gains {gain}", row["name"]);
            let measured = sqnr(row) - sqnr(plain);
            assert!((gain - measured).abs() < 1e-6, "{search}: {gain}, {measured}");
        }
    }
}

#[test]
fn searched_exports_differ_in_codes_and_scales_alone() {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    place.export(&[]).ok();
    let plain = read_folder(&place.out());
    place.export(&["--overwrite", "--scale-search", "sweep"]).ok();
    let swept = read_folder(&place.out());
    assert_eq!(plain.keys().collect::<Vec<_>>(), swept.keys().collect::<Vec<_>>());
    for (name, tensor) in &plain {
        let same = tensor.bytes == swept[name].bytes;
        let is_code_or_scale = tensor.dtype == Dtype::U8 || name.ends_with(".weight_scale");
        assert_eq!(same, !is_code_or_scale, "{name}");
    }
}

#[test]
fn a_search_that_no_format_has_is_refused_with_those_that_have_it() {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    let source = place.src().display().to_string();
    run([&source, "--dry-run", "--format", "int8", "--scale-search", "mse"])
        .fails(2, &["mse in modelopt", "modelopt has it for nvfp4"]);
    place
        .export(&["--export", "compressed-tensors", "--scale-search", "four-over-six"])
        .fails(2, &["compressed-tensors", "modelopt has it for nvfp4"]);
    place.export(&["--export", "compressed-tensors", "--scale-search", "sweep"]).ok();
    place.export(&["--scale-search", "best"]).fails(2, &["best", "four-over-six"]);
}
