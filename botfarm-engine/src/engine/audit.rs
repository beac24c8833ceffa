//! Checks, for tests, that all that the farm keeps twice agrees.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use botfarm_core::{Bot, LeaseId, Place};

use super::Engine;
use crate::{
    bots::Status,
    bucket::{Bucket, Counts, Position},
    number::Slot,
    timeline::{Event, Timer},
};

impl Engine {
    /// Checks that all that is kept twice agrees.
    ///
    /// # Panics
    /// When the state contradicts itself, or a free bot is of use to somebody who waits.
    pub fn audit(&self) {
        let slots: Vec<Slot> = self.bots.after(None).map(|(_, slot)| slot).collect();
        assert_eq!(slots.len(), self.bots.len());
        self.audit_indexes(&slots);
        self.audit_leases(&slots);
        self.audit_queue(&slots);
    }

    fn audit_indexes(&self, slots: &[Slot]) {
        let mut pools = BTreeMap::<_, (Option<Place>, Counts)>::new();
        let mut sticky = BTreeMap::<_, BTreeMap<u64, Slot>>::new();
        for &slot in slots {
            let entry = &self.bots[slot];
            assert_eq!(self.bots.slot(entry.bot.id), Some(slot));
            assert_eq!(self.bots.of_login(&entry.bot.env, &entry.bot.login.folded()), Some(slot));
            let at = entry.position();
            let Bot { project, env, domain, .. } = entry.bot.clone();
            let counts = pools.entry((project.clone(), env.clone(), domain.clone())).or_default();
            counts.1[at.bucket] += 1;
            counts.0 = Some(Place { project, env, domain });
            if let Some(key) = entry.sticky.clone().filter(|_| at.bucket.is_free()) {
                sticky.entry(key).or_default().insert(at.order, slot);
            }
        }
        let counted = self.pools.iter().map(|pool| (Some(pool.place.clone()), pool.counts));
        assert!(counted.eq(pools.into_values()), "pools are counted right");
        assert_eq!(self.sticky.clone().into_iter().collect::<BTreeMap<_, _>>(), sticky, "sticky bots are indexed");
        for (id, index) in &self.indexes.slab {
            let mut members = 0;
            for &slot in slots {
                let entry = &self.bots[slot];
                let (fits, at) = (index.could_fit(&entry.bot, &self.policy), entry.position());
                assert_eq!(entry.indexes.contains(&id), fits, "a bot knows the indexes that it is in");
                assert_eq!(
                    index.buckets[at.bucket.0].iter().any(|of| *of == (at.order, slot)),
                    fits,
                    "a bot stands where it belongs"
                );
                members += u64::from(fits);
            }
            assert_eq!(index.counts().total(), members, "an index has no bots but those that fit");
        }
    }

    fn audit_leases(&self, slots: &[Slot]) {
        let mut timers = BTreeSet::new();
        let mut held = BTreeSet::new();
        let mut runs = BTreeSet::new();
        for lease in self.leases.iter() {
            if let (Some(run), Some(first)) = (&lease.request.terms.run, lease.first_bot()) {
                runs.insert(run);
                let found = self.leases.of_run(run, Bound::Included(first)).next();
                assert_eq!(found, Some((first, lease.request.id)), "a lease is found by its run");
            }
            timers.insert(lease.ends);
            for &(slot, id) in &lease.bots {
                assert_eq!(self.bots[slot].bot.id, id);
                assert_eq!(self.bots[slot].lease(), Some(lease.request.id), "a bot knows the lease that holds it");
                assert!(held.insert(slot), "no bot is in two leases");
            }
        }
        assert_eq!(self.leases.runs(), runs.len(), "a run without a lease is forgotten");
        for &slot in slots {
            assert_eq!(self.bots[slot].lease().is_some(), held.contains(&slot), "who holds a bot is known");
            if let Status::Cooling { rested } = self.bots[slot].status {
                timers.insert(rested);
            }
        }
        timers.extend(self.queue.kept.values().map(|kept| kept.timer));
        let known: BTreeSet<Timer> = self.timeline.iter().map(|(timer, _)| *timer).collect();
        assert_eq!(known, timers, "the timeline has what will happen, and nothing else");
        for (timer, event) in self.timeline.iter() {
            assert!(timer.at > self.now, "what was due is settled");
            if let Event::Rested(slot) = *event {
                assert_eq!(self.bots[slot].position(), Position { bucket: Bucket::COOLING, order: timer.order });
            }
        }
    }

