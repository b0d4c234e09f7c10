//! What an export of an ONNX model leaves alone: all that is not replaced stays byte for byte and in its
//! order; and which rule or reason kept what.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::{Field, Model, Place, fields, onnx_model, payload, run};
use prost::Message;
use quantscope::onnx::proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto};

// Numbers of fields in the schema.
const MODEL_GRAPH: u64 = 7;
const MODEL_OPSET: u64 = 8;
const GRAPH_NODE: u64 = 1;
const GRAPH_INITIALIZER: u64 = 5;
const GRAPH_VALUE_INFO: u64 = 13;
/// What a node does: inputs, outputs, operator, attributes, domain.
const NODE_ACTION: [u64; 5] = [1, 2, 4, 5, 7];

/// The fields of a model, and those of its graph.
fn parts(file: &Path) -> (Vec<Field>, Vec<Field>) {
    let model = fields(&fs::read(file).unwrap());
    let graph = model.iter().find(|field| field.0 == MODEL_GRAPH).unwrap();
    (model.clone(), fields(payload(graph)))
}

fn node(field: &Field) -> Option<NodeProto> {
    (field.0 == GRAPH_NODE).then(|| NodeProto::decode(payload(field)).unwrap())
}

fn initializer(field: &Field) -> Option<TensorProto> {
    (field.0 == GRAPH_INITIALIZER).then(|| TensorProto::decode(payload(field)).unwrap())
}

/// The fields of `from` that are not in `other`, and the others in their order.
fn split(from: &[Field], other: &[Field]) -> (Vec<Field>, Vec<Field>) {
    let other: BTreeSet<&Field> = other.iter().collect();
    from.iter().cloned().partition(|field| !other.contains(field))
}

/// Models of which something is quantized.
fn models() -> impl Iterator<Item = String> {
    common::onnx_models().into_iter().filter(|name| name != "conv")
}

#[test]
fn all_of_a_model_but_its_graph_stays_and_operators_are_imported() {
    let place = Place::empty();
    for name in models() {
        place.quantized(&name, &[]);
        let outside = |file: &Path| -> Vec<Field> {
            parts(file).0.into_iter().filter(|field| field.0 != MODEL_GRAPH).collect()
        };
        let (was, is) = (outside(&onnx_model(&name)), outside(&place.out_onnx()));
        let added = is.strip_prefix(&was[..]).unwrap_or_else(|| panic!("{name}: another order"));
        let added: Vec<(u64, &[u8])> =
            added.iter().map(|field| (field.0, payload(field))).collect();
        let opset = &b"\x0a\x0dcom.microsoft\x10\x01"[..];
        let had_it = name.starts_with("embedding_quantized");
        let expected = if had_it { vec![] } else { vec![(MODEL_OPSET, opset)] };
        assert_eq!(added, expected, "{name}");
    }
}

/// Checks that these fields of a graph had to go: weights, the nodes that take them, and what was said
/// of values that are gone.
fn had_to_go(name: &str, replaced: &[Field]) {
    let weights = replaced.iter().filter_map(initializer);
    let mut gone: BTreeSet<String> = weights.map(|tensor| tensor.name().to_owned()).collect();
    for field in replaced {
        match field.0 {
            GRAPH_INITIALIZER => {}
            GRAPH_NODE => {
                let node = node(field).unwrap();
                let is_weight = node.op_type() == "Constant";
                let takes_one = node.input.iter().any(|input| gone.contains(input));
                assert!(
                    is_weight || takes_one,
                    "{name}: {} takes nothing that is gone",
                    node.name()
                );
                if is_weight || node.op_type() == "Transpose" {
                    gone.extend(node.output);
                }
            }
            GRAPH_VALUE_INFO => {
                let value = ValueInfoProto::decode(payload(field)).unwrap();
                assert!(gone.contains(value.name()), "{name}: {}", value.name());
            }
            other => panic!("{name}: field {other} of the graph is gone"),
        }
    }
}

