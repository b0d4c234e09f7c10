//! Formats with one level of scales on the GPU. The device finds the extent of each group; the host
//! makes its scale, by the rule of the format; the device then divides or multiplies, exactly.

use super::device::Gpu;
use super::gpu_data::Params;
use super::grouped_layout::Layout;
use super::kernels::Kernel;
use super::sums;
use crate::backend::{Backend, BackendError, Grouped, GroupedChunk, TieMatch, Weights};
use crate::cpu::Cpu;
use crate::format::nvfp4::BLOCK_LEN;
use crate::format::{Coder, Element, Extent, GroupScale, ScaleSearch, Scheme, Scope};
use crate::numeric::FloatKind;
use crate::stats::{ErrorSums, WeightSums};

/// Bytes of the extent of a group, as keys.
const EXTENT_BYTES: usize = 8;

/// The magnitude that no value of these scales is much above.
fn largest(scales: &[GroupScale], element: Element) -> f32 {
    let largest_number = match element {
        Element::E2m1(_) => 6.0,
        Element::E4m3 => 448.0,
        Element::Int(bits) => (1u32 << bits) as f32,
    };
    let scale = scales.iter().fold(0f32, |max, group| max.max(group.scale.abs()));
    (scale * largest_number).min(f32::MAX)
}

/// A key of `shaders/grouped_extents.wgsl` as the pattern it was made of.
fn pattern(key: u32, kind: FloatKind) -> u32 {
    let sign = 1 << (8 * kind.bytes() - 1);
    if key & sign != 0 { key ^ sign } else { !key & (sign | (sign - 1)) }
}

fn value(pattern: u32, kind: FloatKind) -> f32 {
    let sign = 1 << (8 * kind.bytes() - 1);
    let magnitude = kind.widen(pattern & !sign);
    if pattern & sign != 0 { -magnitude } else { magnitude }
}

/// Scales as the kernels read them; `kind` is that of weights that are to be quantized.
fn scale_words(scales: &[GroupScale], scheme: &Scheme, kind: FloatKind) -> Vec<u32> {
    let words = |group: &GroupScale| {
        let zero_point = i32::from(group.zero_point) as u32;
        [group.scale.to_bits(), zero_point, scheme.reciprocal(*group, kind).to_bits()]
    };
    scales.iter().flat_map(words).collect()
}

impl Gpu {
    /// Whole rows that a slot takes at once, or `None` for matrices that the CPU is to work on: rows
    /// of a few weights have more scales than a slot has room for, and very long ones more weights.
    fn rows_of_piece(&self, columns: usize, scope: Scope) -> Option<usize> {
        let unit = scope.rows().unwrap_or(1);
        let rows = self.piece_blocks() * BLOCK_LEN / columns.max(1) / unit * unit;
        (columns >= BLOCK_LEN && rows > 0).then_some(rows)
    }

    /// The same for a stored chunk. Damaged scales are for the CPU: the kernels divide by them, or
    /// else only take finite ones.
    fn rows_of_chunk(&self, chunk: GroupedChunk<'_>, scheme: &Scheme) -> Option<usize> {
        let divides = scheme.quotient.divides();
        let is_sound = |scale: f32| scale.is_finite() && (scale > 0.0 || !divides);
        let sound = chunk.scales.iter().all(|group| is_sound(group.scale));
        self.rows_of_piece(chunk.columns, scheme.scope).filter(|_| sound)
    }

    pub(super) fn quantize_grouped(
        &self,
        weights: Weights<'_>,
        columns: usize,
        coder: &Coder,
    ) -> Result<Grouped, BackendError> {
        let scheme = &coder.scheme;
        // A search goes by sums in f64, which a GPU does not have.
        let searches = scheme.search == ScaleSearch::KQuant;
        let Some(rows) = self.rows_of_piece(columns, scheme.scope).filter(|_| !searches) else {
            return Cpu.grouped_quantize(weights, columns, coder);
        };
        let mut all = Grouped {
            codes: Vec::with_capacity(weights.len()),
            scales: Vec::with_capacity(scheme.scope.count(weights.len() / columns, columns)),
            amax: 0,
            weights: WeightSums::default(),
            errors: ErrorSums::default(),
        };
        for bytes in weights.bytes.chunks(rows * columns * weights.kind.bytes()) {
            let piece = Weights { bytes, ..weights };
            self.quantize_piece(piece, columns, coder, &mut all)?;
        }
        all.scales.extend(coder.tensor_scale);
        Ok(all)
    }

