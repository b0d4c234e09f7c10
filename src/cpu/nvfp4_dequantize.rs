use crate::backend::Nvfp4Chunk;
use crate::format::Nvfp4Tables;
use crate::format::nvfp4::{BLOCK_BYTES, BLOCK_LEN, dequantize_block};

/// The f32 values of packed codes. Twin of `shaders/nvfp4_dequantize.wgsl`.
pub fn nvfp4_dequantize(chunk: Nvfp4Chunk<'_>, tables: &Nvfp4Tables) -> Vec<f32> {
    let blocks = chunk.codes.as_chunks::<BLOCK_BYTES>().0;
    let mut values = Vec::with_capacity(blocks.len() * BLOCK_LEN);
    for (packed, &scale) in blocks.iter().zip(chunk.scales) {
        values.extend(dequantize_block(packed, tables.scaling.step(scale)));
    }
    values
}
