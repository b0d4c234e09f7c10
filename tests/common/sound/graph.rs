//! What holds for every ONNX model.

use std::fs;

use quantscope::checkpoint::Checkpoint;
use quantscope::dialect::Dialect;
use quantscope::format::Format;
use quantscope::onnx::{Document, Edits, Links, Piece, scope};
use quantscope::recipe::Recipe;

use super::case::folder;
use super::layers;
use super::plans::{planned, readable};

/// An ONNX model.
pub fn any_onnx(bytes: &[u8]) {
    let Ok(document) = Document::new(&bytes) else { return };
    without_loss(&document, bytes);
    let _ = (Links::new(&document), scope::problems(&document));

    let folder = folder();
    let source = folder.path().join("src");
    let model = source.join("model.onnx");
    fs::create_dir(&source).expect("a folder for a case");
    fs::write(&model, bytes).expect("a file for a case");
    // So that data beside the model may be there.
    fs::write(source.join("external.onnx.data"), vec![0x3C; 1 << 14]).expect("a file for a case");
    let Ok(checkpoint) = Checkpoint::open(&model) else { return };
    readable(&checkpoint);
    let formats = ["int4-g16", "int8-asym-g16"].map(|name| name.parse::<Format>());
    for format in formats {
        let format = Some(format.expect("a format"));
        let recipe =
            Recipe { format, quantize_embeddings: true, unserved: true, ..Recipe::default() };
        for dialect in [Dialect::Onnx, Dialect::OnnxQdq] {
            if let Some(plan) = planned(&checkpoint, &recipe, dialect) {
                layers::export(&checkpoint, &plan, &folder.path().join("out"));
            }
        }
    }
    layers::read(&checkpoint, &folder.path().join("out"));
}

/// A document without changes is its bytes, though lengths may be written shorter.
fn without_loss(document: &Document, bytes: &[u8]) {
    let skeleton = document.edited(&Edits::default());
    let mut again = Vec::new();
    for (at, piece) in skeleton.placed() {
        assert_eq!(at, again.len() as u64);
        match piece {
            Piece::Source(range) => again.extend(&bytes[range.clone()]),
            Piece::Bytes(bytes) => again.extend(bytes),
            Piece::Hole(hole) => panic!("{hole:?} without edits"),
        }
    }
    assert!(again.len() <= bytes.len());
    let same = Document::new(&again.as_slice()).expect("what is written is read");
    assert_eq!(
        (same.nodes.len(), same.tensors.len()),
        (document.nodes.len(), document.tensors.len())
    );
}
