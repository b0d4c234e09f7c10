//! Files that the reference tools wrote, and the backends that are held against them.

use std::collections::BTreeMap;

use super::{data, gpus};
use quantscope::backend::Backend;
use quantscope::cpu::Cpu;
use safetensors::SafeTensors;

/// The CPU and every GPU.
pub fn backends() -> Vec<Box<dyn Backend>> {
    let gpus = gpus().into_iter().map(|gpu| Box::new(gpu) as Box<dyn Backend>);
    std::iter::once(Box::new(Cpu) as Box<dyn Backend>).chain(gpus).collect()
}

/// Tensors of a file: shape and bytes, in memory that is aligned for every type.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<u64>, usize)>;

pub fn load(path: &str) -> Tensors {
    let file = std::fs::read(data(path)).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let copy = |(name, tensor): (&str, safetensors::tensor::TensorView<'_>)| {
        let bytes = tensor.data();
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        (name.to_owned(), (tensor.shape().to_vec(), words, bytes.len()))
    };
    tensors.iter().map(copy).collect()
}

pub fn bytes(tensors: &Tensors, name: &str) -> Vec<u8> {
    let (_, words, len) = tensors.get(name).unwrap_or_else(|| panic!("{name} is there"));
    bytemuck::cast_slice::<u64, u8>(words)[..*len].to_vec()
}
