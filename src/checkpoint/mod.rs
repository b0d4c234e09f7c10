//! Opening a checkpoint: headers and config only, checked; weights are read when asked for.

mod config;
mod equal;
mod error;
mod file;
pub mod header;
mod identity;
pub mod index;
mod locate;
mod onnx;
mod onnx_names;
pub mod python_json;
mod strided;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use config::{CONFIG_FILE, Config, QUANTIZATION};
pub use equal::{Stored, equal_bytes, equal_part};
pub use error::{CheckpointError, HeaderProblem, IndexProblem};
pub use file::{TensorFile, read_exact_at, read_small_file};
pub use header::Metadata;
pub use identity::FileIdentity;
pub use locate::{SINGLE_FILE, folder_of, lies_within};
pub use onnx::{ONNX_FILE, Onnx};
pub use safetensors::Dtype;

use crate::numeric::FloatKind;
use index::{INDEX_FILE, WeightMap};
use strided::Strided;

/// A checkpoint that is open.
#[derive(Debug)]
pub struct Checkpoint {
    /// The folder, or the one file.
    pub path: PathBuf,
    /// The folder that holds the files.
    pub folder: PathBuf,
    /// Its weight files, by name.
    pub files: Vec<TensorFile>,
    /// Every tensor, in the order of files and of data in them.
    pub tensors: Vec<Tensor>,
    /// Its config, if there is one.
    pub config: Option<Config>,
    /// Whether it has an index, and so may have several files.
    pub sharded: bool,
    /// Tensors that are in a shard but not in the index.
    pub unlisted: Vec<String>,
    /// Weight files of the folder that are not part of the checkpoint, and an index that is not.
    pub ignored: Vec<String>,
    /// The graph, if it is an ONNX model.
    pub onnx: Option<Onnx>,
    by_name: HashMap<String, usize>,
}

/// A tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, outermost first.
    pub shape: Vec<u64>,
    /// Index of its file in [`Checkpoint::files`].
    pub file: usize,
    /// Where its bytes start in the data of the file.
    pub offset: u64,
    /// How many they are.
    pub bytes: u64,
    /// Elements from one to the next along each dimension, of a part of a stored tensor whose rows do
    /// not follow one another; `None` where they do.
    pub strides: Option<Vec<u64>>,
}

impl Tensor {
    /// Whether what follows one another in a row is far apart in the file.
    pub fn is_stored_by_columns(&self) -> bool {
        matches!(self.strides.as_deref(), Some([_, step]) if *step > 1)
    }

    /// Number of elements.
    pub fn len(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of what its chunks count in: elements of a float, single bytes of anything else.
    pub fn unit_bytes(&self) -> u64 {
        if self.float_kind().is_some() { self.dtype.bitsize() as u64 / 8 } else { 1 }
    }

    /// How its elements are read as weights; `None` if they are no floats to quantize from. F64 is
    /// rounded to f32 on reading.
    pub fn float_kind(&self) -> Option<FloatKind> {
        match self.dtype {
            Dtype::BF16 => Some(FloatKind::Bf16),
            Dtype::F16 => Some(FloatKind::F16),
            Dtype::F32 | Dtype::F64 => Some(FloatKind::F32),
            _ => None,
        }
    }
}

impl Checkpoint {
    /// Opens a Hugging Face checkpoint folder, one `.safetensors` file, or an ONNX model. Reads
    /// headers, graph, index and config, not one weight.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let io_error = |source| CheckpointError::Io { path: path.to_owned(), source };
        let is_folder = std::fs::metadata(path).map_err(io_error)?.is_dir();
        if let Some(model) = onnx::model_file(path, is_folder) {
            return onnx::open(path, &model);
        }
        let folder = if is_folder { path } else { folder_of(path) };

        let sources =
            if is_folder { locate::weight_files(folder)? } else { locate::one_file(path)? };
        let mut checkpoint = Self {
            path: path.to_owned(),
            folder: folder.to_owned(),
            files: Vec::new(),
            tensors: Vec::new(),
            config: Config::read(&folder.join(CONFIG_FILE))?,
            sharded: sources.index.is_some(),
            unlisted: Vec::new(),
            ignored: sources.ignored,
            onnx: None,
            by_name: HashMap::new(),
        };
        for (name, path) in &sources.files {
            checkpoint.add_file(name, path)?;
        }
        if let Some(index) = &sources.index {
            checkpoint.compare_with_index(index)?;
        }
        Ok(checkpoint)
    }

