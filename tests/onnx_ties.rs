//! Embedding and head of ONNX models: one table of codes for both, however the tie is written, and what
//! else may become of it.

mod common;

use common::{Model, Place, onnx_model};
use quantscope::onnx::proto::NodeProto;

/// Ways to write one float matrix for both.
const TIED: [&str; 7] = [
    "tied_transpose",
    "tied_copy",
    "tied_equal",
    "tied_gemm",
    "tied_f16",
    "tied_bf16",
    "wide_names",
];

/// A table that is quantized, and a head that is its float matrix.
const TIED_TO_CODES: [&str; 3] =
    ["embedding_quantized_sym", "embedding_quantized_asym", "embedding_quantized_transpose"];

const UNTIED: [&str; 3] = ["untied", "untied_rows", "embedding_quantized_untied"];

/// The node that gives what only the head does: the same value in the source and the export.
fn head(model: &Model) -> &NodeProto {
    let multiplies = |node: &&NodeProto| {
        node.name().starts_with("/lm_head/")
            && ["MatMul", "Gemm", "MatMulNBits"].contains(&node.op_type())
    };
    model.graph().node.iter().find(multiplies).unwrap()
}

/// The only node that takes rows of a quantized table.
fn table(model: &Model) -> &NodeProto {
    let tables = model.nodes_of("GatherBlockQuantized");
    assert_eq!(tables.len(), 1);
    tables[0]
}

/// The float matrix that a node multiplies by, through a `Transpose` if there is one, and its bytes.
fn matrix<'a>(model: &'a Model, node: &'a NodeProto) -> (&'a str, Vec<u8>) {
    let value = node.input[1].as_str();
    match model.producer(value) {
        Some(transpose) => {
            assert_eq!(transpose.op_type(), "Transpose");
            (transpose.input[0].as_str(), model.bytes(&transpose.input[0]))
        }
        None => (value, model.bytes(value)),
    }
}

/// What a node does is what it did, with the same float numbers.
#[track_caller]
fn is_as_in_the_source(name: &str, model: &Model, place: &str) {
    let source = Model::read(&onnx_model(name));
    let (was, is) = (source.node(place), model.node(place));
    assert_eq!((was.op_type(), &was.input, &was.output), (is.op_type(), &is.input, &is.output));
    if was.op_type() != "Gather" {
        assert!(matrix(&source, was) == matrix(model, is), "{name}: other floats");
    } else {
        assert!(source.bytes(&was.input[0]) == model.bytes(&is.input[0]), "{name}: other floats");
    }
}

/// The head multiplies by the very tensors that the table is, and no float matrix of that size is left.
#[track_caller]
fn shares_one_table(name: &str, model: &Model, external: bool) {
    let (table, head) = (table(model), head(model));
    assert_eq!((head.op_type(), head.domain()), ("MatMulNBits", "com.microsoft"), "{name}");
    assert_eq!(head.input[2..4], table.input[2..4], "{name}: scales and zero points");
    let (codes, blocks) = (table.input[0].as_str(), head.input[1].as_str());
    let parts = [codes, &table.input[2], &table.input[3]];
    let mut left = parts.to_vec();
    if external {
        assert!(model.producer(blocks).is_none(), "{name}: no Reshape");
        assert_eq!(model.external(blocks), model.external(codes), "{name}: one range of bytes");
        assert!(model.external(codes).is_some());
        let dims = &model.tensor(blocks).unwrap().dims;
        assert_eq!(dims, &[96, 2, 16], "{name}: rows, blocks, bytes of a block");
        left.push(blocks);
    } else {
        let reshape = model.producer(blocks).unwrap();
        assert_eq!((reshape.op_type(), reshape.input[0].as_str()), ("Reshape", codes), "{name}");
        let shape: Vec<u8> = [96i64, 2, 16].iter().flat_map(|n| n.to_le_bytes()).collect();
        assert_eq!(model.bytes(&reshape.input[1]), shape, "{name}: rows, blocks, bytes of a block");
        left.push(&reshape.input[1]);
    }
    left.sort_unstable();
    let mut found = model.tensors("model.embed_tokens");
    found.extend(model.tensors("lm_head.weight"));
    found.sort_unstable();
    assert_eq!(found, left, "{name}: no other tensor of table or head is left");
    let large = |dims: &[i64]| dims == [96, 64] || dims == [64, 96];
    assert!(!model.graph().initializer.iter().any(|tensor| large(&tensor.dims)), "{name}");
    assert!(model.nodes_of("Transpose").is_empty(), "{name}: nothing takes it any more");
    // Tensors that are one range of bytes are stored once.
    let sizes = parts.map(|part| model.bytes(part).len());
    let type_bytes = if name == "tied_f16" || name == "tied_bf16" { 2 } else { 4 };
    assert_eq!(sizes, [96 * 32, 96 * 2 * type_bytes, 96], "{name}");
}

