//! What to change in a recipe so that a finding is settled.

use std::collections::{BTreeMap, HashSet};

use super::edit::Edit;
use super::{Entry, Finding, FindingKind, Plan, check_formats, decide};
use crate::format::{Format, ScaleDtype, ScaleSearch};
use crate::model::Role;
use crate::recipe::{Action, Indivisible, Recipe, TiedOutcome};

/// What experts are called.
const EXPERTS: &str = "*.experts.*";

/// A change of the recipe that settles a finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Fix {
    /// What it does, as the text of a button.
    pub label: String,
    /// The changed recipe.
    pub recipe: Recipe,
}

/// The changes of `recipe`, from which `plan` was made, that settle a finding about it; the recommended
/// one first. None for what no recipe changes. A plan made from one of them has the finding no more, but
/// may have others: a tie that is kept is one, for example.
pub fn fixes(finding: &Finding, recipe: &Recipe, plan: &Plan) -> Vec<Fix> {
    let edit = Edit { plan, unserved: recipe.unserved };
    let named = || edit.named(&finding.tensors);
    let changed = |label: &str, recipe| Some(Fix { label: label.to_owned(), recipe });
    let keep = || changed("Keep them", edit.keep(recipe.clone(), &named()));
    let tied = |tied| Recipe { tied: Some(tied), ..recipe.clone() };

    let found: Vec<Option<Fix>> = match &finding.kind {
        FindingKind::Indivisible { columns, block } => {
            let is_asked = |format: Format| format.block_len() as u64 == *block;
            vec![keep(), smaller_blocks(recipe, plan, *columns, is_asked)]
        }
        FindingKind::Padded { columns, padded } => {
            let is_asked = |format: Format| {
                let block = format.block_len() as u64;
                columns.next_multiple_of(block) == *padded
            };
            let float = keep_with_groups(&edit, recipe, &named(), "Keep them float instead");
            vec![Some(float), smaller_blocks(recipe, plan, *columns, is_asked)]
        }
        FindingKind::PartialTiles => {
            vec![Some(keep_with_groups(&edit, recipe, &named(), "Keep them"))]
        }
        FindingKind::InputsFirst
        | FindingKind::FusedExperts
        | FindingKind::NoPlace
        | FindingKind::OddRows
        | FindingKind::OddBlocks
        | FindingKind::TooWide { .. }
        | FindingKind::Empty
        | FindingKind::NotAnyLayer
        | FindingKind::OtherUse => vec![keep()],
        FindingKind::UnfitColumns { .. }
        | FindingKind::UnfitRows { .. }
        | FindingKind::UntestedRows { .. } => {
            vec![Some(keep_with_groups(&edit, recipe, &named(), "Keep them"))]
        }
        FindingKind::NarrowScales { .. } => {
            let wide = Recipe { scale_dtype: ScaleDtype::F32, ..recipe.clone() };
            vec![changed("Store scales in f32", wide)]
        }
        FindingKind::NoRule => vec![quantize(&edit, recipe, &named()), keep()],
        FindingKind::TiedKept { shared, .. } => {
            let is_table = |entry: &&Entry| entry.member.role == Role::Embedding;
            let label = match named().iter().all(is_table) {
                true => "Untie: quantize the table, keep a float head",
                false => "Untie: let table and head be on their own",
            };
            let share =
                |_| changed("Share: one quantized table for both", tied(TiedOutcome::Share));
            let share = shared.and_then(share);
            let untie = changed(label, tied(TiedOutcome::Untie));
            vec![share, untie, Some(leave(&edit, recipe, &named()))]
        }
        FindingKind::HeadDiffers => {
            vec![changed("Keep embedding and head float", tied(TiedOutcome::Keep))]
        }
        FindingKind::RuleMatchesNothing { rule } => {
            vec![changed("Remove it", recipe.without(rule))]
        }
        FindingKind::PartlyQuantized => {
            one_format(&edit, recipe, &named(), "Quantize them too").into()
        }
        FindingKind::MixedFormats => {
            one_format(&edit, recipe, &named(), "Give them one format").into()
        }
        FindingKind::ExpertsUnread => {
            let mut float = recipe.clone();
            float.exclude.push(EXPERTS.to_owned());
            vec![changed("Keep the experts float", float)]
        }
        FindingKind::SplitUnread => {
            let mut fused = recipe.clone();
            fused.exclude.push(EXPERTS.to_owned());
            vec![changed("Keep the experts fused", fused)]
        }
        FindingKind::SearchLost => {
            let simple = Recipe { scale_search: ScaleSearch::Max, ..recipe.clone() };
            vec![changed("Take scales from the largest magnitude", simple)]
        }
        FindingKind::TieUnknown { .. }
        | FindingKind::ExpertCount { .. }
        | FindingKind::NoConfig
        | FindingKind::Unlisted
        | FindingKind::IgnoredFiles { .. }
        | FindingKind::NotFinite => Vec::new(),
    };
    let usable = |fix: Fix| Some(Fix { recipe: usable(fix.recipe, plan)?, ..fix });
    let fixes = found.into_iter().flatten().filter_map(usable);
    fixes.filter(|fix| fix.recipe != *recipe).collect()
}

