//! Undo and redo.

/// A value and the values that it had before. Every change has a name.
#[derive(Debug, Clone, PartialEq)]
pub struct History<T> {
    current: T,
    done: Vec<(String, T)>,
    undone: Vec<(String, T)>,
}

/// Changes that can be undone.
const LONGEST: usize = 500;

impl<T: Clone + PartialEq> History<T> {
    /// A value that nothing has happened to.
    pub fn new(current: T) -> Self {
        Self { current, done: Vec::new(), undone: Vec::new() }
    }

    /// The value now.
    pub fn current(&self) -> &T {
        &self.current
    }

    /// Changes the value. What had been undone is forgotten. Changes to the same under the same name, as
    /// while somebody types, are one if `merge` says so.
    pub fn change(&mut self, name: &str, value: T, merge: bool) {
        if value == self.current {
            return;
        }
        self.undone.clear();
        let before = std::mem::replace(&mut self.current, value);
        if merge && self.done.last().is_some_and(|(last, _)| last == name) {
            return;
        }
        if self.done.len() == LONGEST {
            self.done.remove(0);
        }
        self.done.push((name.to_owned(), before));
    }

    /// Takes the last change back; whether there was one.
    pub fn undo(&mut self) -> bool {
        step(&mut self.current, &mut self.done, &mut self.undone)
    }

    /// Makes the change that was taken back last again; whether there was one.
    pub fn redo(&mut self) -> bool {
        step(&mut self.current, &mut self.undone, &mut self.done)
    }

    /// The name of the change that undoing takes back.
    pub fn to_undo(&self) -> Option<&str> {
        self.done.last().map(|(name, _)| name.as_str())
    }

    /// The name of the change that redoing makes again.
    pub fn to_redo(&self) -> Option<&str> {
        self.undone.last().map(|(name, _)| name.as_str())
    }
}

fn step<T>(current: &mut T, from: &mut Vec<(String, T)>, to: &mut Vec<(String, T)>) -> bool {
    let Some((name, value)) = from.pop() else { return false };
    to.push((name, std::mem::replace(current, value)));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_can_be_undone_and_made_again() {
        let mut history = History::new(0);
        assert!(!history.undo());
        history.change("one", 1, false);
        history.change("two", 2, false);
        history.change("nothing", 2, false);
        assert_eq!(history.to_undo(), Some("two"));
        assert!(history.undo() && history.undo() && !history.undo());
        assert_eq!((*history.current(), history.to_redo()), (0, Some("one")));
        assert!(history.redo());
        assert_eq!(*history.current(), 1);
        history.change("three", 3, false);
        assert!(!history.redo(), "what was undone is forgotten");
        assert!(history.undo());
        assert_eq!(*history.current(), 1);
    }

    #[test]
    fn typing_is_one_change() {
        let mut history = History::new(String::new());
        for text in ["l", "la", "lay"] {
            history.change("rule 1", text.to_owned(), true);
        }
        history.change("rule 2", "x".to_owned(), true);
        assert!(history.undo());
        assert_eq!(history.current(), "lay");
        assert!(history.undo());
        assert_eq!(history.current(), "");
    }
}
