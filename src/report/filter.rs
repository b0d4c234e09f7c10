//! Which rows of a table one wants to see, as text.

use std::fmt;
use std::str::FromStr;

use super::column::{Column, UnknownColumn};
use super::row::Row;
use super::term::{QUOTE, Term};

/// Terms that a row has to fulfil, all of them. Between terms is white space, and quotes keep it in
/// one:
///
/// - `down_proj`: the name has this in it, in small or capital letters; `-norm`: it has not
/// - `amax>2`, `zeros<=5`, `before>1M`: a number, in the unit that is shown, with `<`, `<=`, `>`,
///   `>=`, `=`, `!=`. A number is also equal to one that is shown alike: `sqnr=20.43`. None of them
///   holds where the row has no number. NaN is equal to `NaN` only, and neither below nor above
///   anything: `amax>2` leaves it out, and so does `amax<=2`
/// - `role=mlp`, `format!=kept`, `reason="preset linear"`: the whole text as it is shown, in small or
///   capital letters; `x` stands for `×` too
///
/// Without a term every row is wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// As it was written.
    text: String,
    terms: Vec<Term>,
}

/// A filter that cannot be meant. Each begins with the term.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Nothing is called so.
    #[error("{term}: {unknown}")]
    UnknownColumn {
        /// The term.
        term: String,
        /// The name before the operator, and those there are.
        unknown: UnknownColumn,
    },
    /// A column or a value is missing.
    #[error(
        "{term}: write column and value without spaces around the sign, as in amax>2; names with such a sign go in quotes"
    )]
    Incomplete {
        /// The term.
        term: String,
    },
    /// Text is not ordered.
    #[error("{term}: {column} is text: compare it with = or !=")]
    TextHasNoOrder {
        /// The term.
        term: String,
        /// The column.
        column: Column,
    },
    /// There is no number where one is needed.
    #[error("{term}: \"{value}\" is not a number; write 2, 0.5, 1e-3{}",
        if .column.is_bytes() { ", or with a binary unit 1k, 1M, 1G" } else { "" })]
    NotANumber {
        /// The term.
        term: String,
        /// The column.
        column: Column,
        /// What stands after the operator.
        value: String,
    },
    /// A quote without its other half.
    #[error("{term}: a quote is not closed")]
    OpenQuote {
        /// The term.
        term: String,
    },
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let mut quoted = false;
        let terms = text.split(|c: char| {
            quoted ^= c == QUOTE;
            c.is_whitespace() && !quoted
        });
        let terms =
            terms.filter(|term| !term.is_empty()).map(Term::parse).collect::<Result<_, _>>()?;
        Ok(Self { text: text.trim().to_owned(), terms })
    }
}

/// As it was written.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Filter {
    /// Whether every row is wanted.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether a row is wanted.
    pub fn matches(&self, row: &Row) -> bool {
        self.terms.iter().all(|term| term.matches(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Role;
    use crate::stats::{TensorStats, WeightSums};

    fn row() -> Row {
        let weights = WeightSums { count: 3, zeros: 1, sum: 0.0, sum_abs: 6.0, sum_squares: 18.0 };
        Row {
            name: "model.layers.3.mlp.Down_proj.weight".to_owned(),
            tensors: 1,
            shape: vec![128, 64],
            role: Some(Role::Mlp),
            layer: Some(3),
            format: "kept".to_owned(),
            reason: "preset linear".to_owned(),
            bytes_before: 2050,
            stats: Some(Box::new(TensorStats { amax: 3.0, weights, ..Default::default() })),
            ..Row::default()
        }
    }

    #[track_caller]
    fn check(row: &Row, filter: &str, wanted: bool) {
        let parsed: Filter = filter.parse().unwrap();
        assert_eq!(parsed.matches(row), wanted, "{filter}");
    }

    #[test]
    fn names_hold_text() {
        for wanted in ["", "  ", "down_PROJ", "mlp  layers.3", "-norm", "\"mlp.down\"", "\"\""] {
            check(&row(), wanted, true);
        }
        for other in ["down_proj norm", "-mlp", "-\"mlp\"", "\"mlp down\"", "\"amax>2\"", "-"] {
            check(&row(), other, false);
        }
        let dashed = Row { name: "a-b c".to_owned(), ..Row::default() };
        check(&dashed, "\"-b c\"", true);
    }

    #[test]
    fn numbers_compare_in_the_unit_that_is_shown() {
        for wanted in [
            "amax>2",
            "amax>=3",
            "amax<=3",
            "amax=3",
            "amax!=4",
            "AMAX<3.5",
            "layer=3",
            "zeros>33%",
            "zeros<34",
            "before>2k",
            "before>=2KiB",
            "tensors=1",
            "down amax>2 layer<4",
        ] {
            check(&row(), wanted, true);
        }
        for other in ["amax>3", "amax<3", "amax!=3", "zeros<1", "before>2.1k", "down amax>4"] {
            check(&row(), other, false);
        }
    }

    #[test]
    fn what_is_shown_is_equal() {
        for wanted in ["zeros=33.33", "before=2k", "zeros<=33.33", "before<=\"2.0 KiB\""] {
            check(&row(), wanted, true);
        }
        for other in ["zeros!=33.33", "zeros=33.3", "before=2051"] {
            check(&row(), other, false);
        }
    }

    #[test]
    fn what_was_not_measured_fits_no_comparison() {
        for operator in ["<", "<=", ">", ">=", "=", "!="] {
            check(&row(), &format!("sqnr{operator}20"), false);
            check(&row(), &format!("expert{operator}0"), false);
        }
    }

    #[test]
    fn nan_is_found_by_its_name_only() {
        let stats = TensorStats { amax: f32::NAN, ..Default::default() };
        let row = Row { stats: Some(Box::new(stats)), ..row() };
        for wanted in ["amax=nan", "amax=NaN", "amax!=2"] {
            check(&row, wanted, true);
        }
        for other in ["amax>2", "amax<=2", "amax=2", "amax!=nan"] {
            check(&row, other, false);
        }
    }

    #[test]
    fn whole_texts_compare_in_any_case() {
        for wanted in [
            "role=MLP",
            "role!=norm",
            "format!=nvfp4",
            "reason=\"preset linear\"",
            "shape=128x64",
            "shape=128×64",
            "dtype=–",
        ] {
            check(&row(), wanted, true);
        }
        for other in ["role=ml", "role!=mlp", "format=kep", "reason=preset"] {
            check(&row(), other, false);
        }
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_its_term() {
        for (filter, message) in [
            ("down amx>2", "amx>2: no column is called amx; columns: name, tensors, "),
            ("-amax>2", "-amax>2: no column is called -amax; columns: "),
            ("amax > 2", ">: write column and value without spaces"),
            ("amax>", "amax>: write column"),
            ("role>mlp", "role>mlp: role is text: compare it with = or !="),
            ("amax>1k", "amax>1k: \"1k\" is not a number; write 2, 0.5, 1e-3"),
            (
                "before>1MB",
                "before>1MB: \"1MB\" is not a number; write 2, 0.5, 1e-3, or with a binary",
            ),
            ("amax>2 \"a b", "\"a b: a quote is not closed"),
        ] {
            let error = filter.parse::<Filter>().unwrap_err().to_string();
            assert!(error.starts_with(message), "{filter}: {error}");
        }
    }

    #[test]
    fn a_filter_is_told_as_it_was_written() {
        let filter: Filter = " amax>2  \"a b\" ".parse().unwrap();
        assert_eq!(filter.to_string(), "amax>2  \"a b\"");
        assert!(!filter.is_empty() && Filter::default().is_empty());
    }
}
