use multiversion::multiversion;

use crate::format::SearchTables;
use crate::format::nvfp4::BLOCK_LEN;
use crate::format::nvfp4_search::{error, sum_of_block};
use crate::numeric::{SourceFloat, e2m1};

/// Scale codes of whole blocks, searched for. Twin of `shaders/nvfp4_search.wgsl`.
pub fn nvfp4_search<F: SourceFloat>(weights: &[F], tables: &SearchTables) -> Vec<u8> {
    let blocks = weights.as_chunks::<BLOCK_LEN>().0;
    let mut scales = vec![0; blocks.len()];
    search_blocks(blocks, tables, &mut scales);
    scales
}

#[multiversion(targets = "simd")]
fn search_blocks<F: SourceFloat>(
    blocks: &[[F; BLOCK_LEN]],
    tables: &SearchTables,
    scales: &mut [u8],
) {
    let search = &tables.search;
    for (block, scale) in blocks.iter().zip(scales) {
        let mut magnitudes = [0f32; BLOCK_LEN];
        for (magnitude, weight) in magnitudes.iter_mut().zip(block) {
            *magnitude = weight.to_f32().abs();
        }
        let amax = magnitudes.iter().fold(0f32, |amax, m| amax.max(*m));

        let likely = search.likely_trial(amax);
        let (mut best, mut least) = (search.len(), f32::INFINITY);
        for i in std::iter::once(likely).chain(0..search.len()) {
            let (trial, stored) = search.trial(i, amax);
            let step = search.steps[usize::from(trial)];
            // The sum is no less than its largest part: most trials end here.
            if error(amax, step) > least {
                continue;
            }
            let sum = error_of(&magnitudes, &tables.code_starts[usize::from(trial)], step);
            if sum < least || (sum == least && i < best) {
                (best, least, *scale) = (i, sum, stored);
            }
        }
    }
}

/// The error of a block in a form that vectorises: codes are thresholds reached, and numbers of
/// codes are bit fields.
#[inline(always)]
fn error_of(magnitudes: &[f32; BLOCK_LEN], code_starts: &[u32; 7], step: f32) -> f32 {
    let mut errors = [0f32; BLOCK_LEN];
    for i in 0..BLOCK_LEN {
        let mut code = 0u32;
        for start in code_starts {
            code += u32::from(magnitudes[i].to_bits() >= *start);
        }
        let difference = magnitudes[i] - e2m1::magnitude(code) * step;
        errors[i] = difference * difference;
    }
    sum_of_block(errors)
}