/// Checks that these fields of a graph are what an export adds.
fn had_to_come(name: &str, new: &[Field]) {
    const OPERATORS: [&str; 3] = ["MatMulNBits", "GatherBlockQuantized", "Reshape"];
    const ENDINGS: [&str; 4] = ["_Q4", "_scales", "_zero_points", "_Q4_blocks_shape"];
    for field in new {
        match (node(field), initializer(field)) {
            (Some(node), _) => assert!(OPERATORS.contains(&node.op_type()), "{name}: {node:?}"),
            (_, Some(tensor)) => {
                let fits = ENDINGS.iter().any(|ending| tensor.name().ends_with(ending));
                assert!(fits, "{name}: {}", tensor.name());
            }
            _ => panic!("{name}: field {} of the graph is new", field.0),
        }
    }
}

#[test]
fn all_of_a_graph_that_is_not_replaced_stays_byte_for_byte() {
    let place = Place::empty();
    // One has its tensors in other places then, the other has graphs within a node: see below.
    for name in models().filter(|name| !["external", "if_branch"].contains(&name.as_str())) {
        place.quantized(&name, &[]);
        let (was, is) = (parts(&onnx_model(&name)).1, parts(&place.out_onnx()).1);
        let (replaced, kept) = split(&was, &is);
        let (new, kept_there) = split(&is, &was);
        assert!(kept == kept_there, "{name}: what stays keeps its order");
        had_to_go(&name, &replaced);
        had_to_come(&name, &new);
    }
}

#[test]
fn nodes_that_are_replaced_keep_their_place_and_what_is_said_of_them() {
    let place = Place::empty();
    for name in ["unknown_fields", "function", "tied_copy", "gemm", "transpose_twice"] {
        place.quantized(name, &[]);
        let nodes = |file: &Path| -> Vec<(Vec<String>, Vec<Field>)> {
            let (_, graph) = parts(file);
            let nodes = graph.into_iter().filter(|field| field.0 == GRAPH_NODE);
            let said = |field: &Field| {
                let said = fields(payload(field)).into_iter();
                said.filter(|field| !NODE_ACTION.contains(&field.0)).collect()
            };
            nodes.map(|field| (node(&field).unwrap().output, said(&field))).collect()
        };
        let (was, is) = (nodes(&onnx_model(name)), nodes(&place.out_onnx()));
        let dead = |output: &str| output.contains("Transpose");
        let expected: Vec<_> = was.into_iter().filter(|(output, _)| !dead(&output[0])).collect();
        assert_eq!(is[0].0, ["model.embed_tokens.weight_Q4_blocks"], "{name}: before all others");
        assert_eq!(is[1..], expected, "{name}");
    }
}

#[test]
fn both_branches_of_an_if_are_rewritten_in_place() {
    let place = Place::empty();
    let model = place.quantized("if_branch", &[]);
    let source = Model::read(&onnx_model("if_branch"));
    let branch = |model: &Model, name: &str| -> GraphProto {
        let attributes = &model.node("/model/layers.0/If").attribute;
        attributes.iter().find(|a| a.name() == name).unwrap().g.clone().unwrap()
    };
    for name in ["then_branch", "else_branch"] {
        let (was, is) = (branch(&source, name), branch(&model, name));
        assert_eq!((was.name(), &was.output, &was.input), (is.name(), &is.output, &is.input));
        assert!(is.initializer.is_empty(), "its weight is the model's now");
        for (was, is) in was.node.iter().zip(&is.node) {
            assert_eq!((was.name(), &was.output), (is.name(), &is.output));
            assert_eq!((is.op_type(), &was.input[0]), ("MatMulNBits", &is.input[0]));
            assert_eq!(is.input[1], format!("{}_Q4", was.input[1]));
            assert!(is.input[1..].iter().all(|part| model.tensor(part).is_some()));
        }
        assert_eq!(was.node.len(), is.node.len());
    }
    // Where its weight stays, the graph within the node keeps it.
    let model = place.quantized("if_branch", &["--exclude", "else.own.weight"]);
    let is = branch(&model, "else_branch");
    assert_eq!(is.initializer, branch(&source, "else_branch").initializer);
    assert_eq!(is.node[1], branch(&source, "else_branch").node[1]);
    assert_eq!(is.node[0].op_type(), "MatMulNBits");
}

