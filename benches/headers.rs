//! Seconds and memory of what needs headers only, next to the time to merely read their bytes.
//!
//! `cargo bench --bench headers` makes checkpoints of about 100,000 tensors that take no room on the disk;
//! `cargo bench --bench headers -- CHECKPOINT [ARGUMENT...]` takes one that is there, and arguments of
//! `--dry-run`. Each step is a process of its own, so that its peak memory is its own too; the shortest of
//! several repetitions is shown, and the most memory.

#[path = "../tests/common/sparse.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod sparse;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::Parser;
use quantscope::batch::{self, Args};
use quantscope::checkpoint::{Checkpoint, index::INDEX_FILE};
use quantscope::model::Model;
use quantscope::plan::{Plan, Sharding};
use sparse::{Experts, write_sparse};

const REPETITIONS: usize = 5;
const STEPS: [&str; 4] = ["read", "open", "plan", "dry-run"];
/// What tells a process that it is to do one step.
const STEP: &str = "step";

fn main() {
    // Cargo adds an argument of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match arguments.as_slice() {
        [first, step, rest @ ..] if first == STEP => take(step, rest),
        [] => {
            let folder = tempfile::tempdir().expect("there is room for a few files");
            for (name, layers, experts, stored, shards) in [
                ("experts one by one in 200 shards", 65, 512, Experts::Single, 200),
                ("experts one by one in one file", 65, 512, Experts::Single, 1),
                ("fused experts in 20 shards", 65, 512, Experts::Fused, 20),
            ] {
                let checkpoint = folder.path().join(name);
                write_sparse(&checkpoint, layers, experts, stored, shards);
                println!("{name}");
                report(&[checkpoint.display().to_string(), "--format=nvfp4".to_owned()]);
            }
        }
        arguments => report(arguments),
    }
}

/// Prints a line for each step.
fn report(arguments: &[String]) {
    let mut read = f64::NAN;
    for step in STEPS {
        let runs: Vec<[f64; 2]> = (0..REPETITIONS).map(|_| run(step, arguments)).collect();
        let seconds = runs.iter().map(|[seconds, _]| *seconds).fold(f64::INFINITY, f64::min);
        let mebibytes = runs.iter().map(|[_, memory]| *memory).fold(0.0, f64::max);
        if step == STEPS[0] {
            read = seconds;
        }
        let ratio = seconds / read;
        println!(
            "  {step:<8} {seconds:>8.3} s {mebibytes:>8.1} MiB {ratio:>8.1} of reading headers"
        );
    }
}

/// The seconds and mebibytes of a step in a process of its own.
fn run(step: &str, arguments: &[String]) -> [f64; 2] {
    let program = std::env::current_exe().expect("this program is a file");
    let output = Command::new(program).args([STEP, step]).args(arguments).output();
    let output = output.expect("this program can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    match numbers[..] {
        [seconds, mebibytes] => [seconds, mebibytes],
        _ => panic!("{step} failed: {text}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Does one step and prints its seconds, and the most memory that this process had.
fn take(step: &str, arguments: &[String]) {
    let path = PathBuf::from(&arguments[0]);
    let args =
        ["quantscope", "--batch", "--dry-run"].into_iter().chain(arguments.iter().map(|a| &**a));
    let args = Args::parse_from(args);
    let start = Instant::now();
    let open = || Checkpoint::open(&path).expect("it is a checkpoint");
    // What a step makes is dropped in its time, as it is when the program ends.
    match step {
        "read" => {
            read_headers(&path);
        }
        "open" => drop(open()),
        "plan" => {
            let checkpoint = open();
            let recipe = args.recipe().expect("the arguments are a recipe");
            let dialect = recipe.dialect_for(&checkpoint);
            let model = Model::new(&checkpoint, dialect.fused_experts());
            let plan = Plan::new(&model, &recipe, dialect, Sharding::AsSource);
            drop(plan.expect("there is a plan"));
        }
        _ => {
            let done = batch::run(&args, &AtomicBool::new(false), None, &mut std::io::sink());
            done.expect("the plan is made");
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{seconds} {}", peak_mebibytes());
}

/// Reads all headers and the index, and makes nothing of them.
fn read_headers(path: &Path) -> u64 {
    let files = match path.is_dir() {
        true => std::fs::read_dir(path).expect("it is a folder").map(|f| f.expect("a file").path()),
        false => return read_header(path),
    };
    let read = |file: PathBuf| match file.extension().is_some_and(|e| e == "safetensors") {
        true => read_header(&file),
        false if file.ends_with(INDEX_FILE) => std::fs::read(file).map_or(0, |b| b.len() as u64),
        false => 0,
    };
    files.map(read).sum()
}

fn read_header(file: &Path) -> u64 {
    let mut file = File::open(file).expect("the file is there");
    let mut length = [0; 8];
    file.read_exact(&mut length).expect("it has a header");
    let length = u64::from_le_bytes(length);
    let mut header = Vec::with_capacity(length as usize);
    file.take(length).read_to_end(&mut header).expect("it has a header");
    header.len() as u64
}

/// The most memory that this process had, where the system says it.
fn peak_mebibytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kibibytes.map_or(f64::NAN, |kibibytes| kibibytes / 1024.0)
}
