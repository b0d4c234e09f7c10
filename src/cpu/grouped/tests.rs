//! The kernels against the specification, weight by weight.

use half::{bf16, f16};

use super::*;
use crate::format::{Arithmetic, Element, Extent, Format, GroupScale, Quotient, Scope};
use crate::numeric::FloatKind;

/// Every arithmetic of every format, under both kinds of quotients where there are any.
fn schemes() -> impl Iterator<Item = (String, Scheme)> {
    let known = Arithmetic::ALL.into_iter().flat_map(|arithmetic| {
        let named = Format::all().map(move |format| (format, format.scheme(arithmetic)));
        named
            .filter_map(move |(format, scheme)| Some((format!("{format} {arithmetic:?}"), scheme?)))
    });
    known.flat_map(|(name, scheme)| {
        let quotients = match scheme.quotient {
            Quotient::Reciprocal => &[Quotient::Reciprocal][..],
            Quotient::ProductF32 | Quotient::ProductOwn => {
                &[Quotient::ProductF32, Quotient::ProductOwn]
            }
            Quotient::F32 | Quotient::Own => &[Quotient::F32, Quotient::Own],
        };
        let with = move |quotient: &Quotient| {
            (format!("{name} {quotient:?}"), Scheme { quotient: *quotient, ..scheme })
        };
        quotients.iter().map(with)
    })
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (((self.0 >> 32) * u64::from(end)) >> 32) as u32
    }
}

/// A weight of either sign whose magnitude has this pattern.
fn signed<F: SourceFloat>(magnitude: u32, negative: bool) -> F {
    let magnitude = F::from_magnitude(F::Bits::try_from(magnitude).ok().expect("it is narrow"));
    // The key of the other sign has all bits flipped.
    if negative { F::from_key(flip(magnitude.key())) } else { magnitude }
}

fn flip<B: bytemuck::Pod>(mut bits: B) -> B {
    bytemuck::bytes_of_mut(&mut bits).iter_mut().for_each(|byte| *byte = !*byte);
    bits
}

fn assert_same(got: &[f32], expected: &[f32], what: &str) {
    let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    assert_eq!(got.len(), expected.len(), "{what}");
    assert!(got.iter().zip(expected).all(same), "{what}: values");
}

/// Runs all kernels on a matrix and compares them with the specification.
fn check<F: SourceFloat>(weights: &[F], columns: usize, scheme: &Scheme, what: &str) {
    let rows = weights.len() / columns;
    let what = format!("{what}: {rows} rows of {columns} {:?}", F::KIND);
    let group = |i: usize| scheme.scope.index(i / columns, i % columns, columns);
    let amax = weights.iter().fold(0, |amax: u32, weight| amax.max(weight.magnitude().into()));
    let coder = Coder::new(*scheme, F::KIND, F::KIND.widen(amax));
    // The first of equal weights counts, be they zeros of other signs.
    let mut extents: Vec<Option<Extent>> = vec![None; scheme.scope.count(rows, columns)];
    for (i, weight) in weights.iter().enumerate() {
        let weight = weight.to_f32();
        let extent = extents[group(i)].get_or_insert(Extent { min: weight, max: weight });
        extent.min = if weight < extent.min { weight } else { extent.min };
        extent.max = if weight > extent.max { weight } else { extent.max };
    }
    let scale = |extent: Option<Extent>| {
        let Extent { min, max } = extent.unwrap_or(Extent::of_amax(0.0));
        let min = if min > 0.0 { 0.0 } else { min };
        coder.scale(Extent { min, max: if max < 0.0 { 0.0 } else { max } })
    };
    let scales: Vec<_> = extents.into_iter().map(scale).collect();

    let got = quantize(weights, columns, &coder);
    assert_eq!(got.amax, amax, "{what}");
    let bits = |scales: &[GroupScale]| -> Vec<_> {
        scales.iter().map(|group| (group.scale.to_bits(), group.zero_point)).collect()
    };
    assert_eq!(bits(&got.scales), bits(&scales), "{what}");
    for (i, weight) in weights.iter().enumerate() {
        let weight = weight.to_f32();
        let expected = scheme.encode(weight, scales[group(i)], F::KIND);
        assert_eq!(got.codes[i], expected, "{what}: code {i} of {weight:e}");
    }
    check_chunk(
        weights,
        GroupedChunk { columns, codes: &got.codes, scales: &scales },
        scheme,
        &what,
    );
    let (sums, errors) =
        errors(weights, GroupedChunk { columns, codes: &got.codes, scales: &scales }, scheme);
    assert_eq!(got.weights, sums, "{what}");
    // Not in one unit, so not to the last digit.
    let near = |a: f64, b: f64| a == b || (a - b).abs() <= 1e-5 * b;
    assert!(near(got.errors.max_abs, errors.max_abs), "{what}");
    assert!(near(got.errors.sum_squares, errors.sum_squares), "{what}");

    // Codes of no weight that is near.
    let far = got.codes.iter().map(|code| match scheme.element {
        Element::Int(4) => (((code ^ 5) << 4) as i8 >> 4) as u8,
        Element::E2m1(_) => code ^ 5,
        _ => code ^ 0x15,
    });
    let codes: Vec<u8> = far.enumerate().map(|(i, far)| [got.codes[i], far][i / 7 % 2]).collect();
    check_chunk(weights, GroupedChunk { columns, codes: &codes, scales: &scales }, scheme, &what);
}

