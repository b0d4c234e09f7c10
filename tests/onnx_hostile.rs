//! ONNX models that are damaged or hostile: one line that names what is wrong, and nothing left.

mod common;

use std::fs;

use common::{Model, Place, Random, fields, files, onnx_model};
use prost::Message;
use quantscope::checkpoint::Checkpoint;
use quantscope::model::FusedExperts;
use quantscope::onnx::proto::attribute_proto::AttributeType;
use quantscope::onnx::proto::tensor_proto::{DataLocation, DataType};
use quantscope::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, ValueInfoProto,
};
use quantscope::onnx::{Document, scope};

/// A place with a model of these bytes.
fn with_bytes(bytes: &[u8]) -> Place {
    let place = Place::empty();
    fs::create_dir(place.src()).unwrap();
    fs::write(place.src().join("model.onnx"), bytes).unwrap();
    place
}

/// Exports a bad source: it has to fail with the exit code of unfit checkpoints and one line, and to leave all as it was.
#[track_caller]
fn refused(place: &Place, parts: &[&str]) {
    let before = files(place.folder.path());
    let ran = place.quantize(&place.src().join("model.onnx"), &[]);
    let ran = ran.fails(6, &[&["model.onnx"], parts].concat());
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(files(place.folder.path()) == before);
}

fn bytes_of(name: &str) -> Vec<u8> {
    fs::read(onnx_model(name)).unwrap()
}

#[test]
fn files_that_are_no_models() {
    for bytes in [&b""[..], b"\n", b"not a model", b"PK\x03\x04", &[0xFF; 100], &[0; 1000]] {
        refused(&with_bytes(bytes), &[]);
    }
    let mut random = Random(5);
    for _ in 0..20 {
        let length = 1 + random.below(300);
        let bytes: Vec<u8> = (0..length).map(|_| random.bits() as u8).collect();
        refused(&with_bytes(&bytes), &[]);
    }
    // A protobuf message, but none with a graph.
    let proto = ModelProto { ir_version: Some(9), ..ModelProto::default() };
    refused(&with_bytes(&proto.encode_to_vec()), &["no graph"]);
}

#[test]
fn models_that_are_cut_off_anywhere() {
    for name in ["tied_transpose", "if_branch", "ints", "tied_bf16", "external"] {
        let bytes = bytes_of(name);
        let mut random = Random(11);
        let cuts = (0..12).map(|_| 1 + random.below(bytes.len() - 1));
        // Where a field ends, all that is left is whole.
        let ends = fields(&bytes).into_iter().scan(0, |end, field| {
            *end += field.1.len();
            Some(*end)
        });
        let ends: Vec<usize> = ends.filter(|end| *end < bytes.len()).collect();
        assert!(!ends.is_empty());
        for cut in [1, 2, 7, 40, bytes.len() - 1].into_iter().chain(cuts).chain(ends) {
            refused(&with_bytes(&bytes[..cut]), &[]);
        }
    }
}

/// A model of `tests/data/onnx` with a change in its first initializer, the table.
fn with_table(change: impl FnOnce(&mut TensorProto)) -> Place {
    let mut proto = Model::read(&onnx_model("tied_transpose")).proto;
    change(&mut proto.graph.as_mut().unwrap().initializer[0]);
    with_bytes(&proto.encode_to_vec())
}

const TABLE: &str = "\"model.embed_tokens.weight\"";

#[test]
fn tensors_that_lie_about_themselves() {
    let shorter = |tensor: &mut TensorProto| {
        let raw = tensor.raw_data.as_mut().unwrap();
        *raw = raw.slice(..raw.len() - 4);
    };
    refused(&with_table(shorter), &[TABLE, "24572 bytes", "24576"]);
    refused(&with_table(|t| t.raw_data = None), &[TABLE, "0 bytes", "24576"]);
    refused(&with_table(|t| t.dims = vec![97, 64]), &[TABLE, "24576 bytes", "24832"]);
    refused(&with_table(|t| t.dims = vec![-96, 64]), &[TABLE, "[-96, 64]"]);
    let huge = vec![i64::MAX, i64::MAX];
    refused(&with_table(|t| t.dims = huge), &[TABLE, "9223372036854775807"]);
    refused(&with_table(|t| t.data_type = Some(99)), &[TABLE, "unknown element type 99"]);
    refused(&with_table(|t| t.data_type = None), &[TABLE, "unknown element type 0"]);
    let doubles = |t: &mut TensorProto| t.data_type = Some(11);
    refused(&with_table(doubles), &[TABLE, "24576 bytes", "49152"]);
    let renamed = |t: &mut TensorProto| t.name = Some("model.norm.weight".to_owned());
    refused(&with_table(renamed), &["two initializers", "\"model.norm.weight\""]);
}

