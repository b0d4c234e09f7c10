//! Checkpoints with many tensors, of which only headers are read.

mod common;

use std::collections::{BTreeMap, HashSet};

use common::{Experts, Place, mixture, run, write_sparse};
use quantscope::checkpoint::{Checkpoint, header};
use quantscope::dialect::Dialect;
use quantscope::model::Model;
use quantscope::plan::{Contents, Plan, Sharding};
use quantscope::recipe::Recipe;

const LAYERS: u32 = 5;
const EXPERTS: u32 = 256;

fn written(stored: Experts, shards: usize) -> Place {
    let place = Place::empty();
    write_sparse(&place.src(), LAYERS, EXPERTS, stored, shards);
    place
}

/// The first words of lines that begin with a tensor's name.
fn listed(text: &str) -> Vec<&str> {
    let words = text.lines().filter_map(|line| line.split(' ').next());
    words.filter(|word| word.starts_with("model.") || *word == "lm_head.weight").collect()
}

#[test]
fn a_dry_run_lists_every_tensor_however_they_are_spread() {
    let names: HashSet<String> =
        mixture(LAYERS, EXPERTS, Experts::Single).into_iter().map(|(name, _)| name).collect();
    let summaries = 3 * LAYERS as usize;
    let texts = [1, 40].map(|shards| {
        let place = written(Experts::Single, shards);
        let args = [&*place.src().display().to_string(), "--format", "nvfp4", "--dry-run"];
        let text = run(args).ok().stdout;
        let listed = listed(&text);
        assert_eq!(listed.len(), names.len() + summaries);
        let listed: HashSet<&str> = listed.into_iter().collect();
        assert!(names.iter().all(|name| listed.contains(name.as_str())));
        let files = if shards == 1 { "1 file".to_owned() } else { format!("{shards} files") };
        assert!(text.contains(&format!("{} tensors · {files}", names.len())));
        text[text.find("\n\n").unwrap()..].to_owned()
    });
    assert_eq!(texts[0], texts[1], "the table does not tell shards");
}

#[test]
fn fused_experts_are_listed_one_by_one_where_a_layout_wants_them_so() {
    let place = written(Experts::Fused, 4);
    let source = place.src().display().to_string();
    let args = ["--format", "int4-g128", "--export", "compressed-tensors", "--dry-run"];
    let text = run([&[&*source], &args[..]].concat()).ok().stdout;
    let single = mixture(LAYERS, EXPERTS, Experts::Single).len();
    assert_eq!(listed(&text).len(), single + 3 * LAYERS as usize);
}

#[test]
fn planned_files_hold_every_output_once_without_a_hole() {
    let place = written(Experts::Single, 40);
    let checkpoint = Checkpoint::open(&place.src()).unwrap();
    let recipe = Recipe { format: Some("nvfp4".parse().unwrap()), ..Recipe::default() };
    let dialect = Dialect::usual(&checkpoint);
    let model = Model::new(&checkpoint, dialect.fused_experts());
    for sharding in [Sharding::AsSource, Sharding::AtMost(1 << 30)] {
        let plan = Plan::new(&model, &recipe, dialect, sharding).unwrap();
        let mut outputs: BTreeMap<(usize, usize), u32> = BTreeMap::new();
        for file in &plan.files {
            let mut end = 0;
            for tensor in &file.tensors {
                assert_eq!(tensor.begin, end);
                assert_eq!(tensor.bytes(), tensor.of(&plan.entries).bytes());
                end = tensor.end;
                *outputs.entry((tensor.entry, tensor.output)).or_default() += 1;
            }
            // What a header takes is told without writing it.
            let Contents::Safetensors(metadata) = &file.contents else { panic!("{file:?}") };
            let described = file.tensors.iter().map(|tensor| tensor.described(&plan.entries));
            let header = header::encode(described, metadata);
            assert_eq!(file.bytes, header.len() as u64 + end);
            let (read, _) = header::parse(&header[8..], end).unwrap();
            assert_eq!(read.len(), file.tensors.len());
        }
        let all: usize = plan.entries.iter().map(|entry| entry.outputs.len()).sum();
        assert_eq!(outputs.len(), all);
        assert!(outputs.values().all(|count| *count == 1));
    }
}