    fn quantize_piece(
        &self,
        piece: Weights<'_>,
        columns: usize,
        coder: &Coder,
        all: &mut Grouped,
    ) -> Result<(), BackendError> {
        let scheme = &coder.scheme;
        let layout = Layout { rows: piece.len() / columns, columns, scheme };
        let blocks = layout.blocks();
        let (weights, errors) = self.with_slot(blocks, |slot| {
            slot.write_weights(&self.queue, piece.bytes);
            let (scales, amax) = match coder.tensor_scale {
                Some(group) => {
                    let len = piece.len().div_ceil(4) as u32;
                    slot.write_params(&self.queue, &Params { len, ..Params::default() });
                    (vec![group], self.amax_of_slot(slot, piece)?)
                }
                None => {
                    slot.write_params(&self.queue, &layout.params(Params::default()));
                    let kernels = [(Kernel::GroupedExtents, layout.extent_workgroups())];
                    let reads = [(&slot.results, layout.groups() * EXTENT_BYTES)];
                    self.run(slot, &kernels, piece.kind, &reads, |keys| {
                        scales_of(keys, (piece, columns), coder)
                    })?
                }
            };
            all.amax = all.amax.max(amax);

            let unit = sums::unit(largest(&scales, scheme.element));
            let error_groups = Kernel::GroupedErrors.workgroups(blocks);
            let kernels = [
                (Kernel::GroupedQuantize, Kernel::GroupedQuantize.workgroups(blocks)),
                (Kernel::GroupedErrors, error_groups),
            ];
            let kernels = if unit.is_some() { &kernels[..] } else { &kernels[..1] };
            let params = Params { unit: unit.unwrap_or(1.0), ..Params::default() };
            slot.write_params(&self.queue, &layout.params(params));
            slot.write_scales(&self.queue, &scale_words(&scales, scheme, piece.kind));
            let codes_len = piece.len().next_multiple_of(4);
            let partials_len = error_groups * sums::PARTIAL_BYTES;
            let reads = [(&slot.codes, codes_len), (&slot.results, partials_len)];
            let sums = self.run(slot, kernels, piece.kind, &reads, |bytes| {
                let (codes, partials) = bytes.split_at(codes_len);
                let codes = &codes[..piece.len()];
                all.codes.extend_from_slice(codes);
                sums_of(
                    partials,
                    unit,
                    (piece, GroupedChunk { columns, codes, scales: &scales }),
                    scheme,
                )
            })??;
            if coder.tensor_scale.is_none() {
                all.scales.extend(scales);
            }
            Ok(sums)
        })?;
        all.weights.merge(&weights);
        all.errors.merge(&errors);
        Ok(())
    }

    pub(super) fn dequantize_grouped(
        &self,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
    ) -> Result<Vec<f32>, BackendError> {
        let Some(rows) = self.rows_of_chunk(chunk, scheme) else {
            return Cpu.grouped_dequantize(chunk, scheme);
        };
        let mut values = Vec::with_capacity(chunk.codes.len());
        for piece in chunk_pieces(chunk, scheme.scope, rows) {
            let layout =
                Layout { rows: piece.codes.len() / piece.columns, columns: piece.columns, scheme };
            let blocks = layout.blocks();
            self.with_slot(blocks, |slot| {
                slot.write_params(&self.queue, &layout.params(Params::default()));
                slot.write_chunk(&self.queue, piece.codes, &[]);
                slot.write_scales(&self.queue, &scale_words(piece.scales, scheme, FloatKind::F32));
                let kernel = Kernel::GroupedDequantize;
                let kernels = [(kernel, kernel.workgroups(blocks))];
                let reads = [(&slot.results, piece.codes.len() * size_of::<f32>())];
                self.run(slot, &kernels, FloatKind::F32, &reads, |bytes| {
                    values.extend(bytes.as_chunks().0.iter().map(|bits| f32::from_le_bytes(*bits)));
                })
            })?;
        }
        Ok(values)
    }

    pub(super) fn errors_of_grouped(
        &self,
        weights: Weights<'_>,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
    ) -> Result<(WeightSums, ErrorSums), BackendError> {
        let unit = sums::unit(largest(chunk.scales, scheme.element));
        let rows = self.rows_of_chunk(chunk, scheme);
        let (Some(rows), Some(unit)) = (rows, unit) else {
            return Cpu.grouped_errors(weights, chunk, scheme);
        };
        let (mut all_weights, mut all_errors) = Default::default();
        let kernel = (Kernel::GroupedErrors, Params { unit, ..Params::default() });
        self.compare_grouped((weights, chunk), scheme, rows, kernel, |piece, partials| {
            let (weights, errors) = sums_of(partials, Some(unit), piece, scheme)?;
            WeightSums::merge(&mut all_weights, &weights);
            ErrorSums::merge(&mut all_errors, &errors);
            Ok(())
        })?;
        Ok((all_weights, all_errors))
    }

    pub(super) fn match_grouped(
        &self,
        weights: Weights<'_>,
        chunk: GroupedChunk<'_>,
        scheme: &Scheme,
        made_of: FloatKind,
    ) -> Result<TieMatch, BackendError> {
        let Some(rows) = self.rows_of_chunk(chunk, scheme) else {
            return Cpu.grouped_match(weights, chunk, scheme, made_of);
        };
        let mut all = TieMatch::default();
        let [near, near_at_ends] = scheme.steps_apart([weights.kind, made_of]).map(f32::to_bits);
        let params = Params { near, near_at_ends, ..Params::default() };
        let kernel = (Kernel::GroupedMatch, params);
        self.compare_grouped((weights, chunk), scheme, rows, kernel, |(piece, _), partials| {
            sums::merge_matches(&mut all, partials, piece.len());
            Ok(())
        })?;
        Ok(all)
    }