/// A recipe without a search that none of its formats has any more; `None` if its formats cannot be had.
fn usable(mut recipe: Recipe, plan: &Plan) -> Option<Recipe> {
    if check_formats(&recipe, plan.dialect).is_err() {
        recipe.scale_search = ScaleSearch::Max;
    }
    check_formats(&recipe, plan.dialect).is_ok().then_some(recipe)
}

/// Smaller blocks, if every format that rows of this length do not fit has one that they do.
fn smaller_blocks(
    recipe: &Recipe,
    plan: &Plan,
    columns: u64,
    is_asked: impl Fn(Format) -> bool,
) -> Option<Fix> {
    let misfit = |format: &Format| !columns.is_multiple_of(format.block_len() as u64);
    let asked = || recipe.formats().filter(misfit).filter(|format| is_asked(*format));
    let fits = |format: Format| !misfit(&format) && plan.dialect.packing(format).is_some();
    let has_smaller = |format: Format| decide::instead(format, Indivisible::Smaller).any(fits);
    let settles = asked().next().is_some() && asked().all(has_smaller);
    (settles && recipe.indivisible != Indivisible::Smaller).then(|| Fix {
        label: "Use smaller blocks where they fit".to_owned(),
        recipe: Recipe { indivisible: Indivisible::Smaller, ..recipe.clone() },
    })
}

/// Keeps quantized layers, and those that runtimes fuse with them: one without the others would be
/// refused.
fn keep_with_groups(edit: &Edit<'_>, recipe: &Recipe, named: &[&Entry], label: &str) -> Fix {
    let mut all = named.to_vec();
    all.extend(edit.groups_of(named).into_iter().flatten());
    all.sort_by_key(|entry| &entry.member.tensor.name);
    all.dedup_by_key(|entry| &entry.member.tensor.name);
    let label = match all.len() > named.len() {
        true => format!("{label}, and what is fused with them"),
        false => label.to_owned(),
    };
    Fix { label, recipe: edit.keep(recipe.clone(), &all) }
}

/// Quantizes what can be and keeps the rest; `None` if nothing can be.
fn quantize(edit: &Edit<'_>, recipe: &Recipe, named: &[&Entry]) -> Option<Fix> {
    let format = recipe.format?;
    let (can, rest): (Vec<&Entry>, Vec<&Entry>) =
        named.iter().partition(|entry| edit.can_have(entry, format));
    let label = match (&can[..], &rest[..]) {
        ([], _) => return None,
        (_, []) => "Quantize them",
        _ => "Quantize those that can be, keep the others",
    };
    let quantized = edit.quantize(recipe.clone(), &can, format);
    Some(Fix { label: label.to_owned(), recipe: edit.keep(quantized, &rest) })
}