#[test]
fn rules_choose_nodes_by_the_names_of_weights() {
    let place = Place::empty();
    let ops = |name: &str, args: &[&str], nodes: &[&str]| -> Vec<String> {
        let model = place.quantized(name, args);
        nodes.iter().map(|node| model.node(node).op_type().to_owned()).collect()
    };
    let fc = ["/model/layers.0/fc0/Gemm", "/model/layers.0/fc1/Gemm"];
    assert_eq!(ops("gemm", &[], &fc), ["MatMulNBits", "MatMulNBits"]);
    assert_eq!(ops("gemm", &["--exclude", "*.fc0.weight"], &fc), ["Gemm", "MatMulNBits"]);

    // A weight that is only numbered is called after its node.
    let attention =
        ["/model/layers.0/self_attn/q_proj/MatMul", "/model/layers.0/self_attn/o_proj/MatMul"];
    let exclude = ["--exclude", "model.layers.0.self_attn.q_proj.weight"];
    assert_eq!(ops("wide_names", &exclude, &attention), ["MatMul", "MatMulNBits"]);
    assert_eq!(ops("wide_names", &["--exclude", "*.self_attn.*"], &attention), ["MatMul"; 2]);

    // By the name in the graph, too.
    assert_eq!(ops("wide_names", &["--exclude", "onnx::MatMul_*"], &attention), ["MatMul"; 2]);

    // A rule about the head wins over the tie.
    let both = ["/model/embed_tokens/Gather", "/lm_head/MatMul"];
    let quantized = ["GatherBlockQuantized", "MatMulNBits"];
    assert_eq!(ops("tied_copy", &[], &both), quantized);
    let exclude = ["--exclude", "lm_head.weight"];
    assert_eq!(ops("tied_copy", &exclude, &both), ["GatherBlockQuantized", "MatMul"]);
    let include = ["--include", "lm_head.weight"];
    assert_eq!(ops("untied", &[], &both), ["GatherBlockQuantized", "MatMul"]);
    assert_eq!(ops("untied", &include, &both), quantized);
}

#[test]
fn every_tensor_that_stays_is_listed_with_its_reason() {
    for (model, tensor, reason) in [
        ("conv", "conv.weight", "convolutions are kept by default"),
        ("batched", "model.layers.0.experts.weight", "it has 3 dimensions, not 2"),
        (
            "gemm",
            "model.layers.0.fc2.weight",
            "no MatMul, Gemm or Gather takes it in a form that codes can have",
        ),
        ("gemm", "model.layers.0.fc0.bias", "biases are never quantized"),
        ("tail", "model.embed_tokens.weight", "rows of 72 are no multiple of the block of 32"),
        ("function", "block.weight", "no rule matches it"),
        ("ints", "adapter.codes", "part of a layer that is quantized already"),
        ("untied", "lm_head.weight", "the head is kept by default"),
        ("untied", "model.norm.weight", "norms are never quantized"),
        ("transpose_output", "model.embed_tokens.weight", "needed by the graph's output"),
        ("embedding_quantized_sym", "model.embed_tokens.weight_scales", "quantized already"),
    ] {
        let source = onnx_model(model).display().to_string();
        let args = [&source, "--format", "int4", "--quantize-embeddings", "--dry-run"];
        let ran = run(args).ok();
        let row = |line: &&&str| line.split_whitespace().next() == Some(tensor);
        let lines = ran.lines(tensor);
        let line = lines.iter().find(row).unwrap_or_else(|| panic!("{}", ran.stdout));
        assert!(line.contains(" kept ") && line.contains(reason), "{model}: {line}");
    }
    // Asking for them by name does not help where no node could take their codes.
    for (model, tensor) in [("function", "block.weight"), ("gemm", "model.layers.0.fc2.weight")] {
        let source = onnx_model(model).display().to_string();
        let args = [&source, "--format", "int4", "--include", tensor, "--dry-run"];
        let ran = run(args).ok();
        let line = ran.lines(tensor)[0];
        assert!(
            line.contains("no MatMul, Gemm or Gather takes it in a form that codes can have"),
            "{line}"
        );
    }
    let place = Place::empty();
    place.quantize(&onnx_model("conv"), &[]).fails(6, &["no tensor would be quantized"]);
    assert!(place.listing().is_empty());
}
