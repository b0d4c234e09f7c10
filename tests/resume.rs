//! Exports that are killed, and gone on with.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Place, Ran, Random, Stored, command, language_model, run};
use safetensors::Dtype;

const PARTIAL: &str = "out.quantscope-partial";

/// A place whose export takes some hundred jobs.
fn place() -> Place {
    let projection = |layer: usize, name: &str| format!("model.layers.{layer}.mlp.{name}.weight");
    let mut tensors = language_model(Dtype::BF16, 1);
    tensors.extend((1..8).flat_map(|layer| {
        let up = Stored::weights(&projection(layer, "up_proj"), Dtype::BF16, &[512, 256]);
        let gate = Stored::weights(&projection(layer, "gate_proj"), Dtype::BF16, &[512, 256]);
        let down = Stored::weights(&projection(layer, "down_proj"), Dtype::F32, &[256, 512]);
        [up, gate, down]
    }));
    Place::with(&tensors)
}

/// All files in a folder and below it, with what is in them.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let below = files(&path);
            let name = |file: PathBuf| Path::new(path.file_name().unwrap()).join(file);
            found.extend(below.into_iter().map(|(file, bytes)| (name(file), bytes)));
        } else {
            found.insert(path.file_name().unwrap().into(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Begins an export and kills it after a time; whether it was still running.
fn killed(place: &Place, args: &[&str], after: Duration) -> bool {
    let mut child =
        command(place.export_args(&place.src(), &[&["-q"], args].concat())).spawn().unwrap();
    std::thread::sleep(after);
    let running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    running
}

#[test]
fn killed_at_fifty_random_moments_it_is_gone_on_with_to_the_same_bytes() {
    let place = place();
    let begun = Instant::now();
    place.export(&["-q"]).ok();
    let lasts = begun.elapsed();
    let expected = files(&place.out());
    assert!(expected.len() >= 3);

    let mut random = Random(2026);
    let (mut partial, mut went_on) = (0, 0);
    for round in 0..50 {
        // Every other time there is an earlier export that is to be replaced.
        let replaces = round % 2 == 1;
        let sharded = ["--max-shard-size", "100MB"];
        let args: &[&str] = if replaces { &["--overwrite"] } else { &[] };
        if !replaces {
            fs::remove_dir_all(place.out()).unwrap();
        }
        let after = lasts.mul_f64(random.below(1000) as f64 / 950.0);
        killed(&place, &[args, &sharded].concat(), after);

        let left = place.listing();
        assert!(
            left.iter().all(|name| ["out", PARTIAL, "src"].contains(&name.as_str())),
            "{left:?}"
        );
        if place.out().exists() {
            assert!(files(&place.out()) == expected, "what has the name is whole");
        } else {
            assert!(!replaces || place.path(PARTIAL).join("replaced").is_dir());
        }
        // Where it was published and only tidying up was interrupted, the output is there.
        let args: &[&str] = if place.out().exists() { &["--overwrite"] } else { args };
        if left.iter().any(|name| name == PARTIAL) {
            partial += 1;
            if fs::metadata(place.path(PARTIAL).join("journal")).is_ok_and(|j| j.len() > 2000) {
                went_on += 1;
            }
            place.export(&[&["-q", "--resume"], args, &sharded].concat()).ok();
        } else if !place.out().exists() {
            place.export(&[&["-q", "--resume"], args, &sharded].concat()).ok();
        }
        assert!(files(&place.out()) == expected, "after {after:?}");
        assert_eq!(place.listing(), ["out", "src"]);
    }
    assert!(partial >= 20 && went_on >= 10, "{partial} were interrupted, {went_on} in the middle");
}

/// A place with a partial export, killed when so many jobs were done.
fn interrupted(args: &[&str]) -> Place {
    let place = place();
    interrupted_in(&place, args);
    place
}

/// The same where there is a source already; gives the journal.
fn interrupted_in(place: &Place, args: &[&str]) -> PathBuf {
    let mut child =
        command(place.export_args(&place.src(), &[&["-q"], args].concat())).spawn().unwrap();
    let journal = place.path(PARTIAL).join("journal");
    while fs::metadata(&journal).map_or(0, |journal| journal.len()) < 4000 {
        assert!(child.try_wait().unwrap().is_none(), "it is over");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    journal
}

#[test]
fn what_is_left_is_neither_lost_nor_taken_for_something_else() {
    let place = interrupted(&[]);
    let before = files(&place.path(PARTIAL));
    place.export(&["-q"]).fails(2, &[PARTIAL, "--resume", "--overwrite"]);
    let other = |args: &[&str], parts: &[&str]| {
        place.export(&[&["-q", "--resume"], args].concat()).fails(2, &[&[PARTIAL], parts].concat());
    };
    other(&["--exclude", "*.5.*"], &["recipe or the arguments are others"]);
    other(&["--scale-search", "mse"], &["recipe or the arguments are others"]);
    other(&["--max-shard-size", "1MB"], &["recipe or the arguments are others"]);
    let (src, out) = (place.src().display().to_string(), place.out().display().to_string());
    run([&src, "--format", "fp8", "--out", &out, "--resume"]).fails(2, &["recipe"]);

    let weights = place.src().join("model.safetensors");
    let (bytes, written) = (fs::read(&weights).unwrap(), fs::metadata(&weights).unwrap());
    let write = |bytes: &[u8], modified| {
        fs::write(&weights, bytes).unwrap();
        let file = fs::File::options().write(true).open(&weights).unwrap();
        file.set_modified(modified).unwrap();
    };
    let modified = written.modified().unwrap();
    write(&bytes, modified + Duration::from_secs(1));
    other(&[], &["model.safetensors of the source is another", "written to since"]);
    let mut tuned = bytes.clone();
    tuned.iter_mut().skip(bytes.len() / 2).step_by(2).take(10_000).for_each(|byte| *byte ^= 1);
    write(&tuned, modified);
    other(&[], &["model.safetensors of the source is another", "its weights differ"]);
    let mut renamed = bytes.clone();
    let at = renamed.windows(12).position(|word| word == b"layers.7.mlp").unwrap();
    renamed[at..at + 12].copy_from_slice(b"layers.9.mlp");
    write(&renamed, modified);
    other(&[], &["model.safetensors of the source is another", "header differs"]);
    write(&bytes, modified);
    assert!(files(&place.path(PARTIAL)) == before, "nothing of it was touched");

    place.export(&["-q", "--resume"]).ok();
    let resumed = files(&place.out());
    place.export(&["-q", "--overwrite"]).ok();
    assert!(files(&place.out()) == resumed);
}

/// A state that a kill just after publishing leaves: what was replaced is not removed yet. Gives the output.
fn published(place: &Place, old: bool) -> BTreeMap<PathBuf, Vec<u8>> {
    let partial = place.path(PARTIAL);
    let args = place.export_args(&place.src(), &["-q", "--resume"]);
    let mut child = command(args).stderr(std::process::Stdio::null()).spawn().unwrap();
    while fs::metadata(partial.join("journal")).map_or(0, |journal| journal.len()) < 4000 {
        assert!(child.try_wait().unwrap().is_none(), "it is over");
        std::thread::sleep(Duration::from_millis(1));
    }
    // It ends with all done, and cannot be published.
    fs::create_dir(place.out()).unwrap();
    fs::write(place.out().join("thesis"), "x").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2));
    fs::remove_dir_all(place.out()).unwrap();
    fs::rename(partial.join("files"), place.out()).unwrap();
    fs::create_dir(partial.join("published")).unwrap();
    if old {
        fs::create_dir(partial.join("published/out")).unwrap();
        fs::write(partial.join("published/out/half of what was replaced"), "").unwrap();
    }
    files(&place.out())
}

#[test]
fn published_and_not_tidied_up_it_is_verified_where_it_is() {
    for (old, args) in
        [(false, vec!["-q", "--resume"]), (true, vec!["-q", "--resume", "--overwrite"])]
    {
        let place = place();
        let expected = published(&place, old);
        let report = place.path("report.json").display().to_string();
        place.export(&[&args[..], &["--report", &report]].concat()).ok();
        assert!(files(&place.out()) == expected, "{old}");
        assert_eq!(place.listing(), ["out", "report.json", "src"]);
        let resumed = fs::read_to_string(&report).unwrap();
        place.export(&["-q", "--overwrite", "--report", &report]).ok();
        assert!(files(&place.out()) == expected, "{old}");
        assert_eq!(fs::read_to_string(&report).unwrap(), resumed);
    }
}

#[test]
fn with_only_the_journal_left_to_remove_it_is_done() {
    let place = place();
    let expected = published(&place, false);
    fs::remove_dir(place.path(PARTIAL).join("published")).unwrap();
    place.export(&["-q"]).fails(2, &["exists already"]);
    place.export(&["-q", "--resume"]).ok();
    assert!(files(&place.out()) == expected);
    assert_eq!(place.listing(), ["out", "src"]);
}

#[test]
fn what_somebody_did_to_it_since_is_left_alone() {
    let place = place();
    published(&place, false);
    fs::write(place.out().join("NOTES.md"), "mine").unwrap();
    place.export(&["-q", "--resume"]).ok();
    assert_eq!(fs::read_to_string(place.out().join("NOTES.md")).unwrap(), "mine");
    assert_eq!(place.listing(), ["out", "src"]);
    fs::remove_dir_all(place.out()).unwrap();

    published(&place, false);
    fs::remove_file(place.out().join("hf_quant_config.json")).unwrap();
    place.export(&["-q", "--resume"]).fails(2, &["hf_quant_config.json is missing"]);
    fs::remove_dir_all(place.out()).unwrap();
    fs::remove_dir_all(place.path(PARTIAL)).unwrap();

    published(&place, true);
    let weights = place.out().join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    bytes[9000] ^= 1;
    fs::write(&weights, &bytes).unwrap();
    place.export(&["-q", "--resume"]).fails(2, &["out was finished by a run", "--overwrite"]);
    assert!(fs::read(&weights).unwrap() == bytes);
    fs::remove_dir_all(place.out()).unwrap();
    fs::create_dir(place.out()).unwrap();
    fs::write(place.out().join("thesis"), "x").unwrap();
    for args in [&["-q", "--resume"][..], &["-q"], &["-q", "--overwrite"]] {
        place.export(args).fails(2, &["out"]);
        assert_eq!(fs::read_to_string(place.out().join("thesis")).unwrap(), "x");
    }
}

#[cfg(unix)]
#[test]
fn behind_a_link_the_folder_is_found_too() {
    let place = place();
    fs::create_dir(place.path("real")).unwrap();
    fs::create_dir(place.path("real/v1")).unwrap();
    fs::write(place.path("real/v1/hf_quant_config.json"), "{}").unwrap();
    std::os::unix::fs::symlink("real/v1", place.out()).unwrap();
    let partial = place.path("real/v1.quantscope-partial");
    fs::create_dir(&partial).unwrap();
    fs::create_dir_all(partial.join("replaced")).unwrap();
    fs::create_dir(partial.join("files")).unwrap();
    fs::rename(place.path("real/v1"), partial.join("replaced/v1")).unwrap();
    place.export(&["-q", "--resume", "--overwrite"]).ok();
    assert!(place.path("real/v1/model.safetensors").exists());
    assert_eq!(fs::read_dir(place.path("real")).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn what_was_copied_is_copied_again() {
    use std::os::unix::fs::PermissionsExt;
    let place = interrupted(&[]);
    let files = place.path(PARTIAL).join("files");
    fs::create_dir(files.join("old")).unwrap();
    for name in ["config.json", "gone.txt", "old/gone.txt"] {
        fs::write(files.join(name), "old").unwrap();
        fs::set_permissions(files.join(name), fs::Permissions::from_mode(0o444)).unwrap();
    }
    place.export(&["-q", "--resume"]).ok();
    let names: Vec<PathBuf> = self::files(&place.out()).into_keys().collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(fs::read_to_string(place.out().join("config.json")).unwrap().len() > 10);
}

#[test]
fn without_a_journal_that_can_be_read_nothing_is_touched_unless_told() {
    let flip = |journal: &mut Vec<u8>| journal[30] ^= 1;
    for damage in [flip, |journal: &mut Vec<u8>| journal.clear()] {
        let place = place();
        let journal = interrupted_in(&place, &[]);
        let mut bytes = fs::read(&journal).unwrap();
        damage(&mut bytes);
        fs::write(&journal, bytes).unwrap();
        let before = files(&place.path(PARTIAL));
        for args in [&["-q"][..], &["-q", "--resume"]] {
            place.export(args).fails(2, &[PARTIAL, "journal is damaged", "--overwrite"]);
        }
        assert!(files(&place.path(PARTIAL)) == before);
        place.export(&["-q", "--overwrite"]).ok();
        assert_eq!(place.listing(), ["out", "src"]);
    }
}

#[test]
fn overwriting_begins_anew() {
    let place = interrupted(&[]);
    place.export(&["-q", "--overwrite"]).ok();
    assert_eq!(place.listing(), ["out", "src"]);
}

#[test]
fn what_was_damaged_meanwhile_is_made_again() {
    let place = interrupted(&["--threads", "1"]);
    let weights = place.path(PARTIAL).join("files/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    // The first tensor's data, which was written first, and the header.
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let written = bytes[8 + header..].iter().position(|&byte| byte != 0).unwrap() + 8 + header;
    bytes[written] ^= 0x11;
    bytes[20] ^= 0x11;
    fs::write(&weights, bytes).unwrap();
    place.export(&["-q", "--resume"]).ok();
    let resumed = files(&place.out());
    place.export(&["-q", "--overwrite"]).ok();
    assert!(files(&place.out()) == resumed);

    let place = interrupted(&[]);
    fs::remove_dir_all(place.path(PARTIAL).join("files")).unwrap();
    place.export(&["-q", "--resume"]).ok();
    assert!(files(&place.out()) == resumed);
}

#[cfg(unix)]
#[test]
fn stopped_with_resume_it_stays_and_says_so() {
    use std::process::{Command, Stdio};
    for (args, left) in
        [(["--threads", "1"], vec!["src"]), (["--threads", "1"], vec![PARTIAL, "src"])]
    {
        let place = place();
        let resume: &[&str] = if left.len() == 2 { &["--resume"] } else { &[] };
        let mut command = command(place.export_args(&place.src(), &[&args, resume].concat()));
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !place.path(PARTIAL).join("files/model.safetensors").exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!(place.listing(), left);
        let ran = ran.fails(130, &["stopped on request"]);
        assert_eq!(
            ran.stderr.contains("--resume goes on with it"),
            left.len() == 2,
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_folder_of_that_name_with_something_else_in_it_is_left_alone() {
    let place = place();
    fs::create_dir(place.path(PARTIAL)).unwrap();
    fs::write(place.path(PARTIAL).join("thesis"), "x").unwrap();
    for args in [&["-q"][..], &["-q", "--resume"], &["-q", "--overwrite"]] {
        place.export(args).fails(2, &[PARTIAL, "holds something else"]);
    }
    assert_eq!(fs::read_to_string(place.path(PARTIAL).join("thesis")).unwrap(), "x");
    assert_eq!(place.listing(), [PARTIAL, "src"]);
}

#[test]
fn another_run_that_is_at_work_is_left_alone() {
    let place = place();
    fs::create_dir(place.path(PARTIAL)).unwrap();
    let journal = fs::File::create(place.path(PARTIAL).join("journal")).unwrap();
    journal.try_lock().unwrap();
    for args in [&["-q"][..], &["-q", "--resume"], &["-q", "--overwrite"]] {
        place.export(args).fails(2, &["another run is at work in", PARTIAL]);
    }
    drop(journal);
    place.export(&["-q"]).ok();
    assert_eq!(place.listing(), ["out", "src"]);
}
