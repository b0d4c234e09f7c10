//! A checkpoint that is open.

use std::fmt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::checkpoint::{Checkpoint, CheckpointError, Dtype};
use crate::dialect::Dialect;
use crate::export::data_of;
use crate::model::ties::Tie;
use crate::model::{Member, Model};
use crate::quantized::{self, Layer, Stated};

/// An open checkpoint. No weight has been read.
#[derive(Debug)]
pub struct Document {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its layers, if it is quantized already.
    pub quantized: Option<Quantized>,
    /// Whether a recipe can make something of it: of anything that is not quantized, and of an ONNX model
    /// that is so only in part.
    pub takes_recipe: bool,
    /// The float type of its weights: of the largest tensor that has one.
    pub weight_type: Dtype,
    /// The name to call it by: that of its folder or file.
    pub name: String,
    /// What the name of an export ends in: nothing if it is a folder.
    ending: &'static str,
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
        let takes_recipe = quantized.is_none() || has_more_to_quantize(&checkpoint);
        let of_file = checkpoint.onnx.is_some() && !path.is_dir();
        let ending = if of_file { ".onnx" } else { "" };
        let beside = match source {
            Source::Path(_) if of_file => beside(&checkpoint.path, ending),
            Source::Path(_) => beside(&checkpoint.folder, ending),
            Source::Demo => {
                beside(&std::env::current_dir().unwrap_or_default().join("demo"), ending)
            }
        };
        let name = name_of(&checkpoint.path);
        let floats = checkpoint.tensors.iter().filter(|tensor| tensor.float_kind().is_some());
        let weight_type = floats.max_by_key(|tensor| tensor.bytes).map(|tensor| tensor.dtype);
        let weight_type = weight_type.unwrap_or(Dtype::BF16);
        Ok(Self {
            checkpoint,
            quantized,
            takes_recipe,
            weight_type,
            name,
            ending,
            beside,
            _demo: demo,
        })
    }

    /// What an export of it is called, with something that tells it from the source.
    pub fn name_with(&self, what: &str) -> String {
        named_with(&self.name, what, self.ending)
    }

    /// Whether it is the demo.
    pub fn is_demo(&self) -> bool {
        self._demo.is_some()
    }
}

/// Whether floats are left in an ONNX model that is quantized in part, or codes that are there twice.
fn has_more_to_quantize(checkpoint: &Checkpoint) -> bool {
    if checkpoint.onnx.is_none() {
        return false;
    }
    let model = Model::new(checkpoint, Dialect::Onnx.fused_experts());
    let is_layer = |member: &Member| member.is_weight && member.tensor.float_kind().is_some();
    model.members.iter().any(is_layer) || matches!(model.tie, Tie::BothCodes { .. })
}

/// The last part of a path, as people call it.
fn name_of(path: &Path) -> String {
    // Only a path such as `..` has to be followed for a name.
    let followed = path.file_name().is_none().then(|| path.canonicalize().ok()).flatten();
    let path = followed.as_deref().unwrap_or(path);
    path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into())
}

/// A name with something before its ending.
fn named_with(name: &str, what: &str, ending: &str) -> String {
    format!("{}-{what}{ending}", name.strip_suffix(ending).unwrap_or(name))
}

/// A place beside another where nothing has been yet.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let name = name_of(&path);
    let numbered = (2..).map(|n| format!("quantized-{n}"));
    let names = std::iter::once("quantized".to_owned()).chain(numbered);
    let mut paths = names.map(|what| path.with_file_name(named_with(&name, &what, ending)));
    paths.find(|path| !path.exists() && !data_of(path).exists()).unwrap_or_default()
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

    #[test]
    fn an_export_of_an_onnx_file_is_a_file_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/onnx/tied_transpose.onnx");
        let file = place.path().join("tiny.onnx");
        std::fs::copy(model, &file).unwrap();
        let open = |path: &Path| Document::open(&Source::path(path)).unwrap();
        assert_eq!(open(&file).beside, place.path().join("tiny-quantized.onnx"));
        assert_eq!(open(&file).name_with("int4"), "tiny-int4.onnx");
        // What is there is not overwritten, and neither is what belongs to another.
        std::fs::write(place.path().join("tiny-quantized.onnx"), "").unwrap();
        std::fs::write(place.path().join("tiny-quantized-2.onnx.data"), "").unwrap();
        assert_eq!(open(&file).beside, place.path().join("tiny-quantized-3.onnx"));

        let folder = place.path().join("tiny");
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(model, folder.join("model.onnx")).unwrap();
        assert_eq!(open(&folder).beside, place.path().join("tiny-quantized"));
        assert_eq!(open(&folder).name_with("int4"), "tiny-int4");
    }
}
