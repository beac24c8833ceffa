//! Checks, for tests, that all that the farm keeps twice agrees.

use std::collections::{BTreeMap, BTreeSet};

use botfarm_core::LeaseId;

use crate::{
    bots::{Slot, Status},
    clock::{Event, Timer},
    state::State,
    view::{Counts, Shelf, Spot},
};

impl State {
    /// # Panics
    /// When the state contradicts itself, or a free bot is of use to somebody who waits.
    pub(crate) fn audit(&self) {
        let slots: Vec<Slot> = self.bots.after(None).map(|(_, slot)| slot).collect();
        assert_eq!(slots.len(), self.bots.len());
        self.audit_indexes(&slots);
        self.audit_leases(&slots);
        self.audit_queue(&slots);
    }

    fn audit_indexes(&self, slots: &[Slot]) {
        let mut pools = BTreeMap::<_, Counts>::new();
        let mut sticky = BTreeMap::<_, BTreeMap<u64, Slot>>::new();
        for &slot in slots {
            let entry = &self.bots[slot];
            assert_eq!(self.bots.slot(entry.bot.id), Some(slot));
            assert_eq!(self.bots.of_login(entry.bot.env, &entry.bot.login.folded()), Some(slot));
            let at = entry.spot();
            pools.entry(entry.pool()).or_default()[at.shelf] += 1;
            if let Some(key) = entry.sticky.clone().filter(|_| at.shelf.is_free()) {
                sticky.entry(key).or_default().insert(at.order, slot);
            }
        }
        assert_eq!(self.pools, pools, "pools are counted right");
        assert_eq!(self.sticky.clone().into_iter().collect::<BTreeMap<_, _>>(), sticky, "sticky bots are indexed");
        for (id, view) in &self.views.slab {
            let mut members = 0;
            for &slot in slots {
                let entry = &self.bots[slot];
                let (fits, at) = (view.could_fit(&entry.bot), entry.spot());
                assert_eq!(entry.views.contains(&id), fits, "a bot knows the views that it is in");
                assert_eq!(
                    view.shelves[at.shelf.0].iter().any(|of| *of == (at.order, slot)),
                    fits,
                    "a bot stands where it belongs"
                );
                members += u64::from(fits);
            }
            assert_eq!(view.counts().total(), members, "a view has no bots but those that fit");
        }
    }

    fn audit_leases(&self, slots: &[Slot]) {
        let mut timers = BTreeSet::new();
        let mut held = BTreeSet::new();
        for lease in self.leases.all() {
            timers.insert(lease.ends);
            for &(slot, id) in &lease.bots {
                assert_eq!(self.bots[slot].bot.id, id);
                assert_eq!(self.bots[slot].lease(), Some(lease.request.id), "a bot knows the lease that holds it");
                assert!(held.insert(slot), "no bot is in two leases");
            }
        }
        for &slot in slots {
            assert_eq!(self.bots[slot].lease().is_some(), held.contains(&slot), "who holds a bot is known");
            if let Status::Cooling { rested } = self.bots[slot].status {
                timers.insert(rested);
            }
        }
        timers.extend(self.queue.kept.values().map(|(_, timer)| *timer));
        let known: BTreeSet<Timer> = self.timeline.events.iter().map(|(timer, _)| *timer).collect();
        assert_eq!(known, timers, "the timeline has what will happen, and nothing else");
        for (timer, event) in self.timeline.events.iter() {
            assert!(timer.at > self.clock.now, "what was due is settled");
            if let Event::Rested(slot) = *event {
                assert_eq!(self.bots[slot].spot(), Spot { shelf: Shelf::COOLING, order: timer.order });
            }
        }
    }

    fn audit_queue(&self, slots: &[Slot]) {
        let waiting: Vec<LeaseId> = self.queue.requests().map(|request| request.id).collect();
        assert_eq!(waiting.len(), self.queue.len());
        let mut reserved = BTreeSet::new();
        for &id in &waiting {
            assert!(self.leases.live(id).is_none(), "nobody waits for what they have");
            for slot in self.queue.wish(id).unwrap().reserved.iter().flatten() {
                assert!(reserved.insert(*slot), "no bot is reserved twice");
            }
        }
        for &slot in slots {
            let entry = &self.bots[slot];
            let is_reserved = matches!(entry.status, Status::Reserved { .. });
            assert_eq!(is_reserved, reserved.contains(&slot), "what is reserved is reserved for somebody");
            let takers = waiting.iter().filter(|id| self.extended(**id, slot).is_some());
            if entry.spot().shelf.is_free() {
                assert_eq!(takers.count(), 0, "no free bot is of use to anybody who waits");
            }
            for &id in &waiting {
                let wants = self.queue.wish(id).unwrap().request.selectors.iter().any(|selector| entry.fits(selector));
                let stands =
                    std::iter::successors(self.next_waiter(slot, 0), |(ticket, _)| self.next_waiter(slot, ticket + 1));
                // By login alone one may stand where a bot of another kind comes, too.
                let stands = stands.into_iter().any(|(_, of)| of == id);
                assert!(stands || !wants, "who wants a bot stands where it comes");
            }
        }
        for (_, view) in &self.views.slab {
            for ticket in view.waiters.iter().flatten() {
                assert!(self.queue.line.contains_key(ticket), "who has gone stands in no view");
            }
        }
    }
}

mod tests {
    use botfarm_core::{BotFarm, Ending, Env, Labels, LeaseRequest, NewBot, ProjectId, Selector};

    use crate::{MemoryFarm, view::MAX};

    /// More selectors than there are views, each in use by somebody who holds its bot, and one by somebody who waits.
    #[tokio::test]
    async fn views_that_are_not_waited_in_come_and_go() {
        let project = ProjectId::new();
        let labels = |number: usize| Labels::try_from([("number", number.to_string().as_str())]).unwrap();
        let farm = MemoryFarm::with_bots((0..MAX + 50).map(|number| {
            let login = format!("bot-{number}").parse().unwrap();
            NewBot::new(login, "hunter2".try_into().unwrap(), project, Env::Stage).labels(labels(number))
        }))
        .unwrap();
        let ask = |number| LeaseRequest::new("somebody".parse().unwrap(), Selector::any().labels(labels(number)));
        let first = farm.acquire(ask(0)).await.unwrap();
        let (other, request) = (farm.clone(), ask(0).wait(std::time::Duration::from_mins(1)));
        let waiter = tokio::spawn(async move { other.acquire(request).await });
        while farm.stats().await.unwrap().waiting == 0 {
            tokio::task::yield_now().await;
        }
        let mut leases = Vec::new();
        for round in 0..2 {
            for number in 1..MAX + 50 {
                let lease = farm.acquire(ask(number)).await.unwrap();
                assert_eq!(lease.bot().bot.labels, labels(number));
                leases.push(lease.id);
            }
            farm.0.turn(|state| {
                state.audit();
                assert_eq!(state.views.slab.len(), MAX);
            });
            for lease in leases.drain(..) {
                farm.release(lease, Ending::clean()).await.unwrap();
            }
            assert_eq!(farm.stats().await.unwrap().waiting, 1, "in round {round}");
        }
        farm.release(first.id, Ending::clean()).await.unwrap();
        assert_eq!(waiter.await.unwrap().unwrap().bot().bot.id, first.bot().bot.id);
        farm.0.turn(|state| state.audit());
    }
}
