//! What users choose about an export: companions, overwriting, ties, strictness, rules.

mod common;

use std::fs;

use common::{
    Place, Ran, Stored, config, files, floats, language_model, read_folder, read_json, run,
};
use quantscope::model::natural_order;
use safetensors::Dtype;

/// The quantized modules of `out`, in natural order.
fn packed(place: &Place) -> Vec<String> {
    let tensors = read_folder(&place.out());
    let packed = tensors.values().filter(|tensor| tensor.dtype == Dtype::U8);
    let mut modules: Vec<String> = packed.map(|t| t.name.replace(".weight", "")).collect();
    modules.sort_by(|a, b| natural_order(a, b));
    modules
}

#[test]
fn files_beside_the_weights_are_carried() {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    let src = place.src();
    fs::create_dir_all(src.join("templates/deep")).unwrap();
    fs::create_dir_all(src.join(".git")).unwrap();
    for (name, text) in [
        ("tokenizer.json", "{\"a\": 1}"),
        ("LICENSE", "terms\r\n"),
        ("templates/deep/chat.jinja", "{{ x }}"),
        ("modeling.py", "print(1)"),
        (".git/HEAD", "ref"),
        ("pytorch_model.bin", "weights"),
        ("pytorch_model.bin.index.json", "{}"),
    ] {
        fs::write(src.join(name), text).unwrap();
    }
    let ran = place.export(&[]).ok();
    let (before, after) = (files(&src), files(&place.out()));
    let carried = ["LICENSE", "modeling.py", "templates/deep/chat.jinja", "tokenizer.json"];
    for name in carried {
        assert_eq!(before[name], after[name], "{name}");
    }
    let written = ["config.json", "hf_quant_config.json", "model.safetensors"];
    let mut expected = [&carried[..], &written].concat();
    expected.sort();
    assert_eq!(after.into_keys().collect::<Vec<_>>(), expected);
    assert_eq!(ran.lines("carried"), [format!("carried   {}", carried.join(", "))]);
    let left = "left      pytorch_model.bin, pytorch_model.bin.index.json";
    assert!(ran.lines("left").iter().any(|line| line.starts_with(left)), "{}", ran.stdout);
}

#[cfg(target_os = "linux")]
#[test]
fn odd_files_beside_the_weights() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let place = Place::with(&language_model(Dtype::BF16, 1));
    let name = OsStr::from_bytes(b"notes-\xFF.txt");
    fs::write(place.src().join(name), "x").unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(place.src().join("pipe")).status();
    assert!(pipe.unwrap().success());
    place.export(&["-q"]).ok();
    assert_eq!(fs::read_to_string(place.out().join(name)).unwrap(), "x");
    assert!(!place.out().join("pipe").exists());

    symlink("nowhere", place.src().join("broken.json")).unwrap();
    symlink("/etc/hostname", place.src().join("leak.json")).unwrap();
    fs::write(place.src().join(".hidden"), "x").unwrap();
    let ran = place.export(&["--overwrite"]).ok();
    assert_eq!(
        ran.lines("left"),
        [
            "left      leak.json (a link out of the folder)",
            "left      broken.json (a link to nothing)",
            "left      .hidden (hidden)",
            "left      pipe (not a regular file)",
        ]
    );
    for left in ["leak.json", "broken.json", ".hidden", "pipe"] {
        assert!(place.out().join(left).symlink_metadata().is_err(), "{left}");
    }
}

#[test]
fn numbers_of_the_config_stay_as_they_were_written() {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    let lines = [
        "    \"rms_norm_eps\": 1e-06,",
        "    \"rope_theta\": 1000000.0,",
        "    \"big\": 123456789012345678901234567890,",
        "    \"limit\": Infinity,",
        "    \"low\": -Infinity,",
        "    \"none\": NaN,",
        "    \"text\": \"NaN and é\",",
    ];
    let config = format!("{{\n{}\n    \"tie_word_embeddings\": false\n}}", lines.join("\n"));
    fs::write(place.src().join("config.json"), config).unwrap();
    place.export(&[]).ok();
    let written = fs::read_to_string(place.out().join("config.json")).unwrap();
    let kept: Vec<&str> = written.lines().skip(1).take(lines.len()).collect();
    assert_eq!(kept, lines);
}

