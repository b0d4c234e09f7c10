//! `--json`: one JSON object a line, for programs that drive this one.

mod common;

use std::fs;
use std::path::Path;

use common::{Place, Ran, Stored, command, language_model, run};
use quantscope::batch::SCHEMA;
use safetensors::Dtype;
use serde_json::Value;

/// All events of a run, which hold together whatever it does.
#[track_caller]
fn events(ran: &Ran) -> Vec<Value> {
    let line = |line: &str| -> Value {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(event["event"].is_string(), "{line}");
        event
    };
    let events: Vec<Value> = ran.stdout.lines().map(line).collect();
    let (first, last) = (&events[0], events.last().unwrap());
    if events.len() > 1 {
        assert_eq!((&first["event"], &first["schema"]), (&"start".into(), &SCHEMA.into()));
        assert_eq!(first["version"], env!("CARGO_PKG_VERSION"));
    }
    let ends = |event: &&Value| ["done", "error"].map(Value::from).contains(&event["event"]);
    assert_eq!(events.iter().filter(ends).count(), 1, "{}", ran.stdout);
    let code = ran.code.unwrap();
    match code {
        0 => assert_eq!(last["event"], "done", "{}", ran.stdout),
        _ => assert_eq!((&last["event"], &last["exit_code"]), (&"error".into(), &code.into())),
    }
    stages_add_up(&events, code == 0);
    let findings = of(&events, "finding");
    assert!(findings.iter().all(|finding| finding["kind"].is_string()), "{findings:?}");
    if code == 0 {
        assert_eq!(last["findings"], findings.len());
    }
    events
}

/// Progress goes up, and to the end in a run that ends well.
fn stages_add_up(events: &[Value], ended_well: bool) {
    let number = |event: &Value, field: &str| event[field].as_u64().unwrap();
    let (mut stage, mut all, mut done) = (None, 0, 0);
    for event in events {
        let ends = event["event"] == "stage" || event["event"] == "done";
        if let (true, Some((name, total))) = (ends && ended_well, &stage) {
            assert_eq!(done, *total, "{name}");
        }
        match event["event"].as_str().unwrap() {
            "stage" => {
                stage = Some((event["stage"].clone(), number(event, "bytes_total")));
                (all, done) = (all + number(event, "bytes_total"), 0);
            }
            "progress" => {
                let (name, total) = stage.clone().unwrap();
                assert_eq!((&event["stage"], number(event, "bytes_total")), (&name, total));
                assert!((done..=total).contains(&number(event, "bytes_done")), "{event}");
                assert!(event["bytes_per_second"].is_u64());
                done = number(event, "bytes_done");
            }
            "done" => assert_eq!(number(event, "bytes_total"), all),
            _ => {}
        }
    }
}

/// Events of a kind.
fn of<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

/// Names of stages.
fn stages(events: &[Value]) -> Vec<&str> {
    of(events, "stage").iter().map(|event| event["stage"].as_str().unwrap()).collect()
}

