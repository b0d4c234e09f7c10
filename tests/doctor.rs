//! `quantscope doctor`: what it says of this machine, and when it is taken for a folder.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::{Place, Ran, config, language_model, write_single};
use quantscope::gpu::adapters;
use safetensors::Dtype;
use serde_json::Value;

fn doctor(folder: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quantscope"));
    command.args(args).current_dir(folder).stdin(Stdio::null()).env_remove("COLUMNS");
    Ran::of(command.output().unwrap())
}

#[test]
fn every_device_is_tested_in_every_kind_of_format() {
    let place = Place::empty();
    let report: Value =
        serde_json::from_str(&doctor(place.folder.path(), &["doctor", "--json"]).ok().stdout)
            .unwrap();
    assert_eq!(
        (&report["version"], &report["passed"]),
        (&env!("CARGO_PKG_VERSION").into(), &true.into())
    );
    let system = &report["system"];
    assert!(system["cores"].as_u64() > Some(0) && system["os"].is_string(), "{system}");
    assert_eq!(system["disks"].as_array().unwrap().len(), 2);

    let devices = report["devices"].as_array().unwrap();
    let there_are = adapters();
    let required = std::env::var_os("QUANTSCOPE_REQUIRE_GPU").is_some();
    assert!(
        !required || !there_are.is_empty(),
        "QUANTSCOPE_REQUIRE_GPU is set, but there is no GPU adapter"
    );
    assert_eq!((devices.len(), &devices[0]["name"]), (1 + there_are.len(), &"CPU".into()));
    for (device, adapter) in devices[1..].iter().zip(&there_are) {
        assert_eq!(
            (&device["name"], &device["api"]),
            (&adapter.name.as_str().into(), &adapter.backend.as_str().into())
        );
        assert_eq!(device["is_software"], adapter.is_software);
        assert!(device["limits"]["binding_bytes"].as_u64() >= Some(1 << 27), "{device}");
        assert_eq!(device["limits"]["workgroup_size"].as_array().unwrap().len(), 3);
    }
    for device in devices {
        assert_eq!((&device["passed"], &device["error"]), (&true.into(), &Value::Null), "{device}");
        let formats = device["formats"].as_array().unwrap();
        assert_eq!((formats.len(), &formats[0]["format"]), (12, &"nvfp4".into()));
        assert!(
            formats.iter().all(|tested| tested["passed"] == true && tested["problem"].is_null())
        );
    }
}

#[test]
fn what_it_prints_for_people() {
    let place = Place::empty();
    let ran = doctor(place.folder.path(), &["doctor"]).ok();
    assert!(ran.stdout.starts_with("quantscope "), "{}", ran.stdout);
    for start in
        ["system    ", "cpu       ", "vectors   ", "cores     ", "memory    ", "disk      "]
    {
        assert!(!ran.lines(start).is_empty(), "no {start} in {}", ran.stdout);
    }
    let passed = ran.lines("pass  ");
    assert!(passed[0].starts_with("pass  CPU: 12 of 12 formats as specified"), "{}", ran.stdout);
    assert_eq!((passed.len(), ran.lines("FAIL").len()), (1 + adapters().len(), 0));
}

#[test]
fn a_folder_of_that_name_is_opened_by_its_path() {
    let place = Place::empty();
    write_single(&place.path("doctor"), &language_model(Dtype::BF16, 1), &config(false));
    let folder = place.folder.path();
    let opened = doctor(folder, &["--batch", "./doctor", "--dry-run"]).ok();
    assert!(opened.stdout.starts_with("./doctor · "), "{}", opened.stdout);
    doctor(folder, &["doctor", "--no-such-option"]).fails(2, &["--no-such-option"]);
    // After --batch a checkpoint is due.
    let opened = doctor(folder, &["--batch", "doctor", "--dry-run"]).ok();
    assert!(opened.stdout.starts_with("doctor · "), "{}", opened.stdout);
}

#[cfg(target_os = "linux")]
#[test]
fn a_machine_without_adapters_is_fine() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quantscope"));
    let none = "/nonexistent.json";
    command.args(["doctor"]).env("VK_DRIVER_FILES", none).env("VK_ICD_FILENAMES", none);
    let ran = Ran::of(command.stdin(Stdio::null()).output().unwrap());
    if ran.lines("pass  ").len() == 1 {
        assert!(ran.ok().stdout.contains("no graphics adapter was found"));
    }
}