#[test]
fn what_is_there_is_replaced_only_on_request() {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    fs::create_dir(place.out()).unwrap();
    fs::write(place.out().join("precious"), "x").unwrap();
    place.export(&[]).fails(2, &["out exists already", "--overwrite"]);
    assert_eq!(files(&place.out()).into_keys().collect::<Vec<_>>(), ["precious"]);

    place.export(&["--overwrite"]).fails(2, &["out is neither an earlier export nor empty"]);
    assert_eq!(files(&place.out()).into_keys().collect::<Vec<_>>(), ["precious"]);

    fs::remove_file(place.out().join("precious")).unwrap();
    place.export(&["--overwrite"]).ok();
    fs::write(place.out().join("stale"), "x").unwrap();
    place.export(&["--overwrite"]).ok();
    assert!(!place.out().join("stale").exists());
    assert_eq!(place.listing(), ["out", "src"]);
}

#[test]
fn output_and_input_are_kept_apart() {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    let before = files(&place.src());
    let export = |out: &str, args: &[&str]| {
        let out = place.path(out).display().to_string();
        let source = place.src().display().to_string();
        let all = [&[&source, "--format", "nvfp4", "--out", &out], args].concat();
        common::run(all)
    };
    export("src/out", &[]).fails(2, &["src/out", "lies in it"]);
    export("src", &["--overwrite"]).fails(2, &["is the checkpoint that is read"]);
    export("src/model.safetensors", &["--overwrite"]).fails(2, &["lies in it"]);
    export("", &["--overwrite"]).fails(2, &["around it"]);
    export("none/out", &[]).fails(2, &["none: there is no such folder"]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(place.src(), place.path("link")).unwrap();
        export("link", &["--overwrite"]).fails(2, &["is the checkpoint that is read"]);
        export("link/out", &[]).fails(2, &["lies in it"]);
        fs::remove_file(place.path("link")).unwrap();
    }
    assert!(files(&place.src()) == before);
    assert_eq!(place.listing(), ["src"]);
}

/// A model whose head is the embedding table: not stored, or stored too.
fn tied(head_stored: bool, says_tied: bool) -> Place {
    let mut model = language_model(Dtype::BF16, 2);
    if head_stored {
        model[0].bytes = model[1].bytes.clone();
    } else {
        model.remove(0);
    }
    let place = Place::empty();
    common::write_single(&place.src(), &model, &config(says_tied));
    place
}

#[test]
fn a_tied_table_stays_by_default() {
    for (head_stored, says_tied) in [(false, true), (true, true), (true, false)] {
        for wish in [["--quantize-embeddings", "-q"], ["--include=*embed_tokens*", "-q"]] {
            let place = tied(head_stored, says_tied);
            let ran = place.export(&wish).ok();
            assert!(ran.finding().contains("quantizing one alone would break the tie"));
            assert!(ran.finding().contains("model.embed_tokens.weight"));
            let (before, after) = (read_folder(&place.src()), read_folder(&place.out()));
            assert!(before["model.embed_tokens.weight"] == after["model.embed_tokens.weight"]);
            assert_eq!(after.contains_key("lm_head.weight"), head_stored);
            let config = read_json(&place.out().join("config.json"));
            assert_eq!(config["tie_word_embeddings"], says_tied);
        }
    }
}

