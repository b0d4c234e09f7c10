//! Every exit code, provoked: scripts rely on them. Ctrl-C is in `tests/interrupted.rs`, and a device that fails
//! beside the code.

mod common;

use std::fs;

use common::{Place, config, language_model, run, write_single};
use quantscope::batch::Exit;
use safetensors::Dtype;

/// A model with a tensor that no rule of the preset is for, which is a finding.
fn place() -> Place {
    let mut model = language_model(Dtype::BF16, 1);
    model.push(common::Stored::weights("model.layers.0.mystery.weight", Dtype::BF16, &[8, 32]));
    Place::with(&model)
}

#[test]
fn each_has_its_number() {
    let place = place();
    let (source, out) = (place.src().display().to_string(), place.out().display().to_string());
    let export = ["--format", "nvfp4", "--out", &out, "-q"];
    run([&[&*source], &export[..]].concat()).ok();
    let quantized = place.path("quantized").display().to_string();
    fs::rename(&out, &quantized).unwrap();
    let damaged = place.path("damaged").display().to_string();
    fs::create_dir(&damaged).unwrap();
    fs::write(place.path("damaged/model.safetensors"), [1, 2, 3]).unwrap();
    // An export of other weights.
    let other = place.path("other").display().to_string();
    write_single(&place.path("other"), &language_model(Dtype::F16, 1), &config(false));
    let report = place.path("nowhere/report.csv").display().to_string();

    let stats = ["--stats", "--format", "nvfp4"];
    let table: &[(Exit, &[&str])] = &[
        (Exit::Done, &[&source, "--dry-run"]),
        (Exit::Done, &[&quantized, "--verify", "--against", &source]),
        (Exit::Failed, &["nothing-here", "--dry-run"]),
        (Exit::Failed, &[&quantized, "--verify", "--against", "nothing-here"]),
        (Exit::Usage, &[&source]),
        (Exit::Usage, &[&source, "--dry-run", "--no-such-option"]),
        (Exit::Usage, &[&source, "--out", &out]),
        (Exit::Usage, &[&source, "--stats", "--device", "no such adapter"]),
        (Exit::Usage, &[&source, "--format", "nvfp4", "--out", &quantized]),
        (Exit::Usage, &[&source, "--stats", "--report", &report]),
        (Exit::Usage, &[&source, "--stats", "--recipe", "nothing.toml"]),
        (Exit::Unverified, &[&quantized, "--verify", "--against", &other]),
        (Exit::Findings, &[&source, stats[0], stats[1], stats[2], "--strict"]),
        (Exit::Findings, &[&source, "--format", "nvfp4", "--out", &out, "--strict"]),
        (Exit::Unfit, &[&damaged, "--dry-run"]),
        (Exit::Unfit, &[&source, "--verify"]),
        (Exit::Unfit, &[&quantized, "--format", "nvfp4", "--dry-run"]),
        (Exit::Unfit, &[&source, "--format", "nvfp4", "--preset", "experts", "--out", &out]),
    ];
    for (exit, args) in table {
        let ran = run(*args);
        let told = format!("{args:?}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.code, Some(exit.code().into()), "{told}");
        assert_eq!(ran.stderr.contains("error: "), *exit != Exit::Done, "{told}");
        assert!(!place.out().exists(), "{told}");
    }
}

#[cfg(unix)]
#[test]
fn files_that_cannot_grow_and_disks_that_are_full() {
    use std::process::{Command, Stdio};
    let place = place();
    let script = "ulimit -f 8 || exit 99; exec \"$0\" --batch \"$@\" -q --device cpu";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_quantscope")]).stdin(Stdio::null());
    let status = shell.args(place.export_args(&place.src(), &[])).stderr(Stdio::null()).status();
    assert_eq!(status.unwrap().code(), Some(Exit::Full.code().into()));

    // What is written there finds no room.
    let full = std::path::Path::new("/dev/full");
    if full.exists() {
        let mut command = common::command([place.src().as_os_str(), "--dry-run".as_ref()]);
        let status = command.stdout(fs::File::create(full).unwrap()).stderr(Stdio::null()).status();
        assert_eq!(status.unwrap().code(), Some(Exit::Full.code().into()));
    }
}

#[test]
fn readme_and_help_tell_all_of_them() {
    let readme = fs::read_to_string("README.md").unwrap();
    let help = run(["--help"]).ok().stdout;
    let mut numbers = std::collections::BTreeSet::new();
    for exit in Exit::ALL {
        let (code, name) = (exit.code(), serde_json::to_value(exit).unwrap());
        assert!(
            readme.contains(&format!("\n| {code} | `{}` | ", name.as_str().unwrap())),
            "{exit:?}"
        );
        assert!(help.contains(&format!("\n  {code:<4} {}", exit.meaning())), "{exit:?}");
        assert!(numbers.insert(code), "{exit:?}");
    }
}
