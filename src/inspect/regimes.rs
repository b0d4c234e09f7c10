//! How much is lost in blocks that are small beside the tensor: relative errors of blocks against how far
//! the largest magnitude of each is below the one that the global scale is made for.

use std::sync::atomic::AtomicBool;

use super::median::median;
use super::normal::quantiles;
use super::table::table;
use super::{InspectError, Reader, Sheet, Span};
use crate::format::Scope;
use crate::numeric::e4m3;

/// Points that are told one by one, at most.
const POINTS: u64 = 4096;

/// Points of the reference curve in an octave.
const OCTAVE: usize = 16;

/// Weights of a block of the reference curve, at most.
const LONGEST: usize = 4096;

/// A block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Which one, counted down and across the matrix.
    pub at: (u64, u64),
    /// Global amax / its amax.
    pub x: f64,
    /// Its relative error √(Σ error² / Σ weight²).
    pub y: f64,
}

/// A block of the reference curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reference {
    /// Global amax / its amax, after its numbers are rounded to the type of the weights.
    pub x: f64,
    /// Its relative error.
    pub y: f64,
    /// The code of its scale, as it is stored.
    pub scale_code: u32,
}

/// What NVFP4's scale of a block is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Regime {
    /// The largest number of E4M3.
    Largest,
    /// A normal number: 4 bits of precision.
    Normal,
    /// A subnormal number above the smallest: 1 to 3 bits.
    Subnormal,
    /// The smallest number, for all blocks that would need a smaller one.
    Smallest,
    /// The scale of a block of zeros, since the block's own would be zero.
    OfZeros,
}

/// Up to where a regime goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Boundary {
    /// The regime. It begins where the one before ends, the first at 1.
    pub regime: Regime,
    /// The largest x of it; infinite for the last.
    pub to: f64,
}

/// Relative errors of all blocks. A block is what has a scale of its own; where rows have one or the whole
/// tensor, it is a row. What fills up blocks is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Regimes {
    /// Largest magnitude of all that share the global scale, which every x is relative to.
    pub amax: f32,
    /// How many blocks there are.
    pub blocks: u64,
    /// Those of zeros alone, which have neither x nor y.
    pub zeros: u64,
    /// Those without any error, whose y is 0: they are in no bin of `density`.
    pub exact: u64,
    /// [`Self::X_BINS`] × [`Self::Y_BINS`] counts of the others: `density[x · Y_BINS + y]`. What is
    /// beyond the outer bins is counted in these.
    pub density: Vec<u64>,
    /// Median y of the blocks in each bin of x, exact ones included; `None` where there are none. Each y
    /// is rounded to f32 for it.
    pub medians: Vec<Option<f64>>,
    /// Every so many blocks, in reading order, is one of `points`.
    pub every: u64,
    /// Some blocks, evenly taken: no more than 4096, those of zeros left out.
    pub points: Vec<Point>,
    /// The same block of numbers at each x from 1 to 2²⁰, 16 to an octave, quantized as the matrix is.
    /// Its numbers are the quantiles (i + ½) / n of a normal distribution; n is the length of a block (one
    /// row of a tile; of rows up to 4096). They are scaled so that the largest is global amax / x, and
    /// rounded to the type of the weights. Where that leaves only zeros the curve ends.
    pub reference: Vec<Reference>,
    /// For NVFP4: where scales from the largest magnitudes change their kind, as the format's tables have
    /// it. Regimes that no x has are left out. A search for scales may choose others.
    pub boundaries: Vec<Boundary>,
}

