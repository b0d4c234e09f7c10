//! What all views that look into a tensor look at.

use std::fmt;
use std::str::FromStr;

use crate::format::Format;
use crate::inspect::{Subject, Tile, Wanted};

/// A tensor, and one weight in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Focus {
    /// The tensor; the first that can be looked into if there is none.
    pub tensor: Option<String>,
    /// The expert in it.
    pub expert: u64,
    /// The format to see it in, if not the one that the plan says.
    pub format: Option<Format>,
    /// The row of the weight.
    pub row: u64,
    /// Its column.
    pub column: usize,
    /// A block to go to once its size is known.
    pub wanted: Option<BlockPlace>,
    /// A place to go to once it is found.
    pub sought: Option<Wanted>,
}

/// A block, as it is told on the command line: its row and column among blocks, and a weight in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockPlace {
    /// Row of blocks.
    pub row: u64,
    /// Column of blocks.
    pub column: usize,
    /// Number of the weight in it, row by row; the first one of the largest magnitude if none is told.
    pub element: Option<usize>,
}

impl Focus {
    /// What is looked at.
    pub fn subject(&self) -> Option<Subject> {
        let tensor = self.tensor.clone()?;
        Some(Subject { tensor, expert: self.expert, format: self.format })
    }

    /// The block that the weight is in, under blocks of this size.
    pub fn block(&self, tile: Tile) -> BlockPlace {
        let (down, right) = (self.row as usize % tile.rows, self.column % tile.columns);
        BlockPlace {
            row: self.row / tile.rows as u64,
            column: self.column / tile.columns,
            element: Some(down * tile.columns + right),
        }
    }

    /// Goes to a weight of a block.
    pub fn go_to(&mut self, tile: Tile, block: BlockPlace) {
        let element = block.element.unwrap_or(0);
        let (down, right) = (element / tile.columns, element % tile.columns);
        self.row = block.row.saturating_mul(tile.rows as u64).saturating_add(down as u64);
        self.column = block.column.saturating_mul(tile.columns).saturating_add(right);
    }

    /// Goes to another tensor.
    pub fn turn_to(&mut self, tensor: &str) {
        if self.tensor.as_deref() != Some(tensor) {
            let format = self.format;
            *self = Self { tensor: Some(tensor.to_owned()), format, ..Self::default() };
        }
    }
}

impl fmt::Display for BlockPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.row, self.column)?;
        self.element.map_or(Ok(()), |element| write!(f, ",{element}"))
    }
}

/// A text that tells no block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no block: write its row and column among blocks, such as 12,3, and the number of a weight in it if you like, such as 12,3,7"
)]
pub struct NoBlock(String);

impl FromStr for BlockPlace {
    type Err = NoBlock;

    fn from_str(text: &str) -> Result<Self, NoBlock> {
        let error = || NoBlock(text.to_owned());
        let numbers: Result<Vec<u64>, _> =
            text.split(',').map(|part| part.trim().parse::<u64>()).collect();
        match numbers.map_err(|_| error())?[..] {
            [row, column] => Ok(Self { row, column: column as usize, element: None }),
            [row, column, element] => {
                Ok(Self { row, column: column as usize, element: Some(element as usize) })
            }
            _ => Err(error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_and_its_text_are_the_same_place() {
        let tile = Tile { rows: 2, columns: 16, is_block: true };
        let focus = Focus { row: 7, column: 37, ..Focus::default() };
        let block = focus.block(tile);
        assert_eq!(block.to_string(), "3,2,21");
        let mut other = Focus::default();
        other.go_to(tile, block.to_string().parse().unwrap());
        assert_eq!((other.row, other.column), (7, 37));
        assert_eq!("3, 2".parse(), Ok(BlockPlace { row: 3, column: 2, element: None }));
        for wrong in ["", "3", "3,-1", "1,2,3,4", "a,b"] {
            assert!(wrong.parse::<BlockPlace>().is_err(), "{wrong}");
        }
    }
}
