//! What error the best choice of formats has for each size.
//!
//! A choice gives each tensor one of its options, and has the sum of their bytes and the sum of their
//! squared errors. Of each tensor only options on the lower convex hull of bytes and error are of use;
//! from one to the next the error falls by less and less a byte. Beginning with the fewest bytes
//! everywhere and always taking the step that lowers the error most for each byte, one walks along
//! the lower convex hull of the sums: its edges are those of the hulls of the tensors, ordered by slope.
//! So no choice whatever has less error at the size of a point, nor lies below the line between two.

use super::{FormatMatrix, FormatSums};
use crate::format::Format;
use crate::inspect::table::table;
use crate::stats::ErrorSums;

/// The best choices of formats by size, and the choice that is made now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frontier {
    /// Names of the tensors.
    pub tensors: Vec<String>,
    /// Σ w² of all.
    pub signal_squares: f64,
    /// The formats of the smallest choice, by tensor; `None` for floats.
    pub smallest: Vec<Option<Format>>,
    /// From the smallest choice to the one of least error.
    pub points: Vec<FrontierPoint>,
    /// The choice that is made now; `None` if it has something that cannot be measured.
    pub current: Option<FrontierPoint>,
}

/// A choice of formats.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FrontierPoint {
    /// Bytes of all tensors.
    pub bytes: u64,
    /// Σ (w − ŵ)² over all tensors.
    pub error_squares: f64,
    /// What became of the choice before; `None` for the first.
    pub upgrade: Option<Upgrade>,
}

/// A tensor that gets another format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upgrade {
    /// Its number among the tensors.
    pub tensor: usize,
    /// The format it gets; `None` for floats.
    pub format: Option<Format>,
}

/// An option of a tensor.
type Choice = (u64, f64, Option<Format>);

impl Frontier {
    /// Of tensors in several formats, the floats among them. `current` is what each is in now. Tensors
    /// without any measured option are left out of all sums.
    pub fn of(matrix: &FormatMatrix, current: &[Option<Format>]) -> Self {
        let mut frontier = Self { current: Some(FrontierPoint::default()), ..Self::default() };
        let (mut first, mut least) = (FrontierPoint::default(), 0.0);
        // What each step takes in bytes and gains in error.
        let mut steps: Vec<(Choice, usize)> = Vec::new();
        for (row, (name, cells)) in matrix.rows.iter().enumerate() {
            let measured: Vec<(Option<Format>, &FormatSums)> = cells
                .iter()
                .filter_map(|cell| cell.outcome.as_ref().ok().map(|sums| (cell.format, sums)))
                .collect();
            let choices = measured
                .iter()
                .map(|(format, sums)| (sums.bytes, sums.errors.sum_squares, *format));
            let hull = lower_hull(choices.collect());
            let Some((bytes, _, format)) = hull.first().copied() else { continue };
            let tensor = frontier.tensors.len();
            frontier.tensors.push(name.clone());
            frontier.smallest.push(format);
            frontier.signal_squares +=
                measured.first().map_or(0.0, |(_, sums)| sums.signal_squares);
            first.bytes += bytes;
            least += hull.last().map_or(0.0, |(_, error, _)| *error);
            steps.extend(hull.windows(2).map(|pair| {
                let [(bytes, error, _), (more, less, format)] = [pair[0], pair[1]];
                ((more - bytes, error - less, format), tensor)
            }));
            let now = current.get(row).copied().flatten();
            let now = measured.iter().find(|(format, _)| *format == now).map(|(_, sums)| sums);
            frontier.current = frontier.current.zip(now).map(|(point, sums)| FrontierPoint {
                bytes: point.bytes + sums.bytes,
                error_squares: point.error_squares + sums.errors.sum_squares,
                upgrade: None,
            });
        }
        // Steps of one tensor are ordered already, and a sort leaves equals in their order.
        let slope = |(bytes, gained, _): &Choice| gained / *bytes as f64;
        steps.sort_by(|(a, _), (b, _)| slope(b).total_cmp(&slope(a)));
        frontier.points.push(first);
        for ((bytes, _, format), tensor) in &steps {
            first.bytes += bytes;
            let upgrade = Some(Upgrade { tensor: *tensor, format: *format });
            frontier.points.push(FrontierPoint { bytes: first.bytes, error_squares: 0.0, upgrade });
        }
        // From the end, where least is left: sums of what is gained lose no digits, differences would.
        let mut left = least;
        for (number, point) in frontier.points.iter_mut().enumerate().rev() {
            left += steps.get(number).map_or(0.0, |((_, gained, _), _)| *gained);
            point.error_squares = left;
        }
        frontier
    }

