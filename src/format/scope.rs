//! Which weights share a scale.

/// Which weights of a matrix share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All.
    Tensor,
    /// Those of a row.
    Row,
    /// So many that follow one another in a row, and at its end what is left.
    Group(usize),
    /// A square of so many rows and columns; at the edges what there is of it.
    Tile(usize),
}

impl Scope {
    /// Rows that share scales; `None` if all do. Chunks of a matrix begin at a multiple of it.
    pub const fn rows(self) -> Option<usize> {
        match self {
            Self::Tensor => None,
            Self::Row | Self::Group(_) => Some(1),
            Self::Tile(len) => Some(len),
        }
    }

    /// Scales side by side over rows of `columns`.
    pub const fn across(self, columns: usize) -> usize {
        match self {
            Self::Tensor | Self::Row => 1,
            Self::Group(len) | Self::Tile(len) => columns.div_ceil(len),
        }
    }

    /// Scales of a matrix.
    pub const fn count(self, rows: usize, columns: usize) -> usize {
        let down = match self.rows() {
            None => 1,
            Some(len) => rows.div_ceil(len),
        };
        down * self.across(columns)
    }

    /// Number of the scale that a weight has.
    pub const fn index(self, row: usize, column: usize, columns: usize) -> usize {
        match self {
            Self::Tensor => 0,
            Self::Row => row,
            Self::Group(len) => row * self.across(columns) + column / len,
            Self::Tile(len) => row / len * self.across(columns) + column / len,
        }
    }

    /// Place of the first weight that has a scale, in a matrix stored row by row.
    pub const fn first(self, scale: usize, columns: usize) -> usize {
        let across = self.across(columns);
        match self {
            Self::Tensor => 0,
            Self::Row => scale * columns,
            Self::Group(len) => scale / across * columns + scale % across * len,
            Self::Tile(len) => scale / across * len * columns + scale % across * len,
        }
    }
}
