use crate::backend::{Nvfp4Chunk, TieMatch};
use crate::format::nvfp4::{BLOCK_LEN, Scaling, matches};
use crate::numeric::SourceFloat;

/// Compares weights with codes. Twin of `shaders/nvfp4_match.wgsl`.
pub fn nvfp4_match<F: SourceFloat>(
    weights: &[F],
    chunk: Nvfp4Chunk<'_>,
    scaling: &Scaling,
) -> TieMatch {
    let mut result = TieMatch { weights: weights.len() as u64, ..Default::default() };
    for (i, weight) in weights.iter().enumerate() {
        let code = chunk.codes[i / 2] >> (4 * (i % 2));
        let step = scaling.step(chunk.scales[i / BLOCK_LEN]);
        if !matches(weight.to_f32(), code, step) {
            result.apart += 1;
            result.first = result.first.or(Some(i as u64));
        }
    }
    result
}
