//! Every format of every dialect through the whole program: export with its gate, statistics, and
//! back to floats.

mod common;

use std::collections::BTreeMap;

use common::{
    Place, Stored, config, language_model, read_folder, read_json, run, sqnr, write_single,
};
use quantscope::dialect::Dialect;
use quantscope::format::Format;
use safetensors::Dtype;
use serde_json::Value;

const TABLE: &str = "model.embed_tokens";
const LAYER: &str = "model.layers.0.mlp.down_proj";

/// A model whose rows divide into every block.
fn wide_model() -> Vec<Stored> {
    let widen = |tensor: Stored| match tensor.shape[..] {
        [rows, columns] => Stored::weights(&tensor.name, tensor.dtype, &[4 * rows, 4 * columns]),
        _ => tensor,
    };
    language_model(Dtype::BF16, 1).into_iter().map(widen).collect()
}

/// Where the codes of a module are stored.
fn codes<'a>(tensors: &'a BTreeMap<String, Stored>, module: &str) -> &'a Stored {
    let packed = tensors.get(&format!("{module}.weight_packed"));
    let packed = packed.or_else(|| tensors.get(&format!("{module}._weight_qdata")));
    let packed = packed.or_else(|| tensors.get(&format!("{module}.weight.q4gsw_packed")));
    packed.unwrap_or_else(|| &tensors[&format!("{module}.weight")])
}

/// The layouts that are folders of safetensors.
const FOLDERS: [Dialect; 4] =
    [Dialect::Modelopt, Dialect::CompressedTensors, Dialect::ExecuTorch, Dialect::Q4gsw];

#[test]
fn exports_pass_their_gate_and_come_back_as_floats() {
    let place = Place::empty();
    write_single(&place.src(), &wide_model(), &config(false));
    let source = read_folder(&place.src());
    let at = |name: &str| place.path(name).display().to_string();
    for dialect in FOLDERS {
        for format in dialect.formats() {
            let what = format!("{format} in {dialect}");
            let arguments = [
                &at("src"),
                "--out",
                &at("out"),
                "--overwrite",
                "--strict",
                "--unserved",
                "--quantize-embeddings",
                "--format",
                format.name(),
                "--export",
                dialect.name(),
            ];
            // WebGPU reads no other scales.
            let more = if dialect == Dialect::Q4gsw { &["--scale-dtype", "f32"][..] } else { &[] };
            run([&arguments[..], more].concat()).ok();
            let out = read_folder(&place.out());

            // The table is packed like any layer, and the config does not say otherwise.
            let (table, layer) = (codes(&out, TABLE), codes(&out, LAYER));
            assert_eq!(table.dtype, layer.dtype, "{what}");
            assert_ne!(table.dtype, Dtype::BF16, "{what}");
            let stated = read_json(&place.out().join("config.json"));
            let stated = &stated["quantization_config"];
            assert!(!stated["ignore"].to_string().contains(TABLE), "{what}: {stated}");

            let report = place.path("stats.json");
            run([&at("out"), "--stats", "--report", report.to_str().unwrap()]).ok();
            let rows = read_json(&report)["tensors"].take();
            let row = |name: &str| -> Value {
                let named = |row: &&Value| row["name"].as_str().unwrap().starts_with(name);
                rows.as_array().unwrap().iter().find(named).unwrap().clone()
            };
            assert_eq!(row(TABLE)["format"], format.name(), "{what}");

            let _ = std::fs::remove_dir_all(place.path("back"));
            run([&at("out"), "--dequantize", "--out", &at("back")]).ok();
            let back = read_folder(&place.path("back"));
            assert_eq!(
                source.keys().collect::<Vec<_>>(),
                back.keys().collect::<Vec<_>>(),
                "{what}"
            );
            for module in [TABLE, LAYER] {
                let name = format!("{module}.weight");
                let quality = sqnr(&source[&name], &back[&name]);
                let expected = if format.code_bits() == 4 { 14.0..30.0 } else { 28.0..60.0 };
                assert!(expected.contains(&quality), "{what}: {name} at {quality:.1} dB");
            }
            assert!(source["model.norm.weight"] == back["model.norm.weight"], "{what}");
            let restored = read_json(&place.path("back").join("config.json"));
            assert!(restored["quantization_config"].is_null(), "{what}");
        }
    }
}

/// Rows that are one group, or one tile, look like such with a scale of their own.
#[test]
fn matrices_of_one_group_a_row_and_of_one_tile_are_read_as_what_they_are() {
    let place = Place::empty();
    let mut tensors = language_model(Dtype::BF16, 1);
    tensors.push(Stored::weights("model.layers.0.mlp.one.weight", Dtype::BF16, &[128, 128]));
    write_single(&place.src(), &tensors, &config(false));
    let at = |name: &str| place.path(name).display().to_string();
    for format in
        ["int8-g128", "int8-asym-g128", "int4-g128", "int4-asym-g128", "fp8-block", "mxfp8"]
    {
        for dialect in FOLDERS.map(Dialect::name) {
            let known: Format = format.parse().unwrap();
            if dialect.parse::<Dialect>().unwrap().packing(known).is_none() {
                continue;
            }
            let arguments = [
                &at("src"),
                "--out",
                &at("out"),
                "--overwrite",
                "--format",
                format,
                "--export",
                dialect,
                "--include",
                "*.mlp.one",
                "--exclude",
                "*_proj",
            ];
            run(arguments).ok();
            let _ = std::fs::remove_dir_all(place.path("back"));
            run([&at("out"), "--dequantize", "--out", &at("back")]).ok();
            let name = "model.layers.0.mlp.one.weight";
            let (source, back) = (read_folder(&place.src()), read_folder(&place.path("back")));
            let quality = sqnr(&source[name], &back[name]);
            assert!(quality > 14.0, "{format} in {dialect}: {quality:.1} dB");
        }
    }
}

#[test]
fn tied_tables_are_kept_or_untied_and_never_shared() {
    let place = Place::empty();
    let tied: Vec<Stored> =
        wide_model().into_iter().filter(|tensor| tensor.name != "lm_head.weight").collect();
    write_single(&place.src(), &tied, &config(true));
    let at = |name: &str| place.path(name).display().to_string();
    for (dialect, format) in [
        (Dialect::Modelopt, Format::Fp8Block),
        (Dialect::CompressedTensors, Format::Nvfp4),
        (Dialect::CompressedTensors, Format::Int { bits: 4, group: Some(64), symmetric: false }),
    ] {
        let arguments = |outcome: &str| {
            let (source, out) = (at("src"), at("out"));
            let (format, dialect) = (format.name(), dialect.name());
            let all = [
                &source,
                "--out",
                &out,
                "--overwrite",
                "--quantize-embeddings",
                "--format",
                format,
                "--export",
                dialect,
                "--tied",
                outcome,
            ];
            run(all)
        };
        let ran = arguments("keep").ok();
        assert!(ran.finding().contains("embedding and head are one matrix"), "{}", ran.stdout);
        let kept = read_folder(&place.out());
        assert_eq!(codes(&kept, TABLE).dtype, Dtype::BF16);
        assert!(!kept.contains_key("lm_head.weight"));

        arguments("untie").ok();
        let untied = read_folder(&place.out());
        assert_ne!(codes(&untied, TABLE).dtype, Dtype::BF16);
        assert_eq!(untied["lm_head.weight"].bytes, kept[&format!("{TABLE}.weight")].bytes);
        let stated = read_json(&place.out().join("config.json"));
        assert_eq!(stated["tie_word_embeddings"], false);

        arguments("share").fails(2, &["no runtime reads one packed table"]);
    }
}
