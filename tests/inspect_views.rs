//! What is made of sheets of a matrix, on checkpoints that are large, fused, damaged or stored in other
//! ways than the demo.

mod common;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use common::{Place, Stored, floats, language_model, read_folder, read_json, write_single};
use quantscope::checkpoint::Checkpoint;
use quantscope::cpu::Cpu;
use quantscope::dialect::Dialect;
use quantscope::format::Format;
use quantscope::inspect::{
    Axis, ErrorMap, ErrorWindow, Histogram, InspectError, Level, Matrix, Numbers, Outliers, Reader,
    Regimes, Region, ScaleClass, ScaleMap, Subject,
};
use quantscope::model::Model;
use quantscope::plan::{Plan, Sharding};
use quantscope::quantized::{self, Outputs, Stated};
use quantscope::recipe::Recipe;
use safetensors::Dtype;

static GO: AtomicBool = AtomicBool::new(false);

/// Reads an expert of a tensor, planned as a recipe says.
fn planned(folder: &Path, recipe: &str, tensor: (&str, u64), look: impl FnOnce(&Reader<'_>)) {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let recipe: Recipe = toml::from_str(recipe).unwrap();
    let dialect = recipe.export.unwrap_or(Dialect::Modelopt);
    let model = Model::new(&checkpoint, dialect.fused_experts());
    let plan = Plan::new(&model, &recipe, dialect, Sharding::AsSource).unwrap();
    let subject = Subject { tensor: tensor.0.to_owned(), expert: tensor.1, format: None };
    let matrix = Matrix::of(&checkpoint, &[], &plan, &subject).unwrap();
    look(&Reader::new(matrix, &Cpu, &GO).unwrap());
}

/// Reads an expert of a layer that is stored quantized; the layer's weight has one of these names.
fn stored(folder: &Path, tensor: (&str, u64), look: impl FnOnce(&Reader<'_>)) {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let stated = Stated::of(&checkpoint);
    let layers = quantized::find(&checkpoint, None, stated.ignore_list(), stated.dialect);
    let plan = quantized::plan(&checkpoint, &layers, Outputs::Stored, Sharding::AsSource);
    let subject = Subject { tensor: tensor.0.to_owned(), expert: tensor.1, format: None };
    let matrix = Matrix::of(&checkpoint, &layers, &plan, &subject).unwrap();
    look(&Reader::new(matrix, &Cpu, &GO).unwrap());
}

const UP: &str = "model.layers.0.mlp.up_proj.weight";

/// A language model whose up projection is this.
fn with_up(up: Stored) -> Place {
    let mut tensors = language_model(Dtype::BF16, 1);
    tensors.retain(|tensor| tensor.name != up.name);
    tensors.push(up);
    Place::with(&tensors)
}

#[test]
fn a_matrix_of_several_sheets_is_counted_whole() {
    const SHAPE: [u64; 2] = [1300, 1040];
    let place = with_up(Stored::weights(UP, Dtype::BF16, &SHAPE));
    for format in ["nvfp4", "fp8", "fp8-block"] {
        planned(&place.src(), &format!("format = '{format}'"), (UP, 0), |reader| {
            let mut sheets = 0;
            let mut count = |_: &_| {
                sheets += 1;
                Ok(())
            };
            reader.for_each(&GO, &mut count).unwrap();
            assert!(sheets > 1);
            let count = SHAPE[0] * SHAPE[1];
            let all = Histogram::of(reader, &GO, Region::Matrix, Axis::Log).unwrap();
            let bins: u64 = all.bins.iter().map(|bin| bin.count).sum();
            assert_eq!((all.count, bins + all.zeros + all.under), (count, count));
            assert_eq!(all.codes.iter().sum::<u64>(), count);
            let outliers = Outliers::of(reader, &GO, 50).unwrap();
            assert_eq!((outliers.sums.count, all.amax), (count, outliers.amax));

            let scales = ScaleMap::of(reader, &GO).unwrap();
            assert_eq!(scales.len() as u64, scales.rows * scales.columns, "{format}");
            let map = ErrorMap::of(reader, &GO, ErrorMap::SIDE).unwrap();
            assert_eq!((map.rows, map.columns, map.cell_rows), (650, 520, 2));
            let window = ErrorWindow::of(reader, &GO, 1000..1050, 100..140).unwrap();
            for (row, column) in [(1000, 100), (1049, 139), (1020, 128)] {
                let sheet = reader.sheet(row..row + 1).unwrap();
                let error = sheet.cell(row, column).unwrap().error().unwrap();
                assert_eq!(window.at(row, column).unwrap().0, error);
            }
            let regimes = Regimes::of(reader, &GO).unwrap();
            let density: u64 = regimes.density.iter().sum();
            assert_eq!(density + regimes.exact + regimes.zeros, regimes.blocks);
            assert!(regimes.points.len() <= 4096);
            if format != "fp8" {
                assert_eq!(regimes.blocks as usize, scales.len());
            }
        });
    }
}

#[test]
fn experts_are_the_same_before_they_are_stored_and_after() {
    let of = |part: &str| common::data(&format!("modelopt/e2e/gptoss_w4a16nvfp4/{part}"));
    let name = "model.layers.0.mlp.experts.gate_up_proj";
    for expert in 0..4 {
        let mut maps = Vec::new();
        let mut codes = Vec::new();
        planned(&of("src"), "format = 'nvfp4'", (name, expert), |reader| {
            assert_eq!((reader.matrix.experts, reader.scope().is_some()), (4, true));
            maps.push(ScaleMap::of(reader, &GO).unwrap());
            let all = Histogram::of(reader, &GO, Region::Matrix, Axis::Linear).unwrap();
            assert_eq!(all.numbers, Numbers::Weights);
            codes.push(all.codes);
            let regimes = Regimes::of(reader, &GO).unwrap();
            assert_eq!(regimes.blocks as usize, maps[0].len());
            assert!(ErrorMap::of(reader, &GO, 64).unwrap().cells.iter().any(|c| c.rms > 0.0));
        });
        stored(&of("out"), (name, expert), |reader| {
            maps.push(ScaleMap::of(reader, &GO).unwrap());
            let all = Histogram::of(reader, &GO, Region::Matrix, Axis::Linear).unwrap();
            assert_eq!(all.numbers, Numbers::Values);
            codes.push(all.codes);
            let refused = ErrorWindow::of(reader, &GO, 0..1, 0..1);
            assert!(matches!(refused, Err(InspectError::NoWeights { .. })));
        });
        assert_eq!(maps[0], maps[1], "expert {expert}");
        assert_eq!(codes[0], codes[1], "expert {expert}");
    }
}

#[test]
fn weights_that_are_no_numbers_are_counted_and_have_no_codes() {
    let mut weights = vec![0.5f32; 64 * 64];
    (weights[3], weights[70], weights[71]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
    let bytes = floats(Dtype::BF16, weights.into_iter());
    let place = with_up(Stored::new(UP, Dtype::BF16, &[64, 64], bytes));
    planned(&place.src(), "format = 'nvfp4'", (UP, 0), |reader| {
        for axis in [Axis::Linear, Axis::Log] {
            let all = Histogram::of(reader, &GO, Region::Matrix, axis).unwrap();
            assert_eq!((all.nan, all.infinite, all.amax, all.codes.len()), (1, 2, 0.5, 0));
            assert_eq!(all.bins.iter().map(|bin| bin.count).sum::<u64>(), 64 * 64 - 3);
        }
        let outliers = Outliers::of(reader, &GO, 5).unwrap();
        assert_eq!((outliers.not_finite, outliers.largest[0].column), (3, 0));
        let refused = ScaleMap::of(reader, &GO).unwrap_err().to_string();
        assert!(refused.contains("NaN") || refused.contains("inf"), "{refused}");
        assert!(matches!(Regimes::of(reader, &GO), Err(InspectError::NoCodes { .. })));
    });
}

#[test]
fn matrices_of_zeros_have_neither_bins_nor_points() {
    let bytes = floats(Dtype::F16, vec![0f32; 64 * 64].into_iter());
    let place = with_up(Stored::new(UP, Dtype::F16, &[64, 64], bytes));
    planned(&place.src(), "format = 'nvfp4'", (UP, 0), |reader| {
        let all = Histogram::of(reader, &GO, Region::Matrix, Axis::Linear).unwrap();
        assert_eq!((all.zeros, all.bins.len(), all.codes[0]), (64 * 64, 0, 64 * 64));
        assert!(Outliers::of(reader, &GO, 5).unwrap().largest.is_empty());
    });
    // Those that share its scale are not zeros.
    planned(&place.src(), "format = 'fp8-channel'", (UP, 0), |reader| {
        let regimes = Regimes::of(reader, &GO).unwrap();
        assert_eq!((regimes.zeros, regimes.blocks, regimes.points.len()), (64, 64, 0));
        let map = ErrorMap::of(reader, &GO, 8).unwrap();
        assert!(map.cells.iter().all(|cell| cell.max_abs() == 0.0));
    });
}

#[test]
fn a_damaged_scale_is_found_in_a_stored_layer() {
    let place = Place::with(&language_model(Dtype::BF16, 1));
    place.export(&["-q"]).ok();
    let mut tensors: Vec<Stored> = read_folder(&place.out()).into_values().collect();
    let scales = UP.replace(".weight", ".weight_scale");
    let damaged = tensors.iter_mut().find(|tensor| tensor.name == scales).unwrap();
    let across = damaged.shape[1];
    (damaged.bytes[5], damaged.bytes[9]) = (0x7F, 0);
    let config = read_json(&place.out().join("config.json"));
    let folder = place.path("damaged");
    write_single(&folder, &tensors, &config);
    stored(&folder, (UP, 0), |reader| {
        let map = ScaleMap::of(reader, &GO).unwrap();
        assert_eq!(map.bad_places, [5u64, 9].map(|at| (at / across, at % across)));
        assert_eq!(map.counts[ScaleClass::NaN as usize], 1);
        let levels = map.mips(&Cpu).unwrap();
        let shows_it =
            |level: &Level| (0..level.len()).any(|at| level.worst(at) == ScaleClass::NaN);
        assert!(levels.iter().all(shows_it));
        let all = Histogram::of(reader, &GO, Region::Matrix, Axis::Log).unwrap();
        // A code of zero stands for zero under any scale but this one.
        assert!(all.nan == 16 && all.numbers == Numbers::Values, "{}", all.nan);
    });
}

#[test]
fn a_search_for_scales_lowers_the_errors_that_blocks_have() {
    let place = with_up(Stored::weights(UP, Dtype::F32, &[64, 64]));
    let mut errors = Vec::new();
    for search in ["max", "mse"] {
        let recipe = format!("format = 'nvfp4'\nscale_search = '{search}'");
        planned(&place.src(), &recipe, (UP, 0), |reader| {
            assert_eq!(reader.matrix.format, Some(Format::Nvfp4));
            let map = ErrorMap::of(reader, &GO, 1).unwrap();
            errors.push(map.cells[0].rms);
            let regimes = Regimes::of(reader, &GO).unwrap();
            assert!(!regimes.reference.is_empty() && !regimes.boundaries.is_empty());
        });
    }
    assert!(errors[1] < errors[0], "{errors:?}");
}

/// Everything that can be made of a matrix, and what must be true of each.
fn look_at_all(reader: &Reader<'_>, what: &str) {
    let matrix = &reader.matrix;
    let count = matrix.rows * matrix.weight_columns;
    let sheet = reader.sheet(0..matrix.rows).unwrap();
    let tile = sheet.tile();
    assert_eq!((reader.scope(), reader.tile()), (sheet.scope(), tile), "{what}");
    for axis in [Axis::Linear, Axis::Log] {
        let all = Histogram::of(reader, &GO, Region::Matrix, axis).unwrap();
        let bins: u64 = all.bins.iter().map(|bin| bin.count).sum();
        let apart = all.zeros + all.under + all.infinite + all.nan;
        assert_eq!((all.count, bins + apart), (count, count), "{what}");
        assert!(all.codes.is_empty() || all.codes.iter().sum::<u64>() == count, "{what}");
        let (down, across) = tile.count(matrix.rows, matrix.weight_columns as usize);
        let last = Region::Tile(down - 1, across as u64 - 1);
        let last = Histogram::of(reader, &GO, last, axis).unwrap();
        let row = (down - 1) * tile.rows as u64;
        let column = (across - 1) * tile.columns;
        if let Some(cell) = sheet.cell(row, column) {
            let mark = last.grid.iter().find(|mark| mark.code == cell.code).unwrap();
            assert_eq!(mark.value.to_bits(), cell.value.to_bits(), "{what}");
        }
    }
    let outliers = Outliers::of(reader, &GO, 10).unwrap();
    assert_eq!(outliers.sums.count + outliers.not_finite, count, "{what}");
    let Some(chunk) = &sheet.chunk else {
        assert!(matches!(ScaleMap::of(reader, &GO), Err(InspectError::NoCodes { .. })));
        return;
    };
    let (map, health) = (ScaleMap::of(reader, &GO).unwrap(), chunk.health());
    let [_, largest, subnormal, zero, negative, infinite, nan] = map.counts;
    let invalid = negative + infinite + nan;
    assert_eq!((map.len() as u64, invalid), (health.blocks, health.invalid), "{what}");
    let own = (largest, subnormal, zero);
    assert_eq!(own, (health.saturated, health.subnormal, health.zero), "{what}");
    assert_eq!(map.len() as u64, map.rows * map.columns, "{what}");
    if sheet.weights.is_none() {
        assert!(matches!(Regimes::of(reader, &GO), Err(InspectError::NoWeights { .. })));
        return;
    }
    let regimes = Regimes::of(reader, &GO).unwrap();
    let density: u64 = regimes.density.iter().sum();
    assert_eq!(density + regimes.exact + regimes.zeros, regimes.blocks, "{what}");
    let errors = ErrorMap::of(reader, &GO, 16).unwrap();
    let largest = errors.cells.iter().fold(0f64, |max, cell| max.max(cell.max_abs()));
    let cell_error = |place: u64| {
        let (row, column) = (place / matrix.weight_columns, place % matrix.weight_columns);
        sheet.cell(row, column as usize).unwrap().error().unwrap().abs()
    };
    assert_eq!(largest, (0..count).map(cell_error).fold(0.0, f64::max), "{what}");
}

#[test]
fn every_layer_of_the_reference_checkpoints_can_be_looked_at() {
    let mut seen = 0;
    for tool in ["modelopt", "compressed-tensors", "torchao"] {
        let Ok(folders) = std::fs::read_dir(common::data(&format!("{tool}/e2e"))) else { continue };
        for folder in folders {
            let mut path = folder.unwrap().path();
            if path.join("out").exists() {
                path.push("out");
            }
            let Ok(checkpoint) = Checkpoint::open(&path) else { continue };
            let stated = Stated::of(&checkpoint);
            let layers = quantized::find(&checkpoint, None, stated.ignore_list(), stated.dialect);
            let plan = quantized::plan(&checkpoint, &layers, Outputs::Stored, Sharding::AsSource);
            for entry in plan.entries.iter().take(layers.len() + 2) {
                let tensor = entry.member.tensor.name.clone();
                let subject = Subject { tensor, expert: 0, format: None };
                let Ok(matrix) = Matrix::of(&checkpoint, &layers, &plan, &subject) else {
                    continue;
                };
                let reader = Reader::new(matrix, &Cpu, &GO).unwrap();
                look_at_all(&reader, &format!("{} of {}", subject.tensor, path.display()));
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn matrices_in_every_arithmetic_can_be_looked_at() {
    let place = with_up(Stored::weights(UP, Dtype::F16, &[96, 160]));
    for (dialect, format) in [
        ("compressed-tensors", "nvfp4"),
        ("compressed-tensors", "int4-asym-g32"),
        ("compressed-tensors", "int8"),
        ("modelopt", "mxfp8"),
        ("modelopt", "fp8-block"),
        ("executorch", "int4-g32"),
    ] {
        let recipe = format!("format = '{format}'\nexport = '{dialect}'\nunserved = true");
        planned(&place.src(), &recipe, (UP, 0), |reader| {
            assert!(reader.scope().is_some(), "{dialect} {format}");
            look_at_all(reader, &format!("{dialect} {format}"));
        });
    }
    for name in common::onnx_models() {
        let model = common::onnx_model(&name);
        for format in ["int4-g32", "int4-asym-g32", "int8-g16"] {
            let checkpoint = Checkpoint::open(&model).unwrap();
            let text = format!("format = '{format}'\nexport = 'onnx'\nunserved = true");
            let recipe: Recipe = toml::from_str(&text).unwrap();
            let model = Model::new(&checkpoint, Dialect::Onnx.fused_experts());
            let plan = Plan::new(&model, &recipe, Dialect::Onnx, Sharding::AsSource);
            let Ok(plan) = plan else { continue };
            for entry in plan.entries.iter().filter(|entry| entry.format().is_some()).take(3) {
                let tensor = entry.member.tensor.name.clone();
                let subject = Subject { tensor, expert: 0, format: None };
                let matrix = Matrix::of(&checkpoint, &[], &plan, &subject).unwrap();
                let reader = Reader::new(matrix, &Cpu, &GO).unwrap();
                look_at_all(&reader, &format!("{} of {name} in {format}", subject.tensor));
            }
        }
    }
}
