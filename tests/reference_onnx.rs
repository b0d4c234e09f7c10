//! A whole ONNX model next to what Olive makes of it.

mod common;

use common::{Place, data, run};
use quantscope::checkpoint::{Checkpoint, Tensor};
use quantscope::dialect::{Dialect, ExcludeList};
use quantscope::quantized::{Layer, find};

/// The layers of a model, and the model.
fn layers(path: &std::path::Path) -> (Checkpoint, Vec<Layer>) {
    let checkpoint = Checkpoint::open(path).unwrap();
    let layers = find(&checkpoint, None, &ExcludeList::default(), Dialect::Onnx);
    (checkpoint, layers)
}

fn bytes(checkpoint: &Checkpoint, index: Option<usize>) -> Option<Vec<u8>> {
    let tensor: &Tensor = &checkpoint.tensors[index?];
    let mut bytes = vec![0; tensor.bytes as usize];
    checkpoint.read_at(tensor, &mut bytes, 0).unwrap();
    Some(bytes)
}

#[test]
fn a_tied_model_has_the_codes_scales_and_zero_points_of_olive() {
    for (format, reference) in
        [("int4", "tied_copy_int4"), ("int4-asym-g32", "tied_copy_int4_asym")]
    {
        let place = Place::empty();
        let out = place.path("out.onnx");
        let source = data("olive/tied_copy.onnx");
        let arguments =
            ["--format", format, "--quantize-embeddings", "--out", out.to_str().unwrap()];
        run([&[source.to_str().unwrap()][..], &arguments].concat()).ok();

        let (ours, own) = layers(&out);
        let (theirs, others) = layers(&data(&format!("olive/{reference}.onnx")));
        for part in ["embed_tokens", "up", "down"] {
            let layer = |layers: &[Layer]| {
                let named = |layer: &&Layer| layer.weight.contains(part);
                layers.iter().find(named).unwrap().clone()
            };
            let (own, other) = (layer(&own), layer(&others));
            assert_eq!(own.format, other.format, "{format}: {part}");
            assert_eq!(own.shape, other.shape, "{format}: {part}");
            let same = |a, b| bytes(&ours, a) == bytes(&theirs, b);
            assert!(same(own.parts.codes, other.parts.codes), "{format}: codes of {part}");
            assert!(same(own.parts.scales, other.parts.scales), "{format}: scales of {part}");
            // Where Olive leaves out those of a table, they are in the middle.
            if let Some(zero_points) = other.parts.zero_points {
                assert!(same(own.parts.zero_points, Some(zero_points)), "{format}: {part}");
            }
        }
        // The table and two matrices in both; the head has nothing of its own.
        let tables = |layers: &[Layer]| layers.iter().filter(|layer| layer.is_table).count();
        assert_eq!((tables(&own), own.len()), (tables(&others), others.len()), "{format}");
    }
}
