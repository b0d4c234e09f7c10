//! How many weights are of which class, and where.

use super::class::Class;

/// Rows and columns that a map has, at most.
const MAP_SIDE: u64 = 1024;

/// Number of weights of each class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([u64; 5]);

impl Counts {
    /// Those of a class.
    pub const fn of(&self, class: Class) -> u64 {
        self.0[class as usize]
    }

    /// All.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Those that are not equal.
    pub fn differing(&self) -> u64 {
        self.total() - self.of(Class::Equal)
    }

    /// The worst class that there is.
    pub fn worst(&self) -> Class {
        let there = |class: &Class| self.of(*class) > 0;
        Class::ALL.into_iter().rev().find(there).unwrap_or_default()
    }

    /// Counts one more.
    pub(super) const fn count(&mut self, class: Class) {
        self.0[class as usize] += 1;
    }

    /// Adds those of another matrix.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(all, more)| *all += more);
    }
}

/// Where weights differ: a grid of at most 1024 by 1024 cells over the matrix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassMap {
    /// Rows and columns of the grid.
    pub size: [usize; 2],
    /// Rows and columns of the matrix under a cell; at the edges what there is.
    pub step: [u64; 2],
    /// The worst class in each cell and how many of its weights are not equal, row by row.
    pub cells: Vec<(Class, u32)>,
}

impl ClassMap {
    pub(super) fn new(rows: u64, columns: u64) -> Self {
        let step = [rows, columns].map(|length| length.div_ceil(MAP_SIDE).max(1));
        let size = [rows.div_ceil(step[0]) as usize, columns.div_ceil(step[1]) as usize];
        Self { size, step, cells: vec![(Class::Equal, 0); size[0] * size[1]] }
    }

    pub(super) fn add(&mut self, row: u64, column: u64, class: Class) {
        let place = (row / self.step[0]) as usize * self.size[1] + (column / self.step[1]) as usize;
        if let Some((worst, differing)) = self.cells.get_mut(place) {
            *worst = class.max(*worst);
            *differing = differing.saturating_add(1);
        }
    }
}