    fn audit_queue(&self, slots: &[Slot]) {
        let waiting: Vec<LeaseId> = self.queue.requests().map(|request| request.id).collect();
        assert_eq!(waiting.len(), self.queue.len());
        let mut reserved = BTreeSet::new();
        for &id in &waiting {
            assert!(self.leases.get(id).is_none(), "nobody waits for what they have");
            let pending = self.queue.pending(id).expect("whoever stands in the line waits");
            for slot in pending.reserved.iter().flatten() {
                assert!(reserved.insert(*slot), "no bot is reserved twice");
            }
        }
        for &slot in slots {
            let entry = &self.bots[slot];
            let is_reserved = matches!(entry.status, Status::Reserved { .. });
            assert_eq!(is_reserved, reserved.contains(&slot), "what is reserved is reserved for somebody");
            let takers = waiting.iter().filter(|id| self.extended(**id, slot).is_some());
            if entry.position().bucket.is_free() {
                assert_eq!(takers.count(), 0, "no free bot is of use to anybody who waits");
            }
            for &id in &waiting {
                let pending = self.queue.pending(id).expect("whoever stands in the line waits");
                let wants = pending.request.selectors.iter().any(|selector| entry.fits(selector, &self.policy));
                let stands =
                    std::iter::successors(self.next_waiter(slot, 0), |(ticket, _)| self.next_waiter(slot, ticket + 1));
                // By login alone one may stand where a bot of another kind comes, too.
                let stands = stands.into_iter().any(|(_, of)| of == id);
                assert!(stands || !wants, "who wants a bot stands where it comes");
            }
        }
        for (_, index) in &self.indexes.slab {
            for ticket in index.waiters.iter().flatten() {
                assert!(self.queue.line.contains_key(ticket), "who has gone stands in no index");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use botfarm_core::{BotId, Ending, Env, Labels, LeasePolicy, LeaseRequest, NewBot, ProjectId, Selector};

    use crate::{Acquired, Engine, selector_index::MAX};

    fn granted(engine: &mut Engine, request: LeaseRequest) -> botfarm_core::Lease {
        match engine.acquire(request).unwrap() {
            Acquired::Granted { lease, .. } => lease,
            Acquired::Parked => panic!("its bot is free"),
        }
    }

    /// More selectors than there are indexes, each in use by somebody who holds its bot, and one by somebody who waits.
    #[test]
    fn indexes_that_are_not_waited_in_come_and_go() {
        let project = ProjectId::new();
        let labels = |number: usize| Labels::try_from([("number", number.to_string().as_str())]).unwrap();
        let mut engine = Engine::new(LeasePolicy::default());
        let bots = (0..MAX + 50).map(|number| {
            let login = format!("bot-{number}").parse().unwrap();
            NewBot::new(login, "hunter2".try_into().unwrap(), project.clone(), Env::STAGE).labels(labels(number))
        });
        engine.import(bots.collect(), false, BotId::new).unwrap();
        let ask = |number| LeaseRequest::new("somebody".parse().unwrap(), Selector::any().labels(labels(number)));
        let turn = |engine: &mut Engine| engine.settle(engine.now());
        turn(&mut engine);
        let first = granted(&mut engine, ask(0));
        let waiter = ask(0).wait(Duration::from_mins(1));
        turn(&mut engine);
        assert!(matches!(engine.acquire(waiter.clone()), Ok(Acquired::Parked)));
        let mut leases = Vec::new();
        for round in 0..2 {
            for number in 1..MAX + 50 {
                turn(&mut engine);
                let lease = granted(&mut engine, ask(number));
                assert_eq!(lease.bot().bot.labels, labels(number));
                leases.push(lease.id);
            }
            engine.audit();
            assert_eq!(engine.indexes.slab.len(), MAX);
            for lease in leases.drain(..) {
                turn(&mut engine);
                engine.release(lease, Ending::clean()).unwrap();
            }
            assert_eq!(engine.stats().waiting, 1, "in round {round}");
        }
        engine.release(first.id, Ending::clean()).unwrap();
        assert_eq!(engine.take_woken(), [waiter.id]);
        assert_eq!(engine.outcome(waiter.id).unwrap().unwrap().bot().bot.id, first.bot().bot.id);
        engine.audit();
    }
}
