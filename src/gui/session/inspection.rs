//! Looking into one tensor: what has been read of it, and what is being read.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::loaded::{Loaded, Shown};
use super::{Analysis, Document, Focus, Notify, Session};
use crate::backend::Backend;
use crate::inspect::{
    ErrorMap, Histogram, InspectError, Level, Matrix, Outliers, Reader, Regimes, ScaleMap, Sheet,
    Subject, Tile, find,
};

/// Rows that are read around the one that is looked at, so that going on seldom waits.
const AROUND: u64 = 32;

/// Weights that are read around it, at most, unless its rows are longer.
const MOST: u64 = 1 << 20;

/// What is looked at, and all that has been read of it.
#[derive(Debug, Default)]
pub struct Inspection {
    /// What is looked at.
    pub focus: Focus,
    /// Why another block was gone to than the one that was asked for, and what was looked at then.
    beyond: Option<(String, Focus)>,
    facts: Loaded<Facts>,
    sheet: Loaded<Sheet>,
    found: Loaded<Option<(u64, usize)>>,
    /// Its histogram.
    pub histogram: Loaded<Histogram>,
    /// Its outliers.
    pub outliers: Loaded<Outliers>,
    /// The regimes of its blocks.
    pub regimes: Loaded<Regimes>,
    /// Its scales, and the same made smaller.
    pub scales: Loaded<(ScaleMap, Vec<Level>)>,
    /// Its errors.
    pub errors: Loaded<ErrorMap>,
}

/// What a matrix is, without its numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// What it is.
    pub subject: Subject,
    /// Rows and columns, with what fills up blocks.
    pub rows: u64,
    /// Columns.
    pub columns: usize,
    /// Columns that weights have.
    pub weight_columns: usize,
    /// Experts that the tensor holds.
    pub experts: u64,
    /// The format that it is seen in.
    pub format: Option<crate::format::Format>,
    /// Whether that is the format of the plan, or of the file.
    pub is_planned: bool,
    /// Whose arithmetic, as the layout is called.
    pub dialect: Option<crate::dialect::Dialect>,
    /// Why there are no codes, though a format was asked for.
    pub refused: Option<String>,
    /// Largest magnitude of all that share the global scale.
    pub group_amax: Option<f32>,
    /// What is looked at together.
    pub tile: Tile,
}

/// All that is needed to read a tensor, in any thread.
#[derive(Clone)]
pub struct Lens {
    /// What is looked at.
    pub subject: Subject,
    document: Arc<Document>,
    analysis: Arc<Analysis>,
    backend: Arc<dyn Backend>,
    known_amax: Option<f32>,
    key: u64,
}

impl Lens {
    /// A lens for a subject; `None` as long as nothing is planned or no device is open.
    pub fn new(session: &Session, subject: Subject) -> Option<Self> {
        let (_, document) = session.document.as_ref()?;
        let analysis = session.analysis()?;
        let backend = Arc::clone(&session.devices.open.as_ref()?.backend);
        let entry = *analysis.by_name.get(&subject.tensor)?;
        let mut hasher = DefaultHasher::new();
        let places = (Arc::as_ptr(document), analysis.keys[entry]);
        (places, &subject, session.devices.name.as_str()).hash(&mut hasher);
        // What is tried out is quantized as the plan would.
        let plan = &analysis.plan;
        let way = (plan.dialect, plan.search, plan.scale_dtype, plan.quotient);
        format!("{way:?}").hash(&mut hasher);
        Some(Self {
            known_amax: session.group_amax(analysis, entry, &subject),
            document: Arc::clone(document),
            analysis: Arc::clone(analysis),
            backend,
            key: hasher.finish(),
            subject,
        })
    }

    /// The same, with the largest magnitude that was found when the matrix was looked at first: what is read
    /// of it then need not find it again.
    pub fn knowing(self, facts: &Facts) -> Self {
        Self { known_amax: self.known_amax.or(facts.group_amax), ..self }
    }

    /// Stands for what is read: the tensor, the format, the device; and what is made of it.
    pub fn key(&self, what: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.key, what).hash(&mut hasher);
        hasher.finish()
    }

    /// Who computes.
    pub fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend)
    }

    /// Reads with it. Not for a frame.
    pub fn read<T>(
        &self,
        cancel: &AtomicBool,
        read: impl FnOnce(&Reader<'_>) -> Result<T, InspectError>,
    ) -> Result<T, String> {
        let stored = self.document.quantized.as_ref().filter(|_| self.analysis.is_stored);
        let layers = stored.map_or(&[][..], |stored| &stored.layers);
        let plan = &self.analysis.plan;
        let open = || {
            let mut matrix = Matrix::of(&self.document.checkpoint, layers, plan, &self.subject)?;
            matrix.known_amax = self.known_amax;
            read(&Reader::new(matrix, self.backend.as_ref(), cancel)?)
        };
        open().map_err(|error| error.to_string())
    }
}

