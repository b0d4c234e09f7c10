//! All scales of a matrix, as a grid, and the same grid made smaller without losing what is wrong.

use std::io::{self, Write};
use std::sync::atomic::AtomicBool;

use super::table::table;
use super::{Codec, InspectError, Reader, Sheet};
use crate::backend::{Backend, GridCell};
use crate::engine::steps;
use crate::format::Scope;
use crate::numeric::e4m3;
use crate::quantized::Chunk;

/// Places of scales that are told, at most.
const PLACES: usize = 1000;

/// What kind of scale one is, the harmless first: the worst of several is the largest. As
/// [`ScaleHealth`](crate::stats::ScaleHealth) counts them, whose invalid ones are the last three.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ScaleClass {
    /// With all the precision of its type.
    #[default]
    Normal,
    /// The largest of its type; NVFP4's block with the tensor's amax has it by design.
    Largest,
    /// Above zero and below the smallest normal number of its type.
    Subnormal,
    /// Zero: its block reads as zeros.
    Zero,
    /// Below zero, or −0, where scales have no sign.
    Negative,
    /// An infinity.
    Infinite,
    /// No number.
    NaN,
}

impl ScaleClass {
    /// Every one, in order.
    pub const ALL: [Self; 7] = [
        Self::Normal,
        Self::Largest,
        Self::Subnormal,
        Self::Zero,
        Self::Negative,
        Self::Infinite,
        Self::NaN,
    ];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Largest => "largest",
            Self::Subnormal => "subnormal",
            Self::Zero => "zero",
            Self::Negative => "negative",
            Self::Infinite => "infinite",
            Self::NaN => "NaN",
        }
    }
}

/// Scales, row of scales by row of scales, as they are stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Scales {
    /// Codes of a type of 8 bits.
    Bytes(Vec<u8>),
    /// Floats.
    Floats(Vec<f32>),
}

/// All scales of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaleMap {
    /// Scales one below the other.
    pub rows: u64,
    /// Scales side by side.
    pub columns: u64,
    /// Which weights share one.
    pub scope: Scope,
    /// The type they are stored in.
    pub codec: Codec,
    /// The scales.
    pub scales: Scales,
    /// Whether scales may have a sign, or be zero: then magnitudes are looked at.
    pub signed: bool,
    /// How many there are of each class, as [`ScaleClass::ALL`] has them.
    pub counts: [u64; 7],
    /// Scales that no reader expects: zeros where scales are above zero, negative ones, infinities, NaN.
    pub bad: u64,
    /// The row and column of the first of them, in reading order.
    pub bad_places: Vec<(u64, u64)>,
    /// The smallest and the largest scale that is finite and above zero.
    pub range: Option<(f32, f32)>,
    /// 256 counts. Of bytes: how many scales have each. Of floats: how many have each exponent field of
    /// an f32, so `histogram[e]` counts magnitudes from 2^(e − 127) to below 2^(e − 126), and its first
    /// and last zeros with subnormals, and infinities with NaN.
    pub histogram: Vec<u64>,
    min_normal: f32,
    largest: f32,
}

/// A scale map made smaller.
///
/// Level 0 is the map. Level `n + 1` has ⌈rows / 2⌉ × ⌈columns / 2⌉ cells of level `n`, and cell
/// (r, c) is made of the cells (2r, 2c), (2r, 2c + 1), (2r + 1, 2c) and (2r + 1, 2c + 1) of level `n`
/// that exist:
///
/// ```text
/// worst = the largest class
/// min   = the smallest of their min, max = the largest of their max, NaN left out; NaN if all are
/// ```
///
/// On level 0 `worst` is the class of a scale, and `min` and `max` are its value if its class is
/// [`ScaleClass::Zero`] or before, without its sign, else NaN. The last level has one cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// Cells one below the other.
    pub rows: u64,
    /// Cells side by side.
    pub columns: u64,
    /// The cells: flipped bits of `min`, bits of `max`, each 0 for none, and the class.
    cells: Vec<GridCell>,
}

