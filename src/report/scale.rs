//! Where a number stands among others, for colours and axes.

use super::column::Column;

/// How places follow from numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Equal differences are equally far apart.
    Linear,
    /// Equal ratios are equally far apart.
    Log,
    /// As linear, with 0 in the middle.
    Signed,
}

/// The range of a column's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// The column.
    pub column: Column,
    /// Smallest number; of a logarithmic scale, the smallest above 0.
    pub min: f64,
    /// Largest number.
    pub max: f64,
    /// How places follow from numbers.
    pub spread: Spread,
}

/// Numbers whose ratio is larger than this are shown on a logarithmic scale.
const WIDE: f64 = 100.0;

impl Scale {
    /// The scale that suits some numbers; `None` if none is finite.
    pub fn of(column: Column, numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (mut min, mut max, mut above_zero) = (f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY);
        for number in numbers.into_iter().filter(|number| number.is_finite()) {
            (min, max) = (min.min(number), max.max(number));
            if number > 0.0 {
                above_zero = above_zero.min(number);
            }
        }
        if min > max {
            return None;
        }
        let is_wide = min >= 0.0 && max > WIDE * above_zero;
        let scale = match column {
            Column::SearchGain => {
                let end = max.max(-min);
                Self { column, min: -end, max: end, spread: Spread::Signed }
            }
            column if column.is_magnitude() && is_wide => {
                Self { column, min: above_zero, max, spread: Spread::Log }
            }
            _ => Self { column, min, max, spread: Spread::Linear },
        };
        Some(scale)
    }

    /// Where a number stands: 0 at the smallest, 1 at the largest; on a signed scale −1 to 1. In the
    /// middle if all are equal.
    pub fn place(&self, number: f64) -> f64 {
        let between = |low: f64, number: f64, high: f64| match high > low {
            true => ((number - low) / (high - low)).clamp(0.0, 1.0),
            false => 0.5,
        };
        match self.spread {
            Spread::Linear => between(self.min, number, self.max),
            Spread::Signed => 2.0 * between(self.min, number, self.max) - 1.0,
            Spread::Log if number <= 0.0 => 0.0,
            Spread::Log => between(self.min.ln(), number.ln(), self.max.ln()),
        }
    }

    /// The number at a part of the way from the smallest to the largest.
    pub fn at(&self, part: f64) -> f64 {
        match self.spread {
            Spread::Linear | Spread::Signed => self.min + part * (self.max - self.min),
            Spread::Log => self.min * (self.max / self.min).powf(part),
        }
    }
}

impl Column {
    /// Whether its numbers are magnitudes of weights, which are compared by their ratios.
    pub const fn is_magnitude(self) -> bool {
        matches!(self, Self::Amax | Self::MeanAbs | Self::StdDev | Self::MaxError)
    }
}

/// The ticks of a logarithmic axis between two numbers: powers of ten, and steps between them where few
/// powers are in sight.
pub fn log_ticks(min: f64, max: f64) -> Vec<f64> {
    let known = min > 0.0 && max.is_finite() && min <= max;
    if !known {
        return Vec::new();
    }
    let (low, high) = (min.log10().floor() as i32, max.log10().ceil() as i32);
    let steps: &[f64] = match max / min {
        ..8.0 => &[1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
        8.0..50.0 => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0],
        50.0..1e4 => &[1.0, 2.0, 5.0],
        _ => &[1.0],
    };
    let stride = ((high - low) / 8).max(1) as usize;
    let all = (low..=high).step_by(stride).flat_map(|power| {
        steps.iter().map(move |step| format!("{step}e{power}").parse().unwrap_or(f64::NAN))
    });
    all.filter(|tick| (min..=max).contains(tick)).collect()
}

/// The ticks of a linear axis between two numbers: about six, at round numbers.
pub fn linear_ticks(min: f64, max: f64) -> Vec<f64> {
    let range = max - min;
    if !range.is_finite() || range <= 0.0 {
        return Vec::new();
    }
    let power = 10f64.powf((range / 6.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = step.into_iter().find(|step| range / step <= 8.0).unwrap_or(range);
    let (first, last) = ((min / step).ceil() as i64, (max / step).floor() as i64);
    (first..=last).map(|n| n as f64 * step).collect()
}

/// A tick's number without digits that say nothing.
pub fn tick_text(number: f64) -> String {
    let is_near = number == 0.0 || (1e-4..1e6).contains(&number.abs());
    let rounded: f64 = format!("{number:.9e}").parse().unwrap_or(number);
    if is_near { rounded.to_string() } else { format!("{rounded:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magnitudes_over_two_decades_are_on_a_logarithmic_scale() {
        let scale = Scale::of(Column::Amax, [0.01, 10.0, 0.1, f64::NAN, 0.0]).unwrap();
        assert_eq!((scale.min, scale.max, scale.spread), (0.01, 10.0, Spread::Log));
        assert!((scale.place(0.1) - 1.0 / 3.0).abs() < 1e-12);
        assert!((scale.at(1.0 / 3.0) - 0.1).abs() < 1e-12);
        assert_eq!((scale.place(0.0), scale.place(1e9)), (0.0, 1.0));
        let near = Scale::of(Column::Amax, [0.2, 10.0]).unwrap();
        assert_eq!(near.spread, Spread::Linear);
        let bytes = Scale::of(Column::BytesSaved, [1.0, 1e9]).unwrap();
        assert_eq!(bytes.spread, Spread::Linear);
    }

    #[test]
    fn a_gain_has_zero_in_the_middle() {
        let scale = Scale::of(Column::SearchGain, [-1.0, 4.0]).unwrap();
        let places = [-4.0, -2.0, 0.0, 4.0].map(|number| scale.place(number));
        assert_eq!(places, [-1.0, -0.5, 0.0, 1.0]);
        assert_eq!((scale.at(0.0), scale.at(0.5)), (-4.0, 0.0));
    }

    #[test]
    fn equal_numbers_stand_in_the_middle_and_none_has_no_scale() {
        assert_eq!(Scale::of(Column::Sqnr, [20.0, 20.0]).unwrap().place(20.0), 0.5);
        assert_eq!(Scale::of(Column::Sqnr, [f64::INFINITY, f64::NAN]), None);
    }

    #[test]
    fn ticks_are_round_and_in_sight() {
        assert_eq!(log_ticks(0.05, 3.0), [0.05, 0.1, 0.2, 0.5, 1.0, 2.0]);
        assert_eq!(log_ticks(1e-6, 1.0).len(), 7);
        assert_eq!(log_ticks(0.0, 1.0), [0.0; 0]);
        assert_eq!(linear_ticks(18.3, 22.1), [18.5, 19.0, 19.5, 20.0, 20.5, 21.0, 21.5, 22.0]);
        assert_eq!(linear_ticks(1.0, 1.0), [0.0; 0]);
    }

    #[test]
    fn ticks_are_written_as_short_as_they_can_be() {
        let shown = [0.30000000000000004, 20.0, 1e-6, 0.0].map(tick_text);
        assert_eq!(shown, ["0.3", "20", "1e-6", "0"]);
    }
}
