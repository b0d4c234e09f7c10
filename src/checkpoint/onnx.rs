//! An ONNX model as a checkpoint: its initializers are its tensors.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use prost::bytes::BytesMut;

use super::onnx_names::names;
use super::{Checkpoint, CheckpointError, Dtype, Tensor, TensorFile, folder_of, lies_within};
use crate::onnx::{self, Document, ElementType, Links, MICROSOFT, OnnxProblem, Place, TensorOwner};

/// The name of a model in a folder of its own.
pub const ONNX_FILE: &str = "model.onnx";

/// The graph of a checkpoint that is an ONNX model.
#[derive(Debug)]
pub struct Onnx {
    /// The model.
    pub document: Document,
    /// The tensor of the model that each of [`Checkpoint::tensors`] is.
    pub ids: Vec<usize>,
    /// The reverse; `None` for tensors that are no part of the checkpoint.
    indices: Vec<Option<usize>>,
    /// Whether any of its tensors is in another file.
    pub has_external_data: bool,
}

impl Onnx {
    /// The operators of quantized layers that it has, if it has any.
    pub fn existing_quantization(&self) -> Option<String> {
        let quantized = |node: &&onnx::Node| {
            let own = ["MatMulNBits", "GatherBlockQuantized", "MatMulBnb4", "QMoE"];
            let standard = ["DequantizeLinear", "QLinearMatMul", "MatMulInteger"];
            own.iter().any(|op_type| node.is(MICROSOFT, op_type))
                || standard.iter().any(|op_type| node.is("", op_type))
        };
        let node = self.document.nodes.iter().find(quantized)?;
        Some(format!("it has {} nodes", node.op_type))
    }

    /// The name that a tensor of the checkpoint has in the graph.
    pub fn initializer(&self, index: usize) -> &onnx::Tensor {
        &self.document.tensors[self.ids[index]]
    }

    /// The tensor of the checkpoint that a value of the graph is.
    pub fn index_of(&self, links: &Links<'_>, value: &str) -> Option<usize> {
        self.indices[links.constant(value)?]
    }
}

/// The model that a path means, if it means an ONNX model: a file by its ending, or a folder without
/// safetensors that has one.
pub fn model_file(path: &Path, is_folder: bool) -> Option<PathBuf> {
    let has_ending = |path: &Path, ending: &str| path.extension().is_some_and(|e| e == ending);
    if !is_folder {
        return has_ending(path, "onnx").then(|| path.to_owned());
    }
    let files: Vec<PathBuf> =
        std::fs::read_dir(path).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    if files.iter().any(|file| has_ending(file, "safetensors")) {
        return None;
    }
    let models: Vec<&PathBuf> = files.iter().filter(|file| has_ending(file, "onnx")).collect();
    let usual = models.iter().find(|file| file.file_name().is_some_and(|name| name == ONNX_FILE));
    match (usual, models.as_slice()) {
        (Some(model), _) | (None, [model]) => Some((*model).clone()),
        _ => None,
    }
}

/// Opens the model in the file `model`; `path` is what the user named, that file or its folder.
pub fn open(path: &Path, model: &Path) -> Result<Checkpoint, CheckpointError> {
    let folder = folder_of(model).to_owned();
    let name = model.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut files = Files {
        model: model.to_owned(),
        folder: folder.clone(),
        by_name: HashMap::new(),
        files: Vec::new(),
    };
    let own = files.add(model, &name)?;
    let document = Document::new(&files.files[own]).map_err(|problem| match problem {
        OnnxProblem::Unreadable { kind, message, .. } => {
            files.files[own].read_error(io::Error::new(kind, message))
        }
        problem => CheckpointError::Onnx { file: model.to_owned(), problem },
    })?;
    let names = names(&document);
    let (mut tensors, mut memory) = (Vec::new(), BytesMut::new());
    for (id, tensor) in document.tensors.iter().enumerate() {
        if !is_listed(tensor) {
            continue;
        }
        let name = names[id].clone();
        let (file, offset, bytes) = match &tensor.place {
            Place::Inline(range) => (0, range.start, range.end - range.start),
            Place::External { location, offset, length } => {
                (files.external(&tensor.name, location, offset + length)?, *offset, *length)
            }
            Place::Typed(bytes) => {
                let begin = memory.len() as u64;
                memory.extend_from_slice(bytes);
                (usize::MAX, begin, bytes.len() as u64)
            }
        };
        let (dtype, shape) = match dtype(tensor.element_type) {
            Some(dtype) => (dtype, tensor.dims.clone()),
            None => (Dtype::U8, vec![bytes]),
        };
        tensors.push((id, Tensor { name, dtype, shape, file, offset, bytes, strides: None }));
    }
    let mut files = files.files;
    for (_, tensor) in tensors.iter_mut().filter(|(_, tensor)| tensor.file == usize::MAX) {
        tensor.file = files.len();
    }
    if !memory.is_empty() {
        files.push(TensorFile::memory(model, memory.freeze()));
    }
    tensors.sort_by_key(|(_, tensor)| (tensor.file, tensor.offset));
    let by_name = tensors.iter().enumerate().map(|(i, (_, tensor))| (tensor.name.clone(), i));
    let by_name = by_name.collect();
    let (ids, tensors): (Vec<usize>, Vec<Tensor>) = tensors.into_iter().unzip();
    let mut indices = vec![None; document.tensors.len()];
    ids.iter().enumerate().for_each(|(index, id)| indices[*id] = Some(index));
    let has_external_data =
        document.tensors.iter().any(|tensor| matches!(tensor.place, Place::External { .. }));
    Ok(Checkpoint {
        path: path.to_owned(),
        folder,
        files,
        tensors,
        config: None,
        sharded: false,
        unlisted: Vec::new(),
        ignored: Vec::new(),
        onnx: Some(Onnx { document, ids, indices, has_external_data }),
        by_name,
    })
}