/// Σ error² / Σ weight² of a span, square root taken, and its largest magnitude.
fn measure(sheet: &Sheet, span: &Span) -> (f32, f64) {
    let Some(weights) = &sheet.weights else { return (0.0, 0.0) };
    let (mut amax, mut errors, mut squares) = (0f32, 0f64, 0f64);
    for row in span.rows.clone() {
        let line = sheet.line(row, span.columns.clone());
        for (weight, value) in weights[line.clone()].iter().zip(&sheet.values[line]) {
            let (w, error) = (f64::from(*weight), f64::from(*value) - f64::from(*weight));
            amax = amax.max(weight.abs());
            errors += error * error;
            squares += w * w;
        }
    }
    (amax, if squares > 0.0 { (errors / squares).sqrt() } else { 0.0 })
}

impl Regimes {
    /// Bins of log₂ x, an eighth of an octave each, from x = 1 on.
    pub const X_BINS: usize = 160;
    /// Bins of log₁₀ y, a twentieth of a decade each, from y = 10⁻⁵ on.
    pub const Y_BINS: usize = 120;
    const X_PER_OCTAVE: f64 = 8.0;
    const Y_PER_DECADE: f64 = 20.0;
    const Y_FIRST: f64 = -5.0;

    /// The bin of an x.
    pub fn x_bin(x: f64) -> usize {
        ((x.log2() * Self::X_PER_OCTAVE).max(0.0) as usize).min(Self::X_BINS - 1)
    }

    /// The bin of a y above zero.
    pub fn y_bin(y: f64) -> usize {
        let place = (y.log10() - Self::Y_FIRST) * Self::Y_PER_DECADE;
        (place.max(0.0) as usize).min(Self::Y_BINS - 1)
    }

    /// The smallest x of a bin.
    pub fn x_of(bin: usize) -> f64 {
        (bin as f64 / Self::X_PER_OCTAVE).exp2()
    }

    /// The smallest y of a bin.
    pub fn y_of(bin: usize) -> f64 {
        10f64.powf(bin as f64 / Self::Y_PER_DECADE + Self::Y_FIRST)
    }

    /// Measures all blocks of a matrix, and the reference.
    pub fn of(reader: &Reader<'_>, cancel: &AtomicBool) -> Result<Self, InspectError> {
        let scope = reader.need_errors()?;
        let amax = reader.group_amax.unwrap_or(0.0);
        let (rows, width) = (reader.matrix.rows, reader.matrix.weight_columns);
        let (down, across) = match scope {
            Scope::Group(len) => (rows, width.div_ceil(len as u64)),
            Scope::Tile(len) => (rows.div_ceil(len as u64), width.div_ceil(len as u64)),
            Scope::Row | Scope::Tensor => (rows, 1),
        };
        let mut found = Self {
            amax,
            blocks: 0,
            zeros: 0,
            exact: 0,
            density: vec![0; Self::X_BINS * Self::Y_BINS],
            medians: Vec::new(),
            every: every(down, across),
            points: Vec::new(),
            reference: Vec::new(),
            boundaries: boundaries(reader, amax),
        };
        let mut of_bins = vec![Vec::new(); Self::X_BINS];
        reader.for_each(cancel, |sheet| {
            for span in sheet.spans() {
                let (block_amax, y) = measure(sheet, &span);
                let number = found.blocks;
                found.blocks += 1;
                if block_amax == 0.0 {
                    found.zeros += 1;
                    continue;
                }
                let x = f64::from(amax) / f64::from(block_amax);
                let bin = Self::x_bin(x);
                of_bins[bin].push(y as f32);
                match y > 0.0 {
                    true => found.density[bin * Self::Y_BINS + Self::y_bin(y)] += 1,
                    false => found.exact += 1,
                }
                if number.is_multiple_of(found.every) {
                    found.points.push(Point { at: span.at, x, y });
                }
            }
            Ok(())
        })?;
        found.medians = of_bins.iter_mut().map(|ys| median(ys)).collect();
        found.reference = reference(reader, scope, amax)?;
        Ok(found)
    }

