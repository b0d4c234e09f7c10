//! Exports made in parts, by several runs that know nothing of one another.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Place, Ran, language_model, read_json, run};
use quantscope::checkpoint::Checkpoint;
use quantscope::dialect::Dialect;
use quantscope::export::Part;
use quantscope::format::Format;
use quantscope::model::Model;
use quantscope::plan::{Plan, Sharding};
use quantscope::recipe::Recipe;
use safetensors::Dtype;

/// So small that parts of layers that share a scale are in several files.
const SHARDED: [&str; 2] = ["--max-shard-size", "20KB"];

fn place() -> Place {
    Place::with(&language_model(Dtype::BF16, 4))
}

fn part(place: &Place, part: &str, args: &[&str]) -> Ran {
    place.export(&[&SHARDED, &["--part", part][..], args].concat())
}

fn finish(place: &Place, args: &[&str]) -> Ran {
    place.export(&[&SHARDED, &["--finish"][..], args].concat())
}

/// Names of the files in a folder, and what is in them.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.map(|path| (path.file_name().unwrap().into(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

/// What one run writes, and its report.
fn whole(place: &Place) -> (Vec<(PathBuf, Vec<u8>)>, serde_json::Value) {
    let report = place.path("whole.json").display().to_string();
    place.export(&[&SHARDED[..], &["-q", "--report", &report]].concat()).ok();
    let written = (files(&place.out()), read_json(Path::new(&report)));
    fs::remove_dir_all(place.out()).unwrap();
    fs::remove_file(report).unwrap();
    written
}

#[test]
fn every_file_and_entry_is_of_one_part_and_parts_are_alike_in_size() {
    let place = place();
    let checkpoint = Checkpoint::open(&place.src()).unwrap();
    let dialect = Dialect::Modelopt;
    let model = Model::new(&checkpoint, dialect.fused_experts());
    let recipe = Recipe { format: Some(Format::Nvfp4), ..Recipe::default() };
    let plan = Plan::new(&model, &recipe, dialect, Sharding::AtMost(10_000)).unwrap();
    assert!(plan.files.len() > 8);
    for of in [1, 2, 3, 8, 100] {
        let parts: Vec<Part> = (1..=of).map(|number| Part { number, of }).collect();
        let owners = |own: &dyn Fn(Part) -> Vec<bool>, count: usize| {
            let own: Vec<Vec<bool>> = parts.iter().map(|part| own(*part)).collect();
            assert!((0..count).all(|i| own.iter().filter(|own| own[i]).count() == 1));
        };
        owners(&|part| part.files(&plan), plan.files.len());
        owners(&|part| part.entries(&plan), plan.entries.len());
        let bytes = |part: &Part| -> u64 {
            let own = part.files(&plan);
            let files = plan.files.iter().zip(own).filter(|(_, own)| *own);
            files.map(|(file, _)| file.bytes).sum()
        };
        let bytes: Vec<u64> = parts.iter().map(bytes).collect();
        let largest = plan.files.iter().map(|file| file.bytes).max().unwrap();
        assert!(bytes.iter().max().unwrap() - bytes.iter().min().unwrap() <= largest);
    }
}

#[test]
fn parts_in_any_order_give_the_bytes_and_the_report_of_one_run() {
    let place = place();
    let (expected, report) = whole(&place);
    assert!(expected.len() > 8, "{}", expected.len());
    for number in [3, 1, 2] {
        let ran = part(&place, &format!("{number}/3"), &[]).ok();
        assert!(ran.stdout.contains(&format!("part      {number}/3: ")), "{}", ran.stdout);
    }
    // A folder may be carried from one machine to another.
    let carried = place.path("out.quantscope-part-2-of-3");
    fs::rename(&carried, place.path("elsewhere")).unwrap();
    finish(&place, &["-q"]).fails(2, &["missing or not complete: 2/3", "--part"]);
    fs::rename(place.path("elsewhere"), carried).unwrap();

    let own = place.path("own.json").display().to_string();
    finish(&place, &["-q", "--report", &own]).ok();
    assert!(files(&place.out()) == expected);
    assert_eq!(place.listing(), ["out", "own.json", "src"]);
    assert_eq!(read_json(Path::new(&own)), report);
}

