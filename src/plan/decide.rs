//! The decision about each tensor.

use std::collections::HashSet;
use std::sync::Arc;

use super::share::share;
use super::{Decision, Entry, Finding, FindingKind, Reason};
use crate::checkpoint::{Dtype, Tensor};
use crate::dialect::{Dialect, Output, Part, onnx_qdq, q4gsw};
use crate::format::{Format, ScaleDtype};
use crate::model::ties::Tie;
use crate::model::{InputAxis, Member, Model, Role, natural_order};
use crate::recipe::{Action, Indivisible, Recipe, RuleSet, TiedOutcome};

/// Entries in the model's order, and what came up.
pub struct Decided {
    pub entries: Vec<Entry>,
    pub findings: Vec<Finding>,
    /// Whether embedding and head, tied in the source, are on their own in the export.
    pub untied: bool,
    /// Whether what is stored depends on a tie that only weights can tell.
    pub tie_is_open: bool,
}

pub fn decide(model: &Model<'_>, recipe: &Recipe, rules: &RuleSet, dialect: Dialect) -> Decided {
    let by_rules = |member| by_rules(model, member, recipe, rules, dialect);
    let mut entries = whole_where_kept(model, model.members.iter().map(by_rules).collect());
    let (mut findings, mut is_untied) = (Vec::new(), false);
    let outputs_of =
        |tensor: &Tensor, role, format| stored(dialect, tensor, role, format, recipe.scale_dtype);
    for Entry { member, decision, outputs } in &mut entries {
        let tensor = &member.tensor;
        if let Decision::Quantize { format, padded_columns, .. } = *decision {
            let mut note = |kind| findings.push(Finding::about(kind, &tensor.name, tensor.bytes));
            if let (Some(padded), [_, columns]) = (padded_columns, &tensor.shape[..]) {
                note(FindingKind::Padded { columns: *columns, padded });
            }
            match tie_of(model, member, recipe, dialect) {
                TieEffect::None => {}
                TieEffect::Compare => {
                    let shares = recipe.tied_in(dialect) == TiedOutcome::Share;
                    note(FindingKind::TieUnknown { shares });
                }
                TieEffect::Keep => {
                    let packed = outputs_of(tensor, member.role, format);
                    let head_scales = match dialect {
                        Dialect::Q4gsw => q4gsw::head_scales("", &packed),
                        _ => None,
                    };
                    let packed: u64 = packed.iter().map(Output::bytes).sum();
                    let head = match model.tie {
                        Tie::HeadStored { .. } | Tie::HeadMatches { .. } => tensor.bytes,
                        _ => 0,
                    };
                    let (kept, untied) = (tensor.bytes + head, packed + tensor.bytes);
                    let one_for_both = packed + head_scales.map_or(0, |scales| scales.bytes());
                    let shared = dialect.shares_tables().then_some(one_for_both);
                    note(FindingKind::TiedKept { kept, untied, shared });
                    *decision = Decision::Keep(Reason::Tied);
                }
                TieEffect::Untie { head } => {
                    is_untied = true;
                    if let Tie::HeadStored { differs: true, .. } = model.tie {
                        note(FindingKind::HeadDiffers);
                    }
                    outputs.extend(head.map(|name| Output { name, ..Output::verbatim(tensor) }));
                }
                TieEffect::FloatHead => outputs.push(Output::verbatim(tensor)),
            }
        }
        match decision {
            Decision::Quantize { format, padded_columns, .. } => {
                let mut stored = match padded_columns {
                    Some(columns) => outputs_of(&padded(tensor, *columns), member.role, *format),
                    None => outputs_of(tensor, member.role, *format),
                };
                stored.append(outputs);
                *outputs = stored;
            }
            Decision::Stored(_) | Decision::Shared { .. } => {}
            Decision::Keep(reason) => {
                // A graph says of every matrix whether it is a layer's.
                let is_layer = member.is_weight || !dialect.is_onnx();
                let finding = finding_about(reason, tensor)
                    .filter(|kind| is_layer || *kind != FindingKind::NoRule);
                findings.extend(finding.map(|k| Finding::about(k, &tensor.name, tensor.bytes)));
                // It stays as it is stored, whatever way layers take it.
                let whole = &model.checkpoint.tensors[member.index];
                if whole.name == tensor.name {
                    member.tensor = whole.clone();
                }
                let mut stored = vec![Output::verbatim(&member.tensor)];
                stored.append(outputs);
                *outputs = stored;
            }
        }
    }
    let mut decided = Decided { entries, findings, untied: is_untied, tie_is_open: false };
    share(model, recipe, dialect, &mut decided);
    decided.findings = Finding::merged(decided.findings);
    decided
}

