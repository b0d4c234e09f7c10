//! A checkpoint that is open.

use std::fmt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::quantized::{self, Layer, Stated};

/// An open checkpoint. No weight has been read.
#[derive(Debug)]
pub struct Document {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its layers, if it is quantized already.
    pub quantized: Option<Quantized>,
    /// The name to call it by: that of its folder or file.
    pub name: String,
    /// Where an export of it would go, if nobody says otherwise.
    pub beside: PathBuf,
    /// The folder of the demo, which goes with it.
    _demo: Option<TempDir>,
}

/// What a quantized checkpoint says of itself, and what its tensors say.
#[derive(Debug)]
pub struct Quantized {
    /// What its config says.
    pub stated: Stated,
    /// Its layers.
    pub layers: Vec<Layer>,
}

/// What to open.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// A folder or file.
    Path(PathBuf),
    /// The checkpoint that comes with the program.
    Demo,
}

impl Source {
    /// A folder or file, wherever the current folder is later.
    pub fn path(path: &Path) -> Self {
        Self::Path(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Demo => f.write_str("the demo"),
        }
    }
}

/// The files of the demo: a tiny Llama of random weights.
const DEMO: [(&str, &[u8]); 3] = [
    ("config.json", include_bytes!("../../../assets/demo/config.json")),
    ("generation_config.json", include_bytes!("../../../assets/demo/generation_config.json")),
    ("model.safetensors", include_bytes!("../../../assets/demo/model.safetensors")),
];

impl Document {
    /// Opens a checkpoint: reads headers and config.
    pub fn open(source: &Source) -> Result<Self, CheckpointError> {
        let (path, demo) = match source {
            Source::Path(path) => (path.clone(), None),
            Source::Demo => {
                let (path, folder) = unpack_demo()
                    .map_err(|source| CheckpointError::Io { path: std::env::temp_dir(), source })?;
                (path, Some(folder))
            }
        };
        let checkpoint = Checkpoint::open(&path)?;
        let quantized = checkpoint.existing_quantization().is_some().then(|| {
            let stated = Stated::of(&checkpoint);
            let layers = quantized::find(&checkpoint, None, stated.ignore_list(), stated.dialect);
            Quantized { stated, layers }
        });
        let beside = match source {
            Source::Path(_) => beside(&checkpoint.folder),
            Source::Demo => beside(&std::env::current_dir().unwrap_or_default().join("demo")),
        };
        let name = name_of(&checkpoint.path);
        Ok(Self { checkpoint, quantized, name, beside, _demo: demo })
    }

    /// Whether it is the demo.
    pub fn is_demo(&self) -> bool {
        self._demo.is_some()
    }
}

/// The last part of a path, as people call it.
pub fn name_of(path: &Path) -> String {
    let absolute = path.canonicalize();
    let path = absolute.as_deref().unwrap_or(path);
    path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into())
}

/// A folder beside another that has not been there yet.
fn beside(folder: &Path) -> PathBuf {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let name = format!("{}-quantized", name_of(&folder));
    let names = std::iter::once(name.clone()).chain((2..).map(|n| format!("{name}-{n}")));
    let paths = names.map(|name| folder.with_file_name(name));
    paths.into_iter().find(|path| !path.exists()).unwrap_or_default()
}

fn unpack_demo() -> std::io::Result<(PathBuf, TempDir)> {
    let folder = tempfile::Builder::new().prefix("quantscope-").tempdir()?;
    let path = folder.path().join("demo");
    std::fs::create_dir(&path)?;
    for (name, contents) in DEMO {
        std::fs::write(path.join(name), contents)?;
    }
    Ok((path, folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_needs_no_file_and_leaves_none() {
        let demo = Document::open(&Source::Demo).unwrap();
        let path = demo.checkpoint.path.clone();
        assert!(demo.is_demo() && path.is_dir() && demo.quantized.is_none());
        assert_eq!(demo.name, "demo");
        drop(demo);
        assert!(!path.exists());
    }
}
