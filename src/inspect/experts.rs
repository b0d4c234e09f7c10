//! Experts of a projection side by side, layer by layer, and those that are unlike the others.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use super::median::median;
use super::table::table;
use crate::plan::{Entry, Plan};
use crate::stats::TensorStats;

/// What is compared of experts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ExpertStatistic {
    /// Largest magnitude.
    #[default]
    Amax,
    /// Standard deviation.
    StdDev,
    /// Mean magnitude.
    MeanAbs,
    /// Signal-to-quantization-noise ratio in dB.
    Sqnr,
    /// Largest error of a weight.
    MaxError,
    /// Weights that are zero, in percent.
    Zeros,
}

impl ExpertStatistic {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::Amax, Self::StdDev, Self::MeanAbs, Self::Sqnr, Self::MaxError, Self::Zeros];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amax => "amax",
            Self::StdDev => "σ",
            Self::MeanAbs => "mean |w|",
            Self::Sqnr => "SQNR dB",
            Self::MaxError => "max error",
            Self::Zeros => "zeros %",
        }
    }

    /// The number that an expert has; `None` where it was not measured, or has none.
    pub fn of(self, stats: &TensorStats) -> Option<f64> {
        let errors = stats.quantized.as_ref().map(|quantized| quantized.errors);
        match self {
            Self::Amax => Some(stats.amax.into()),
            Self::StdDev => Some(stats.weights.std_dev()),
            Self::MeanAbs => Some(stats.weights.mean_abs()),
            Self::Sqnr => stats.sqnr_db(),
            Self::MaxError => errors.map(|errors| errors.max_abs),
            Self::Zeros => Some(100.0 * stats.weights.zero_fraction()),
        }
    }
}

/// A statistic of all experts of a projection.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpertGrid {
    /// The projection, as [`Member::projection`](crate::model::Member::projection) calls it.
    pub projection: String,
    /// What is compared.
    pub statistic: ExpertStatistic,
    /// Numbers of the layers, a row each.
    pub layers: Vec<u32>,
    /// Experts of a layer, a column each.
    pub experts: usize,
    /// The cells, row by row.
    pub cells: Vec<ExpertCell>,
}

/// An expert in a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ExpertCell {
    /// Its number of the statistic; `None` where there is none.
    pub value: Option<f64>,
    /// How far it is from the other experts of its layer: (value − median) / (1.4826 · MAD), where
    /// median and MAD, the median of the distances from it, are those of the others. In a normal
    /// distribution that is a distance in standard deviations. Where most others are equal, so that the
    /// MAD is 0, 1.2533 times their mean distance takes its place, and where all are equal another number
    /// is infinitely far. `None` with fewer than three others, or for numbers that are not finite.
    pub z: Option<f64>,
    /// Index of the plan's entry that holds it.
    pub entry: Option<usize>,
}

/// An expert that is unlike the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OddExpert {
    /// Its layer.
    pub layer: u32,
    /// Its number.
    pub expert: usize,
    /// Its number of the statistic.
    pub value: f64,
    /// How far it is from the others.
    pub z: f64,
}

/// The |z| from which on an expert is worth a look.
pub const ODD: f64 = 3.5;

