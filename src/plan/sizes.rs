//! What the bytes of a checkpoint are spent on.

use serde::Serialize;

use super::{Decision, Entry, Plan};
use crate::dialect::{Output, Part};
use crate::model::Role;

/// Bytes of weight files by what they hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// Layers that are quantized, embeddings and heads aside: floats before; codes, and the shapes
    /// stored with them, after.
    pub weights: u64,
    /// Scales and zero points of these layers; none before.
    pub scales: u64,
    /// Embeddings and heads, in any format, with their scales and copies.
    pub embeddings: u64,
    /// All other tensors.
    pub kept: u64,
    /// Headers of files.
    pub headers: u64,
}

impl Sizes {
    /// All of them: bytes of the files.
    pub const fn total(&self) -> u64 {
        self.weights + self.scales + self.embeddings + self.kept + self.headers
    }

    /// The place that bytes of an entry are counted in, as themselves or as a part stored for it.
    const fn place(&mut self, entry: &Entry, part: Part) -> &mut u64 {
        match (entry.member.role, part) {
            (Role::Embedding | Role::Head, _) => &mut self.embeddings,
            (_, Part::Verbatim) => &mut self.kept,
            (_, Part::Codes | Part::Shape) => &mut self.weights,
            (_, _) => &mut self.scales,
        }
    }
}

impl Plan {
    /// What [`Plan::bytes_before`] are spent on, in a plan that [`Plan::new`] made.
    pub fn sizes_before(&self) -> Sizes {
        let mut sizes = Sizes::default();
        // A layer of a quantized model that reads the codes of another one was the same floats.
        let is_another = |entry: &&Entry| {
            matches!(entry.decision, Decision::Stored(_)) && entry.outputs.is_empty()
        };
        for entry in self.entries.iter().filter(|entry| !is_another(entry)) {
            let part = if entry.format().is_some() { Part::Codes } else { Part::Verbatim };
            *sizes.place(entry, part) += entry.member.tensor.bytes;
        }
        Sizes { headers: self.bytes_before.saturating_sub(sizes.total()), ..sizes }
    }

    /// What [`Plan::bytes_after`] are spent on.
    pub fn sizes_after(&self) -> Sizes {
        let mut sizes = Sizes::default();
        for entry in &self.entries {
            for output in &entry.outputs {
                *sizes.place(entry, output.part) += Output::bytes(output);
            }
        }
        Sizes { headers: self.bytes_after.saturating_sub(sizes.total()), ..sizes }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::dialect::Dialect;
    use crate::format::Format;
    use crate::model::Model;
    use crate::plan::Sharding;
    use crate::plan::tests::{LLAMA, MIXTURE, Synthetic};
    use crate::recipe::{Recipe, TiedOutcome};

    /// Sizes before and after, which are all bytes there are.
    fn sizes(checkpoint: &Checkpoint, recipe: &Recipe, sharding: Sharding) -> (Sizes, Sizes) {
        let dialect = recipe.export.unwrap_or(Dialect::Modelopt);
        let model = Model::new(checkpoint, dialect.fused_experts());
        let plan = Plan::new(&model, recipe, dialect, sharding).unwrap();
        let (before, after) = (plan.sizes_before(), plan.sizes_after());
        assert_eq!((before.total(), after.total()), (plan.bytes_before, plan.bytes_after));
        let data: u64 = checkpoint.tensors.iter().map(|tensor| tensor.bytes).sum();
        assert_eq!(before.headers, checkpoint.file_bytes() - data);
        (before, after)
    }

    fn recipe(format: &str, export: Dialect, tied: TiedOutcome) -> Recipe {
        Recipe {
            format: Some(format.parse().unwrap()),
            export: Some(export),
            quantize_embeddings: true,
            tied: Some(tied),
            ..Default::default()
        }
    }

    #[test]
    fn all_bytes_of_the_demo_are_counted_once() {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo");
        let checkpoint = Checkpoint::open(&demo).unwrap();
        let kept = recipe("nvfp4", Dialect::Modelopt, TiedOutcome::Keep);
        let (before, after) = sizes(&checkpoint, &kept, Sharding::AsSource);
        assert_eq!((before.scales, before.embeddings), (0, 512 * 64 * 2));
        assert_eq!((before.kept, before.embeddings), (after.kept, after.embeddings));
        // Codes are a quarter of bf16, and a byte of scale goes with 16 weights and 4 with a tensor.
        assert_eq!(after.weights, before.weights / 4);
        assert_eq!(after.scales, before.weights / 32 + 4 * 4 * 7);

        let untied = recipe("nvfp4", Dialect::Modelopt, TiedOutcome::Untie);
        let (_, after) = sizes(&checkpoint, &untied, Sharding::AtMost(100_000));
        assert_eq!(after.embeddings, 512 * 64 * 2 + 512 * 64 / 2 + 512 * 64 / 16 + 4);
    }

    #[test]
    fn all_bytes_are_counted_once_in_every_kind_of_model() {
        let mut untied = Synthetic::layers(2);
        untied.push(("lm_head.weight".to_owned(), vec![128, 64]));
        let models = [
            Synthetic::new(LLAMA, &Synthetic::layers(2)),
            Synthetic::new(LLAMA, &untied),
            Synthetic::new(MIXTURE, &Synthetic::experts()),
        ];
        for model in &models {
            for (format, export) in [
                ("nvfp4", Dialect::Modelopt),
                ("fp8-channel", Dialect::Modelopt),
                ("nvfp4", Dialect::CompressedTensors),
                ("int4-asym-g32", Dialect::CompressedTensors),
            ] {
                for tied in [TiedOutcome::Keep, TiedOutcome::Untie] {
                    for sharding in [Sharding::AsSource, Sharding::AtMost(20_000)] {
                        let recipe = recipe(format, export, tied);
                        let (before, after) = sizes(&model.checkpoint, &recipe, sharding);
                        assert!(after.scales > 0 && after.weights < before.weights);
                    }
                }
            }
        }
        let none = Recipe { format: None::<Format>, ..Default::default() };
        let (before, after) = sizes(&models[0].checkpoint, &none, Sharding::AsSource);
        assert_eq!((before.weights, after.weights, after.scales), (0, 0, 0));
    }
}
