//! A part of a grid, and where its cells are on screen.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use eframe::egui::{Pos2, Rect, Vec2};

/// A part of a grid, in cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// First row and column, and those after the last; cells may be cut.
    pub top: f64,
    /// The first column.
    pub left: f64,
    /// The row after the last.
    pub bottom: f64,
    /// The column after the last.
    pub right: f64,
    /// Texels across and down in a picture of it.
    pub texels: [usize; 2],
}

impl Window {
    /// All of a grid.
    pub fn whole(rows: u64, columns: u64) -> Self {
        Self {
            top: 0.0,
            left: 0.0,
            bottom: rows.max(1) as f64,
            right: columns.max(1) as f64,
            texels: [1, 1],
        }
    }

    fn height(&self) -> f64 {
        self.bottom - self.top
    }

    fn width(&self) -> f64 {
        self.right - self.left
    }

    /// Gives it whole cells, and as many texels as there are cells or pixels, whichever are fewer.
    pub fn fit(&mut self, pixels: Vec2) {
        (self.top, self.left) = (self.top.floor(), self.left.floor());
        (self.bottom, self.right) = (self.bottom.ceil(), self.right.ceil());
        let texels = |cells: f64, pixels: f32| cells.min(f64::from(pixels)).max(1.0) as usize;
        self.texels = [texels(self.width(), pixels.x), texels(self.height(), pixels.y)];
    }

    /// The rows, or columns, of cells that a texel stands for.
    pub fn rows_of(&self, texel: usize) -> Range<u64> {
        part(self.top, self.height(), texel, self.texels[1])
    }

    /// The columns.
    pub fn columns_of(&self, texel: usize) -> Range<u64> {
        part(self.left, self.width(), texel, self.texels[0])
    }

    /// Where a cell is.
    pub fn cell(&self, area: Rect, row: u64, column: u64) -> Rect {
        let at = |row: f64, column: f64| {
            let x = (column - self.left) / self.width() * f64::from(area.width());
            let y = (row - self.top) / self.height() * f64::from(area.height());
            area.left_top() + Vec2::new(x as f32, y as f32)
        };
        let (row, column) = (row as f64, column as f64);
        Rect::from_min_max(at(row, column), at(row + 1.0, column + 1.0))
    }

    /// Where another part of the grid is.
    pub fn rect_of(&self, area: Rect, other: &Self) -> Rect {
        let first = self.cell(area, other.top as u64, other.left as u64).min;
        let last = self.cell(area, other.bottom as u64 - 1, other.right as u64 - 1).max;
        Rect::from_min_max(first, last)
    }

    fn place(&self, area: Rect, at: Pos2) -> (f64, f64) {
        let across = f64::from((at.x - area.left()) / area.width());
        let down = f64::from((at.y - area.top()) / area.height());
        (self.top + down * self.height(), self.left + across * self.width())
    }

    /// The cell at a point.
    pub fn cell_at(&self, area: Rect, at: Pos2, whole: Self) -> Option<(u64, u64)> {
        let (row, column) = self.place(area, at);
        let is_in = (0.0..whole.bottom).contains(&row) && (0.0..whole.right).contains(&column);
        is_in.then_some((row as u64, column as u64))
    }

    /// Made larger or smaller around a point; no smaller than a few cells, no larger than all.
    pub fn zoomed(&self, area: Rect, at: Pos2, factor: f64, whole: Self) -> Self {
        let (row, column) = self.place(area, at);
        let least = |cells: f64| (6.0 / cells).min(1.0);
        let factor = factor.max(least(self.height()).max(least(self.width())));
        let window = Self {
            top: row + (self.top - row) * factor,
            bottom: row + (self.bottom - row) * factor,
            left: column + (self.left - column) * factor,
            right: column + (self.right - column) * factor,
            ..*self
        };
        window.within(whole)
    }

    /// Moved by so many points.
    pub fn dragged(&self, area: Rect, by: Vec2, whole: Self) -> Self {
        let rows = -f64::from(by.y / area.height()) * self.height();
        let columns = -f64::from(by.x / area.width()) * self.width();
        let window = Self {
            top: self.top + rows,
            bottom: self.bottom + rows,
            left: self.left + columns,
            right: self.right + columns,
            ..*self
        };
        window.within(whole)
    }

    /// Moved, and made smaller if need be, so that it shows no more than there is.
    fn within(self, whole: Self) -> Self {
        let (top, bottom) = shifted(self.top, self.bottom, whole.bottom);
        let (left, right) = shifted(self.left, self.right, whole.right);
        Self { top, bottom, left, right, ..self }
    }

    /// Stands for it and for what is shown.
    pub fn key(&self, what: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        let edges = [self.top, self.left, self.bottom, self.right].map(f64::to_bits);
        (what, edges, self.texels).hash(&mut hasher);
        hasher.finish()
    }
}

fn shifted(first: f64, last: f64, end: f64) -> (f64, f64) {
    let length = (last - first).min(end);
    let first = first.clamp(0.0, end - length);
    (first, first + length)
}

/// The cells of one of `texels` equal parts of a length.
fn part(first: f64, length: f64, texel: usize, texels: usize) -> Range<u64> {
    let at = |texel: usize| first + length * texel as f64 / texels as f64;
    let begin = at(texel).floor() as u64;
    begin..(at(texel + 1).ceil() as u64).max(begin + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use eframe::egui::{pos2, vec2};

    const AREA: Rect = Rect { min: pos2(10.0, 20.0), max: pos2(110.0, 70.0) };

    #[test]
    fn every_cell_is_in_some_texel_and_where_it_is_drawn() {
        let whole = Window::whole(1000, 7);
        let mut window = whole;
        window.fit(vec2(100.0, 50.0));
        assert_eq!(window.texels, [7, 50]);
        let rows: Vec<u64> = (0..50).flat_map(|texel| window.rows_of(texel)).collect();
        assert_eq!(rows, (0..1000).collect::<Vec<_>>());
        for (row, column) in [(0, 0), (999, 6), (517, 3)] {
            let centre = window.cell(AREA, row, column).center();
            assert_eq!(window.cell_at(AREA, centre, whole), Some((row, column)));
        }
    }

    #[test]
    fn zooming_keeps_the_cell_under_the_pointer_and_never_leaves_the_grid() {
        let whole = Window::whole(400, 300);
        let at = pos2(60.0, 45.0);
        let before = whole.cell_at(AREA, at, whole);
        let near = whole.zoomed(AREA, at, 0.1, whole);
        assert_eq!(near.cell_at(AREA, at, whole), before);
        let moved = near.dragged(AREA, vec2(1e4, -1e4), whole);
        assert!(moved.left == 0.0 && moved.bottom == 400.0, "{moved:?}");
        assert_eq!(moved.zoomed(AREA, at, 1e3, whole), whole);
        let nearest = (0..50).fold(whole, |window, _| window.zoomed(AREA, at, 0.5, whole));
        assert!(nearest.height() >= 5.9 && nearest.width() >= 4.4, "{nearest:?}");
    }
}
