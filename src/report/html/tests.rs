use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::dialect::Dialect;
use crate::format::Format;
use crate::model::Model;
use crate::plan::{Finding, FindingKind, Plan, Sharding};
use crate::recipe::Recipe;
use crate::report::svg::tests::assert_well_formed;
use crate::report::{Report, ReportFormat, rows};
use crate::stats::{ErrorSums, QuantizedStats, TensorStats, WeightSums};

fn demo() -> Plan {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo");
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let recipe = Recipe { format: Some(Format::Nvfp4), ..Recipe::default() };
    let dialect = Dialect::Modelopt;
    let model = Model::new(&checkpoint, dialect.fused_experts());
    Plan::new(&model, &recipe, dialect, Sharding::AsSource).unwrap()
}

/// Every tensor with numbers; those of quantized ones grow from one to the next.
fn stats(plan: &Plan) -> Vec<Option<TensorStats>> {
    let one = |(i, entry): (usize, &crate::plan::Entry)| {
        let error = ErrorSums { sum_squares: 0.5 + i as f64, max_abs: 0.125 };
        let quantized =
            QuantizedStats { signal_squares: 100.0, errors: error, ..QuantizedStats::default() };
        let weights = WeightSums { count: 4, sum_squares: 100.0, ..WeightSums::default() };
        Some(TensorStats {
            amax: 2.0,
            weights,
            quantized: entry.format().map(|_| quantized),
            ..TensorStats::default()
        })
    };
    plan.entries.iter().enumerate().map(one).collect()
}

fn page(
    plan: &Plan,
    stats: &[Option<TensorStats>],
    checkpoint: &str,
    findings: &[Finding],
) -> String {
    let report = Report {
        checkpoint: checkpoint.to_owned(),
        plan,
        device: (!stats.is_empty()).then(|| "CPU <fast>".to_owned()),
        rows: &rows(plan, stats),
        findings,
        verification: None,
    };
    report.text(ReportFormat::Html)
}

/// What is between the tags of the body, as XML that the test for pictures understands.
fn assert_is_closed(page: &str) {
    let (_, body) = page.split_once("</head>\n").unwrap();
    // That test is about numbers, too, and here are words.
    let body = body.strip_suffix("</html>\n").unwrap().replace("inf", "").replace("NaN", "");
    assert_well_formed(&body);
}

#[test]
fn a_page_has_every_part_and_nothing_from_outside() {
    let plan = demo();
    let page = page(&plan, &stats(&plan), "models/demo/", &[]);
    assert_is_closed(&page);
    for text in [
        "<title>demo · quantscope</title>",
        "CPU &lt;fast&gt;",
        "nvfp4 (28 tensors)",
        "ModelOpt",
        "norms are never quantized",
        "SQNR dB by layer and projection",
        "amax by layer",
        "model.layers.3.mlp.down_proj.weight",
    ] {
        assert!(page.contains(text), "{text}");
    }
    for part in ["sizes", "findings", "kept", "maps", "profile", "sqnr", "statistics"] {
        assert!(page.contains(&format!("<a href=\"#{part}\">")), "{part}");
        assert_eq!(page.matches(&format!("id=\"{part}\"")).count(), 1, "{part}");
    }
    for outside in ["<script", "<link", "@import", "src=", "url(h"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let gradients = page.matches("<linearGradient id=\"scale-").count();
    assert_eq!(page.matches("url(#scale-").count(), gradients);
    let (_, worst) = page.split_once("id=\"sqnr\"").unwrap();
    let last = plan.entries.iter().rposition(|entry| entry.format().is_some()).unwrap();
    let first = worst.find("<code>").unwrap();
    assert!(worst[first + 6..].starts_with(&plan.entries[last].member.tensor.name));
}

#[test]
fn no_name_can_become_markup_and_a_page_without_numbers_is_one_too() {
    let mut plan = demo();
    plan.entries[3].member.tensor.name = "<b onload=\"x\">&'".to_owned();
    let finding = Finding {
        kind: FindingKind::RuleMatchesNothing { rule: "--include <script>".to_owned() },
        tensors: vec!["</ul><script>".to_owned()],
        bytes: 3,
    };
    let page = page(&plan, &[], "/models/<evil>", &[finding]);
    assert_is_closed(&page);
    assert!(!page.contains("<script") && !page.contains("<b onload") && !page.contains("<evil"));
    assert!(!page.contains("id=\"sqnr\"") && !page.contains("id=\"profile\""));
    assert!(page.contains("no weight was read") && page.contains("bits/weight by layer"));
}