#[test]
fn the_head_reads_the_codes_of_the_table() {
    let place = Place::empty();
    for name in [&TIED[..], &TIED_TO_CODES].concat() {
        let model = place.quantized(name, &[]);
        shares_one_table(name, &model, false);
        let sharing = std::fs::read(place.out_onnx()).unwrap();
        shares_one_table(name, &place.quantized(name, &["--external-data"]), true);
        place.quantized(name, &["--tied", "share"]);
        assert!(std::fs::read(place.out_onnx()).unwrap() == sharing, "{name}: sharing is usual");
    }
}

#[test]
fn a_table_that_was_quantized_keeps_its_codes_and_has_its_head_read_them() {
    let place = Place::empty();
    for name in TIED_TO_CODES {
        let source = Model::read(&onnx_model(name));
        for args in [&[][..], &["--external-data"], &["--tied", "untie"], &["--tied", "keep"]] {
            // Whatever embeddings and heads are to become, these are quantized already.
            let model = place.quantized(name, &[&["--format", "int8"], args].concat());
            assert_eq!(table(&source).input, table(&model).input, "{name} {args:?}");
            for part in [0, 2, 3] {
                let part = &table(&model).input[part];
                assert!(source.bytes(part) == model.bytes(part), "{name} {args:?}: {part}");
            }
            let bits =
                |node: &NodeProto| node.attribute.iter().find(|a| a.name() == "bits").unwrap().i();
            match args.contains(&"--tied") {
                true => is_as_in_the_source(name, &model, head(&source).name()),
                false => assert_eq!(bits(head(&model)), 4, "{name}: the bits of the table"),
            }
        }
    }
}

#[test]
fn an_untied_head_stays_float_and_the_table_is_quantized() {
    let place = Place::empty();
    for name in TIED {
        let place_of_head = head(&Model::read(&onnx_model(name))).name().to_owned();
        for args in [&["--tied", "untie"][..], &["--tied", "untie", "--external-data"]] {
            let model = place.quantized(name, args);
            is_as_in_the_source(name, &model, &place_of_head);
            assert_eq!(table(&model).name(), "/model/embed_tokens/Gather", "{name}");
        }
    }
}

#[test]
fn what_is_kept_stays_float_on_both_sides() {
    let place = Place::empty();
    for name in TIED {
        let place_of_head = head(&Model::read(&onnx_model(name))).name().to_owned();
        let model = place.quantized(name, &["--tied", "keep"]);
        is_as_in_the_source(name, &model, &place_of_head);
        is_as_in_the_source(name, &model, "/model/embed_tokens/Gather");
        assert!(model.nodes_of("MatMulNBits").len() == 1 + usize::from(name == "wide_names"));
    }
}

#[test]
fn heads_of_their_own_are_never_tied() {
    let place = Place::empty();
    for name in UNTIED {
        let place_of_head = head(&Model::read(&onnx_model(name))).name().to_owned();
        for tied in ["share", "untie", "keep"] {
            let model = place.quantized(name, &["--tied", tied]);
            is_as_in_the_source(name, &model, &place_of_head);
            assert!(model.nodes_of("Reshape").is_empty(), "{name}, {tied}");
            // One that the user asks for has codes of its own, and the table is what it was.
            let both = place.quantized(name, &["--tied", tied, "--include", "lm_head.weight"]);
            let (codes, blocks) = (&table(&both).input[0], &head(&both).input[1]);
            assert!(both.producer(blocks).is_none() && both.bytes(codes) != both.bytes(blocks));
            assert_eq!(table(&both), table(&model), "{name}, {tied}");
        }
    }
}

