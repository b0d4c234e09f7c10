//! The call of the program that does what was chosen elsewhere.

use std::path::Path;

use super::size;
use crate::format::Format;
use crate::recipe::Recipe;

/// The name that a recipe's file is given in a call as long as it has none.
pub const RECIPE_FILE: &str = "recipe.toml";

/// What a call is to do.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The checkpoint.
    pub checkpoint: &'a Path,
    /// What to quantize, and how.
    pub recipe: &'a Recipe,
    /// A file that holds all of the recipe, if it was saved.
    pub recipe_file: Option<&'a Path>,
    /// The folder to write; without one, statistics are printed.
    pub out: Option<&'a Path>,
    /// Most bytes of an output file; without a limit they are as the source's.
    pub max_shard_size: Option<u64>,
    /// Whether the folder may be replaced.
    pub overwrite: bool,
    /// Whether to go on with what an interrupted run has left.
    pub resume: bool,
    /// Who computes, as `--device` takes it.
    pub device: &'a str,
}

/// The `quantscope --batch` call for a shell that does the same. A recipe with rules has no flags for
/// them: it is passed as a file, [`RECIPE_FILE`] if it was not saved yet, and then nothing of it is
/// repeated. Paths that are no Unicode are shown as well as can be.
pub fn command_line(call: &Call<'_>) -> String {
    let mut words = Words::default();
    words.add("quantscope");
    words.add("--batch");
    match call.checkpoint.to_string_lossy() {
        // A beginning that a flag could have.
        path if path.starts_with('-') => words.add(&format!("./{path}")),
        path => words.add(&path),
    }
    match call.recipe_file {
        Some(file) => words.value("--recipe", file.to_string_lossy()),
        None if !call.recipe.rules.is_empty() => words.value("--recipe", RECIPE_FILE),
        None => words.recipe(call.recipe),
    }
    if let Some(bytes) = call.max_shard_size {
        words.value("--max-shard-size", size::exact(bytes));
    }
    words.unless_default("--device", call.device, "auto");
    match call.out {
        None => words.add("--stats"),
        Some(out) => {
            words.value("--out", out.to_string_lossy());
            words.flag("--overwrite", call.overwrite);
            words.flag("--resume", call.resume);
        }
    }
    words.0
}

/// What a window is to open.
#[derive(Debug, Clone)]
pub struct Link<'a> {
    /// The checkpoint; the demo if there is none.
    pub checkpoint: Option<&'a Path>,
    /// What to quantize, and how.
    pub recipe: &'a Recipe,
    /// A file that holds all of the recipe, if it was saved.
    pub recipe_file: Option<&'a Path>,
    /// The tensor that is looked into.
    pub tensor: Option<&'a str>,
    /// The expert in it.
    pub expert: u64,
    /// The format that it is seen in, if not the recipe's.
    pub seen_as: Option<Format>,
    /// The block and the weight in it, as `--block` takes them.
    pub block: Option<String>,
    /// The checkpoint that is compared with.
    pub compare: Option<&'a Path>,
    /// The view, as `--view` takes it.
    pub view: &'a str,
}

/// The call for a shell that opens a window on exactly that.
pub fn link(link: &Link<'_>) -> String {
    let mut words = Words::default();
    words.add("quantscope");
    match link.checkpoint {
        Some(path) => words.value("--open", path.to_string_lossy()),
        None => words.add("--demo"),
    }
    match link.recipe_file {
        Some(file) => words.value("--recipe", file.to_string_lossy()),
        None if !link.recipe.rules.is_empty() => words.value("--recipe", RECIPE_FILE),
        None => words.recipe(link.recipe),
    }
    if let Some(tensor) = link.tensor {
        words.value("--select", tensor);
        words.unless_default("--expert", link.expert, 0);
    }
    if let Some(format) = link.seen_as {
        words.value("--seen-as", format);
    }
    if let Some(block) = &link.block {
        words.value("--block", block);
    }
    if let Some(path) = link.compare {
        words.value("--compare", path.to_string_lossy());
    }
    words.value("--view", link.view);
    words.0
}