/// A model with a matrix that no rule matches, which is a finding.
fn place() -> Place {
    let mystery = Stored::weights("model.layers.0.mystery.weight", Dtype::BF16, &[8, 32]);
    Place::with(&[language_model(Dtype::BF16, 2), vec![mystery]].concat())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn an_export_and_what_is_done_with_it() {
    let place = place();
    let (source, out) = (text(&place.src()), text(&place.out()));
    let report = text(&place.path("report.json"));
    let args = ["--format", "nvfp4", "--out", &out, "--json", "--report", &report];
    let exported = run([&[&*source], &args[..]].concat()).ok();
    assert_eq!(exported.stderr, "");
    let exported = events(&exported);
    assert_eq!(stages(&exported), ["quantize", "verify"]);
    let plan = of(&exported, "plan")[0];
    assert_eq!((&plan["layout"], &plan["formats"]), (&"modelopt".into(), &vec!["nvfp4"].into()));
    assert_eq!((&plan["tensors"], &plan["quantized"]), (&20.into(), &14.into()));
    assert_eq!(plan["files"], serde_json::json!(["model.safetensors"]));
    assert_eq!(of(&exported, "finding")[0]["kind"], "no_rule");
    assert_eq!(of(&exported, "device")[0]["name"], "CPU");
    let checks = of(&exported, "check");
    assert!(checks.len() > 5 && checks.iter().all(|check| check["passed"] == true));
    let done = of(&exported, "done")[0];
    let bytes = fs::metadata(place.out().join("model.safetensors")).unwrap().len();
    assert_eq!(
        (&done["written"], &done["report"]),
        (&out.as_str().into(), &report.as_str().into())
    );
    assert_eq!((&done["bytes_written"], &plan["bytes_after"]), (&bytes.into(), &bytes.into()));

    let with_json = |args: &[&str]| run([args, &["--json"]].concat());
    let verified = events(&with_json(&[&out, "--verify", "--against", &source]).ok());
    assert_eq!(stages(&verified), ["verify"]);
    assert!(of(&verified, "done")[0]["written"].is_null());
    let measured = events(&with_json(&[&out, "--stats"]).ok());
    assert_eq!(stages(&measured), ["measure"]);
    let back = text(&place.path("back"));
    let floats = events(&with_json(&[&out, "--dequantize", "--out", &back]).ok());
    assert_eq!(
        (stages(&floats), &of(&floats, "done")[0]["written"]),
        (vec!["dequantize"], &back.as_str().into())
    );

    let sound = text(&place.path("sound"));
    let repaired = events(&with_json(&[&out, "--repair", "--out", &sound]).ok());
    assert_eq!(stages(&repaired), ["examine"]);
    assert!(of(&repaired, "done")[0]["written"].is_null());
    fs::remove_file(place.out().join("config.json")).unwrap();
    fs::copy(place.src().join("config.json"), place.out().join("config.json")).unwrap();
    let repaired = events(&with_json(&[&out, "--repair", "--out", &sound]).ok());
    assert_eq!(stages(&repaired), ["examine", "examine", "repair", "verify"]);
    assert_eq!(of(&repaired, "done")[0]["written"], sound.as_str());
}

#[test]
fn runs_that_write_nothing() {
    let place = place();
    let source = text(&place.src());
    let dry = events(&run([&source, "--dry-run", "--format", "nvfp4", "--json"]).ok());
    assert_eq!((of(&dry, "plan").len(), of(&dry, "finding").len(), stages(&dry).len()), (1, 1, 0));
    let stats = events(&run([&source, "--stats", "--json"]).ok());
    assert_eq!(stages(&stats), ["measure"]);
    // The same without news of how far it is.
    let quiet = run([&source, "--stats", "--json", "-q"]).ok().stdout;
    assert!(quiet.contains(r#""event":"stage""#) && !quiet.contains(r#""event":"progress""#));
}

#[test]
fn runs_that_fail() {
    let place = place();
    let (source, out) = (text(&place.src()), text(&place.out()));
    for (code, name, args) in [
        (1, "failed", &["nothing-here", "--dry-run"][..]),
        (2, "usage", &[&source]),
        (2, "usage", &[&source, "--dry-run", "--no-such-option"]),
        (2, "usage", &[&source, "--stats", "--device", "no such adapter"]),
        (4, "findings", &[&source, "--format", "nvfp4", "--out", &out, "--strict"]),
        (6, "unfit", &[&source, "--verify"]),
    ] {
        let ran = run([args, &["--json"]].concat());
        assert_eq!(ran.code, Some(code), "{args:?}");
        let events = events(&ran);
        let error = events.last().unwrap();
        assert_eq!(error["code"], name, "{args:?}");
        let message = error["message"].as_str().unwrap();
        assert!(
            !message.is_empty() && ran.stderr.contains(message.lines().next().unwrap()),
            "{ran:?}"
        );
    }
    // Stages that do not come to their end.
    let mut model = language_model(Dtype::F32, 1);
    let last = model.iter_mut().rfind(|tensor| tensor.name.ends_with("up_proj.weight")).unwrap();
    last.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let place = Place::with(&model);
    let ran = run([place.export_args(&place.src(), &[]), vec!["--json".to_owned()]].concat());
    assert_eq!((ran.code, stages(&events(&ran))), (Some(6), vec!["quantize"]));
}

#[test]
fn nobody_needs_to_listen() {
    let place = place();
    let mut command = command(place.export_args(&place.src(), &["--json"]));
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(place.out().exists());
}
