//! What the map shows: rows, columns, and the row of numbers of each cell.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::gui::session::{Analysis, Tables};
use crate::model::Role;
use crate::report::{Column, GridColumn, Row, Summary};

/// Where a row of numbers is in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Cell(usize, usize),
    Expert(usize, usize),
}

/// A row or column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What there is room for.
    pub short: String,
    /// What it is.
    pub full: String,
    /// What it is a part of, such as `self_attn`; empty if that is the layer.
    pub part_of: String,
}

impl Head {
    fn of_column(column: &GridColumn) -> Self {
        Self {
            short: column.short().to_owned(),
            full: column.name.clone(),
            part_of: module_of(&column.name, column.short()),
        }
    }

    /// What tells it apart without the names of modules over it.
    pub fn alone(&self) -> String {
        match self.part_of.rsplit('.').next() {
            None | Some("" | "self_attn" | "mlp") => self.short.clone(),
            Some(module) => format!("{module}.{}", self.short),
        }
    }

    fn numbered(what: &str, number: u32) -> Self {
        let full = format!("{what} {number}");
        Self { short: number.to_string(), full, part_of: String::new() }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The numbers.
    pub column: Column,
    /// Whether norms and biases are shown.
    pub small: bool,
    /// The layer whose experts are shown; all layers if there is none.
    pub experts_of: Option<u32>,
}

/// What the map shows.
#[derive(Debug)]
pub struct Sheet {
    wanted: Wanted,
    analysis: Arc<Analysis>,
    tables: Arc<Tables>,
    /// Layers, or experts.
    pub rows: Vec<Head>,
    /// Projections.
    pub columns: Vec<Head>,
    /// Row by row.
    places: Vec<Option<Place>>,
    /// Tensors in no layer: what they are called here, and where they are in the tables.
    outside: Vec<(String, usize)>,
    /// What there is of the numbers.
    pub summary: Summary,
    /// Number of columns and other tensors that are left out.
    pub left_out: usize,
    /// The layers that have experts.
    pub layers_with_experts: Vec<u32>,
}

impl Sheet {
    /// Takes what is asked for out of the tables.
    pub fn new(analysis: &Arc<Analysis>, tables: &Arc<Tables>, wanted: Wanted) -> Self {
        let mut sheet = Self {
            wanted,
            analysis: Arc::clone(analysis),
            tables: Arc::clone(tables),
            rows: Vec::new(),
            columns: Vec::new(),
            places: Vec::new(),
            outside: Vec::new(),
            summary: Summary::of(wanted.column, []),
            left_out: 0,
            layers_with_experts: Vec::new(),
        };
        match wanted.experts_of {
            None => sheet.take_layers(),
            Some(_) => sheet.take_experts(),
        }
        sheet.summary = Summary::of(wanted.column, sheet.all());
        sheet.layers_with_experts = sheet.find_layers_with_experts();
        sheet
    }

    /// Whether it is still what is asked for.
    pub fn is_of(&self, analysis: &Arc<Analysis>, tables: &Arc<Tables>, wanted: Wanted) -> bool {
        self.wanted == wanted
            && Arc::ptr_eq(&self.analysis, analysis)
            && Arc::ptr_eq(&self.tables, tables)
    }

    fn take_layers(&mut self) {
        let grid = &self.analysis.grid;
        let small = self.wanted.small;
        let mut shown: Vec<usize> =
            (0..grid.columns.len()).filter(|&c| small || !grid.columns[c].is_small).collect();
        self.left_out = grid.columns.len() - shown.len();
        let head = |&c: &usize| Head::of_column(&grid.columns[c]);
        let modules: Vec<String> = shown.iter().map(|c| head(c).part_of).collect();
        // What is a part of one module stands together, where the first of it is.
        let first = |c: &usize| {
            let module = head(c).part_of;
            modules.iter().position(|known| *known == module)
        };
        shown.sort_by_cached_key(first);
        self.columns = shown.iter().map(head).collect();
        let head = |layer: &u32| Head::numbered("layer", *layer);
        self.rows = grid.layers.iter().map(head).collect();
        let place = |r, c| self.tables.cells.contains_key(&(r, c)).then_some(Place::Cell(r, c));
        self.places =
            (0..grid.layers.len()).flat_map(|r| shown.iter().map(move |&c| place(r, c))).collect();
        for (i, row) in self.tables.outside.iter().enumerate() {
            match small || !self.analysis.is_small(row) {
                true => self.outside.push((outside_name(&row.name), i)),
                false => self.left_out += 1,
            }
        }
    }