    /// The point of the block that a weight is in; `None` where its rows are not in the sheet, and for
    /// blocks of zeros.
    pub fn point_of(&self, sheet: &Sheet, row: u64, column: usize) -> Option<Point> {
        let span = sheet.span_of(row, column)?;
        let (block_amax, y) = measure(sheet, &span);
        let x = f64::from(self.amax) / f64::from(block_amax);
        (block_amax > 0.0).then_some(Point { at: span.at, x, y })
    }

    /// The regime that an x is in, where there are boundaries.
    pub fn regime_of(&self, x: f64) -> Option<Regime> {
        self.boundaries.iter().find(|boundary| x <= boundary.to).map(|boundary| boundary.regime)
    }

    /// Points, medians, reference and boundaries, with a word in front of each line that says which.
    pub fn csv(&self) -> String {
        type Row = (&'static str, Option<u64>, Option<u64>, f64, Option<f64>, Option<u64>);
        let point =
            |p: &Point| -> Row { ("block", Some(p.at.0), Some(p.at.1), p.x, Some(p.y), None) };
        let reference = |r: &Reference| -> Row {
            ("reference", None, None, r.x, Some(r.y), Some(r.scale_code.into()))
        };
        let boundary = |b: &Boundary| -> Row { (b.regime.name(), None, None, b.to, None, None) };
        let medians = self.medians.iter().enumerate().filter_map(|(bin, y)| -> Option<Row> {
            Some(("median", None, None, Self::x_of(bin), Some((*y)?), None))
        });
        let density = self.density.iter().enumerate().filter(|(_, count)| **count > 0);
        let density = density.map(|(at, count)| -> Row {
            let (x, y) = (Self::x_of(at / Self::Y_BINS), Self::y_of(at % Self::Y_BINS));
            ("bin", None, None, x, Some(y), Some(*count))
        });
        let rows = density.chain(medians).chain(self.points.iter().map(point));
        let rows = rows.chain(self.reference.iter().map(reference));
        let header = ["what", "row", "column", "x", "y", "count_or_code"];
        table(&header, rows.chain(self.boundaries.iter().map(boundary)))
    }
}

impl Regime {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Largest => "largest scale",
            Self::Normal => "normal scale",
            Self::Subnormal => "subnormal scale",
            Self::Smallest => "smallest scale",
            Self::OfZeros => "scale of zeros",
        }
    }
}

/// Where NVFP4's scales change their kind.
fn boundaries(reader: &Reader<'_>, amax: f32) -> Vec<Boundary> {
    let Some(tables) = reader.nvfp4_tables() else { return Vec::new() };
    let firsts = [
        (Regime::Largest, e4m3::MAX_CODE),
        (Regime::Normal, e4m3::FIRST_NORMAL_CODE),
        (Regime::Subnormal, 2),
        (Regime::Smallest, 1),
    ];
    let mut found = Vec::new();
    let mut last = 0.0;
    for (regime, code) in firsts {
        let start = tables.scaling.kind.widen(tables.thresholds().scale_starts[usize::from(code)]);
        let to = f64::from(amax) / f64::from(start);
        if to >= 1.0 && to > last {
            found.push(Boundary { regime, to });
            last = to;
        }
    }
    if last.is_finite() {
        found.push(Boundary { regime: Regime::OfZeros, to: f64::INFINITY });
    }
    found
}

/// A block of numbers that is always the same, at each x.
fn reference(reader: &Reader<'_>, scope: Scope, amax: f32) -> Result<Vec<Reference>, InspectError> {
    let width = reader.matrix.weight_columns as usize;
    let (length, is_row) = match scope {
        Scope::Group(len) | Scope::Tile(len) => (len, false),
        Scope::Row | Scope::Tensor => (width.min(LONGEST), true),
    };
    let octaves = Regimes::X_BINS / Regimes::X_PER_OCTAVE as usize;
    let count = octaves * OCTAVE + 1;
    let shape = quantiles(length);
    let numbers: Vec<f32> = (0..count)
        .flat_map(|i| {
            let largest = f64::from(amax) / (i as f64 / OCTAVE as f64).exp2();
            shape.iter().map(move |q| (q * largest) as f32)
        })
        .collect();
    // Blocks lie side by side, so that a tile has one row of them.
    let columns = if is_row { length } else { count * length };
    let Some(sheet) = reader.encode(&numbers, columns)? else { return Ok(Vec::new()) };
    let point = |span: Span| {
        let (block_amax, y) = measure(&sheet, &span);
        let scale_code = sheet.scale(span.rows.start, span.columns.start)?.code;
        let x = f64::from(amax) / f64::from(block_amax);
        (block_amax > 0.0).then_some(Reference { x, y, scale_code })
    };
    Ok(sheet.spans().filter_map(point).collect())
}

