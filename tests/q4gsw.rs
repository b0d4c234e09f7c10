//! Packed constants: what lies where, next to torchao's own form of the same weights, and what the gate
//! refuses.

mod common;

use std::collections::BTreeMap;

use common::{
    Place, Stored, config, edit_json, files, language_model, read_folder, read_json, run,
    write_file, write_single,
};
use safetensors::Dtype;
use serde_json::Value;

const TABLE: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";
const LAYER: &str = "model.layers.0.mlp.down_proj.weight";
const GROUP: usize = 32;

/// A place whose source is tied, and stores no head.
fn tied() -> Place {
    let place = Place::empty();
    let mut model = language_model(Dtype::BF16, 1);
    model.retain(|tensor| tensor.name != HEAD);
    write_single(&place.src(), &model, &config(true));
    place
}

/// Exports the source in a layout, with its embedding.
fn export(place: &Place, layout: &str, args: &[&str]) -> BTreeMap<String, Stored> {
    let (source, out) = (place.src().display().to_string(), place.out().display().to_string());
    let own = [&source, "--export", layout, "--out", &out, "--overwrite", "-q"];
    let format = ["--format", "int4-g32", "--quantize-embeddings"];
    run([&own[..], &format, args].concat()).ok();
    read_folder(&place.out())
}

/// What the manifest says of a weight.
fn said(place: &Place, weight: &str) -> Value {
    read_json(&place.out().join("q4gsw.json"))["weights"][weight].clone()
}

/// The header of the only file, and the rest of it.
fn change_header(place: &Place, change: impl FnOnce(&mut Value)) {
    let file = place.out().join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    change(&mut header);
    common::write_raw(&file, &header.to_string(), &bytes[8 + length..]);
}

/// A recipe that gives the head groups of another length.
fn head_recipe(place: &Place) -> String {
    let file = place.path("recipe.toml");
    std::fs::write(&file, "[[rule]]\nmatch = \"lm_head\"\nset = \"int4-g64\"\n").unwrap();
    file.display().to_string()
}