    /// Signal-to-quantization-noise ratio of a point over all tensors, in dB: infinite where nothing is
    /// lost, `None` where there is no signal.
    pub fn sqnr_db(&self, point: &FrontierPoint) -> Option<f64> {
        let errors = ErrorSums { sum_squares: point.error_squares, max_abs: 0.0 };
        errors.sqnr_db(self.signal_squares)
    }

    /// The formats of a point by tensor; `None` for floats.
    pub fn choice(&self, point: usize) -> Vec<Option<Format>> {
        let mut formats = self.smallest.clone();
        for upgrade in self.points.iter().take(point + 1).filter_map(|point| point.upgrade) {
            if let Some(format) = formats.get_mut(upgrade.tensor) {
                *format = upgrade.format;
            }
        }
        formats
    }

    /// The last point that takes no more than so many bytes.
    pub fn within(&self, bytes: u64) -> Option<usize> {
        self.points.iter().rposition(|point| point.bytes <= bytes)
    }

    /// A line for each point, the current choice at the end.
    pub fn csv(&self) -> String {
        let header = ["choice", "bytes", "sqnr_db", "error_squares", "upgraded", "format"];
        let line = |name: &str, point: &FrontierPoint| {
            let tensor = point.upgrade.and_then(|upgrade| self.tensors.get(upgrade.tensor));
            let format = point.upgrade.map(|upgrade| upgrade.format.map_or("float", Format::name));
            vec![
                name.to_owned(),
                point.bytes.to_string(),
                self.sqnr_db(point).map_or_else(String::new, |ratio| ratio.to_string()),
                point.error_squares.to_string(),
                tensor.cloned().unwrap_or_default(),
                format.unwrap_or_default().to_owned(),
            ]
        };
        let best = self.points.iter().map(|point| line("best", point));
        table(&header, best.chain(self.current.iter().map(|point| line("current", point))))
    }
}

