//! Formats whose weights are codes times one scale: what they have in common.

use super::{ScaleRule, ScaleSearch};
use crate::numeric::{FloatKind, e2m1, e4m3, e8m0, rounding};

/// Which weights of a matrix share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All.
    Tensor,
    /// Those of a row.
    Row,
    /// So many that follow one another in a row, and at its end what is left.
    Group(usize),
    /// A square of so many rows and columns; at the edges what there is of it.
    Tile(usize),
}

impl Scope {
    /// Rows that share scales; `None` if all do. Chunks of a matrix begin at a multiple of it.
    pub const fn rows(self) -> Option<usize> {
        match self {
            Self::Tensor => None,
            Self::Row | Self::Group(_) => Some(1),
            Self::Tile(len) => Some(len),
        }
    }

    /// Scales side by side over rows of `columns`.
    pub const fn across(self, columns: usize) -> usize {
        match self {
            Self::Tensor | Self::Row => 1,
            Self::Group(len) | Self::Tile(len) => columns.div_ceil(len),
        }
    }

    /// Scales of a matrix.
    pub const fn count(self, rows: usize, columns: usize) -> usize {
        let down = match self.rows() {
            None => 1,
            Some(len) => rows.div_ceil(len),
        };
        down * self.across(columns)
    }

    /// Number of the scale that a weight has.
    pub const fn index(self, row: usize, column: usize, columns: usize) -> usize {
        match self {
            Self::Tensor => 0,
            Self::Row => row,
            Self::Group(len) => row * self.across(columns) + column / len,
            Self::Tile(len) => row / len * self.across(columns) + column / len,
        }
    }

    /// Place of the first weight that has a scale, in a matrix stored row by row.
    pub const fn first(self, scale: usize, columns: usize) -> usize {
        let across = self.across(columns);
        match self {
            Self::Tensor => 0,
            Self::Row => scale * columns,
            Self::Group(len) => scale / across * columns + scale % across * len,
            Self::Tile(len) => scale / across * len * columns + scale % across * len,
        }
    }
}

/// Which way a value halfway between two E2M1 numbers goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SmallFloatTies {
    /// To the even code; only values below zero have the sign bit.
    Even,
    /// Towards zero; everything that is not above zero has the sign bit, zero included.
    Down,
}

/// What a code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    /// A float of 4 bits.
    E2m1(SmallFloatTies),
    /// A float of 8 bits, ties to even, saturating.
    E4m3,
    /// A whole number of so many bits (two's complement), ties to even, saturating.
    Int(u8),
}

impl Element {
    /// Bits of a code.
    pub const fn bits(self) -> u8 {
        match self {
            Self::E2m1(_) => 4,
            Self::E4m3 => 8,
            Self::Int(bits) => bits,
        }
    }

    /// The code of a quotient, in a byte: whole numbers are extended by their sign, other codes
    /// have zeros above.
    #[inline(always)]
    pub fn encode(self, quotient: f32) -> u8 {
        self.encode_and_round(quotient).0
    }

    /// The code of a quotient, and the number that it is.
    #[inline(always)]
    pub fn encode_and_round(self, quotient: f32) -> (u8, f32) {
        match self {
            Self::E2m1(SmallFloatTies::Even) => e2m1::encode_and_round(quotient),
            Self::E2m1(SmallFloatTies::Down) => {
                let code = e2m1::encode_ties_down(quotient);
                (code, e2m1::decode(code))
            }
            Self::E4m3 => e4m3::encode_and_round(quotient),
            Self::Int(bits) => {
                let limit = (1i32 << (bits - 1)) as f32;
                let whole = rounding::whole_ties_even(quotient.clamp(-limit, limit - 1.0));
                // By way of the code, which is 0 also where the quotient is no number.
                (whole as u8, f32::from(whole as i8))
            }
        }
    }

    /// The number that a code is.
    #[inline(always)]
    pub fn decode(self, code: u8) -> f32 {
        match self {
            Self::E2m1(_) => e2m1::decode(code),
            Self::E4m3 => e4m3::decode(code),
            Self::Int(_) => f32::from(code as i8),
        }
    }

