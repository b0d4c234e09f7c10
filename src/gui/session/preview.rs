//! What follows from a plan and takes a moment more for a large model: nothing else waits for it.

use super::{Analysis, Document};
use crate::export::config;
use crate::model::Model;
use crate::plan::{Plan, Sharding};
use crate::recipe::{Recipe, TiedOutcome};

/// What an export would write besides weights, and what it could be instead.
#[derive(Debug, Default)]
pub struct Preview {
    /// The config files: names and texts.
    pub config_files: Vec<(&'static str, String)>,
    /// What can become of the embedding table; none if there is no table, or nothing is quantized.
    pub outcomes: Vec<Outcome>,
}

impl Preview {
    /// Of the plan of an analysis.
    pub fn new(document: &Document, analysis: &Analysis, sharding: Sharding) -> Self {
        let config = document.checkpoint.config.as_ref();
        let config_files = match analysis.plan.quantizes() {
            true => config::files(&analysis.plan, config).into_iter().collect(),
            false => Vec::new(),
        };
        Self { config_files, outcomes: outcomes(document, analysis, sharding) }
    }
}

/// What can become of the embedding table.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// In a few words.
    pub label: &'static str,
    /// The recipe that has it so.
    pub recipe: Recipe,
    /// Bytes of the whole export; what stands against it otherwise.
    pub bytes: Result<u64, String>,
}

/// Every outcome under the recipe of an analysis.
fn outcomes(document: &Document, analysis: &Analysis, sharding: Sharding) -> Vec<Outcome> {
    let (plan, recipe) = (&analysis.plan, &analysis.recipe);
    if document.quantized.is_some() || !analysis.has_table || recipe.format.is_none() {
        return Vec::new();
    }
    let with = |quantize_embeddings, tied| Recipe { quantize_embeddings, tied, ..recipe.clone() };
    let mut choices = vec![("float", with(false, recipe.tied))];
    if analysis.is_tied() {
        choices.push(("opted in; tied, so float", with(true, Some(TiedOutcome::Keep))));
        choices.push(("untied: float head", with(true, Some(TiedOutcome::Untie))));
        choices.push(("one table for both", with(true, Some(TiedOutcome::Share))));
    } else {
        choices.push(("quantized", with(true, recipe.tied)));
    }
    let mut model = Model::new(&document.checkpoint, plan.dialect.fused_experts());
    model.tie = analysis.tie.clone();
    let outcome = |(label, choice): (&'static str, Recipe)| {
        let bytes = match choice == *recipe {
            true => Ok(plan.bytes_after),
            false => Plan::new(&model, &choice, plan.dialect, sharding)
                .map(|plan| plan.bytes_after)
                .map_err(|error| error.to_string()),
        };
        Outcome { label, recipe: choice, bytes }
    };
    choices.into_iter().map(outcome).collect()
}