#[test]
fn all_heads_on_one_table_read_its_codes() {
    let place = Place::empty();
    for name in ["transpose_twice", "two_heads"] {
        for args in [&[][..], &["--external-data"]] {
            let model = place.quantized(name, args);
            shares_one_table(name, &model, !args.is_empty());
            let (head, early) = (model.node("/lm_head/MatMul"), model.node("/early_head/MatMul"));
            assert_eq!(head.op_type(), early.op_type());
            assert_eq!(head.input[1..], early.input[1..], "{name}");
            assert_ne!(head.input[0], early.input[0], "{name}: each has its own input");
        }
        let model = place.quantized(name, &["--tied", "untie"]);
        is_as_in_the_source(name, &model, "/lm_head/MatMul");
        is_as_in_the_source(name, &model, "/early_head/MatMul");
    }
}

#[test]
fn what_others_read_stays() {
    let place = Place::empty();
    // A graph that gives the floats away would have codes beside them.
    let ran = place.quantize(&onnx_model("transpose_output"), &[]).ok();
    assert!(ran.finding().contains("other nodes need its floats too"), "{}", ran.stdout);
    assert!(ran.finding().contains("model.embed_tokens.weight"), "{}", ran.stdout);
    let model = Model::read(&place.out_onnx());
    is_as_in_the_source("transpose_output", &model, "/lm_head/MatMul");
    is_as_in_the_source("transpose_output", &model, "/model/embed_tokens/Gather");

    // A second head with a matrix of its own keeps that.
    let model = place.quantized("two_heads_copy", &[]);
    assert_eq!(model.node("/lm_head/MatMul").input[2..4], table(&model).input[2..4]);
    is_as_in_the_source("two_heads_copy", &model, "/early_head/MatMul");
}

#[test]
fn tables_are_quantized_only_when_asked_for() {
    let place = Place::empty();
    let (source, out) = (onnx_model("tied_transpose"), place.out_onnx());
    let (source, out) = (source.to_str().unwrap(), out.to_str().unwrap());
    let listed = common::run([source, "--format", "int4", "--dry-run"]).ok();
    let line = listed.lines("model.embed_tokens.weight")[0];
    assert!(line.contains("kept") && line.contains("opt-in (--quantize-embeddings)"), "{line}");
    common::run([source, "--format", "int4", "--out", out, "-q"]).ok();
    let model = Model::read(&place.out_onnx());
    is_as_in_the_source("tied_transpose", &model, "/lm_head/MatMul");
    is_as_in_the_source("tied_transpose", &model, "/model/embed_tokens/Gather");
}

#[test]
fn equal_floats_are_stored_once_where_they_stay() {
    let place = Place::empty();
    let out = place.out_onnx().display().to_string();
    for (name, op_type) in [("tied_copy", "Transpose"), ("tied_equal", "Identity")] {
        let source = onnx_model(name).display().to_string();
        let args = [&source, "--format", "int4", "--out", &out, "--overwrite", "-q"];
        common::run(args).ok();
        let model = Model::read(&place.out_onnx());
        assert!(model.tensor("lm_head.weight").is_none(), "{name}");
        let stands_for_it = model.producer("lm_head.weight").unwrap();
        assert_eq!(stands_for_it.op_type(), op_type);
        assert_eq!(stands_for_it.input, ["model.embed_tokens.weight"]);
        common::run([&args[..], &["--tied", "keep"]].concat()).ok();
        let model = Model::read(&place.out_onnx());
        is_as_in_the_source(name, &model, "/lm_head/MatMul");
    }
}

#[test]
fn a_plan_says_what_a_tie_would_change_that_only_weights_can_tell() {
    let source = onnx_model("tied_copy").display().to_string();
    let args = [&source, "--format", "int4", "--quantize-embeddings", "--dry-run", "--tied"];
    let with = |tied: &str| common::run([&args[..], &[tied]].concat()).ok();
    assert!(with("share").finding().contains("if it does, the head reads its codes"));
    assert!(with("keep").finding().contains("if it does, the table stays"));
    assert!(with("untie").lines("finding").is_empty(), "it makes no difference");
}
