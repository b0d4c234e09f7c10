//! A head that is the embedding table with other bytes: found by what the quantized table stands
//! for, whatever the device.

mod common;

use common::{Place, Stored, floats, language_model};
use half::bf16;
use safetensors::Dtype;

/// A model with a head whose weight `i` is `change(i, table weight i)`, in f32.
fn with_head(change: impl Fn(usize, f32) -> f32) -> Place {
    let mut model = language_model(Dtype::BF16, 1);
    let table = model.iter().find(|tensor| tensor.name.contains("embed_tokens")).unwrap();
    let weights = table.bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32());
    let head = floats(Dtype::F32, weights.enumerate().map(|(i, w)| change(i, w)));
    let head = Stored::new("lm_head.weight", Dtype::F32, &table.shape, head);
    model[0] = head;
    Place::with(&model)
}

/// Exports with the embedding on each device there is, and says whether the table was packed.
fn packs_the_table(place: &Place, args: &[&str]) -> bool {
    let devices = if common::gpus().is_empty() { vec!["cpu"] } else { vec!["cpu", "gpu"] };
    let packed: Vec<bool> = devices
        .iter()
        .map(|device| {
            let args = [&["--quantize-embeddings", "--overwrite", "-q", "--device", device], args];
            let ran = place.export(&args.concat()).ok();
            let config = common::read_json(&place.out().join("config.json"));
            let ignored = config["quantization_config"]["ignore"].to_string();
            let packed = !ignored.contains("embed_tokens");
            assert_eq!(ran.stdout.contains("would break the tie"), !packed, "{device}");
            packed
        })
        .collect();
    assert!(packed.iter().all(|other| *other == packed[0]), "devices disagree");
    packed[0]
}

#[test]
fn a_head_within_half_a_step_of_the_quantized_table_is_tied() {
    // The same values in another type: no byte is the same.
    let near = with_head(|_, weight| weight);
    assert!(!packs_the_table(&near, &[]));
    assert!(packs_the_table(&near, &["--tied", "untie"]), "the user may part them");
}

#[test]
fn one_weight_that_is_further_away_is_enough() {
    for place in [0, 96 * 64 - 1] {
        let apart = with_head(|i, weight| if i == place { weight + 0.03 } else { weight });
        assert!(packs_the_table(&apart, &[]), "weight {place}");
    }
}

#[test]
fn the_largest_code_does_not_stand_for_anything_above_it() {
    let outlier = with_head(|i, weight| if i == 5 { weight.signum() * 100.0 } else { weight });
    assert!(packs_the_table(&outlier, &[]));
}

#[test]
fn sharing_is_refused_where_nobody_reads_one_table_for_both() {
    let place = with_head(|_, weight| weight);
    for dialect in ["modelopt", "compressed-tensors"] {
        let ran = place.export(&["--quantize-embeddings", "--tied", "share", "--export", dialect]);
        ran.fails(2, &["no runtime reads one packed table", dialect, "--tied untie"]);
    }
}
