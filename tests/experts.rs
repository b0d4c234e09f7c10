//! Experts in every form that they are stored in: names, shared scales, and rows in the tables.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Place, Stored, language_model, read_folder, read_json, run, sqnr, write_single};
use safetensors::Dtype;
use serde_json::{Value, json};

const EXPERTS: usize = 4;

fn config() -> Value {
    json!({
        "architectures": ["Any"], "model_type": "any", "hidden_size": 64, "num_hidden_layers": 1,
        "num_experts": EXPERTS, "tie_word_embeddings": false,
    })
}

/// A model without its own feed-forward layers, and experts instead.
fn with_experts(names: &[(&str, [u64; 2])]) -> Place {
    let others = language_model(Dtype::BF16, 1).into_iter().filter(|t| !t.name.contains(".mlp."));
    let experts = (0..EXPERTS).flat_map(|expert| {
        names.iter().map(move |(name, shape)| {
            let name =
                format!("model.layers.0.mlp.experts.{}", name.replace('#', &expert.to_string()));
            Stored::weights(&name, Dtype::BF16, shape)
        })
    });
    let router = Stored::weights("model.layers.0.mlp.gate.weight", Dtype::BF16, &[4, 64]);
    let place = Place::empty();
    let tensors: Vec<Stored> = others.chain(experts).chain([router]).collect();
    write_single(&place.src(), &tensors, &config());
    place
}

/// One tensor an expert and projection.
fn single() -> Place {
    with_experts(&[
        ("#.gate_proj.weight", [128, 64]),
        ("#.up_proj.weight", [128, 64]),
        ("#.down_proj.weight", [64, 128]),
    ])
}

/// As grouped linear layers store them.
fn grouped() -> Place {
    with_experts(&[("linear_fc1.weight#", [256, 64]), ("linear_fc2.weight#", [64, 128])])
}

fn export(place: &Place, arguments: &[&str]) -> BTreeMap<String, Stored> {
    let (source, out) = (place.src().display().to_string(), place.out().display().to_string());
    let all = [&[&source, "--out", &out, "--overwrite", "--strict"], arguments].concat();
    run(all).ok();
    read_folder(&place.out())
}

/// Distinct scales of whole tensors among the names that a text is part of.
fn scales(tensors: &BTreeMap<String, Stored>, part: &str, ending: &str) -> usize {
    let named = tensors.values().filter(|t| t.name.contains(part) && t.name.ends_with(ending));
    let distinct: BTreeSet<&[u8]> = named.map(|t| t.bytes.as_slice()).collect();
    distinct.len()
}

#[test]
fn every_expert_has_its_scale_or_all_share_one() {
    for (place, projections) in [
        (single(), &["gate_proj", "up_proj", "down_proj"][..]),
        (grouped(), &["linear_fc1", "linear_fc2"]),
    ] {
        for (format, ending) in [("nvfp4", "_scale_2"), ("fp8", "_scale")] {
            let each = export(&place, &["--format", format]);
            let joint = export(&place, &["--format", format, "--expert-scale", "joint"]);
            for projection in projections {
                // Two of them may have the same by chance.
                assert!(scales(&each, projection, ending) > 1, "{projection} {format}");
                assert_eq!(scales(&joint, projection, ending), 1, "{projection} {format}");
            }
            assert_eq!(each.keys().collect::<Vec<_>>(), joint.keys().collect::<Vec<_>>());
            assert!(each["model.norm.weight"] == joint["model.norm.weight"]);
        }
    }
    // Gate and up projection are one matrix to a runtime, down is another.
    let joint = export(&single(), &["--format", "nvfp4", "--expert-scale", "joint"]);
    assert_eq!(scales(&joint, "experts", "_scale_2"), 2);
}

#[test]
fn grouped_weights_keep_their_names_and_can_be_read_back() {
    let place = grouped();
    let list = "model.layers.0.mlp.experts.linear_fc1";
    let modelopt = export(&place, &["--format", "nvfp4"]);
    for name in ["weight3", "weight3_scale", "weight3_scale_2"] {
        assert!(modelopt.contains_key(&format!("{list}.{name}")), "{name}");
    }
    let config = read_json(&place.out().join("config.json"));
    let ignore = config["quantization_config"]["ignore"].to_string();
    assert!(ignore.contains("mlp.gate") && !ignore.contains("experts"), "{ignore}");

    for format in ["nvfp4", "int4-asym-g32", "mxfp8", "fp8-channel"] {
        export(&place, &["--format", format, "--export", "compressed-tensors"]);
        let (out, back) = (place.out().display().to_string(), place.path("back"));
        let source = place.src().display().to_string();
        run([&out, "--verify", "--against", &source]).ok();
        let to = back.display().to_string();
        run([&out, "--dequantize", "--out", &to]).ok();
        let (source, back_again) = (read_folder(&place.src()), read_folder(&back));
        assert_eq!(source.keys().collect::<Vec<_>>(), back_again.keys().collect::<Vec<_>>());
        let name = format!("{list}.weight2");
        assert_eq!(back_again[&name].shape, source[&name].shape);
        let quality = sqnr(&source[&name], &back_again[&name]);
        assert!((15.0..60.0).contains(&quality), "{format}: {quality:.1} dB");
        std::fs::remove_dir_all(&back).unwrap();
    }
}

#[test]
fn tables_sum_up_experts_and_list_each() {
    for (place, summary, part) in [
        (single(), "experts.*.up_proj.weight", "experts.2.up_proj.weight"),
        (grouped(), "experts.linear_fc2.weight*", "experts.linear_fc2.weight2"),
    ] {
        let (source, report) = (place.src().display().to_string(), place.path("report.json"));
        let arguments = [&source, "--stats", "--format", "nvfp4", "--report"];
        run(arguments.map(str::to_owned).into_iter().chain([report.display().to_string()])).ok();
        let rows = read_json(&report)["tensors"].take();
        let rows = rows.as_array().unwrap();
        let find =
            |name: &str| rows.iter().position(|row| row["name"].as_str().unwrap().ends_with(name));
        let (all, one) = (find(summary).unwrap(), find(part).unwrap());
        assert!(all < one, "the summary comes first");
        assert_eq!(rows[all]["tensors"], EXPERTS);
        assert_eq!(rows[one]["part_of"], rows[all]["name"]);
        let parts: Vec<&Value> =
            rows.iter().filter(|row| row["part_of"] == rows[all]["name"]).collect();
        assert_eq!(parts.len(), EXPERTS);
        let largest = parts.iter().map(|row| row["amax"].as_f64().unwrap()).fold(0.0, f64::max);
        assert_eq!(rows[all]["amax"].as_f64().unwrap(), largest);
        let bytes: u64 = parts.iter().map(|row| row["bytes_after"].as_u64().unwrap()).sum();
        assert_eq!(rows[all]["bytes_after"], bytes);

        // Together they are as much as the whole.
        let by_expert = run([&source, "--stats", "--group-by", "expert"]).ok();
        let shown = by_expert.lines("model.layers.0.mlp.experts");
        assert!(shown.iter().all(|line| line.contains("4 of ")), "{}", by_expert.stdout);
        let by_role = run([&source, "--stats", "--group-by", "role"]).ok();
        let row = by_role.lines("expert")[0].split_whitespace().nth(1).unwrap().to_owned();
        let tensors = if summary.contains("linear") { 2 * EXPERTS } else { 3 * EXPERTS };
        assert_eq!(row, tensors.to_string());
    }
}
