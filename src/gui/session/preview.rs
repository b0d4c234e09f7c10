//! What follows from a plan and takes a moment more for a large model: nothing else waits for it.

use super::planning::Target;
use super::{Analysis, Document};
use crate::export::config;
use crate::format::Format;
use crate::model::{Model, Role};
use crate::plan::{Decision, Plan, Reason, shared_label};
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
    pub fn new(document: &Document, analysis: &Analysis, target: &Target) -> Self {
        let config = document.checkpoint.config.as_ref();
        let config_files = match analysis.plan.quantizes() {
            true => config::files(&analysis.plan, config).into_iter().collect(),
            false => Vec::new(),
        };
        Self { config_files, outcomes: outcomes(document, analysis, target) }
    }
}

/// What can become of the embedding table.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// In a few words.
    pub label: String,
    /// The recipe that has it so.
    pub recipe: Recipe,
    /// Bytes of the whole export; what stands against it otherwise.
    pub bytes: Result<u64, String>,
}

/// Every outcome under the recipe of an analysis.
fn outcomes(document: &Document, analysis: &Analysis, target: &Target) -> Vec<Outcome> {
    let (plan, recipe) = (&analysis.plan, &analysis.recipe);
    let Some(format) = recipe.format.filter(|_| !analysis.is_stored) else { return Vec::new() };
    let format = plan.dialect.resolve(format);
    let now = (recipe.quantize_embeddings, recipe.tied_in(plan.dialect));
    let mut model = Model::new(&document.checkpoint, plan.dialect.fused_experts());
    model.tie = analysis.tie.clone();
    let outcome = |(label, quantize_embeddings, tied): (String, bool, TiedOutcome)| {
        let choice = match (quantize_embeddings, tied) == now {
            true => recipe.clone(),
            false => {
                let usual = Recipe::default().tied_in(plan.dialect);
                let tied = (tied != usual).then_some(tied);
                Recipe { quantize_embeddings, tied, ..recipe.clone() }
            }
        };
        let stored = |plan: &Plan| match kept_table(plan) {
            Some(why) if quantize_embeddings => Err(why),
            _ => Ok(plan.bytes_after),
        };
        let bytes = match choice == *recipe {
            true => stored(plan),
            false => target
                .plan(&model, &choice, plan.dialect)
                .map_err(|error| error.to_string())
                .and_then(|plan| stored(&plan)),
        };
        Outcome { label, recipe: choice, bytes }
    };
    choices(analysis, format, now).into_iter().map(outcome).collect()
}

/// Why a plan keeps an embedding table as floats, if that is not what becomes of a tied one.
fn kept_table(plan: &Plan) -> Option<String> {
    plan.entries.iter().find_map(|entry| match &entry.decision {
        Decision::Keep(Reason::Tied) => None,
        Decision::Keep(why) if entry.member.role == Role::Embedding => Some(why.to_string()),
        _ => None,
    })
}

/// The outcomes: what each is called, whether embeddings are quantized, and what becomes of a tied table.
/// `now` is the one that the recipe says.
fn choices(
    analysis: &Analysis,
    format: Format,
    now: (bool, TiedOutcome),
) -> Vec<(String, bool, TiedOutcome)> {
    use TiedOutcome::{Keep, Share, Untie};
    let (is_opted_in, tied) = now;
    let label = |text: &str| text.to_owned();
    let shares = analysis.plan.dialect.shares_tables();
    match (analysis.has_table, analysis.is_tied()) {
        (true, true) if shares => {
            let mut choices = vec![
                // Where it stays float, one that is there twice is stored once if tables are shared.
                (label("float"), false, if is_opted_in { Share } else { tied }),
                (format!("{format} table, float head"), true, Untie),
                (shared_label(&analysis.tie, analysis.plan.dialect, format), true, Share),
            ];
            // Nobody would choose it, but a recipe may say it.
            choices.extend((now == (true, Keep)).then(|| (label("opted in, kept"), true, Keep)));
            choices
        }
        (true, true) => vec![
            (label("float"), false, tied),
            (label("opted in; tied, so float"), true, Keep),
            (label("untied: float head"), true, Untie),
            (label("one table for both"), true, Share),
        ],
        (true, false) => vec![(label("float"), false, tied), (label("quantized"), true, tied)],
        // The table is quantized already.
        (false, true) if shares => {
            let own = if tied == Share { Keep } else { tied };
            vec![
                (label("a head of its own"), is_opted_in, own),
                (label("one table for both"), is_opted_in, Share),
            ]
        }
        (false, _) => Vec::new(),
    }
}
