//! The modules know each other in one direction only, and rules that hold in all of `src`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What each module may know. `report` and `batch` show what all others do.
const MAY_KNOW: [(&str, &[&str]); 24] = [
    ("units", &[]),
    ("numeric", &[]),
    ("format", &["numeric"]),
    ("stats", &["numeric"]),
    ("backend", &["format", "numeric", "stats"]),
    ("cpu", &["backend", "format", "numeric", "stats"]),
    ("gpu", &["backend", "cpu", "format", "numeric", "stats"]),
    ("fallback", &["backend", "cpu", "format", "numeric", "stats"]),
    ("device", &["backend", "cpu", "fallback", "gpu"]),
    ("doctor", &["backend", "cpu", "format", "gpu", "numeric", "units"]),
    ("onnx", &[]),
    ("checkpoint", &["numeric", "onnx"]),
    ("model", &["checkpoint", "numeric", "onnx"]),
    ("dialect", &["checkpoint", "format", "model", "onnx"]),
    ("recipe", &["checkpoint", "dialect", "format", "model"]),
    ("plan", &["checkpoint", "dialect", "format", "model", "onnx", "recipe"]),
    (
        "engine",
        &["backend", "checkpoint", "cpu", "dialect", "format", "model", "numeric", "plan", "stats"],
    ),
    (
        "quantized",
        &[
            "backend",
            "checkpoint",
            "cpu",
            "dialect",
            "engine",
            "format",
            "model",
            "numeric",
            "onnx",
            "plan",
            "stats",
        ],
    ),
    (
        "inspect",
        &[
            "backend",
            "checkpoint",
            "cpu",
            "dialect",
            "engine",
            "format",
            "model",
            "numeric",
            "plan",
            "quantized",
            "stats",
            "units",
        ],
    ),
    (
        "export",
        &[
            "backend",
            "checkpoint",
            "dialect",
            "engine",
            "format",
            "model",
            "onnx",
            "plan",
            "quantized",
            "stats",
            "units",
        ],
    ),
    ("report", &["checkpoint", "dialect", "export", "format", "model", "plan", "stats", "units"]),
    (
        "batch",
        &[
            "backend",
            "checkpoint",
            "device",
            "doctor",
            "dialect",
            "engine",
            "export",
            "format",
            "gpu",
            "inspect",
            "model",
            "plan",
            "quantized",
            "recipe",
            "report",
            "stats",
            "units",
        ],
    ),
    (
        "gui",
        &[
            "backend",
            "batch",
            "checkpoint",
            "device",
            "dialect",
            "engine",
            "export",
            "format",
            "gpu",
            "inspect",
            "model",
            "numeric",
            "plan",
            "quantized",
            "recipe",
            "report",
            "stats",
            "units",
        ],
    ),
    ("main", &["batch", "gui"]),
];

