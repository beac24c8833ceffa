//! What stands in a line.

use std::collections::VecDeque;

/// So many stand in one chunk when a chunk is full.
const FULL: usize = 64;

/// A sorted map for keys that mostly come in order: whoever comes last goes to the end, and whoever leaves stands near
/// one of the ends. There it costs a few steps whatever its length, where a `BTreeMap` walks down and compares its way
/// to the right of every level, and measures twice the time for a whole lease at a million. Elsewhere it searches two
/// levels by halves, as a B-tree of two levels would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line<K, V> {
    /// None is empty.
    chunks: VecDeque<VecDeque<(K, V)>>,
    len: usize,
}

impl<K, V> Default for Line<K, V> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), len: 0 }
    }
}

impl<K: Copy + Ord, V> Line<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn first(&self) -> Option<&(K, V)> {
        self.chunks.front()?.front()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.chunks.iter().flatten()
    }

    /// Puts somebody at their place. No two have the same key.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.len += 1;
        let at = self.chunk(&key);
        // Who comes after all others goes into the last chunk.
        let at = at.min(self.chunks.len().saturating_sub(1));
        let Some(chunk) = self.chunks.get_mut(at) else {
            return self.chunks.push_back(VecDeque::from([(key, value)]));
        };
        let within = place(chunk, &key);
        if chunk.len() < FULL {
            return chunk.insert(within, (key, value));
        }
        if within == FULL {
            return self.chunks.insert(at + 1, VecDeque::from([(key, value)]));
        }
        let mut rest = chunk.split_off(FULL / 2);
        match within.checked_sub(FULL / 2) {
            Some(within) => rest.insert(within, (key, value)),
            None => chunk.insert(within, (key, value)),
        }
        self.chunks.insert(at + 1, rest);
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.chunk(key);
        let chunk = self.chunks.get_mut(at)?;
        let within = place(chunk, key);
        if chunk.get(within)?.0 != *key {
            return None;
        }
        self.len -= 1;
        let (_, value) = chunk.remove(within)?;
        if chunk.is_empty() {
            self.chunks.remove(at);
        } else if chunk.len() < FULL / 4 {
            self.join(at);
            self.join(at.saturating_sub(1));
        }
        Some(value)
    }

    /// Joins a chunk with the next one when both together are not half full, so that there are never many small ones.
    fn join(&mut self, at: usize) {
        let Some(next) = self.chunks.get(at + 1) else { return };
        if self.chunks[at].len() + next.len() <= FULL / 2
            && let Some(next) = self.chunks.remove(at + 1)
        {
            self.chunks[at].extend(next);
        }
    }

    /// The first chunk that does not end before the key.
    fn chunk(&self, key: &K) -> usize {
        let ends_before = |chunk: &VecDeque<(K, V)>| chunk.back().is_some_and(|(last, _)| last < key);
        // At the ends there is nothing to search for.
        let Some(last) = self.chunks.len().checked_sub(1) else { return 0 };
        if !ends_before(&self.chunks[0]) {
            return 0;
        }
        if last > 0 && !ends_before(&self.chunks[last - 1]) {
            return self.chunks.partition_point(ends_before);
        }
        if ends_before(&self.chunks[last]) { last + 1 } else { last }
    }
}

/// Where the key stands, or belongs, in its chunk.
fn place<K: Ord, V>(chunk: &VecDeque<(K, V)>, key: &K) -> usize {
    match chunk.back() {
        Some((last, _)) if last < key => chunk.len(),
        _ => chunk.partition_point(|(other, _)| other < key),
    }
}

impl<K: Copy + Ord, V> FromIterator<(K, V)> for Line<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(items: I) -> Self {
        let mut items: Vec<_> = items.into_iter().collect();
        items.sort_unstable_by_key(|(key, _)| *key);
        let mut line = Self::default();
        for (key, value) in items {
            line.insert(key, value);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn line_is_a_sorted_map(
            steps in prop::collection::vec(
                prop_oneof![3 => (0..600_u16).prop_map(Some), 2 => Just(None)], 0..1_500
            ),
            from_front in any::<bool>(),
        ) {
            let (mut line, mut model, mut latest) = (Line::default(), BTreeMap::new(), 1_000_u32);
            for (step, key) in steps.into_iter().enumerate() {
                match key {
                    // Keys of 400 and more come in order, the others anywhere, or leave when they are there.
                    Some(400..) => {
                        latest += 1;
                        line.insert(latest, step);
                        model.insert(latest, step);
                    }
                    Some(key) if !model.contains_key(&u32::from(key)) => {
                        line.insert(key.into(), step);
                        model.insert(key.into(), step);
                    }
                    Some(key) => prop_assert_eq!(line.remove(&key.into()), model.remove(&key.into())),
                    None => {
                        let end = if from_front { model.keys().next() } else { model.keys().next_back() };
                        let end = end.copied().unwrap_or_default();
                        prop_assert_eq!(line.remove(&end), model.remove(&end));
                    }
                }
                prop_assert_eq!(line.len(), model.len());
                prop_assert_eq!(line.first().copied(), model.iter().next().map(|(key, value)| (*key, *value)));
            }
            let items: Vec<_> = model.into_iter().collect();
            prop_assert_eq!(line.iter().copied().collect::<Vec<_>>(), items.clone());
            prop_assert!(line.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= FULL));
            prop_assert_eq!(items.into_iter().rev().collect::<Line<_, _>>().iter().count(), line.len());
        }
    }

    #[test]
    fn what_is_left_of_a_long_line_takes_few_chunks() {
        let mut line: Line<u32, ()> = (0..100_000).map(|key| (key, ())).collect();
        for key in (0..100_000).filter(|key| key % 50 != 0) {
            assert_eq!(line.remove(&key), Some(()));
        }
        assert_eq!(line.len(), 2_000);
        assert!(line.chunks.len() < 200, "{} chunks", line.chunks.len());
    }
}
