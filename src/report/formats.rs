//! The table of formats.

use super::terminal::table;
use crate::dialect::{Dialect, Runtime};
use crate::format::nvfp4::BLOCK_LEN;
use crate::format::{Arithmetic, Format, ScaleStore, Scope};

/// Every format: what a weight takes, what shares a scale, how scales are stored, and for each
/// dialect who loads it there.
pub fn formats() -> String {
    let dialects = Dialect::ALL.map(Dialect::name);
    let header = [&["format", "bits/weight", "scale for", "scale type"], &dialects[..]].concat();
    let table = table(&header, Format::all().map(row));
    format!("{table}\n\n{NOTE}")
}

/// What the table cannot say of each pair.
const NOTE: &str = "\
The runtimes are those whose sources take the format in dense models. Experts are another matter: in
transformers 5, nvfp4, mxfp8, fp8-block, int8 and asym fail there, in vLLM 0.32 compressed-tensors' fp8 and
ModelOpt's fp8-channel and fp8-block. The readme has what was run.";

fn row(format: Format) -> Vec<String> {
    let mut row =
        vec![format.name().to_owned(), bits_per_weight(format), scope(format), scale(format)];
    row.extend(Dialect::ALL.map(|dialect| loaders(dialect, format)));
    row
}

/// Bits that a weight takes, one number where the dialects agree.
fn bits_per_weight(format: Format) -> String {
    let with_place = Dialect::ALL.into_iter().filter(|dialect| dialect.packing(format).is_some());
    let mut shown: Vec<String> =
        with_place.map(|dialect| format!("{:.3}", dialect.bits_per_weight(format))).collect();
    shown.dedup();
    shown.join(" / ")
}

fn scope(format: Format) -> String {
    match format.scheme(Arithmetic::CompressedTensors).map(|scheme| scheme.scope) {
        None => format!("{BLOCK_LEN} and the tensor"),
        Some(Scope::Tensor) => "the tensor".to_owned(),
        Some(Scope::Row) => "a row".to_owned(),
        Some(Scope::Group(len)) => len.to_string(),
        Some(Scope::Tile(len)) => format!("{len}×{len}"),
    }
}

fn scale(format: Format) -> String {
    let Some(scheme) = format.scheme(Arithmetic::CompressedTensors) else {
        return "E4M3 and f32".to_owned();
    };
    let scale = match scheme.store {
        ScaleStore::E8m0 => "E8M0",
        ScaleStore::F32 | ScaleStore::Own => "float",
    };
    let zero_point = if scheme.zero_points { " and zero point" } else { "" };
    format!("{scale}{zero_point}")
}

fn loaders(dialect: Dialect, format: Format) -> String {
    match (dialect.packing(format), dialect.runtimes(format)) {
        (None, _) => "–".to_owned(),
        (Some(_), []) => "nobody".to_owned(),
        (Some(_), runtimes) => {
            runtimes.iter().map(Runtime::to_string).collect::<Vec<_>>().join(", ")
        }
    }
}
