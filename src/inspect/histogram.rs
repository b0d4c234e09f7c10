//! How numbers of a matrix are distributed, and how many weights have each code.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use super::table::table;
use super::{Codec, InspectError, Numbers, Reader, Sheet};

/// What of a matrix is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Region {
    /// All of it.
    Matrix,
    /// A row.
    Row(u64),
    /// A tile: so many down, and so many across, as [`Reader::tile`] cuts the matrix.
    Tile(u64, u64),
}

/// How bins are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Axis {
    /// Evenly, from −amax to amax.
    Linear,
    /// Evenly in the logarithm of the magnitude, 16 to an octave, on either side of zero.
    Log,
}

/// Numbers in a range. The end that is nearer to zero is part of the range on a [`Axis::Log`]; on a
/// [`Axis::Linear`] it is the lower end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Lower end.
    pub from: f64,
    /// Upper end.
    pub to: f64,
    /// How many numbers are in it.
    pub count: u64,
}

/// A code, and what it stands for under a scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CodeMark {
    /// The code, as many bits as the type has.
    pub code: u32,
    /// What it stands for, as kernels say.
    pub value: f32,
}

/// Counts of numbers. Each number is in one bin, or is a zero, or is under the bins, or is not finite.
/// What fills up blocks is not counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// What was counted.
    pub region: Region,
    /// How bins are spaced.
    pub axis: Axis,
    /// Which numbers were counted.
    pub numbers: Numbers,
    /// How many they are.
    pub count: u64,
    /// Largest finite magnitude.
    pub amax: f32,
    /// The bins, in the order of their numbers, without gaps but for the one around zero on a
    /// [`Axis::Log`]. Zero is in none. No bins if there are only zeros.
    pub bins: Vec<Bin>,
    /// Numbers that are +0 or −0.
    pub zeros: u64,
    /// Numbers nearer to zero than bins of a [`Axis::Log`] go.
    pub under: u64,
    /// Infinities.
    pub infinite: u64,
    /// NaNs.
    pub nan: u64,
    /// The type of the codes.
    pub codec: Option<Codec>,
    /// How many weights have each code, by code; empty without codes.
    pub codes: Vec<u64>,
    /// Where codes are, by code; empty unless one scale is that of the whole region. Codes that are no
    /// number are left out.
    pub grid: Vec<CodeMark>,
}

impl Histogram {
    /// Counts what is in a region.
    pub fn of(
        reader: &Reader<'_>,
        cancel: &AtomicBool,
        region: Region,
        axis: Axis,
    ) -> Result<Self, InspectError> {
        let (rows, columns) = place_of(reader, region)?;
        let mut counter = Counter::new(axis);
        let mut histogram = Self {
            region,
            axis,
            numbers: Numbers::Weights,
            count: 0,
            amax: 0.0,
            bins: Vec::new(),
            zeros: 0,
            under: 0,
            infinite: 0,
            nan: 0,
            codec: None,
            codes: Vec::new(),
            grid: Vec::new(),
        };
        let one_scale = has_one_scale(reader, region);
        reader.for_rows(rows.clone(), cancel, |sheet| {
            let (numbers, which) = sheet.numbers();
            (histogram.numbers, histogram.codec) = (which, sheet.codec());
            let codes = sheet.codec().map_or(0, |codec| 1 << codec.bits());
            histogram.codes.resize(codes, 0);
            for row in sheet.rows.clone().filter(|row| rows.contains(row)) {
                for &number in &numbers[sheet.line(row, columns.clone())] {
                    histogram.add(number, &mut counter);
                }
                for column in columns.clone() {
                    let Some(code) = sheet.code(row, column) else { break };
                    histogram.codes[code as usize] += 1;
                }
            }
            if one_scale && histogram.grid.is_empty() {
                let at = (rows.start.max(sheet.rows.start), columns.start);
                histogram.grid = grid(sheet, at, codes as u32);
            }
            Ok(())
        })?;
        (histogram.bins, histogram.under) = counter.bins(histogram.amax);
        Ok(histogram)
    }

    fn add(&mut self, number: f32, counter: &mut Counter) {
        self.count += 1;
        match number {
            _ if number.is_nan() => self.nan += 1,
            _ if number.is_infinite() => self.infinite += 1,
            0.0 => self.zeros += 1,
            _ => {
                self.amax = self.amax.max(number.abs());
                counter.add(f64::from(number));
            }
        }
    }

