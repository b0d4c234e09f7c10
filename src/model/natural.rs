//! Natural order of names: `layers.2` before `layers.10`.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::str::Chars;

/// Compares names with runs of digits taken as numbers; names that differ only in leading zeros
/// fall back to plain order.
pub fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.chars().peekable(), b.chars().peekable());
    loop {
        let order = match (left.peek().copied(), right.peek().copied()) {
            (None, None) => return a.cmp(b),
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (x, y) = (digits(&mut left), digits(&mut right));
                x.len().cmp(&y.len()).then_with(|| x.cmp(&y))
            }
            (x, y) => {
                left.next();
                right.next();
                x.cmp(&y)
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Takes a run of digits, without leading zeros, so that length then text order it as a number.
fn digits(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut run = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        if digit != '0' || !run.is_empty() {
            run.push(digit);
        }
    }
    run
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
}
