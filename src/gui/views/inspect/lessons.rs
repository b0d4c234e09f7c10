//! Guided walks.

/// A lesson.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lesson {
    /// What a block scale does.
    BlockScale,
}
