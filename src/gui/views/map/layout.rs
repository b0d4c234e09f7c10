//! Where the cells of a map are.

use std::ops::Range;

use eframe::egui::{Rect, Vec2, pos2, vec2};

/// The smallest cell, and the largest.
const CELLS: [Vec2; 2] = [vec2(20.0, 15.0), vec2(112.0, 32.0)];
/// Between blocks of rows that stand side by side.
const GAP: f32 = 24.0;
/// Height of names that lie flat.
const FLAT: f32 = 24.0;
/// Height of the names of modules.
pub const MODULES: f32 = 20.0;
/// Sine of the slope of names that do not.
pub const SLOPE: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// What has to fit.
#[derive(Debug, Clone, Copy)]
pub struct Content {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Width of the widest row name.
    pub label: f32,
    /// Width of the widest column name that lies flat, under that of its module.
    pub name: f32,
    /// Width of the widest column name that rises, which stands alone.
    pub rising: f32,
    /// Width of the widest number.
    pub number: f32,
    /// Whether rows may stand in several blocks side by side.
    pub wraps: bool,
    /// Whether there are modules that columns are a part of.
    pub modules: bool,
}

/// Where cells, row names and column names are, from the upper left corner of it all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layout {
    rows: usize,
    columns: usize,
    /// Size of a cell.
    pub cell: Vec2,
    /// Width of the row names.
    pub label: f32,
    /// Height of the column names.
    pub header: f32,
    /// Whether column names rise to the right.
    pub slanted: bool,
    /// What they rise beyond the last column.
    tail: f32,
    /// Number of blocks side by side.
    pub blocks: usize,
    per_block: usize,
}

impl Layout {
    /// Fills a space as well as it can.
    pub fn new(content: Content, space: Vec2) -> Self {
        let Content { rows, columns, label, name, rising, number, wraps, modules } = content;
        let [least, most] = CELLS;
        let label = label + 14.0;
        let wide = (number + 10.0).clamp(least.x, most.x);
        let in_row = columns.max(1) as f32;
        let fitting = ((space.x + GAP) / (label + in_row * wide + GAP)).floor().max(1.0);
        let high = ((space.y - FLAT) / (least.y + 3.0)).floor().max(1.0);
        let blocks = (rows as f32 / high).ceil().clamp(1.0, fitting) as usize;
        let blocks = if wraps { blocks } else { 1 };
        let width = |tail: f32| {
            let gaps = GAP * (blocks - 1) as f32;
            let free = space.x - tail - gaps - blocks as f32 * label;
            (free / (blocks as f32 * in_row)).floor().clamp(least.x, most.x)
        };
        let slanted = name + 10.0 > width(0.0);
        let tail = if slanted { rising * SLOPE } else { 0.0 };
        let flat = if modules { FLAT + MODULES } else { FLAT };
        let header = if slanted { rising * SLOPE + 20.0 } else { flat };
        let per_block = rows.div_ceil(blocks).max(1);
        let height = ((space.y - header) / per_block as f32).floor().clamp(least.y, most.y);
        let cell = vec2(width(tail), height);
        Self { rows, columns, cell, label, header, slanted, tail, blocks, per_block }
    }

    /// Size of it all.
    pub fn size(&self) -> Vec2 {
        let right = self.block_left(self.blocks - 1) + self.block_width() + self.tail;
        vec2(right, self.header + self.per_block.min(self.rows) as f32 * self.cell.y)
    }

    fn block_width(&self) -> f32 {
        self.label + self.columns as f32 * self.cell.x
    }

    fn block_left(&self, block: usize) -> f32 {
        block as f32 * (self.block_width() + GAP)
    }

    /// Where a cell is.
    pub fn cell_rect(&self, row: usize, column: usize) -> Rect {
        let (block, below) = (row / self.per_block, row % self.per_block);
        let x = self.block_left(block) + self.label + column as f32 * self.cell.x;
        Rect::from_min_size(pos2(x, self.header + below as f32 * self.cell.y), self.cell)
    }

    /// Where a row's name is.
    pub fn label_rect(&self, row: usize) -> Rect {
        let (block, below) = (row / self.per_block, row % self.per_block);
        let min = pos2(self.block_left(block), self.header + below as f32 * self.cell.y);
        Rect::from_min_size(min, vec2(self.label, self.cell.y))
    }