#[test]
fn an_untied_table_leaves_a_float_head() {
    for (head_stored, says_tied) in [(false, true), (true, true), (true, false)] {
        let place = tied(head_stored, says_tied);
        let ran = place.export(&["--quantize-embeddings", "--tied", "untie"]).ok();
        assert_eq!(ran.lines("finding"), [""; 0]);
        let (before, after) = (read_folder(&place.src()), read_folder(&place.out()));
        let (table, head) = (&before["model.embed_tokens.weight"], &after["lm_head.weight"]);
        assert_eq!(after["model.embed_tokens.weight"].dtype, Dtype::U8);
        assert_eq!((head.dtype, &head.shape), (table.dtype, &table.shape));
        assert!(head.bytes == table.bytes);
        let config = read_json(&place.out().join("config.json"));
        assert_eq!(config["tie_word_embeddings"], false);
        let ignored = config["quantization_config"]["ignore"].as_array().unwrap();
        assert!(ignored.contains(&"lm_head".into()), "{ignored:?}");
    }
}

#[test]
fn a_table_with_another_head_is_not_tied() {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    let ran = place.export(&["--quantize-embeddings", "-q"]).ok();
    assert_eq!(ran.stdout, "");
    assert!(packed(&place).contains(&"model.embed_tokens".to_owned()));
}

#[test]
fn findings_are_failures_when_strict() {
    let with_finding = |args: &[&str], tensor: Stored| {
        let place = Place::with(&[language_model(Dtype::BF16, 1), vec![tensor]].concat());
        let lenient = place.export(&[args, &["-q"]].concat()).ok();
        fs::remove_dir_all(place.out()).unwrap();
        let strict = place.export(&[args, &["-q", "--strict"]].concat());
        assert_eq!(strict.lines("finding"), [lenient.finding()]);
        strict.fails(4, &["--strict is on"]);
        assert_eq!(place.listing(), ["src"]);
        lenient.finding().to_owned()
    };
    let weights = |name: &str, shape: &[u64]| Stored::weights(name, Dtype::BF16, shape);
    let found = with_finding(&[], weights("model.layers.0.mlp.fc1.weight", &[8, 40]));
    assert!(found.contains("rows of 40 are no multiple of the block of 16"), "{found}");
    let found = with_finding(&["--exclude=*.nothing"], weights("model.gain", &[4]));
    assert!(found.contains("exclude \"*.nothing\" matches no tensor"), "{found}");
    let found = with_finding(&[], weights("model.layers.0.extra.weight", &[8, 32]));
    assert!(found.contains("no rule matches these matrices"), "{found}");
    let found = with_finding(&[], weights("model.layers.0.mlp.experts.down_proj", &[2, 8, 32]));
    assert!(found.contains("experts fused in a layout that is not known"), "{found}");
    let found = with_finding(&[], weights("model.layers.0.mlp.fc1.weight", &[0, 32]));
    assert!(found.contains("no elements"), "{found}");
    // This one shows only when weights are read.
    let nan = floats(Dtype::BF16, [1.0, f32::NAN, 2.0].into_iter());
    let found = with_finding(&[], Stored::new("model.gain", Dtype::BF16, &[3], nan));
    assert!(found.contains("holds NaN or infinity") && found.contains("model.gain"), "{found}");
}

#[test]
fn rules_choose_what_is_quantized() {
    let mlp = |layer| {
        ["down_proj", "gate_proj", "up_proj"].map(|p| format!("model.layers.{layer}.mlp.{p}"))
    };
    let place = Place::with(&language_model(Dtype::BF16, 2));
    let chosen = |args: &[&str]| {
        place.export(&[args, &["--overwrite", "-q"]].concat()).ok();
        packed(&place)
    };
    assert_eq!(chosen(&["--preset", "mlp"]), [mlp(0), mlp(1)].concat());
    assert_eq!(chosen(&["--preset", "mlp", "--exclude", "model.layers.1.*"]), mlp(0));
    let include = ["--preset", "experts", "--include", "*.1.mlp.{gate,up}_proj"];
    assert_eq!(chosen(&include), mlp(1)[1..]);
    let both = ["--preset", "mlp", "--include", "*q_proj", "--exclude", "*.self_attn.*"];
    assert_eq!(chosen(&both), [mlp(0), mlp(1)].concat());

    let recipe = place.path("recipe.toml");
    let text = "preset = \"experts\"\nformat = \"nvfp4\"\nexclude = [\"*.1.mlp.up_proj\"]\n\
                [[rule]]\nmatch = \"model.layers.1.*\"\nroles = [\"mlp\"]\nset = \"quantize\"\n\
                [[rule]]\nmatch = \"*.gate_proj\"\nset = \"keep\"\n";
    fs::write(&recipe, text).unwrap();
    let recipe = recipe.display().to_string();
    assert_eq!(chosen(&["--recipe", &recipe]), mlp(1)[..1]);
    assert_eq!(
        chosen(&["--recipe", &recipe, "--include", "*.0.mlp.gate_proj"]),
        [mlp(0)[1].clone(), mlp(1)[0].clone()]
    );
}

