//! What a scale is found from.

/// Smallest and largest of some weights and zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extent {
    /// Not above zero.
    pub min: f32,
    /// Not below zero.
    pub max: f32,
}

impl Extent {
    /// Of weights whose smallest and largest are these. Where they are zeros of both signs, both ends
    /// are the first of the weights: which comes first decides a sign in [`super::onnx_runtime`].
    pub fn new(min: f32, max: f32, first: impl FnOnce() -> f32) -> Self {
        let both_zeros = min == 0.0 && max == 0.0 && min.to_bits() != max.to_bits();
        let [min, max] = if both_zeros { [first(); 2] } else { [min, max] };
        Self::of_ends(min, max)
    }

    /// Of weights whose smallest and largest are these, and no zeros of both signs.
    #[inline(always)]
    pub fn of_ends(min: f32, max: f32) -> Self {
        // Not `f32::min`, which may give a zero of either sign.
        Self { min: if min <= 0.0 { min } else { 0.0 }, max: if max >= 0.0 { max } else { 0.0 } }
    }

    /// Of weights of which only the largest magnitude is known.
    pub const fn of_amax(amax: f32) -> Self {
        Self { min: -amax, max: amax }
    }

    /// Largest magnitude.
    #[inline(always)]
    pub fn amax(self) -> f32 {
        // Either end may be a zero of either sign.
        self.max.max(-self.min).abs()
    }
}