/// The code of every source file by its path below `src`: no comments, no strings, no tests.
fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut sources) = (vec![root.clone()], BTreeMap::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name == "tests.rs") {
                // Tests that have a file of their own.
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
                sources.insert(name, code(&fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(sources.len() > 40, "the sources are there");
    sources
}

/// A source without comments, string contents, and the test module at its end.
fn code(text: &str) -> String {
    let tests = ["#[cfg(test)]\nmod tests {", "#[cfg(test)]\npub(super) mod tests {"];
    let end = tests.iter().filter_map(|start| text.find(start)).min().unwrap_or(text.len());
    let text = &text[..end];
    let (mut code, mut in_string) = (String::new(), false);
    for line in text.lines() {
        let mut previous = ' ';
        for (at, c) in line.char_indices() {
            if !in_string && line[at..].starts_with("//") {
                break;
            }
            if c == '"' && previous != '\\' && previous != '\'' {
                in_string = !in_string;
            } else if !in_string {
                code.push(c);
            }
            previous = if previous == '\\' { ' ' } else { c };
        }
        code.push('\n');
    }
    assert!(!in_string, "every string ends: {text}");
    code
}

/// The module of the crate that a file is part of.
fn module(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The words that follow each `start` in a text.
fn words_after<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    let word = |rest: &'a str| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    };
    text.match_indices(start).map(|(at, _)| word(&text[at + start.len()..])).collect()
}

/// Files outside `allowed` modules in which a text occurs.
fn found_outside(text: &str, allowed: &[&str]) -> Vec<String> {
    let found = sources()
        .into_iter()
        .filter(|(file, code)| !allowed.contains(&module(file)) && code.contains(text));
    found.map(|(file, _)| file).collect()
}

const NOWHERE: [&str; 0] = [];

#[test]
fn modules_know_only_those_before_them() {
    let rules = BTreeMap::from(MAY_KNOW);
    for (i, (name, known)) in MAY_KNOW.iter().enumerate() {
        let before = |other: &&str| MAY_KNOW[..i].iter().any(|(earlier, _)| earlier == other);
        assert!(known.iter().all(before), "the rule of {name} is one-directional");
    }
    for (file, code) in sources() {
        let module = module(&file);
        if module == "lib" {
            continue;
        }
        let known = rules.get(module).unwrap_or_else(|| panic!("no rule for {module}"));
        let used = [words_after(&code, "crate::"), words_after(&code, "quantscope::")].concat();
        for other in used {
            assert!(!other.is_empty(), "{file}: name one module of the crate in each use");
            let allowed = other == module || known.contains(&other);
            assert!(allowed, "{file}: {module} must not know {other}");
        }
        // From the root file of a module, super is the crate itself.
        let is_root = file.ends_with("mod.rs") && file.split('/').count() == 2;
        let is_root = is_root || !file.contains('/');
        assert!(!is_root || !code.contains("super::"), "{file}: write crate:: for super::");
        assert!(!code.contains("super::super::super"), "{file}: write crate:: for super::");
    }
}

#[test]
fn wgpu_stays_behind_the_gpu_module() {
    // A window's device is also that of the kernels, and so has to be asked for as they need it.
    let shared = ["gui/window.rs", "gui/screenshot.rs"];
    let found = found_outside("wgpu", &["gpu"]);
    assert!(found.iter().all(|file| shared.contains(&file.as_str())), "{found:?}");
}

#[test]
fn egui_stays_behind_the_gui_module() {
    for text in ["egui", "eframe", "rfd::"] {
        assert_eq!(found_outside(text, &["gui"]), NOWHERE, "{text}");
    }
}

#[test]
fn the_session_of_a_window_can_be_had_without_the_window() {
    for (file, code) in sources() {
        let is_session = file.starts_with("gui/session/");
        assert!(!is_session || !code.contains("egui"), "{file} knows egui");
    }
}

#[test]
fn only_batch_parses_arguments_and_prints() {
    for (file, code) in sources() {
        if ["batch", "main"].contains(&module(&file)) {
            continue;
        }
        // Enums of recipe and report say their own names on the command line.
        let derives_only = ["recipe", "report"].contains(&module(&file));
        let code = if derives_only { code.replace("clap::ValueEnum", "") } else { code };
        assert!(!code.contains("clap"), "{file} knows clap");
    }
    for text in ["println!", "print!", "stdout()", "stderr()", "dbg!"] {
        assert_eq!(found_outside(text, &["batch"]), NOWHERE, "{text}");
    }
    assert_eq!(found_outside("indicatif", &["batch"]), NOWHERE);
    assert_eq!(found_outside("process::exit", &["batch"]), NOWHERE);
}

#[test]
fn nothing_is_unwrapped_and_unsafe_is_confined() {
    for text in [".unwrap()", "todo!", "unimplemented!", "panic!"] {
        assert_eq!(found_outside(text, &[]), NOWHERE, "{text}");
    }
    // The first lines of the program set an environment variable.
    let places: Vec<String> = sources()
        .into_iter()
        .filter(|(_, code)| code.contains("unsafe"))
        .map(|(file, _)| file)
        .collect();
    assert_eq!(places, ["main.rs"]);
}

#[test]
fn code_is_told_from_comments_strings_and_tests() {
    let text = "a(\"b // \\\" \\\n c\"); // d\n/// e\nf('\"', g)\n#[cfg(test)]\nmod tests {}\n";
    assert_eq!(code(text), "a(\n); \n\nf('\"', g)\n");
}