/// Words for a shell, with a space between two.
#[derive(Default)]
struct Words(String);

impl Words {
    fn add(&mut self, word: &str) {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(&quoted(word));
    }

    fn flag(&mut self, flag: &str, is_set: bool) {
        if is_set {
            self.add(flag);
        }
    }

    fn value(&mut self, flag: &str, value: impl ToString) {
        let value = value.to_string();
        match value.starts_with('-') {
            // It would be taken for a flag if it stood alone.
            true => self.add(&format!("{flag}={value}")),
            false => {
                self.add(flag);
                self.add(&value);
            }
        }
    }

    fn unless_default<T: PartialEq + ToString>(&mut self, flag: &str, value: T, default: T) {
        if value != default {
            self.value(flag, value);
        }
    }

    /// Every flag that makes a recipe without rules.
    fn recipe(&mut self, recipe: &Recipe) {
        let default = Recipe::default();
        if let Some(format) = recipe.format {
            self.value("--format", format);
        }
        if let Some(dialect) = recipe.export {
            self.value("--export", dialect);
        }
        if let Some(preset) = recipe.preset {
            self.value("--preset", preset);
        }
        self.flag("--quantize-embeddings", recipe.quantize_embeddings);
        if let Some(tied) = recipe.tied {
            self.value("--tied", name(&tied));
        }
        self.flag("--external-data", recipe.external_data);
        self.unless_default("--scale-search", recipe.scale_search, default.scale_search);
        self.unless_default("--scale-dtype", recipe.scale_dtype, default.scale_dtype);
        self.unless_default("--nibbles", recipe.nibbles, default.nibbles);
        let [experts, each] = [&recipe, &&default].map(|recipe| name(&recipe.expert_scale));
        self.unless_default("--expert-scale", experts, each);
        self.unless_default("--indivisible", recipe.indivisible, default.indivisible);
        self.flag("--unserved", recipe.unserved);
        for (flag, patterns) in [("--include", &recipe.include), ("--exclude", &recipe.exclude)] {
            patterns.iter().for_each(|pattern| self.value(flag, pattern));
        }
    }
}

