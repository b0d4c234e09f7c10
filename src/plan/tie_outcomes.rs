//! What each thing that can become of a tied table takes.

use super::decide::stored;
use super::share::is_stored_once;
use super::{Plan, Sharding};
use crate::dialect::{Dialect, Output, Part};
use crate::format::Format;
use crate::model::ties::Tie;
use crate::model::{Model, Role};
use crate::recipe::{Recipe, TiedOutcome};

/// What a tied table takes with the whole export: left float, quantized beside a float head, and quantized
/// once for both. Empty for a model without a tie, where runtimes share no table, and without a format.
pub fn tie_outcomes(model: &Model<'_>, recipe: &Recipe, plan: &Plan) -> Vec<(String, u64)> {
    let Some(format) = recipe.format.filter(|_| plan.dialect.shares_tables()) else {
        return Vec::new();
    };
    if !model.tie.is_tied() || model.tie.embedding().is_none() {
        return Vec::new();
    }
    let format = plan.dialect.resolve(format);
    let outcomes = [
        ("float".to_owned(), false, TiedOutcome::Share),
        (format!("{format} table, float head"), true, TiedOutcome::Untie),
        (shared_label(&model.tie, plan.dialect, format), true, TiedOutcome::Share),
    ];
    let bytes = |(label, quantize_embeddings, tied)| {
        let recipe = Recipe { quantize_embeddings, tied: Some(tied), ..recipe.clone() };
        let plan = Plan::new(model, &recipe, plan.dialect, Sharding::AsSource).ok()?;
        Some((label, plan.bytes_after))
    };
    outcomes.into_iter().filter_map(bytes).collect()
}

/// What a table that is shared is called.
pub fn shared_label(tie: &Tie, dialect: Dialect, format: Format) -> String {
    match is_stored_once(tie, dialect) {
        true => format!("one {format} table for both"),
        false => format!("{format} table and head"),
    }
}

/// Bytes that codes and scales of its own would take for a head that can read those of the table. `None`
/// where it cannot, and without a format.
pub fn second_table_bytes(model: &Model<'_>, recipe: &Recipe, plan: &Plan) -> Option<u64> {
    let format = recipe.format.filter(|_| plan.dialect.shares_tables())?;
    let is_one = model.tie.is_tied() && is_stored_once(&model.tie, plan.dialect);
    let table = model.tie.embedding().filter(|_| is_one)?;
    let format = plan.dialect.resolve(format);
    let (weight, scale_dtype) = (model.tensor(table), recipe.scale_dtype);
    let outputs = stored(plan.dialect, weight, Role::Head, format, scale_dtype);
    // Of packed constants a head has scales of its own anyhow.
    let is_saved = |output: &&Output| output.part != Part::ScalesByGroup;
    Some(outputs.iter().filter(is_saved).map(Output::bytes).sum())
}
