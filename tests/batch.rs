//! What the program prints and reports, as snapshots.
//!
//! Runs are made in the folder of the reference checkpoints, so paths are short and the same
//! everywhere; temporary folders show as `[TMP]`.

mod common;

use std::fs;
use std::path::Path;

use common::{Place, Ran, Stored, command, floats, language_model, write_single};
use safetensors::Dtype;

/// Runs in the folder of the reference checkpoints.
fn run(args: &[&str]) -> Ran {
    let mut command = command(args);
    Ran::of(command.current_dir(common::data("modelopt/e2e")).output().unwrap())
}

/// Text without the path of the place, and with the separators of Unix.
fn without_paths(place: &Place, text: &str) -> String {
    text.replace(&place.folder.path().display().to_string(), "[TMP]").replace('\\', "/")
}

const TIED: &str = "llama_tied_w4a16nvfp4/src";
const MOE: &str = "qwen3moe_w4a16nvfp4/src";

#[test]
fn help() {
    insta::assert_snapshot!(run(&["--help"]).ok().stdout.replace(".exe", ""));
}

#[test]
fn dry_run_of_a_tied_model() {
    let args = ["--format", "nvfp4", "--dry-run", "--quantize-embeddings"];
    insta::assert_snapshot!(run(&[&[TIED], &args[..]].concat()).ok().stdout);
}

#[test]
fn dry_run_of_a_mixture_of_experts() {
    insta::assert_snapshot!(run(&[MOE, "--format", "nvfp4", "--dry-run"]).ok().stdout);
}

#[test]
fn stats_by_layer() {
    let args = ["--stats", "--format", "nvfp4", "--group-by", "layer"];
    insta::assert_snapshot!(run(&[&[MOE], &args[..]].concat()).ok().stdout);
}

#[test]
fn stats_by_role_without_a_format() {
    insta::assert_snapshot!(run(&[MOE, "--stats", "--group-by", "role"]).ok().stdout);
}

#[test]
fn chosen_rows_sorted() {
    let chosen = ["--format", "nvfp4", "--filter", "experts -gate tensors=1 after>9k"];
    let sorted = [&chosen[..], &["--stats", "--sort", "sqnr:desc"]].concat();
    insta::assert_snapshot!(run(&[&[MOE], &sorted[..]].concat()).ok().stdout);

    // A plan and reports have the same rows.
    let place = Place::empty();
    let report = place.path("report.csv");
    let name = report.display().to_string();
    let args = [&chosen[..], &["--dry-run", "--sort", "name:desc", "--report", &name]].concat();
    let plan = run(&[&[MOE], &args[..]].concat()).ok();
    let names = |text: &str| -> Vec<String> {
        let names = text.lines().filter_map(|line| line.split([' ', ',']).next());
        names.filter(|name| name.ends_with(".weight")).map(str::to_owned).collect()
    };
    let planned = names(&plan.stdout);
    assert_eq!((planned.len(), planned.is_sorted_by(|a, b| a > b)), (8, true), "{planned:?}");
    assert_eq!(names(&fs::read_to_string(&report).unwrap()), planned);

    // Rows that are groups are filtered as groups.
    let by_role = ["--stats", "--group-by", "role", "--filter", "tensors>4", "--sort", "before"];
    let grouped = run(&[&[MOE], &by_role[..]].concat()).ok();
    let at = |text: &str| grouped.stdout.find(text).unwrap();
    assert!(at("filter    2 of 6 rows: tensors>4\n") < at("\nnorm "), "{}", grouped.stdout);
    assert!(at("\nnorm ") < at("\nexpert "), "{}", grouped.stdout);
}

#[test]
fn a_filter_that_cannot_be_meant_is_wrong_usage() {
    let unknown = ["amx>2: no column is called amx; columns: name, "];
    run(&[MOE, "--dry-run", "--filter", "down amx>2"]).fails(2, &unknown);
    let order = ["no column is called amax:up; columns: name, "];
    run(&[MOE, "--dry-run", "--sort", "amax:up"]).fails(2, &order);
    run(&[MOE, "--verify", "--filter", "down"]).fails(2, &["--filter"]);
}

#[test]
fn export_and_verification() {
    let place = Place::empty();
    let out = place.out().display().to_string();
    let exported = run(&[TIED, "--format", "nvfp4", "--out", &out]).ok();
    let verified = run(&[&out, "--verify", "--against", TIED]).ok();
    let both = format!("{}\n---\n\n{}", exported.stdout, verified.stdout);
    insta::assert_snapshot!(without_paths(&place, &both));

    let norm = "model.norm.weight";
    let mut tensors = common::read_file(&place.out().join("model.safetensors"));
    tensors.iter_mut().filter(|tensor| tensor.name == norm).for_each(|tensor| tensor.bytes[0] ^= 1);
    common::write_file(&place.out().join("model.safetensors"), &tensors);
    let failed = run(&[&out, "--verify", "--against", TIED, "-q"]).fails(3, &[]);
    insta::assert_snapshot!("failed_verification", failed.stdout);
}

