//! How a code came about, step by step, with the real numbers in it.

use super::coder::BlockCoder;
use super::{Block, BlockScale, Codec};
use crate::format::Quotient;
use crate::format::nvfp4::Rule;
use crate::units::significant;

/// One step: what it finds, and how, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is found.
    pub name: &'static str,
    /// How it follows from what was found before: a formula of names.
    pub formula: String,
    /// The same in numbers, and the result.
    pub numbers: String,
}

/// A number of a formula: what it shows of it is exact to 7 digits.
fn short(value: f32) -> String {
    let exact = value.to_string();
    if exact.len() <= 10 { exact } else { significant(value.into()) }
}

/// How the scale of a block and the code of one of its weights came about.
pub fn explain(block: &Block, cell: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(scale_step(block));
    steps.extend(step_step(&block.scale));
    let Some(cell) = block.cells.get(cell) else { return steps };
    let (scale, codec) = (&block.scale, block.coder.codec());
    if let Some(weight) = cell.weight {
        steps.push(code_step(block, weight, cell.code, codec));
    }
    let number = short(cell.number);
    steps.push(match scale.zero_point {
        Some(zero) => Step {
            name: "value",
            formula: "(code − zero point) × scale".to_owned(),
            numbers: format!("({number} − {zero}) × {} = {}", short(scale.step), cell.value),
        },
        None => Step {
            name: "value",
            formula: "number × step".to_owned(),
            numbers: format!("{number} × {} = {}", short(scale.step), cell.value),
        },
    });
    if let (Some(weight), Some(error)) = (cell.weight, cell.error()) {
        let in_steps = error / f64::from(scale.step);
        steps.push(Step {
            name: "error",
            formula: "value − weight".to_owned(),
            numbers: format!(
                "{} − {} = {} ({} steps)",
                short(cell.value),
                short(weight),
                significant(error),
                significant(in_steps),
            ),
        });
    }
    steps
}

/// How the scale of the block follows from its largest magnitude.
fn scale_step(block: &Block) -> Option<Step> {
    let amax = block.amax()?;
    let scale = &block.scale;
    let stored = format!("{} {:#04x} = {}", scale.codec.name(), scale.code, short(scale.value));
    let by_rule = block.coder.scale_of(&block.weights()?);
    let is_by_rule = by_rule.code == scale.code || !block.tile.is_block;
    let searched = match is_by_rule {
        true => String::new(),
        false => {
            format!("; the largest weight alone gives {}, a search chose", short(by_rule.value))
        }
    };
    let (formula, numbers) = match (&block.coder, scale.global) {
        (BlockCoder::Nvfp4(scaling), Some((global, divides))) => {
            let formula = match (scaling.rule, divides) {
                (Rule::Static { .. }, _) => "amax / 6 · largest scale / (tensor amax / 6), as E4M3",
                (_, true) => "amax / 6 × global scale, as E4M3",
                (_, false) => "amax / (6 × global scale), as E4M3",
            };
            let quotient = match divides {
                true => amax / 6.0 * global,
                false => amax / (6.0 * global),
            };
            let operation = if divides { '×' } else { '/' };
            let numbers = format!(
                "{} / 6 {operation} {} = {}{searched} → {stored}",
                short(amax),
                short(global),
                significant(quotient.into())
            );
            (formula.to_owned(), numbers)
        }
        _ if scale.zero_point.is_some() => {
            let weights = block.weights()?;
            let least = weights.iter().copied().fold(0.0, f32::min);
            let most = weights.iter().copied().fold(0.0, f32::max);
            let steps = (f64::from(most) - f64::from(least)) / f64::from(scale.step.abs());
            let numbers = format!(
                "from {} to {}{searched} → {stored}: {} steps",
                short(least),
                short(most),
                significant(steps)
            );
            ("from the smallest to the largest, with zero between".to_owned(), numbers)
        }
        _ if block.tile.is_block => {
            let steps = f64::from(amax) / f64::from(scale.step.abs());
            let numbers = format!(
                "amax {}{searched} → {stored}: the largest weight is {} steps",
                short(amax),
                significant(steps)
            );
            let largest = short(block.coder.codec().largest());
            (format!("from the amax, so that it is near the largest code, {largest}"), numbers)
        }
        _ => {
            let formula = "shared with all of the row, or of the tensor".to_owned();
            (formula, stored)
        }
    };
    Some(Step { name: "scale", formula, numbers })
}

/// What one unit of a code is worth.
fn step_step(scale: &BlockScale) -> Option<Step> {
    let (global, divides) = scale.global?;
    let (formula, operation) = match divides {
        true => ("scale / global scale", '/'),
        false => ("scale × global scale", '×'),
    };
    let numbers =
        format!("{} {operation} {} = {}", short(scale.value), short(global), short(scale.step));
    Some(Step { name: "step", formula: formula.to_owned(), numbers })
}

/// How a weight became a code.
fn code_step(block: &Block, weight: f32, code: u32, codec: Codec) -> Step {
    let scale = &block.scale;
    let quotient = f64::from(weight) / f64::from(scale.step);
    let width = usize::from(codec.bits());
    let multiplies =
        matches!(&block.coder, BlockCoder::Grouped { scheme, .. } if !scheme.quotient.divides());
    let ties = match &block.coder {
        BlockCoder::Grouped { scheme, .. } if scheme.quotient == Quotient::Reciprocal => {
            "ties away from zero"
        }
        BlockCoder::Grouped { scheme, .. } => match scheme.element {
            crate::format::Element::E2m1(crate::format::SmallFloatTies::Down) => {
                "ties towards zero"
            }
            _ => "ties to even",
        },
        BlockCoder::Nvfp4(_) => "ties to even",
    };
    let what = if multiplies { "weight × (1 / step)" } else { "weight / step" };
    let zero = if scale.zero_point.is_some() { " + zero point" } else { "" };
    let shift = scale.zero_point.map_or(String::new(), |zero| format!(" + ({zero})"));
    Step {
        name: "code",
        formula: format!("nearest {} to {what}{zero}, {ties}", codec.name()),
        numbers: format!(
            "{} / {} = {}{shift} → {} = {code:0width$b}",
            short(weight),
            short(scale.step),
            significant(quotient),
            short(codec.value(code)),
        ),
    }
}
