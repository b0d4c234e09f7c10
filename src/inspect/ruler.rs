//! The numbers that codes of a block can stand for as marks on a line, and where its weights lie.

use super::coder::BlockCoder;
use super::{BlockScale, Codec};

/// A part of the distance to the next tie point below which a weight counts as near it.
const NEAR: f64 = 0.02;

/// Marks, tie points and weights of one block.
#[derive(Debug, Clone)]
pub struct Ruler {
    /// The type of the codes.
    pub codec: Codec,
    /// The scale.
    pub scale: BlockScale,
    /// What codes stand for, smallest first, with the code of each; of both zeros the first.
    pub marks: Vec<Mark>,
    /// Halfway between two marks: where rounding turns over. Exact, but for one rounding to f64.
    pub ties: Vec<f64>,
    /// The weights, in their order.
    pub ticks: Vec<Tick>,
}

/// What a code stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mark {
    /// The code.
    pub code: u32,
    /// The number that it is.
    pub number: f32,
    /// What it stands for under the scale.
    pub value: f32,
    /// Weights that have it.
    pub weights: usize,
}

/// A weight on the line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tick {
    /// The weight.
    pub weight: f32,
    /// Its code.
    pub code: u32,
    /// What that stands for.
    pub value: f32,
    /// How it lies to the nearest tie point.
    pub tie: Tie,
}

/// How a weight lies to the nearest tie point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tie {
    /// Exactly on it: a rule decides.
    On,
    /// Within 2 % of the distance between the marks.
    Near,
    /// Neither.
    No,
    /// Beyond the last mark: clipped.
    Beyond,
}

impl Ruler {
    /// Weights under a scale. Codes are those that the specification gives them there.
    pub fn new(coder: &BlockCoder, scale: BlockScale, weights: &[f32]) -> Self {
        let codec = coder.codec();
        let mut marks: Vec<Mark> = (0..1u32 << codec.bits())
            .map(|code| Mark {
                code,
                number: codec.value(code),
                value: coder.decode(code, &scale),
                weights: 0,
            })
            .filter(|mark| mark.value.is_finite())
            .collect();
        marks.sort_by(|a, b| a.value.total_cmp(&b.value).then(a.code.cmp(&b.code)));
        marks.dedup_by(|a, b| a.value == b.value);
        let pairs = marks.windows(2);
        let ties = pairs.map(|pair| f64::midpoint(pair[0].value.into(), pair[1].value.into()));
        let ties: Vec<f64> = ties.collect();
        let tick = |&weight: &f32| {
            let code = coder.encode(weight, &scale);
            let value = coder.decode(code, &scale);
            Tick { weight, code, value, tie: tie(&marks, &ties, weight) }
        };
        let ticks: Vec<Tick> = weights.iter().map(tick).collect();
        for tick in &ticks {
            if let Some(mark) = marks.iter_mut().find(|mark| mark.value == tick.value) {
                mark.weights += 1;
            }
        }
        Self { codec, scale, marks, ties, ticks }
    }

    /// Σ (value − weight)².
    pub fn squared_error(&self) -> f64 {
        let errors = self.ticks.iter().map(|tick| f64::from(tick.value) - f64::from(tick.weight));
        errors.map(|error| error * error).sum()
    }
}

/// How a weight lies among marks, which are sorted, and the tie points between them.
fn tie(marks: &[Mark], ties: &[f64], weight: f32) -> Tie {
    let weight = f64::from(weight);
    let (Some(first), Some(last)) = (marks.first(), marks.last()) else { return Tie::No };
    if weight < f64::from(first.value) || weight > f64::from(last.value) {
        return Tie::Beyond;
    }
    let after = ties.partition_point(|tie| *tie < weight);
    let around = [after.checked_sub(1), (after < ties.len()).then_some(after)];
    let distances = around.into_iter().flatten().map(|at| {
        let width = f64::from(marks[at + 1].value) - f64::from(marks[at].value);
        (ties[at] - weight).abs() / width
    });
    match distances.fold(f64::INFINITY, f64::min) {
        0.0 => Tie::On,
        near if near < NEAR => Tie::Near,
        _ => Tie::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::nvfp4::{Rule, Scaling};
    use crate::numeric::FloatKind;

    #[test]
    fn exact_ties_are_seen_as_such_and_only_they() {
        let scaling = Scaling::new(Rule::Dynamic, FloatKind::F32, 6.0 * 448.0);
        let coder = BlockCoder::Nvfp4(scaling);
        // Block amax 6 under global scale 1: a step of 1.
        let weights = [2.5, 2.5f32.next_up(), -0.25, 2.51, 2.0, 6.0, 6.5, -7.0];
        let scale = coder.scale_of(&[6.0]);
        assert_eq!(scale.step, 1.0);
        let ruler = Ruler::new(&coder, scale, &weights);
        use Tie::{Beyond, Near, No, On};
        let ties: Vec<Tie> = ruler.ticks.iter().map(|tick| tick.tie).collect();
        assert_eq!(ties, [On, Near, On, Near, No, No, Beyond, Beyond]);
        let values: Vec<f32> = ruler.ticks.iter().map(|tick| tick.value).collect();
        assert_eq!(values, [2.0, 3.0, -0.0, 3.0, 2.0, 6.0, 6.0, -6.0]);
        let numbers: Vec<f32> = ruler.marks.iter().map(|mark| mark.value).collect();
        assert_eq!(numbers.len(), 15, "both zeros are one mark: {numbers:?}");
        assert_eq!(ruler.marks.iter().map(|mark| mark.weights).sum::<usize>(), weights.len());
    }
}
