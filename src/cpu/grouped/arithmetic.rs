//! Copies of a scheme that the compiler knows more of. What is evaluated with them must be inlined.

/// Evaluates an expression with a variable bound to a copy of a scheme of which everything that
/// decides a code is known when it is compiled, for each arithmetic there is.
macro_rules! with_known_arithmetic {
    ($scheme:ident, $run:expr) => {{
        use crate::format::Element::{E2m1, E4m3, Int};
        use crate::format::SmallFloatTies::{Down, Even};
        use crate::format::{Quotient, Scheme};

        macro_rules! known {
            ($element:expr, $quotient:expr, $zero_points:expr) => {{
                let (element, quotient, zero_points) = ($element, $quotient, $zero_points);
                let $scheme = Scheme { element, quotient, zero_points, ..*$scheme };
                $run
            }};
        }
        match ($scheme.element, $scheme.quotient, $scheme.zero_points) {
            (E2m1(Even), Quotient::Own, false) => known!(E2m1(Even), Quotient::Own, false),
            (E2m1(Down), Quotient::F32, false) => known!(E2m1(Down), Quotient::F32, false),
            (E4m3, Quotient::F32, false) => known!(E4m3, Quotient::F32, false),
            (E4m3, Quotient::Own, false) => known!(E4m3, Quotient::Own, false),
            (Int(8), Quotient::F32, false) => known!(Int(8), Quotient::F32, false),
            (Int(8), Quotient::F32, true) => known!(Int(8), Quotient::F32, true),
            (Int(4), Quotient::F32, false) => known!(Int(4), Quotient::F32, false),
            (Int(4), Quotient::F32, true) => known!(Int(4), Quotient::F32, true),
            (Int(8), Quotient::Reciprocal, false) => known!(Int(8), Quotient::Reciprocal, false),
            (Int(8), Quotient::Reciprocal, true) => known!(Int(8), Quotient::Reciprocal, true),
            (Int(4), Quotient::Reciprocal, false) => known!(Int(4), Quotient::Reciprocal, false),
            (Int(4), Quotient::Reciprocal, true) => known!(Int(4), Quotient::Reciprocal, true),
            (Int(8), Quotient::ProductF32, false) => known!(Int(8), Quotient::ProductF32, false),
            (Int(8), Quotient::ProductF32, true) => known!(Int(8), Quotient::ProductF32, true),
            (Int(4), Quotient::ProductF32, false) => known!(Int(4), Quotient::ProductF32, false),
            (Int(4), Quotient::ProductF32, true) => known!(Int(4), Quotient::ProductF32, true),
            (Int(8), Quotient::ProductOwn, false) => known!(Int(8), Quotient::ProductOwn, false),
            (Int(8), Quotient::ProductOwn, true) => known!(Int(8), Quotient::ProductOwn, true),
            (Int(4), Quotient::ProductOwn, false) => known!(Int(4), Quotient::ProductOwn, false),
            (Int(4), Quotient::ProductOwn, true) => known!(Int(4), Quotient::ProductOwn, true),
            // No format has any other; it is slow, but right.
            (element, quotient, zero_points) => known!(element, quotient, zero_points),
        }
    }};
}
pub(super) use with_known_arithmetic;

/// The same where codes are only decoded: with a copy of which that is known. It has other ties and
/// bits, which do not matter there.
macro_rules! with_known_numbers {
    ($scheme:ident, $run:expr) => {{
        use crate::format::Element::{E2m1, E4m3, Int};
        use crate::format::Scheme;
        use crate::format::SmallFloatTies::Even;

        macro_rules! known {
            ($element:expr, $zero_points:expr) => {{
                let (element, zero_points) = ($element, $zero_points);
                let $scheme = Scheme { element, zero_points, ..*$scheme };
                $run
            }};
        }
        match ($scheme.element, $scheme.zero_points) {
            (E2m1(_), false) => known!(E2m1(Even), false),
            (E4m3, false) => known!(E4m3, false),
            (Int(_), false) => known!(Int(8), false),
            (Int(_), true) => known!(Int(8), true),
            (element, true) => known!(element, true),
        }
    }};
}
pub(super) use with_known_numbers;