    /// Runs a kernel that compares weights with codes, with these parameters besides those of the
    /// shape; `take` gets each piece, and what the workgroups wrote.
    fn compare_grouped(
        &self,
        (weights, chunk): (Weights<'_>, GroupedChunk<'_>),
        scheme: &Scheme,
        rows: usize,
        (kernel, params): (Kernel, Params),
        mut take: impl FnMut((Weights<'_>, GroupedChunk<'_>), &[u8]) -> Result<(), BackendError>,
    ) -> Result<(), BackendError> {
        let pieces = weights.bytes.chunks(rows * chunk.columns * weights.kind.bytes());
        for (bytes, chunk) in pieces.zip(chunk_pieces(chunk, scheme.scope, rows)) {
            let piece = Weights { bytes, ..weights };
            let layout =
                Layout { rows: piece.len() / chunk.columns, columns: chunk.columns, scheme };
            let blocks = layout.blocks();
            self.with_slot(blocks, |slot| {
                slot.write_params(&self.queue, &layout.params(params));
                slot.write_weights(&self.queue, piece.bytes);
                slot.write_chunk(&self.queue, chunk.codes, &[]);
                slot.write_scales(&self.queue, &scale_words(chunk.scales, scheme, piece.kind));
                let workgroups = kernel.workgroups(blocks);
                let reads = [(&slot.results, workgroups * sums::partial_bytes(kernel))];
                let kernels = [(kernel, workgroups)];
                self.run(slot, &kernels, piece.kind, &reads, |partials| {
                    take((piece, chunk), partials)
                })?
            })?;
        }
        Ok(())
    }
}

/// Scales of groups from the keys of their extents, and the largest magnitude pattern of all.
fn scales_of(
    keys: &[u8],
    (weights, columns): (Weights<'_>, usize),
    coder: &Coder,
) -> (Vec<GroupScale>, u32) {
    let kind = weights.kind;
    let stored = |at: usize| {
        let bytes = &weights.bytes[at * kind.bytes()..][..kind.bytes()];
        value(bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u32::from(*byte)), kind)
    };
    let magnitude = (1 << (8 * kind.bytes() - 1)) - 1;
    let mut amax = 0;
    let words = keys.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
    let words: Vec<_> = words.map(|key| pattern(key, kind)).collect();
    let extent = |(group, extent): (usize, &[u32; 2])| {
        let [min, max] = *extent;
        let own_amax = (min & magnitude).max(max & magnitude);
        amax = amax.max(own_amax);
        if coder.scheme.rule.takes_amax {
            return Extent::of_amax(value(own_amax, kind));
        }
        let first = || stored(coder.scheme.scope.first(group, columns));
        Extent::new(value(min, kind), value(max, kind), first)
    };
    let extents: Vec<Extent> = words.as_chunks().0.iter().enumerate().map(extent).collect();
    let mut scales = vec![GroupScale::symmetric(0.0); extents.len()];
    coder.scales(&extents, &mut scales);
    (scales, amax)
}

/// A chunk in pieces of so many rows.
fn chunk_pieces<'a>(
    chunk: GroupedChunk<'a>,
    scope: Scope,
    rows: usize,
) -> impl Iterator<Item = GroupedChunk<'a>> + use<'a> {
    let columns = chunk.columns;
    let mut scales = chunk.scales;
    chunk.codes.chunks(rows * columns).map(move |codes| {
        let own = scope.count(codes.len() / columns, columns);
        let (first, rest) = scales.split_at(own);
        if scope != Scope::Tensor {
            scales = rest;
        }
        GroupedChunk { columns, codes, scales: first }
    })
}

/// Sums of a piece from what the workgroups wrote, or from the CPU where f32 would not do.
fn sums_of(
    partials: &[u8],
    unit: Option<f32>,
    (weights, chunk): (Weights<'_>, GroupedChunk<'_>),
    scheme: &Scheme,
) -> Result<(WeightSums, ErrorSums), BackendError> {
    let merged = unit.and_then(|unit| sums::merge(partials, weights.len(), unit));
    merged.map_or_else(|| Cpu.grouped_errors(weights, chunk, scheme), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_like_weights_and_give_them_back() {
        for kind in [FloatKind::Bf16, FloatKind::F16, FloatKind::F32] {
            let sign: u32 = 1 << (8 * kind.bytes() - 1);
            let one = kind.pattern(1.0);
            // The twin of `key` in `shaders/grouped_extents.wgsl`.
            let key = |p: u32| if p & sign != 0 { !p & (sign | (sign - 1)) } else { p | sign };
            let ascending = [sign | (one + 1), sign | one, sign | 1, sign, 0, 1, one, one + 1];
            assert!(ascending.map(key).is_sorted());
            assert_eq!(ascending.map(|p| pattern(key(p), kind)), ascending);
            assert_eq!(value(sign | one, kind), -1.0);
        }
    }
}
