//! Views of how weights are spread, of outliers and of regimes show the numbers of the library.
#![cfg(feature = "gui")]

mod common;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use common::window::*;
use eframe::egui::{Key, Role};
use egui_kittest::kittest::{NodeT, Queryable};
use quantscope::checkpoint::Checkpoint;
use quantscope::cpu::Cpu;
use quantscope::dialect::Dialect;
use quantscope::gui::Source;
use quantscope::inspect::{Axis, Histogram, Matrix, Outliers, Reader, Regimes, Region, Subject};
use quantscope::model::Model;
use quantscope::plan::{Plan, Sharding};
use quantscope::recipe::Recipe;

static GO: AtomicBool = AtomicBool::new(false);

/// A view of the first tensor of the demo that is quantized.
fn open(view: &str) -> Window {
    let mut window = window(settings(), Some(Source::Path(DEMO.into())));
    settle(&mut window);
    choose_format(&mut window, "nvfp4");
    click(&mut window, "Inspect");
    click(&mut window, &format!("View: {view}"));
    window
}

/// Reads that tensor.
fn read<T>(look: impl FnOnce(&Reader<'_>) -> T) -> T {
    let checkpoint = Checkpoint::open(Path::new(DEMO)).unwrap();
    let recipe: Recipe = toml::from_str("format = 'nvfp4'").unwrap();
    let model = Model::new(&checkpoint, Dialect::Modelopt.fused_experts());
    let plan = Plan::new(&model, &recipe, Dialect::Modelopt, Sharding::AsSource).unwrap();
    let first = plan.entries.iter().find(|entry| entry.format().is_some()).unwrap();
    let subject = Subject { tensor: first.member.tensor.name.clone(), expert: 0, format: None };
    let matrix = Matrix::of(&checkpoint, &[], &plan, &subject).unwrap();
    look(&Reader::new(matrix, &Cpu, &GO).unwrap())
}

/// The values of the fields that tell the row and the column.
fn place(window: &Window) -> (String, String) {
    let fields: Vec<String> = window
        .query_all_by_role(Role::SpinButton)
        .filter_map(|field| field.accesskit_node().value())
        .collect();
    (fields[0].clone(), fields[1].clone())
}

fn said(histogram: &Histogram) -> String {
    format!(
        "Histogram: {} weights, amax {}, {} exactly zero, {} under the axis, {} not finite",
        histogram.count,
        histogram.amax,
        histogram.zeros,
        histogram.under,
        histogram.nan + histogram.infinite
    )
}

/// What the picture of codes says.
fn codes_said(histogram: &Histogram) -> String {
    let used = histogram.codes.iter().filter(|count| **count > 0).count();
    // +0 and −0.
    let zero = histogram.codes[0] + histogram.codes[8];
    format!("Codes: {used} of 16 used, {zero} weights on zero")
}

#[test]
fn histograms_are_those_of_the_tensor_the_row_and_the_block() {
    let mut window = open("Histogram");
    for (choice, region) in [
        ("Count: all weights", Region::Matrix),
        ("Count: the row", Region::Row(0)),
        ("Count: the block", Region::Tile(0, 0)),
    ] {
        click(&mut window, choice);
        for (choice, axis) in [("Axis: logarithmic", Axis::Log), ("Axis: linear", Axis::Linear)] {
            click(&mut window, choice);
            let own = read(|reader| Histogram::of(reader, &GO, region, axis).unwrap());
            for said in [said(&own), codes_said(&own)] {
                assert!(window.query_by_label(&said).is_some(), "{said}");
            }
        }
    }
    // Arrow keys go on, and another block is counted.
    window.key_press(Key::PageDown);
    settle(&mut window);
    assert_eq!(place(&window), ("0".to_owned(), "16".to_owned()));
    let next = Region::Tile(0, 1);
    let next = read(|reader| Histogram::of(reader, &GO, next, Axis::Linear).unwrap());
    assert!(window.query_by_label(&said(&next)).is_some());
}

#[test]
fn an_outlier_that_is_clicked_is_looked_at_in_all_views() {
    let mut window = open("Outliers");
    let outliers = read(|reader| Outliers::of(reader, &GO, 200).unwrap());
    let (row, column) = (&outliers.rows[0], &outliers.columns[0]);
    for (what, count, line) in
        [("row", outliers.row_amax.len(), row), ("column", outliers.column_amax.len(), column)]
    {
        let said = format!(
            "Largest magnitudes of {count} {what}s: largest {} in {what} {}",
            line.amax, line.index
        );
        assert!(window.query_by_label(&said).is_some(), "{said}");
    }
    let second = &outliers.largest[1];
    let said = format!("weight {} at row {}, column {}", second.value, second.row, second.column);
    click(&mut window, &said);
    assert_eq!(place(&window), (second.row.to_string(), second.column.to_string()));
    click(&mut window, &format!("row {}: {:.1} ×", row.index, row.over_median));
    click(&mut window, &format!("column {}: {:.1} ×", column.index, column.over_median));
    assert_eq!(place(&window), (row.index.to_string(), column.index.to_string()));
    click(&mut window, "In the microscope");
    assert!(window.query_by_label("Weights of the block").is_some());
    assert_eq!(place(&window), (row.index.to_string(), column.index.to_string()));
}

#[test]
fn regimes_count_blocks_and_mark_the_one_that_is_looked_at() {
    let mut window = open("Regimes");
    let regimes = read(|reader| Regimes::of(reader, &GO).unwrap());
    let said = format!(
        "Regimes: {} blocks, {} of zeros, {} exact, global amax {}; block 0,0 at x ",
        regimes.blocks, regimes.zeros, regimes.exact, regimes.amax
    );
    assert!(window.query_by_label_contains(&said).is_some(), "{said}");
    window.key_press(Key::PageDown);
    settle(&mut window);
    assert!(window.query_by_label_contains("; block 0,1 at x ").is_some());
    click(&mut window, "Show: only where blocks are");
    assert!(window.query_by_label_contains("Regimes: ").is_some());
}
