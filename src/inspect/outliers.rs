//! The largest weights of a matrix, the rows and columns they are in, and what they cost blocks of
//! other lengths.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::AtomicBool;

use super::median::median;
use super::table::table;
use super::{InspectError, Numbers, Reader, Sheet, Tile};
use crate::stats::WeightSums;

/// Rows and columns that are told.
const LINES: usize = 20;

/// Length of the shortest blocks.
const SHORTEST: usize = 16;

/// A weight of large magnitude.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlier {
    /// Its row.
    pub row: u64,
    /// Its column.
    pub column: usize,
    /// The weight.
    pub value: f32,
    /// Its magnitude in standard deviations of the matrix.
    pub sigmas: f64,
    /// Largest magnitude in its block.
    pub block_amax: f32,
    /// The same as a multiple of the median of all blocks.
    pub over_median: f64,
}

/// A row or column, and its largest magnitude.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Which one.
    pub index: u64,
    /// Its largest magnitude.
    pub amax: f32,
    /// The same as a multiple of the median of all rows, or columns.
    pub over_median: f64,
}

/// How many weights share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockLength {
    /// So many that follow one another in a row, and at its end what is left.
    Weights(u32),
    /// A row.
    Row,
    /// All.
    Tensor,
}

/// Largest magnitudes of blocks of some length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LengthAmax {
    /// The length.
    pub length: BlockLength,
    /// How many blocks there are.
    pub blocks: u64,
    /// Mean of their largest magnitudes.
    pub mean: f64,
    /// Median of them.
    pub median: f64,
    /// The largest of them, which is that of the tensor.
    pub max: f32,
    /// Mean of them, divided by the largest: the part of the tensor's range that a block needs, on average.
    pub mean_of_tensor: f64,
}

/// What stands out in a matrix. Numbers that are not finite are only counted, and what fills up blocks is
/// left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Outliers {
    /// Which numbers were looked at.
    pub numbers: Numbers,
    /// Sums over all of them.
    pub sums: WeightSums,
    /// Their standard deviation.
    pub sigma: f64,
    /// Their largest magnitude.
    pub amax: f32,
    /// Numbers that are not finite.
    pub not_finite: u64,
    /// What `block_amax` is about: the blocks of the format, or 16 weights where it has none.
    pub block: Tile,
    /// Median of the largest magnitudes of these blocks.
    pub median_block_amax: f64,
    /// The largest numbers, largest first, and of equal ones the first; zeros are left out.
    pub largest: Vec<Outlier>,
    /// Largest magnitude of each row.
    pub row_amax: Vec<f32>,
    /// Largest magnitude of each column.
    pub column_amax: Vec<f32>,
    /// The 20 rows of the largest magnitudes, largest first.
    pub rows: Vec<Line>,
    /// The 20 columns of the largest magnitudes, largest first.
    pub columns: Vec<Line>,
    /// What blocks of 16, 32, 64, 128 and 256 weights, of rows and of the tensor have.
    pub lengths: Vec<LengthAmax>,
}

/// Bits of a magnitude, the place that it is at, first places first, and the number's bits.
type Large = Reverse<(u32, Reverse<u64>, u32)>;

/// What is known while the matrix is read.
struct Found {
    sums: WeightSums,
    not_finite: u64,
    most: usize,
    width: usize,
    largest: BinaryHeap<Large>,
    row_amax: Vec<f32>,
    column_amax: Vec<f32>,
    shortest: Vec<f32>,
    /// Of blocks that are not the shortest.
    blocks: Option<(Tile, Vec<f32>)>,
}

impl Found {
    fn add(&mut self, row: u64, column: usize, number: f32) {
        let magnitude = number.abs();
        if !magnitude.is_finite() {
            self.not_finite += 1;
            return;
        }
        let w = f64::from(number);
        self.sums.count += 1;
        self.sums.zeros += u64::from(number == 0.0);
        self.sums.sum += w;
        self.sums.sum_abs += w.abs();
        self.sums.sum_squares += w * w;
        let raise = |amax: &mut f32| *amax = amax.max(magnitude);
        raise(&mut self.row_amax[row as usize]);
        raise(&mut self.column_amax[column]);
        let across = self.width.div_ceil(SHORTEST);
        raise(&mut self.shortest[row as usize * across + column / SHORTEST]);
        if let Some((tile, blocks)) = &mut self.blocks {
            raise(&mut blocks[block_of(*tile, self.width, row, column)]);
        }
        let bits = magnitude.to_bits();
        let is_full = self.largest.len() >= self.most;
        let is_larger = |Reverse(least): &Large| bits > least.0;
        if bits > 0 && self.most > 0 && (!is_full || self.largest.peek().is_some_and(is_larger)) {
            if is_full {
                self.largest.pop();
            }
            let place = row * self.width as u64 + column as u64;
            self.largest.push(Reverse((bits, Reverse(place), number.to_bits())));
        }
    }