/// Members with their decisions, and without outputs yet. Parts of tensors are the whole again, which stays as it is stored,
/// unless some of their list is quantized: then all of the list are tensors of their own, as a loader
/// expects them.
fn whole_where_kept(model: &Model<'_>, decisions: Vec<Decision>) -> Vec<Entry> {
    let stored_name = |member: &Member| model.checkpoint.tensors[member.index].name.as_str();
    let is_part = |member: &Member| member.tensor.name != stored_name(member);
    let list = |member: &Member| stored_name(member).rsplit_once('.').map_or("", |(list, _)| list);
    let decided = model.members.iter().zip(&decisions);
    let quantized = decided.filter(|(member, decision)| {
        is_part(member) && matches!(decision, Decision::Quantize { .. })
    });
    let split: HashSet<&str> = quantized.map(|(member, _)| list(member)).collect();
    let mut seen = HashSet::new();
    let undecided = |member, decision| Entry { member, decision, outputs: Vec::new() };
    let mut result = Vec::with_capacity(decisions.len());
    for (member, decision) in model.members.iter().zip(decisions) {
        if !is_part(member) || split.contains(list(member)) {
            result.push(undecided(member.clone(), decision));
        } else if seen.insert(member.index) {
            let whole = Member::whole(model.checkpoint, member.index);
            result.push(undecided(Member { role: member.role, ..whole }, decision));
        }
    }
    let in_order =
        |a: &Entry, b: &Entry| natural_order(&a.member.tensor.name, &b.member.tensor.name);
    // Sorting takes memory, and only wholes may be out of order.
    if !result.is_sorted_by(|a, b| in_order(a, b).is_le()) {
        result.sort_by(in_order);
    }
    result
}

fn by_rules(
    model: &Model<'_>,
    member: &Member,
    recipe: &Recipe,
    rules: &RuleSet,
    dialect: Dialect,
) -> Decision {
    let tensor = &member.tensor;
    if model.uses.get(member.index).is_some_and(|uses| uses.is_part) {
        return Decision::Keep(Reason::Part);
    }
    let Some((_, rule)) = rules.decide(model.names(member), member.role) else {
        return Decision::Keep(Reason::Default(member.role));
    };
    let format = match rule.rule.action {
        Action::Keep => return Decision::Keep(Reason::Rule(rule.source.to_string())),
        Action::Quantize => recipe.format,
        Action::Format(format) => Some(format),
    };
    let Some(format) = format else { return Decision::Keep(Reason::NoFormat) };
    let format = dialect.resolve(format);
    if let Some(other) = model.uses.get(member.index).and_then(|uses| uses.other.clone())
        && member.is_weight
    {
        return Decision::Keep(Reason::OtherUse(other));
    }
    let quantize = |format, padded_columns, rule: Arc<str>| Decision::Quantize {
        format,
        rule,
        group: 0,
        padded_columns,
    };
    match why_not(tensor, member, format, dialect) {
        None => quantize(format, None, Arc::clone(&rule.source)),
        Some(reason @ Reason::Indivisible { columns, block }) => {
            let why = format!("{}, where {reason}", rule.source).into();
            let fits = |other: &Format| {
                dialect.packing(*other).is_some()
                    && why_not(tensor, member, *other, dialect).is_none()
            };
            // Nodes say their columns, and take those that end in a part of a block.
            let can_pad = recipe.indivisible == Indivisible::Pad
                && tensor.shape.len() == 2
                && !dialect.is_onnx();
            match instead(format, recipe.indivisible).find(fits) {
                Some(other) => quantize(other, None, why),
                None if can_pad => quantize(format, Some(columns.next_multiple_of(block)), why),
                None => Decision::Keep(reason),
            }
        }
        Some(reason) => Decision::Keep(reason),
    }
}

