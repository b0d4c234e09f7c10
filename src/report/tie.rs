//! How embedding and head of a model belong together, in a sentence.

use crate::model::ties::{CodesTable, Tie};
use crate::model::{Model, Role};
use crate::units::name;

/// The sentence, for an ONNX model with an embedding table and a head: its graph has every kind of tie,
/// and no config says which. `None` for anything else.
pub fn tie_text(model: &Model<'_>) -> Option<String> {
    let graph = model.checkpoint.onnx.as_ref()?;
    let tensor = |index: usize| name(&model.tensor(index).name);
    // A table of codes goes by the name that its codes have in the graph.
    let codes = |table: &CodesTable| name(&graph.initializer(table.codes).name);
    let transposed = |index: usize| match model.uses.get(index) {
        Some(uses) if uses.inputs_first => ", transposed",
        _ => "",
    };
    Some(match &model.tie {
        Tie::Untied => {
            let first = |role| model.members.iter().find(|member| member.role == role);
            let (table, head) = (first(Role::Embedding)?, first(Role::Head)?);
            format!("{} and {} are different", tensor(table.index), tensor(head.index))
        }
        Tie::HeadAbsent { embedding, head_name } => {
            format!("{} is the head as well: {} takes it", tensor(*embedding), name(head_name))
        }
        Tie::HeadStored { embedding, head, differs } => {
            let relation = if *differs { "is to equal, and does not," } else { "equals" };
            let (head_tensor, table) = (tensor(*head), tensor(*embedding));
            format!("{head_tensor} {relation} {table} byte for byte{}", transposed(*head))
        }
        Tie::HeadMatches { embedding, head } => {
            let (head, table) = (tensor(*head), tensor(*embedding));
            format!("{head} is within half a step of {table} as quantized, every weight of it")
        }
        Tie::Apart { embedding, head, distance } => {
            format!("{} is not {}: {distance}", tensor(*head), tensor(*embedding))
        }
        Tie::OfCodes { table, head, matches } => {
            let (head, table) = (tensor(*head), codes(table));
            match matches {
                None => format!("{head} may be what {table} stands for: only weights can tell"),
                Some(true) => {
                    format!(
                        "{head} is within half a step of what {table} stands for, every weight of it"
                    )
                }
                Some(false) => format!("{head} cannot be compared with {table}"),
            }
        }
        Tie::BothCodes { table, codes: head, matches, .. } => {
            let (head, table) = (tensor(*head), codes(table));
            match matches {
                None => format!("{head} may equal {table}: only their bytes can tell"),
                Some(true) => format!("{head} equals {table} byte for byte, and so do its scales"),
                Some(false) => format!("{head} and {table} are different"),
            }
        }
        Tie::Unknown { embedding, head } => {
            let (head, table) = (tensor(*head), tensor(*embedding));
            format!("{head} may equal {table}: only weights can tell")
        }
    })
}
