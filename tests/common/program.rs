//! Running the program.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::{Stored, config, write_single};

/// A run that ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Expects success.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Expects an exit code, and an error that holds each of `parts`.
    #[track_caller]
    pub fn fails(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "no \"{part}\" in: {}", self.stderr);
        }
        self
    }

    /// Lines of the results that start with `start`.
    pub fn lines(&self, start: &str) -> Vec<&str> {
        self.stdout.lines().filter(|line| line.starts_with(start)).collect()
    }

    /// The only finding.
    #[track_caller]
    pub fn finding(&self) -> &str {
        match self.lines("finding").as_slice() {
            [only] => only,
            other => panic!("not one finding: {other:?}"),
        }
    }
}

/// The program with `--batch`, on the CPU unless `args` say otherwise.
pub fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quantscope"));
    command.arg("--batch").args(args).stdin(Stdio::null()).env_remove("COLUMNS");
    if !command.get_args().any(|arg| arg == "--device") {
        command.args(["--device", "cpu"]);
    }
    command
}

/// Runs the program.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    Ran::of(command(args).output().unwrap())
}

/// A temporary folder with a checkpoint in `src`, and an `out` that is not there yet.
pub struct Place {
    pub folder: TempDir,
}

impl Place {
    pub fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// With a checkpoint of one file, untied.
    pub fn with(tensors: &[Stored]) -> Self {
        let place = Self::empty();
        write_single(&place.src(), tensors, &config(false));
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn src(&self) -> PathBuf {
        self.path("src")
    }

    pub fn out(&self) -> PathBuf {
        self.path("out")
    }

    /// Exports `src` to `out`.
    pub fn export(&self, args: &[&str]) -> Ran {
        run(self.export_args(&self.src(), args))
    }

    pub fn export_args(&self, source: &Path, args: &[&str]) -> Vec<String> {
        let (source, out) = (source.display().to_string(), self.out().display().to_string());
        let mut all = vec![source, "--format".to_owned(), "nvfp4".to_owned()];
        all.extend(["--out".to_owned(), out]);
        all.extend(args.iter().map(|&arg| arg.to_owned()));
        all
    }

    /// Names in the folder, hidden ones too.
    pub fn listing(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}