    fn add_file(&mut self, name: &str, path: &Path) -> Result<(), CheckpointError> {
        let (mut file, entries) = TensorFile::open(path, name)?;
        // Shards may all say the same of a whole checkpoint.
        if let Some(last) = self.files.last().filter(|last| last.metadata == file.metadata) {
            file.metadata = Arc::clone(&last.metadata);
        }
        let index = self.files.len();
        self.tensors.reserve(entries.len());
        self.by_name.reserve(entries.len());
        for entry in entries {
            if let Some(first) = self.by_name.insert(entry.name.clone(), self.tensors.len()) {
                return Err(CheckpointError::StoredTwice {
                    tensor: entry.name,
                    first: self.files[self.tensors[first].file].name.clone(),
                    second: file.name,
                });
            }
            self.tensors.push(Tensor {
                name: entry.name,
                dtype: entry.dtype,
                shape: entry.shape,
                file: index,
                offset: entry.begin,
                bytes: entry.end - entry.begin,
                strides: None,
            });
        }
        self.files.push(file);
        Ok(())
    }

    fn compare_with_index(&mut self, weight_map: &WeightMap) -> Result<(), CheckpointError> {
        for (tensor, shard) in weight_map {
            let file = self.tensor(tensor).map(|stored| &self.files[stored.file].name);
            if file != Some(shard) {
                return Err(CheckpointError::Index {
                    index: self.folder.join(INDEX_FILE),
                    problem: IndexProblem::TensorNowhere {
                        tensor: tensor.clone(),
                        shard: shard.clone(),
                    },
                });
            }
        }
        // All that the index lists was found: as many are the same.
        if weight_map.len() == self.tensors.len() {
            return Ok(());
        }
        self.unlisted = self
            .tensors
            .iter()
            .filter(|tensor| !weight_map.contains_key(&tensor.name))
            .map(|tensor| tensor.name.clone())
            .collect();
        Ok(())
    }

    /// Fills `buffer` with bytes of a tensor, from `offset` of its own bytes.
    pub fn read_at(
        &self,
        tensor: &Tensor,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<(), CheckpointError> {
        let file = &self.files[tensor.file];
        match Strided::of(tensor) {
            None => file.read_at(buffer, tensor.offset + offset),
            Some(strided) => strided.read(file, buffer, offset),
        }
    }

    /// Fails if a weight file is not as it was when it was opened: what was read of it is then of no one
    /// checkpoint. To be asked before a result gets its name.
    pub fn check_unchanged(&self) -> Result<(), CheckpointError> {
        self.files.iter().try_for_each(TensorFile::check_unchanged)
    }

    /// The index of the tensor of that name in [`Checkpoint::tensors`].
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.index_of(name).map(|i| &self.tensors[i])
    }

    /// Bytes of all weight files, headers included.
    pub fn file_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.file_bytes).sum()
    }

    /// What headers say besides tensors. Shards mostly say the same, which is then in memory once, and
    /// told once.
    pub fn metadata(&self) -> impl Iterator<Item = &Metadata> {
        let files = &self.files;
        let is_new =
            |i: &usize| *i == 0 || !Arc::ptr_eq(&files[i - 1].metadata, &files[*i].metadata);
        (0..files.len()).filter(is_new).map(|i| files[i].metadata.as_ref())
    }

    /// What the weights are already quantized with, if they are: the config's method, or the
    /// tensors that give it away.
    pub fn existing_quantization(&self) -> Option<String> {
        if let Some(onnx) = &self.onnx {
            return onnx.existing_quantization();
        }
        let by_config = self.config.as_ref().and_then(Config::quantization_method);
        let by_file = || {
            let file = "hf_quant_config.json";
            self.folder.join(file).exists().then(|| format!("{file} is there"))
        };
        let by_tensor = || {
            const SCALES: [&str; 5] = [
                "weight_scale",
                ".weight_scale_inv",
                ".weight_packed",
                ".qweight",
                ".q4gsw_packed",
            ];
            let gives_away = |tensor: &&Tensor| {
                let name = &tensor.name;
                let mxfp4_blocks = name.ends_with("_blocks") && tensor.dtype == Dtype::U8;
                mxfp4_blocks || SCALES.iter().any(|end| name.ends_with(end))
            };
            let tensor = self.tensors.iter().find(gives_away)?;
            Some(format!("tensor {} is there", tensor.name))
        };
        by_config.map(|method| format!("quant_method {method}")).or_else(by_file).or_else(by_tensor)
    }
}
