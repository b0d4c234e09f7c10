//! Formats whose weights are codes times one scale: their arithmetic.

use super::{Element, Extent, GroupScale, ScaleRule, ScaleSearch, ScaleStore, Scope};
use crate::numeric::{FloatKind, rounding};

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
