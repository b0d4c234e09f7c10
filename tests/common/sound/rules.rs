//! What holds for every recipe, glob and filter.

use std::sync::LazyLock;

use quantscope::checkpoint::Checkpoint;
use quantscope::dialect::Dialect;
use quantscope::model::Role;
use quantscope::recipe::{Action, Recipe, Rule, patterns};
use quantscope::report::{Filter, Row, rows};
use tempfile::TempDir;

use super::case::{Case, folder};
use super::plans::planned;

/// Tensors of a dense layer, of experts of each kind, and of what is seldom quantized.
const MODEL: &str = r#"{"model_type":"llama","hidden_size":32,"tie_word_embeddings":true,"num_hidden_layers":2}
---

---
model.embed_tokens.weight BF16 8 32
model.layers.0.self_attn.q_proj.weight BF16 32 32
model.layers.0.self_attn.k_proj.weight F16 16 32
model.layers.0.mlp.up_proj.weight BF16 64 32
model.layers.0.mlp.down_proj.weight F32 32 64
model.layers.1.mlp.experts.0.up_proj.weight BF16 16 32
model.layers.1.mlp.experts.1.up_proj.weight BF16 16 32
model.layers.1.mlp.experts.gate_up_proj BF16 2 32 64
model.layers.1.mlp.experts.down_proj BF16 2 32 32
model.layers.1.mlp.experts.fc1.weight3 BF16 16 24
model.layers.1.input_layernorm.weight F32 32
visual.patch_embed.proj.weight BF16 8 3 2 2
table I64 3
"#;

static FIXED: LazyLock<(TempDir, Checkpoint)> = LazyLock::new(|| {
    let folder = folder();
    let source = Case::read(MODEL.as_bytes()).expect("a case").write(folder.path());
    let checkpoint = Checkpoint::open(&source).expect("a checkpoint");
    (folder, checkpoint)
});

/// A recipe.
pub fn any_recipe(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(recipe) = toml::from_str::<Recipe>(text) else { return };
    let written = toml::to_string(&recipe).expect("a recipe can be written");
    let read: Recipe = toml::from_str(&written).expect("what is written is read");
    assert_eq!(read, recipe, "{written}");
    let Ok(rules) = recipe.rule_set() else { return };
    for tensor in &FIXED.1.tensors {
        let decided = rules.decide([&tensor.name, &tensor.name], Role::Other);
        let all = rules.matching([&tensor.name, &tensor.name], Role::Other);
        assert_eq!(decided.map(|(number, _)| number), all.last().copied());
    }
    for dialect in Dialect::ALL {
        planned(&FIXED.1, &recipe, dialect);
    }
}

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let plan = planned(&FIXED.1, &Recipe::default(), Dialect::Modelopt).expect("a plan");
    rows(&plan, &[])
});

/// Lines: the first is a filter and a glob; the others are names, of which those that begin with `+` are
/// to be matched by globs that match no other.
pub fn any_patterns(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (first, names) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(filter) = first.parse::<Filter>() {
        let again: Filter = filter.to_string().parse().expect("a filter is what it says");
        // NaN is not equal to itself.
        assert_eq!(again.to_string(), filter.to_string());
        assert!(ROWS.iter().all(|row| filter.matches(row) == again.matches(row)));
        let all = ROWS.iter().all(|row| filter.matches(row));
        assert!(all || !filter.is_empty(), "no term, and not all rows");
    }
    let names: Vec<&str> = names.lines().take(32).collect();
    let matched = |pattern: &str, name: &str| {
        let rules = vec![Rule::about(pattern.to_owned(), Action::Keep)];
        let recipe = Recipe { rules, preset: None, ..Recipe::default() };
        let rules = recipe.rule_set().ok()?;
        let last = rules.iter().count() - 1;
        Some(rules.matching([name, name], Role::Other).contains(&last))
    };
    for name in &names {
        let _ = matched(first, name);
    }
    let (selected, others): (Vec<&str>, Vec<&str>) =
        names.iter().partition(|name| name.starts_with('+'));
    let selected: Vec<&str> = selected.iter().map(|name| &name[1..]).collect();
    // Of a name that is on both sides nothing can be asked.
    if others.iter().any(|other| selected.contains(other)) {
        return;
    }
    let found = patterns(&selected, &others);
    let any = |name: &str| found.iter().any(|pattern| matched(pattern, name) == Some(true));
    assert!(selected.iter().all(|name| any(name)), "{found:?} leaves out one of {selected:?}");
    let exact = |other: &str| selected.iter().any(|name| other.starts_with(name));
    let wrong = others.iter().find(|other| any(other) && !exact(other));
    assert_eq!(wrong, None, "{found:?} of {selected:?}");
}