/// The files of a model.
struct Files {
    model: PathBuf,
    folder: PathBuf,
    by_name: HashMap<String, usize>,
    files: Vec<TensorFile>,
}

impl Files {
    fn add(&mut self, path: &Path, name: &str) -> Result<usize, CheckpointError> {
        self.files.push(TensorFile::plain(path, name)?);
        self.by_name.insert(name.to_owned(), self.files.len() - 1);
        Ok(self.files.len() - 1)
    }

    /// The file of that name, in which a tensor ends at byte `end`.
    fn external(&mut self, tensor: &str, name: &str, end: u64) -> Result<usize, CheckpointError> {
        let problem = |why: String| CheckpointError::Onnx {
            file: self.model.clone(),
            problem: OnnxProblem::External {
                tensor: tensor.to_owned(),
                location: name.to_owned(),
                why,
            },
        };
        let file = match self.by_name.get(name) {
            Some(file) => *file,
            None => {
                let path = self.folder.join(name);
                if !path.is_file() {
                    return Err(problem("not there".to_owned()));
                }
                if !lies_within(&self.folder, &path) {
                    return Err(problem("out of the folder of the model".to_owned()));
                }
                self.add(&path, name)?
            }
        };
        let bytes = self.files[file].file_bytes;
        if end > bytes {
            let (tensor, location) = (tensor.to_owned(), name.to_owned());
            let why = format!("cut off: the tensor ends at byte {end}, the file at {bytes}");
            let problem = OnnxProblem::External { tensor, location, why };
            return Err(CheckpointError::Onnx { file: self.model.clone(), problem });
        }
        Ok(file)
    }
}

/// Whether a tensor is one of the checkpoint, and not a part of what nodes do: any initializer, and
/// attributes that may be weights or that are in another file.
fn is_listed(tensor: &onnx::Tensor) -> bool {
    let is_matrix = tensor.dims.len() >= 2
        && matches!(
            tensor.element_type,
            ElementType::Float | ElementType::Float16 | ElementType::Bfloat16 | ElementType::Double
        );
    match tensor.owner {
        TensorOwner::Graph(_) => true,
        TensorOwner::Node(_) if is_matrix => true,
        _ => matches!(tensor.place, Place::External { .. }),
    }
}

fn dtype(element_type: ElementType) -> Option<Dtype> {
    use ElementType as T;
    Some(match element_type {
        T::Float => Dtype::F32,
        T::Double => Dtype::F64,
        T::Float16 => Dtype::F16,
        T::Bfloat16 => Dtype::BF16,
        T::Float8e4m3fn => Dtype::F8_E4M3,
        T::Float8e5m2 => Dtype::F8_E5M2,
        T::Float8e8m0 => Dtype::F8_E8M0,
        T::Bool => Dtype::BOOL,
        T::Int8 => Dtype::I8,
        T::Uint8 => Dtype::U8,
        T::Int16 => Dtype::I16,
        T::Uint16 => Dtype::U16,
        T::Int32 => Dtype::I32,
        T::Uint32 => Dtype::U32,
        T::Int64 => Dtype::I64,
        T::Uint64 => Dtype::U64,
        T::Complex64 => Dtype::C64,
        _ => return None,
    })
}
