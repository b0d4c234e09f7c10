//! ONNX models through the program: what the codes stand for, sizes, statistics, devices.

mod common;

use std::fs;
use std::path::Path;

use common::{
    Codes, Model, Place, Ran, floats, floats_of, onnx_model, onnx_models, read_folder, read_json,
    run,
};
use quantscope::dialect::Dialect;
use quantscope::format::Format;
use quantscope::onnx::proto::NodeProto;
use safetensors::Dtype;

/// Every format that ONNX Runtime has, in blocks of at most so many weights.
fn formats(largest: usize) -> Vec<String> {
    let fits =
        |format: &Format| Dialect::Onnx.packing(*format).is_some() && format.block_len() <= largest;
    Format::all().filter(fits).map(|format| format.to_string()).collect()
}

/// The matrix of a node of the source, as `[outputs, inputs]`, and its columns.
fn matrix(source: &Model, node: &NodeProto) -> (Vec<f32>, usize) {
    if node.op_type() == "Gather" {
        let dims = &source.tensor(&node.input[0]).unwrap().dims;
        return (floats_of(source, &node.input[0]), dims[1] as usize);
    }
    if let Some(transpose) = source.producer(&node.input[1]) {
        let dims = &source.tensor(&transpose.input[0]).unwrap().dims;
        return (floats_of(source, &transpose.input[0]), dims[1] as usize);
    }
    let dims = &source.tensor(&node.input[1]).unwrap().dims;
    let (rows, columns) = (dims[1] as usize, dims[0] as usize);
    let stored = floats_of(source, &node.input[1]);
    let places = (0..rows).flat_map(|row| (0..columns).map(move |column| column * rows + row));
    (places.map(|at| stored[at]).collect(), columns)
}

/// The quantized nodes of an export, each with its codes and the floats that it had in the source.
fn quantized_nodes(source: &Model, model: &Model) -> Vec<(String, Codes, Vec<f32>)> {
    let nodes = [model.nodes_of("MatMulNBits"), model.nodes_of("GatherBlockQuantized")].concat();
    let pair = |node: &NodeProto| {
        let (floats, columns) = matrix(source, source.node(node.name()));
        let codes = Codes::of(model, node);
        assert_eq!((codes.rows * codes.columns, codes.columns), (floats.len(), columns));
        (node.name().to_owned(), codes, floats)
    };
    nodes.into_iter().map(pair).collect()
}

#[test]
fn codes_of_every_format_stand_for_the_weights() {
    let place = Place::empty();
    // A table whose rows are no whole blocks stays, and the little that is left to quantize of a small
    // model of halves would make its file no smaller.
    for (name, largest) in [("tail", 256), ("odd_blocks", 256), ("tied_f16", 64), ("tied_bf16", 64)]
    {
        let source = Model::read(&onnx_model(name));
        for format in formats(largest) {
            let model = place.quantized(name, &["--format", &format]);
            let nodes = quantized_nodes(&source, &model);
            assert!(!nodes.is_empty(), "{name}, {format}");
            for (node, codes, floats) in nodes {
                let values = codes.values();
                // The largest code may be one too small for the other end of a block.
                for (i, block) in codes.blocks().enumerate() {
                    let steps = (values[i] - floats[i]).abs() / codes.scales[block].abs();
                    assert!(steps <= 1.01, "{name}, {format}, {node}: weight {i} by {steps} steps");
                }
                let near = |(i, block): &(usize, usize)| {
                    (values[*i] - floats[*i]).abs() <= 0.51 * codes.scales[*block].abs()
                };
                let near = codes.blocks().enumerate().filter(near).count();
                assert!(near * 100 > floats.len() * 95, "{name}, {format}, {node}: {near}");
            }
        }
    }
}

#[test]
fn int4_and_int8_have_blocks_of_32() {
    let place = Place::empty();
    for (short, long) in [("int4", "int4-g32"), ("int8", "int8-g32")] {
        let bytes = [short, long].map(|format| {
            place.quantized("tied_copy", &["--format", format]);
            fs::read(place.out_onnx()).unwrap()
        });
        assert!(bytes[0] == bytes[1], "{short}");
    }
}

#[test]
fn tables_whose_rows_are_no_whole_blocks_stay_and_matrices_do_not() {
    let place = Place::empty();
    let ran = place.quantize(&onnx_model("tail"), &[]).ok();
    assert!(ran.finding().contains("rows of 72 are no multiple of the block of 32: kept"));
    let model = Model::read(&place.out_onnx());
    assert_eq!(model.node("/model/embed_tokens/Gather").op_type(), "Gather");
    assert_eq!(model.nodes_of("MatMulNBits").len(), 2);
}

