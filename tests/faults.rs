//! What the machine does wrong, done to it on purpose: devices that fail, files that change or cannot be read,
//! disks and folders of every kind, two runs at once. Each ends in the right bytes or in a clear error.

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::{Place, Ran, command, files, language_model, run, write_single};
use quantscope::backend::{
    Backend, BackendError, Fault, GridCell, Grouped, GroupedChunk, Nvfp4Chunk, Quantized, TieMatch,
    Weights,
};
use quantscope::checkpoint::{Checkpoint, CheckpointError};
use quantscope::cpu::Cpu;
use quantscope::dialect::Dialect;
use quantscope::engine::{EngineError, Progress, Resources, Run};
use quantscope::export::repair::{RepairStage, repair};
use quantscope::export::{ExportError, Exported, NotExported, Options, dequantize, export};
use quantscope::fallback::Fallback;
use quantscope::format::{Coder, Nvfp4Tables, Scheme};
use quantscope::model::Model;
use quantscope::numeric::FloatKind;
use quantscope::plan::{Plan, Sharding};
use quantscope::quantized::{self, Outputs, Stated};
use quantscope::recipe::Recipe;
use quantscope::stats::{ErrorSums, WeightSums};
use safetensors::Dtype;

/// The CPU, from some call on with a fault: until it has shrunk so often, or for ever.
struct Failing {
    fault: Fault,
    first: usize,
    calls: AtomicUsize,
    shrinks: AtomicUsize,
    /// How often it can shrink, and whether the last time helps.
    can_shrink: usize,
    recovers: bool,
}

impl Failing {
    fn new(fault: Fault, first: usize, can_shrink: usize, recovers: bool) -> Self {
        let (calls, shrinks) = Default::default();
        Self { fault, first, calls, shrinks, can_shrink, recovers }
    }

    fn call<T>(&self, work: impl FnOnce() -> Result<T, BackendError>) -> Result<T, BackendError> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let recovered = self.recovers && self.shrinks.load(Ordering::Relaxed) >= self.can_shrink;
        if number < self.first || recovered {
            return work();
        }
        let (device, message) = ("Device X".to_owned(), "it went dark".to_owned());
        Err(BackendError { device, fault: self.fault, message })
    }
}

impl Backend for Failing {
    fn name(&self) -> &str {
        "Device X"
    }

    fn useful_callers(&self) -> usize {
        3
    }

    fn chunk_bytes(&self) -> u64 {
        4096
    }

    fn shrink(&self) -> bool {
        let can = self.shrinks.load(Ordering::Relaxed) < self.can_shrink;
        self.shrinks.fetch_add(can.into(), Ordering::Relaxed);
        can
    }

    fn amax(&self, weights: Weights<'_>) -> Result<u32, BackendError> {
        self.call(|| Cpu.amax(weights))
    }