impl ScaleMap {
    /// Collects the scales.
    pub fn of(reader: &Reader<'_>, cancel: &AtomicBool) -> Result<Self, InspectError> {
        let scope = reader.need_codes()?;
        let mut map: Option<Self> = None;
        reader.for_each(cancel, |sheet| {
            let map = match &mut map {
                Some(_) if scope == Scope::Tensor => return Ok(()),
                Some(map) => map,
                none => match Self::empty(reader, sheet, scope) {
                    Some(empty) => none.insert(empty),
                    None => return Ok(()),
                },
            };
            match (&sheet.chunk, &mut map.scales) {
                (Some(Chunk::Nvfp4 { scales, .. }), Scales::Bytes(all)) => all.extend(scales),
                (Some(Chunk::Grouped { scales, .. }), Scales::Bytes(all)) => {
                    let codec = map.codec;
                    all.extend(scales.iter().map(|group| codec.encode(group.scale) as u8));
                }
                (Some(Chunk::Grouped { scales, .. }), Scales::Floats(all)) => {
                    all.extend(scales.iter().map(|group| group.scale));
                }
                _ => {}
            }
            Ok(())
        })?;
        let mut map = map.ok_or_else(|| InspectError::NoCodes {
            tensor: reader.matrix.subject.tensor.clone(),
            reason: "it has no rows that can be read".to_owned(),
        })?;
        map.measure();
        Ok(map)
    }

    /// A map of a matrix without its scales.
    fn empty(reader: &Reader<'_>, sheet: &Sheet, scope: Scope) -> Option<Self> {
        let (codec, (min_normal, largest), signed) = match sheet.chunk.as_ref()? {
            Chunk::Nvfp4 { .. } => {
                let normal = e4m3::decode(e4m3::FIRST_NORMAL_CODE);
                (Codec::E4m3, (normal, e4m3::MAX), false)
            }
            Chunk::Grouped { scheme, kind, .. } => {
                let codec = Codec::of_store(scheme.store, *kind);
                (codec, scheme.store.range(*kind), scheme.has_signed_scales())
            }
        };
        let down = scope.rows().map_or(1, |rows| reader.matrix.rows.div_ceil(rows as u64));
        Some(Self {
            rows: down,
            columns: scope.across(reader.matrix.columns as usize) as u64,
            scope,
            codec,
            scales: match codec.bits() {
                8 => Scales::Bytes(Vec::new()),
                _ => Scales::Floats(Vec::new()),
            },
            signed,
            counts: [0; 7],
            bad: 0,
            bad_places: Vec::new(),
            range: None,
            histogram: vec![0; 256],
            min_normal,
            largest,
        })
    }

    fn measure(&mut self) {
        for index in 0..self.len() {
            let (value, class) = (self.value(index), self.class(index));
            self.counts[class as usize] += 1;
            let bin = match &self.scales {
                Scales::Bytes(bytes) => bytes[index],
                Scales::Floats(_) => (value.abs().to_bits() >> 23) as u8,
            };
            self.histogram[usize::from(bin)] += 1;
            let allowed = if self.signed { ScaleClass::Zero } else { ScaleClass::Subnormal };
            if class > allowed {
                self.bad += 1;
                if self.bad_places.len() < PLACES {
                    let (at, columns) = (index as u64, self.columns.max(1));
                    self.bad_places.push((at / columns, at % columns));
                }
            }
            if class < ScaleClass::Zero {
                let value = value.abs();
                let (min, max) = self.range.unwrap_or((value, value));
                self.range = Some((min.min(value), max.max(value)));
            }
        }
    }