/// The same with the table in another file, as these entries say, with 30 kB in `src/weights`.
fn with_external(entries: &[(&str, &str)]) -> Place {
    let place = with_table(|tensor| {
        tensor.raw_data = None;
        tensor.data_location = Some(DataLocation::External.into());
        tensor.external_data = entries
            .iter()
            .map(|(key, value)| StringStringEntryProto {
                key: Some((*key).to_owned()),
                value: Some((*value).to_owned()),
            })
            .collect();
    });
    fs::write(place.src().join("weights"), [0x3C; 30_000]).unwrap();
    fs::write(place.path("secret"), [0x3C; 30_000]).unwrap();
    place
}

#[test]
fn data_that_are_not_beside_the_model() {
    let secret = with_external(&[]).path("secret").display().to_string();
    let outside = ["../secret", "a/../../secret", "./../secret", "..\\secret", "C:weights", "/"];
    for location in outside.into_iter().chain([secret.as_str(), "", ".", "weights/", "a\0b"]) {
        let place = with_external(&[("location", location)]);
        refused(&place, &[TABLE, "not a path below the folder"]);
    }
    refused(&with_external(&[]), &[TABLE, "not a path below the folder"]);
    refused(&with_external(&[("location", "missing")]), &[TABLE, "\"missing\"", "not there"]);
    let place = with_external(&[("location", "folder")]);
    fs::create_dir(place.src().join("folder")).unwrap();
    refused(&place, &[TABLE, "\"folder\"", "not there"]);
}

#[test]
fn data_that_are_not_all_there() {
    let with = |key: &str, value: &str| with_external(&[("location", "weights"), (key, value)]);
    refused(&with("offset", "5425"), &[TABLE, "\"weights\"", "ends at byte 30001", "30000"]);
    refused(&with("offset", "18446744073709551615"), &[TABLE, "\"weights\"", "too short"]);
    refused(&with("offset", "-1"), &[TABLE, "\"weights\"", "offset \"-1\""]);
    refused(&with("offset", "many"), &[TABLE, "\"weights\"", "offset \"many\""]);
    refused(&with("length", "24575"), &[TABLE, "24575 bytes", "24576"]);
    refused(&with("length", "0x6000"), &[TABLE, "\"weights\"", "length \"0x6000\""]);
    // At the last place where they are, they are taken.
    let place = with("offset", "5424");
    place.quantize(&place.src().join("model.onnx"), &[]).ok();

    let place = with("offset", "0");
    fs::write(place.src().join("weights"), "").unwrap();
    refused(&place, &[TABLE, "\"weights\"", "the file at 0"]);
}

#[cfg(unix)]
#[test]
fn links_do_not_leave_the_folder() {
    let place = with_external(&[("location", "link")]);
    std::os::unix::fs::symlink("../secret", place.src().join("link")).unwrap();
    refused(&place, &[TABLE, "\"link\"", "out of the folder"]);
    let place = with_external(&[("location", "link/secret")]);
    std::os::unix::fs::symlink("..", place.src().join("link")).unwrap();
    refused(&place, &[TABLE, "\"link/secret\"", "out of the folder"]);
}

/// A model of one product with a weight of blocks, said to be of so many outputs and inputs.
fn with_product(outputs: i64, inputs: i64) -> Place {
    let attribute = |name: &str, value: i64| AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Int.into()),
        i: Some(value),
        ..AttributeProto::default()
    };
    let tensor = |name: &str, data_type: DataType, dims: &[i64], data: Vec<u8>| TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(data_type.into()),
        dims: dims.to_vec(),
        raw_data: Some(data.into()),
        ..TensorProto::default()
    };
    let value = |name: &str| ValueInfoProto { name: Some(name.to_owned()), ..Default::default() };
    let product = NodeProto {
        input: ["x", "codes", "scales"].map(str::to_owned).to_vec(),
        output: vec!["y".to_owned()],
        op_type: Some("MatMulNBits".to_owned()),
        domain: Some("com.microsoft".to_owned()),
        attribute: [("N", outputs), ("K", inputs), ("bits", 4), ("block_size", 16)]
            .map(|(name, value)| attribute(name, value))
            .to_vec(),
        ..NodeProto::default()
    };
    let graph = GraphProto {
        node: vec![product],
        initializer: vec![
            tensor("codes", DataType::Uint8, &[1, 1, 8], vec![0x88; 8]),
            tensor("scales", DataType::Float, &[1], 1_f32.to_le_bytes().to_vec()),
        ],
        input: vec![value("x")],
        output: vec![value("y")],
        ..GraphProto::default()
    };
    let opset = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    };
    let proto = ModelProto {
        ir_version: Some(9),
        opset_import: vec![opset("", 21), opset("com.microsoft", 1)],
        graph: Some(graph),
        ..ModelProto::default()
    };
    with_bytes(&proto.encode_to_vec())
}