/// The name of a choice on the command line.
fn name(value: &impl clap::ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

const QUOTE: char = '\'';

/// A word as POSIX shells read it: as it is, if nothing in it means anything to them, else in single
/// quotes.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => {
            // Nothing is special in single quotes, not even a backslash: one ends them, is escaped, and
            // they begin again.
            let escaped = format!("{QUOTE}\\{QUOTE}{QUOTE}");
            format!("{QUOTE}{}{QUOTE}", word.replace(QUOTE, &escaped))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::batch::Args;
    use crate::dialect::Dialect;
    use crate::format::q4gsw::NibbleOrder;
    use crate::format::{Format, ScaleDtype, ScaleSearch};
    use crate::recipe::{Action, ExpertScale, Indivisible, Preset, Rule, TiedOutcome};

    /// The words of a line, as a shell takes them apart.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut is_quoted) = (Vec::new(), None::<String>, false);
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            match c {
                ' ' if !is_quoted => words.extend(word.take()),
                '\'' => {
                    is_quoted = !is_quoted;
                    word.get_or_insert_default();
                }
                '\\' if !is_quoted => word.get_or_insert_default().extend(chars.next()),
                _ => word.get_or_insert_default().push(c),
            }
        }
        words.into_iter().chain(word).collect()
    }

    fn call<'a>(recipe: &'a Recipe, checkpoint: &'a str) -> Call<'a> {
        Call {
            checkpoint: Path::new(checkpoint),
            recipe,
            recipe_file: None,
            out: None,
            max_shard_size: None,
            overwrite: false,
            resume: false,
            device: "auto",
        }
    }

    fn parsed(call: &Call<'_>) -> Args {
        let line = command_line(call);
        Args::try_parse_from(words(&line)).unwrap_or_else(|e| panic!("{line}\n{e}"))
    }

    fn recipes() -> Vec<Recipe> {
        let full = Recipe {
            preset: Some(Preset::Linear),
            format: Some(Format::Nvfp4),
            export: Some(Dialect::CompressedTensors),
            scale_search: ScaleSearch::FourOverSix,
            scale_dtype: ScaleDtype::F32,
            nibbles: NibbleOrder::EvenHigh,
            quantize_embeddings: true,
            expert_scale: ExpertScale::Joint,
            tied: Some(TiedOutcome::Untie),
            external_data: true,
            indivisible: Indivisible::Smaller,
            unserved: true,
            rules: Vec::new(),
            include: ["*.a", "-b", "", "it's {a,b}", "$(x) `y` \\ \"z\"", "ü"]
                .map(String::from)
                .into(),
            exclude: ["!x", "--out", "a b", "~", "#", "[0-9]?\n"].map(String::from).into(),
        };
        let mut recipes = vec![Recipe::default(), full.clone()];
        recipes.extend(Format::all().map(|format| Recipe {
            format: Some(format),
            indivisible: Indivisible::Format(format),
            ..Recipe::default()
        }));
        recipes
            .extend(Preset::ALL.map(|preset| Recipe { preset: Some(preset), ..Recipe::default() }));
        recipes
            .extend(ScaleSearch::ALL.map(|scale_search| Recipe { scale_search, ..full.clone() }));
        for tied in [TiedOutcome::Keep, TiedOutcome::Share] {
            recipes.push(Recipe {
                tied: Some(tied),
                indivisible: Indivisible::Pad,
                ..full.clone()
            });
        }
        recipes
    }

    #[test]
    fn every_recipe_without_rules_comes_back_from_its_flags() {
        for recipe in recipes() {
            let args = parsed(&call(&recipe, "-my model's"));
            assert_eq!(args.recipe().unwrap(), recipe);
            assert_eq!(args.checkpoint(), Path::new("./-my model's"));
            assert!(args.batch && args.stats && args.recipe.is_none());
            assert_eq!((args.device.as_str(), args.max_shard_size), ("auto", None));
        }
    }

    #[test]
    fn a_recipe_in_a_file_is_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("my 'recipe'.toml");
        let rule = Rule::about("*.q_proj".to_owned(), Action::Format(Format::Fp8));
        for recipe in recipes() {
            let recipe = Recipe { rules: vec![rule.clone()], ..recipe };
            std::fs::write(&file, toml::to_string(&recipe).unwrap()).unwrap();
            let saved = Call { recipe_file: Some(&file), ..call(&recipe, "m") };
            let args = parsed(&saved);
            assert_eq!(args.recipe().unwrap(), recipe);
            assert_eq!(words(&command_line(&saved)).len(), 6, "{}", command_line(&saved));
            let line = command_line(&call(&recipe, "m"));
            assert_eq!(line, "quantscope --batch m --recipe recipe.toml --stats");
        }
    }

    #[test]
    fn exports_with_all_their_choices() {
        let recipe = Recipe { format: Some(Format::Nvfp4), ..Recipe::default() };
        let export = Call {
            out: Some(Path::new("-out put")),
            max_shard_size: Some(5_000_000_000),
            overwrite: true,
            resume: true,
            device: "NVIDIA H100",
            ..call(&recipe, "models/tiny")
        };
        assert_eq!(
            command_line(&export),
            "quantscope --batch models/tiny --format nvfp4 --max-shard-size 5GB \
             --device 'NVIDIA H100' '--out=-out put' --overwrite --resume"
        );
        let args = parsed(&export);
        assert_eq!(args.out.as_deref(), export.out);
        assert_eq!((args.max_shard_size, args.overwrite), (export.max_shard_size, true));
        assert!(args.resume);
        assert_eq!((args.device.as_str(), args.stats), (export.device, false));
    }

    #[cfg(unix)]
    #[test]
    fn a_shell_reads_the_same_words() {
        for recipe in recipes() {
            let line = command_line(&call(&recipe, "a'b"));
            let script = format!("set -- {line}\nprintf '%s\\0' \"$@\"");
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            let read = String::from_utf8(output.stdout).unwrap();
            let read: Vec<&str> = read.split_terminator('\0').collect();
            assert_eq!(read, words(&line), "{line}");
        }
    }
}
