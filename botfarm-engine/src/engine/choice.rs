//! Which bots a request gets, and what it is told when it gets none.

use std::time::Duration;

use botfarm_core::{
    Busy, Error, LeaseId, LeaseRequest, Oldest, Result, Selector, Shortage,
    rules::{self, matching},
};
use smallvec::SmallVec;

use super::Engine;
use crate::{
    assignment::{Assignment, unmet},
    bucket::{Bucket, Counts},
    number::{IndexId, Slot},
    selector_index::{SelectorIndex, shape},
};

/// So many of the bots last leased with a sticky key are looked at: it is a preference, and must not cost a search.
const STICKY: usize = 256;

/// Where the bots of a selector are found.
enum Source {
    /// In the index that all its requests share.
    Shared(IndexId),
    /// They were looked up by id or login: three at most.
    Own(Box<SelectorIndex>),
}

impl Engine {
    fn source(&mut self, selector: &Selector) -> Source {
        if selector.names_a_bot() {
            let slots = self.bots.named(selector).into_iter();
            return Source::Own(Box::new(SelectorIndex::of(shape(selector), slots, &self.bots)));
        }
        Source::Shared(self.indexes.of(selector, &mut self.bots, &self.policy))
    }

    fn index<'a>(&'a self, source: &'a Source) -> &'a SelectorIndex {
        match source {
            Source::Shared(id) => &self.indexes[*id],
            Source::Own(index) => index,
        }
    }

    /// Chooses free bots, for as many selectors of a request as can be.
    pub(super) fn choose(&mut self, request: &LeaseRequest) -> Assignment {
        if let [selector] = &request.selectors[..] {
            let source = self.source(selector);
            return SmallVec::from_buf([self.free(request, selector, &source).next()]);
        }
        let sources: Vec<_> = request.selectors.iter().map(|selector| self.source(selector)).collect();
        // By Hall's theorem, as many candidates for each selector as there are selectors are enough. Preferred ones come
        // twice.
        let enough = 2 * request.selectors.len();
        let selectors = request.selectors.iter().zip(&sources);
        let candidates =
            selectors.map(|(selector, source)| self.free(request, selector, source).take(enough).collect());
        matching::assign(&candidates.collect::<Vec<_>>()).into()
    }

    /// The free bots that fit a selector: the preferred ones, then all, in the order of becoming free.
    fn free<'a>(
        &'a self,
        request: &'a LeaseRequest,
        selector: &'a Selector,
        source: &'a Source,
    ) -> impl Iterator<Item = Slot> + 'a {
        let preferred = request.sticky.iter().flat_map(|key| self.last_leased_with(key)).take(STICKY);
        let preferred = preferred.filter(|slot| self.bots[*slot].fits(selector, &self.policy));
        let all = self.index(source).in_bucket(Bucket::free(selector.condition));
        preferred.chain(all).filter(|slot| !self.avoids(request, *slot))
    }

    /// Whether the bot is one of those to avoid. They have been sorted.
    pub(super) fn avoids(&self, request: &LeaseRequest, slot: Slot) -> bool {
        !request.avoid.is_empty() && request.avoid.binary_search(&self.bots[slot].bot.id).is_ok()
    }

    /// Refuses what no bots could ever satisfy, whatever their condition and whoever holds them.
    pub(super) fn check_match(&mut self, request: &LeaseRequest) -> Result<()> {
        let enough = request.selectors.len();
        let mut candidates = Vec::with_capacity(enough);
        for selector in &request.selectors {
            let source = self.source(selector);
            let members = self.index(&source).members().filter(|slot| !self.avoids(request, *slot));
            candidates.push(members.take(enough).collect::<Vec<_>>());
        }
        let Some(index) = unmet(&matching::assign(&candidates)) else { return Ok(()) };
        let places: Vec<_> = self.pools.iter().map(|pool| pool.place.clone()).collect();
        Err(self.policy.no_match(request, index, candidates[index].len(), &places))
    }

    /// What a request is told whose selector `index` finds no free bot.
    pub(super) fn shortage(&mut self, request: &LeaseRequest, index: usize) -> Error {
        let selector = &request.selectors[index];
        let source = self.source(selector);
        let matches = self.index(&source);
        let counts = self.counts(request, matches);
        let mut members = matches.members().filter(|slot| !self.avoids(request, *slot));
        if rules::is_told_busy(request, counts.total())
            && let Some(slot) = members.next()
        {
            return Error::Busy(Box::new(self.busy(slot)));
        }
        Error::Exhausted(Box::new(self.counted(request, index, &source)))
    }

    /// How the bots stand that selector `index` of a request fits.
    pub(super) fn standing(&mut self, request: &LeaseRequest, index: usize) -> Shortage {
        let source = self.source(&request.selectors[index]);
        self.counted(request, index, &source)
    }

    fn counted(&self, request: &LeaseRequest, index: usize, source: &Source) -> Shortage {
        let selector = &request.selectors[index];
        let matches = self.index(source);
        let counts = self.counts(request, matches);
        let oldest = matches.in_bucket(Bucket::HELD).find(|slot| !self.avoids(request, *slot));
        let oldest = oldest.and_then(|slot| self.holder_of(slot));
        let ends = oldest.map_or(Duration::ZERO, |held| self.left(held));
        let mut shortage = Shortage::new(index);
        shortage.matching = counts.total();
        shortage.leased = counts[Bucket::HELD];
        shortage.cooling = counts[Bucket::COOLING];
        shortage.out_of_service =
            shortage.matching - shortage.leased - shortage.cooling - counts.idle(selector.condition);
        (shortage.place, shortage.waiting) = self.rivals(request.id, selector);
        shortage.oldest = oldest.map(|held| Oldest::new(held.request.terms.holder.clone(), held.since.timestamp()));
        shortage.retry_after = rules::retry_after(ends);
        shortage
    }

    /// What is told of a bot that is not to be had.
    pub(super) fn busy(&self, slot: Slot) -> Busy {
        Busy::of(&self.seen(slot))
    }

    /// Counts the bots of an index, but those to avoid.
    fn counts(&self, request: &LeaseRequest, index: &SelectorIndex) -> Counts {
        let mut counts = index.counts();
        for avoided in request.avoid.iter().filter_map(|id| self.bots.slot(*id)) {
            let entry = &self.bots[avoided];
            if index.could_fit(&entry.bot, &self.policy) {
                counts[entry.position().bucket] -= 1;
            }
        }
        counts
    }

    /// The place of a request among those that wait for such a bot, if it waits, and how many others there are.
    fn rivals(&self, id: LeaseId, selector: &Selector) -> (Option<u64>, u64) {
        let (mut place, mut others) = (None, 0);
        for request in self.queue.requests() {
            if request.id == id {
                place = Some(others + 1);
            } else if request.selectors.iter().any(|other| selector.overlaps(other)) {
                others += 1;
            }
        }
        (place, others)
    }
}