#[test]
fn a_fused_group_that_is_split_still_exports() {
    // q alone is quantized: k and v stay float, and the scale is that of q alone.
    let place = Place::with(&language_model(Dtype::BF16, 1));
    place.export(&["--preset=experts", "--include=*q_proj", "-q"]).ok();
    assert_eq!(packed(&place), ["model.layers.0.self_attn.q_proj"]);
}

#[test]
fn closing_the_pipe_does_not_stop_an_export() {
    use std::process::Stdio;
    let place = Place::with(&language_model(Dtype::BF16, 1));
    let mut command = common::command(place.export_args(&place.src(), &[]));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(place.out().join("model.safetensors").exists());
}

#[test]
fn a_report_never_replaces_a_file_of_the_checkpoint() {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    let before = files(&place.src());
    let report = place.src().join("config.json").display().to_string();
    let source = place.src().display().to_string();
    common::run([&source, "--stats", "--device", "cpu", "--report", &report])
        .fails(2, &["config.json exists in the checkpoint's own folder"]);
    let mut in_folder =
        common::command(["model.safetensors", "--stats", "--report", "config.json"]);
    let ran = Ran::of(in_folder.current_dir(place.src()).output().unwrap());
    ran.fails(2, &["config.json exists in the checkpoint's own folder"]);
    assert!(files(&place.src()) == before);

    place.export(&["-q"]).ok();
    let before = files(&place.out());
    let report = place.out().join("config.json").display().to_string();
    place
        .export(&["-q", "--overwrite", "--report", &report])
        .fails(2, &["config.json exists in the folder of --out"]);
    assert!(files(&place.out()) == before);
}

#[test]
fn a_recipe_is_not_removed_with_what_is_replaced() {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    place.export(&["-q"]).ok();
    let recipe = place.out().join("recipe.toml");
    fs::write(&recipe, "format = \"nvfp4\"").unwrap();
    place
        .export(&["-q", "--overwrite", "--recipe", &recipe.display().to_string()])
        .fails(2, &["recipe.toml is in the folder that --out replaces"]);
    assert!(recipe.exists());
}

#[test]
fn a_matrix_of_whole_numbers_is_no_packed_layer() {
    let bytes = Stored::new("model.layers.0.table.weight", Dtype::U8, &[2, 8], vec![7; 16]);
    let place = Place::with(&[language_model(Dtype::BF16, 1), vec![bytes]].concat());
    place.export(&["-q"]).ok();
    let out = place.out().display().to_string();
    common::run([&out, "--verify", "--device", "cpu"]).ok();
    assert_eq!(read_folder(&place.out())["model.layers.0.table.weight"].bytes, vec![7; 16]);
}

#[test]
fn a_model_without_a_head_may_have_its_table_packed() {
    let mut model = language_model(Dtype::BF16, 1);
    model.retain(|tensor| tensor.name != "lm_head.weight");
    let place = Place::with(&model);
    place.export(&["-q", "--quantize-embeddings"]).ok();
    assert!(packed(&place).contains(&"model.embed_tokens".to_owned()));
}

#[test]
fn layers_that_runtimes_fuse_are_quantized_together_or_not_at_all() {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    let ran = place.export(&["-q", "--exclude", "*.up_proj"]).ok();
    assert!(ran.finding().contains("runtimes fuse with them are quantized"));
    assert!(ran.finding().contains("mlp.up_proj.weight"));
}