/// Bytes of an export: the model and what lies beside it.
fn written(place: &Place) -> u64 {
    let files = [place.out_onnx(), place.data_onnx()];
    let bytes: u64 = files.iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    files.iter().for_each(|file| drop(fs::remove_file(file)));
    bytes
}

#[test]
fn planned_sizes_are_those_of_the_files() {
    let place = Place::empty();
    let report = place.path("report.json").display().to_string();
    let reported = || read_json(Path::new(&report))["bytes_after"].as_u64().unwrap();
    // A float copy beside codes of 8 bits would make some of these models larger, which is refused.
    let formats: Vec<String> = formats(64).into_iter().filter(|f| f.starts_with("int4")).collect();
    // Nothing of the one can be quantized, and nothing but the table of the other, so that a copy of it
    // beside codes is refused too.
    let names = onnx_models().into_iter();
    let names = names.filter(|name| !["conv", "batched"].contains(&name.as_str()));
    for (i, name) in names.enumerate() {
        let source = onnx_model(&name).display().to_string();
        for (j, tied) in ["share", "untie", "keep"].into_iter().enumerate() {
            for (k, external) in [&[][..], &["--external-data"]].into_iter().enumerate() {
                let format = &formats[(7 * i + 3 * j + k) % formats.len()];
                let what = format!("{name}, {tied}, {external:?}, {format}");
                let args = ["--format", format, "--tied", tied, "--report", &report];
                let args = [&args[..], external].concat();
                let dry = [&source, "--quantize-embeddings", "--dry-run"];
                let dry = run([&dry[..], &args].concat()).ok();
                let planned = reported();
                place.quantize(Path::new(&source), &args).ok();
                let bytes = written(&place);
                assert_eq!(reported(), bytes, "{what}: reported of the export");
                // Without reading a weight it may not be known what is stored.
                if tied == "untie" || !dry.stdout.contains("only weights can tell") {
                    assert_eq!(planned, bytes, "{what}: of the dry run");
                }
            }
        }
    }
}

#[test]
fn reported_sizes_know_what_the_files_are_called() {
    let place = Place::empty();
    let report = place.path("report.json").display().to_string();
    let source = onnx_model("tied_transpose").display().to_string();
    for name in ["a.onnx", "a-model-with-a-long-name.onnx"] {
        let out = place.path(name).display().to_string();
        let args = [&source, "--format", "int4", "--external-data", "--out", &out, "-q"];
        run([&args[..], &["--report", &report]].concat()).ok();
        let files = [out.clone(), format!("{out}.data")];
        let bytes: u64 = files.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
        assert_eq!(read_json(Path::new(&report))["bytes_after"], bytes, "{name}");
    }
}

/// The numbers that `--stats` reports of a tensor.
fn stats(file: &Path, tensor: &str) -> serde_json::Value {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("stats.json");
    let [file, path] = [file, &report].map(|path| path.display().to_string());
    run([file.as_str(), "--stats", "-q", "--report", &path]).ok();
    let report = read_json(&report);
    let rows = report["tensors"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == tensor).unwrap().clone()
}

#[track_caller]
fn are_stats_of(row: &serde_json::Value, values: &[f32]) {
    let amax = values.iter().fold(0f32, |amax, value| amax.max(value.abs()));
    assert_eq!(row["amax"].as_f64().unwrap() as f32, amax);
    let mean = values.iter().map(|v| f64::from(v.abs())).sum::<f64>() / values.len() as f64;
    assert!((row["mean_abs"].as_f64().unwrap() / mean - 1.0).abs() < 1e-5, "{row}");
    let zeros = values.iter().filter(|v| **v == 0.0).count() as f64 / values.len() as f64;
    assert!((row["zero_fraction"].as_f64().unwrap() - zeros).abs() < 1e-9, "{row}");
}

#[test]
fn statistics_of_float_and_of_quantized_models() {
    let place = Place::empty();
    for (name, dtype) in [("tied_copy", "F32"), ("tied_f16", "F16"), ("external", "F32")] {
        let source = Model::read(&onnx_model(name));
        let weight = "model.layers.0.mlp.proj.weight";
        let row = stats(&onnx_model(name), weight);
        assert_eq!((&row["dtype"], &row["format"]), (&dtype.into(), &"kept".into()));
        are_stats_of(&row, &floats_of(&source, weight));

        let model = place.quantized(name, &["--format", "int4-asym-g16"]);
        let role = row["role"].clone();
        let row = stats(&place.out_onnx(), weight);
        assert_eq!((&row["role"], &role), (&"linear".into(), &role), "{name}");
        assert_eq!(row["format"], "int4-asym-g16", "{name}");
        assert_eq!(row["dtype"], dtype, "{name}: of the scales, in which it is multiplied");
        let node = model.node("/model/layers.0.mlp.proj/MatMul");
        are_stats_of(&row, &Codes::of(&model, node).values());
        let table = stats(&place.out_onnx(), "model.embed_tokens.weight");
        let node = model.node("/model/embed_tokens/Gather");
        are_stats_of(&table, &Codes::of(&model, node).values());
        assert_eq!(table["role"], "embedding", "{name}");
        let out = place.out_onnx().display().to_string();
        let coverage = |ran: Ran| {
            let mut lines = ran.stdout.lines().map(str::trim_start);
            let line = lines.find(|line| line.starts_with("coverage"));
            line.and_then(|line| line.split(" in ").last()).map(str::to_owned)
        };
        let of_stats = coverage(run([&out, "--stats"]).ok());
        assert_eq!(of_stats, coverage(run([&out, "--verify"]).ok()), "{name}: a table counts once");
    }
}

