//! The buffers that one call works in.

use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, BindGroupLayout, Buffer, BufferDescriptor,
    BufferUsages, Device, Queue,
};

use super::gpu_data::{Params, Tables};
use crate::format::nvfp4::BLOCK_LEN;

/// Bytes of as many codes as a block has, a byte each.
pub const CODE_BYTES: usize = BLOCK_LEN;

/// Bytes that scales take for each block's worth of weights: three words a group, of which rows of 17
/// weights have two.
const SCALE_BYTES: usize = 24;

/// Bytes of a block's weights at their widest, and of its values.
pub const F32_BLOCK_BYTES: usize = BLOCK_LEN * size_of::<f32>();

/// Buffers for up to a number of blocks, bound in the order of `shaders/shared/bindings.wgsl`.
/// Calls take one from a pool and give it back, as allocating costs more than computing.
#[derive(Debug)]
pub struct Slot {
    /// Blocks there is room for.
    pub capacity: usize,
    params: Buffer,
    tables: Buffer,
    weights: Buffer,
    /// Codes.
    pub codes: Buffer,
    /// Scales.
    pub scales: Buffer,
    /// Maxima, extents, sums or values.
    pub results: Buffer,
    /// Where the host reads.
    pub readback: Buffer,
    /// All but `readback`.
    pub bind_group: BindGroup,
}

impl Slot {
    /// Buffers for `capacity` blocks.
    pub fn new(device: &Device, bindings: &BindGroupLayout, capacity: usize) -> Self {
        let buffer = |label, bytes: usize, usage| {
            let size = bytes.next_multiple_of(16) as u64;
            let label = Some(label);
            device.create_buffer(&BufferDescriptor {
                label,
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let (uniform, storage) = (BufferUsages::UNIFORM, BufferUsages::STORAGE);
        let (read, write) = (BufferUsages::COPY_SRC, BufferUsages::COPY_DST);
        let params = buffer("params", size_of::<Params>(), uniform | write);
        let tables = buffer("tables", size_of::<Tables>(), storage | write);
        let weights = buffer("weights", capacity * F32_BLOCK_BYTES, storage | write);
        let codes = buffer("codes", capacity * CODE_BYTES, storage | read | write);
        let scales = buffer("scales", capacity * SCALE_BYTES, storage | read | write);
        let results = buffer("results", capacity * F32_BLOCK_BYTES, storage | read);
        // The largest readback is that of values.
        let readback =
            buffer("readback", capacity * F32_BLOCK_BYTES, BufferUsages::MAP_READ | write);
        let bound = [&params, &tables, &weights, &codes, &scales, &results];
        let entries: Vec<_> = (0u32..)
            .zip(bound)
            .map(|(binding, buffer)| BindGroupEntry {
                binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let bind_group = device.create_bind_group(&BindGroupDescriptor {
            label: Some("slot"),
            layout: bindings,
            entries: &entries,
        });
        Self { capacity, params, tables, weights, codes, scales, results, readback, bind_group }
    }

    /// Uploads the parameters.
    pub fn write_params(&self, queue: &Queue, params: &Params) {
        queue.write_buffer(&self.params, 0, bytemuck::bytes_of(params));
    }

    /// Uploads the tables.
    pub fn write_tables(&self, queue: &Queue, tables: &Tables) {
        queue.write_buffer(&self.tables, 0, bytemuck::bytes_of(tables));
    }

    /// Uploads weights, and zeros up to a whole number of four weights of any kind.
    pub fn write_weights(&self, queue: &Queue, bytes: &[u8]) {
        write_padded::<16>(queue, &self.weights, bytes);
    }

    /// Uploads codes and scales.
    pub fn write_chunk(&self, queue: &Queue, codes: &[u8], scales: &[u8]) {
        write_padded::<4>(queue, &self.codes, codes);
        write_padded::<4>(queue, &self.scales, scales);
    }

    /// Uploads scales that are words.
    pub fn write_scales(&self, queue: &Queue, words: &[u32]) {
        queue.write_buffer(&self.scales, 0, bytemuck::cast_slice(words));
    }
}

/// Uploads bytes, and zeros up to a multiple of `N`.
fn write_padded<const N: usize>(queue: &Queue, buffer: &Buffer, bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<N>();
    if !whole.is_empty() {
        queue.write_buffer(buffer, 0, whole.as_flattened());
    }
    if !rest.is_empty() {
        let mut padded = [0; N];
        padded[..rest.len()].copy_from_slice(rest);
        queue.write_buffer(buffer, (whole.len() * N) as u64, &padded);
    }
}
