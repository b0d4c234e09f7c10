//! The jobs of a run that quantize.

use super::EngineError;
use super::group::{Encoder, Nvfp4Encoder};
use super::run::{Shared, Work};
use super::schedule::Job;
use super::transpose::codes_to_rows;
use crate::backend::{Grouped, Quantized, Weights};
use crate::checkpoint::Dtype;
use crate::dialect::{Part, ZeroPoints};
use crate::format::nvfp4::BLOCK_LEN;
use crate::format::packing::{pack_zero_points, pack_zero_points_in_rows};
use crate::format::q4gsw::scale_place;
use crate::format::{Coder, GroupScale, ScaleSearch, Scheme, Scope};
use crate::numeric::FloatKind;
use crate::stats::{QuantizedStats, ScaleHealth, TensorStats};

impl Shared<'_> {
    pub(super) fn not_finite(&self, job: &Job, weights: Weights<'_>) -> EngineError {
        let tensor = self.tensor(job);
        let values = (0..weights.len()).map(|number| weights.get(number));
        let first = values.enumerate().find(|(_, value)| !value.is_finite());
        let (at, value) = first.unwrap_or((0, f32::NAN));
        let (columns, stored) = (self.columns(job), self.stored_columns(job));
        let is_padded = weights.len() as u64 > job.range.end - job.range.start;
        let at = if is_padded { at / stored * columns + at % stored } else { at };
        let mut index = job.range.start + at as u64;
        let mut position: Vec<u64> = Vec::new();
        for &length in tensor.shape.iter().rev() {
            position.insert(0, index % length);
            index /= length;
        }
        let value = match tensor.dtype {
            Dtype::F64 => format!("{value} (as f32)"),
            _ => value.to_string(),
        };
        EngineError::NotFinite { tensor: tensor.name.clone(), value, position }
    }

    /// Quantizes weights and writes the results. Gives measurements; `None` if the scale of their group
    /// never comes.
    pub(super) fn quantize(
        &self,
        job: &Work<'_>,
        weights: Weights<'_>,
    ) -> Result<Option<TensorStats>, EngineError> {
        let encoder = self.group_of(job).encoder(weights.kind);
        let mut stats = match encoder {
            Some(Encoder::Nvfp4(encoder)) => self.quantize_nvfp4(job, weights, &encoder)?,
            Some(Encoder::Grouped(coder)) => self.quantize_grouped(job, weights, &coder)?,
            None => return Ok(None),
        };
        let padding = weights.len() as u64 - (job.range.end - job.range.start);
        stats.weights.remove_zeros(padding);
        Ok(Some(stats))
    }

    fn quantize_nvfp4(
        &self,
        job: &Work<'_>,
        weights: Weights<'_>,
        Nvfp4Encoder { tables, unsearched }: &Nvfp4Encoder,
    ) -> Result<TensorStats, EngineError> {
        let backend = self.run.resources.backend;
        let Quantized { codes, scales, weights: sums, errors } =
            backend.nvfp4_quantize(weights, tables)?;
        let unsearched = unsearched.as_ref().map(|tables| backend.nvfp4_quantize(weights, tables));
        let unsearched = unsearched.transpose()?.map(|quantized| quantized.errors);
        let codes = match self.columns_of_blocks(job) {
            Some(columns) => codes_to_rows(&codes, columns),
            None => codes,
        };
        let first = self.stored_place(job);
        let block = first / BLOCK_LEN as u64;
        let global_scale = tables.scaling.global_scale;
        self.write(job, Part::Codes, block * 8, &codes)?;
        self.write(job, Part::Scales, block, &scales)?;
        if job.chunk == 0 {
            self.write(job, Part::GlobalScale, 0, &global_scale.to_le_bytes())?;
        }
        let quantized = QuantizedStats {
            global_scale: Some(global_scale),
            scales: ScaleHealth::of(&scales),
            signal_squares: sums.sum_squares,
            errors,
            unsearched,
        };
        // The amax is known from the first reading.
        Ok(TensorStats { weights: sums, quantized: Some(quantized), ..Default::default() })
    }

    fn quantize_grouped(
        &self,
        job: &Work<'_>,
        weights: Weights<'_>,
        coder: &Coder,
    ) -> Result<TensorStats, EngineError> {
        let (entry, scheme) = (self.entry(job), &coder.scheme);
        let backend = self.run.resources.backend;
        let columns = self.stored_columns(job);
        let Grouped { codes, scales, amax, weights: sums, errors } =
            backend.grouped_quantize(weights, columns, coder)?;
        let arithmetic = self.run.plan.dialect.arithmetic();
        let unsearched = match entry.format().and_then(|format| format.scheme(arithmetic)) {
            Some(usual) if scheme.search != ScaleSearch::Max => {
                let scheme = Scheme { search: ScaleSearch::Max, rule: usual.rule, ..*scheme };
                let plain = Coder { scheme, ..*coder };
                Some(backend.grouped_quantize(weights, columns, &plain)?.errors)
            }
            _ => None,
        };
        let amax = weights.kind.widen(amax);
        if !amax.is_finite() {
            return Err(self.not_finite(job, weights));
        }

        let row = self.stored_place(job) as usize / columns;
        let packing = self.run.plan.packing(entry);
        let (at, packed) = (packing.bytes(row, columns), packing.pack(codes, columns));
        self.write(job, Part::Codes, at as u64, &packed)?;

        let across = scheme.scope.across(columns);
        let first = scheme.scope.index(row, 0, columns);
        if scheme.scope != Scope::Tensor || job.chunk == 0 {
            let at = first * scheme.store.bytes(weights.kind);
            self.write(job, Part::Scales, at as u64, &scheme.store.encode(&scales, weights.kind))?;
        }
        self.write_by_group(job, row, &scales, (scheme, weights.kind))?;
        let bits = scheme.element.bits();
        let zero_points = match self.run.plan.dialect.zero_points() {
            ZeroPoints::Rows => Some((
                row * (across * usize::from(bits)).div_ceil(8),
                pack_zero_points_in_rows(&scales, across, bits),
            )),
            ZeroPoints::Columns => scheme.zero_points.then(|| {
                let at = row * usize::from(bits) / 32 * across * 4;
                (at, pack_zero_points(&scales, across, bits))
            }),
            ZeroPoints::Bytes => {
                let bytes = scales.iter().map(|group| group.zero_point.cast_unsigned());
                Some((row * across, bytes.collect()))
            }
        };
        if let Some((at, packed)) = zero_points {
            self.write(job, Part::ZeroPoints, at as u64, &packed)?;
        }
        if job.chunk == 0 {
            let rows = entry.member.tensor.shape[0];
            let shape = [rows, columns as u64].map(u64::to_le_bytes);
            self.write(job, Part::Shape, 0, shape.as_flattened())?;
        }
        let (min_normal, largest) = scheme.store.range(weights.kind);
        let values = scales.iter().map(|group| scheme.magnitude(*group));
        let health = ScaleHealth::of_values(values, min_normal, largest);
        let quantized = QuantizedStats {
            global_scale: coder.tensor_scale.map(|group| group.scale),
            // A scale of the whole tensor is counted once.
            scales: if scheme.scope == Scope::Tensor && job.chunk > 0 {
                ScaleHealth::default()
            } else {
                health
            },
            signal_squares: sums.sum_squares,
            errors,
            unsearched,
        };
        Ok(TensorStats { amax, weights: sums, quantized: Some(quantized), ..Default::default() })
    }

    /// Writes scales of rows from `row` on where those of one group follow one another.
    fn write_by_group(
        &self,
        job: &Work<'_>,
        row: usize,
        scales: &[GroupScale],
        (scheme, kind): (&Scheme, FloatKind),
    ) -> Result<(), EngineError> {
        let entry = self.entry(job);
        if !entry.outputs.iter().any(|output| output.part == Part::ScalesByGroup) {
            return Ok(());
        }
        let rows = entry.member.tensor.shape[0] as usize;
        let across = scheme.scope.across(self.stored_columns(job));
        for group in 0..across {
            let own: Vec<GroupScale> = scales.iter().skip(group).step_by(across).copied().collect();
            let at = scale_place(group, row, rows) * scheme.store.bytes(kind);
            self.write(job, Part::ScalesByGroup, at as u64, &scheme.store.encode(&own, kind))?;
        }
        Ok(())
    }

    /// The place that the first weight of a job has among those that are stored.
    fn stored_place(&self, job: &Job) -> u64 {
        let (columns, stored) = (self.columns(job) as u64, self.stored_columns(job) as u64);
        if columns == stored { job.range.start } else { job.range.start / columns * stored }
    }
}
