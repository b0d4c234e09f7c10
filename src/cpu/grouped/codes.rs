//! The loops over segments, and within them over lanes.

use multiversion::multiversion;

use super::arithmetic::{with_known_arithmetic, with_known_numbers};
use super::segments::Segments;
use crate::backend::{GroupedChunk, TieMatch};
use crate::cpu::sums::{LANES, Part, Sums};
use crate::format::{GroupScale, Scheme};
use crate::numeric::{FloatKind, SourceFloat};

/// Encodes weights, and sums over them as they are and over their errors.
#[multiversion(targets = "simd")]
pub fn encode<F: SourceFloat>(
    weights: &[F],
    segments: Segments,
    scheme: &Scheme,
    scales: &[GroupScale],
    codes: &mut [u8],
    sums: &mut Sums,
) {
    let any = *scheme;
    with_known_arithmetic!(scheme, {
        let mut part = Part::default();
        for (segment, group) in segments {
            let group = scales[group];
            let (weights, rest) = weights[segment.clone()].as_chunks::<LANES>();
            let (codes, rest_of_codes) = codes[segment].as_chunks_mut::<LANES>();
            for (weights, codes) in weights.iter().zip(codes) {
                encode_lanes(weights, group, scheme, codes, (&mut part, sums));
            }
            if !rest.is_empty() {
                encode_rest(rest, group, &any, rest_of_codes, sums);
            }
        }
        sums.add(part);
    });
}

/// Decodes codes.
#[multiversion(targets = "simd")]
pub fn decode(chunk: GroupedChunk<'_>, segments: Segments, scheme: &Scheme, values: &mut [f32]) {
    let any = *scheme;
    with_known_numbers!(scheme, {
        for (segment, group) in segments {
            let group = chunk.scales[group];
            let (codes, rest) = chunk.codes[segment.clone()].as_chunks::<LANES>();
            let (values, rest_of_values) = values[segment].as_chunks_mut::<LANES>();
            for (codes, values) in codes.iter().zip(values) {
                decode_lanes(codes, group, scheme, values);
            }
            if !rest.is_empty() {
                decode_rest(rest, group, &any, rest_of_values);
            }
        }
    });
}

/// Sums over weights and their differences from what codes stand for.
#[multiversion(targets = "simd")]
pub fn add_errors<F: SourceFloat>(
    weights: &[F],
    chunk: GroupedChunk<'_>,
    segments: Segments,
    scheme: &Scheme,
    sums: &mut Sums,
) {
    let any = *scheme;
    with_known_numbers!(scheme, {
        let mut part = Part::default();
        for (segment, group) in segments {
            let group = chunk.scales[group];
            let (weights, rest) = weights[segment.clone()].as_chunks::<LANES>();
            let (codes, rest_of_codes) = chunk.codes[segment].as_chunks::<LANES>();
            for (weights, codes) in weights.iter().zip(codes) {
                add_lanes(weights, codes, group, scheme, (&mut part, sums));
            }
            if !rest.is_empty() {
                add_rest(rest, rest_of_codes, group, &any, sums);
            }
        }
        sums.add(part);
    });
}

/// Counts the weights that do not match their codes.
#[multiversion(targets = "simd")]
pub fn compare<F: SourceFloat>(
    weights: &[F],
    chunk: GroupedChunk<'_>,
    segments: Segments,
    (scheme, made_of): (&Scheme, FloatKind),
    result: &mut TieMatch,
) {
    let any = *scheme;
    with_known_arithmetic!(scheme, {
        for (segment, group) in segments {
            let (mut at, group) = (segment.start, chunk.scales[group]);
            let (weights, rest) = weights[segment.clone()].as_chunks::<LANES>();
            let (codes, rest_of_codes) = chunk.codes[segment].as_chunks::<LANES>();
            for (weights, codes) in weights.iter().zip(codes) {
                compare_lanes(weights, codes, group, (scheme, made_of), (at, result));
                at += LANES;
            }
            if !rest.is_empty() {
                compare_rest(rest, rest_of_codes, group, (&any, made_of), (at, result));
            }
        }
    });
}