impl ExpertGrid {
    /// The projections that have experts, in the order of the plan.
    pub fn projections<S: Borrow<TensorStats>>(plan: &Plan, stats: &[Option<S>]) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let entries = plan.entries.iter().enumerate();
        let with_experts = entries.filter(|(index, entry)| {
            let stats = stats.get(*index).and_then(Option::as_ref).map(Borrow::borrow);
            entry.member.expert.is_some()
                || stats.is_some_and(|stats: &TensorStats| !stats.experts.is_empty())
        });
        let names = with_experts.filter_map(|(_, entry)| projection(plan, entry));
        names.filter(|name| seen.insert(name.clone())).collect()
    }

    /// Puts the experts of a projection together: those that are tensors of their own, and those that one
    /// tensor holds. `stats` are in the order of the plan's entries.
    pub fn of<S: Borrow<TensorStats>>(
        plan: &Plan,
        stats: &[Option<S>],
        projection_name: &str,
        statistic: ExpertStatistic,
    ) -> Self {
        let mut found: BTreeMap<(u32, usize), ExpertCell> = BTreeMap::new();
        for (index, entry) in plan.entries.iter().enumerate() {
            let Some(layer) = entry.member.layer else { continue };
            if projection(plan, entry).as_deref() != Some(projection_name) {
                continue;
            }
            let stats: Option<&TensorStats> =
                stats.get(index).and_then(Option::as_ref).map(Borrow::borrow);
            let cell = |stats: Option<&TensorStats>| ExpertCell {
                value: stats.and_then(|stats| statistic.of(stats)),
                z: None,
                entry: Some(index),
            };
            if let Some(expert) = entry.member.expert {
                found.insert((layer, expert as usize), cell(stats));
            }
            let held = stats.map_or(&[][..], |stats| &stats.experts);
            for (expert, stats) in held.iter().enumerate() {
                found.insert((layer, expert), cell(Some(stats)));
            }
        }
        let layers: BTreeSet<u32> = found.keys().map(|(layer, _)| *layer).collect();
        let experts = found.keys().map(|(_, expert)| expert + 1).max().unwrap_or(0);
        let mut cells = Vec::with_capacity(layers.len() * experts);
        for &layer in &layers {
            let row = (0..experts).map(|expert| found.get(&(layer, expert)).copied());
            let mut row: Vec<ExpertCell> = row.map(Option::unwrap_or_default).collect();
            let values: Vec<Option<f64>> = row.iter().map(|cell| cell.value).collect();
            row.iter_mut().zip(robust_z(&values)).for_each(|(cell, z)| cell.z = z);
            cells.extend(row);
        }
        let (projection, layers) = (projection_name.to_owned(), layers.into_iter().collect());
        Self { projection, statistic, layers, experts, cells }
    }

    /// The cell of a layer, counted as in `layers`, and an expert.
    pub fn cell(&self, row: usize, expert: usize) -> Option<&ExpertCell> {
        let place = row.checked_mul(self.experts)?.checked_add(expert)?;
        self.cells.get(place).filter(|_| expert < self.experts)
    }

    /// The experts whose |z| is at least so much ([`ODD`]), the furthest first.
    pub fn odd(&self, least: f64) -> Vec<OddExpert> {
        let places =
            self.layers.iter().flat_map(|layer| (0..self.experts).map(move |e| (*layer, e)));
        let mut odd: Vec<OddExpert> = places
            .zip(&self.cells)
            .filter_map(|((layer, expert), cell)| {
                let (value, z) = cell.value.zip(cell.z)?;
                (z.abs() >= least).then_some(OddExpert { layer, expert, value, z })
            })
            .collect();
        odd.sort_by(|a, b| b.z.abs().total_cmp(&a.z.abs()));
        odd
    }

    /// A line for each expert of each layer.
    pub fn csv(&self) -> String {
        let shown = |number: Option<f64>| number.map_or_else(String::new, |n| n.to_string());
        let places =
            self.layers.iter().flat_map(|layer| (0..self.experts).map(move |e| (*layer, e)));
        let lines = places.zip(&self.cells).map(|((layer, expert), cell)| {
            vec![layer.to_string(), expert.to_string(), shown(cell.value), shown(cell.z)]
        });
        table(&["layer", "expert", self.statistic.name(), "robust_z"], lines)
    }
}

fn projection(plan: &Plan, entry: &Entry) -> Option<String> {
    entry.member.projection(plan.dialect.is_onnx())
}

