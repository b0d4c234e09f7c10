//! The number in the middle.

/// The median of numbers, which it brings into another order: of an even count the mean of the two in
/// the middle. `None` of none.
pub(super) fn median<T: Copy + Into<f64>>(numbers: &mut [T]) -> Option<f64> {
    let middle = numbers.len() / 2;
    if numbers.is_empty() {
        return None;
    }
    let is_even = numbers.len().is_multiple_of(2);
    let order = |a: &T, b: &T| f64::total_cmp(&(*a).into(), &(*b).into());
    let (below, upper, _) = numbers.select_nth_unstable_by(middle, order);
    let upper = (*upper).into();
    let lower = below.iter().copied().max_by(order).filter(|_| is_even);
    Some(lower.map_or(upper, |lower| f64::midpoint(lower.into(), upper)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_odd_and_even_counts() {
        assert_eq!(median::<f32>(&mut []), None);
        assert_eq!(median(&mut [3.0]), Some(3.0));
        assert_eq!(median(&mut [5.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [9.0, 1.0, 2.0, 4.0]), Some(3.0));
    }
}