#[test]
fn weights_whose_sizes_overflow() {
    let stats = |place: &Place| {
        let model = place.src().join("model.onnx").display().to_string();
        common::run([&model, "--stats"]).ok()
    };
    stats(&with_product(1, 16));
    // Blocks of 16, of which there would be 2^64 + 1: as many as there are, but for what overflows.
    let (outputs, blocks) = (274_177, 67_280_421_310_721);
    let place = with_product(outputs, blocks * 16);
    let out = place.out().display().to_string();
    let model = place.src().join("model.onnx").display().to_string();
    stats(&place);
    let ran = common::run([&model, "--dequantize", "--out", &out]);
    ran.fails(6, &["[274177, 1076486740971536]", "no matrix"]);
}

#[test]
fn long_names_are_not_said_over_and_over() {
    let (name, many) = ("n".repeat(4000), 2000);
    let tensor = TensorProto {
        data_type: Some(DataType::Uint8.into()),
        raw_data: Some(vec![1].into()),
        ..TensorProto::default()
    };
    let tensors = AttributeProto {
        name: Some("many".to_owned()),
        r#type: Some(AttributeType::Tensors.into()),
        tensors: vec![tensor; many],
        ..AttributeProto::default()
    };
    let node = NodeProto {
        input: vec!["?".to_owned(); many],
        output: vec![name],
        op_type: Some("Constant".to_owned()),
        attribute: vec![tensors],
        ..NodeProto::default()
    };
    let graph = GraphProto { node: vec![node], ..GraphProto::default() };
    let proto = ModelProto { graph: Some(graph), ..ModelProto::default() };
    let document = Document::new(&proto.encode_to_vec().as_slice()).unwrap();
    let names: usize = document.tensors.iter().map(|tensor| tensor.name.len()).sum();
    assert_eq!((document.tensors.len(), names), (many, 4000));
    let problems = scope::problems(&document);
    let said: usize = problems.iter().map(String::len).sum();
    assert!(problems.len() == many && said < many * 300, "{said} bytes");
}

#[test]
fn a_node_that_takes_a_weight_often_turns_it_round_once() {
    let many = 2000;
    let node = |op_type: &str, input: Vec<String>, output: String| NodeProto {
        input,
        output: vec![output],
        op_type: Some(op_type.to_owned()),
        ..NodeProto::default()
    };
    let transpose = node("Transpose", vec!["w".to_owned(); many], "t".to_owned());
    let product = |i: usize| node("MatMul", vec!["x".to_owned(), "t".to_owned()], format!("y{i}"));
    let weight = TensorProto {
        name: Some("w".to_owned()),
        data_type: Some(DataType::Float.into()),
        dims: vec![1, 1],
        raw_data: Some(vec![0; 4].into()),
        ..TensorProto::default()
    };
    let graph = GraphProto {
        node: std::iter::once(transpose).chain((0..many).map(product)).collect(),
        initializer: vec![weight],
        ..GraphProto::default()
    };
    let place =
        with_bytes(&ModelProto { graph: Some(graph), ..Default::default() }.encode_to_vec());
    let checkpoint = Checkpoint::open(&place.src().join("model.onnx")).unwrap();
    let model = quantscope::model::Model::new(&checkpoint, FusedExperts::Packed);
    assert_eq!(model.uses[0].layers.len(), many);
}

#[test]
fn graphs_within_graphs_without_end() {
    let field = |number: u8, message: Vec<u8>| {
        let mut bytes = vec![number << 3 | 2];
        prost::encoding::encode_varint(message.len() as u64, &mut bytes);
        bytes.extend(message);
        bytes
    };
    // A graph in an attribute (6) of a node (5) of a graph (1).
    let graph = (0..5000).fold(Vec::new(), |graph, _| field(1, field(5, field(6, graph))));
    refused(&with_bytes(&field(7, graph)), &["nested more than"]);
    // A type (14) of an attribute: a sequence (4) of sequences (1).
    let sequence = (0..5000).fold(Vec::new(), |inner, _| field(4, field(1, inner)));
    let node = field(1, field(5, field(14, sequence)));
    refused(&with_bytes(&field(7, node)), &["recursion limit"]);
    // Groups, which nobody writes any more.
    refused(&with_bytes(&[0x0B; 100_000]), &["no valid protobuf"]);
}

#[test]
fn bytes_that_change_anywhere_are_an_error_or_another_model() {
    let bytes = bytes_of("tied_gemm");
    let mut random = Random(23);
    for _ in 0..60 {
        let mut bytes = bytes.clone();
        // Nodes come first, and weights may be any.
        let at = random.below(1500);
        bytes[at] = random.bits() as u8;
        let place = with_bytes(&bytes);
        let ran = place.quantize(&place.src().join("model.onnx"), &[]);
        assert!([Some(0), Some(6)].contains(&ran.code), "byte {at}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "byte {at}: {}", ran.stderr);
        assert_eq!(place.out_onnx().exists(), ran.code == Some(0), "byte {at}");
        let names = place.listing();
        assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");
    }
}
