//! Values of ONNX models: what callers may give, what graphs within nodes call alike, names that are taken.

mod common;

use std::path::PathBuf;

use common::{Model, Place, onnx_model, run};
use prost::Message;
use quantscope::onnx::proto::tensor_proto::DataType;
use quantscope::onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};

const TABLE: &str = "model.embed_tokens.weight";
const WEIGHT: &str = "model.layers.0.mlp.proj.weight";

/// A model of `tests/data/onnx` with a change.
fn changed(place: &Place, name: &str, change: impl FnOnce(&mut ModelProto)) -> PathBuf {
    let mut proto = Model::read(&onnx_model(name)).proto;
    change(&mut proto);
    let path = place.path("changed.onnx");
    std::fs::write(&path, proto.encode_to_vec()).unwrap();
    path
}

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

fn node(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(op_type.to_owned()),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

fn verified(place: &Place, source: &std::path::Path) {
    let (out, source) = (place.out_onnx().display().to_string(), source.display().to_string());
    run([out.as_str(), "--verify", "--against", &source]).ok();
}

#[test]
fn weights_that_callers_may_give_stay_floats() {
    for (name, layouts) in [("tied_copy", &["onnx"][..]), ("opset21", &["onnx", "onnx-qdq"])] {
        let place = Place::empty();
        let source = changed(&place, name, |model| {
            let weight = Some(WEIGHT.to_owned());
            graph(model).input.push(ValueInfoProto { name: weight, ..ValueInfoProto::default() });
        });
        for layout in layouts {
            place.quantize(&source, &["--export", layout, "--overwrite"]).ok();
            let (model, was) = (Model::read(&place.out_onnx()), Model::read(&source));
            assert!(model.bytes(WEIGHT) == was.bytes(WEIGHT), "{name} in {layout}");
            assert_eq!(model.graph().input, was.graph().input);
            verified(&place, &source);
        }
        let plan = run([source.to_str().unwrap(), "--format", "int4", "--dry-run"]).ok();
        let row = plan.lines(WEIGHT)[0];
        assert!(row.contains("the graph's input") && row.contains(" kept "), "{row}");
    }
}

/// Exporters write both branches of a merged decoder from one template.
#[test]
fn branches_may_call_their_values_alike() {
    let place = Place::empty();
    let source = changed(&place, "if_branch", |model| {
        let branches = graph(model).node.iter_mut().flat_map(|node| &mut node.attribute);
        for branch in branches.filter_map(|attribute| attribute.g.as_mut()) {
            for name in branch.node.iter_mut().flat_map(|n| n.input.iter_mut().chain(&mut n.output))
            {
                if ["else_out", "then_out"].contains(&name.as_str()) {
                    *name = "out".to_owned();
                }
            }
            branch.output.iter_mut().for_each(|output| output.name = Some("out".to_owned()));
        }
    });
    place.quantize(&source, &[]).ok();
    verified(&place, &source);
    let model = Model::read(&place.out_onnx());
    let branches = model.graph().node.iter().flat_map(|node| &node.attribute);
    let nodes = branches.filter_map(|attribute| attribute.g.as_ref()).flat_map(|g| &g.node);
    let operators: Vec<&str> = nodes.map(NodeProto::op_type).collect();
    assert_eq!(operators, ["MatMulNBits"; 3], "the weights of both branches are quantized");
}

/// Values within functions are called as they like.
#[test]
fn graphs_within_functions_are_left_alone() {
    let place = Place::empty();
    let source = changed(&place, "function", |model| {
        let inner = GraphProto {
            name: Some("inner".to_owned()),
            node: vec![node("MatMul", &["x", WEIGHT], "inner")],
            output: vec![ValueInfoProto {
                name: Some("inner".to_owned()),
                ..ValueInfoProto::default()
            }],
            ..GraphProto::default()
        };
        let branch = |name: &str| AttributeProto {
            name: Some(name.to_owned()),
            g: Some(inner.clone()),
            ..AttributeProto::default()
        };
        let choice = NodeProto {
            attribute: vec![branch("then_branch"), branch("else_branch")],
            ..node("If", &["x"], "y")
        };
        // Nobody calls it.
        model.functions.push(FunctionProto {
            name: Some("Chooser".to_owned()),
            domain: Some("local".to_owned()),
            input: vec!["x".to_owned(), WEIGHT.to_owned()],
            output: vec!["y".to_owned()],
            node: vec![choice],
            ..FunctionProto::default()
        });
    });
    place.quantize(&source, &[]).ok();
    verified(&place, &source);
    let (model, was) = (Model::read(&place.out_onnx()), Model::read(&source));
    assert_eq!(model.proto.functions, was.proto.functions);
}

#[test]
fn values_with_the_names_of_new_ones_are_told_before_anything_is_written() {
    for name in [&format!("{WEIGHT}_scales"), &format!("{TABLE}_Q4_blocks")] {
        let place = Place::empty();
        let source = changed(&place, "tied_copy", |model| {
            let nodes = &mut graph(model).node;
            nodes.push(node("Identity", &["logits"], name));
        });
        place.quantize(&source, &["--external-data"]).fails(6, &[name, "--exclude"]);
        assert_eq!(place.listing(), ["changed.onnx"]);
    }
}

#[test]
fn strings_stay_in_the_file_of_the_model() {
    let place = Place::empty();
    let words: Vec<Vec<u8>> = (0..200).map(|i| format!("word {i:4}").into_bytes()).collect();
    let source = changed(&place, "tied_copy", |model| {
        graph(model).initializer.push(TensorProto {
            name: Some("words".to_owned()),
            data_type: Some(DataType::String as i32),
            dims: vec![words.len() as i64],
            string_data: words.iter().map(|word| word.clone().into()).collect(),
            ..TensorProto::default()
        });
    });
    place.quantize(&source, &["--external-data"]).ok();
    let model = Model::read(&place.out_onnx());
    let kept = model.tensor("words").unwrap();
    assert!(kept.external_data.is_empty());
    assert!(kept.string_data.iter().map(|word| word.to_vec()).eq(words));
}

/// A node says how many columns its table has.
#[test]
fn tables_are_never_padded() {
    let place = Place::empty();
    let model = place.quantized("tail", &["--indivisible", "pad"]);
    assert!(model.tensor(TABLE).is_some() && model.nodes_of("GatherBlockQuantized").is_empty());
    assert!(!model.nodes_of("MatMulNBits").is_empty());
}
