//! The numbers of what is looked at, for the texts of lessons.

use crate::gui::app::App;
use crate::gui::session::Analysis;
use crate::inspect::{Block, Ruler, Tie, explain};
use crate::units::significant;

/// The numbers of what is looked at, as far as they are known.
pub struct Told<'a> {
    /// The plan, and what follows from it.
    pub analysis: Option<&'a Analysis>,
    /// The block.
    pub block: Option<Block>,
    /// Number of the weight in it.
    pub index: usize,
}

/// What stands where a number is still being read.
const SOON: &str = "…";

impl<'a> Told<'a> {
    /// Of what a window looks at.
    pub fn of(app: &'a App) -> Self {
        let inspection = &app.session.inspection;
        let focus = &inspection.focus;
        let facts = inspection.known_facts();
        let sheet = inspection.known_sheet().filter(|_| facts.is_some());
        let block = sheet.and_then(|sheet| Block::of(sheet, focus.row, focus.column));
        let index = block.as_ref().and_then(|block| block.index(focus.row, focus.column));
        let analysis = app.session.analysis().map(AsRef::as_ref);
        Self { analysis, block, index: index.unwrap_or(0) }
    }

    fn or_soon<T: ToString>(value: Option<T>) -> String {
        value.map_or(SOON.to_owned(), |value| value.to_string())
    }

    /// Weights of the block.
    pub fn len(&self) -> String {
        Self::or_soon(self.block.as_ref().map(|block| block.cells.len()))
    }

    /// Its largest magnitude.
    pub fn amax(&self) -> String {
        let amax = self.block.as_ref().and_then(Block::amax);
        Self::or_soon(amax.map(|amax| significant(amax.into())))
    }

    /// What one unit of a code is worth.
    pub fn step(&self) -> String {
        Self::or_soon(self.block.as_ref().map(|block| significant(block.scale.step.into())))
    }

    /// The scale as it is stored.
    pub fn scale(&self) -> String {
        Self::or_soon(self.block.as_ref().map(|block| {
            let scale = &block.scale;
            format!("{} {} ({:#04x})", scale.codec.name(), scale.value, scale.code)
        }))
    }

    /// The error of the block, in percent of its weights.
    pub fn error(&self) -> String {
        let squares = self.block.as_ref().and_then(Block::squares);
        let percent = squares.filter(|(_, weights)| *weights > 0.0);
        let percent = percent.map(|(errors, weights)| 100.0 * (errors / weights).sqrt());
        Self::or_soon(percent.map(|percent| format!("{} %", significant(percent))))
    }

    /// The error of the weights beside the one that is looked at, in percent of them.
    pub fn error_beside(&self) -> String {
        let squares = |block: &Block| {
            let beside = block.cells.iter().enumerate().filter(|(i, _)| *i != self.index);
            let sums = beside.map(|(_, cell)| Some((cell.error()?, f64::from(cell.weight?))));
            let sums: Option<Vec<(f64, f64)>> = sums.collect();
            let (errors, weights) = sums?.iter().fold((0.0, 0.0), |(e, w), (error, weight)| {
                (e + error * error, w + weight * weight)
            });
            (weights > 0.0).then(|| 100.0 * (errors / weights).sqrt())
        };
        let percent = self.block.as_ref().and_then(squares);
        Self::or_soon(percent.map(|percent| format!("{} %", significant(percent))))
    }

    /// The weight that is looked at.
    pub fn weight(&self) -> String {
        let cell = self.block.as_ref().and_then(|block| block.cells.get(self.index));
        Self::or_soon(cell.and_then(|cell| cell.weight).map(|weight| significant(weight.into())))
    }

    /// What its code stands for.
    pub fn value(&self) -> String {
        let cell = self.block.as_ref().and_then(|block| block.cells.get(self.index));
        Self::or_soon(cell.map(|cell| significant(cell.value.into())))
    }

    /// Codes of the block that are zero.
    pub fn zeros(&self) -> String {
        let zeros = |block: &Block| block.cells.iter().filter(|cell| cell.value == 0.0).count();
        Self::or_soon(self.block.as_ref().map(zeros))
    }

    /// What the rounding does on ties.
    pub fn rule(&self) -> String {
        let steps = self.block.as_ref().map(|block| explain(block, self.index));
        let code = steps.and_then(|steps| steps.into_iter().find(|step| step.name == "code"));
        Self::or_soon(
            code.as_ref().and_then(|step| step.formula.rsplit_once(", ")).map(|(_, rule)| rule),
        )
    }

    /// How the weight lies to its tie point.
    pub fn tie(&self) -> String {
        let block = self.block.as_ref();
        let tick = block.and_then(|block| {
            let ruler = Ruler::new(&block.coder, block.scale, &block.weights()?);
            ruler.ticks.get(self.index).copied()
        });
        Self::or_soon(tick.map(|tick| match tick.tie {
            Tie::On => "exactly on a tie point",
            Tie::Near => "very near a tie point",
            Tie::Beyond => "beyond the last mark",
            Tie::No => "not near a tie point",
        }))
    }
}
