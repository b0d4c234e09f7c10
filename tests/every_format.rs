//! Every format of every dialect through the whole program: export with its gate, statistics, and
//! back to floats.

mod common;

use std::collections::BTreeMap;

use common::{Place, Stored, config, language_model, read_folder, read_json, run, write_single};
use half::bf16;
use quantscope::dialect::Dialect;
use quantscope::format::Format;
use safetensors::Dtype;
use serde_json::Value;

const TABLE: &str = "model.embed_tokens";
const LAYER: &str = "model.layers.0.mlp.down_proj";

/// A model whose rows divide into every block.
fn wide_model() -> Vec<Stored> {
    let widen = |tensor: Stored| match tensor.shape[..] {
        [rows, columns] => Stored::weights(&tensor.name, tensor.dtype, &[2 * rows, 4 * columns]),
        _ => tensor,
    };
    language_model(Dtype::BF16, 1).into_iter().map(widen).collect()
}

fn values(tensor: &Stored) -> Vec<f32> {
    let bytes = tensor.bytes.as_chunks().0.iter();
    bytes.map(|b| bf16::from_le_bytes(*b).to_f32()).collect()
}

/// Signal to noise in dB.
fn sqnr(source: &Stored, other: &Stored) -> f64 {
    let (source, other) = (values(source), values(other));
    let squares = |values: &mut dyn Iterator<Item = f32>| -> f64 {
        values.map(|v| f64::from(v).powi(2)).sum()
    };
    let noise = squares(&mut source.iter().zip(&other).map(|(a, b)| a - b));
    10.0 * (squares(&mut source.iter().copied()) / noise).log10()
}

/// Where the codes of a module are stored.
fn codes<'a>(tensors: &'a BTreeMap<String, Stored>, module: &str) -> &'a Stored {
    let packed = tensors.get(&format!("{module}.weight_packed"));
    packed.unwrap_or_else(|| &tensors[&format!("{module}.weight")])
}

#[test]
fn exports_pass_their_gate_and_come_back_as_floats() {
    let place = Place::empty();
    write_single(&place.src(), &wide_model(), &config(false));
    let source = read_folder(&place.src());
    let at = |name: &str| place.path(name).display().to_string();
    for dialect in Dialect::ALL {
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
            run(arguments).ok();
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
