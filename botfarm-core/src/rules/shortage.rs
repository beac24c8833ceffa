//! What a request is told for which nothing became free.

use std::time::Duration;

use crate::{bot::Bot, error::Busy, lease::LeaseRequest};

/// When it may be worth trying again for a bot of which the lease that is the longest in force ends in `ends_in`. Zero when
/// none is in force.
#[must_use]
pub fn retry_after(ends_in: Duration) -> Duration {
    // Leases are given back long before they end, as a rule.
    ends_in.clamp(Duration::from_secs(1), Duration::from_secs(5))
}

/// Whether a request is told who holds its bot, rather than how many are held: it names one bot, and nothing else, and there
/// is that one. `matching` bots match its selector.
#[must_use]
pub fn is_told_busy(request: &LeaseRequest, matching: u64) -> bool {
    matching == 1 && matches!(&request.selectors[..], [selector] if selector.names_a_bot())
}

impl Busy {
    /// What is told of a bot that is not to be had.
    #[must_use]
    pub fn of(bot: &Bot) -> Self {
        let (holder, since, expires_at) = match &bot.holding {
            Some(holding) => (Some(holding.terms.holder.clone()), Some(holding.since), Some(holding.expires_at)),
            None => (None, None, bot.cooling_until),
        };
        Self { bot: bot.id, holder, since, expires_at, condition: bot.condition }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::BotId, selector::Selector};

    #[test]
    fn who_waits_for_a_bot_tries_again_within_five_seconds() {
        for (ends_in, after) in [(0, 1), (1, 1), (4, 4), (3_600, 5)] {
            assert_eq!(retry_after(Duration::from_secs(ends_in)), Duration::from_secs(after));
        }
    }

    #[test]
    fn only_who_names_one_bot_alone_is_told_who_holds_it() {
        let of = |selectors: Vec<Selector>| LeaseRequest::many("ada".parse().unwrap(), selectors);
        let named = Selector::bot(BotId::new());
        assert!(is_told_busy(&of(vec![named.clone()]), 1));
        // A login may be in several envs.
        assert!(!is_told_busy(&of(vec![named.clone()]), 2));
        assert!(!is_told_busy(&of(vec![named, Selector::any()]), 1));
        assert!(!is_told_busy(&of(vec![Selector::any()]), 1));
    }
}