    /// How many scales there are.
    pub fn len(&self) -> usize {
        match &self.scales {
            Scales::Bytes(bytes) => bytes.len(),
            Scales::Floats(floats) => floats.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a scale; NaN beyond the last.
    pub fn value(&self, index: usize) -> f32 {
        match &self.scales {
            Scales::Bytes(bytes) => {
                bytes.get(index).map_or(f32::NAN, |byte| self.codec.value((*byte).into()))
            }
            Scales::Floats(floats) => floats.get(index).copied().unwrap_or(f32::NAN),
        }
    }

    /// The bits of a scale as it is stored.
    pub fn code(&self, index: usize) -> u32 {
        match &self.scales {
            Scales::Bytes(bytes) => bytes.get(index).copied().unwrap_or(0).into(),
            Scales::Floats(_) => self.codec.encode(self.value(index)),
        }
    }

    /// The class of a scale.
    pub fn class(&self, index: usize) -> ScaleClass {
        let value = self.value(index);
        let magnitude = value.abs();
        match value {
            _ if value.is_nan() => ScaleClass::NaN,
            _ if value.is_infinite() => ScaleClass::Infinite,
            _ if value.is_sign_negative() && !self.signed => ScaleClass::Negative,
            0.0 => ScaleClass::Zero,
            _ if magnitude < self.min_normal => ScaleClass::Subnormal,
            _ if magnitude >= self.largest => ScaleClass::Largest,
            _ => ScaleClass::Normal,
        }
    }

    /// Level 1 and all after it, to the one of a single cell; none for a single scale.
    pub fn mips(&self, backend: &dyn Backend) -> Result<Vec<Level>, InspectError> {
        let mut levels: Vec<Level> = Vec::new();
        let (mut rows, mut columns) = (self.rows, self.columns);
        while !self.is_empty() && rows * columns > 1 {
            let cells = match levels.last() {
                None => self.halved(backend)?,
                Some(finer) => backend.halve(&finer.cells, columns as usize)?,
            };
            (rows, columns) = (rows.div_ceil(2), columns.div_ceil(2));
            levels.push(Level { rows, columns, cells });
        }
        Ok(levels)
    }

    /// The cells of level 1, made of some rows at a time.
    fn halved(&self, backend: &dyn Backend) -> Result<Vec<GridCell>, InspectError> {
        const CELLS: u64 = 1 << 20;
        let columns = self.columns.max(1);
        let step = (CELLS / columns / 2).max(1) * 2;
        let mut halved = Vec::new();
        for rows in steps(self.rows, step) {
            let places = (rows.start * columns) as usize..(rows.end * columns) as usize;
            let cells: Vec<GridCell> = places.map(|place| self.cell(place)).collect();
            halved.extend(backend.halve(&cells, columns as usize)?);
        }
        Ok(halved)
    }

    /// A cell of level 0.
    fn cell(&self, place: usize) -> GridCell {
        let class = self.class(place);
        let bits = self.value(place).abs().to_bits();
        let [min, max] = if class <= ScaleClass::Zero { [!bits, bits] } else { [0; 2] };
        [min, max, class as u32]
    }

    /// Every scale, one a line: row and column in the map, code, value and class.
    pub fn csv(&self) -> String {
        let columns = self.columns.max(1);
        let line = |index: usize| {
            let at = index as u64;
            let (code, value) = (self.code(index), self.value(index));
            (at / columns, at % columns, code, value, self.class(index).name())
        };
        table(&["row", "column", "code", "value", "class"], (0..self.len()).map(line))
    }

    /// The codes of all scales as a grid: a line of numbers for each row of the map, without a header.
    /// For large maps, of which [`Self::csv`] would take a multiple of what the map does.
    pub fn write_grid(&self, out: &mut dyn Write) -> io::Result<()> {
        for row in 0..self.rows {
            for column in 0..self.columns {
                let code = self.code((row * self.columns + column) as usize);
                write!(out, "{}{code}", if column == 0 { "" } else { "," })?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

impl Level {
    /// The smallest sound scale of a cell; NaN if there is none.
    pub fn min(&self, cell: usize) -> f32 {
        match self.cells[cell][0] {
            0 => f32::NAN,
            flipped => f32::from_bits(!flipped),
        }
    }

    /// The largest.
    pub fn max(&self, cell: usize) -> f32 {
        match self.cells[cell] {
            [0, ..] => f32::NAN,
            [_, bits, _] => f32::from_bits(bits),
        }
    }

    /// The worst class.
    pub fn worst(&self, cell: usize) -> ScaleClass {
        ScaleClass::ALL[(self.cells[cell][2] as usize).min(ScaleClass::ALL.len() - 1)]
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Cpu;
    use crate::format::Format;
    use crate::inspect::tests::{DOWN, GO, NORM, Seen, formats};
    use crate::stats::ScaleHealth;

    fn bytes(rows: u64, columns: u64, scales: Vec<u8>) -> ScaleMap {
        let mut map = ScaleMap {
            rows,
            columns,
            scope: Scope::Group(16),
            codec: Codec::E4m3,
            scales: Scales::Bytes(scales),
            signed: false,
            counts: [0; 7],
            bad: 0,
            bad_places: Vec::new(),
            range: None,
            histogram: vec![0; 256],
            min_normal: 1.0 / 64.0,
            largest: 448.0,
        };
        map.measure();
        map
    }

    fn agrees(map: &ScaleMap, health: &ScaleHealth) {
        let [normal, largest, subnormal, zero, negative, infinite, nan] = map.counts;
        assert_eq!((largest, subnormal, zero), (health.saturated, health.subnormal, health.zero));
        assert_eq!(negative + infinite + nan, health.invalid);
        let sum = normal + largest + subnormal + zero + health.invalid;
        assert_eq!((sum, map.histogram.iter().sum()), (health.blocks, health.blocks));
    }

    #[test]
    fn maps_are_the_scales_of_chunks_and_count_as_their_health() {
        for format in formats() {
            Seen::new(format).read(DOWN, |reader| {
                if reader.scope().is_none() {
                    return;
                }
                let map = ScaleMap::of(reader, &GO).unwrap();
                let sheet = reader.sheet(0..64).unwrap();
                let chunk = sheet.chunk.as_ref().unwrap();
                let values: Vec<f32> = (0..map.len()).map(|at| map.value(at)).collect();
                assert_eq!(values, chunk.scales(), "{format}");
                assert_eq!(map.len() as u64, map.rows * map.columns, "{format}");
                agrees(&map, &chunk.health());
                assert_eq!(map.range, Some((chunk.health().min, chunk.health().max)));
                assert_eq!((map.bad, map.bad_places.len()), (0, 0));
                let last = map.mips(&Cpu).unwrap().pop();
                let whole = last.map(|level| (level.min(0), level.max(0)));
                assert!(map.len() == 1 || whole == map.range, "{format}");
                assert_eq!(map.csv().lines().count(), map.len() + 1);
            });
        }
    }

    #[test]
    fn stored_scales_are_those_that_were_made() {
        let mut maps = Vec::new();
        Seen::new(Format::Nvfp4).read(DOWN, |reader| maps.push(ScaleMap::of(reader, &GO).unwrap()));
        Seen::stored(Format::Nvfp4)
            .read(DOWN, |reader| maps.push(ScaleMap::of(reader, &GO).unwrap()));
        assert_eq!(maps[0], maps[1]);
        Seen::new(Format::Nvfp4).read(NORM, |reader| {
            assert!(matches!(ScaleMap::of(reader, &GO), Err(InspectError::NoCodes { .. })));
        });
    }

    #[test]
    fn every_class_counts_and_bad_ones_have_their_places() {
        let codes = vec![0x38, 0x7E, 0x01, 0x00, 0x80, 0xB8, 0x7F, 0xFF, 0x08];
        let map = bytes(3, 3, codes.clone());
        assert_eq!(map.counts, [2, 1, 1, 1, 2, 0, 2]);
        agrees(&map, &ScaleHealth::of(&codes));
        assert_eq!(map.bad_places, [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1)]);
        assert_eq!((map.bad, map.range), (5, Some((1.0 / 512.0, 448.0))));
        let mut grid = Vec::new();
        map.write_grid(&mut grid).unwrap();
        assert_eq!(String::from_utf8(grid).unwrap(), "56,126,1\n0,128,184\n127,255,8\n");
    }

    #[test]
    fn one_nan_is_seen_on_every_level() {
        for (rows, columns) in [(1, 1), (1, 7), (5, 1), (6, 9), (33, 17)] {
            for bad in [0, rows * columns / 2, rows * columns - 1] {
                let mut codes: Vec<u8> = (0..rows * columns).map(|i| 1 + (i % 126) as u8).collect();
                codes[bad as usize] = 0x7F;
                let map = bytes(rows, columns, codes);
                let levels = map.mips(&Cpu).unwrap();
                for (above, level) in levels.iter().enumerate() {
                    let side = 2u64 << above;
                    let (r, c) = (bad / columns / side, bad % columns / side);
                    let worst = |at: u64| level.worst(at as usize) == ScaleClass::NaN;
                    let found: Vec<u64> =
                        (0..level.rows * level.columns).filter(|at| worst(*at)).collect();
                    assert_eq!(found, [r * level.columns + c]);
                    let cell = |i: usize| (i as u64 / columns / side, i as u64 % columns / side);
                    for at in 0..level.len() {
                        let own = (at as u64 / level.columns, at as u64 % level.columns);
                        let all = (0..map.len()).filter(|i| cell(*i) == own);
                        let sound = all.map(|i| map.value(i)).filter(|v| !v.is_nan());
                        let min = sound.clone().fold(f32::NAN, f32::min);
                        let max = sound.fold(f32::NAN, f32::max);
                        assert_eq!(level.min(at).to_bits(), min.to_bits());
                        assert_eq!(level.max(at).to_bits(), max.to_bits());
                    }
                }
                let last = levels.last().map_or((1, 1), |level| (level.rows, level.columns));
                assert_eq!(last, (1, 1));
            }
        }
    }
}