/// What is stored for a weight, with scales of the type that is asked for.
pub fn stored(
    dialect: Dialect,
    weight: &Tensor,
    role: Role,
    format: Format,
    scale_dtype: ScaleDtype,
) -> Vec<Output> {
    let mut outputs = dialect.outputs(weight, role, format);
    let scales = outputs
        .iter_mut()
        .filter(|output| matches!(output.part, Part::Scales | Part::ScalesByGroup));
    if scale_dtype == ScaleDtype::F32 {
        scales.for_each(|scales| scales.dtype = Dtype::F32);
    }
    outputs
}

/// A matrix with rows of another length.
fn padded(tensor: &Tensor, columns: u64) -> Tensor {
    let rows = tensor.shape.first().copied().unwrap_or(0);
    Tensor { shape: vec![rows, columns], ..tensor.clone() }
}

/// What to try where a row does not divide into the blocks of a format, best first.
pub fn instead(format: Format, indivisible: Indivisible) -> impl Iterator<Item = Format> {
    let is_smaller = move |other: &Format| match (format, *other) {
        (
            Format::Int { bits, group: Some(group), symmetric },
            Format::Int { bits: b, group: Some(g), symmetric: s },
        ) => (b, s) == (bits, symmetric) && g < group,
        _ => false,
    };
    let mut formats: Vec<Format> = match indivisible {
        Indivisible::Keep | Indivisible::Pad => Vec::new(),
        Indivisible::Smaller => Format::all().filter(is_smaller).collect(),
        Indivisible::Format(other) => vec![other],
    };
    formats.sort_by_key(|format| std::cmp::Reverse(format.block_len()));
    formats.into_iter()
}

/// Most bytes that the rows which are quantized together may take: they are read at once, and
/// memory is to be bounded.
const MAX_ROWS_BYTES: u64 = 64 << 20;

/// Why a tensor cannot be in a format of a dialect, whatever the rules say.
pub fn why_not(
    tensor: &Tensor,
    member: &Member,
    format: Format,
    dialect: Dialect,
) -> Option<Reason> {
    let block = format.block_len() as u64;
    let element_bytes = tensor.bytes / tensor.len().max(1);
    let too_wide =
        |rows: u64, columns: u64| (element_bytes * rows).saturating_mul(columns) > MAX_ROWS_BYTES;
    let has_type = tensor.dtype != Dtype::F64 || !dialect.is_onnx();
    if tensor.float_kind().is_none() || !has_type {
        return Some(Reason::NotFloat(tensor.dtype));
    }
    if tensor.is_empty() {
        return Some(Reason::Empty);
    }
    let inputs = match (tensor.shape.as_slice(), member.role, member.input_axis) {
        ([_, _], _, Some(InputAxis::SecondToLast)) => return Some(Reason::InputsFirst),
        ([rows, columns], ..) if member.is_weight => {
            let together = dialect.rows_together(format);
            if too_wide(together, *columns) {
                return Some(Reason::TooWide { columns: *columns });
            }
            // Codes of two rows share bytes, and no reader knows half a pair.
            let Some(packing) = dialect.packing(format) else {
                return Some(Reason::NoPlace { format, dialect });
            };
            if rows % packing.rows() as u64 != 0 {
                return Some(Reason::OddRows { rows: *rows });
            }
            *columns
        }
        ([_, _], ..) if dialect.is_onnx() => return Some(Reason::NoLayer),
        (shape, ..) if dialect.is_onnx() => {
            return Some(Reason::NotMatrix { dimensions: shape.len() });
        }
        ([_, _], ..) => return Some(Reason::NotWeight),
        ([_, inputs, columns], Role::Expert, Some(InputAxis::SecondToLast)) => {
            if !dialect.packs_fused_experts(format) {
                return Some(Reason::NoPlace { format, dialect });
            }
            if too_wide(block, *columns) {
                return Some(Reason::TooWide { columns: *columns });
            }
            *inputs
        }
        ([_, _, _], Role::Expert, _) => return Some(Reason::FusedExperts),
        (shape, ..) => return Some(Reason::NotMatrix { dimensions: shape.len() }),
    };
    let divides = inputs % block == 0 || dialect.takes_part_blocks(member.role);
    if !divides {
        return Some(Reason::Indivisible { columns: inputs, block });
    }
    let odd = dialect == Dialect::OnnxQdq && onnx_qdq::has_odd_zero_points(format, inputs);
    odd.then_some(Reason::OddBlocks { blocks: inputs.div_ceil(block) })
}

