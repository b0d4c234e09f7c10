use multiversion::multiversion;

use super::nvfp4_search::nvfp4_search;
use crate::format::nvfp4::{BLOCK_BYTES, BLOCK_LEN, Scaling};
use crate::format::{Nvfp4Tables, SCALE_CODES};
use crate::numeric::SourceFloat;

/// Thresholds of one scale code in the weights' own width.
#[derive(Clone, Copy)]
struct Starts<F: SourceFloat> {
    codes: [F::Bits; 7],
    sign: F::Bits,
}

/// Packed codes and block scales of whole blocks. Twin of `shaders/nvfp4_quantize.wgsl`.
pub fn nvfp4_quantize<F: SourceFloat>(weights: &[F], tables: &Nvfp4Tables) -> (Vec<u8>, Vec<u8>) {
    let blocks = weights.as_chunks::<BLOCK_LEN>().0;
    let mut codes = vec![0; blocks.len() * BLOCK_BYTES];
    let searched = tables.search.as_ref().map(|search| nvfp4_search(weights, search));
    let are_known = searched.is_some();
    let mut scales = searched.unwrap_or_else(|| vec![0; blocks.len()]);
    let starts = tables.code_starts.iter().zip(&tables.sign_starts);
    let starts: Vec<Starts<F>> = starts
        .map(|(codes, sign)| Starts { codes: codes.map(narrow::<F>), sign: narrow::<F>(*sign) })
        .collect();
    quantize_blocks(
        blocks,
        starts.as_slice().try_into().expect("the tables hold every scale code"),
        (&tables.scaling, are_known),
        codes.as_chunks_mut::<BLOCK_BYTES>().0,
        &mut scales,
    );
    (codes, scales)
}

fn narrow<F: SourceFloat>(start: u32) -> F::Bits {
    start.try_into().unwrap_or(F::UNREACHABLE)
}

#[multiversion(targets = "simd")]
fn quantize_blocks<F: SourceFloat>(
    blocks: &[[F; BLOCK_LEN]],
    starts: &[Starts<F>; SCALE_CODES],
    (scaling, scales_are_known): (&Scaling, bool),
    codes: &mut [[u8; BLOCK_BYTES]],
    scales: &mut [u8],
) {
    for ((block, packed), scale) in blocks.iter().zip(codes).zip(scales) {
        let magnitudes = block.map(F::magnitude);
        let amax = magnitudes.into_iter().max().expect("a block has weights");
        if !scales_are_known {
            *scale = scaling.block_scale(F::from_magnitude(amax).to_f32());
        }
        let starts = &starts[usize::from(*scale) % SCALE_CODES];

        // A code is the number of thresholds that the magnitude has reached.
        let mut unpacked = [0u8; BLOCK_LEN];
        for i in 0..BLOCK_LEN {
            let mut code = 0;
            for start in &starts.codes {
                code += u8::from(magnitudes[i] >= *start);
            }
            let below_zero = block[i].sign_bit() & (magnitudes[i] >= starts.sign);
            unpacked[i] = code | (u8::from(below_zero) << 3);
        }
        for i in 0..BLOCK_BYTES {
            packed[i] = unpacked[2 * i] | (unpacked[2 * i + 1] << 4);
        }
    }
}
