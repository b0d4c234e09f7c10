//! Which files of a folder are the weights.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::{CheckpointError, IndexProblem};
use super::file::read_small_file;
use super::index::{self, INDEX_FILE, WeightMap};

/// The name of weights that are not sharded: loaders find any other name through the index only.
pub const SINGLE_FILE: &str = "model.safetensors";

/// Weight files by name, the index that lists them, and files that are left aside.
pub struct Sources {
    pub files: BTreeMap<String, PathBuf>,
    pub index: Option<WeightMap>,
    pub ignored: Vec<String>,
}

/// One file that the user named: it may lie anywhere.
pub fn one_file(path: &Path) -> Result<Sources, CheckpointError> {
    if path.extension().is_none_or(|extension| extension != "safetensors") {
        return Err(CheckpointError::NoWeights {
            folder: path.to_owned(),
            found: " (the name ends neither in .safetensors nor in .onnx)".to_owned(),
        });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Sources { files: [(name, path.to_owned())].into(), index: None, ignored: Vec::new() })
}

/// The weights of a folder: `model.safetensors`, else what the index lists, else the only
/// `.safetensors` file. The order is that of transformers.
pub fn weight_files(folder: &Path) -> Result<Sources, CheckpointError> {
    let index_path = folder.join(INDEX_FILE);
    if !folder.join(SINGLE_FILE).exists() && index_path.exists() {
        return sharded(folder, &index_path);
    }
    let all = safetensors_files(folder)?;
    let name = match all.as_slice() {
        names if names.iter().any(|name| name == SINGLE_FILE) => SINGLE_FILE.to_owned(),
        [only] => only.clone(),
        [] => {
            return Err(CheckpointError::NoWeights {
                folder: folder.to_owned(),
                found: other_weights(folder),
            });
        }
        names => {
            return Err(CheckpointError::NoIndex { folder: folder.to_owned(), count: names.len() });
        }
    };
    let path = folder.join(&name);
    if !lies_within(folder, &path) {
        return Err(CheckpointError::Index {
            index: folder.to_owned(),
            problem: IndexProblem::OutsideFolder { shard: name },
        });
    }
    let mut ignored: Vec<String> = all.into_iter().filter(|other| *other != name).collect();
    ignored.extend(index_path.exists().then(|| INDEX_FILE.to_owned()));
    Ok(Sources { files: [(name, path)].into(), index: None, ignored })
}

fn sharded(folder: &Path, index_path: &Path) -> Result<Sources, CheckpointError> {
    let problem = |problem| CheckpointError::Index { index: index_path.to_owned(), problem };
    let json = read_small_file(index_path)
        .map_err(|source| CheckpointError::Io { path: index_path.to_owned(), source })?;
    let weight_map = index::parse(json.as_bytes()).map_err(problem)?;

    let home = Home::of(folder);
    let mut files = BTreeMap::new();
    for (tensor, shard) in &weight_map {
        if files.contains_key(shard) {
            continue;
        }
        let path = folder.join(shard);
        if !path.exists() {
            return Err(problem(IndexProblem::MissingShard {
                shard: shard.clone(),
                tensors: weight_map.values().filter(|other| *other == shard).count(),
                example: tensor.clone(),
            }));
        }
        if !home.as_ref().is_some_and(|home| home.has(&path)) {
            return Err(problem(IndexProblem::OutsideFolder { shard: shard.clone() }));
        }
        files.insert(shard.clone(), path);
    }
    let mut ignored = safetensors_files(folder)?;
    ignored.retain(|name| !files.contains_key(name));
    Ok(Sources { files, index: Some(weight_map), ignored })
}

/// The folder that a path is in: `.` for a name alone.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Whether a file, links followed, is in the folder, or in the store of a Hugging Face hub cache
/// whose snapshot the folder is: there every file is a link to `../../blobs/`.
pub fn lies_within(folder: &Path, path: &Path) -> bool {
    Home::of(folder).is_some_and(|home| home.has(path))
}

/// Where the files of a checkpoint may be, links followed.
struct Home {
    folder: PathBuf,
    blobs: Option<PathBuf>,
}

impl Home {
    /// That of a checkpoint in a folder; `None` if there is no such folder.
    fn of(folder: &Path) -> Option<Self> {
        let folder = folder.canonicalize().ok()?;
        // Models are often in a folder of a snapshot.
        let mut above = folder.ancestors();
        let snapshots = above.find(|p| p.file_name().is_some_and(|n| n == "snapshots"));
        let blobs = snapshots.and_then(Path::parent).map(|repo| repo.join("blobs"));
        Some(Self { folder, blobs })
    }

    fn has(&self, path: &Path) -> bool {
        let Ok(path) = path.canonicalize() else { return false };
        path.starts_with(&self.folder)
            || self.blobs.as_ref().is_some_and(|blobs| path.starts_with(blobs))
    }
}

fn safetensors_files(folder: &Path) -> Result<Vec<String>, CheckpointError> {
    let io_error = |source| CheckpointError::Io { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io_error)? {
        let name = entry.map_err(io_error)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".safetensors") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn has_several_models(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let is_model = |path: &Path| path.extension().is_some_and(|ending| ending == "onnx");
    entries.filter(|entry| is_model(&entry.path())).count() > 1
}

/// Weights in a form that is not read, to say so.
fn other_weights(folder: &Path) -> String {
    let others = ["pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth"];
    match others.iter().find(|name| folder.join(name).exists()) {
        Some(name) => format!(" ({name} is: convert it to safetensors first)"),
        None if has_several_models(folder) => {
            " (several .onnx files are, and none is called model.onnx: name one)".to_owned()
        }
        None => String::new(),
    }
}