/// Takes back the wish to quantize a tied table, where embeddings in general were wished for; else
/// keeps the tensors.
fn leave(edit: &Edit<'_>, recipe: &Recipe, named: &[&Entry]) -> Fix {
    let without = Recipe { quantize_embeddings: false, ..recipe.clone() };
    let stay = without.rule_set().is_ok_and(|rules| {
        let is_asked = |entry: &&Entry| {
            let decided = rules.decide([&entry.member.tensor.name; 2], entry.member.role);
            decided.is_some_and(|(_, rule)| rule.rule.action != Action::Keep)
        };
        !named.iter().any(is_asked)
    });
    match stay && recipe.quantize_embeddings {
        true => Fix { label: "Leave embeddings float".to_owned(), recipe: without },
        false => {
            let recipe = edit.keep(recipe.clone(), named);
            Fix { label: "Leave them float".to_owned(), recipe }
        }
    }
}

/// One format for each group of layers that runtimes fuse, the first of a group's own that all of it can
/// have; or none for all of these groups.
fn one_format(edit: &Edit<'_>, recipe: &Recipe, named: &[&Entry], label: &str) -> [Option<Fix>; 2] {
    let groups = edit.groups_of(named);
    let format_of = |group: &Vec<&Entry>| {
        let mut seen = HashSet::new();
        let formats = group.iter().filter_map(|entry| entry.format());
        formats
            .filter(|format| seen.insert(*format))
            .find(|format| group.iter().all(|entry| edit.can_have(entry, *format)))
    };
    let formats: Option<Vec<Format>> = groups.iter().map(format_of).collect();
    let whole = formats.map(|formats| {
        let mut wanted: BTreeMap<Format, Vec<&Entry>> = BTreeMap::new();
        for (format, group) in formats.into_iter().zip(&groups) {
            let others = group.iter().filter(|entry| entry.format() != Some(format));
            wanted.entry(format).or_default().extend(others);
        }
        let apply =
            |recipe, (format, entries): (_, Vec<&Entry>)| edit.quantize(recipe, &entries, format);
        let recipe = wanted.into_iter().fold(recipe.clone(), apply);
        Fix { label: label.to_owned(), recipe }
    });
    let all: Vec<&Entry> = groups.into_iter().flatten().collect();
    let kept = edit.keep(recipe.clone(), &all);
    [whole, Some(Fix { label: "Keep their whole groups".to_owned(), recipe: kept })]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::model::{Model, ties::Tie};
    use crate::plan::Sharding;
    use crate::plan::tests::{LLAMA, MIXTURE, Synthetic};
    use crate::recipe::Rule;

    fn recipe(format: &str, export: Dialect) -> Recipe {
        let format = Some(format.parse().unwrap());
        Recipe { format, export: Some(export), ..Default::default() }
    }

    fn nvfp4() -> Recipe {
        recipe("nvfp4", Dialect::Modelopt)
    }

    fn owned(patterns: &[&str]) -> Vec<String> {
        patterns.iter().map(|&pattern| pattern.to_owned()).collect()
    }

    fn with(config: &str, more: &[(&str, &[u64])]) -> Synthetic {
        let mut tensors = Synthetic::layers(2);
        tensors.retain(|(name, _)| !more.iter().any(|(other, _)| name == other));
        tensors.extend(more.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())));
        Synthetic::new(config, &tensors)
    }

    /// The labels of the fixes for the finding whose text has `part`, each of which settles it without
    /// another finding.
    fn settle(model: &Synthetic, recipe: &Recipe, part: &str) -> Vec<String> {
        let plan = model.plan(recipe);
        let is_meant = |finding: &&Finding| finding.kind.to_string().contains(part);
        let Some(finding) = plan.findings.iter().find(is_meant) else {
            panic!("no {part:?} in {:?}", plan.findings)
        };
        let before: Vec<&FindingKind> = plan.findings.iter().map(|other| &other.kind).collect();
        let fixes = fixes(finding, recipe, &plan);
        for fix in &fixes {
            let after = model.plan(&fix.recipe).findings;
            for other in &after {
                assert_ne!(other.kind, finding.kind, "{fix:#?}");
                assert!(before.contains(&&other.kind), "{fix:#?} leads to {other:?}");
            }
        }
        fixes.into_iter().map(|fix| fix.label).collect()
    }

    const SMALLER: &str = "Use smaller blocks where they fit";
    const GROUPS: &str = "Keep their whole groups";

    #[test]
    fn rows_that_do_not_divide() {
        let odd = with(LLAMA, &[("model.layers.0.mlp.down_proj.weight", &[64, 100])]);
        assert_eq!(settle(&odd, &nvfp4(), "no multiple of the block"), ["Keep them"]);
        let pad = Recipe { indivisible: Indivisible::Pad, ..nvfp4() };
        assert_eq!(settle(&odd, &pad, "with zeros"), ["Keep them float instead"]);

        let plain = Synthetic::new(LLAMA, &Synthetic::layers(2));
        let grouped = recipe("int4-g128", Dialect::CompressedTensors);
        assert_eq!(settle(&plain, &grouped, "no multiple"), ["Keep them", SMALLER]);
        let pad = Recipe { indivisible: Indivisible::Pad, ..grouped };
        assert_eq!(settle(&plain, &pad, "with zeros"), ["Keep them float instead", SMALLER]);
        // ModelOpt has no other block.
        let grouped = recipe("int4-g128", Dialect::Modelopt);
        assert_eq!(settle(&plain, &grouped, "no multiple"), ["Keep them"]);
        let smaller = Recipe { indivisible: Indivisible::Smaller, ..grouped };
        assert_eq!(settle(&plain, &smaller, "no multiple"), ["Keep them"]);

        let mut experts = Synthetic::experts();
        experts.iter_mut().filter(|(name, _)| name.ends_with("s.down_proj")).for_each(|tensor| {
            tensor.1 = vec![2, 64, 100];
        });
        let experts = Synthetic::new(MIXTURE, &experts);
        let pad = Recipe { indivisible: Indivisible::Pad, ..nvfp4() };
        assert_eq!(
            settle(&experts, &pad, "with zeros"),
            ["Keep them float instead, and what is fused with them"]
        );
        assert_eq!(settle(&experts, &nvfp4(), "no multiple"), ["Keep them"]);
        assert_eq!(settle(&experts, &nvfp4(), "while layers"), [GROUPS]);
    }

    #[test]
    fn tensors_that_cannot_be_quantized() {
        let include =
            |pattern: &str, recipe: Recipe| Recipe { include: owned(&[pattern]), ..recipe };
        let bare = with(LLAMA, &[("model.layers.0.table", &[64, 64])]);
        assert_eq!(settle(&bare, &include("*.table", nvfp4()), "a rule asks"), ["Keep them"]);
        let empty = with(LLAMA, &[("model.layers.0.mlp.down_proj.weight", &[0, 64])]);
        assert_eq!(settle(&empty, &nvfp4(), "no elements"), ["Keep them"]);
        let odd = with(LLAMA, &[("model.layers.0.mlp.down_proj.weight", &[63, 128])]);
        let pairs = recipe("int4-g128", Dialect::Modelopt);
        assert_eq!(settle(&odd, &pairs, "odd number of rows"), ["Keep them"]);
        let wide = with(LLAMA, &[("model.layers.0.mlp.down_proj.weight", &[2, 1 << 26])]);
        assert_eq!(settle(&wide, &nvfp4(), "too long"), ["Keep them"]);
        let gpt2 = r#"{"model_type":"gpt2","n_embd":64}"#;
        let transposed = with(gpt2, &[("h.0.attn.c_attn.weight", &[64, 192])]);
        let asked = include("*.c_attn", nvfp4());
        assert_eq!(settle(&transposed, &asked, "stored as [inputs"), ["Keep them"]);
        let unknown = Synthetic::new(r#"{"model_type":"mixture"}"#, &Synthetic::experts());
        assert_eq!(settle(&unknown, &nvfp4(), "layout that is not known"), ["Keep them"]);
        let first = [
            ("model.layers.0.mlp.experts.gate_up_proj", &[2, 64, 192][..]),
            ("model.layers.0.mlp.experts.down_proj", &[2, 96, 64][..]),
        ];
        let fp8 = recipe("fp8-channel", Dialect::Modelopt);
        assert_eq!(settle(&with(MIXTURE, &first), &fp8, "has no place"), ["Keep them"]);
        let oss = r#"{"model_type":"gpt_oss","hidden_size":64,"num_local_experts":2}"#;
        let split = recipe("nvfp4", Dialect::CompressedTensors);
        let labels = settle(&with(oss, &first), &split, "experts of gpt-oss");
        assert_eq!(labels, ["Keep the experts fused"]);
        let plain = Synthetic::new(LLAMA, &Synthetic::layers(2));
        let tiles = recipe("fp8-block", Dialect::Modelopt);
        assert_eq!(settle(&plain, &tiles, "part of a tile"), ["Keep them"]);
        let half = with(
            LLAMA,
            &[
                ("model.layers.0.self_attn.q_proj.weight", &[128, 128]),
                ("model.layers.0.self_attn.v_proj.weight", &[128, 128]),
                ("model.layers.0.self_attn.k_proj.weight", &[32, 128]),
            ],
        );
        let labels = settle(&half, &tiles, "part of a tile");
        assert_eq!(labels, ["Keep them, and what is fused with them"]);
    }

    #[test]
    fn tensors_without_a_rule() {
        let both = with(
            LLAMA,
            &[
                ("model.layers.0.extra.weight", &[64, 64]),
                ("model.layers.1.extra.weight", &[64, 64]),
            ],
        );
        assert_eq!(settle(&both, &nvfp4(), "no rule"), ["Quantize them", "Keep them"]);
        let plan = both.plan(&nvfp4());
        let finding = plan.findings.iter().find(|f| f.kind == FindingKind::NoRule).unwrap();
        let first = &fixes(finding, &nvfp4(), &plan)[0];
        assert_eq!(first.recipe.include, ["model.layers.*.extra.weight"]);
        let one = with(
            LLAMA,
            &[
                ("model.layers.0.extra.weight", &[64, 64]),
                ("model.layers.1.extra.weight", &[64, 63]),
            ],
        );
        let some = ["Quantize those that can be, keep the others", "Keep them"];
        assert_eq!(settle(&one, &nvfp4(), "no rule"), some);
        let none = with(LLAMA, &[("model.layers.1.extra.table", &[64, 64])]);
        assert_eq!(settle(&none, &nvfp4(), "no rule"), ["Keep them"]);
    }

    #[test]
    fn ties() {
        let untie = "Untie: quantize the table, keep a float head";
        let tied = Synthetic::new(LLAMA, &Synthetic::layers(1));
        let asked = Recipe { quantize_embeddings: true, ..nvfp4() };
        assert_eq!(settle(&tied, &asked, "are one matrix"), [untie, "Leave embeddings float"]);
        let asked = Recipe { include: owned(&["*embed*"]), ..asked };
        assert_eq!(settle(&tied, &asked, "are one matrix"), [untie, "Leave them float"]);

        let config = r#"{"model_type":"llama","hidden_size":64,"tie_word_embeddings":true}"#;
        let stored = with(config, &[("lm_head.weight", &[128, 64])]);
        let asked = Recipe { include: owned(&["lm_head"]), ..nvfp4() };
        let labels = settle(&stored, &asked, "are one matrix");
        assert_eq!(labels, ["Untie: let table and head be on their own", "Leave them float"]);

        let untied =
            Recipe { quantize_embeddings: true, tied: Some(TiedOutcome::Untie), ..nvfp4() };
        let mut model = Model::new(&stored.checkpoint, Dialect::Modelopt.fused_experts());
        let Tie::HeadStored { differs, .. } = &mut model.tie else { panic!("{:?}", model.tie) };
        *differs = true;
        let plan =
            |recipe| Plan::new(&model, recipe, Dialect::Modelopt, Sharding::AsSource).unwrap();
        let before = plan(&untied);
        let differs = |finding: &&Finding| finding.kind == FindingKind::HeadDiffers;
        let finding = before.findings.iter().find(differs).unwrap();
        let [fix] = &fixes(finding, &untied, &before)[..] else { panic!("one fix") };
        assert_eq!(plan(&fix.recipe).findings.iter().find(differs), None);
    }

    #[test]
    fn layers_that_are_fused() {
        let plain = Synthetic::new(LLAMA, &Synthetic::layers(3));
        let both = ["Quantize them too", GROUPS];
        for exclude in ["*.k_proj", "*.layers.1.*q_proj", "*.self_attn.k_proj.weight", "*.mlp.up*"]
        {
            let torn = Recipe { exclude: owned(&[exclude]), ..nvfp4() };
            assert_eq!(settle(&plain, &torn, "while layers"), both, "{exclude}");
        }
        // What else an excluding glob matches stays.
        let torn = Recipe { exclude: owned(&["*[ko]_proj"]), ..nvfp4() };
        let plan = plain.plan(&torn);
        let partly = |finding: &&Finding| finding.kind == FindingKind::PartlyQuantized;
        let fix = &fixes(plan.findings.iter().find(partly).unwrap(), &torn, &plan)[0];
        assert_eq!(fix.recipe.exclude, ["model.layers.*.self_attn.o_proj.weight"]);
        assert_eq!(fix.recipe.include, ["model.layers.*.self_attn.k_proj.weight"]);

        let rule = |pattern: &str, action| Rule::about(pattern.to_owned(), action);
        let fp8 = Action::Format(Format::Fp8Channel);
        let several = Recipe {
            rules: vec![rule("*self_attn*", fp8), rule("*.layers.1.*k_proj", Action::Keep)],
            include: owned(&["*.layers.2.*q_proj"]),
            ..nvfp4()
        };
        assert_eq!(settle(&plain, &several, "while layers"), both);
        let labels = settle(&plain, &several, "in another format");
        assert_eq!(labels, ["Give them one format", GROUPS]);
        let odd = with(LLAMA, &[("model.layers.0.self_attn.k_proj.weight", &[32, 60])]);
        assert_eq!(settle(&odd, &nvfp4(), "while layers"), [GROUPS]);

        let experts = Synthetic::new(MIXTURE, &Synthetic::experts());
        let torn = Recipe { exclude: owned(&["*.experts.gate_up_proj"]), ..nvfp4() };
        assert_eq!(settle(&experts, &torn, "while layers"), both);
        let torn = Recipe { exclude: owned(&["*.experts.1.*"]), ..nvfp4() };
        assert_eq!(settle(&experts, &torn, "while layers"), both);
        let mixed = Recipe { rules: vec![rule("*.experts.1.*", fp8)], ..nvfp4() };
        let labels = settle(&experts, &mixed, "in another format");
        assert_eq!(labels, ["Give them one format", GROUPS]);
    }

    #[test]
    fn rules_without_effect_and_searches_in_vain() {
        let plain = Synthetic::new(LLAMA, &Synthetic::layers(1));
        let fp8 = Recipe {
            scale_search: ScaleSearch::Mse,
            rules: vec![Rule::about("nowhere".to_owned(), Action::Format(Format::Nvfp4))],
            include: owned(&["nothing"]),
            exclude: owned(&["none"]),
            ..recipe("fp8-channel", Dialect::Modelopt)
        };
        for part in ["rule 1", "include", "exclude"] {
            assert_eq!(settle(&plain, &fp8, part), ["Remove it"]);
        }
        let head = Synthetic::new(LLAMA, &[("model.norm.weight", vec![64])]);
        let asked = Recipe { quantize_embeddings: true, ..nvfp4() };
        assert_eq!(settle(&head, &asked, "quantize embeddings"), ["Remove it"]);

        let search = Recipe { scale_search: ScaleSearch::Mse, ..nvfp4() };
        let lost = Finding::general(FindingKind::SearchLost);
        let found = fixes(&lost, &search, &plain.plan(&search));
        assert_eq!(found[0].recipe, nvfp4());
        assert_eq!(
            fixes(&Finding::general(FindingKind::NoConfig), &search, &plain.plan(&search)),
            []
        );
    }
}
