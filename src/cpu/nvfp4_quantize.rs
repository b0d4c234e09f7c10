use multiversion::multiversion;

use super::nvfp4_search::nvfp4_search;
use super::sums::{Part, Sums, nvfp4_errors, widen};
use crate::backend::{Nvfp4Chunk, Quantized};
use crate::format::Nvfp4Tables;
use crate::format::nvfp4::{BLOCK_BYTES, BLOCK_LEN, Scaling, encode_and_round};
use crate::format::packing::pack_row;
use crate::numeric::SourceFloat;

/// Blocks whose scales are found before their codes, so that both loops vectorise.
const TOGETHER: usize = 64;

/// Packed codes and block scales of whole blocks, and sums over them. Twin of
/// `shaders/nvfp4_quantize.wgsl`.
pub fn nvfp4_quantize<F: SourceFloat>(weights: &[F], tables: &Nvfp4Tables) -> Quantized {
    let blocks = weights.as_chunks::<BLOCK_LEN>().0;
    let mut codes = vec![0; blocks.len() * BLOCK_BYTES];
    let scaling = &tables.scaling;
    let mut scales = match &tables.search {
        Some(search) => nvfp4_search(weights, search),
        None => vec![0; blocks.len()],
    };
    let mut sums = Sums::new(scaling.amax);
    let packed = codes.as_chunks_mut::<BLOCK_BYTES>().0;
    let groups = blocks.chunks(TOGETHER).zip(packed.chunks_mut(TOGETHER));
    for ((blocks, codes), scales) in groups.zip(scales.chunks_mut(TOGETHER)) {
        if tables.search.is_none() {
            find_scales(blocks, scaling, scales);
        }
        quantize_blocks(blocks, scaling, scales, codes, &mut sums);
    }
    let chunk = Nvfp4Chunk { codes: &codes, scales: &scales };
    let (weights, errors) = sums.plain_or(|| nvfp4_errors(weights, chunk, scaling));
    Quantized { codes, scales, weights, errors }
}

#[multiversion(targets = "simd")]
fn find_scales<F: SourceFloat>(blocks: &[[F; BLOCK_LEN]], scaling: &Scaling, scales: &mut [u8]) {
    let mut amaxes = [0.0; TOGETHER];
    for (amax, block) in amaxes.iter_mut().zip(blocks) {
        let mut largest = F::Bits::default();
        for weight in block {
            largest = largest.max(weight.magnitude());
        }
        *amax = F::from_magnitude(largest).to_f32();
    }
    for (scale, amax) in scales.iter_mut().zip(amaxes) {
        *scale = scaling.block_scale(amax);
    }
}

/// Adds to sums weights as they are.
#[multiversion(targets = "simd")]
fn quantize_blocks<F: SourceFloat>(
    blocks: &[[F; BLOCK_LEN]],
    scaling: &Scaling,
    scales: &[u8],
    codes: &mut [[u8; BLOCK_BYTES]],
    sums: &mut Sums,
) {
    let mut steps = [0.0; TOGETHER];
    for (step, scale) in steps.iter_mut().zip(scales) {
        *step = scaling.step(*scale);
    }
    let mut part = Part::default();
    let mut unpacked = [0u8; TOGETHER * BLOCK_LEN];
    let (of_blocks, _) = unpacked.as_chunks_mut::<BLOCK_LEN>();
    for ((block, codes), step) in blocks.iter().zip(of_blocks).zip(steps) {
        let weights = widen(block);
        let mut values = [0.0; BLOCK_LEN];
        for i in 0..BLOCK_LEN {
            (codes[i], values[i]) = encode_and_round(weights[i], step);
        }
        part.add(&weights, 1.0);
        part.add_errors(&weights, &values, 1.0);
    }
    pack_row(&unpacked[..blocks.len() * BLOCK_LEN], codes.as_flattened_mut(), 0);
    sums.add(part);
}