    fn add_sheet(&mut self, sheet: &Sheet) {
        let (numbers, _) = sheet.numbers();
        for row in sheet.rows.clone() {
            let line = &numbers[sheet.line(row, 0..self.width)];
            for (column, number) in line.iter().enumerate() {
                self.add(row, column, *number);
            }
        }
    }
}

/// Number of the block that a weight is in.
fn block_of(tile: Tile, width: usize, row: u64, column: usize) -> usize {
    row as usize / tile.rows * width.div_ceil(tile.columns) + column / tile.columns
}

impl Outliers {
    /// Looks for the `most` largest numbers of a matrix, and all else.
    pub fn of(reader: &Reader<'_>, cancel: &AtomicBool, most: usize) -> Result<Self, InspectError> {
        let (height, width) = (reader.matrix.rows, reader.matrix.weight_columns as usize);
        let tile = reader.tile();
        let shortest = Tile { rows: 1, columns: SHORTEST, is_block: tile.is_block };
        let block = if tile.is_block { tile } else { shortest };
        let blocks = height.div_ceil(block.rows as u64) as usize * width.div_ceil(block.columns);
        let mut found = Found {
            sums: WeightSums::default(),
            not_finite: 0,
            most,
            width,
            largest: BinaryHeap::new(),
            row_amax: vec![0.0; height as usize],
            column_amax: vec![0.0; width],
            shortest: vec![0.0; height as usize * width.div_ceil(SHORTEST)],
            blocks: (block != shortest).then(|| (block, vec![0.0; blocks])),
        };
        let mut which = Numbers::Weights;
        reader.for_each(cancel, |sheet| {
            which = sheet.numbers().1;
            found.add_sheet(sheet);
            Ok(())
        })?;

        let block_amax = found.blocks.as_ref().map_or(&found.shortest, |(_, blocks)| blocks);
        let median_block_amax = median(&mut block_amax.clone()).unwrap_or(0.0);
        let sigma = found.sums.std_dev();
        // The heap's order is that of what is least, so the largest come first.
        let largest = found.largest.into_sorted_vec().into_iter();
        let largest = largest.map(|Reverse((magnitude, Reverse(place), bits))| {
            let (row, column) = (place / width as u64, place as usize % width);
            let block_amax = block_amax[block_of(block, width, row, column)];
            Outlier {
                row,
                column,
                value: f32::from_bits(bits),
                sigmas: f64::from(f32::from_bits(magnitude)) / sigma,
                block_amax,
                over_median: f64::from(block_amax) / median_block_amax,
            }
        });
        let largest = largest.collect();
        let amax = found.row_amax.iter().copied().fold(0.0, f32::max);
        Ok(Self {
            numbers: which,
            sums: found.sums,
            sigma,
            amax,
            not_finite: found.not_finite,
            block,
            median_block_amax,
            largest,
            rows: lines(&found.row_amax),
            columns: lines(&found.column_amax),
            lengths: lengths(found.shortest, &found.row_amax, width, amax),
            row_amax: found.row_amax,
            column_amax: found.column_amax,
        })
    }