    /// Where a column's name is, in a block.
    pub fn header_rect(&self, block: usize, column: usize) -> Rect {
        let x = self.block_left(block) + self.label + column as f32 * self.cell.x;
        let is_last = column + 1 == self.columns;
        let width = self.cell.x + if is_last { self.tail } else { 0.0 };
        Rect::from_min_size(pos2(x, 0.0), vec2(width, self.header))
    }

    /// The column whose name is at a point of the column names of a block.
    pub fn column_at(&self, block: usize, at: Vec2) -> usize {
        let risen = if self.slanted { (self.header - at.y).max(0.0) } else { 0.0 };
        let x = at.x - risen - self.block_left(block) - self.label;
        ((x / self.cell.x).max(0.0) as usize).min(self.columns.saturating_sub(1))
    }

    /// The rows of a block that are in sight, and the columns.
    pub fn in_sight(&self, block: usize, sight: Rect) -> (Range<usize>, Range<usize>) {
        let first = block * self.per_block;
        let until = (first + self.per_block).min(self.rows);
        let top = ((sight.top() - self.header) / self.cell.y).floor().max(0.0) as usize;
        let bottom = ((sight.bottom() - self.header) / self.cell.y).ceil().max(0.0) as usize;
        let origin = self.block_left(block) + self.label;
        let left = ((sight.left() - origin) / self.cell.x).floor().max(0.0) as usize;
        let right = ((sight.right() - origin) / self.cell.x).ceil().max(0.0) as usize;
        let rows = (first + top).min(until)..(first + bottom).min(until);
        (rows, left.min(self.columns)..right.min(self.columns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: Content = Content {
        rows: 30,
        columns: 7,
        label: 14.0,
        name: 60.0,
        rising: 60.0,
        number: 40.0,
        wraps: false,
        modules: true,
    };

    #[test]
    fn cells_fill_the_space_and_names_that_are_too_wide_rise() {
        let layout = Layout::new(CONTENT, vec2(700.0, 700.0));
        assert!(!layout.slanted && layout.size().x <= 700.0 && layout.size().y <= 700.0);
        assert!(layout.cell.x > 90.0 && layout.cell.y > 20.0);
        let many = Layout::new(Content { rows: 200, columns: 40, ..CONTENT }, vec2(700.0, 700.0));
        assert!(many.slanted && many.size().x > 700.0 && many.size().y > 700.0);
        assert_eq!(many.cell, CELLS[0]);
    }

    #[test]
    fn only_what_is_in_sight_is_drawn() {
        let layout = Layout::new(Content { rows: 200, columns: 40, ..CONTENT }, vec2(700.0, 700.0));
        let sight = Rect::from_min_size(pos2(100.0, 1000.0), vec2(700.0, 700.0));
        let (rows, columns) = layout.in_sight(0, sight);
        assert!(rows.len() <= 48 && columns.len() <= 36);
        for (row, column) in [(rows.start, columns.start), (rows.end - 1, columns.end - 1)] {
            assert!(layout.cell_rect(row, column).intersects(sight));
        }
        assert!(!layout.cell_rect(rows.end, columns.start).intersects(sight));
    }

    #[test]
    fn many_experts_stand_in_blocks_that_share_no_place() {
        let content = Content { rows: 128, columns: 3, wraps: true, ..CONTENT };
        let layout = Layout::new(content, vec2(900.0, 500.0));
        assert!(layout.blocks > 1, "{layout:?}");
        let rects: Vec<Rect> = (0..128).map(|row| layout.cell_rect(row, 2)).collect();
        for (i, a) in rects.iter().enumerate() {
            assert!(rects[..i].iter().all(|b| !a.shrink(1.0).intersects(b.shrink(1.0))));
        }
        let all = Rect::from_min_size(pos2(0.0, 0.0), layout.size());
        assert!(rects.iter().all(|rect| all.contains_rect(*rect)));
    }

    #[test]
    fn a_point_on_a_rising_name_is_of_its_column() {
        let layout = Layout::new(Content { columns: 40, ..CONTENT }, vec2(700.0, 700.0));
        let foot = layout.header_rect(0, 5).center_bottom().to_vec2();
        for risen in [0.0, 20.0, 40.0] {
            assert_eq!(layout.column_at(0, foot + vec2(risen, -risen)), 5);
        }
    }
}