/// The options on the lower convex hull of bytes and error: each has more bytes and less error than the
/// one before, and lowers the error by less a byte.
fn lower_hull(mut choices: Vec<Choice>) -> Vec<Choice> {
    choices.retain(|(_, error, _)| error.is_finite());
    choices.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.total_cmp(&b.1)));
    let mut hull: Vec<Choice> = Vec::new();
    for choice in choices {
        if hull.last().is_some_and(|last| choice.1 >= last.1) {
            continue;
        }
        let gain = |from: &Choice, to: &Choice| (from.1 - to.1) / (to.0 - from.0) as f64;
        while let [.., before, last] = hull[..] {
            if gain(&before, &last) > gain(&last, &choice) {
                break;
            }
            hull.pop();
        }
        // Of as many bytes the one of less error came first.
        hull.push(choice);
    }
    hull
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::FormatCell;

    /// Tensors with options of so many bytes and so much error, the last of which are floats.
    fn matrix(tensors: &[&[(u64, f64)]]) -> FormatMatrix {
        let formats: Vec<Format> = Format::all().collect();
        let row = |(number, options): (usize, &&[(u64, f64)])| {
            let cells = options.iter().enumerate().map(|(i, (bytes, sum_squares))| FormatCell {
                format: (i + 1 < options.len()).then(|| formats[i]),
                outcome: Ok(FormatSums {
                    weights: 1,
                    bytes: *bytes,
                    signal_squares: 100.0,
                    errors: ErrorSums { sum_squares: *sum_squares, max_abs: 0.0 },
                }),
            });
            (format!("tensor {number}"), cells.collect())
        };
        FormatMatrix { rows: tensors.iter().enumerate().map(row).collect() }
    }

    /// Bytes and error of every choice there is.
    fn all_choices(tensors: &[&[(u64, f64)]]) -> Vec<(u64, f64)> {
        let add = |sums: Vec<(u64, f64)>, options: &&[(u64, f64)]| {
            let with = |(bytes, error): &(u64, f64)| {
                options.iter().map(|(b, e)| (bytes + b, error + e)).collect::<Vec<_>>()
            };
            sums.iter().flat_map(with).collect()
        };
        tensors.iter().fold(vec![(0, 0.0)], add)
    }

    #[test]
    fn no_choice_is_better_than_the_frontier() {
        let tensors: [&[(u64, f64)]; 4] = [
            &[(10, 8.0), (12, 5.0), (13, 4.75), (20, 0.5), (40, 0.0)],
            &[(4, 2.0), (5, 1.9), (6, 0.25), (16, 0.0)],
            &[(30, 64.0), (31, 60.0), (45, 3.0), (44, 9.0), (120, 0.0)],
            &[(8, 1.0), (8, 0.5), (9, 3.0), (32, 0.0)],
        ];
        let frontier = Frontier::of(&matrix(&tensors), &[None; 4]);
        let choices = all_choices(&tensors);
        // A point is the best for some price of a byte just if it is on the lower hull of all sums.
        for price in (-24..24).map(|power| f64::from(power).exp2() * 1.1) {
            let cost = |bytes: u64, error: f64| error + price * bytes as f64;
            let best = choices.iter().map(|(b, e)| cost(*b, *e)).fold(f64::INFINITY, f64::min);
            let points = frontier.points.iter().map(|p| cost(p.bytes, p.error_squares));
            let found = points.fold(f64::INFINITY, f64::min);
            assert!((best - found).abs() <= 1e-12 * best, "{price}: {best} {found}");
        }
        // And each point is a choice, the sums of what it says.
        for (number, point) in frontier.points.iter().enumerate() {
            let formats = frontier.choice(number);
            let matrix = matrix(&tensors);
            let sums = matrix.rows.iter().zip(&formats).map(|((_, cells), format)| {
                // Of two with one name in a row the hull has the one of less error.
                let cell = cells.iter().find(|cell| cell.format == *format).unwrap();
                cell.outcome.clone().unwrap()
            });
            let (bytes, error) = sums.fold((0, 0.0), |(bytes, error), sums| {
                (bytes + sums.bytes, error + sums.errors.sum_squares)
            });
            assert_eq!(bytes, point.bytes);
            assert!((error - point.error_squares).abs() < 1e-12);
        }
        let last = frontier.points.last().unwrap();
        assert_eq!((frontier.points[0].bytes, last.bytes, last.error_squares), (52, 208, 0.0));
        assert_eq!(frontier.sqnr_db(last), Some(f64::INFINITY));
        assert_eq!(frontier.current.map(|point| point.bytes), Some(208));
        assert_eq!((frontier.within(52), frontier.within(51)), (Some(0), None));
        assert_eq!(frontier.csv().lines().count(), 2 + frontier.points.len());
    }

    #[test]
    fn what_cannot_be_measured_is_no_option() {
        let mut matrix = matrix(&[&[(1, 4.0), (4, 0.0)], &[(2, 1.0), (8, 0.0)]]);
        let format = matrix.rows[1].1[0].format;
        matrix.rows[1].1[0].outcome = Err("it does not divide".to_owned());
        let frontier = Frontier::of(&matrix, &[None, format]);
        assert_eq!(frontier.points.iter().map(|p| p.bytes).collect::<Vec<_>>(), [9, 12]);
        assert_eq!((frontier.current, frontier.smallest[1]), (None, None));
    }
}
