//! Globs for a selection of tensors.

use std::collections::{HashMap, HashSet};

use globset::escape;

use crate::model::{grouped_weight, module_of};

/// A name in pieces, with any text between one and the next.
type Pieces<'a> = Vec<&'a str>;

/// Which numbers of a name a glob leaves open, most first. A name without one has its exact form only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    All,
    Expert,
    Layer,
}

/// Few globs, as a [`Rule`](super::Rule) takes them, that match every selected tensor and none of
/// `others`, in the order of what they match first.
///
/// A name stands with others that differ in numbers only, of layers and experts. All numbers are left
/// open if that matches none of the others; else those of experts, else those of layers; else the
/// name is given as it is. Only such an exact name may match another tensor still: one whose module has
/// that very name.
pub fn patterns(selected: &[&str], others: &[&str]) -> Vec<String> {
    if selected.is_empty() {
        return Vec::new();
    }
    let others = Names::new(others);
    let mut alike: HashMap<Pieces<'_>, usize> = HashMap::new();
    for name in selected {
        *alike.entry(pieces(name, Open::All)).or_default() += 1;
    }
    let mut is_clear: HashMap<Pieces<'_>, bool> = HashMap::new();
    let mut is_taken: HashSet<Pieces<'_>> = HashSet::new();
    let mut patterns = Vec::new();
    for name in selected {
        let general = [Open::All, Open::Expert, Open::Layer].map(|open| pieces(name, open));
        // What stands alone is best called by its name.
        let has_kin = alike.get(&general[0]).is_some_and(|count| *count > 1);
        let found = general.into_iter().filter(|_| has_kin).find(|pieces| {
            *is_clear.entry(pieces.clone()).or_insert_with(|| !others.any_match(pieces))
        });
        let pieces = found.unwrap_or_else(|| vec![name]);
        if !is_taken.contains(&pieces) {
            patterns.push(pieces.iter().map(|piece| literal(piece)).collect::<Vec<_>>().join("*"));
            is_taken.insert(pieces);
        }
    }
    patterns
}

/// The glob that matches a text and nothing else.
fn literal(text: &str) -> String {
    // A backslash would escape what follows it.
    escape(text).replace('\\', "[\\]")
}

/// A name cut at its numbers: at every part that is one, and at the end of a weight of grouped experts.
fn pieces(name: &str, open: Open) -> Pieces<'_> {
    let (mut pieces, mut begin, mut at) = (Vec::new(), 0, 0);
    let mut list = "";
    let grouped = grouped_weight(name).map(|(module, _)| module.len() + ".weight".len());
    for part in name.split('.') {
        let is_number = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let number = match grouped.filter(|number| *number > at) {
            _ if is_number => Some((at, list.ends_with("experts"))),
            Some(number) if number < at + part.len() => Some((number, true)),
            _ => None,
        };
        let wanted = |of_expert: bool| match open {
            Open::All => true,
            Open::Expert => of_expert,
            Open::Layer => !of_expert,
        };
        if let Some((number, _)) = number.filter(|(_, of_expert)| wanted(*of_expert)) {
            pieces.push(&name[begin..number]);
            begin = at + part.len();
        }
        at += part.len() + 1;
        list = part;
    }
    pieces.push(&name[begin..]);
    pieces
}

/// Names of tensors and of their modules, sorted, so that those with a beginning stand together.
struct Names<'a>(Vec<&'a str>);