    fn nvfp4_quantize(
        &self,
        weights: Weights<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<Quantized, BackendError> {
        self.call(|| Cpu.nvfp4_quantize(weights, tables))
    }

    fn nvfp4_dequantize(
        &self,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<Vec<f32>, BackendError> {
        self.call(|| Cpu.nvfp4_dequantize(chunk, tables))
    }

    fn nvfp4_errors(
        &self,
        weights: Weights<'_>,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<(WeightSums, ErrorSums), BackendError> {
        self.call(|| Cpu.nvfp4_errors(weights, chunk, tables))
    }

    fn nvfp4_match(
        &self,
        weights: Weights<'_>,
        chunk: Nvfp4Chunk<'_>,
        tables: &Nvfp4Tables,
    ) -> Result<TieMatch, BackendError> {
        self.call(|| Cpu.nvfp4_match(weights, chunk, tables))
    }

    fn grouped_quantize(
        &self,
        weights: Weights<'_>,
        columns: usize,
        coder: &Coder,
    ) -> Result<Grouped, BackendError> {
        self.call(|| Cpu.grouped_quantize(weights, columns, coder))
    }

    fn grouped_dequantize(
        &self,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
    ) -> Result<Vec<f32>, BackendError> {
        self.call(|| Cpu.grouped_dequantize(chunk, scheme))
    }

    fn grouped_errors(
        &self,
        weights: Weights<'_>,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
    ) -> Result<(WeightSums, ErrorSums), BackendError> {
        self.call(|| Cpu.grouped_errors(weights, chunk, scheme))
    }

    fn grouped_match(
        &self,
        weights: Weights<'_>,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
        made_of: FloatKind,
    ) -> Result<TieMatch, BackendError> {
        self.call(|| Cpu.grouped_match(weights, chunk, scheme, made_of))
    }

    fn halve(&self, cells: &[GridCell], columns: usize) -> Result<Vec<GridCell>, BackendError> {
        self.call(|| Cpu.halve(cells, columns))
    }
}

/// Does something once, when some work is done.
struct Meanwhile<F: Fn() + Sync>(F, AtomicBool);

impl<F: Fn() + Sync> Progress for Meanwhile<F> {
    fn add(&self, _: u64) {
        if !self.1.swap(true, Ordering::Relaxed) {
            self.0();
        }
    }
}

/// Exports `src` of a place to a folder in it; `meanwhile` happens when the first chunk is done.
fn exported(
    place: &Place,
    out: &str,
    (format, dialect): (&str, Dialect),
    backend: &dyn Backend,
    meanwhile: impl Fn() + Sync,
) -> Result<Exported, NotExported> {
    let checkpoint = Checkpoint::open(&place.src()).unwrap();
    let model = Model::new(&checkpoint, dialect.fused_experts());
    let recipe: Recipe = toml::from_str(&format!("format = '{format}'")).unwrap();
    let plan = Plan::new(&model, &recipe, dialect, Sharding::AsSource).unwrap();
    let (progress, cancel) = (Meanwhile(meanwhile, false.into()), AtomicBool::new(false));
    let resources = Resources { backend, workers: 3, progress: &progress, cancel: &cancel };
    let run = Run { checkpoint: &checkpoint, plan: &plan, sink: None, resources };
    let out = place.path(out);
    let options =
        Options { out: &out, overwrite: false, strict: false, sync: false, resume: false };
    export(&run, &options, &|_, _| {})
}

const NVFP4: (&str, Dialect) = ("nvfp4", Dialect::Modelopt);

#[test]
fn a_device_that_fails_in_a_run_costs_no_byte() {
    let place = Place::with(&language_model(Dtype::BF16, 3));
    let broken = ["Device X: it went dark. The CPU goes on; the bytes are the same"];
    let half = ["Device X ran out of memory: it works on pieces of half the size"];
    let quarter = ["Device X ran out of memory: it works on pieces of 1/4 of the size"];
    let both = [quarter[0], broken[0]];
    for (number, choice) in
        [NVFP4, ("int4-g32", Dialect::CompressedTensors)].into_iter().enumerate()
    {
        let cpu = format!("cpu{number}");
        assert!(exported(&place, &cpu, choice, &Cpu, || {}).unwrap().notices.is_empty());
        let right = files(&place.path(&cpu));
        let of = Failing::new;
        let (memory, dark) = (Fault::OutOfMemory, Fault::Broken);
        for (i, (device, notices)) in [
            (of(dark, usize::MAX, 0, false), &[][..]),
            (of(dark, 0, 9, false), &broken),
            (of(dark, 7, 0, false), &broken),
            (of(memory, 0, 1, true), &half),
            (of(memory, 5, 2, true), &quarter),
            (of(memory, 5, 2, false), &both),
            (of(memory, 11, 0, false), &broken),
        ]
        .into_iter()
        .enumerate()
        {
            let out = format!("out{number}-{i}");
            let done = exported(&place, &out, choice, &Fallback::new(device), || {}).unwrap();
            assert_eq!(done.notices, notices, "{choice:?} {i}");
            assert!(files(&place.path(&out)) == right, "{choice:?} {i}: other bytes");
        }
    }
}

#[test]
fn without_the_cpu_behind_it_a_device_that_fails_leaves_nothing() {
    let place = Place::with(&language_model(Dtype::BF16, 2));
    let failing = Failing::new(Fault::Broken, 4, 0, false);
    let error = exported(&place, "out", NVFP4, &failing, || {}).unwrap_err().to_string();
    assert_eq!(error, "Device X: it went dark. Try again with --device cpu");
    assert_eq!(place.listing(), ["src"]);
}

/// The weight file of a place.
fn weights(place: &Place) -> PathBuf {
    place.src().join("model.safetensors")
}

/// An export during which the source changes: its error.
#[track_caller]
fn changed(model: &[common::Stored], change: impl Fn(&Path) + Sync) -> CheckpointError {
    let place = Place::with(model);
    let ended = exported(&place, "out", NVFP4, &Cpu, || change(&weights(&place)));
    assert_eq!(place.listing(), ["src"]);
    match ended.unwrap_err() {
        NotExported::Failed(
            ExportError::Checkpoint(error) | ExportError::Engine(EngineError::Read(error)),
        ) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_source_that_changes_while_it_is_read_gives_no_output() {
    // Larger than what the first chunks take.
    let model = language_model(Dtype::F32, 40);
    let bytes = {
        let place = Place::with(&model);
        fs::metadata(weights(&place)).unwrap().len()
    };
    let file = |path: &Path| File::options().write(true).open(path).unwrap();

    let error = changed(&model, |path| file(path).set_len(bytes / 2).unwrap()).to_string();
    let shorter = format!("it became shorter, from {bytes} to {} bytes", bytes / 2);
    assert!(error.contains("model.safetensors was changed while it was read"), "{error}");
    assert!(error.contains(&shorter) && error.ends_with("nobody writes to it"), "{error}");

    let error = changed(&model, |path| file(path).set_len(bytes + 8).unwrap()).to_string();
    assert!(error.contains(&format!("longer, from {bytes} to {} bytes", bytes + 8)), "{error}");

    // The same bytes, but who knows what was there in between.
    let error = changed(&model, |path| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let all = fs::read(path).unwrap();
        file(path).write_all(&all).unwrap();
    });
    assert!(error.to_string().contains(&format!("its {bytes} bytes were written to")), "{error}");

    let error = changed(&model, |path| fs::remove_file(path).unwrap()).to_string();
    assert!(error.contains("cannot read") && error.contains("model.safetensors"), "{error}");
}

#[test]
fn quantized_sources_must_not_change_either() {
    let place = Place::with(&language_model(Dtype::BF16, 2));
    place.export(&[]).ok();
    let source = place.path("quantized");
    fs::rename(place.out(), &source).unwrap();
    // Without this the checkpoint would be sound, and not be written.
    fs::copy(place.src().join("config.json"), source.join("config.json")).unwrap();
    fs::remove_file(source.join("hf_quant_config.json")).unwrap();
    let write = || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let file = source.join("model.safetensors");
        let all = fs::read(&file).unwrap();
        File::options().write(true).open(&file).unwrap().write_all(&all).unwrap();
    };
    let (out, cancel) = (place.out(), AtomicBool::new(false));
    let options =
        Options { out: &out, overwrite: false, strict: false, sync: false, resume: false };

    let idle = Meanwhile(|| {}, false.into());
    let resources = Resources { backend: &Cpu, workers: 2, progress: &idle, cancel: &cancel };
    let changing = |stage, _| {
        if stage == RepairStage::Verify {
            write()
        }
    };
    let repaired = repair(&source, &options, Sharding::AsSource, &resources, &changing);
    let error = repaired.unwrap_err().to_string();
    assert!(error.contains("model.safetensors was changed while it was read"), "{error}");

    let checkpoint = Checkpoint::open(&source).unwrap();
    let stated = Stated::of(&checkpoint);
    let layers = quantized::find(&checkpoint, None, stated.ignore_list(), stated.dialect);
    let outputs = Outputs::Float(quantized::float_type(&checkpoint));
    let plan = quantized::plan(&checkpoint, &layers, outputs, Sharding::AsSource);
    let progress = Meanwhile(write, false.into());
    let resources = Resources { progress: &progress, ..resources };
    let floats = dequantize(&checkpoint, &layers, &plan, &options, &resources);
    let error = floats.unwrap_err().to_string();
    assert!(error.contains("bytes were written to"), "{error}");
    assert_eq!(place.listing(), ["quantized", "src"]);
}

#[test]
fn a_model_that_becomes_shorter_is_an_error_too() {
    let place = Place::empty();
    let file = place.path("model.onnx");
    fs::copy(common::onnx_model("untied"), &file).unwrap();
    let before = fs::metadata(&file).unwrap().len();
    let checkpoint = Checkpoint::open(&file).unwrap();
    let recipe: Recipe = toml::from_str("format = 'int4-g32'").unwrap();
    let model = Model::new(&checkpoint, Dialect::Onnx.fused_experts());
    let plan = Plan::new(&model, &recipe, Dialect::Onnx, Sharding::AsSource).unwrap();
    File::options().write(true).open(&file).unwrap().set_len(before / 2).unwrap();

    let (progress, cancel) = (Meanwhile(|| {}, false.into()), AtomicBool::new(false));
    let resources = Resources { backend: &Cpu, workers: 2, progress: &progress, cancel: &cancel };
    let run = Run { checkpoint: &checkpoint, plan: &plan, sink: None, resources };
    let out = place.out();
    let options =
        Options { out: &out, overwrite: false, strict: false, sync: false, resume: false };
    let error = export(&run, &options, &|_, _| {}).unwrap_err().to_string();
    let shorter = format!("it became shorter, from {before} to {} bytes", before / 2);
    assert!(error.contains("model.onnx was changed while it was read"), "{error}");
    assert!(error.contains(&shorter), "{error}");
    assert_eq!(place.listing(), ["model.onnx"]);
}

/// The program with a shell around it that changes what it may do; `None` where the shell cannot.
#[cfg(unix)]
fn shell(before: &str, args: &[String]) -> Option<Ran> {
    let script = format!("{before} || exit 99; exec \"$0\" --batch \"$@\"");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_quantscope")]).args(args);
    let ran = Ran::of(shell.args(["-q", "--device", "cpu"]).stdin(Stdio::null()).output().unwrap());
    (ran.code != Some(99)).then_some(ran)
}

#[cfg(unix)]
#[test]
fn a_limit_that_is_reached_in_a_later_file_leaves_nothing() {
    let place = Place::empty();
    // Every shard fits but the last one.
    let mut model = language_model(Dtype::BF16, 1);
    model.push(common::Stored::weights("model.layers.0.mystery.weight", Dtype::BF16, &[64, 1024]));
    common::write_sharded(&place.src(), &model, 2, &common::config(false));
    let args = place.export_args(&place.src(), &[]);
    let ran = shell("ulimit -f 128", &args).unwrap();
    ran.fails(5, &["File too large", "Free space, or choose another --out"]);
    assert_eq!(place.listing(), ["src"]);
}

/// Whether the tests run as a user whom permissions do not stop.
#[cfg(unix)]
fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(unix)]
#[test]
fn weights_that_cannot_be_read_are_named() {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    let file = weights(&place);
    let args = [place.src().display().to_string(), "--stats".to_owned()];
    if is_root() {
        eprintln!("running as root, whom permissions do not stop: that part did not run");
    } else {
        set_mode(&file, 0o000);
        run(&args).fails(1, &["cannot read", "model.safetensors", "Ask for the right to read it"]);
        set_mode(&file, 0o644);
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    run(&args).fails(1, &["cannot read", "model.safetensors", "directory"]);
    fs::remove_dir(&file).unwrap();
    if Command::new("mkfifo").arg(&file).status().is_ok_and(|made| made.success()) {
        run(&args).fails(1, &["cannot read", "model.safetensors", "no regular file"]);
    }
}

#[cfg(unix)]
#[test]
fn a_source_that_may_only_be_read_is_enough() {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    fs::write(place.src().join("tokenizer.json"), "{}").unwrap();
    let before = files(&place.src());
    let names: Vec<_> = before.keys().map(|name| place.src().join(name)).collect();
    names.iter().for_each(|file| set_mode(file, 0o444));
    set_mode(&place.src(), 0o555);
    place.export(&[]).ok();
    assert!(files(&place.src()) == before);
    assert_eq!(place.listing(), ["out", "src"]);
    // What is carried can be removed with the rest.
    set_mode(&place.src(), 0o755);
    assert!(place.out().join("tokenizer.json").exists());
}

#[cfg(unix)]
#[test]
fn an_output_on_another_file_system_is_the_same() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::with(&language_model(Dtype::BF16, 1));
    let device = |path: &Path| fs::metadata(path).ok().map(|found| found.dev());
    let here = device(place.folder.path());
    let elsewhere = ["/dev/shm", "/tmp", "/var/tmp"].map(Path::new).into_iter().find_map(|other| {
        device(other).filter(|_| device(other) != here)?;
        tempfile::tempdir_in(other).ok()
    });
    let Some(elsewhere) = elsewhere else {
        eprintln!("there is one file system only: the test did not run");
        return;
    };
    place.export(&[]).ok();
    let out = elsewhere.path().join("out").display().to_string();
    run([&place.src().display().to_string(), "--format", "nvfp4", "--out", &out]).ok();
    assert!(files(&place.out()) == files(Path::new(&out)));
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
}

/// Two runs at once, and how they ended.
fn at_once(runs: [Vec<String>; 2]) -> [Ran; 2] {
    let children = runs.map(|args| {
        let mut command = command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    children.map(|child| Ran::of(child.wait_with_output().unwrap()))
}

#[test]
fn of_two_runs_that_write_to_one_place_one_wins() {
    let place = Place::with(&language_model(Dtype::BF16, 6));
    let other = place.path("other");
    write_single(&other, &language_model(Dtype::F16, 6), &common::config(false));
    let source = place.src();
    let both = |more: &[&str]| [&source, &other].map(|source| place.export_args(source, more));
    let expected = [&source, &other].map(|source| {
        run(place.export_args(source, &[])).ok();
        let written = files(&place.out());
        fs::remove_dir_all(place.out()).unwrap();
        written
    });
    for _ in 0..3 {
        let ran = at_once(both(&["-q"]));
        let winners: Vec<usize> = (0..2).filter(|i| ran[*i].code == Some(0)).collect();
        let [winner] = winners[..] else { panic!("{ran:?}") };
        assert!(files(&place.out()) == expected[winner], "a mixed folder");
        assert_eq!(place.listing(), ["other", "out", "src"]);
        let [first, second] = ran;
        let loser = if winner == 0 { second } else { first };
        let said = ["another run is at work in", "exists already"];
        assert!(said.iter().any(|said| loser.stderr.contains(said)), "{}", loser.stderr);
        loser.fails(2, &["hoose another --out"]);
        fs::remove_dir_all(place.out()).unwrap();
    }
    // Both may replace what is there; the last one stays.
    for _ in 0..3 {
        place.export(&["--overwrite"]).ok();
        let ran = at_once(both(&["-q", "--overwrite"]));
        assert!(ran.iter().any(|ran| ran.code == Some(0)), "{ran:?}");
        let written = files(&place.out());
        assert!(expected.contains(&written), "a mixed folder");
        assert_eq!(place.listing(), ["other", "out", "src"], "{ran:?}");
    }
}

#[test]
fn a_model_and_the_file_beside_it_are_of_one_run() {
    let place = Place::empty();
    let out = place.out_onnx().display().to_string();
    let runs = ["untied", "tied_transpose"].map(|name| {
        let model = common::onnx_model(name).display().to_string();
        let more = ["--out", &out, "--format", "int4", "--external-data", "--overwrite", "-q"];
        [vec![model], more.map(str::to_owned).to_vec()].concat()
    });
    let expected = runs.clone().map(|args| {
        run(args).ok();
        files(place.folder.path())
    });
    assert!(expected[0] != expected[1] && expected.iter().all(|written| written.len() == 2));
    for _ in 0..3 {
        let ran = at_once(runs.clone());
        assert!(ran.iter().any(|ran| ran.code == Some(0)), "{ran:?}");
        assert!(expected.contains(&files(place.folder.path())), "of two runs: {ran:?}");
    }
}
