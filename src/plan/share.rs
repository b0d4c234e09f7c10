//! One table of codes for embedding and head.

use super::decide::{Decided, stored};
use super::{Decision, Entry, Reason, SharedTable};
use crate::checkpoint::Onnx;
use crate::dialect::{Dialect, Output, q4gsw};
use crate::format::Format;
use crate::model::Model;
use crate::model::onnx::TensorUses;
use crate::model::ties::{CodesTable, Tie};
use crate::onnx::TensorOwner;
use crate::recipe::{Recipe, TiedOutcome};

/// Stores what head and table have in common once, if that is what is wanted: the head reads the codes
/// of the table that it equals, unless a rule says otherwise of it, or what the table is made of. Its
/// own floats stay where something else needs them.
pub fn share(model: &Model<'_>, recipe: &Recipe, dialect: Dialect, decided: &mut Decided) {
    let shares = dialect.shares_tables() && recipe.tied_in(dialect) == TiedOutcome::Share;
    if !shares || recipe.formats().next().is_none() {
        return;
    }
    if dialect == Dialect::ExecuTorch {
        return share_twice(model, recipe, dialect, decided);
    }
    if dialect == Dialect::Q4gsw {
        return share_packed(model, decided);
    }
    let entries = &mut decided.entries;
    let position = |entries: &[Entry], index: usize| {
        entries.iter().position(|entry| entry.member.index == index)
    };
    match &model.tie {
        Tie::Unknown { embedding, .. } => {
            let table = position(entries, *embedding).map(|i| &entries[i]);
            decided.tie_is_open = table.is_some_and(|table| table.format().is_none());
        }
        Tie::HeadStored { embedding, head, .. } | Tie::HeadMatches { embedding, head } => {
            let Some(table) = position(entries, *embedding).map(|i| entries[i].clone()) else {
                return;
            };
            match table.format() {
                Some(format) => {
                    let table = SharedTable::of(&table.member.tensor, &table.outputs);
                    // Floats of codes take the place of the head's: it cannot have both.
                    let has_both = uses(model, *head).is_some_and(|uses| uses.other.is_some());
                    if dialect != Dialect::OnnxQdq || !has_both {
                        share_codes(model, entries, *head, format, table);
                    }
                }
                None if is_value(model, *embedding) && is_value(model, *head) => {
                    if matches!(model.tie, Tie::HeadStored { .. }) {
                        let name = table.member.tensor.name;
                        store_once(entries, *head, name);
                    }
                }
                None => {}
            }
        }
        // Codes in a table of another layout are nothing that dequantizes.
        Tie::OfCodes { .. } | Tie::BothCodes { .. } if dialect == Dialect::OnnxQdq => {}
        Tie::OfCodes { table, head, matches: Some(true) } => {
            share_codes(model, entries, *head, format_of(table), parts_of(model, table));
        }
        Tie::BothCodes { table, codes, others, matches: Some(true) } => {
            share_codes(model, entries, *codes, format_of(table), parts_of(model, table));
            others.iter().for_each(|part| store_once(entries, *part, parts_of(model, table).name));
        }
        Tie::OfCodes { matches: None, .. } | Tie::BothCodes { matches: None, .. } => {
            decided.tie_is_open = true;
        }
        _ => {}
    }
}

/// Gives a stored head the format of the table that it equals: the same codes and scales under its own
/// name. Loaders tie what the config says is tied.
fn share_twice(model: &Model<'_>, recipe: &Recipe, dialect: Dialect, decided: &mut Decided) {
    let pair = match &model.tie {
        Tie::HeadStored { embedding, head, differs: false } => [*embedding, *head],
        Tie::Unknown { embedding, .. } => {
            let mut entries = decided.entries.iter();
            let table = entries.find(|entry| entry.member.index == *embedding);
            decided.tie_is_open = table.is_some_and(|table| table.format().is_some());
            return;
        }
        _ => return,
    };
    let decision = |index: usize| {
        let entry = decided.entries.iter().find(|entry| entry.member.index == index)?;
        Some(entry.decision.clone())
    };
    let Some(table @ Decision::Quantize { format, .. }) = decision(pair[0]) else { return };
    let head = decided.entries.iter_mut().find(|entry| entry.member.index == pair[1]);
    let kept = head.filter(|head| {
        matches!(&head.decision, Decision::Keep(reason) if !matches!(reason, Reason::Rule(_)))
    });
    if let Some(head) = kept {
        let Entry { member, .. } = &head;
        head.outputs = stored(dialect, &member.tensor, member.role, format, recipe.scale_dtype);
        head.decision = table;
    }
}

