use std::ops::Range;

use crate::format::Scope;

/// Runs of weights of whole rows that share a scale and follow one another, in order.
#[derive(Debug, Clone)]
pub struct Segments {
    scope: Scope,
    len: usize,
    columns: usize,
    /// The longest that a segment gets.
    width: usize,
    begin: usize,
    row: usize,
    row_end: usize,
    scale: usize,
}

impl Segments {
    /// Of `len` weights in rows of `columns`.
    pub fn new(scope: Scope, len: usize, columns: usize) -> Self {
        let columns = match scope {
            Scope::Tensor => len,
            _ => columns,
        };
        let width = match scope {
            Scope::Tensor | Scope::Row => columns,
            Scope::Group(width) | Scope::Tile(width) => width,
        };
        Self { scope, len, columns, width, begin: 0, row: 0, row_end: columns, scale: 0 }
    }

    /// The length of all segments, if each has a scale of its own and none is shorter.
    pub fn even_len(&self) -> Option<usize> {
        let is_own = matches!(self.scope, Scope::Row | Scope::Group(_));
        (is_own && self.width > 0 && self.columns.is_multiple_of(self.width)).then_some(self.width)
    }
}

/// The weights of a segment, and the number of their scale.
impl Iterator for Segments {
    type Item = (Range<usize>, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.begin >= self.len {
            return None;
        }
        let end = (self.begin + self.width).min(self.row_end);
        let segment = (self.begin..end, self.scale);
        self.begin = end;
        if end == self.row_end {
            self.row += 1;
            self.row_end += self.columns;
            self.scale = self.scope.index(self.row, 0, self.columns);
        } else {
            self.scale += 1;
        }
        Some(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_is_in_one_segment_under_its_scale() {
        let scopes = [Scope::Tensor, Scope::Row, Scope::Group(4), Scope::Tile(4), Scope::Tile(128)];
        for scope in scopes {
            for (rows, columns) in [(0, 4), (1, 1), (3, 5), (5, 4), (9, 11), (4, 8), (130, 129)] {
                let mut scales = Vec::new();
                for (segment, scale) in Segments::new(scope, rows * columns, columns) {
                    assert_eq!(segment.start, scales.len(), "{scope:?}");
                    scales.extend(segment.map(|_| scale));
                }
                let index = |i| scope.index(i / columns, i % columns, columns);
                let expected: Vec<usize> = (0..rows * columns).map(index).collect();
                assert!(scales == expected, "{scope:?}, {rows} rows of {columns}");
                if let Some(len) = Segments::new(scope, rows * columns, columns).even_len() {
                    assert!((0..rows * columns).all(|i| expected[i] == i / len), "{scope:?}");
                }
            }
            assert_eq!(Segments::new(scope, 0, 0).next(), None);
        }
    }
}