    /// The bins, what is in none, and the codes.
    pub fn csv(&self) -> String {
        let bins = self.bins.iter().map(|b| ("bin", Some(b.from), Some(b.to), None, b.count));
        let apart = [
            ("zero", self.zeros),
            ("under", self.under),
            ("infinite", self.infinite),
            ("nan", self.nan),
        ];
        let apart = apart.map(|(what, count)| (what, None, None, None, count));
        let codes = self.codes.iter().enumerate().map(|(code, count)| {
            let mark = self.grid.iter().find(|mark| mark.code == code as u32);
            let value = mark.map(|mark| f64::from(mark.value));
            ("code", value, value, Some(code), *count)
        });
        table(&["what", "from", "to", "code", "count"], bins.chain(apart).chain(codes))
    }
}

/// Rows and columns of a region.
fn place_of(
    reader: &Reader<'_>,
    region: Region,
) -> Result<(Range<u64>, Range<usize>), InspectError> {
    let (rows, columns) = (reader.matrix.rows, reader.matrix.weight_columns);
    let (down, across) = match region {
        Region::Matrix => return Ok((0..rows, 0..columns as usize)),
        Region::Row(row) => (row..row.saturating_add(1), 0..columns),
        Region::Tile(down, across) => {
            let tile = reader.tile();
            let span = |number: u64, length: usize, end: u64| {
                let length = length as u64;
                let first = number.saturating_mul(length);
                first..first.saturating_add(length).min(end.max(first))
            };
            (span(down, tile.rows, rows), span(across, tile.columns, columns))
        }
    };
    if down.start >= rows || across.start >= columns {
        let tensor = reader.matrix.subject.tensor.clone();
        let part = match region {
            Region::Matrix => "numbers".to_owned(),
            Region::Row(row) => format!("row {row}"),
            Region::Tile(down, across) => format!("tile {down}, {across}"),
        };
        return Err(InspectError::OutOfRange { tensor, part });
    }
    Ok((down.start..down.end.min(rows), across.start as usize..across.end as usize))
}

/// Whether all weights of a region share a scale.
fn has_one_scale(reader: &Reader<'_>, region: Region) -> bool {
    let Some(scope) = reader.scope() else { return false };
    let (rows, columns) = (reader.matrix.rows as usize, reader.matrix.columns as usize);
    match region {
        Region::Matrix => scope.count(rows, columns) == 1,
        Region::Row(_) => scope.across(columns) == 1,
        Region::Tile(..) => true,
    }
}

/// What each code stands for under the scale of a weight.
fn grid(sheet: &Sheet, (row, column): (u64, usize), codes: u32) -> Vec<CodeMark> {
    let mark = |code| Some(CodeMark { code, value: sheet.value_of(row, column, code)? });
    (0..codes).filter_map(mark).filter(|mark| !mark.value.is_nan()).collect()
}

/// Half of the bins that a linear axis is counted in: between 512 and 1024 of them are needed then on
/// either side of zero, as ranges are powers of two.
const HALF: usize = 1024;

/// Bins of an octave, and octaves below the one of the largest number that have bins.
const OCTAVE: usize = 16;
const OCTAVES: usize = 32;

/// The exponent of the smallest magnitude of an f32, and how many there are.
const LOWEST: i32 = -149;
const EXPONENTS: usize = 277;

/// Counts of numbers whose largest is not known before the last is read, with bins whose ends are exact
/// nevertheless.
enum Counter {
    /// 2·[`HALF`] bins from −limit to limit, which is a power of two. Where a number is beyond them, the
    /// range doubles, and two bins become one.
    Linear { limit: f64, counts: Vec<u64> },
    /// Bins of all octaves that an f32 can have: those of numbers below zero, and above.
    Log { starts: [f64; OCTAVE], counts: [Vec<u64>; 2] },
}

/// 2^exponent, exactly.
fn power(exponent: i32) -> f64 {
    2f64.powi(exponent)
}

impl Counter {
    fn new(axis: Axis) -> Self {
        match axis {
            Axis::Linear => Self::Linear { limit: power(LOWEST), counts: vec![0; 2 * HALF] },
            Axis::Log => Self::Log {
                starts: std::array::from_fn(|k| (k as f64 / OCTAVE as f64).exp2()),
                counts: [(); 2].map(|()| vec![0; EXPONENTS * OCTAVE]),
            },
        }
    }