/// Gives the head of a packed table scales in the order that its operator reads, beside those of the
/// table; it reads the codes of that.
fn share_packed(model: &Model<'_>, decided: &mut Decided) {
    let (embedding, head) = match &model.tie {
        Tie::HeadAbsent { embedding, .. } => (*embedding, None),
        Tie::HeadStored { embedding, head, differs: false }
        | Tie::HeadMatches { embedding, head }
        | Tie::Unknown { embedding, head } => (*embedding, Some(*head)),
        _ => return,
    };
    let position = |index| decided.entries.iter().position(|entry| entry.member.index == index);
    let (Some(at), head) = (position(embedding), head.and_then(position)) else { return };
    let Some(format) = decided.entries[at].format() else { return };
    // A config may tie a head that is another matrix, and only bytes tell.
    decided.tie_is_open = matches!(model.tie, Tie::HeadStored { .. } | Tie::Unknown { .. });
    let name = match (&model.tie, head) {
        (Tie::HeadAbsent { head_name, .. }, _) => head_name.clone(),
        (Tie::Unknown { .. }, _) | (_, None) => return,
        (_, Some(head)) => {
            let table = &decided.entries[at];
            let table = SharedTable::of(&table.member.tensor, &table.outputs);
            let entry = &mut decided.entries[head];
            let is_on_its_own = match &entry.decision {
                Decision::Keep(reason) => matches!(reason, Reason::Rule(_)),
                _ => entry.format() != Some(format),
            };
            if is_on_its_own {
                return;
            }
            entry.outputs.clear();
            entry.decision = Decision::Shared { format, table: Box::new(table) };
            entry.member.tensor.name.clone()
        }
    };
    let outputs = &mut decided.entries[at].outputs;
    outputs.extend(q4gsw::head_scales(&name, outputs));
}

fn uses<'a>(model: &'a Model<'_>, index: usize) -> Option<&'a TensorUses> {
    model.uses.get(index)
}

/// Whether a tensor is a value that all nodes of the model see, and that a node can give instead.
fn is_value(model: &Model<'_>, index: usize) -> bool {
    let graph = model.checkpoint.onnx.as_ref();
    let in_main = |graph: &Onnx| graph.initializer(index).owner == TensorOwner::Graph(0);
    let is_input = uses(model, index).is_some_and(|uses| uses.is_input);
    graph.is_some_and(in_main) && !is_input
}

/// Whether a table that is shared is stored once: torchao's loaders want a head that is stored to stay so.
pub const fn is_stored_once(tie: &Tie, dialect: Dialect) -> bool {
    dialect.is_onnx()
        || matches!(dialect, Dialect::Q4gsw)
        || !matches!(tie, Tie::HeadStored { .. } | Tie::HeadMatches { .. })
}

/// Makes a head, or its codes, read those of a table.
fn share_codes(
    model: &Model<'_>,
    entries: &mut [Entry],
    head: usize,
    format: Format,
    table: SharedTable,
) {
    let Some(entry) = entries.iter_mut().find(|entry| entry.member.index == head) else { return };
    if matches!(entry.decision, Decision::Keep(Reason::Rule(_))) {
        return;
    }
    let stored = &model.checkpoint.tensors[head];
    let uses = uses(model, head);
    if uses.is_some_and(|uses| uses.is_input) {
        return;
    }
    let other_use = uses.is_some_and(|uses| uses.other.is_some() && !uses.is_part);
    entry.outputs = if other_use { vec![Output::verbatim(stored)] } else { Vec::new() };
    if !other_use {
        entry.member.tensor = model.tensor(head).clone();
    }
    entry.decision = Decision::Shared { format, table: Box::new(table) };
}

/// Makes a kept tensor no more than another name for one that it equals.
fn store_once(entries: &mut [Entry], index: usize, name: String) {
    let kept = |entry: &&mut Entry| {
        entry.member.index == index && matches!(entry.decision, Decision::Keep(_))
    };
    if let Some(entry) = entries.iter_mut().find(kept) {
        entry.outputs.clear();
        entry.decision = Decision::Keep(Reason::StoredOnce(name));
    }
}

fn format_of(table: &CodesTable) -> Format {
    let symmetric = table.zero_points.is_none();
    Format::Int { bits: table.bits, group: Some(table.group), symmetric }
}

/// The parts of a table that is quantized already, by their names in the graph.
fn parts_of(model: &Model<'_>, table: &CodesTable) -> SharedTable {
    let graph = model.checkpoint.onnx.as_ref();
    let name = |index: usize| graph.map_or_else(String::new, |g| g.initializer(index).name.clone());
    SharedTable {
        name: name(table.codes),
        shape: table.shape,
        codes: name(table.codes),
        scales: name(table.scales),
        zero_points: table.zero_points.map(name),
    }
}
