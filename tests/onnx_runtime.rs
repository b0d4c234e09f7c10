//! What ONNX Runtime makes of exports: `onnx_runtime.py` checks and runs them, with the Python that
//! `QUANTSCOPE_PYTHON` names, which needs numpy, onnx and onnxruntime.

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::{Place, onnx_model, onnx_models, run};
use serde_json::Value;

/// The Python to use, if there is one that can.
fn python() -> Option<String> {
    let Ok(python) = std::env::var("QUANTSCOPE_PYTHON") else {
        eprintln!("QUANTSCOPE_PYTHON is not set: ONNX Runtime was not asked");
        return None;
    };
    let imports = Command::new(&python).args(["-c", "import numpy, onnx, onnxruntime"]).output();
    if imports.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!("{python} has no numpy, onnx and onnxruntime: ONNX Runtime was not asked");
    None
}

/// Codes of both lengths, with zero points and without.
const FORMATS: [&str; 4] = ["int4", "int4-asym-g16", "int8", "int8-asym-g16"];

/// Models whose operators dequantize blocks.
const OPSET_21: [&str; 2] = ["ints", "opset21"];

/// An export in every form of each model: source and file.
fn exports(place: &Place, models: &[String]) -> Vec<[PathBuf; 2]> {
    let mut pairs = Vec::new();
    for name in models {
        let is_new = OPSET_21.contains(&name.as_str());
        let layouts = if is_new { &["onnx", "onnx-qdq"][..] } else { &["onnx"] };
        for (layout, format) in layouts.iter().flat_map(|layout| FORMATS.map(|f| (*layout, f))) {
            for tied in ["share", "untie"] {
                for external in [&[][..], &["--external-data"]] {
                    let source = onnx_model(name);
                    let place_of_data = if external.is_empty() { "inline" } else { "external" };
                    let out = place
                        .path(&format!("{name}.{layout}.{format}.{tied}.{place_of_data}.onnx"));
                    let paths = [&source, &out].map(|path| path.display().to_string());
                    let args = [&paths[0], "--quantize-embeddings", "-q", "--out", &paths[1]];
                    let chosen = ["--export", layout, "--format", format, "--tied", tied];
                    run([&args[..], &chosen, external].concat()).ok();
                    pairs.push([source, out]);
                }
            }
        }
    }
    pairs
}

/// What the script says of each pair.
fn reports(python: &str, pairs: &[[PathBuf; 2]]) -> Vec<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx_runtime.py");
    let output = Command::new(python).arg(script).args(pairs.iter().flatten()).output().unwrap();
    let (stdout, stderr) = (output.stdout, String::from_utf8_lossy(&output.stderr));
    let lines = stdout.split(|byte| *byte == b'\n');
    let reports: Vec<Value> = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!(reports.len(), pairs.len(), "{stderr}");
    let all_well = reports.iter().all(|report| report["ok"] == true);
    assert_eq!(output.status.success(), all_well, "{stderr}");
    reports
}

#[test]
fn it_computes_what_codes_and_scales_say() {
    let Some(python) = python() else { return };
    let place = Place::empty();
    // Nothing of that is to be quantized.
    let models: Vec<String> = onnx_models().into_iter().filter(|name| name != "conv").collect();
    let (python, place) = (&python, &place);
    let reports: Vec<Value> = std::thread::scope(|scope| {
        let report = |part| scope.spawn(move || reports(python, &exports(place, part)));
        let parts: Vec<_> = models.chunks(models.len().div_ceil(2)).map(report).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    assert!(reports.len() >= 16 * models.len(), "{} exports", reports.len());
    let broken: Vec<&Value> = reports.iter().filter(|report| report["ok"] != true).collect();
    assert!(broken.is_empty(), "{} broken, such as {}", broken.len(), broken[0]);
    for report in &reports {
        let model = report["model"].as_str().unwrap();
        // A table that is quantized already stays in 4 bits.
        let is_8_bits = model.contains(".int8") && !model.contains("embedding_quantized");
        let least = if is_8_bits { 0.999 } else { 0.95 };
        assert!(report["cosine"].as_f64().unwrap() > least, "{report}");
    }
}