    /// Counts a finite number that is not zero.
    fn add(&mut self, number: f64) {
        match self {
            Self::Linear { limit, counts } => {
                while number.abs() >= *limit {
                    *counts = doubled(counts);
                    *limit *= 2.0;
                }
                // Exact: a power of two only moves the exponent.
                let place = (number * (HALF as f64 / *limit)).floor();
                counts[(place + HALF as f64) as usize] += 1;
            }
            Self::Log { starts, counts } => {
                let bits = number.abs().to_bits();
                let exponent = (bits >> 52) as i32 - 1023;
                let fraction = f64::from_bits(bits & (u64::MAX >> 12) | 1023 << 52);
                let within = starts.partition_point(|start| *start <= fraction) - 1;
                let place = (exponent - LOWEST) as usize * OCTAVE + within;
                counts[usize::from(number > 0.0)][place] += 1;
            }
        }
    }

    /// The bins up to the largest magnitude, and how many numbers are under them.
    fn bins(&self, amax: f32) -> (Vec<Bin>, u64) {
        if amax == 0.0 {
            return (Vec::new(), 0);
        }
        match self {
            Self::Linear { limit, counts } => {
                let width = *limit / HALF as f64;
                let half = (f64::from(amax) / width).floor() as usize + 1;
                let bin = |i: usize| {
                    let at = |i: usize| (i as f64 - HALF as f64) * width;
                    Bin { from: at(i), to: at(i + 1), count: counts[i] }
                };
                ((HALF - half..HALF + half).map(bin).collect(), 0)
            }
            Self::Log { starts, counts } => {
                let used = |side: &Vec<u64>| side.iter().rposition(|count| *count > 0);
                let top = counts.iter().filter_map(used).max().unwrap_or(0);
                let first = (top + 1).saturating_sub(OCTAVE * OCTAVES);
                let under = counts.iter().map(|side| side[..first].iter().sum::<u64>()).sum();
                let at = |i: usize| starts[i % OCTAVE] * power((i / OCTAVE) as i32 + LOWEST);
                let [below, above] = counts;
                let negative = |i: usize| Bin { from: -at(i + 1), to: -at(i), count: below[i] };
                let positive = |i: usize| Bin { from: at(i), to: at(i + 1), count: above[i] };
                let bins = (first..=top).rev().map(negative).chain((first..=top).map(positive));
                (bins.collect(), under)
            }
        }
    }
}

