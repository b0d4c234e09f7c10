//! ONNX models with nothing but standard operators: blocks that `DequantizeLinear` makes floats of.

mod common;

use common::{Model, Place, onnx_model, run};
use quantscope::onnx::proto::NodeProto;
use quantscope::onnx::proto::tensor_proto::DataType;

const TABLE: &str = "model.embed_tokens.weight";

fn attribute(node: &NodeProto, name: &str) -> i64 {
    node.attribute.iter().find(|attribute| attribute.name() == name).unwrap().i()
}

/// What the model becomes with standard operators, and with those of ONNX Runtime.
fn both(place: &Place, name: &str, format: &str, tied: &str) -> (Model, Model) {
    let args = ["--format", format, "--tied", tied];
    let standard = place.quantized(name, &[&args[..], &["--export", "onnx-qdq"]].concat());
    (standard, place.quantized(name, &args))
}

#[test]
fn codes_and_scales_are_those_of_the_other_layout() {
    let place = Place::empty();
    let cases = [
        ("int4", DataType::Int4, 32, false),
        ("int4-asym-g16", DataType::Uint4, 16, true),
        ("int8", DataType::Int8, 32, false),
        ("int8-asym-g32", DataType::Uint8, 32, true),
    ];
    for (format, data_type, block, has_zero_points) in cases {
        let (standard, own) = both(&place, "opset21", format, "share");
        let quantized: Vec<&str> = standard.tensors("model.");
        let bits = if format.starts_with("int4") { 4 } else { 8 };
        let codes_of = |weight: &str| format!("{weight}_Q{bits}");
        let weights = [TABLE, "model.layers.0.mlp.proj.weight"];
        for weight in weights {
            assert!(quantized.contains(&codes_of(weight).as_str()), "{format}: {quantized:?}");
            let codes = standard.tensor(&codes_of(weight)).unwrap();
            assert_eq!(codes.data_type, Some(data_type as i32), "{format}");
            assert_eq!(codes.dims[1], 96, "{format}: elements, not bytes");
            // Signed codes are 2^(bits − 1) less, which flips their highest bit.
            let flipped = match (bits, has_zero_points) {
                (4, false) => 0x88,
                (_, false) => 0x80,
                _ => 0,
            };
            let unsigned = own.bytes(&codes_of(weight));
            let expected: Vec<u8> = unsigned.iter().map(|byte| byte ^ flipped).collect();
            assert!(standard.bytes(&codes_of(weight)) == expected, "{format}: codes of {weight}");
            let part = |ending: &str| format!("{weight}{ending}");
            assert!(standard.bytes(&part("_scales")) == own.bytes(&part("_scales")), "{format}");
            let zero_points = standard.tensor(&part("_zero_points"));
            assert_eq!(zero_points.is_some(), has_zero_points, "{format}");
            if let Some(zero_points) = zero_points {
                assert_eq!(zero_points.data_type, Some(data_type as i32), "{format}");
                let name = part("_zero_points");
                assert!(standard.bytes(&name) == own.bytes(&name), "{format}: zero points");
            }
        }
        for node in standard.nodes_of("DequantizeLinear") {
            assert_eq!((attribute(node, "axis"), attribute(node, "block_size")), (1, block));
            assert_eq!(node.input.len(), if has_zero_points { 3 } else { 2 }, "{format}");
        }
        assert_eq!(standard.nodes_of("DequantizeLinear").len(), weights.len(), "{format}");
    }
}

#[test]
fn nodes_go_on_as_before_and_a_tied_head_takes_the_floats_of_the_table() {
    let place = Place::empty();
    let (standard, _) = both(&place, "opset21", "int4", "share");
    let source = Model::read(&onnx_model("opset21"));
    assert_eq!(standard.proto.opset_import, source.proto.opset_import, "no other operators");
    let new = standard.graph().node.len() - source.graph().node.len();
    assert_eq!(standard.graph().node[new..], source.graph().node, "after those that are new");
    // The head had a transposed copy of the table.
    let head = standard.producer("lm_head.weight").unwrap();
    assert_eq!((head.op_type(), head.input[0].as_str()), ("Transpose", TABLE));
    assert_eq!(standard.producer(TABLE).unwrap().op_type(), "DequantizeLinear");
    assert!(standard.tensor("lm_head.weight").is_none() && standard.tensor(TABLE).is_none());

    let (standard, _) = both(&place, "opset21", "int4", "untie");
    assert!(standard.bytes("lm_head.weight") == source.bytes("lm_head.weight"), "still floats");
    assert_eq!(standard.producer(TABLE).unwrap().op_type(), "DequantizeLinear");
}

#[test]
fn one_matrix_may_be_codes_for_the_table_and_floats_for_the_head() {
    let place = Place::empty();
    let (standard, _) = both(&place, "ints", "int8", "untie");
    let source = Model::read(&onnx_model("ints"));
    assert!(standard.bytes(TABLE) == source.bytes(TABLE), "the head has its floats");
    let gather = standard.nodes_of("Gather")[0];
    let rows = standard.producer(&gather.input[0]).unwrap();
    assert_eq!(
        (rows.op_type(), rows.input[0].as_str()),
        ("DequantizeLinear", "model.embed_tokens.weight_Q8")
    );
}

#[test]
fn what_has_no_place_is_refused_or_kept_with_its_reason() {
    let place = Place::empty();
    let args = ["--export", "onnx-qdq"];
    place.quantize(&onnx_model("tied_copy"), &args).fails(
        6,
        &["imports version 18 of ONNX's operators", "from 21 on", "--export onnx, which takes any"],
    );
    assert!(!place.out_onnx().exists());

    // Three blocks of 32 a row: their zero points would be a byte and a half.
    let args = [&args[..], &["--format", "int4-asym-g32", "--dry-run"]].concat();
    let source = onnx_model("opset21").display().to_string();
    let plan = run([&[source.as_str(), "--quantize-embeddings"], &args[..]].concat()).ok();
    let row = plan.lines(TABLE)[0];
    assert!(row.ends_with("its rows have 3 blocks, whose zero points are no whole bytes"), "{row}");
}

#[test]
fn exports_are_read_and_verified() {
    let place = Place::empty();
    for (name, tied) in [("opset21", "share"), ("opset21", "untie"), ("ints", "share")] {
        let args = ["--export", "onnx-qdq", "--format", "int8-asym-g16", "--tied", tied];
        place.quantized(name, &args);
        let (out, source) = (place.out_onnx(), onnx_model(name));
        let paths = [out.to_str().unwrap(), source.to_str().unwrap()];
        let verified = run([paths[0], "--verify", "--against", paths[1]]).ok();
        assert!(verified.lines("FAIL").is_empty(), "{}", verified.stdout);
        let stats = run([paths[0], "--stats"]).ok();
        assert!(stats.lines(TABLE)[0].contains("int8-asym-g16"), "{}", stats.stdout);
        let shared = verified.lines("pass  ties")[0].contains(&format!("2 nodes take {TABLE}"));
        assert_eq!(shared, tied == "share", "{}", verified.stdout);
    }
}
