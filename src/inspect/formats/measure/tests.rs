use std::path::Path;

use super::*;
use crate::cpu::Cpu;
use crate::dialect::Dialect;
use crate::inspect::Reader;
use crate::inspect::formats::FormatMatrix;
use crate::model::Model;
use crate::plan::Sharding;
use crate::recipe::Recipe;

fn opened(folder: &str, format: &str, dialect: Dialect) -> (Checkpoint, Plan) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let recipe = Recipe { format: Some(format.parse().unwrap()), ..Recipe::default() };
    let model = Model::new(&checkpoint, dialect.fused_experts());
    let plan = Plan::new(&model, &recipe, dialect, Sharding::AsSource).unwrap();
    (checkpoint, plan)
}

fn cells(of: &(Checkpoint, Plan), tensor: &str, formats: &[Format]) -> Vec<FormatCell> {
    let cancel = AtomicBool::new(false);
    measure(&of.0, &of.1, tensor, formats, &Cpu, &cancel, &mut |_| {}).unwrap()
}

#[test]
fn errors_are_those_of_the_sheets_and_sizes_those_of_the_plan() {
    let never = AtomicBool::new(false);
    for (dialect, format) in [
        (Dialect::Modelopt, "nvfp4"),
        (Dialect::CompressedTensors, "nvfp4"),
        (Dialect::ExecuTorch, "int4-g32"),
    ] {
        let opened = opened("assets/demo", format, dialect);
        let name = "model.layers.1.mlp.up_proj.weight";
        let formats: Vec<Format> = dialect.formats().collect();
        let cells = cells(&opened, name, &formats);
        assert_eq!(cells.len(), formats.len() + 1);
        for cell in &cells[1..] {
            let subject = Subject { tensor: name.to_owned(), expert: 0, format: cell.format };
            let matrix = Matrix::of(&opened.0, &[], &opened.1, &subject).unwrap();
            let reader = Reader::new(matrix, &Cpu, &never).unwrap();
            let Ok(sums) = &cell.outcome else {
                assert!(reader.refused.is_some(), "{cell:?}");
                continue;
            };
            let (mut squares, mut signal, mut max) = (0.0, 0.0, 0f64);
            let sheet = reader.sheet(0..192).unwrap();
            for (weight, value) in sheet.weights.unwrap().iter().zip(&sheet.values) {
                let error = f64::from(*value) - f64::from(*weight);
                (squares, max) = (squares + error * error, max.max(error.abs()));
                signal += f64::from(*weight).powi(2);
            }
            let near = |a: f64, b: f64| (a - b).abs() <= 1e-5 * b.abs();
            assert!(near(sums.errors.sum_squares, squares), "{cell:?} {squares}");
            assert!(near(sums.signal_squares, signal) && near(sums.errors.max_abs, max));
            let entry = opened.1.entries.iter().find(|e| e.member.tensor.name == name);
            let entry = entry.unwrap();
            if entry.format() == cell.format {
                assert_eq!(sums.bytes, entry.bytes_after());
            }
            let bits = dialect.bits_per_weight_of(entry.member.tensor.dtype, cell.format.unwrap());
            assert!(sums.bits_per_weight() < bits + 1.1, "{cell:?}");
        }
    }
}

#[test]
fn what_does_not_divide_or_has_no_place_has_a_reason() {
    let opened = opened("assets/demo", "nvfp4", Dialect::CompressedTensors);
    let formats = ["int4-g128", "int8-g16", "fp8"].map(|name| name.parse().unwrap());
    let cells = cells(&opened, "model.layers.0.mlp.up_proj.weight", &formats);
    let whys: Vec<String> = cells.iter().filter_map(|cell| cell.outcome.clone().err()).collect();
    assert_eq!(whys[0], "rows of 64 are no multiple of the block of 128");
    assert!(cells[0].outcome.clone().is_ok_and(|kept| kept.bytes == 192 * 64 * 2));
    let norm = super::tests::cells(&opened, "model.norm.weight", &formats);
    assert!(norm[1..].iter().all(|cell| cell.outcome.is_err()), "{norm:?}");
}

#[test]
fn groups_add_up() {
    let opened = opened("assets/demo", "nvfp4", Dialect::Modelopt);
    let formats = ["nvfp4", "int4-g128"].map(|name| name.parse().unwrap());
    let names = ["down_proj", "up_proj"].map(|name| format!("model.layers.0.mlp.{name}.weight"));
    let rows = names.map(|name| (name.clone(), cells(&opened, &name, &formats)));
    let matrix = FormatMatrix { rows: rows.to_vec() };
    let all = matrix.together(|_| "mlp".to_owned());
    let sums = |row: usize| matrix.rows[row].1[1].outcome.clone().unwrap();
    let total = all.rows[0].1[1].outcome.clone().unwrap();
    assert_eq!(total.bytes, sums(0).bytes + sums(1).bytes);
    assert_eq!(total.errors.sum_squares, sums(0).errors.sum_squares + sums(1).errors.sum_squares);
    assert!(all.rows[0].1[2].outcome.is_err());
    assert_eq!(matrix.csv().lines().count(), 1 + 6);
}
