//! Natural order of names: `layers.2` before `layers.10`.

use std::cmp::Ordering;

/// Compares names with runs of digits taken as numbers; names that differ only in leading zeros
/// fall back to plain order.
pub fn natural_order(a: &str, b: &str) -> Ordering {
    // Bytes of UTF-8 order as the characters do.
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    loop {
        let order = match (left.first(), right.first()) {
            (None, None) => return a.cmp(b),
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (x, y) = (digits(&mut left), digits(&mut right));
                x.len().cmp(&y.len()).then_with(|| x.cmp(y))
            }
            (x, y) if x != y => x.cmp(&y),
            _ => {
                (left, right) = (&left[1..], &right[1..]);
                continue;
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Takes a run of digits, without leading zeros, so that length then text order it as a number.
fn digits<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|c| !c.is_ascii_digit()).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    *text = rest;
    let zeros = run.iter().take_while(|&&digit| digit == b'0').count();
    &run[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_order_as_numbers() {
        let mut names = ["l.10.w", "l.2.w", "l.2", "a", "l.1.z9", "l.1.z10", "l.x", "", "l.02.w"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(
            names,
            ["", "a", "l.1.z9", "l.1.z10", "l.2", "l.02.w", "l.2.w", "l.10.w", "l.x"]
        );
    }

    #[test]
    fn numbers_too_long_for_an_integer_still_order() {
        let (small, large) = ("w9".to_owned() + &"9".repeat(40), "w1".to_owned() + &"0".repeat(41));
        assert_eq!(natural_order(&small, &large), Ordering::Less);
    }

    #[test]
    fn equal_numbers_go_on_to_what_follows() {
        assert_eq!(natural_order("l.007.b", "l.7.a"), Ordering::Greater);
        assert_eq!(natural_order("l.007.a", "l.7.b"), Ordering::Less);
        assert_eq!(natural_order("l.000.a", "l.0.a"), "l.000.a".cmp("l.0.a"));
        assert_eq!(natural_order("l.0", "l.00"), Ordering::Less);
        assert_eq!(natural_order("l.7.a", "l.7.a"), Ordering::Equal);
    }

    #[test]
    fn long_runs_of_digits_order_as_numbers_too() {
        let long = "7".repeat(100_000);
        let (less, more) = (format!("{}{long}1", "0".repeat(500)), format!("{long}2"));
        assert_eq!(natural_order(&less, &more), Ordering::Less);
        assert_eq!(natural_order(&more, &less), Ordering::Greater);
        assert_eq!(natural_order("é10", "é9"), Ordering::Greater);
    }
}