    /// Whether a quotient is at most one step beyond the numbers that codes are.
    #[inline(always)]
    pub fn reaches(self, quotient: f32) -> bool {
        match self {
            Self::E2m1(_) => quotient.abs() <= e2m1::MAX + 2.0,
            Self::E4m3 => quotient.abs() <= e4m3::MAX + 32.0,
            Self::Int(bits) => {
                let limit = (1i32 << (bits - 1)) as f32;
                (-limit - 1.0..=limit).contains(&quotient)
            }
        }
    }
}

/// How a quotient is rounded before it becomes a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quotient {
    /// Once, to f32.
    F32,
    /// To f32 and then to the type of the weights.
    Own,
    /// There is no quotient, but the product with the reciprocal of the scale (0 for a scale of 0).
    /// The unsigned zero point is added to it, and the sum rounded to the nearest unsigned code, ties
    /// away from zero. Reciprocal, product and sum are each rounded to f32.
    Reciprocal,
    /// There is no quotient, but the product with the reciprocal of the scale, each rounded to f32.
    /// It is rounded to the nearest whole number, ties to even, before the zero point is added.
    ProductF32,
    /// The same with a reciprocal and a product that are rounded to f32 and then to the type of the
    /// weights, as is the sum.
    ProductOwn,
}

impl Quotient {
    /// Whether there are quotients, and no products.
    #[inline(always)]
    pub const fn divides(self) -> bool {
        matches!(self, Self::F32 | Self::Own)
    }
}

/// The type that scales are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScaleStore {
    /// f32.
    F32,
    /// The type of the weights.
    Own,
    /// A byte `b` for 2^(b − 127).
    E8m0,
}

impl ScaleStore {
    /// Bytes of a scale, for weights of `kind`.
    pub const fn bytes(self, kind: FloatKind) -> usize {
        match self {
            Self::F32 => 4,
            Self::Own => kind.bytes(),
            Self::E8m0 => 1,
        }
    }

    /// The smallest normal number of the type, and the largest.
    pub fn range(self, kind: FloatKind) -> (f32, f32) {
        match (self, kind) {
            (Self::E8m0, _) => (0.0, e8m0::decode(e8m0::NAN_CODE - 1)),
            (Self::Own, kind) => (kind.min_normal(), kind.max()),
            (Self::F32, _) => (FloatKind::F32.min_normal(), FloatKind::F32.max()),
        }
    }

    /// Scales as they are stored, little-endian.
    pub fn encode(self, scales: &[GroupScale], kind: FloatKind) -> Vec<u8> {
        match (self, kind) {
            (Self::E8m0, _) => stored(scales, |scale| [e8m0::encode(scale)]),
            (Self::Own, FloatKind::Bf16 | FloatKind::F16) => {
                stored(scales, |scale| (kind.pattern(scale) as u16).to_le_bytes())
            }
            (Self::Own | Self::F32, _) => stored(scales, f32::to_le_bytes),
        }
    }
}

/// Scales one after the other. Not `flat_map`, which goes byte by byte.
fn stored<const N: usize>(scales: &[GroupScale], bytes: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
    scales.iter().map(|group| bytes(group.scale)).collect::<Vec<_>>().into_flattened()
}

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

/// What the weights of a group are divided by, and what is then added.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupScale {
    /// Finite and exact in the type that scales are stored in; above zero, but under
    /// [`Quotient::Reciprocal`] of either sign, or zero.
    pub scale: f32,
    /// A whole number that a code can be; 0 in symmetric formats.
    pub zero_point: i8,
}

impl GroupScale {
    /// A scale without a zero point.
    pub const fn symmetric(scale: f32) -> Self {
        Self { scale, zero_point: 0 }
    }
}