    fn take_experts(&mut self) {
        let Some(layer) = self.wanted.experts_of else { return };
        let projections = &self.tables.experts;
        // For a moment after another layer was asked for, the tables are still those of the last one.
        let is_current =
            projections.iter().flat_map(|(_, rows)| rows).all(|row| row.layer == Some(layer));
        if !is_current {
            return;
        }
        let experts: BTreeSet<u32> =
            projections.iter().flat_map(|(_, rows)| rows).filter_map(|row| row.expert).collect();
        let head = |expert: &u32| Head::numbered("expert", *expert);
        self.rows = experts.iter().map(head).collect();
        let head = |name: &String| Head {
            short: outside_name(short_projection(name)),
            full: name.clone(),
            part_of: String::new(),
        };
        let mut order: Vec<usize> = (0..projections.len()).collect();
        order.sort_by_key(|&p| projections[p].1.first().and_then(|row| self.column_of(row)));
        self.columns = order.iter().map(|&p| head(&projections[p].0)).collect();
        for expert in experts {
            for &p in &order {
                let found = projections[p].1.iter().position(|row| row.expert == Some(expert));
                self.places.push(found.map(|i| Place::Expert(p, i)));
            }
        }
    }

    /// The column of the grid that a row of a single expert is in.
    fn column_of(&self, row: &Row) -> Option<usize> {
        let entry = row.entries.first()?;
        let cells = self.analysis.grid.cells.iter();
        cells.filter(|(_, entries)| entries.contains(entry)).map(|(place, _)| place.1).next()
    }

    /// The numbers of a cell.
    pub fn cell(&self, row: usize, column: usize) -> Option<&Row> {
        match (*self.places.get(row * self.columns.len() + column)?)? {
            Place::Cell(r, c) => self.tables.cells.get(&(r, c)),
            Place::Expert(p, i) => self.tables.experts.get(p)?.1.get(i),
        }
    }

    /// Tensors in no layer: their names and numbers.
    pub fn outside(&self) -> impl ExactSizeIterator<Item = (&str, &Row)> {
        self.outside.iter().map(|(name, i)| (name.as_str(), &self.tables.outside[*i]))
    }

    /// All numbers that are shown: those outside the layers last.
    pub fn all(&self) -> impl Iterator<Item = &Row> {
        let columns = self.columns.len();
        let cells = (0..self.places.len()).filter_map(move |i| self.cell(i / columns, i % columns));
        cells.chain(self.outside().map(|(_, row)| row))
    }

    /// The layer whose experts a cell stands for.
    pub fn experts_in(&self, row: &Row) -> Option<u32> {
        let is_several = row.role == Some(Role::Expert)
            && (row.tensors > 1 || row.shape.len() > 2)
            && self.wanted.experts_of.is_none();
        row.layer.filter(|_| is_several)
    }

    /// Names of the tensors that a row stands for.
    pub fn names<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = &'a String> {
        self.analysis.tensors_of(row)
    }

    fn find_layers_with_experts(&self) -> Vec<u32> {
        let entries = &self.analysis.plan.entries;
        let layer = |&i: &usize| {
            let member = &entries.get(i)?.member;
            member.layer.filter(|_| member.role == Role::Expert)
        };
        let firsts = self.analysis.grid.cells.values().filter_map(|cell| layer(cell.first()?));
        firsts.collect::<BTreeSet<u32>>().into_iter().collect()
    }
}

/// What a tensor in no layer is called where there is little room.
fn outside_name(name: &str) -> String {
    let name = name.strip_suffix(".weight").unwrap_or(name);
    name.strip_prefix("model.").unwrap_or(name).to_owned()
}

/// The module of a projection, without what says that there are several.
fn module_of(name: &str, short: &str) -> String {
    let module = name.strip_suffix(".bias").unwrap_or(name).strip_suffix(short).unwrap_or("");
    module.trim_end_matches('.').trim_end_matches(".*").to_owned()
}

/// What an expert's projection is called: what follows the list of experts.
fn short_projection(name: &str) -> &str {
    let after = name.rsplit_once("experts.*.").map(|(_, rest)| rest);
    after.or_else(|| name.rsplit_once("experts.").map(|(_, rest)| rest)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_where_there_is_little_room() {
        assert_eq!(outside_name("model.embed_tokens.weight"), "embed_tokens");
        assert_eq!(outside_name("lm_head.weight"), "lm_head");
        for (name, short, module) in [
            ("self_attn.q_proj", "q_proj", "self_attn"),
            ("self_attn.q_proj.bias", "q_proj", "self_attn"),
            ("mlp.experts.*.up_proj", "up_proj", "mlp.experts"),
            ("input_layernorm", "input_layernorm", ""),
        ] {
            assert_eq!(module_of(name, short), module);
        }
        for (name, short) in [
            ("model.layers.0.mlp.experts.*.up_proj.weight", "up_proj.weight"),
            ("model.layers.0.mlp.experts.gate_up_proj", "gate_up_proj"),
            ("a.weight*", "a.weight*"),
        ] {
            assert_eq!(short_projection(name), short);
        }
    }
}