#[cfg(unix)]
#[test]
fn parts_that_an_interrupted_run_has_put_together_are_told_from_others() {
    let place = place();
    for number in 1..=2 {
        part(&place, &format!("{number}/2"), &["-q"]).ok();
    }
    // A second name for every file: what is left of a part is as it was before it was removed.
    let [one, two] = [1, 2].map(|number| place.path(&format!("out.quantscope-part-{number}-of-2")));
    let kept = place.path("kept");
    let linked = |from: &Path, to: &Path| {
        fs::create_dir_all(to.join("files")).unwrap();
        for entry in fs::read_dir(from.join("files")).unwrap().map(Result::unwrap) {
            fs::hard_link(entry.path(), to.join("files").join(entry.file_name())).unwrap();
        }
        fs::copy(from.join("journal"), to.join("journal")).unwrap();
    };
    linked(&two, &kept);
    finish(&place, &["-q"]).ok();
    let expected = files(&place.out());
    finish(&place, &["-q"]).fails(2, &["exists already"]);
    linked(&kept, &two);
    finish(&place, &["-q"]).fails(2, &["an earlier --finish", "out.quantscope-partial if"]);
    // Parts that were made since are others.
    fs::remove_dir_all(&two).unwrap();
    part(&place, "1/2", &["-q", "--overwrite"]).ok();
    part(&place, "2/2", &["-q", "--overwrite"]).ok();
    finish(&place, &["-q"]).fails(2, &["exists already"]);
    finish(&place, &["-q", "--overwrite"]).ok();
    assert!(files(&place.out()) == expected && !one.exists() && !two.exists());
}

#[test]
fn a_program_is_told_where_a_part_is() {
    let place = place();
    let ran = part(&place, "2/2", &["--json"]).ok();
    let events = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
    let events: Vec<serde_json::Value> = events.collect();
    let told = events.iter().find(|event| event["event"] == "part").unwrap();
    assert_eq!(told["part"], "2/2");
    let folder = Path::new(told["folder"].as_str().unwrap()).join("files");
    let names: Vec<_> =
        told["files"].as_array().unwrap().iter().map(|name| name.as_str()).collect();
    let mut stored = files(&folder);
    assert!(!names.is_empty() && names.len() == stored.len());
    assert!(names.iter().all(|name| folder.join(name.unwrap()).is_file()));
    let bytes: usize = stored.drain(..).map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(told["bytes"], bytes);
    assert_eq!(events.last().unwrap()["written"], serde_json::Value::Null);
}

#[test]
fn there_may_be_more_parts_than_files() {
    let place = place();
    let (expected, _) = whole(&place);
    let count = expected.len() + 2;
    let last = part(&place, &format!("{count}/{count}"), &[]).ok();
    assert!(last.stdout.contains("more parts than files"), "{}", last.stdout);
    for number in 1..count {
        part(&place, &format!("{number}/{count}"), &["-q"]).ok();
    }
    finish(&place, &["-q"]).ok();
    assert!(files(&place.out()) == expected);
}

#[test]
fn parts_that_do_not_belong_together_are_not_put_together() {
    let place = place();
    finish(&place, &["-q"]).fails(2, &["there are no parts beside", "--part"]);
    part(&place, "1/2", &["-q"]).ok();
    part(&place, "2/2", &["-q", "--exclude", "*.down_proj"]).ok();
    let before = place.listing();
    finish(&place, &["-q"]).fails(2, &["part-2-of-2", "recipe or the arguments are others"]);
    part(&place, "2/2", &["-q"]).fails(2, &["part-2-of-2", "--resume", "--overwrite"]);
    assert_eq!(place.listing(), before);
    part(&place, "2/2", &["-q", "--overwrite"]).ok();
    part(&place, "1/3", &["-q"]).ok();
    finish(&place, &["-q"]).fails(2, &["parts of 2 and of 3"]);
    fs::remove_dir_all(place.path("out.quantscope-part-1-of-3")).unwrap();

    // The same model with other weights is another source.
    let source = place.src().join("model.safetensors");
    let good = fs::read(&source).unwrap();
    let mut tuned = good.clone();
    tuned.iter_mut().skip(good.len() / 3).step_by(2).for_each(|byte| *byte ^= 1);
    fs::write(&source, tuned).unwrap();
    finish(&place, &["-q"])
        .fails(2, &["part-1-of-2", "its weights differ", "--part 1/2 --overwrite"]);
    fs::write(&source, good).unwrap();

    // Damage is found before anything gets a name, and the parts stay for whoever looks into it.
    let folder = place.path("out.quantscope-part-1-of-2/files");
    let (name, mut bytes) = files(&folder).remove(0);
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(folder.join(&name), &bytes).unwrap();
    finish(&place, &["-q"]).fails(3, &["did not pass verification"]);
    assert_eq!(place.listing(), before);
    // A source that was copied may have another time, but a part that goes on is of one and the same file.
    part(&place, "1/2", &["-q", "--resume"]).fails(2, &["written to since"]);
    part(&place, "1/2", &["-q", "--overwrite"]).ok();
    finish(&place, &["-q"]).ok();
    assert_eq!(place.listing(), ["out", "src"]);
}

