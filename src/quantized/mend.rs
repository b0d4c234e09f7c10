//! Scales that are no positive numbers, and global scales that have to change: what can be done
//! without the weights that a layer was made from.

use super::{Chunk, is_sound};
use crate::backend::{Backend, BackendError, Weights};
use crate::dialect::Dialect;
use crate::format::nvfp4::{BLOCK_BYTES, Rule, Scaling};
use crate::format::{GroupScale, Scheme};
use crate::numeric::{FloatKind, e4m3};
use crate::stats::{ErrorSums, WeightSums};

/// Everything of a packed byte but the signs of its two codes.
const MAGNITUDES: u8 = 0x77;

/// What became of scales that were no positive numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mended {
    /// Over codes that all stand for zero: any scale will do, and they got that of zeros.
    pub of_zeros: u64,
    /// Zero over other codes: the block read as zeros, and its codes became so.
    pub emptied: u64,
    /// NaN, infinite or negative over other codes: left, since what they stood for is not known.
    pub lost: u64,
}

impl Mended {
    /// Adds what was found in other scales.
    pub fn add(&mut self, other: &Self) {
        self.of_zeros += other.of_zeros;
        self.emptied += other.emptied;
        self.lost += other.lost;
    }

    /// Adds what was found under the same scales.
    pub fn add_same(&mut self, other: &Self) {
        self.of_zeros = self.of_zeros.max(other.of_zeros);
        self.emptied = self.emptied.max(other.emptied);
        self.lost = self.lost.max(other.lost);
    }

    /// Whether anything was found.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    fn count(&mut self, scale: f32, is_zeros: bool) {
        match (is_zeros, scale == 0.0) {
            (true, _) => self.of_zeros += 1,
            (false, true) => self.emptied += 1,
            (false, false) => self.lost += 1,
        }
    }
}

impl Chunk {
    /// Mends every scale that is no positive number, as far as that is possible.
    pub fn mend(&mut self) -> Mended {
        match self {
            Self::Nvfp4 { codes, scales, scaling } => {
                let mut mended = Mended::default();
                let blocks = codes.as_chunks_mut::<BLOCK_BYTES>().0;
                for (block, scale) in blocks.iter_mut().zip(scales) {
                    let value = e4m3::decode(*scale);
                    if is_sound(value) {
                        continue;
                    }
                    let is_zeros = block.iter().all(|byte| byte & MAGNITUDES == 0);
                    mended.count(value, is_zeros);
                    if is_zeros || value == 0.0 {
                        *scale = scaling.zero_block_scale();
                    }
                    if value == 0.0 && !is_zeros {
                        block.fill(0);
                    }
                }
                mended
            }
            Self::Grouped { codes, scales, columns, scheme, .. } => {
                mend_grouped(codes, scales, *columns, scheme)
            }
        }
    }

    /// Whether every code stands for zero.
    pub fn is_zeros(&self) -> bool {
        match self {
            Self::Nvfp4 { codes, .. } => codes.iter().all(|byte| byte & MAGNITUDES == 0),
            Self::Grouped { codes, scales, columns, scheme, .. } => {
                (0..codes.len()).all(|i| number(codes, scales, *columns, scheme, i) == 0.0)
            }
        }
    }

    /// The same codes under another global scale: every block scale becomes the nearest to what gives
    /// the same step. A format without a global scale stays as it is.
    pub fn rescaled(&self, global_scale: f32) -> Self {
        let mut chunk = self.clone();
        if let Self::Nvfp4 { scales, scaling, .. } = &mut chunk {
            let (own, new) = (f64::from(scaling.global_scale), f64::from(global_scale));
            let (factor, divisor) = match scaling.rule {
                Rule::CompressedTensors => (new, own),
                Rule::Dynamic | Rule::Static { .. } => (own, new),
            };
            for scale in scales {
                let exact = f64::from(e4m3::decode(*scale)) * factor / divisor;
                *scale = e4m3::encode((exact as f32).clamp(e4m3::MIN_SUBNORMAL, e4m3::MAX));
            }
            scaling.global_scale = global_scale;
        }
        chunk
    }

    /// Sums over the values of this chunk, and over their differences from those of another.
    pub fn difference(
        &self,
        other: &Self,
        backend: &dyn Backend,
    ) -> Result<(WeightSums, ErrorSums), BackendError> {
        let values = self.values(backend)?;
        let weights = Weights { kind: FloatKind::F32, bytes: bytemuck::cast_slice(&values) };
        other.errors(backend, weights)
    }
}

/// The global scale that an export gives a layer of zeros.
pub fn global_scale_of_zeros(dialect: Dialect) -> f32 {
    Scaling::new(dialect.nvfp4_rule(), FloatKind::F32, 0.0).global_scale
}

/// What a code is, less its zero point.
fn number(codes: &[u8], scales: &[GroupScale], columns: usize, scheme: &Scheme, i: usize) -> f32 {
    let group = scales[scheme.scope.index(i / columns, i % columns, columns)];
    scheme.decode(codes[i], GroupScale { scale: 1.0, ..group })
}

