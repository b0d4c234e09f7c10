//! The tensors of a model as a grid: a row for each decoder layer, a column for each projection.

use std::collections::{BTreeMap, HashMap};

use crate::dialect::Dialect;
use crate::model::{Role, natural_order};
use crate::plan::{Entry, Plan};

/// Where tensors are in the grid, as indices of the plan's entries.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grid {
    /// Numbers of the layers: a row each.
    pub layers: Vec<u32>,
    /// Names of the projections: a column each.
    pub columns: Vec<GridColumn>,
    /// The tensors of each cell, by row and column. Experts of a projection share one.
    pub cells: BTreeMap<(usize, usize), Vec<usize>>,
    /// Tensors in no layer, each under its name.
    pub outside: Vec<usize>,
}

/// A column of the grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GridColumn {
    /// The projection, such as `self_attn.q_proj` or `mlp.experts.*.up_proj`.
    pub name: String,
    /// What its tensors are.
    pub role: Role,
    /// Whether no format is for them.
    pub is_small: bool,
}

impl GridColumn {
    /// Its last part, which is what there is room for.
    pub fn short(&self) -> &str {
        let bias = self.name.strip_suffix(".bias").unwrap_or(&self.name);
        let start = bias.rfind('.').map_or(0, |at| at + 1);
        &self.name[start..]
    }
}

impl Grid {
    /// Places the entries of a plan.
    pub fn of(plan: &Plan) -> Self {
        let mut grid = Self::default();
        let mut places: HashMap<String, Vec<(u32, usize)>> = HashMap::new();
        let mut roles = HashMap::new();
        for (i, entry) in plan.entries.iter().enumerate() {
            match (entry.member.layer, entry.member.projection(plan.dialect.is_onnx())) {
                (Some(layer), Some(name)) => {
                    let what = (entry.member.role, is_small(entry, plan.dialect));
                    roles.entry(name.clone()).or_insert(what);
                    places.entry(name).or_default().push((layer, i));
                    grid.layers.push(layer);
                }
                _ => grid.outside.push(i),
            }
        }
        grid.layers.sort_unstable();
        grid.layers.dedup();
        let column = |(name, (role, is_small))| GridColumn { name, role, is_small };
        grid.columns = roles.into_iter().map(column).collect();
        grid.columns.sort_by(|a, b| {
            (rank(a.role), a.role)
                .cmp(&(rank(b.role), b.role))
                .then_with(|| in_order(&a.name, &b.name))
        });
        for (column, GridColumn { name, .. }) in grid.columns.iter().enumerate() {
            for (layer, entry) in places.remove(name).unwrap_or_default() {
                let row = grid.layers.partition_point(|other| *other < layer);
                grid.cells.entry((row, column)).or_default().push(entry);
            }
        }
        grid
    }
}

/// The order of columns: as data flows through a layer, small tensors last.
const fn rank(role: Role) -> u8 {
    match role {
        Role::Attention => 0,
        Role::Mlp => 1,
        Role::Router => 2,
        Role::Expert => 3,
        Role::Norm => 5,
        Role::Bias => 6,
        _ => 4,
    }
}

/// Projections in the order in which they are used, then by name.
fn in_order(a: &str, b: &str) -> std::cmp::Ordering {
    const USED: [&str; 12] = [
        "q_a_proj",
        "q_b_proj",
        "kv_a_proj",
        "kv_b_proj",
        "qkv_proj",
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    ];
    let place =
        |name: &str| USED.iter().position(|known| name.contains(known)).unwrap_or(USED.len());
    place(a).cmp(&place(b)).then_with(|| natural_order(a, b))
}

/// Whether no format is for a tensor: a norm, a bias, or what is no layer's in a graph.
pub fn is_small(entry: &Entry, dialect: Dialect) -> bool {
    match entry.member.role {
        Role::Norm | Role::Bias => true,
        Role::Other => dialect.is_onnx() && !entry.member.is_weight,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::model::Model;
    use crate::plan::Sharding;
    use crate::recipe::Recipe;

    #[test]
    fn every_tensor_of_the_demo_has_one_place() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo");
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let dialect = Dialect::Modelopt;
        let model = Model::new(&checkpoint, dialect.fused_experts());
        let plan = Plan::new(&model, &Recipe::default(), dialect, Sharding::AsSource).unwrap();
        let grid = Grid::of(&plan);
        assert_eq!(grid.layers, [0, 1, 2, 3]);
        let names: Vec<&str> = grid.columns.iter().map(GridColumn::short).collect();
        let expected = [
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "gate_proj",
            "up_proj",
            "down_proj",
            "input_layernorm",
            "post_attention_layernorm",
        ];
        assert_eq!(names, expected);
        let placed: usize = grid.cells.values().map(Vec::len).sum();
        assert_eq!(placed + grid.outside.len(), plan.entries.len());
        let entry = grid.cells[&(2, 4)][0];
        assert_eq!(plan.entries[entry].member.tensor.name, "model.layers.2.mlp.gate_proj.weight");
    }
}
