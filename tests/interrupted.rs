//! Runs that cannot start or cannot end: wrong usage, no rights, no space, Ctrl-C.

mod common;

use std::fs;

use common::{Place, Ran, language_model, run};
use safetensors::Dtype;

/// A place with a good source.
fn place() -> Place {
    Place::with(&language_model(Dtype::BF16, 1))
}

/// Exports with arguments that cannot be meant: exit code 2, nothing left.
#[track_caller]
fn misused(place: &Place, args: &[&str], parts: &[&str]) {
    let before = place.listing();
    place.export(args).fails(2, parts);
    assert_eq!(place.listing(), before);
}

#[test]
fn arguments_that_cannot_be_meant() {
    let place = place();
    let recipe = place.path("recipe.toml").display().to_string();
    let with_recipe = |text: &str, parts: &[&str]| {
        fs::write(&recipe, text).unwrap();
        misused(&place, &["--recipe", &recipe], &[&["recipe.toml"], parts].concat());
    };
    with_recipe("format = ", &["line 1"]);
    with_recipe("fromat = \"nvfp4\"", &["fromat", "expected"]);
    with_recipe("format = \"nvfp5\"", &["nvfp5"]);
    with_recipe("[[rule]]\nmatch = \"a\"", &["set"]);
    with_recipe("[[rule]]\nmatch = \"a\"\nset = \"drop\"", &["drop", "keep"]);
    fs::write(&recipe, "[[rule]]\nset = \"keep\"").unwrap();
    misused(&place, &["--recipe", &recipe], &["rule 1 has neither match nor roles"]);
    misused(&place, &["--recipe", "no-such.toml"], &["cannot read recipe no-such.toml"]);

    misused(&place, &["--include", "a[b"], &["pattern \"a[b\"", "unclosed character class"]);
    misused(&place, &["--exclude", "{a"], &["pattern \"{a\""]);
    misused(&place, &["--preset", "all"], &["unknown preset \"all\"", "linear, mlp, experts"]);
    misused(&place, &["--report", "report.txt"], &["report.txt", ".json, .csv, .md or .html"]);
    misused(&place, &["--report", "report"], &["report", ".json, .csv, .md or .html"]);
    misused(&place, &["--report", "none/report.md"], &["none: there is no such folder"]);
    misused(&place, &["--max-shard-size", "5XB"], &["5XB", "5GB"]);
    misused(&place, &["--max-shard-size", "0"], &["not a size"]);
    misused(&place, &["--threads", "0"], &["--threads"]);
    misused(&place, &["--tied", "both"], &["both", "keep", "untie"]);
    misused(&place, &["--dry-run"], &["--dry-run", "cannot be used with"]);
    misused(&place, &["--against", "x"], &["--against", "--out"]);

    let source = place.src().display().to_string();
    let out = place.out().display().to_string();
    run([&source]).fails(2, &["say what to do: --out DIR, --dry-run, --stats or --verify"]);
    run([&source, "--out", &out]).fails(2, &["--format nvfp4"]);
    run([&source, "--out", &out, "--format", "int5"]).fails(2, &["int5", "--formats"]);
    run([&source, "--out", &out, "--export", "gguf"]).fails(2, &["gguf", "modelopt"]);
    run([&source, "--dry-run", "--overwrite"]).fails(2, &["--overwrite", "--dry-run"]);
    run([""; 0]).fails(2, &["CHECKPOINT"]);
    assert_eq!(place.listing(), ["recipe.toml", "src"]);
}

#[test]
fn devices_that_are_not_there() {
    let place = place();
    let ran = place.export(&["--device", "no such device"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    // Drivers may write to standard error too.
    let messages = ["error: there is no GPU that", "\"no such device\""];
    assert!(messages.iter().any(|message| ran.stderr.contains(message)), "{}", ran.stderr);
    assert_eq!(place.listing(), ["src"]);
}

#[test]
fn an_export_that_quantizes_nothing_is_none() {
    let place = place();
    let nothing = ["--preset", "experts", "-q"];
    place.export(&nothing).fails(6, &["no tensor would be quantized", "--include"]);
    assert_eq!(place.listing(), ["src"]);
}

/// Whether the tests run as a user whom permissions do not stop.
#[cfg(unix)]
fn is_root(place: &Place) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let locked = place.path("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    fs::create_dir(locked.join("probe")).is_ok()
}

#[cfg(unix)]
#[test]
fn folders_that_may_not_be_written_to() {
    let place = place();
    if is_root(&place) {
        eprintln!("running as root, whom permissions do not stop: the test did not run");
        return;
    }
    let (source, out) = (place.src(), place.path("locked/out"));
    let (source, out) = (source.display().to_string(), out.display().to_string());
    let ran = run([&source, "--format", "nvfp4", "--out", &out, "-q"]);
    ran.fails(1, &["cannot write into", "locked", "ermission denied"]);
    assert_eq!(fs::read_dir(place.path("locked")).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn files_that_cannot_grow() {
    use std::process::{Command, Stdio};
    let place = place();
    let script = "ulimit -f 8 || exit 99; exec \"$0\" --batch \"$@\" -q --device cpu";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_quantscope")]).stdin(Stdio::null());
    let ran = Ran::of(shell.args(place.export_args(&place.src(), &[])).output().unwrap());
    ran.fails(5, &["model.safetensors", "File too large"]);
    assert_eq!(place.listing(), ["src"]);
}

#[cfg(unix)]
#[test]
fn disks_that_are_too_small() {
    const ROWS: u64 = 1 << 20;
    const COLUMNS: u64 = 3 << 20;
    let place = Place::empty();
    let out_bytes = ROWS * COLUMNS / 16 * 9;
    let free = fs4::available_space(place.folder.path()).unwrap();
    let made = free < out_bytes && sparse(&place, ROWS, COLUMNS).is_ok();
    if !made {
        eprintln!("no sparse files of 6 TiB here, or a disk that large: the test did not run");
        return;
    }
    let ran = place.export(&["-q"]).fails(5, &["bytes free, but the export needs", "Free space"]);
    let needed = ran.stderr.split("needs ").nth(1).unwrap().split('.').next().unwrap();
    assert!((out_bytes..out_bytes + 4096).contains(&needed.parse().unwrap()), "{needed}");
    assert_eq!(place.listing(), ["src"]);
}

/// A source of one matrix of zeros, which takes no space on the disk.
fn sparse(place: &Place, rows: u64, columns: u64) -> std::io::Result<()> {
    fs::create_dir(place.src())?;
    let bytes = rows * columns * 2;
    let header = format!(
        r#"{{"model.layers.0.mlp.up_proj.weight":{{"dtype":"BF16","shape":[{rows},{columns}],"data_offsets":[0,{bytes}]}}}}"#
    );
    let file = place.src().join("model.safetensors");
    common::write_raw(&file, &header, &[]);
    let written = fs::metadata(&file)?.len();
    fs::OpenOptions::new().write(true).open(&file)?.set_len(written + bytes)
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_nothing() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};
    let place = Place::empty();
    sparse(&place, 1 << 14, 10_240).unwrap();
    let mut command = common::command(place.export_args(&place.src(), &["--threads", "1"]));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();

    // Writing has begun once there is a folder beside the source.
    let begun = Instant::now();
    while place.listing() == ["src"] {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing was written");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(place.listing().len(), 2);
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    Ran::of(child.wait_with_output().unwrap()).fails(130, &["stopped on request"]);
    assert_eq!(place.listing(), ["src"]);
}