/// The arithmetic of a format with one level of scales:
///
/// ```text
/// (scale, zero point) = rule(extent of the group), or what a search finds to be better
/// quotient            = weight / scale, rounded to f32, then as `quotient` says
/// code                = element nearest to quotient + zero point
/// weight              ≈ (code − zero point) · scale
/// ```
///
/// Where there are products and no quotients, [`Quotient`] says what is in the second and third line.
#[derive(Debug, Clone, Copy)]
pub struct Scheme {
    /// Which weights share a scale.
    pub scope: Scope,
    /// What a code is.
    pub element: Element,
    /// Whether groups have zero points.
    pub zero_points: bool,
    /// How scales are stored.
    pub store: ScaleStore,
    /// How quotients are rounded.
    pub quotient: Quotient,
    /// The scales of groups from the extents of their weights.
    pub rule: ScaleRule,
    /// Whether better scales than those of the rule are searched for, by [`k_quant`]; other searches
    /// are of NVFP4.
    ///
    /// [`k_quant`]: super::k_quant
    pub search: ScaleSearch,
}

impl Scheme {
    /// What the rule makes of the extent of a group of weights of type `kind`.
    pub fn scale(&self, extent: Extent, kind: FloatKind) -> GroupScale {
        let mut scale = GroupScale::symmetric(0.0);
        self.rule.scales(&[extent], kind, std::slice::from_mut(&mut scale));
        scale
    }

    /// Whether its scales may be below zero, or zero.
    pub fn has_signed_scales(&self) -> bool {
        self.quotient == Quotient::Reciprocal
    }

    /// A scale without its sign, where that has a meaning.
    pub fn magnitude(&self, group: GroupScale) -> f32 {
        if self.has_signed_scales() { group.scale.abs() } else { group.scale }
    }

    /// Rounds what became of a weight of type `kind` to what this has instead of f32.
    #[inline(always)]
    fn round(&self, value: f32, kind: FloatKind) -> f32 {
        match self.quotient {
            Quotient::Own | Quotient::ProductOwn => kind.round(value),
            Quotient::F32 | Quotient::Reciprocal | Quotient::ProductF32 => value,
        }
    }

    /// What weights of type `kind` are multiplied by where they are not divided. Infinite for the
    /// smallest of scales that [`Quotient::Reciprocal`] has.
    #[inline(always)]
    pub fn reciprocal(&self, group: GroupScale, kind: FloatKind) -> f32 {
        if self.quotient == Quotient::Reciprocal && group.scale == 0.0 {
            return 0.0;
        }
        self.round(1.0 / group.scale, kind)
    }

    /// The code of a weight of type `kind`.
    #[inline(always)]
    pub fn encode(&self, weight: f32, group: GroupScale, kind: FloatKind) -> u8 {
        self.encode_and_round(weight, group, kind).0
    }

    /// The code of a weight of type `kind`, and the weight that it stands for, as [`Self::decode`] has it.
    #[inline(always)]
    pub fn encode_and_round(&self, weight: f32, group: GroupScale, kind: FloatKind) -> (u8, f32) {
        let (code, number) = self.encode_number(weight, group, kind);
        (code, self.value(number, group))
    }

    #[inline(always)]
    fn encode_number(&self, weight: f32, group: GroupScale, kind: FloatKind) -> (u8, f32) {
        let round = |value: f32| self.round(value, kind);
        let mut quotient = match self.quotient {
            Quotient::Reciprocal => return self.encode_by_reciprocal(weight, group, kind),
            Quotient::F32 | Quotient::Own => round(weight / group.scale),
            Quotient::ProductF32 | Quotient::ProductOwn => {
                round(weight * self.reciprocal(group, kind)).round_ties_even()
            }
        };
        if self.zero_points {
            quotient = round(quotient + f32::from(group.zero_point));
        }
        self.element.encode_and_round(quotient)
    }

    /// The code of a weight under [`Quotient::Reciprocal`], and the number that it is.
    #[inline(always)]
    fn encode_by_reciprocal(&self, weight: f32, group: GroupScale, kind: FloatKind) -> (u8, f32) {
        // Unsigned codes are so much more than signed ones.
        let half = 1u8 << (self.element.bits() - 1);
        let zero_point = f32::from(group.zero_point) + f32::from(half);
        let sum = weight * self.reciprocal(group, kind) + zero_point;
        // Zero times infinity is no number, and gets the smallest code.
        let unsigned = rounding::whole_ties_up(sum.clamp(0.0, f32::from(half) * 2.0 - 1.0));
        let code = (unsigned as u8).wrapping_sub(half);
        (code, f32::from(code.cast_signed()))
    }

