//! All that is compared of experts, made at once.

use std::sync::Arc;

use crate::inspect::{ExpertGrid, ExpertStatistic, ODD, OddExpert};
use crate::plan::Plan;
use crate::stats::TensorStats;

/// Every statistic of every projection.
#[derive(Debug)]
pub struct Sheet {
    /// The projections that have experts.
    pub projections: Vec<String>,
    /// All statistics of the first, then of the next.
    parts: Vec<Part>,
}

/// A statistic of a projection.
#[derive(Debug)]
pub struct Part {
    /// The numbers.
    pub grid: ExpertGrid,
    /// Those that are far from the others, the furthest first.
    pub odd: Vec<OddExpert>,
    /// Smallest and largest number.
    pub range: Option<[f64; 2]>,
}

impl Sheet {
    /// Puts measurements together.
    pub fn new(plan: &Plan, stats: &[Option<Arc<TensorStats>>]) -> Self {
        let projections = ExpertGrid::projections(plan, stats);
        let part = |(name, statistic): (&String, ExpertStatistic)| {
            let grid = ExpertGrid::of(plan, stats, name, statistic);
            let odd = grid.odd(ODD);
            let values = grid.cells.iter().filter_map(|cell| cell.value);
            let range = values.filter(|value| value.is_finite()).fold(None, |range, value| {
                let [low, high]: [f64; 2] = range.unwrap_or([value, value]);
                Some([low.min(value), high.max(value)])
            });
            Part { grid, odd, range }
        };
        let all = projections
            .iter()
            .flat_map(|name| ExpertStatistic::ALL.map(|statistic| (name, statistic)));
        Self { parts: all.map(part).collect(), projections }
    }

    /// The projection of a name; else the first.
    pub fn projection(&self, name: Option<&str>) -> Option<&str> {
        let known = self.projections.iter().find(|known| Some(known.as_str()) == name);
        known.or(self.projections.first()).map(String::as_str)
    }

    /// A statistic of a projection, or of the first.
    pub fn of(&self, projection: Option<&str>, statistic: ExpertStatistic) -> Option<&Part> {
        let name = self.projection(projection)?;
        self.parts_of(name).find(|part| part.grid.statistic == statistic)
    }

    /// All statistics of a projection.
    pub fn parts_of<'a>(&'a self, projection: &'a str) -> impl Iterator<Item = &'a Part> {
        self.parts.iter().filter(move |part| part.grid.projection == projection)
    }
}
