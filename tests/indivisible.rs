//! Rows that do not divide into blocks: what becomes of them is the user's choice.

mod common;

use std::collections::BTreeMap;

use common::{Place, Ran, Stored, language_model, read_folder, run};
use safetensors::Dtype;

const NAME: &str = "model.layers.0.extra_proj.weight";
const ROWS: u64 = 8;

/// A model with one more matrix, whose rows are so long.
fn with_columns(dtype: Dtype, columns: u64) -> Place {
    let mut tensors = language_model(dtype, 1);
    tensors.push(Stored::weights(NAME, dtype, &[ROWS, columns]));
    Place::with(&tensors)
}

fn export(place: &Place, arguments: &[&str]) -> Ran {
    let (source, out) = (place.src().display().to_string(), place.out().display().to_string());
    let all = ["--include", NAME, "--overwrite", "--out", &out];
    run([&[source.as_str()], &all[..], arguments].concat())
}

/// The same model with zeros at the ends of the matrix's rows.
fn padded(place: &Place, columns: u64) -> Place {
    let mut tensors: Vec<Stored> = read_folder(&place.src()).into_values().collect();
    let matrix = tensors.iter_mut().find(|tensor| tensor.name == NAME).unwrap();
    let width = matrix.bytes.len() / (matrix.shape[0] * matrix.shape[1]) as usize;
    let rows = matrix.bytes.chunks(matrix.shape[1] as usize * width);
    let fill = vec![0; (columns - matrix.shape[1]) as usize * width];
    matrix.bytes = rows.flat_map(|row| [row, &fill].concat()).collect();
    matrix.shape[1] = columns;
    Place::with(&tensors)
}

fn parts(place: &Place) -> BTreeMap<String, Stored> {
    let module = NAME.strip_suffix("weight").unwrap();
    let tensors = read_folder(&place.out()).into_iter();
    tensors.filter(|(name, _)| name.starts_with(module)).collect()
}

#[test]
fn they_stay_by_default_and_are_told() {
    let place = with_columns(Dtype::BF16, 100);
    let ran = export(&place, &["--format", "nvfp4"]).ok();
    assert!(ran.finding().contains("rows of 100 are no multiple of the block of 16"));
    assert_eq!(parts(&place)[NAME], read_folder(&place.src())[NAME]);
}

#[test]
fn a_smaller_block_of_the_same_format_is_taken_where_one_fits() {
    let place = with_columns(Dtype::BF16, 192);
    let arguments =
        ["--format", "int4-g128", "--export", "compressed-tensors", "--exclude", "*.mlp.*"];
    export(
        &place,
        &[&arguments[..], &["--indivisible", "smaller", "--exclude", "*attn*", "--strict"]]
            .concat(),
    )
    .ok();
    let scale = &parts(&place)["model.layers.0.extra_proj.weight_scale"];
    assert_eq!(scale.shape, [ROWS, 3], "groups of 64");
}

#[test]
fn another_format_is_taken_where_it_fits() {
    let place = with_columns(Dtype::BF16, 100);
    export(&place, &["--format", "nvfp4", "--indivisible", "fp8-channel", "--strict"]).ok();
    assert_eq!(parts(&place)[NAME].dtype, Dtype::F8_E4M3);
    let tensors = read_folder(&place.out());
    assert_eq!(tensors["model.layers.0.mlp.up_proj.weight"].dtype, Dtype::U8, "the others divide");
}

#[test]
fn rows_with_zeros_at_their_ends_are_what_a_padded_matrix_becomes() {
    for dtype in [Dtype::BF16, Dtype::F64] {
        for (format, dialect, stored) in [
            ("nvfp4", "modelopt", 112),
            ("mxfp8", "modelopt", 128),
            ("nvfp4", "compressed-tensors", 112),
            ("int4-asym-g32", "compressed-tensors", 128),
            ("int8-g32", "compressed-tensors", 128),
            ("int4-g128", "compressed-tensors", 128),
            ("int8-asym-g128", "compressed-tensors", 128),
            ("int8-g128", "executorch", 128),
            ("int4-g128", "q4gsw", 128),
        ] {
            let place = with_columns(dtype, 100);
            let arguments = ["--format", format, "--export", dialect];
            let pad = [&arguments[..], &["--indivisible", "pad"]].concat();
            let ran = export(&place, &pad).ok();
            let told = format!("rows of 100 are stored as {stored}, with zeros at their ends");
            let findings = ran.lines("finding");
            assert!(findings.iter().any(|finding| finding.contains(&told)), "{}", ran.stdout);
            export(&place, &[&pad[..], &["--strict"]].concat()).fails(4, &["finding"]);
            export(&place, &pad).ok();

            let by_hand = padded(&place, stored);
            export(&by_hand, &arguments).ok();
            assert!(parts(&place) == parts(&by_hand), "{format} {dialect} {dtype}");
        }
    }
}

#[test]
fn statistics_leave_the_zeros_out() {
    let place = with_columns(Dtype::BF16, 100);
    let source = place.src().display().to_string();
    let row = |arguments: &[&str]| {
        let ran = run([&[source.as_str(), "--stats", "--include", NAME], arguments].concat()).ok();
        let row = ran.lines(NAME)[0].to_owned();
        row.split_whitespace().skip(4).take(4).map(str::to_owned).collect::<Vec<_>>()
    };
    let plain = row(&[]);
    assert_eq!(row(&["--format", "nvfp4", "--indivisible", "pad"]), plain);
}