    /// Whether a weight lies within half a step of what a code stands for: whether it gets that code,
    /// or the other zero, under the same scale. Beyond the largest and smallest numbers of a code it
    /// may be a step away. `kind` is the type of the weight, and `made_of` that of the weights that
    /// the codes are of.
    ///
    /// Where there are no quotients the distance decides, as [`Self::steps_apart`] says; a scale of 0
    /// then only matches zeros.
    #[inline(always)]
    pub fn matches(
        &self,
        weight: f32,
        code: u8,
        group: GroupScale,
        [kind, made_of]: [FloatKind; 2],
    ) -> bool {
        if !self.quotient.divides() {
            let [steps, at_ends] = self.steps_apart([kind, made_of]);
            let steps = if self.is_clipped(code) { at_ends } else { steps };
            let value = self.decode(code, group);
            let is_near = (weight - value).abs() <= steps * group.scale.abs();
            return is_near & weight.is_finite() & value.is_finite();
        }
        let number = self.element.decode(self.encode(weight, group, kind));
        let beyond = weight / group.scale + f32::from(group.zero_point);
        number == self.element.decode(code) && self.element.reaches(beyond)
    }

    /// Steps of a scale that a weight of the first type may be away from what a code of one of the
    /// second stands for where there are no quotients: where codes are not clipped, and where they
    /// are. That is half a step; what f32 rounds; and as many roundings to the coarser of the types as
    /// there are steps, since scales are rounded after zero points are taken, or reciprocals and
    /// products are rounded.
    #[inline(always)]
    pub fn steps_apart(&self, kinds: [FloatKind; 2]) -> [f32; 2] {
        let largest = (1u32 << self.element.bits()) as f32 - 1.0;
        let epsilon = kinds[0].epsilon().max(kinds[1].epsilon());
        let steps = 0.51 + largest * epsilon;
        [steps, steps + 0.5]
    }

    /// Whether weights beyond a code get it where there are no quotients. The smallest code of a
    /// symmetric format is that of the weight that made the scale.
    #[inline(always)]
    fn is_clipped(&self, code: u8) -> bool {
        let half = 1i16 << (self.element.bits() - 1);
        let code = i16::from(code as i8);
        code == half - 1 || (self.zero_points && code == -half)
    }

    /// The weight that a code stands for, rounded once to f32.
    #[inline(always)]
    pub fn decode(&self, code: u8, group: GroupScale) -> f32 {
        self.value(self.element.decode(code), group)
    }

    #[inline(always)]
    fn value(&self, number: f32, group: GroupScale) -> f32 {
        // The difference of two small whole numbers is exact.
        let number = if self.zero_points { number - f32::from(group.zero_point) } else { number };
        number * group.scale
    }
}

/// A scheme for weights of one type, ready to quantize with.
#[derive(Debug, Clone, Copy)]
pub struct Coder {
    /// The arithmetic.
    pub scheme: Scheme,
    /// The type of the weights.
    pub kind: FloatKind,
    /// The largest magnitude of all weights that share a scale, where a tensor has one.
    pub amax: f32,
    /// The scale of the whole tensor, where all weights share one.
    pub tensor_scale: Option<GroupScale>,
}

impl Coder {
    /// For weights of `kind` of a tensor whose largest magnitude is `amax`, which only counts where
    /// all weights share a scale.
    pub fn new(scheme: Scheme, kind: FloatKind, amax: f32) -> Self {
        let of_tensor = scheme.scope == Scope::Tensor;
        let tensor_scale = of_tensor.then(|| scheme.scale(Extent::of_amax(amax), kind));
        Self { scheme, kind, amax, tensor_scale }
    }

    /// The scales of groups with such extents.
    pub fn scales(&self, extents: &[Extent], scales: &mut [GroupScale]) {
        match self.tensor_scale {
            Some(scale) => scales.fill(scale),
            None => self.scheme.rule.scales(extents, self.kind, scales),
        }
    }
}