/// What in a kept tensor deserves a look: a matrix that a rule wanted and that cannot be had, or
/// that no rule has an opinion about.
fn finding_about(reason: &Reason, tensor: &Tensor) -> Option<FindingKind> {
    let is_matrix = tensor.float_kind().is_some() && tensor.shape.len() >= 2 && !tensor.is_empty();
    match reason {
        Reason::Indivisible { columns, block } => {
            Some(FindingKind::Indivisible { columns: *columns, block: *block })
        }
        Reason::FusedExperts => Some(FindingKind::FusedExperts),
        Reason::NoPlace { .. } => Some(FindingKind::NoPlace),
        Reason::OddRows { .. } => Some(FindingKind::OddRows),
        Reason::OddBlocks { .. } => Some(FindingKind::OddBlocks),
        Reason::TooWide { columns } => Some(FindingKind::TooWide { columns: *columns }),
        Reason::Empty => Some(FindingKind::Empty),
        Reason::InputsFirst => Some(FindingKind::InputsFirst),
        Reason::NotWeight | Reason::NoLayer | Reason::NotMatrix { .. } if is_matrix => {
            Some(FindingKind::NotAnyLayer)
        }
        Reason::OtherUse(_) => Some(FindingKind::OtherUse),
        Reason::Default(
            Role::Attention | Role::Mlp | Role::Expert | Role::Linear | Role::Other,
        ) if is_matrix => Some(FindingKind::NoRule),
        _ => None,
    }
}

/// What the tie makes of the wish to quantize a tensor.
enum TieEffect {
    /// The tensor is not tied.
    None,
    /// Whether it is tied was not found out.
    Compare,
    /// It stays float.
    Keep,
    /// It is quantized on its own; `head` is the name for the copy that the head needs.
    Untie { head: Option<String> },
    /// It is quantized, and is there as floats too, for the head.
    FloatHead,
}

fn tie_of(model: &Model<'_>, member: &Member, recipe: &Recipe, dialect: Dialect) -> TieEffect {
    let outcome = recipe.tied_in(dialect);
    if dialect.shares_tables() && (dialect.is_onnx() || outcome != TiedOutcome::Untie) {
        return match (&model.tie, outcome) {
            (tie, _) if tie.embedding() != Some(member.index) => TieEffect::None,
            (Tie::HeadAbsent { .. }, TiedOutcome::Untie) => TieEffect::FloatHead,
            (_, TiedOutcome::Untie) => TieEffect::None,
            (Tie::Unknown { .. }, _) => TieEffect::Compare,
            (_, TiedOutcome::Keep) => TieEffect::Keep,
            (_, TiedOutcome::Share) => TieEffect::None,
        };
    }
    let head = match &model.tie {
        Tie::HeadAbsent { embedding, head_name } if *embedding == member.index => {
            Some(head_name.clone())
        }
        Tie::HeadStored { embedding, head, .. } if [*embedding, *head].contains(&member.index) => {
            None
        }
        Tie::HeadMatches { embedding, .. } if *embedding == member.index => None,
        Tie::Unknown { embedding, .. } if *embedding == member.index => return TieEffect::Compare,
        _ => return TieEffect::None,
    };
    match outcome {
        // The plan is refused before where nobody can share.
        TiedOutcome::Keep | TiedOutcome::Share => TieEffect::Keep,
        TiedOutcome::Untie => TieEffect::Untie { head },
    }
}