#[test]
fn floats_made_of_codes_are_what_these_stand_for() {
    let place = Place::empty();
    for (name, dtype) in
        [("tail", Dtype::F32), ("odd_blocks", Dtype::F32), ("tied_f16", Dtype::F16)]
    {
        let model = place.quantized(name, &["--format", "int8-asym-g16"]);
        let (quantized, out) = (place.out_onnx(), place.out());
        let [quantized, folder] = [&quantized, &out].map(|path| path.display().to_string());
        run([&quantized, "--dequantize", "--out", &folder, "-q"]).ok();
        let tensors = read_folder(&out);
        fs::remove_dir_all(&out).unwrap();
        for node in model.nodes_of("MatMulNBits") {
            // A head that reads the codes of the table is not there once more.
            let Some(weight) = node.input[1].strip_suffix("_Q8") else { continue };
            let tensor = &tensors[weight];
            assert_eq!(tensor.dtype, dtype, "{name}");
            let values = Codes::of(&model, node).values().into_iter();
            assert!(tensor.bytes == floats(dtype, values), "{name}: {weight}");
        }
    }
}

#[test]
fn every_device_writes_the_same_bytes() {
    if common::gpus().is_empty() {
        return;
    }
    let place = Place::empty();
    let names = ["tied_copy", "tied_bf16", "tied_f16", "tail", "embedding_quantized_asym"];
    for name in names {
        for format in ["int4", "int8-g64", "int4-asym-g16", "int8-asym-g32"] {
            let bytes = ["cpu", "gpu"].map(|device| {
                let args = ["--format", format, "--device", device, "--external-data"];
                place.quantized(name, &args);
                let data = fs::read(place.data_onnx()).unwrap();
                (fs::read(place.out_onnx()).unwrap(), data)
            });
            assert!(bytes[0] == bytes[1], "{name}, {format}");
        }
    }
}

/// The error that k-quant makes small: weights count as much as they are large in their block.
fn weighted_error(codes: &Codes, floats: &[f32]) -> f64 {
    let mut squares = vec![0.0; codes.scales.len()];
    for (block, weight) in codes.blocks().zip(floats) {
        squares[block] += f64::from(*weight).powi(2);
    }
    let error = |((block, value), weight): ((usize, f32), &f32)| {
        let root = (squares[block] / codes.block as f64).sqrt();
        (root + f64::from(weight.abs())) * f64::from(value - weight).powi(2)
    };
    codes.blocks().zip(codes.values()).zip(floats).map(error).sum()
}

#[test]
fn the_search_k_quant_is_for_zero_points_and_makes_the_weighted_error_smaller() {
    let place = Place::empty();
    for name in ["tied_copy", "odd_blocks", "tied_f16"] {
        let source = Model::read(&onnx_model(name));
        for format in ["int4-asym-g32", "int8-asym-g16"] {
            let errors = |args: &[&str]| -> Vec<f64> {
                let model = place.quantized(name, &[&["--format", format], args].concat());
                let nodes = quantized_nodes(&source, &model);
                nodes.iter().map(|(_, codes, floats)| weighted_error(codes, floats)).collect()
            };
            let (plain, searched) = (errors(&[]), errors(&["--scale-search", "k-quant"]));
            assert_eq!((plain.len(), searched.len()), (3, 3));
            for (plain, searched) in plain.iter().zip(&searched) {
                assert!(searched < plain, "{name}, {format}: {searched:e}, plain {plain:e}");
            }
        }
    }
    for format in ["int4", "int8-g64"] {
        let args = ["--format", format, "--scale-search", "k-quant"];
        let ran = place.quantize(&onnx_model("untied"), &[&["--overwrite"], &args[..]].concat());
        ran.fails(2, &["k-quant", "int4-asym-g32"]);
    }
    let ran = place.quantize(&onnx_model("untied"), &["--overwrite", "--scale-search", "mse"]);
    ran.fails(2, &["mse"]);
}