    /// Everything, with a word in front of each line that says what it is about.
    pub fn csv(&self) -> String {
        type Row = (
            &'static str,
            [Option<u64>; 3],
            f64,
            Option<f64>,
            Option<f64>,
            Option<f64>,
            [Option<f64>; 3],
        );
        let none = [None; 3];
        let weight = |o: &Outlier| -> Row {
            let at = [Some(o.row), Some(o.column as u64), None];
            let block = (Some(o.block_amax.into()), Some(o.over_median));
            ("weight", at, o.value.into(), Some(o.sigmas), block.0, block.1, none)
        };
        let row = |(index, amax): (usize, &f32)| -> Row {
            let at = [Some(index as u64), None, None];
            ("row", at, (*amax).into(), None, None, None, none)
        };
        let column = |(index, amax): (usize, &f32)| -> Row {
            let at = [None, Some(index as u64), None];
            ("column", at, (*amax).into(), None, None, None, none)
        };
        let length = |l: &LengthAmax| -> Row {
            let (what, length) = match l.length {
                BlockLength::Weights(length) => ("blocks", Some(length.into())),
                BlockLength::Row => ("blocks of rows", None),
                BlockLength::Tensor => ("tensor", None),
            };
            let of_blocks = [l.mean, l.median, l.mean_of_tensor].map(Some);
            (what, [None, None, length], l.max.into(), None, None, None, of_blocks)
        };
        let weights = self.largest.iter().map(weight);
        let rows = self.row_amax.iter().enumerate().map(row);
        let columns = self.column_amax.iter().enumerate().map(column);
        let lengths = self.lengths.iter().map(length);
        let header = [
            "what",
            "row",
            "column",
            "length",
            "amax_or_weight",
            "sigmas",
            "block_amax",
            "block_amax_over_median",
            "mean_block_amax",
            "median_block_amax",
            "mean_over_tensor_amax",
        ];
        table(&header, weights.chain(rows).chain(columns).chain(lengths))
    }
}

/// The lines of the largest magnitudes.
fn lines(amax: &[f32]) -> Vec<Line> {
    let middle = median(&mut amax.to_vec()).unwrap_or(0.0);
    let mut order: Vec<usize> = (0..amax.len()).collect();
    order.sort_by(|a, b| amax[*b].total_cmp(&amax[*a]));
    let line = |index: usize| Line {
        index: index as u64,
        amax: amax[index],
        over_median: f64::from(amax[index]) / middle,
    };
    order.into_iter().take(LINES).map(line).collect()
}

