//! The steps of every lesson.

use super::Step;
use crate::format::Format;
use crate::gui::app::App;
use crate::gui::session::{Analysis, Focus};
use crate::gui::views::View;
use crate::inspect::Wanted;
use crate::model::Role;
use crate::plan::Entry;
use crate::units::{bytes, significant};

const INT4: Format = Format::Int { bits: 4, group: Some(32), symmetric: true };

/// What a block scale does.
pub const BLOCK_SCALE: [Step; 4] = [
    Step {
        title: "Sixteen weights share one scale",
        view: View::Microscope,
        turn: |app| look(app, Some(Format::Nvfp4), (12, 16), None),
        text: |told| {
            format!(
                "These {} weights are stored as 4-bit codes with one scale among them. The largest, {}, decides \
                 it: {}. One step of a code is then worth {}. Arrow keys walk from weight to weight; at the \
                 right is how each number came about.",
                told.len(),
                told.amax(),
                told.scale(),
                told.step()
            )
        },
    },
    Step {
        title: "Codes are marks on a line",
        view: View::Ruler,
        turn: |app| look(app, Some(Format::Nvfp4), (12, 16), None),
        text: |told| {
            format!(
                "A code is one of 15 numbers. Times the step, {}, they are the marks below, and every weight \
                 moves to the nearest one: that costs {} of the weights here. Move the slider of the scale: a \
                 larger step leaves marks unused, a smaller one clips the largest weights.",
                told.step(),
                told.error()
            )
        },
    },
    Step {
        title: "Every block has a scale of its own",
        view: View::Scales,
        turn: |app| look(app, Some(Format::Nvfp4), (12, 16), None),
        text: |_| {
            "All scales of the tensor, a point each. Where columns are bright, weights are large in every row. \
             Click a point: the microscope will show its block."
                .to_owned()
        },
    },
    Step {
        title: "So each block is as fine as it can be",
        view: View::Microscope,
        turn: |app| look(app, Some(Format::Nvfp4), (12, 48), None),
        text: |told| {
            format!(
                "Another block of the same row. Its largest weight is {}, so its step is {}; the error is {} of \
                 its weights. With one scale for the whole tensor, blocks of small weights would lose most of \
                 their codes.",
                told.amax(),
                told.step(),
                told.error()
            )
        },
    },
];

/// One outlier and the block around it.
pub const OUTLIER: [Step; 4] = [
    Step {
        title: "The largest weights of a tensor",
        view: View::Outliers,
        turn: |app| look(app, Some(Format::Nvfp4), (0, 0), None),
        text: |_| {
            "Weights far from the rest, in multiples of σ, and the columns that they are in. Trained models have \
             whole columns of them. Below is what the amax of blocks would be at other lengths."
                .to_owned()
        },
    },
    Step {
        title: "One outlier, and its neighbours",
        view: View::Microscope,
        turn: |app| look(app, Some(Format::Nvfp4), (0, 0), Some(Wanted::Largest)),
        text: |told| {
            format!(
                "This weight, {}, is the largest of all. It makes one step of its block {}: {} of the {} weights \
                 become zero, and its neighbours lose {} of themselves. The outlier alone is kept well.",
                told.weight(),
                told.step(),
                told.zeros(),
                told.len(),
                told.error_beside()
            )
        },
    },
    Step {
        title: "Longer blocks spread the damage",
        view: View::Ruler,
        turn: |app| look(app, Some(Format::Nvfp4), (0, 0), Some(Wanted::Largest)),
        text: |_| {
            "Choose a block length of 128: now 128 weights share the scale that this one outlier set, and most of \
             them fall onto the marks next to zero. This is why 4-bit formats have blocks of 16 or 32."
                .to_owned()
        },
    },
    Step {
        title: "The damage, seen from above",
        view: View::Errors,
        turn: |app| look(app, Some(Format::Nvfp4), (0, 0), Some(Wanted::Largest)),
        text: |_| {
            "The error of every weight. Blocks that hold an outlier stand out; between them errors are as small as \
             the weights allow."
                .to_owned()
        },
    },
];