impl Session {
    /// The largest magnitude of all that share a global scale, if it has been measured.
    fn group_amax(&self, analysis: &Analysis, entry: usize, subject: &Subject) -> Option<f32> {
        let planned = analysis.plan.entries[entry].format();
        if subject.format.is_some_and(|format| Some(format) != planned) {
            return None;
        }
        let group = analysis.plan.groups.iter().find(|group| group.contains(&entry))?;
        let amax = |&i: &usize| Some(self.measurements.stats.get(i)?.as_ref()?.amax);
        let all: Option<Vec<f32>> = group.iter().map(amax).collect();
        // Where one is not finite the reader says so itself.
        let all = all.filter(|all| all.iter().all(|amax| amax.is_finite()))?;
        all.into_iter().reduce(f32::max)
    }
}

impl Facts {
    fn of(reader: &Reader<'_>) -> Result<Self, InspectError> {
        let matrix = &reader.matrix;
        let first = reader.sheet(0..1)?;
        Ok(Self {
            subject: matrix.subject.clone(),
            rows: matrix.rows,
            columns: matrix.columns as usize,
            weight_columns: matrix.weight_columns as usize,
            experts: matrix.experts,
            format: matrix.format,
            is_planned: matrix.is_planned,
            dialect: matrix.dialect(),
            refused: reader.refused.clone(),
            group_amax: reader.group_amax,
            tile: first.tile(),
        })
    }

    /// Rows to read so that one is there with some around it.
    fn rows_around(&self, row: u64) -> Range<u64> {
        let most = (MOST / self.columns.max(1) as u64).max(1);
        let around = (2 * AROUND).max(self.tile.rows as u64).min(most.max(self.tile.rows as u64));
        let first = row / around * around;
        first..(first + around).min(self.rows)
    }
}

impl Inspection {
    /// Nothing is read yet of what is looked at.
    pub fn at(focus: Focus) -> Self {
        Self { focus, ..Self::default() }
    }

    /// What the matrix is.
    pub fn facts(&mut self, notify: &Notify, lens: &Lens) -> Shown<Facts> {
        let own = lens.clone();
        self.facts.get(notify, lens.key("facts"), move |cancel| own.read(cancel, Facts::of))
    }

    /// Goes to the block that was asked for, if one was; what lies beyond the tensor becomes its last weight. Gives
    /// whether the weight in that block is left open.
    pub fn settle(&mut self, facts: &Facts) -> Option<bool> {
        let wanted = self.focus.wanted.take();
        if let Some(block) = wanted {
            self.focus.go_to(facts.tile, block);
        }
        let (rows, columns) = (facts.rows.saturating_sub(1), facts.columns.saturating_sub(1));
        let is_beyond = self.focus.row > rows || self.focus.column > columns;
        self.focus.row = self.focus.row.min(rows);
        self.focus.column = self.focus.column.min(columns);
        let wanted = wanted?;
        if is_beyond {
            let last = Focus { row: rows, column: columns, ..Focus::default() }.block(facts.tile);
            let (row, column) = (last.row, last.column);
            let why = format!("there is no block {wanted}: the last block is {row},{column}");
            self.beyond = Some((why, self.focus.clone()));
        }
        Some(wanted.element.is_none() && !is_beyond)
    }

    /// Why another block is looked at than the one that was asked for.
    pub fn beyond(&self) -> Option<&str> {
        let (why, looked_at) = self.beyond.as_ref()?;
        (*looked_at == self.focus).then_some(why)
    }

    /// The rows around the one that is looked at.
    pub fn sheet(&mut self, notify: &Notify, lens: &Lens, facts: &Facts) -> Shown<Sheet> {
        let rows = facts.rows_around(self.focus.row.min(facts.rows.saturating_sub(1)));
        let own = lens.clone();
        self.sheet.get(notify, lens.key(&rows), move |cancel| {
            own.read(cancel, |reader| reader.sheet(rows))
        })
    }

    /// Goes to a place that was asked for, once it is found.
    pub fn go_to_found(&mut self, notify: &Notify, lens: &Lens) {
        let Some(place) = self.focus.sought else { return };
        let own = lens.clone();
        let shown = self.found.get(notify, lens.key(place), move |cancel| {
            own.read(cancel, |reader| find(reader, place, cancel))
        });
        match shown {
            Shown::Ready(found) => {
                self.focus.sought = None;
                (self.focus.row, self.focus.column) =
                    found.unwrap_or((self.focus.row, self.focus.column));
            }
            Shown::Failed(_) => self.focus.sought = None,
            Shown::Working(_) => {}
        }
    }

    /// What the matrix is, as far as that is known already.
    pub fn known_facts(&self) -> Option<&Facts> {
        self.facts.ready().filter(|facts| Some(&facts.subject) == self.focus.subject().as_ref())
    }

    /// Why it cannot be looked at.
    pub fn failure(&self) -> Option<&str> {
        self.facts.failure()
    }

    /// The rows that were read last.
    pub fn known_sheet(&self) -> Option<&Sheet> {
        self.sheet.ready()
    }

    /// Whether anything is being read.
    pub fn is_busy(&self) -> bool {
        self.facts.is_busy()
            || self.sheet.is_busy()
            || self.found.is_busy()
            || self.histogram.is_busy()
            || self.outliers.is_busy()
            || self.regimes.is_busy()
            || self.scales.is_busy()
            || self.errors.is_busy()
    }
}