/// What blocks of all lengths have, from what the shortest have.
fn lengths(shortest: Vec<f32>, rows: &[f32], width: usize, amax: f32) -> Vec<LengthAmax> {
    let of = |length: BlockLength, mut blocks: Vec<f32>| {
        let count = blocks.len().max(1) as f64;
        let mean = blocks.iter().map(|amax| f64::from(*amax)).sum::<f64>() / count;
        LengthAmax {
            length,
            blocks: blocks.len() as u64,
            mean,
            median: median(&mut blocks).unwrap_or(0.0),
            max: amax,
            mean_of_tensor: if amax > 0.0 { mean / f64::from(amax) } else { 0.0 },
        }
    };
    let mut found = Vec::new();
    let (mut blocks, mut length) = (shortest, SHORTEST);
    while length <= 256 {
        found.push(of(BlockLength::Weights(length as u32), blocks.clone()));
        let across = width.div_ceil(length).max(1);
        let pairs = blocks.chunks_exact(across).flat_map(|line| line.chunks(2));
        blocks = pairs.map(|pair| pair.iter().copied().fold(0.0, f32::max)).collect();
        length *= 2;
    }
    found.push(of(BlockLength::Row, rows.to_vec()));
    found.push(of(BlockLength::Tensor, vec![amax]));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;
    use crate::inspect::tests::{DOWN, GO, NORM, Seen};

    fn amax(numbers: &[f32]) -> f32 {
        numbers.iter().fold(0.0, |amax, number| amax.max(number.abs()))
    }

    /// Mean and median of the largest magnitudes of blocks, found again.
    fn middle(mut blocks: Vec<f32>) -> (f64, f64) {
        blocks.sort_by(f32::total_cmp);
        let count = blocks.len();
        let mean = blocks.iter().map(|b| f64::from(*b)).sum::<f64>() / count as f64;
        let [lower, upper] = [(count - 1) / 2, count / 2].map(|at| f64::from(blocks[at]));
        (mean, (lower + upper) / 2.0)
    }

    #[test]
    fn what_stands_out_is_what_a_sorted_matrix_has_at_its_end() {
        for format in ["nvfp4", "mxfp8", "fp8-block", "fp8", "int4-g64"] {
            Seen::new(format.parse().unwrap()).read(DOWN, |reader| {
                let found = Outliers::of(reader, &GO, 50).unwrap();
                let weights = reader.sheet(0..64).unwrap().weights.unwrap();
                let mut order: Vec<usize> = (0..weights.len()).collect();
                order.sort_by(|a, b| weights[*b].abs().total_cmp(&weights[*a].abs()));
                let at = |o: &Outlier| o.row as usize * 192 + o.column;
                let places: Vec<usize> = found.largest.iter().map(at).collect();
                assert_eq!(places, order[..50], "{format}");
                assert_eq!((found.amax, found.not_finite), (amax(&weights), 0));
                assert!(format != "nvfp4" || reader.group_amax == Some(found.amax));
                let mean = weights.iter().map(|w| f64::from(*w)).sum::<f64>() / 12288.0;
                let square = |w: &f32| (f64::from(*w) - mean).powi(2);
                let sigma = (weights.iter().map(square).sum::<f64>() / 12288.0).sqrt();
                assert!((found.sigma / sigma - 1.0).abs() < 1e-12);
                for outlier in &found.largest {
                    let own = at(outlier);
                    assert_eq!(outlier.value, weights[own]);
                    let block = (0..weights.len()).filter(|place| {
                        let part = |place: usize| {
                            (place / 192 / found.block.rows, place % 192 / found.block.columns)
                        };
                        part(*place) == part(own)
                    });
                    let block: Vec<f32> = block.map(|place| weights[place]).collect();
                    assert_eq!(outlier.block_amax, amax(&block), "{format}");
                }
            });
        }
    }

    #[test]
    fn rows_columns_and_blocks_have_their_largest_magnitudes() {
        Seen::new(Format::Nvfp4).read(DOWN, |reader| {
            let found = Outliers::of(reader, &GO, 5).unwrap();
            let weights = reader.sheet(0..64).unwrap().weights.unwrap();
            let rows: Vec<f32> = weights.chunks(192).map(amax).collect();
            let column =
                |c: usize| amax(&weights.iter().skip(c).step_by(192).copied().collect::<Vec<_>>());
            let columns: Vec<f32> = (0..192).map(column).collect();
            assert_eq!((&found.row_amax, &found.column_amax), (&rows, &columns));
            assert_eq!(found.rows[0].amax, found.amax);
            assert_eq!(found.columns[0].index as usize, found.largest[0].column);
            assert!(found.rows.len() == 20 && found.rows.is_sorted_by(|a, b| a.amax >= b.amax));
            for length in &found.lengths {
                let blocks: Vec<f32> = match length.length {
                    BlockLength::Weights(length) => {
                        let line = |line: &[f32]| {
                            line.chunks(length as usize).map(amax).collect::<Vec<_>>()
                        };
                        weights.chunks(192).flat_map(line).collect()
                    }
                    BlockLength::Row => rows.clone(),
                    BlockLength::Tensor => vec![found.amax],
                };
                assert_eq!((length.blocks, length.max), (blocks.len() as u64, amax(&blocks)));
                assert_eq!((length.mean, length.median), middle(blocks), "{:?}", length.length);
            }
            assert_eq!(found.lengths.len(), 7);
            assert_eq!(found.median_block_amax, found.lengths[0].median);
            let csv = found.csv();
            assert_eq!(csv.lines().count(), 1 + 5 + 64 + 192 + 7);
            assert!(csv.lines().all(|line| line.split(',').count() == 11));
        });
    }

    #[test]
    fn floats_alone_and_codes_alone_have_outliers() {
        Seen::new(Format::Nvfp4).read(NORM, |reader| {
            let found = Outliers::of(reader, &GO, 100).unwrap();
            assert_eq!((found.sums.count, found.row_amax.len()), (64, 1));
            assert!(found.largest.len() <= 64);
        });
        Seen::stored(Format::Nvfp4).read(DOWN, |reader| {
            let found = Outliers::of(reader, &GO, 10).unwrap();
            let values = reader.sheet(0..64).unwrap().values;
            assert_eq!((found.numbers, found.amax), (Numbers::Values, amax(&values)));
        });
        Seen::padded("int8-g128").read(DOWN, |reader| {
            let found = Outliers::of(reader, &GO, 10).unwrap();
            assert_eq!((found.sums.count, found.column_amax.len()), (64 * 192, 192));
        });
    }
}