/// NVFP4 against MXFP4 and INT4.
pub const FORMATS: [Step; 4] = [
    Step {
        title: "NVFP4: blocks of 16, fine scales",
        view: View::Ruler,
        turn: |app| look(app, Some(Format::Nvfp4), (12, 32), None),
        text: |told| {
            format!(
                "E2M1 codes are dense near zero and sparse far out, as weights are. The scale is an E4M3 number, \
                 {}, so the largest weight can sit close to the last mark. The error here is {}.",
                told.scale(),
                told.error()
            )
        },
    },
    Step {
        title: "MXFP4: blocks of 32, powers of two",
        view: View::Ruler,
        turn: |app| look(app, Some(Format::Mxfp4), (12, 32), None),
        text: |told| {
            format!(
                "The same codes, but the scale is a power of two: {}. It can be almost twice what the largest \
                 weight needs, and marks stay empty. The error of these {} weights is {}.",
                told.scale(),
                told.len(),
                told.error()
            )
        },
    },
    Step {
        title: "INT4: even marks",
        view: View::Ruler,
        turn: |app| look(app, Some(INT4), (12, 32), None),
        text: |told| {
            format!(
                "Whole numbers from −8 to 7: marks are everywhere as far apart, {}. That suits blocks without \
                 outliers. The error of these {} weights is {}.",
                told.step(),
                told.len(),
                told.error()
            )
        },
    },
    Step {
        title: "Measured, projection by projection",
        view: View::Formats,
        turn: |app| look(app, Some(Format::Nvfp4), (12, 32), None),
        text: |_| {
            "Signal to noise of each format on each projection, and stored bits a weight. Every 6 dB halve the \
             error. Beside it is the best that any mix of formats could do at each size."
                .to_owned()
        },
    },
];

/// Ties and rounding.
pub const TIES: [Step; 4] = [
    Step {
        title: "Halfway between two marks",
        view: View::Ruler,
        turn: |app| look(app, Some(Format::Nvfp4), (0, 0), Some(Wanted::Tie)),
        text: |told| {
            format!(
                "The weight {} lies {}: a dotted line, halfway between two marks. Here it becomes {}. On the tie \
                 point itself both marks are as near, and a rule has to decide.",
                told.weight(),
                told.tie(),
                told.value()
            )
        },
    },
    Step {
        title: "The rule: to the even code",
        view: View::Microscope,
        turn: |app| look(app, Some(Format::Nvfp4), (0, 0), Some(Wanted::Tie)),
        text: |_| {
            "Most quantizers round ties to the code whose last bit is 0, some towards zero, some away from it. The \
             steps at the right name the rule that is used here. Over many weights, even codes keep the mean."
                .to_owned()
        },
    },
    Step {
        title: "Even codes, bit by bit",
        view: View::Codecs,
        turn: |_| {},
        text: |_| {
            "Every second code ends in 0. Choose E2M1 and round 2.5: of 2 (100) and 3 (101) it takes 2. Round 3.5: \
             it takes 4 (110)."
                .to_owned()
        },
    },
    Step {
        title: "Why two tools may differ by a bit",
        view: View::Microscope,
        turn: |app| look(app, Some(Format::Mxfp4), (0, 0), Some(Wanted::Tie)),
        text: |told| {
            format!(
                "The same tensor as MXFP4: this weight lies {}, and here the rule is \u{201C}{}\u{201D}. Another tool may \
                 have another rule, and both are right. The view Compare puts two checkpoints side by side, weight \
                 by weight, and tells such legal ties from real differences.",
                told.tie(),
                told.rule()
            )
        },
    },
];