fn check_chunk<F: SourceFloat>(
    weights: &[F],
    chunk: GroupedChunk<'_>,
    scheme: &Scheme,
    what: &str,
) {
    let columns = chunk.columns;
    let group = |i: usize| chunk.scales[scheme.scope.index(i / columns, i % columns, columns)];
    let (codes, all) = (chunk.codes, 0..weights.len());
    let values: Vec<f32> = all.clone().map(|i| scheme.decode(codes[i], group(i))).collect();
    assert_same(&dequantize(chunk, scheme), &values, what);

    let matches = |i: &usize| {
        scheme.matches(weights[*i].to_f32(), codes[*i], group(*i), [F::KIND, FloatKind::F16])
    };
    let mut apart = all.clone().filter(|i| !matches(i)).map(|i| i as u64);
    let first = apart.next();
    let apart = apart.count() as u64 + u64::from(first.is_some());
    let expected = TieMatch { weights: weights.len() as u64, apart, first };
    assert_eq!(compare(weights, chunk, scheme, FloatKind::F16), expected, "{what}");

    let (sums, errors) = errors(weights, chunk, scheme);
    let wide = || weights.iter().map(|weight| f64::from(weight.to_f32()));
    let differences = || wide().zip(&values).map(|(w, value)| (w - f64::from(*value)).abs());
    assert_eq!(sums.count, weights.len() as u64, "{what}");
    assert_eq!(sums.zeros, wide().filter(|w| *w == 0.0).count() as u64, "{what}");
    let near = |a: f64, b: f64, scale: f64| {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-5 * scale
    };
    let max = differences().fold(0.0, f64::max);
    assert!(near(errors.max_abs, max, max), "{what}");
    let sum_abs = wide().map(f64::abs).sum();
    assert!(near(sums.sum, wide().sum(), sum_abs), "{what}");
    assert!(near(sums.sum_abs, sum_abs, sum_abs), "{what}");
    let squares = wide().map(|w| w * w).sum();
    assert!(near(sums.sum_squares, squares, squares), "{what}");
    let squares = differences().map(|error| error * error).sum();
    assert!(near(errors.sum_squares, squares, squares), "{what}");
}

/// Weights at, just below and just above what lies between two codes, in rows of every scale, and
/// at the ends of their type.
fn ties<F: SourceFloat>(
    rows: usize,
    columns: usize,
    scheme: &Scheme,
    random: &mut Random,
) -> Vec<F> {
    let last: u32 = F::LAST_FINITE.into();
    let mut weights = Vec::new();
    let mut amax = 0;
    for i in 0..rows * columns {
        let new_scale = match scheme.scope {
            Scope::Tensor | Scope::Tile(_) => i == 0,
            Scope::Row => i % columns == 0,
            Scope::Group(len) => (i % columns).is_multiple_of(len),
        };
        let negative = random.below(2) == 0;
        if new_scale {
            let any = random.below(last + 1);
            amax = [any, any, last, any % 8][random.below(4) as usize];
            weights.push(signed(amax, negative));
            continue;
        }
        let GroupScale { scale, zero_point } =
            scheme.scale(Extent::of_amax(F::KIND.widen(amax)), F::KIND);
        let code = (random.below(256) as i8 >> (8 - scheme.element.bits())) as u8;
        let number = |code: u8| scheme.element.decode(code) - f32::from(zero_point);
        let between = ((number(code) + number(code ^ 1)) / 2.0 * scale).abs();
        let near = if between.is_finite() { F::KIND.pattern(between) } else { 0 };
        let near = (near + random.below(3)).saturating_sub(1).min(amax);
        weights.push(signed(near, negative));
    }
    weights
}

fn check_every_scheme<F: SourceFloat>() {
    let mut random = Random(5);
    let last: u32 = F::LAST_FINITE.into();
    for (name, scheme) in schemes() {
        // Rows that groups fill, odd ones, and more than one tile each way.
        for (rows, columns) in [(0, 8usize), (1, 1), (3, 5), (2, 77), (9, 256), (131, 19), (2, 261)]
        {
            let columns = match scheme.scope {
                Scope::Group(len) if scheme.quotient != Quotient::Reciprocal => {
                    columns.div_ceil(len) * len
                }
                _ => columns,
            };
            let rows = if columns > 1000 { 1 } else { rows };
            check::<F>(&ties(rows, columns, &scheme, &mut random), columns, &scheme, &name);
            let end = [last + 1, F::KIND.pattern(1.0), F::KIND.pattern(F::KIND.min_normal()), 1];
            let end = end[random.below(4) as usize];
            let mut any = || signed(random.below(end), random.below(2) == 0);
            let weights: Vec<F> = (0..rows * columns).map(|_| any()).collect();
            check(&weights, columns, &scheme, &name);
        }
    }
}

#[test]
fn bf16_is_as_specified_in_every_scheme() {
    check_every_scheme::<bf16>();
}

#[test]
fn f16_is_as_specified_in_every_scheme() {
    check_every_scheme::<f16>();
}

#[test]
fn f32_is_as_specified_in_every_scheme() {
    check_every_scheme::<f32>();
}

#[test]
fn weights_that_are_not_finite_are_told_and_match_nothing() {
    for (name, scheme) in schemes() {
        let columns = 128;
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut weights = vec![bf16::ONE; 2 * columns];
            let codes = quantize(&weights, columns, &Coder::new(scheme, FloatKind::Bf16, 1.0));
            weights[150] = bf16::from_f32(bad);
            let coder = Coder::new(scheme, FloatKind::Bf16, bad.abs());
            assert!(quantize(&weights, columns, &coder).amax >= 0x7F80, "{name}");
            let chunk = GroupedChunk { columns, codes: &codes.codes, scales: &codes.scales };
            let expected = TieMatch { weights: 256, apart: 1, first: Some(150) };
            let got = compare(&weights, chunk, &scheme, FloatKind::Bf16);
            assert_eq!(got, expected, "{name} {bad}");
        }
    }
}