/// A model with something of everything to look at.
fn odd_model() -> Place {
    let mut model = language_model(Dtype::BF16, 1);
    let odd = |name: &str, shape: &[u64]| Stored::weights(name, Dtype::BF16, shape);
    let nan = floats(Dtype::BF16, [1.0, f32::NAN].into_iter());
    model.extend([
        odd("model.layers.0.mlp.experts.down_proj", &[2, 16, 32]),
        odd("model.layers.0.mlp.fc1.weight", &[8, 40]),
        odd("model.layers.0.mlp.fc2.weight", &[0, 32]),
        odd("model.layers.0.mystery.weight", &[8, 32]),
        odd("model.layers.0.other.weight", &[8, 32]),
        Stored::new("model.gain", Dtype::BF16, &[2], nan),
    ]);
    let place = Place::with(&model);
    fs::remove_file(place.src().join("config.json")).unwrap();
    common::write_file(&place.src().join("extra.safetensors"), &[]);
    place
}

#[test]
fn findings() {
    let place = odd_model();
    let args = ["-q", "--include", "nothing.*", "--include", "model.gain", "--quantize-embeddings"];
    insta::assert_snapshot!(place.export(&args).ok().stdout);
}

#[test]
fn reports() {
    let place = Place::empty();
    let (source, out) = (place.src(), place.out().display().to_string());
    let table = Stored::new("model.table", Dtype::I64, &[2], vec![7; 16]);
    let model = [language_model(Dtype::BF16, 1), vec![table]].concat();
    write_single(&source, &model, &common::config(false));
    let source = source.display().to_string();
    for ending in ["json", "csv", "md"] {
        let texts = ["1", "3"].map(|threads| {
            let file = place.path(&format!("report.{ending}"));
            let name = file.display().to_string();
            let to = ["--out", &out, "--overwrite", "--report", &name, "--threads", threads, "-q"];
            common::run([&[&*source, "--format", "nvfp4"], &to[..]].concat()).ok();
            fs::read_to_string(file).unwrap()
        });
        assert_eq!(texts[0], texts[1], "reports do not depend on threads");
        let text = rounded(&without_paths(&place, &texts[0]));
        insta::assert_snapshot!(format!("report_{ending}"), text);
    }
}

/// The text with long decimal fractions cut to nine digits: the last ones of a logarithm may differ
/// from system to system.
fn rounded(text: &str) -> String {
    let (mut short, mut digits) = (String::new(), None);
    for c in text.chars() {
        digits = match (c, digits) {
            ('.', _) => Some(0),
            ('0'..='9', Some(n)) => Some(n + 1),
            _ => None,
        };
        if digits.is_none_or(|n| n <= 9) {
            short.push(c);
        }
    }
    short
}

#[test]
fn errors() {
    let place = odd_model();
    let (source, out) = (place.src().display().to_string(), place.out().display().to_string());
    let mut messages = String::new();
    let mut note = |code: i32, args: &[&str]| {
        let ran = run(args).fails(code, &[]);
        let (args, error) = (args.join(" "), ran.stderr);
        messages += &without_paths(&place, &format!("$ quantscope --batch {args}\n{error}\n"));
    };
    note(2, &[TIED]);
    note(2, &[TIED, "--out", &out]);
    note(2, &[TIED, "--format", "int4", "--dry-run"]);
    note(2, &[TIED, "--format", "nvfp4", "--out", &source]);
    note(2, &[TIED, "--format", "nvfp4", "--dry-run", "--include", "a[b"]);
    note(2, &[TIED, "--dry-run", "--report", "report.txt"]);
    note(6, &["llama_tied_w4a16nvfp4/out", "--format", "nvfp4", "--dry-run"]);
    note(6, &[TIED, "--format", "nvfp4", "--preset", "experts", "--out", &out, "-q"]);
    note(6, &[TIED, "--verify"]);
    note(4, &[&source, "--format", "nvfp4", "--dry-run", "--strict", "-q"]);

    let weights = Path::new(&source).join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() - 1]).unwrap();
    note(6, &[&source, "--dry-run"]);
    fs::write(&weights, &bytes[..4]).unwrap();
    note(6, &[&source, "--dry-run"]);
    let nan = floats(Dtype::F32, (0..64).map(|i| if i == 37 { f32::NAN } else { 1.0 }));
    let name = "model.layers.0.mlp.up_proj.weight";
    common::write_file(&weights, &[Stored::new(name, Dtype::F32, &[2, 32], nan)]);
    note(6, &[&source, "--format", "nvfp4", "--out", &out, "-q"]);
    insta::assert_snapshot!(messages);
}