/// Counts in bins of twice the width, from the same middle.
fn doubled(counts: &[u64]) -> Vec<u64> {
    let mut wide = vec![0; counts.len()];
    for (i, pair) in counts.chunks_exact(2).enumerate() {
        wide[HALF / 2 + i] = pair[0] + pair[1];
    }
    wide
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;
    use crate::inspect::tests::{DOWN, GO, NORM, Seen};

    fn apart(histogram: &Histogram) -> u64 {
        histogram.zeros + histogram.under + histogram.infinite + histogram.nan
    }

    /// The bins, found again by comparing each number with their ends.
    fn check(histogram: &Histogram, numbers: &[f32]) {
        let mut counts = vec![0; histogram.bins.len()];
        for number in numbers.iter().filter(|number| **number != 0.0) {
            let w = f64::from(*number);
            let is_in = |bin: &Bin| match histogram.axis {
                Axis::Log if w < 0.0 => bin.from < w && w <= bin.to,
                _ => bin.from <= w && w < bin.to,
            };
            let mut found = (0..counts.len()).filter(|&i| is_in(&histogram.bins[i]));
            if let Some(first) = found.next() {
                counts[first] += 1;
            }
            assert_eq!(found.next(), None, "{number} is in one bin");
        }
        let own: Vec<u64> = histogram.bins.iter().map(|bin| bin.count).collect();
        assert_eq!(own, counts);
        assert_eq!(own.iter().sum::<u64>() + apart(histogram), numbers.len() as u64);
        assert_eq!(histogram.count, numbers.len() as u64);
    }

    #[test]
    fn every_weight_is_in_one_bin_and_has_one_code() {
        let formats = [Format::Nvfp4, Format::Mxfp8, Format::Fp8Channel, Format::Fp8];
        for format in formats {
            Seen::new(format).read(DOWN, |reader| {
                let sheet = reader.sheet(0..64).unwrap();
                let weights = sheet.weights.clone().unwrap();
                for axis in [Axis::Linear, Axis::Log] {
                    let all = Histogram::of(reader, &GO, Region::Matrix, axis).unwrap();
                    check(&all, &weights);
                    assert!(all.bins.len() >= 512 && all.numbers == Numbers::Weights);
                    let mut codes = vec![0; all.codes.len()];
                    for place in 0..weights.len() {
                        let at = ((place / 192) as u64, place % 192);
                        codes[sheet.code(at.0, at.1).unwrap() as usize] += 1;
                    }
                    assert_eq!(
                        (&all.codes, all.grid.len()),
                        (&codes, if format == Format::Fp8 { 254 } else { 0 })
                    );
                    let row = Histogram::of(reader, &GO, Region::Row(63), axis).unwrap();
                    check(&row, &weights[63 * 192..]);
                }
            });
        }
    }

    #[test]
    fn a_tile_has_the_grid_of_its_scale() {
        for format in
            [Format::Nvfp4, Format::Mxfp4, Format::Fp8Block, "int4-asym-g32".parse().unwrap()]
        {
            Seen::new(format).read(DOWN, |reader| {
                let tile = Histogram::of(reader, &GO, Region::Tile(0, 1), Axis::Linear).unwrap();
                let sheet = reader.sheet(0..64).unwrap();
                let width = reader.tile().columns;
                let columns = width..(2 * width).min(192);
                assert_eq!(tile.count as usize, reader.tile().rows.min(64) * columns.len());
                assert!(!tile.grid.is_empty());
                for column in columns {
                    let cell = sheet.cell(0, column).unwrap();
                    let mark = tile.grid.iter().find(|mark| mark.code == cell.code).unwrap();
                    assert_eq!(mark.value.to_bits(), cell.value.to_bits(), "{format}");
                }
                let beyond = Histogram::of(reader, &GO, Region::Tile(0, 999), Axis::Linear);
                assert!(matches!(beyond, Err(InspectError::OutOfRange { .. })));
            });
        }
    }

    #[test]
    fn floats_without_codes_and_codes_without_floats() {
        Seen::new(Format::Nvfp4).read(NORM, |reader| {
            let norm = Histogram::of(reader, &GO, Region::Matrix, Axis::Log).unwrap();
            assert_eq!((norm.count, norm.codes.len(), norm.grid.len()), (64, 0, 0));
        });
        Seen::stored(Format::Nvfp4).read(DOWN, |reader| {
            let stored = Histogram::of(reader, &GO, Region::Matrix, Axis::Linear).unwrap();
            assert_eq!(stored.numbers, Numbers::Values);
            check(&stored, &reader.sheet(0..64).unwrap().values);
            assert_eq!(stored.codes.iter().sum::<u64>(), 64 * 192);
        });
    }

    #[test]
    fn zeros_that_fill_up_blocks_are_not_counted() {
        Seen::padded("int8-g128").read(DOWN, |reader| {
            assert!(reader.matrix.columns == 256 && reader.matrix.weight_columns == 192);
            let all = Histogram::of(reader, &GO, Region::Matrix, Axis::Linear).unwrap();
            assert_eq!((all.count, all.codes.iter().sum::<u64>()), (64 * 192, 64 * 192));
            let last = Histogram::of(reader, &GO, Region::Tile(3, 1), Axis::Log).unwrap();
            assert_eq!(last.count, 64);
        });
    }

    #[test]
    fn numbers_of_all_magnitudes_are_counted() {
        let tiny = f32::from_bits(1);
        let some = [tiny, -tiny, 1.0, -1.0, 1.5, f32::MAX, f32::MIN, 0.0, -0.0, 1e-3, 512.0];
        for axis in [Axis::Linear, Axis::Log] {
            for count in 1..=some.len() {
                let mut counter = Counter::new(axis);
                let numbers = &some[..count];
                let sound = numbers.iter().filter(|n| **n != 0.0);
                sound.clone().for_each(|n| counter.add(f64::from(*n)));
                let amax = sound.fold(0f32, |amax, n| amax.max(n.abs()));
                let (bins, under) = counter.bins(amax);
                let histogram = Histogram {
                    region: Region::Matrix,
                    axis,
                    numbers: Numbers::Weights,
                    count: count as u64,
                    amax,
                    bins,
                    zeros: numbers.iter().filter(|n| **n == 0.0).count() as u64,
                    under,
                    infinite: 0,
                    nan: 0,
                    codec: None,
                    codes: Vec::new(),
                    grid: Vec::new(),
                };
                check(&histogram, numbers);
                assert!(histogram.csv().lines().count() == histogram.bins.len() + 5);
            }
        }
    }
}
