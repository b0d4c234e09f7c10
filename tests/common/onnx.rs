//! ONNX models that tests quantize, read back and damage.

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use quantscope::onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto};

use super::{Place, Ran, data, run};

/// Every model of `tests/data/onnx`, by name.
pub fn onnx_models() -> Vec<String> {
    let entries = fs::read_dir(data("onnx")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter_map(|name| Some(name.strip_suffix(".onnx")?.to_owned())).collect();
    names.sort();
    assert!(names.len() > 20, "the models are there");
    names
}

/// One of them.
pub fn onnx_model(name: &str) -> PathBuf {
    data(&format!("onnx/{name}.onnx"))
}

impl Place {
    /// Where ONNX models are exported to: the name that is counted with where none is given.
    pub fn out_onnx(&self) -> PathBuf {
        self.path("model.onnx")
    }

    /// The file beside it.
    pub fn data_onnx(&self) -> PathBuf {
        self.path("model.onnx.data")
    }

    /// Exports a model with its embeddings to `model.onnx`, in int4 unless `args` say otherwise, and
    /// prints nothing but findings and errors.
    pub fn quantize(&self, source: &Path, args: &[&str]) -> Ran {
        let (source, out) = (source.display().to_string(), self.out_onnx().display().to_string());
        let mut all = vec![source.as_str(), "--out", &out, "--quantize-embeddings", "-q"];
        if !args.contains(&"--format") {
            all.extend(["--format", "int4"]);
        }
        run([&all, args].concat())
    }

    /// What becomes of a model of `tests/data/onnx`.
    #[track_caller]
    pub fn quantized(&self, name: &str, args: &[&str]) -> Model {
        self.quantize(&onnx_model(name), &[&["--overwrite"], args].concat()).ok();
        Model::read(&self.out_onnx())
    }
}

/// A model that is read back, with whatever lies in files beside it.
#[derive(Debug)]
pub struct Model {
    folder: PathBuf,
    pub proto: ModelProto,
}

impl Model {
    #[track_caller]
    pub fn read(file: &Path) -> Self {
        let proto = ModelProto::decode(fs::read(file).unwrap().as_slice()).unwrap();
        Self { folder: file.parent().unwrap().to_owned(), proto }
    }

    pub fn graph(&self) -> &GraphProto {
        self.proto.graph.as_ref().unwrap()
    }

    /// The node of that name.
    #[track_caller]
    pub fn node(&self, name: &str) -> &NodeProto {
        let found = self.graph().node.iter().find(|node| node.name() == name);
        found.unwrap_or_else(|| panic!("no node {name}"))
    }

    /// Nodes of an operator.
    pub fn nodes_of(&self, op_type: &str) -> Vec<&NodeProto> {
        self.graph().node.iter().filter(|node| node.op_type() == op_type).collect()
    }

    /// The node that gives a value.
    pub fn producer(&self, value: &str) -> Option<&NodeProto> {
        self.graph().node.iter().find(|node| node.output.iter().any(|output| output == value))
    }

    /// The initializer of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorProto> {
        self.graph().initializer.iter().find(|tensor| tensor.name() == name)
    }

    /// Names of the initializers that start so.
    pub fn tensors(&self, start: &str) -> Vec<&str> {
        let names = self.graph().initializer.iter().map(TensorProto::name);
        let mut names: Vec<&str> = names.filter(|name| name.starts_with(start)).collect();
        names.sort_unstable();
        names
    }

    /// File, offset and length of an initializer that is not in the model's own.
    pub fn external(&self, name: &str) -> Option<(String, u64, u64)> {
        let entries = &self.tensor(name)?.external_data;
        let value =
            |key: &str| entries.iter().find(|e| e.key() == key).map(|e| e.value().to_owned());
        let number = |key: &str| value(key).unwrap().parse().unwrap();
        Some((value("location")?, number("offset"), number("length")))
    }

    /// The bytes of an initializer, wherever they are.
    #[track_caller]
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let tensor = self.tensor(name).unwrap_or_else(|| panic!("no initializer {name}"));
        match self.external(name) {
            Some((location, offset, length)) => {
                let file = fs::read(self.folder.join(location)).unwrap();
                file[offset as usize..(offset + length) as usize].to_vec()
            }
            None => tensor.raw_data().to_vec(),
        }
    }
}

/// The number of a field of a message, and all its bytes.
pub type Field = (u64, Vec<u8>);

/// The fields of a message in their order, those that no schema knows included.
pub fn fields(message: &[u8]) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut at = 0;
    while at < message.len() {
        let begin = at;
        let key = varint(message, &mut at);
        match key & 7 {
            0 => drop(varint(message, &mut at)),
            1 => at += 8,
            2 => {
                let length = varint(message, &mut at) as usize;
                at += length;
            }
            5 => at += 4,
            other => panic!("wire type {other}"),
        }
        fields.push((key >> 3, message[begin..at].to_vec()));
    }
    fields
}

/// The message, string or byte string of a field.
pub fn payload(field: &Field) -> &[u8] {
    let mut at = 0;
    assert_eq!(varint(&field.1, &mut at) & 7, 2, "field {} has a length", field.0);
    varint(&field.1, &mut at);
    &field.1[at..]
}

fn varint(bytes: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}