// What follows gets slices of at most `LANES`. Where it gets an array it is inlined with its length
// known, and vectorises.

#[inline(always)]
fn encode_lanes<F: SourceFloat>(
    weights: &[F],
    group: GroupScale,
    scheme: Scheme,
    codes: &mut [u8],
    (part, sums): (&mut Part, &mut Sums),
) {
    let (mut wide, mut values) = ([0.0; LANES], [0.0; LANES]);
    for (i, (code, weight)) in codes.iter_mut().zip(weights).enumerate() {
        wide[i] = weight.to_f32();
        (*code, values[i]) = scheme.encode_and_round(wide[i], group, F::KIND);
    }
    part.add(&wide, 1.0);
    part.add_errors(&wide, &values, 1.0);
    if part.is_full() {
        sums.add(std::mem::take(part));
    }
}

#[inline(always)]
fn decode_lanes(codes: &[u8], group: GroupScale, scheme: Scheme, values: &mut [f32]) {
    for (value, code) in values.iter_mut().zip(codes) {
        *value = scheme.decode(*code, group);
    }
}

#[inline(always)]
fn add_lanes<F: SourceFloat>(
    weights: &[F],
    codes: &[u8],
    group: GroupScale,
    scheme: Scheme,
    (part, sums): (&mut Part, &mut Sums),
) {
    let (mut wide, mut values) = ([0.0; LANES], [0.0; LANES]);
    for (wide, weight) in wide.iter_mut().zip(weights) {
        *wide = weight.to_f32();
    }
    decode_lanes(codes, group, scheme, &mut values);
    part.add(&wide, sums.unit);
    part.add_errors(&wide, &values, sums.unit);
    if part.is_full() {
        sums.add(std::mem::take(part));
    }
}

#[inline(always)]
fn compare_lanes<F: SourceFloat>(
    weights: &[F],
    codes: &[u8],
    group: GroupScale,
    (scheme, made_of): (Scheme, FloatKind),
    (at, result): (usize, &mut TieMatch),
) {
    let mut apart = [0u8; LANES];
    for (apart, (weight, code)) in apart.iter_mut().zip(weights.iter().zip(codes)) {
        *apart = u8::from(!scheme.matches(weight.to_f32(), *code, group, [F::KIND, made_of]));
    }
    let count: u8 = apart.iter().sum();
    if count > 0 {
        let first = apart.iter().position(|apart| *apart > 0).map(|lane| (at + lane) as u64);
        result.first = result.first.or(first);
        result.apart += u64::from(count);
    }
}

// What is left at the end of a segment is rare and short: one copy for any arithmetic will do.

#[inline(never)]
fn encode_rest<F: SourceFloat>(
    weights: &[F],
    group: GroupScale,
    scheme: &Scheme,
    codes: &mut [u8],
    sums: &mut Sums,
) {
    let mut part = Part::default();
    encode_lanes(weights, group, *scheme, codes, (&mut part, sums));
    sums.add(part);
    sums.pad(LANES - weights.len());
}

#[inline(never)]
fn decode_rest(codes: &[u8], group: GroupScale, scheme: &Scheme, values: &mut [f32]) {
    decode_lanes(codes, group, *scheme, values);
}

#[inline(never)]
fn add_rest<F: SourceFloat>(
    weights: &[F],
    codes: &[u8],
    group: GroupScale,
    scheme: &Scheme,
    sums: &mut Sums,
) {
    let mut part = Part::default();
    add_lanes(weights, codes, group, *scheme, (&mut part, sums));
    sums.add(part);
    sums.pad(LANES - weights.len());
}

#[inline(never)]
fn compare_rest<F: SourceFloat>(
    weights: &[F],
    codes: &[u8],
    group: GroupScale,
    (scheme, made_of): (&Scheme, FloatKind),
    place: (usize, &mut TieMatch),
) {
    compare_lanes(weights, codes, group, (*scheme, made_of), place);
}