/// What quantizing an embedding costs, and when tying saves.
pub const EMBEDDING: [Step; 4] = [
    Step {
        title: "How much of the model is the table?",
        view: View::Map,
        turn: look_at_table,
        text: |told| {
            let said = told.analysis.and_then(|analysis| {
                let table = &table(analysis)?.member.tensor;
                let all: u64 = analysis.plan.entries.iter().map(|e| e.member.tensor.bytes).sum();
                let part = 100.0 * table.bytes as f64 / all.max(1) as f64;
                Some(format!(
                    "{} takes {} of {}: {} %. It stays float unless you say so, with Quantize embeddings in the \
                     recipe at the left.",
                    table.name, bytes(table.bytes), bytes(all), significant(part)
                ))
            });
            said.unwrap_or_else(|| "This checkpoint has no embedding table.".to_owned())
        },
    },
    Step {
        title: "A row is a token",
        view: View::Microscope,
        turn: look_at_table,
        text: |told| {
            format!(
                "A part of the row of one token. In this format the error is {} of these weights. Every token reads \
                 its own row, so errors of the table are not averaged over many products.",
                told.error()
            )
        },
    },
    Step {
        title: "What each format would cost",
        view: View::Formats,
        turn: look_at_table,
        text: |_| {
            "The row of the table in this matrix: 8 bits cost next to nothing here, 4 bits much more. Layers at the \
             same signal to noise harm less, since their errors add up to a mean."
                .to_owned()
        },
    },
    Step {
        title: "When tying saves",
        view: View::Map,
        turn: look_at_table,
        text: |told| {
            let Some(analysis) = told.analysis else { return "…".to_owned() };
            let tie = analysis.tie_text.clone().unwrap_or_else(|| match analysis.is_tied() {
                true => "Embedding and head are one table.".to_owned(),
                false => "Embedding and head are two tables.".to_owned(),
            });
            let saved = analysis.second_table_bytes.map(|saved| {
                format!(" Quantized once for both, it saves {} against two tables.", bytes(saved))
            });
            let saved = saved.unwrap_or_default();
            format!(
                "{tie}{saved} Sharing is only right where the runtime reads the packed table for both, and where \
                 the head equals what the table stands for: the program compares them weight by weight."
            )
        },
    },
];

/// Looks at a weight of a typical layer in a format.
fn look(
    app: &mut App,
    format: Option<Format>,
    (row, column): (u64, usize),
    sought: Option<Wanted>,
) {
    let Some(analysis) = app.session.analysis() else { return };
    let Some(name) = typical(analysis).map(|entry| entry.member.tensor.name.clone()) else {
        return;
    };
    app.session.selection = [name.clone()].into();
    app.session.inspection.focus =
        Focus { tensor: Some(name), format, row, column, sought, ..Focus::default() };
}

fn look_at_table(app: &mut App) {
    let Some(analysis) = app.session.analysis() else { return };
    let Some(entry) = table(analysis) else { return };
    let (name, planned) = (entry.member.tensor.name.clone(), app.recipe().format);
    let format = Some(planned.unwrap_or(Format::Nvfp4));
    app.session.selection = [name.clone()].into();
    let focus = Focus { tensor: Some(name), format, row: 1, ..Focus::default() };
    app.session.inspection.focus = focus;
}

/// A matrix of a layer that shows what most are like: of an MLP if there is one.
fn typical(analysis: &Analysis) -> Option<&Entry> {
    let entries = || analysis.plan.entries.iter().filter(|entry| entry.is_quantizable());
    let blocks = |entry: &&Entry| {
        let last = entry.member.tensor.shape.last().copied().unwrap_or(0);
        last % 32 == 0 && entry.member.layer.is_some()
    };
    let named = |entry: &&Entry| entry.member.tensor.name.contains("up_proj");
    let found = entries().filter(blocks).find(named).or_else(|| entries().find(blocks));
    found.or_else(|| entries().next())
}

/// The embedding table.
fn table(analysis: &Analysis) -> Option<&Entry> {
    analysis.plan.entries.iter().find(|entry| entry.member.role == Role::Embedding)
}
