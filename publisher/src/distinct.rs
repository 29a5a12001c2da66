//! Values without repetitions.

use std::collections::HashSet;
use std::hash::Hash;

/// Leaves out each value that came before. Two names may lead to one device, group or location.
pub(crate) fn distinct<T: Clone + Eq + Hash>(
    values: impl Iterator<Item = T>,
) -> impl Iterator<Item = T> {
    let mut seen = HashSet::new();
    values.filter(move |value| seen.insert(value.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_values_stays_in_its_place() {
        let values = distinct(["b", "a", "b", "c", "a"].into_iter());
        assert_eq!(values.collect::<Vec<_>>(), ["b", "a", "c"]);
    }
}
