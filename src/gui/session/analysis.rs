//! What a recipe makes of a checkpoint, and all that follows from it without reading a weight.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::Document;
use super::document::Quantized;
use super::planning::{Target, Ties, tie_name};
use crate::checkpoint::Checkpoint;
use crate::engine::{tie_matters, units};
use crate::model::{Model, Role, ties::Tie};
use crate::plan::{
    Coverage, Decision, Fix, Plan, PlanError, Reason, Sizes, fixes, second_table_bytes,
};
use crate::quantized::{self, Outputs};
use crate::recipe::Recipe;
use crate::report::{Grid, Row, is_small, tie_text};
use crate::units::{bytes, count};

/// What a recipe makes of a checkpoint.
#[derive(Debug)]
pub struct Analysis {
    /// The recipe.
    pub recipe: Recipe,
    /// What the checkpoint is, in a few words each: architecture, layers, experts, tensors, files, bytes.
    pub facts: Vec<String>,
    /// The plan.
    pub plan: Plan,
    /// Bytes before.
    pub before: Sizes,
    /// Bytes after.
    pub after: Sizes,
    /// How much of what could be quantized is.
    pub coverage: Coverage,
    /// Stored bits a quantized weight.
    pub bits_per_weight: Option<f64>,
    /// What is kept, by reason and role: how many tensors, and their bytes.
    pub kept: Vec<(Reason, Role, u64, u64)>,
    /// What would settle each finding of the plan.
    pub fixes: Vec<Vec<Fix>>,
    /// Whether there is an embedding table.
    pub has_table: bool,
    /// Whether there are experts.
    pub has_experts: bool,
    /// How embedding and head belong together, as far as that is known.
    pub tie: Tie,
    /// The same in a sentence, where the checkpoint itself says so little that there is one.
    pub tie_text: Option<String>,
    /// Bytes that one table for embedding and head saves against two, where that can be had.
    pub second_table_bytes: Option<u64>,
    /// Whether it shows the layers of a quantized checkpoint as they are stored.
    pub is_stored: bool,
    /// Indices of entries that are measured together.
    pub units: Vec<Vec<usize>>,
    /// For each entry, what its measurements depend on.
    pub keys: Vec<u64>,
    /// Where the entries are in the model.
    pub grid: Grid,
    /// Stands for the names of all entries in their order: plans with the same have the same entries.
    pub names: u64,
    /// The entries by their names.
    pub by_name: HashMap<String, usize>,
    /// Whether something depends on a tie that only weights can tell, and that was not found out.
    pub asks_for_tie: bool,
}

impl Analysis {
    /// Applies a recipe. `ties` is what was found out about embedding and head so far.
    pub fn new(
        document: &Document,
        recipe: &Recipe,
        target: &Target,
        ties: &Ties,
    ) -> Result<Self, PlanError> {
        let checkpoint = &document.checkpoint;
        let dialect = recipe.dialect_for(checkpoint);
        let mut model = Model::new(checkpoint, dialect.fused_experts());
        let quantized = document.quantized.as_ref();
        let is_stored = |_: &&Quantized| !document.takes_recipe || recipe.format.is_none();
        if let Some(stored) = quantized.filter(is_stored) {
            let plan =
                quantized::plan(checkpoint, &stored.layers, Outputs::Stored, target.sharding);
            let units = (0..plan.entries.len()).map(|i| vec![i]).collect();
            return Ok(Self { is_stored: true, units, ..Self::of(&model, recipe, plan) });
        }
        let mut plan = target.plan(&model, recipe, dialect)?;
        let known = ties.get("").or_else(|| ties.get(&tie_name(&plan, &model.tie)));
        let asks_for_tie = tie_matters(&plan);
        if let Some(tie) = known {
            model.tie = tie.clone();
            if asks_for_tie {
                plan = target.plan(&model, recipe, dialect)?;
            }
        }
        let asks_for_tie = asks_for_tie && known.is_none();
        Ok(Self { asks_for_tie, ..Self::of(&model, recipe, plan) })
    }