#[test]
fn arguments_that_cannot_be_meant() {
    let place = place();
    part(&place, "3/2", &["-q"]).fails(2, &["3/2", "such as 2/8"]);
    part(&place, "1/2", &["--finish"]).fails(2, &["--finish"]);
    part(&place, "1/2", &["--report", "x.json"]).fails(2, &["--report"]);
    let src = place.src().display().to_string();
    run([&src, "--part", "1/2", "--stats"]).fails(2, &["--part"]);
    assert_eq!(place.listing(), ["src"]);

    let model = common::data("onnx");
    let model = fs::read_dir(model).unwrap().map(|entry| entry.unwrap().path());
    let model = model.filter(|path| path.extension().is_some_and(|ending| ending == "onnx")).min();
    let model = model.expect("there is a model").display().to_string();
    let out = place.out().display().to_string();
    let args = [&model, "--format", "int8", "--out", &out, "--part", "1/2", "-q"];
    let ran = run(args);
    assert_ne!(ran.code, Some(0));
    assert_eq!(place.listing(), ["src"]);
}

/// The environment of a script: the program, what to export, and how many parts.
fn with_job(command: &mut Command, place: &Place, parts: usize) {
    command.env("QUANTSCOPE", env!("CARGO_BIN_EXE_quantscope")).env("PARTS", parts.to_string());
    command.env("MODEL", place.src()).env("OUT", place.out());
    command.env("ARGS", format!("--format nvfp4 --device cpu -q {} {}", SHARDED[0], SHARDED[1]));
}

fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/cluster").join(name)
}

#[cfg(unix)]
#[test]
fn the_script_for_slurm_gives_the_bytes_of_one_run() {
    let place = place();
    let (expected, _) = whole(&place);
    for task in [2, 1, 3] {
        let mut job = Command::new("bash");
        job.arg(example("slurm-part.sh")).env("SLURM_ARRAY_TASK_ID", task.to_string());
        with_job(&mut job, &place, 3);
        Ran::of(job.output().unwrap()).ok();
    }
    let mut job = Command::new("bash");
    with_job(job.arg(example("slurm-finish.sh")), &place, 3);
    Ran::of(job.output().unwrap()).ok();
    assert!(files(&place.out()) == expected);
}

#[test]
fn the_program_for_ray_gives_the_bytes_of_one_run() {
    let Some(python) = std::env::var_os("QUANTSCOPE_PYTHON") else {
        eprintln!("QUANTSCOPE_PYTHON is not set: the test did not run");
        return;
    };
    // A Ray that cannot start here says nothing of the program.
    let starts = "import signal; signal.alarm(90); import ray; ray.init(); ray.shutdown()";
    if !Command::new(&python).args(["-c", starts]).output().unwrap().status.success() {
        eprintln!("Ray is not installed, or does not start: the test did not run");
        return;
    }
    let place = place();
    let (expected, _) = whole(&place);
    let mut program = Command::new(python);
    program.arg(example("ray_export.py")).args(["--parts", "3"]).arg(place.src()).arg(place.out());
    program.args(["--", "--format", "nvfp4", "--device", "cpu", "-q"]).args(SHARDED);
    program.env("QUANTSCOPE", env!("CARGO_BIN_EXE_quantscope"));
    Ran::of(program.output().unwrap()).ok();
    assert!(files(&place.out()) == expected);
    assert_eq!(place.listing(), ["out", "src"]);
}