#[test]
fn projections_with_inputs_first_are_kept() {
    let attention = Stored::weights("h.0.attn.c_attn.weight", Dtype::BF16, &[64, 192]);
    let mlp = Stored::weights("h.0.mlp.up_proj.weight", Dtype::BF16, &[64, 64]);
    let place = Place::with(&[attention, mlp]);
    common::edit_json(&place.src().join("config.json"), |json| json["model_type"] = "gpt2".into());
    let ran = place.export(&["-q", "--include", "*"]).ok();
    assert!(ran.finding().contains("stored as [inputs, outputs]"), "{}", ran.stdout);
    assert_eq!(packed(&place), ["h.0.mlp.up_proj"]);
}

#[test]
fn fused_experts_that_are_no_floats_are_carried_whole() {
    let name = "model.layers.0.mlp.experts.gate_up_proj";
    let bytes: Vec<u8> = (0..3 * 64 * 96 / 2).map(|i| (i % 251) as u8).collect();
    for (dtype, experts) in [(Dtype::F4, 3), (Dtype::U8, 0), (Dtype::I16, 1)] {
        let count = experts * 64 * 96 * dtype.bitsize() / 8;
        let data: Vec<u8> = bytes.iter().copied().cycle().take(count).collect();
        let fused = Stored::new(name, dtype, &[experts as u64, 64, 96], data);
        let place = Place::with(&[language_model(Dtype::BF16, 1), vec![fused.clone()]].concat());
        common::edit_json(&place.src().join("config.json"), |json| json["hidden_size"] = 64.into());
        place.export(&["-q"]).ok();
        assert!(read_folder(&place.out())[name].bytes == fused.bytes, "{dtype}");
    }
}

#[test]
fn each_expert_of_a_fused_tensor_has_a_row() {
    let source = common::data("modelopt/e2e/gptoss_w4a16nvfp4/src").display().to_string();
    let place = Place::empty();
    let report = place.path("stats.csv").display().to_string();
    common::run([&source, "--stats", "-q", "--format", "nvfp4", "--report", &report]).ok();
    let text = fs::read_to_string(report).unwrap();
    let fused = "model.layers.0.mlp.experts.down_proj";
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let column = |name| rows[0].iter().position(|column| *column == name).unwrap();
    let number = |row: &Vec<&str>, name| row[column(name)].parse::<f64>().unwrap();
    let whole = rows.iter().find(|row| row[0] == fused).unwrap();
    let experts: Vec<_> = rows.iter().filter(|row| row[column("part_of")] == fused).collect();
    assert_eq!(experts.len(), 4);
    let largest = experts.iter().map(|row| number(row, "amax")).fold(0.0, f64::max);
    assert_eq!(largest, number(whole, "amax"));
    for total in ["scales_saturated", "bytes_before", "bytes_after"] {
        let sum: f64 = experts.iter().map(|row| number(row, total)).sum();
        // The one global scale is nobody's share.
        assert!((number(whole, total) - sum).abs() <= 4.0, "{total}");
    }
}

#[test]
fn empty_tensors_of_any_shape_are_carried() {
    for (name, shape) in [
        ("model.layers.0.mlp.experts.gate_up_proj", vec![4, 64, 0]),
        ("model.layers.0.mlp.experts.gate_up_proj", vec![0, 64, 1 << 60]),
        ("h.0.attn.c_attn.weight", vec![64, 0]),
        ("h.0.attn.c_attn.weight", vec![0, 1 << 60]),
    ] {
        let empty = Stored::new(name, Dtype::BF16, &shape, Vec::new());
        let place = Place::with(&[language_model(Dtype::BF16, 1), vec![empty]].concat());
        common::edit_json(&place.src().join("config.json"), |json| {
            json["hidden_size"] = 64.into();
            json["model_type"] = if name.starts_with("h.") { "gpt2" } else { "gpt_oss" }.into();
        });
        place.export(&["-q"]).ok();
        assert_eq!(read_folder(&place.out())[name].shape, shape);
    }
}

