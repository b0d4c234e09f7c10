//! How whole rows under a scheme are told to the kernels.

use super::gpu_data::Params;
use crate::format::nvfp4::BLOCK_LEN;
use crate::format::{Element, Quotient, Scheme, Scope, SmallFloatTies};

/// Threads of a workgroup.
const THREADS: usize = 64;

/// A matrix, or whole rows of one, under a scheme.
#[derive(Debug, Clone, Copy)]
pub struct Layout<'a> {
    pub rows: usize,
    pub columns: usize,
    pub scheme: &'a Scheme,
}

impl Layout<'_> {
    fn len(self) -> usize {
        self.rows * self.columns
    }

    pub fn blocks(self) -> usize {
        self.len().div_ceil(BLOCK_LEN)
    }

    pub fn groups(self) -> usize {
        self.scheme.scope.count(self.rows, self.columns)
    }

    /// Threads that share a group: enough for all of them to have some weights each.
    fn lanes(self) -> usize {
        let group_len = match self.scheme.scope {
            Scope::Group(len) => len,
            Scope::Row => self.columns,
            Scope::Tensor | Scope::Tile(_) => usize::MAX,
        };
        (group_len / 4).clamp(1, THREADS).next_power_of_two().min(THREADS)
    }

    pub fn extent_workgroups(self) -> usize {
        self.groups().div_ceil(THREADS / self.lanes())
    }

    /// Those of a dispatch, with `others` where the shape and the scheme do not matter.
    pub fn params(self, others: Params) -> Params {
        let scheme = self.scheme;
        let (element, int_limit) = match scheme.element {
            Element::E2m1(SmallFloatTies::Even) => (0, 0),
            Element::E2m1(SmallFloatTies::Down) => (1, 0),
            Element::E4m3 => (2, 0),
            Element::Int(bits) => (3, 1 << (bits - 1)),
        };
        let (group_rows, group_columns) = match scheme.scope {
            Scope::Tensor => (u32::MAX, self.columns as u32),
            Scope::Row => (1, self.columns as u32),
            Scope::Group(len) => (1, len as u32),
            Scope::Tile(len) => (len as u32, len as u32),
        };
        let quotient = match scheme.quotient {
            Quotient::F32 => 0,
            Quotient::Own => 1,
            Quotient::Reciprocal => 2,
            Quotient::ProductF32 => 3,
            Quotient::ProductOwn => 4,
        };
        Params {
            len: self.len() as u32,
            rows: self.rows as u32,
            columns: self.columns as u32,
            group_rows,
            group_columns,
            across: scheme.scope.across(self.columns) as u32,
            lanes: self.lanes() as u32,
            element,
            int_limit,
            quotient,
            zero_points: scheme.zero_points.into(),
            ..others
        }
    }
}
