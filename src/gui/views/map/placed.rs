//! Where things are on the screen.

use eframe::egui::{Pos2, Rect, Vec2, vec2};

use super::grid::At;
use super::layout::Layout;

/// A layout on the screen.
pub struct Placed {
    /// The layout.
    pub layout: Layout,
    /// The upper left corner of it all, which may be out of sight.
    pub origin: Vec2,
    /// The upper left corner of what is in sight.
    pub corner: Pos2,
    /// All that is in sight.
    pub clip: Rect,
    /// Where cells are in sight.
    pub body: Rect,
}

impl Placed {
    /// Where a cell is.
    pub fn cell(&self, (row, column): At) -> Rect {
        let rect = self.layout.cell_rect(row, column).translate(self.origin);
        rect.shrink2(vec2(1.0, 0.75))
    }

    /// Row names stay at the left, where there is one block of them.
    pub fn label(&self, row: usize) -> Rect {
        let rect = self.layout.label_rect(row).translate(self.origin);
        match self.layout.blocks {
            1 => rect.translate(vec2(self.corner.x - rect.left(), 0.0)),
            _ => rect,
        }
    }

    /// Column names stay at the top.
    pub fn header(&self, block: usize, column: usize) -> Rect {
        let rect = self.layout.header_rect(block, column).translate(self.origin);
        rect.translate(vec2(0.0, self.corner.y - rect.top()))
    }

    /// The column whose name is at a point.
    pub fn column_at(&self, block: usize, at: Pos2) -> usize {
        self.layout.column_at(block, vec2(at.x - self.origin.x, at.y - self.corner.y))
    }

    /// A cell with what lies over its surroundings: names must not hide it.
    pub fn with_names(&self, rect: Rect) -> Rect {
        let left = if self.layout.blocks == 1 { self.layout.label } else { 0.0 };
        Rect::from_min_max(rect.min - vec2(left, self.layout.header), rect.max)
    }
}
