//! Which bot for which selector.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

/// Assigns to each selector one of its candidates, no candidate twice, for as many selectors as can be.
///
/// Earlier selectors and earlier candidates are preferred, but never at the price of a selector that could be met. This is
/// the textbook augmenting-path method (Kuhn 1955) for bipartite matching, in O(selectors × candidates in all). To tell
/// whether all of n selectors can be met, n candidates for each are enough, by Hall's theorem.
#[must_use]
pub fn assign<T: Copy + Eq + Hash>(candidates: &[Vec<T>]) -> Vec<Option<T>> {
    let mut taken: HashMap<T, usize> = HashMap::new();
    for selector in 0..candidates.len() {
        let mut tried = HashSet::new();
        place(selector, candidates, &mut taken, &mut tried);
    }
    let mut assigned = vec![None; candidates.len()];
    for (candidate, selector) in taken {
        assigned[selector] = Some(candidate);
    }
    assigned
}

/// Finds a candidate for `selector`, moving others aside where they have another choice.
fn place<T: Copy + Eq + Hash>(
    selector: usize,
    candidates: &[Vec<T>],
    taken: &mut HashMap<T, usize>,
    tried: &mut HashSet<T>,
) -> bool {
    for candidate in &candidates[selector] {
        if !taken.contains_key(candidate) {
            taken.insert(*candidate, selector);
            return true;
        }
    }
    for candidate in &candidates[selector] {
        if !tried.insert(*candidate) {
            continue;
        }
        let other = taken[candidate];
        if place(other, candidates, taken, tried) {
            taken.insert(*candidate, selector);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_an_earlier_selector_aside_when_a_later_one_has_no_other_choice() {
        assert_eq!(assign(&[vec![1, 2], vec![1]]), [Some(2), Some(1)]);
    }

    #[test]
    fn prefers_earlier_candidates() {
        assert_eq!(assign(&[vec![1, 2, 3], vec![1, 2, 3]]), [Some(1), Some(2)]);
    }

    #[test]
    fn leaves_out_what_cannot_be_met() {
        assert_eq!(assign(&[vec![1], vec![1], vec![2]]), [Some(1), None, Some(2)]);
    }

    #[test]
    fn follows_long_chains() {
        assert_eq!(assign(&[vec![1, 2], vec![2, 3], vec![3, 4], vec![1], vec![2]]).iter().flatten().count(), 4);
        assert_eq!(assign(&[vec![1, 2], vec![2, 3], vec![3, 4], vec![1]]), [Some(2), Some(3), Some(4), Some(1)]);
    }
}