#[test]
fn a_name_that_two_tensors_would_get_is_an_error() {
    let list = "model.layers.0.mlp.experts";
    let fused = Stored::weights(&format!("{list}.gate_up_proj"), Dtype::BF16, &[2, 96, 64]);
    let single = Stored::weights(&format!("{list}.1.gate_proj.weight"), Dtype::BF16, &[48, 64]);
    let place = Place::with(&[language_model(Dtype::BF16, 1), vec![fused, single]].concat());
    common::edit_json(&place.src().join("config.json"), |json| json["hidden_size"] = 64.into());
    let both = ["experts.gate_up_proj\"", "experts.1.gate_proj.weight\""];
    place.export(&["-q"]).fails(6, &both);
    place.export(&["-q", "--exclude", "*.experts.gate_up_proj"]).ok();
}

#[test]
fn rules_match_single_experts_of_a_fused_tensor() {
    let fused = |name: &str, shape: &[u64]| {
        Stored::weights(&format!("model.layers.0.mlp.experts.{name}"), Dtype::BF16, shape)
    };
    // down_proj is square: its sibling tells inputs from outputs.
    let tensors = [fused("gate_up_proj", &[2, 128, 64]), fused("down_proj", &[2, 64, 64])];
    let place = Place::with(&[language_model(Dtype::BF16, 1), tensors.to_vec()].concat());
    common::edit_json(&place.src().join("config.json"), |json| json["hidden_size"] = 64.into());
    place.export(&["-q", "--strict", "--exclude", "*.experts.[0-9]*"]).ok();
    assert!(read_folder(&place.out()).contains_key("model.layers.0.mlp.experts.down_proj"));
    place.export(&["-q", "--strict", "--overwrite"]).ok();
    let packed = packed(&place);
    assert!(packed.contains(&"model.layers.0.mlp.experts.1.down_proj".to_owned()), "{packed:?}");
}

#[test]
fn a_stored_head_that_differs_is_said_before_it_is_untied() {
    let place = Place::empty();
    common::write_single(&place.src(), &language_model(Dtype::BF16, 1), &config(true));
    let ran = place.export(&["-q", "--quantize-embeddings", "--tied", "untie"]).ok();
    assert!(ran.finding().contains("the stored head has other bytes"), "{}", ran.stdout);
    let ran = place.export(&["-q", "--quantize-embeddings", "--overwrite"]).ok();
    assert!(ran.finding().contains("would break the tie"), "{}", ran.stdout);
}

#[test]
fn several_formats_among_layers_that_runtimes_fuse_are_told() {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    std::fs::write(place.path("r.toml"), "[[rule]]\nmatch = '*.q_proj'\nset = 'fp8-channel'\n")
        .unwrap();
    let recipe = place.path("r.toml").display().to_string();
    let ran = place.export(&["--recipe", &recipe, "--overwrite"]).ok();
    assert!(ran.finding().contains("in another format than layers"), "{}", ran.stdout);
    assert!(ran.stdout.contains("in several formats, which vLLM refuses"), "{}", ran.stdout);
    place.export(&["--recipe", &recipe, "--overwrite", "--strict"]).fails(4, &["finding"]);
}

#[test]
fn tiles_that_are_not_whole_are_told() {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    let source = place.src().display().to_string();
    let ran = run([&source, "--dry-run", "--format", "fp8-block"]).ok();
    assert!(ran.finding().contains("no multiple of 128"), "{}", ran.stdout);
}

#[test]
fn a_dialect_without_a_file_of_its_own_needs_a_config() {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    std::fs::remove_file(place.src().join("config.json")).unwrap();
    place
        .export(&["--export", "compressed-tensors"])
        .fails(6, &["no config.json", "--export modelopt"]);
    assert_eq!(place.listing(), ["src"]);
    place.export(&[]).ok();
}
