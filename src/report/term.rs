//! One term of a filter.

use std::cmp::Ordering;

use super::column::Column;
use super::filter::FilterError;
use super::row::Row;

/// A double quote.
pub const QUOTE: char = '\u{22}';

/// A condition on a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Term {
    /// Whether this, in small letters, is in the name.
    InName {
        /// The text.
        text: String,
        /// Whether it has to be there, or must not.
        wanted: bool,
    },
    /// The whole text of a column.
    Text {
        /// The column.
        column: Column,
        /// The text, folded.
        text: String,
        /// Whether it has to be this, or must not.
        wanted: bool,
    },
    /// A number against that of a column.
    Number {
        /// The column.
        column: Column,
        /// How the row's number has to lie to `value`.
        operator: Operator,
        /// The other number.
        value: f64,
    },
}

/// How a number has to lie to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `=`
    Equal,
    /// `!=`
    Unequal,
}

impl Term {
    /// The condition that a term of a filter, quotes included, stands for.
    pub fn parse(term: &str) -> Result<Self, FilterError> {
        let own = || term.to_owned();
        if term.matches(QUOTE).count() % 2 == 1 {
            return Err(FilterError::OpenQuote { term: own() });
        }
        // What is in quotes is no operator, and no key has quotes in it.
        let start = term.find([QUOTE, '<', '>', '=']).filter(|at| !term[*at..].starts_with(QUOTE));
        let Some(start) = start else {
            let negated = term.strip_prefix('-').filter(|rest| !rest.is_empty());
            let text = without_quotes(negated.unwrap_or(term)).to_lowercase();
            return Ok(Self::InName { text, wanted: negated.is_none() });
        };
        let (key, operator, value) = Operator::split(term, start);
        let value = without_quotes(value);
        if key.is_empty() || value.is_empty() {
            return Err(FilterError::Incomplete { term: own() });
        }
        let column: Column =
            key.parse().map_err(|unknown| FilterError::UnknownColumn { term: own(), unknown })?;
        if column.is_text() {
            let wanted = match operator {
                Operator::Equal => true,
                Operator::Unequal => false,
                _ => return Err(FilterError::TextHasNoOrder { term: own(), column }),
            };
            return Ok(Self::Text { column, text: folded(&value), wanted });
        }
        match column.parse(&value) {
            Some(value) => Ok(Self::Number { column, operator, value }),
            None => Err(FilterError::NotANumber { term: own(), column, value }),
        }
    }

    /// Whether a row fulfils it.
    pub fn matches(&self, row: &Row) -> bool {
        match self {
            Self::InName { text, wanted } => {
                row.name.to_lowercase().contains(text.as_str()) == *wanted
            }
            Self::Text { column, text, wanted } => (folded(&column.text(row)) == *text) == *wanted,
            Self::Number { column, operator, value } => {
                let Some(number) = column.number(row) else { return false };
                let equal = || {
                    let shown = || column.parse(&column.text(row)) == Some(*value);
                    number == *value || (number.is_nan() && value.is_nan()) || shown()
                };
                operator.holds(number.partial_cmp(value), equal)
            }
        }
    }
}

impl Operator {
    /// The key, the operator, and the value of a term; `start` is where the first of `<`, `>` and `=`
    /// is.
    fn split(term: &str, start: usize) -> (&str, Self, &str) {
        let (key, rest) = term.split_at(start);
        let (operator, len) = match rest.as_bytes() {
            [b'<', b'=', ..] => (Self::AtMost, 2),
            [b'<', ..] => (Self::Less, 1),
            [b'>', b'=', ..] => (Self::AtLeast, 2),
            [b'>', ..] => (Self::More, 1),
            _ if key.ends_with('!') => (Self::Unequal, 1),
            _ => (Self::Equal, 1),
        };
        let key = if operator == Self::Unequal { &key[..key.len() - 1] } else { key };
        (key, operator, &rest[len..])
    }

    /// Whether it holds between numbers of this order; `equal` says whether they are shown alike.
    fn holds(self, order: Option<Ordering>, equal: impl Fn() -> bool) -> bool {
        match self {
            Self::Less => order == Some(Ordering::Less),
            Self::AtMost => order == Some(Ordering::Less) || equal(),
            Self::More => order == Some(Ordering::Greater),
            Self::AtLeast => order == Some(Ordering::Greater) || equal(),
            Self::Equal => equal(),
            Self::Unequal => !equal(),
        }
    }
}

fn without_quotes(text: &str) -> String {
    text.replace(QUOTE, "")
}

/// Text as it is compared: in small letters, and with a cross that is on every keyboard.
fn folded(text: &str) -> String {
    text.to_lowercase().replace('×', "x")
}
