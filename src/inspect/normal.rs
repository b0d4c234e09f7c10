//! The normal distribution, of which weights mostly are.

/// Numbers of the middle, and of the middle's denominator, highest power first.
const MIDDLE: [[f64; 6]; 2] = [
    [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ],
    [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ],
];

/// The same of the tails.
const TAIL: ([f64; 6], [f64; 5]) = (
    [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ],
    [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ],
);

/// Where tails begin.
const TAIL_BEGINS: f64 = 0.02425;

/// The number that a standard normal one is below with probability `p`, 0 < p < 1: the rational
/// approximations of Acklam, which are off by less than 1.2·10⁻⁹ of the number.
fn quantile(p: f64) -> f64 {
    let polynomial = |factors: &[f64], x: f64| factors.iter().fold(0.0, |sum, f| sum * x + f);
    if p > 0.5 {
        return -quantile(1.0 - p);
    }
    if p < TAIL_BEGINS {
        let q = (-2.0 * p.ln()).sqrt();
        return polynomial(&TAIL.0, q) / polynomial(&TAIL.1, q);
    }
    let q = p - 0.5;
    q * polynomial(&MIDDLE[0], q * q) / polynomial(&MIDDLE[1], q * q)
}

/// So many numbers that stand for a standard normal distribution: the quantiles of (i + ½) / count,
/// ascending, divided so that the outer ones are −1 and 1. A single one is 1.
pub(super) fn quantiles(count: usize) -> Vec<f64> {
    if count < 2 {
        return vec![1.0; count];
    }
    let at = |i: usize| quantile((i as f64 + 0.5) / count as f64);
    let largest = -at(0);
    (0..count).map(|i| if i + 1 == count { 1.0 } else { at(i) / largest }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_tables() {
        let known = [(0.975, 1.959_963_984_540_054), (0.99, 2.326_347_874_040_841)];
        let small = [(0.84, 0.994_457_883_209_753), (0.001, -3.090_232_306_167_814)];
        for (p, expected) in known.into_iter().chain(small) {
            assert!((quantile(p) / expected - 1.0).abs() < 1.2e-9, "{p}");
        }
        assert_eq!(quantile(0.5), 0.0);
    }

    #[test]
    fn they_rise_from_minus_one_to_one() {
        for count in [2, 15, 16, 128] {
            let all = quantiles(count);
            assert_eq!((all[0], all[count - 1]), (-1.0, 1.0));
            assert!(all.is_sorted() && all.len() == count);
        }
        assert_eq!(quantiles(1), [1.0]);
    }
}