/// How far each number is from the others, as [`ExpertCell::z`] says.
fn robust_z(values: &[Option<f64>]) -> Vec<Option<f64>> {
    let is_known = |value: &Option<f64>| value.is_some_and(f64::is_finite);
    let mut others = Vec::with_capacity(values.len());
    let z = |(place, value): (usize, &Option<f64>)| {
        let value = value.filter(|value| value.is_finite())?;
        let all = values.iter().enumerate();
        others.clear();
        others.extend(all.filter(|(i, v)| *i != place && is_known(v)).filter_map(|(_, v)| *v));
        if others.len() < 3 {
            return None;
        }
        let middle = median(&mut others)?;
        others.iter_mut().for_each(|other| *other = (*other - middle).abs());
        let mean = others.iter().sum::<f64>() / others.len() as f64;
        let mad = median(&mut others)?;
        let spread = if mad > 0.0 { 1.4826 * mad } else { 1.2533 * mean };
        // Sums of the same numbers in another order differ in their last digits, which is nothing odd.
        let is_near = (value - middle).abs() <= 1e-9 * middle.abs();
        Some(if is_near { 0.0 } else { (value - middle) / spread })
    };
    values.iter().enumerate().map(z).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::dialect::Dialect;
    use crate::model::Model;
    use crate::plan::Sharding;
    use crate::recipe::Recipe;

    fn plan(folder: &str) -> Plan {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(folder);
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let dialect = Dialect::Modelopt;
        let model = Model::new(&checkpoint, dialect.fused_experts());
        Plan::new(&model, &Recipe::default(), dialect, Sharding::AsSource).unwrap()
    }

    fn of_amax(amax: f32) -> TensorStats {
        TensorStats { amax, ..TensorStats::default() }
    }

    #[test]
    fn an_expert_is_compared_with_the_others_of_its_layer() {
        let z = |values: &[f64]| robust_z(&values.iter().map(|v| Some(*v)).collect::<Vec<_>>());
        let values = z(&[1.0, 2.0, 3.0, 4.0, 100.0]);
        // The others are 1 to 4: median 2.5, distances 1.5, 0.5, 0.5 and 1.5.
        assert_eq!(values[4], Some(97.5 / 1.4826));
        assert_eq!(z(&[1.0, 1.0, 1.0, 1.0]), [Some(0.0); 4]);
        assert_eq!(z(&[1.0, 1.0, 1.0, 2.0])[3], Some(f64::INFINITY));
        let mean = z(&[1.0, 1.0, 1.0, 1.0, 2.0, 0.0]);
        assert_eq!(mean[5], Some(-1.0 / (1.2533 * 0.2)), "most others are equal");
        assert_eq!(z(&[1.0, 1.0, 1.0, 1.0 + 1e-12]), [Some(0.0); 4], "last digits");
        assert_eq!(z(&[1.0, 2.0, 3.0]), [None; 3]);
        assert_eq!(robust_z(&[Some(f64::NAN), Some(1.0), None, Some(1.0)]), [None; 4]);
    }

    #[test]
    fn experts_of_their_own_and_experts_of_one_tensor_are_in_one_kind_of_grid() {
        let single = plan("modelopt/e2e/qwen3moe_w4a16nvfp4/src");
        let amax = |entry: &Entry| entry.member.expert.map_or(9.0, |expert| 1.0 + expert as f32);
        let mut stats: Vec<_> = single.entries.iter().map(|e| Some(of_amax(amax(e)))).collect();
        let names = ExpertGrid::projections(&single, &stats);
        assert!(names.contains(&"mlp.experts.*.up_proj".to_owned()), "{names:?}");
        let grid = |stats: &[_]| {
            ExpertGrid::of(&single, stats, "mlp.experts.*.up_proj", ExpertStatistic::Amax)
        };
        let first = grid(&stats);
        assert!(first.experts > 3 && first.odd(ODD).is_empty());
        assert_eq!(first.cells.len(), first.layers.len() * first.experts);
        assert_eq!(first.cell(0, 2).unwrap().value, Some(3.0));
        assert_eq!(first.cell(0, first.experts), None);
        let entry = first.cell(0, 2).unwrap().entry.unwrap();
        stats[entry] = Some(of_amax(1000.0));
        let odd = grid(&stats).odd(ODD);
        assert_eq!((odd.len(), odd[0].expert, odd[0].value), (1, 2, 1000.0));
        stats[entry] = None;
        assert_eq!(grid(&stats).cell(0, 2).unwrap().value, None);

        let fused = plan("modelopt/e2e/gptoss_w4a16nvfp4/src");
        let experts = |entry: &Entry| match entry.member.tensor.shape[..] {
            [experts, _, _] => (0..experts).map(|e| of_amax(e as f32)).collect(),
            _ => Vec::new(),
        };
        let with = |entry| Some(TensorStats { experts: experts(entry), ..of_amax(7.0) });
        let stats: Vec<_> = fused.entries.iter().map(with).collect();
        let names = ExpertGrid::projections(&fused, &stats);
        let name = "mlp.experts.down_proj";
        assert!(names.contains(&name.to_owned()), "{names:?}");
        let grid = ExpertGrid::of(&fused, &stats, name, ExpertStatistic::Amax);
        assert_eq!(grid.cell(0, 1).unwrap().value, Some(1.0));
        assert_eq!(grid.csv().lines().count(), 1 + grid.cells.len());
        let none = ExpertGrid::of::<TensorStats>(
            &fused,
            &[],
            "mlp.experts.down_proj",
            ExpertStatistic::Sqnr,
        );
        assert!(none.cells.is_empty());
    }
}