/// Checks that the gate refuses an export, and says why.
fn refused(place: &Place, parts: &[&str]) {
    let ran = run([place.out().display().to_string(), "--verify".to_owned()]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    for part in parts {
        assert!(ran.stdout.contains(part), "no {part} in {}", ran.stdout);
    }
}

fn packed(codes: &Stored, even_low: bool) -> Vec<u8> {
    let columns = codes.shape[1] as usize;
    let pair = |pair: &[u8]| {
        let [even, odd] = [pair[0], pair[1]].map(|code| (code as i8 + 8) as u8);
        if even_low { odd << 4 | even } else { even << 4 | odd }
    };
    codes.bytes.chunks(columns).flat_map(|row| row.chunks(2).map(pair)).collect()
}

/// Scales of so many bytes, group by group, with zeros up to a multiple of four rows.
fn by_group(scales: &Stored, bytes: usize) -> Vec<u8> {
    let [rows, groups] = [scales.shape[0], scales.shape[1]].map(|length| length as usize);
    let mut ordered = Vec::new();
    for group in 0..groups {
        for row in 0..rows {
            ordered.extend(&scales.bytes[(row * groups + group) * bytes..][..bytes]);
        }
        ordered.resize((group + 1) * rows.next_multiple_of(4) * bytes, 0);
    }
    ordered
}

#[test]
fn a_tied_table_is_packed_once_and_each_reader_has_its_own_scales() {
    let place = tied();
    for (args, bytes) in [(&[][..], 2), (&["--scale-dtype", "f32"], 4)] {
        let own = export(&place, "executorch", args);
        let out = export(&place, "q4gsw", args);
        let of_table = |part: &str| &own[&format!("model.embed_tokens._weight_{part}")];
        assert!(
            out["model.embed_tokens.weight.q4gsw_packed"].bytes == packed(of_table("qdata"), true)
        );
        assert!(!out.contains_key("lm_head.weight.q4gsw_packed"));
        let [table, head] = [TABLE, HEAD].map(|name| &out[&format!("{name}.q4gsw_scales")]);
        assert!(table.bytes == of_table("scale").bytes && table.shape == of_table("scale").shape);
        assert!(head.bytes == by_group(of_table("scale"), bytes));
        assert_eq!(head.shape[0], table.shape[1]);
        let layer = "model.layers.0.mlp.down_proj._weight";
        let codes = &out[&format!("{LAYER}.q4gsw_packed")];
        assert!(codes.bytes == packed(&own[&format!("{layer}_qdata")], true));
        let scales = &out[&format!("{LAYER}.q4gsw_scales")];
        assert!(scales.bytes == by_group(&own[&format!("{layer}_scale")], bytes));
    }
    let table = said(&place, TABLE);
    assert_eq!(table["op"], "et_vk.embedding_q4gsw.default");
    assert_eq!((&table["is_linear_weight"], &table["scales"]), (&true.into(), &"NG".into()));
    assert_eq!(table["group_size"], GROUP);
    let head = &table["head"];
    assert_eq!((&head["weight"], &head["scales"]), (&HEAD.into(), &"GN".into()));
    assert_eq!(head["scales_tensor"], "lm_head.weight.q4gsw_scales");
    assert_eq!(said(&place, LAYER)["op"], "et_vk.linear_q4gsw.default");
    let method = &read_json(&place.out().join("config.json"))["quantization_config"];
    assert_eq!(method["quant_method"], "q4gsw");
}

#[test]
fn a_stored_head_reads_the_codes_of_a_table_that_it_equals() {
    let place = Place::empty();
    let mut model = language_model(Dtype::BF16, 1);
    let own = model.clone();
    let table = model.iter().find(|tensor| tensor.name == TABLE).unwrap().bytes.clone();
    model.iter_mut().find(|tensor| tensor.name == HEAD).unwrap().bytes = table;
    write_single(&place.src(), &model, &config(false));
    let out = export(&place, "q4gsw", &[]);
    assert!(!out.contains_key(HEAD) && !out.contains_key("lm_head.weight.q4gsw_packed"));
    assert!(out.contains_key("lm_head.weight.q4gsw_scales"));

    // A rule may give it another format, and only bytes tell whether a head that the config ties is one.
    let out = export(&place, "q4gsw", &["--recipe", &head_recipe(&place)]);
    assert!(out.contains_key("lm_head.weight.q4gsw_packed"));
    write_single(&place.src(), &own, &config(true));
    assert!(export(&place, "q4gsw", &[]).contains_key(HEAD));

    // Another one is a weight of its own, if it is quantized.
    write_single(&place.src(), &own, &config(false));
    assert!(export(&place, "q4gsw", &[]).contains_key(HEAD));
    let out = export(&place, "q4gsw", &["--include", "lm_head"]);
    assert!(out.contains_key("lm_head.weight.q4gsw_packed"));
    assert_eq!(said(&place, HEAD)["op"], "et_vk.linear_q4gsw.default");
}

#[test]
fn tables_that_no_head_reads_have_the_nibbles_that_are_asked_for() {
    let place = tied();
    let own = export(&place, "executorch", &[]);
    let codes = &own["model.embed_tokens._weight_qdata"];
    let asked = ["--nibbles", "even-high", "--tied", "untie"];
    let out = export(&place, "q4gsw", &asked);
    assert!(out["model.embed_tokens.weight.q4gsw_packed"].bytes == packed(codes, false));
    assert_eq!(said(&place, TABLE)["is_linear_weight"], false);
    assert_eq!(said(&place, LAYER)["is_linear_weight"], true);
    assert!(out.contains_key(HEAD), "the head is a copy in floats");
    // A head reads no other than linear weights.
    let out = export(&place, "q4gsw", &asked[..2]);
    assert!(out["model.embed_tokens.weight.q4gsw_packed"].bytes == packed(codes, true));
}

#[test]
fn it_stands_for_the_floats_that_torchao_gives() {
    let place = tied();
    let mut floats = Vec::new();
    for (layout, args) in [
        ("executorch", &[][..]),
        ("q4gsw", &[]),
        ("q4gsw", &["--nibbles", "even-high"]),
        ("q4gsw", &["--max-shard-size", "20KB"]),
    ] {
        export(&place, layout, args);
        let (out, to) = (place.out(), place.path(&format!("floats{}", floats.len())));
        run([out.as_os_str(), "--dequantize".as_ref(), "--out".as_ref(), to.as_os_str()]).ok();
        let tensors = read_folder(&to);
        assert!(!tensors.contains_key(HEAD), "loaders tie it");
        floats.push(
            tensors.into_iter().map(|(name, tensor)| (name, tensor.bytes)).collect::<Vec<_>>(),
        );
    }
    assert!(floats.iter().all(|other| *other == floats[0]));
}

#[test]
fn the_gate_refuses_what_is_torn_or_shared() {
    let place = tied();
    let fails = |place: &Place, parts: &[&str]| {
        refused(place, parts);
        export(place, "q4gsw", &[]);
    };
    export(&place, "q4gsw", &[]);
    run([place.out().display().to_string(), "--verify".to_owned()]).ok();

    // One tensor of scales for both.
    let key = format!("{TABLE}.q4gsw");
    change_header(&place, |header| {
        let text = header["__metadata__"][&key].as_str().unwrap();
        let mut table: Value = serde_json::from_str(text).unwrap();
        table["head"]["scales_tensor"] = table["scales_tensor"].clone();
        header["__metadata__"][&key] = table.to_string().into();
    });
    edit_json(&place.out().join("q4gsw.json"), |json| {
        let table = &mut json["weights"][TABLE];
        table["head"]["scales_tensor"] = table["scales_tensor"].clone();
    });
    fails(&place, &["model.embed_tokens.weight.q4gsw_scales serves both"]);

    edit_json(&place.out().join("q4gsw.json"), |json| {
        json["weights"][LAYER]["op"] = "other".into()
    });
    fails(&place, &["q4gsw.json and the headers do not say the same of", LAYER]);
    change_header(&place, |header| {
        let text = header["__metadata__"][&key].as_str().unwrap();
        let text = text.replace("\"is_linear_weight\":true", "\"is_linear_weight\":false");
        header["__metadata__"][&key] = text.into();
    });
    fails(&place, &["its header contradicts itself"]);
    std::fs::remove_file(place.out().join("q4gsw.json")).unwrap();
    fails(&place, &["there is no q4gsw.json"]);
    change_header(&place, |header| header["__metadata__"][&key] = "{}".into());
    fails(&place, &["its header says missing field"]);

    for part in ["q4gsw_packed", "q4gsw_scales"] {
        let tensors = read_folder(&place.out());
        let name = format!("{LAYER}.{part}");
        let left: Vec<Stored> =
            tensors.into_values().filter(|tensor| tensor.name != name).collect();
        let file = place.out().join("model.safetensors");
        let before = files(&place.out());
        write_file(&file, &left);
        let header = before["model.safetensors"].clone();
        let length = u64::from_le_bytes(header[..8].try_into().unwrap()) as usize;
        let said: Value = serde_json::from_slice(&header[8..8 + length]).unwrap();
        change_header(&place, |header| header["__metadata__"] = said["__metadata__"].clone());
        fails(&place, &[LAYER]);
    }
}

#[test]
fn one_tensor_of_scales_is_refused_where_its_shape_fits_both() {
    // Four rows of four groups: [rows, groups] is [groups, rows].
    let place = Place::empty();
    let mut model = language_model(Dtype::BF16, 1);
    model.retain(|tensor| ![TABLE, HEAD].contains(&tensor.name.as_str()));
    model.push(Stored::weights(TABLE, Dtype::BF16, &[4, 128]));
    write_single(&place.src(), &model, &config(true));
    let out = export(&place, "q4gsw", &[]);
    let [table, head] = [TABLE, HEAD].map(|name| &out[&format!("{name}.q4gsw_scales")]);
    assert_eq!(table.shape, head.shape);
    assert!(table.bytes != head.bytes);
    let key = format!("{TABLE}.q4gsw");
    let scales = format!("{TABLE}.q4gsw_scales");
    change_header(&place, |header| {
        let text = header["__metadata__"][&key].as_str().unwrap();
        let text = text.replace("lm_head.weight.q4gsw_scales", &scales);
        header["__metadata__"][&key] = text.into();
    });
    edit_json(&place.out().join("q4gsw.json"), |json| {
        json["weights"][TABLE]["head"]["scales_tensor"] = scales.clone().into();
    });
    let problem = format!("{scales} serves both");
    refused(&place, &[&problem]);
}

#[test]
fn what_the_operators_do_not_take_is_said_before_anything_is_read() {
    let place = Place::empty();
    let mut model = language_model(Dtype::BF16, 1);
    model.push(Stored::weights("model.layers.0.a_proj.weight", Dtype::BF16, &[6, 64]));
    model.push(Stored::weights("model.layers.0.b_proj.weight", Dtype::BF16, &[12, 64]));
    model.push(Stored::weights("model.layers.0.c_proj.weight", Dtype::BF16, &[8, 36]));
    model.push(Stored::weights("model.layers.0.mlp.experts.0.w1.weight", Dtype::BF16, &[8, 64]));
    write_single(&place.src(), &model, &config(false));
    let dry_run = |layout: &str, args: &[&str]| {
        let source = place.src().display().to_string();
        let own = [&source, "--export", layout, "--dry-run", "--include", "*.?_proj"];
        run([&own[..], args].concat()).ok().stdout
    };
    for layout in ["executorch", "q4gsw"] {
        let text = dry_run(layout, &["--format", "int4-g32", "--scale-dtype", "f32"]);
        assert!(text.contains("6 rows are no multiple of 4"), "{text}");
        assert!(text.contains("12 rows are a multiple of 4, but not of 8"), "{text}");
        assert!(text.contains("rows of 36 are no multiple of the block of 32: kept"), "{text}");
        let text = dry_run(layout, &["--format", "int4"]);
        assert!(text.contains("rows of 36 are no multiple of 8"), "{text}");
    }
    let experts = "experts one by one: transformers 5 looks for them fused";
    assert!(dry_run("executorch", &["--format", "int4-g32"]).contains(experts));
    let kept = dry_run("executorch", &["--format", "int4-g32", "--exclude", "*.experts.*"]);
    assert!(!kept.contains(experts), "{kept}");
    let text = dry_run("q4gsw", &["--format", "int4-g32"]);
    assert!(text.contains("scales are BF16, and WebGPU reads F32 alone"), "{text}");
}

#[test]
fn options_of_scales_are_stated_and_refused_where_there_is_no_choice() {
    let place = tied();
    export(&place, "executorch", &["--scale-dtype", "f32", "--scale-search", "no-clipping"]);
    let stated = &read_json(&place.out().join("config.json"))["quantization_config"];
    let stated = &stated["quant_type"]["default"]["_data"];
    assert_eq!(stated["mapping_type"]["_data"], "SYMMETRIC_NO_CLIPPING_ERR");
    assert_eq!(stated["scale_dtype"]["_data"], "float32");

    let source = place.src().display().to_string();
    let refused = |args: &[&str], parts: &[&str]| {
        run([&[&source[..], "--dry-run"], args].concat()).fails(2, parts);
    };
    refused(
        &["--format", "int4-g128", "--export", "compressed-tensors", "--scale-dtype", "f32"],
        &["--scale-dtype is for executorch and q4gsw"],
    );
    refused(&["--format", "int4-g128", "--nibbles", "even-high"], &["--nibbles is for q4gsw"]);
    refused(
        &["--format", "nvfp4", "--scale-search", "no-clipping"],
        &["no-clipping", "executorch has it for int8, ", "q4gsw has it for int4, "],
    );
    refused(&["--format", "int8", "--export", "q4gsw"], &["q4gsw has no place for int8"]);
}

#[test]
fn rows_that_are_filled_up_are_said_to_be_as_long_as_they_are_stored() {
    let place = Place::empty();
    let mut model = language_model(Dtype::BF16, 1);
    model.retain(|tensor| ![LAYER, HEAD].contains(&tensor.name.as_str()));
    model.push(Stored::weights(LAYER, Dtype::BF16, &[8, 60]));
    write_single(&place.src(), &model, &config(true));
    export(&place, "q4gsw", &["--indivisible", "pad"]);
    assert_eq!(said(&place, LAYER)["shape"], serde_json::json!([8, 64]));
    assert_eq!(said(&place, LAYER)["group_size"], GROUP);
    run([place.out().display().to_string(), "--verify".to_owned()]).ok();
}