    /// Names of the tensors that a row is made of. A row of an older plan may have some that are no more.
    pub fn tensors_of<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = &'a String> {
        let entries = &self.plan.entries;
        row.entries.iter().filter_map(|&i| entries.get(i)).map(|entry| &entry.member.tensor.name)
    }

    /// Whether no format is for what a row is made of.
    pub fn is_small(&self, row: &Row) -> bool {
        let mut entries = row.entries.iter().filter_map(|&i| self.plan.entries.get(i));
        entries.all(|entry| is_small(entry, self.plan.dialect))
    }

    /// Whether embedding and head are one matrix.
    pub fn is_tied(&self) -> bool {
        self.tie.is_tied()
    }

    fn of(model: &Model<'_>, recipe: &Recipe, plan: Plan) -> Self {
        let names = plan.entries.iter().map(|entry| entry.member.tensor.name.clone());
        Self {
            recipe: recipe.clone(),
            facts: facts(model.checkpoint, &plan),
            before: plan.sizes_before(),
            after: plan.sizes_after(),
            coverage: plan.coverage(),
            bits_per_weight: plan.bits_per_quantized_weight(),
            kept: plan
                .kept()
                .into_iter()
                .map(|(why, role, n, bytes)| (why.clone(), role, n, bytes))
                .collect(),
            fixes: plan.findings.iter().map(|finding| fixes(finding, recipe, &plan)).collect(),
            has_table: plan.entries.iter().any(|entry| entry.member.role == Role::Embedding),
            has_experts: plan.entries.iter().any(|entry| {
                let member = &entry.member;
                member.expert.is_some()
                    || (member.tensor.shape.len() == 3 && member.layer.is_some())
            }),
            tie: model.tie.clone(),
            tie_text: tie_text(model),
            second_table_bytes: second_table_bytes(model, recipe, &plan),
            is_stored: false,
            keys: keys(&plan),
            grid: Grid::of(&plan),
            names: names_of(&plan),
            by_name: names.zip(0..).collect(),
            asks_for_tie: false,
            units: units(&plan),
            plan,
        }
    }
}

fn facts(checkpoint: &Checkpoint, plan: &Plan) -> Vec<String> {
    let config = checkpoint.config.as_ref();
    let architecture = config.and_then(|config| config.architecture().or(config.model_type()));
    let members = || plan.entries.iter().map(|entry| &entry.member);
    let distinct = |numbers: BTreeSet<u32>| (!numbers.is_empty()).then_some(numbers.len() as u64);
    let layers = distinct(members().filter_map(|member| member.layer).collect());
    let experts = distinct(members().filter_map(|member| member.expert).collect());
    let mut facts: Vec<String> = architecture.map(str::to_owned).into_iter().collect();
    facts.extend(layers.map(|n| count(n, "layer")));
    facts.extend(experts.map(|n| count(n, "expert")));
    facts.push(count(checkpoint.tensors.len() as u64, "tensor"));
    facts.push(count(checkpoint.files.len() as u64, "file"));
    facts.push(bytes(checkpoint.file_bytes()));
    facts
}

/// What stands for the names of all entries.
fn names_of(plan: &Plan) -> u64 {
    let mut hasher = DefaultHasher::new();
    plan.entries.iter().for_each(|entry| entry.member.tensor.name.hash(&mut hasher));
    hasher.finish()
}

/// What measurements of each entry depend on: what it becomes, and with which others.
fn keys(plan: &Plan) -> Vec<u64> {
    let own = |i: usize| {
        let entry = &plan.entries[i];
        let mut hasher = DefaultHasher::new();
        entry.member.tensor.name.hash(&mut hasher);
        match entry.decision {
            Decision::Quantize { format, padded_columns, .. } => {
                (format, padded_columns).hash(&mut hasher);
                let scales = (plan.search_for(format), plan.scale_dtype);
                let way = (scales, plan.dialect.arithmetic(), plan.quotient);
                format!("{way:?}").hash(&mut hasher);
            }
            Decision::Stored(format) => format.hash(&mut hasher),
            Decision::Shared { .. } | Decision::Keep(_) => {}
        }
        hasher.finish()
    };
    let mut keys: Vec<u64> = (0..plan.entries.len()).map(own).collect();
    for group in plan.groups.iter().filter(|group| group.len() > 1) {
        let mut hasher = DefaultHasher::new();
        group.iter().for_each(|&i| keys[i].hash(&mut hasher));
        let together = hasher.finish();
        group.iter().for_each(|&i| keys[i] = keys[i].rotate_left(1) ^ together);
    }
    keys
}
