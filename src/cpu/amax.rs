use multiversion::multiversion;

use crate::numeric::SourceFloat;

/// Lanes that the compiler turns into vector registers.
const LANES: usize = 64;

/// Largest magnitude pattern of any number of weights; 0 for none. Twin of `shaders/amax.wgsl`.
pub fn amax<F: SourceFloat>(weights: &[F]) -> u32 {
    let (chunks, rest) = weights.as_chunks::<LANES>();
    let body = lanes_max(chunks);
    rest.iter().fold(body, |max, w| max.max(w.magnitude().into()))
}

#[multiversion(targets = "simd")]
fn lanes_max<F: SourceFloat>(chunks: &[[F; LANES]]) -> u32 {
    let Some(first) = chunks.first() else { return 0 };
    let mut max: [F::Bits; LANES] = first.map(F::magnitude);
    for chunk in chunks {
        for lane in 0..LANES {
            max[lane] = max[lane].max(chunk[lane].magnitude());
        }
    }
    max.into_iter().fold(0, |total, lane| total.max(lane.into()))
}
