//! Where bins are, and bins put together into bars that can be seen.

use crate::inspect::{Axis, Bin, Histogram};

/// Where numbers are along the picture. On a logarithmic axis places are octaves above the smallest
/// magnitude, on either side of a gap around zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Places {
    /// The smallest magnitude; 0 on a linear axis.
    pub smallest: f64,
    /// Half of the gap.
    pub gap: f64,
    /// The place of the largest magnitude.
    pub end: f64,
}

impl Places {
    /// Those of a histogram.
    pub fn of(histogram: &Histogram) -> Self {
        let largest = histogram.bins.iter().map(|bin| bin.to.abs().max(bin.from.abs()));
        let largest = largest.fold(0.0, f64::max);
        match histogram.axis {
            Axis::Linear => {
                let end = if largest > 0.0 { largest } else { 1.0 };
                Self { smallest: 0.0, gap: 0.0, end }
            }
            Axis::Log => {
                let used = histogram.bins.iter().filter(|bin| bin.count > 0);
                let smallest = used.map(|bin| bin.from.abs().min(bin.to.abs()));
                let smallest = smallest.fold(f64::INFINITY, f64::min);
                let octaves = (largest / smallest).log2();
                let is_known = octaves.is_finite() && octaves > 0.0;
                let (smallest, octaves) = if is_known { (smallest, octaves) } else { (1.0, 1.0) };
                let gap = octaves / 20.0;
                Self { smallest, gap, end: octaves + gap }
            }
        }
    }

    /// Where a number is.
    pub fn place(&self, number: f64) -> f64 {
        if self.smallest == 0.0 {
            return number;
        }
        match number.abs() >= self.smallest {
            true => ((number.abs() / self.smallest).log2() + self.gap).copysign(number),
            false => number / self.smallest * self.gap,
        }
    }

    /// Numbers that deserve a text between two places.
    pub fn ticks(&self, low: f64, high: f64) -> Vec<f64> {
        if self.smallest == 0.0 {
            return crate::report::linear_ticks(low, high);
        }
        let number = |place: f64| self.smallest * (place - self.gap).exp2();
        let side = |low: f64, high: f64| {
            let low = low.max(self.gap);
            if high > low {
                crate::report::log_ticks(number(low), number(high))
            } else {
                Vec::new()
            }
        };
        let below = side(-high, -low).into_iter().rev().map(|tick| -tick);
        let zero = (low <= 0.0 && high >= 0.0).then_some(0.0);
        below.chain(zero).chain(side(low, high)).collect()
    }
}

/// So many bins together, counted from zero outwards on both sides.
pub fn bars(bins: &[Bin], together: usize) -> Vec<Bin> {
    let (below, above) = bins.split_at(bins.len() / 2);
    let join = |bins: &[Bin]| Bin {
        from: bins.first().map_or(0.0, |bin| bin.from),
        to: bins.last().map_or(0.0, |bin| bin.to),
        count: bins.iter().map(|bin| bin.count).sum(),
    };
    let below = below.rchunks(together.max(1)).rev().map(join);
    below.chain(above.chunks(together.max(1)).map(join)).collect()
}

/// How many bins to put together, if a bin has a width and a bar is to have another.
pub fn together(bin: f64, wanted: f64) -> usize {
    if bin > 0.0 { (wanted / bin).ceil().clamp(1.0, 4096.0) as usize } else { 1 }
        .next_power_of_two()
}

/// The standard deviation of all numbers that are finite, as if each were in the middle of its bin.
pub fn sigma(histogram: &Histogram) -> Option<f64> {
    let (mut sum, mut squares) = (0.0, 0.0);
    let mut count = (histogram.zeros + histogram.under) as f64;
    for bin in &histogram.bins {
        let (middle, n) = (f64::midpoint(bin.from, bin.to), bin.count as f64);
        count += n;
        sum += n * middle;
        squares += n * middle * middle;
    }
    let mean = sum / count;
    (count > 0.0).then(|| (squares / count - mean * mean).max(0.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bins(half: i32) -> Vec<Bin> {
        let bin = |i: i32| Bin { from: i.into(), to: (i + 1).into(), count: 1 };
        (-half..half).map(bin).collect()
    }

    #[test]
    fn bars_meet_at_zero_and_lose_no_weight() {
        for together in [1, 2, 4, 8] {
            let bars = bars(&bins(5), together);
            assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), 10);
            assert!(bars.windows(2).all(|pair| pair[0].to == pair[1].from));
            assert!(bars.iter().any(|bar| bar.from == 0.0));
        }
        assert_eq!([together(1.0, 0.5), together(1.0, 3.0), together(0.0, 1.0)], [1, 4, 1]);
    }

    #[test]
    fn logarithmic_places_grow_and_are_the_same_on_both_sides() {
        let places = Places { smallest: 0.25, gap: 0.5, end: 4.5 };
        let numbers = [-4.0, -0.25, -0.1, 0.0, 0.1, 0.25, 1.0, 4.0];
        let found = numbers.map(|number| places.place(number));
        assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!((found[0], found[7], found[3]), (-4.5, 4.5, 0.0));
        let ticks = places.ticks(-4.5, 4.5);
        assert!(ticks.windows(2).all(|pair| pair[0] < pair[1]) && ticks.contains(&0.0));
    }
}