impl<'a> Names<'a> {
    fn new(names: &[&'a str]) -> Self {
        let mut all: Vec<&str> = names.iter().flat_map(|name| [*name, module_of(name)]).collect();
        all.sort_unstable();
        all.dedup();
        Self(all)
    }

    /// Whether any consists of these pieces with any text between them.
    fn any_match(&self, pieces: &[&str]) -> bool {
        let Some((first, _)) = pieces.split_first() else { return false };
        let from = self.0.partition_point(|name| name < first);
        let with_beginning = self.0[from..].iter().take_while(|name| name.starts_with(first));
        with_beginning.into_iter().any(|name| consists_of(name, pieces))
    }
}

/// Whether a text consists of pieces with any text between them, as a glob's stars allow.
fn consists_of(text: &str, pieces: &[&str]) -> bool {
    let [first, middle @ .., last] = pieces else { return pieces == [text] };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    // The earliest place of each piece leaves most for those after it.
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Role;
    use crate::recipe::{Action, Recipe, Rule};

    /// The patterns, which a rule set is asked about.
    fn patterns(selected: &[&str], others: &[&str]) -> Vec<String> {
        let patterns = super::patterns(selected, others);
        let rules = patterns.iter().map(|pattern| Rule::about(pattern.clone(), Action::Keep));
        let recipe = Recipe { rules: rules.collect(), ..Default::default() };
        let rules = recipe.rule_set().unwrap();
        let is_matched = |name: &str| rules.decide([name, name], Role::Other).is_some();
        assert!(selected.iter().all(|name| is_matched(name)), "{patterns:?}");
        assert!(!others.iter().any(|name| is_matched(name)), "{patterns:?}");
        patterns
    }

    fn names(pattern: &str, layers: u32, experts: u32) -> Vec<String> {
        let of_layer = |layer: u32| {
            let name = pattern.replace('L', &layer.to_string());
            (0..experts).map(move |expert| name.replace('E', &expert.to_string()))
        };
        (0..layers).flat_map(of_layer).collect()
    }

    fn refs(names: &[String]) -> Vec<&str> {
        names.iter().map(String::as_str).collect()
    }

    #[test]
    fn numbers_are_left_open_as_far_as_the_others_allow() {
        let up = names("m.layers.L.mlp.experts.E.up_proj.weight", 3, 4);
        let down = names("m.layers.L.mlp.experts.E.down_proj.weight", 3, 4);
        let (up, down) = (refs(&up), refs(&down));
        assert_eq!(patterns(&up, &down), ["m.layers.*.mlp.experts.*.up_proj.weight"]);

        // One layer of three, with a deviant of the same form elsewhere.
        let others = [&down[..], &up[4..]].concat();
        assert_eq!(patterns(&up[..4], &others), ["m.layers.0.mlp.experts.*.up_proj.weight"]);

        let (second, others): (Vec<&str>, Vec<&str>) =
            up.iter().partition(|name| name.contains("experts.2."));
        assert_eq!(patterns(&second, &others), ["m.layers.*.mlp.experts.2.up_proj.weight"]);

        assert_eq!(patterns(&up[..2], &up[2..]), up[..2]);
        assert_eq!(patterns(&["lm_head.weight"], &up), ["lm_head.weight"]);
        assert_eq!(patterns(&up[..1], &[]), up[..1]);
        assert_eq!(patterns(&[], &up), [""; 0]);
    }

    #[test]
    fn a_star_reaches_over_dots_and_modules_count() {
        let a = ["a.layers.0.x.weight", "a.layers.1.x.weight"];
        assert_eq!(patterns(&a, &["a.layers.0.y.x.weight"]), a);
        assert_eq!(patterns(&a, &["a.layers.x.weight"]), ["a.layers.*.x.weight"]);
        let bare = ["a.0.x", "a.1.x"];
        assert_eq!(patterns(&bare, &["a.7.x.weight"]), bare);
        assert_eq!(patterns(&bare, &["a.7.x.other"]), ["a.*.x"]);
    }

    #[test]
    fn names_of_any_characters_stand_for_themselves() {
        let odd =
            ["a[0].{b,c}.0.w?*", "a[0].{b,c}.1.w?*", "back\\slash", "!x", "[!a]", "ü.0.é", "ü.1.é"];
        let others = ["a0.b.0.wxx", "backslash", "x", "b"];
        assert_eq!(patterns(&odd, &others).len(), 5);
        let grouped = ["m.experts.fc1.weight0", "m.experts.fc1.weight12"];
        assert_eq!(patterns(&grouped, &["m.experts.fc2.weight0"]), ["m.experts.fc1.weight*"]);
    }

    #[test]
    fn stars_match_as_globs_do() {
        for (pieces, text) in [
            (&["a", "b", "c"][..], "abbc"),
            (&["ab", "ba"], "aba"),
            (&["a", "bc", "c"], "abcc"),
            (&["a", "bc", "c"], "abc"),
            (&["", "x", ""], "wxy"),
            (&["a"], "ab"),
            (&["a", "a"], "a"),
        ] {
            let glob = globset::Glob::new(&pieces.join("*")).unwrap().compile_matcher();
            assert_eq!(consists_of(text, pieces), glob.is_match(text), "{pieces:?} {text}");
        }
    }

    #[test]
    fn a_hundred_thousand_names_get_few_globs() {
        let up = names("m.layers.L.mlp.experts.E.up_proj.weight", 200, 250);
        let down = names("m.layers.L.mlp.experts.E.down_proj.weight", 200, 250);
        let others: Vec<&str> = [refs(&down), vec![up[7].as_str()]].concat();
        let selected: Vec<&str> = refs(&up).into_iter().filter(|name| *name != up[7]).collect();
        let found = super::patterns(&selected, &others);
        assert_eq!(found.len(), 199 + 249);
    }
}
