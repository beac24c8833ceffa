//! What somebody may have meant.

/// Longer words are no typos of ours, and comparing takes time.
const LONGEST: usize = 64;

/// The one of `known` that `word` may have been meant to be: a few letters off, or the beginning of it. Of several the
/// nearest, and of those equally near the first; `None` when none is near.
///
/// ```
/// # use botfarm_core::nearest;
/// assert_eq!(nearest("ttl", ["wait_seconds", "ttl_seconds"]), Some("ttl_seconds"));
/// assert_eq!(nearest("stgae", ["prod", "stage"]), Some("stage"));
/// assert_eq!(nearest("moon", ["prod", "stage"]), None);
/// ```
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    let folded = |text: &str| text.to_lowercase().replace('-', "_");
    let word = folded(word);
    let near = known.into_iter().filter(|known| !known.is_empty() && known.len() <= LONGEST).filter_map(|known| {
        let name = folded(known);
        let begins = word.len() >= 3 && name.starts_with(&word) || name.len() >= 3 && word.starts_with(&name);
        let distance = strsim::osa_distance(&word, &name);
        let most = (word.len().min(name.len()) / 3).clamp(1, 3);
        // What begins alike is about as near as a typo or two.
        let distance = if begins { distance.min(2) } else { distance };
        (distance <= most.max(if begins { 2 } else { 0 })).then_some((distance, known))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_found_and_what_is_not_is_not_guessed() {
        let fields = ["users", "id", "ttl_seconds", "wait_seconds", "holder", "note", "url", "sticky", "avoid"];
        let found = ["ttl", "user", "wait", "hodler", "holders", "TTL-Seconds", "urls", "x", "env", "notes"]
            .map(|word| nearest(word, fields));
        let expected = ["ttl_seconds", "users", "wait_seconds", "holder", "holder", "ttl_seconds", "url"].map(Some);
        assert_eq!(found[..7], expected);
        assert_eq!(found[7..], [None, None, Some("note")]);
    }

    #[test]
    fn the_nearest_name_is_one_that_may_have_been_meant() {
        let known = ["prod", "preprod", "stage"];
        for (name, meant) in
            [("stgae", Some("stage")), ("STAGE", Some("stage")), ("prd", Some("prod")), ("qa", None), ("", None)]
        {
            assert_eq!(nearest(name, known), meant, "{name}");
        }
    }

    #[test]
    fn two_letters_in_the_wrong_order_are_one_typo() {
        assert_eq!(nearest("porject", ["project_id", "project"]), Some("project"));
        assert_eq!(nearest("rloe", ["role", "plan"]), Some("role"));
    }

    #[test]
    fn words_that_are_no_names_are_not_compared() {
        assert_eq!(nearest(&"a".repeat(100_000), ["a"]), None);
        assert_eq!(nearest("", ["a"]), None);
    }
}