fn mend_grouped(
    codes: &mut [u8],
    scales: &mut [GroupScale],
    columns: usize,
    scheme: &Scheme,
) -> Mended {
    let mut mended = Mended::default();
    if columns == 0 || scales.iter().all(|group| is_sound(group.scale)) {
        return mended;
    }
    let mut is_zeros = vec![true; scales.len()];
    for i in 0..codes.len() {
        let group = scheme.scope.index(i / columns, i % columns, columns);
        is_zeros[group] &= number(codes, scales, columns, scheme, i) == 0.0;
    }
    let emptied: Vec<bool> =
        scales.iter().zip(&is_zeros).map(|(group, zeros)| group.scale == 0.0 && !zeros).collect();
    for (group, is_zeros) in scales.iter_mut().zip(is_zeros) {
        if !is_sound(group.scale) {
            mended.count(group.scale, is_zeros);
            if is_zeros || group.scale == 0.0 {
                group.scale = 1.0;
            }
        }
    }
    for (i, code) in codes.iter_mut().enumerate() {
        let group = scheme.scope.index(i / columns, i % columns, columns);
        if emptied[group] {
            *code = scheme.encode(0.0, scales[group], FloatKind::F32);
        }
    }
    mended
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Arithmetic, Format};

    fn nvfp4(codes: Vec<u8>, scales: Vec<u8>, dialect: Dialect, global_scale: f32) -> Chunk {
        let scaling = Scaling::stored(dialect.nvfp4_rule(), FloatKind::F32, global_scale);
        Chunk::Nvfp4 { codes, scales, scaling }
    }

    #[test]
    fn what_reads_as_zeros_becomes_zeros_and_what_is_lost_stays() {
        // Zeros of both signs under NaN, zero and a negative; weights under zero, −0, NaN, 1.
        let codes: Vec<u8> = [0x80, 0x00, 0x08, 0x21, 0x21, 0x21, 0x21]
            .iter()
            .flat_map(|byte| [*byte; BLOCK_BYTES])
            .collect();
        let scales = vec![0x7F, 0x00, 0xB8, 0x00, 0x80, 0xFF, 0x38];
        for (dialect, zero) in [(Dialect::Modelopt, 0x38), (Dialect::CompressedTensors, 0x20)] {
            let mut chunk = nvfp4(codes.clone(), scales.clone(), dialect, 1.0);
            assert_eq!(chunk.mend(), Mended { of_zeros: 3, emptied: 2, lost: 1 });
            let Chunk::Nvfp4 { codes: mended, scales, .. } = chunk else { unreachable!() };
            assert_eq!(scales, [zero, zero, zero, zero, zero, 0xFF, 0x38]);
            assert_eq!(mended[..24], codes[..24]);
            assert_eq!(mended[24..40], [0; 16]);
            assert_eq!(mended[40..], codes[40..]);
        }
    }

    #[test]
    fn zero_is_the_zero_point_where_there_is_one() {
        let format = Format::Int { bits: 4, group: Some(32), symmetric: false };
        let scheme = format.scheme(Arithmetic::CompressedTensors).unwrap();
        let group = |scale| GroupScale { scale, zero_point: -3 };
        let codes = [[0xFD; 32], [2; 32], [0xFD; 32], [2; 32]].concat();
        let mut chunk = Chunk::Grouped {
            codes,
            scales: vec![group(f32::NAN), group(0.0), group(0.5), group(0.5)],
            columns: 64,
            scheme,
            kind: FloatKind::F32,
        };
        assert_eq!(chunk.mend(), Mended { of_zeros: 1, emptied: 1, lost: 0 });
        let Chunk::Grouped { codes, scales, .. } = chunk else { unreachable!() };
        assert_eq!(codes, [[0xFD; 96].as_slice(), &[2; 32]].concat());
        assert_eq!(scales.map_scales(), [1.0, 1.0, 0.5, 0.5]);
    }

    trait Scales {
        fn map_scales(&self) -> Vec<f32>;
    }

    impl Scales for Vec<GroupScale> {
        fn map_scales(&self) -> Vec<f32> {
            self.iter().map(|group| group.scale).collect()
        }
    }

    #[test]
    fn steps_stay_where_the_new_scale_can_say_them() {
        // ModelOpt multiplies by its global scale, compressed-tensors divides.
        for (dialect, new) in [(Dialect::Modelopt, 4.0), (Dialect::CompressedTensors, 0.25)] {
            let chunk = nvfp4(vec![0x21; 24], vec![0x7E, 0x38, 0x01], dialect, 1.0);
            let Chunk::Nvfp4 { scales, scaling, codes } = chunk.rescaled(new) else {
                unreachable!()
            };
            assert_eq!(scales, [0x6E, 0x28, 0x01], "a quarter, and no scale vanishes");
            assert_eq!((scaling.global_scale, codes), (new, vec![0x21; 24]));
        }
    }
}