/// How many blocks to go on from one that is a point to the next. No part of it divides a row of blocks, so
/// that points come from all columns.
fn every(down: u64, across: u64) -> u64 {
    let divides = |a: u64, b: u64| {
        let (mut a, mut b) = (a, b);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let least = (down * across).div_ceil(POINTS).max(1);
    (least..).find(|step| divides(*step, across.max(1)) == 1).unwrap_or(least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Weights;
    use crate::cpu::Cpu;
    use crate::format::Format;
    use crate::inspect::tests::{DOWN, GO, NORM, Seen};
    use crate::numeric::FloatKind;

    #[test]
    fn every_block_is_counted_and_has_the_error_that_the_library_measures() {
        for format in ["nvfp4", "mxfp4", "mxfp8", "fp8-block", "fp8", "fp8-channel", "int4-g32"] {
            Seen::new(format.parse().unwrap()).read(DOWN, |reader| {
                let found = Regimes::of(reader, &GO).unwrap();
                let counted = found.zeros + found.exact + found.density.iter().sum::<u64>();
                assert_eq!((counted, found.every), (found.blocks, 1), "{format}");
                let tile = reader.tile();
                let width = if tile.is_block { tile.columns } else { 192 };
                let expected = 64usize.div_ceil(tile.rows) * 192usize.div_ceil(width);
                assert_eq!(found.points.len(), expected, "{format}");
                assert!(found.points.iter().all(|p| p.x >= 1.0 && p.y < 1.0), "{format}");
                // Put together again, blocks have the error of the matrix.
                let sheet = reader.sheet(0..64).unwrap();
                let weights = sheet.weights.as_ref().unwrap();
                let seen = Weights { kind: FloatKind::F32, bytes: bytemuck::cast_slice(weights) };
                let (_, errors) = sheet.chunk.as_ref().unwrap().errors(&Cpu, seen).unwrap();
                let mut sum = 0.0;
                for (span, point) in sheet.spans().zip(&found.points) {
                    assert_eq!(span.at, point.at);
                    let (row, column) = (span.rows.end - 1, span.columns.end - 1);
                    assert_eq!(found.point_of(&sheet, row, column).as_ref(), Some(point));
                    let rows = span.rows.clone();
                    let lines = rows.flat_map(|row| sheet.line(row, span.columns.clone()));
                    let square = |at: usize| f64::from(weights[at]).powi(2);
                    sum += point.y * point.y * lines.map(square).sum::<f64>();
                }
                assert!((sum / errors.sum_squares - 1.0).abs() < 1e-5, "{format}");
                assert!(found.medians.iter().flatten().all(|y| *y < 1.0));
                assert!(found.csv().lines().count() > found.points.len());
            });
        }
    }

    #[test]
    fn the_reference_is_what_the_specification_makes_of_its_numbers() {
        Seen::new(Format::Nvfp4).read(DOWN, |reader| {
            let found = Regimes::of(reader, &GO).unwrap();
            assert_eq!(found.reference.len(), 20 * OCTAVE + 1);
            let scaling = reader.nvfp4_tables().unwrap().scaling;
            for (i, point) in found.reference.iter().enumerate() {
                let largest = f64::from(found.amax) / (i as f64 / OCTAVE as f64).exp2();
                let block: Vec<f32> = quantiles(16)
                    .iter()
                    .map(|q| FloatKind::Bf16.round((q * largest) as f32))
                    .collect();
                let block: [f32; 16] = block.try_into().unwrap();
                let (scale, packed) = crate::format::nvfp4::quantize_block(&block, &scaling);
                assert_eq!(u32::from(scale), point.scale_code);
                let values = crate::format::nvfp4::dequantize_block(&packed, scaling.step(scale));
                let square = |a: f32, b: f32| (f64::from(a) - f64::from(b)).powi(2);
                let errors: f64 = block.iter().zip(values).map(|(w, v)| square(v, *w)).sum();
                let squares: f64 = block.iter().map(|w| square(*w, 0.0)).sum();
                assert_eq!(point.y, (errors / squares).sqrt());
            }
            // The smallest scale is too large for the smallest blocks: 2688 · 512 / 2²⁰ of it is their amax.
            let [first, last] = [0, 20 * OCTAVE].map(|at| found.reference[at].y);
            assert!(last > 1.5 * first, "{first} {last}");
        });
    }

    #[test]
    fn boundaries_are_where_scale_codes_change() {
        Seen::new(Format::Nvfp4).read(DOWN, |reader| {
            let found = Regimes::of(reader, &GO).unwrap();
            let regimes: Vec<Regime> = found.boundaries.iter().map(|b| b.regime).collect();
            use Regime::{Largest, Normal, OfZeros, Smallest, Subnormal};
            assert_eq!(regimes, [Largest, Normal, Subnormal, Smallest, OfZeros]);
            for point in &found.reference {
                let own = found.boundaries.iter().find(|b| point.x <= b.to).unwrap();
                let expected = match point.scale_code {
                    0x7E => Largest,
                    0x08..=0x7D => Normal,
                    0x02..=0x07 => Subnormal,
                    _ => Smallest,
                };
                assert_eq!(own.regime, expected, "{point:?}");
            }
        });
    }

    #[test]
    fn points_come_from_all_columns() {
        assert_eq!(every(64, 4), 1);
        for (down, across) in [(4096, 256), (11008, 256), (4096, 688)] {
            let step = every(down, across);
            let numbers = (0..down * across).step_by(step as usize);
            let columns: std::collections::BTreeSet<u64> = numbers.map(|n| n % across).collect();
            assert_eq!(columns.len() as u64, across, "{down}×{across}, each {step}");
            assert!(down * across / step <= POINTS);
        }
    }

    #[test]
    fn every_bin_begins_where_the_one_before_ends() {
        for bin in 1..Regimes::X_BINS {
            assert_eq!(Regimes::x_bin(Regimes::x_of(bin) * 1.0001), bin);
            assert_eq!(Regimes::x_bin(Regimes::x_of(bin) * 0.9999), bin - 1);
        }
        for bin in 1..Regimes::Y_BINS {
            assert_eq!(Regimes::y_bin(Regimes::y_of(bin) * 1.0001), bin);
            assert_eq!(Regimes::y_bin(Regimes::y_of(bin) * 0.9999), bin - 1);
        }
        assert_eq!((Regimes::x_bin(1e30), Regimes::y_bin(1e-30)), (159, 0));
    }

    #[test]
    fn padded_blocks_and_what_has_no_errors() {
        Seen::padded("int8-g128").read(DOWN, |reader| {
            let found = Regimes::of(reader, &GO).unwrap();
            assert_eq!((found.blocks, found.boundaries.len()), (128, 0));
        });
        Seen::new(Format::Nvfp4).read(NORM, |reader| {
            assert!(matches!(Regimes::of(reader, &GO), Err(InspectError::NoCodes { .. })));
        });
        Seen::stored(Format::Nvfp4).read(DOWN, |reader| {
            assert!(matches!(Regimes::of(reader, &GO), Err(InspectError::NoWeights { .. })));
        });
    }
}
