//! The end of a schedule: everything goes on and is given back, and then every bot is free and nobody waits.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use botfarm_core::{BotChanges, BotFarm, Condition, Ending, LeaseId};
use botfarm_postgres::PostgresFarm;
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    judge::Complaint,
    play::{Play, nothing},
    schedule::{Asked, BOTS, Choice, Wait},
    stage::role,
    story::{Call, Reply},
};

/// Everything is over by then, on any machine.
const PATIENCE: Duration = Duration::from_secs(20);

impl Play<'_> {
    pub(crate) async fn end(&mut self, step: usize) -> Result<(), Complaint> {
        let deadline = Instant::now() + PATIENCE;
        self.give_everything_back(step, deadline).await?;
        while !self.mend().await {
            within(deadline, "a bot cannot be changed, though everything has been given back").await?;
        }
        let all = Asked { selectors: (0..BOTS).map(Choice::Bot).collect(), wait: Wait::Long, brief: false };
        let request = self.request(&all, None).await;
        let call = self.acquire(step, self.farm(), request);
        while self.story.lock().calls[call].back.is_none() {
            for lease in self.told_to_two_who_went() {
                self.release(step, lease);
            }
            sleep(Duration::from_millis(10)).await;
            within(deadline, "not every bot is free in the end").await?;
        }
        self.give_everything_back(step, deadline).await?;
        let leases: Vec<_> = self.story.lock().requests.iter().map(|it| it.asks.id).collect();
        while self.stage.listeners(&leases).await > 0 {
            within(deadline, "somebody is said to wait in the end").await?;
        }
        Ok(())
    }

    fn farm(&self) -> PostgresFarm {
        self.stage.farms[self.tasks.len() % 2].clone()
    }

    fn release(&mut self, step: usize, lease: LeaseId) {
        let (farm, note) = (self.farm(), format!("call {}", self.tasks.len()).parse().unwrap());
        let ending = Ending { note: Some(note), ..Ending::clean() };
        self.call(step, Call::Release(lease), async move { farm.release(lease, ending).await.map(nothing) });
    }

    /// The leases for which two calls hung up. When the database had told both of it, it is seen, and ends with its TTL.
    fn told_to_two_who_went(&self) -> Vec<LeaseId> {
        let story = self.story.lock();
        let went = |lease: LeaseId| {
            let gone = story.calls.iter().filter(|told| told.hung_up && story.lease_of(told.call) == Some(lease));
            gone.count() >= 2
        };
        let mut leases: Vec<_> = story.requests.iter().map(|it| it.asks.id).filter(|lease| went(*lease)).collect();
        leases.dedup();
        leases
    }

    /// Releases whatever anybody holds, until all are answered.
    async fn give_everything_back(&mut self, step: usize, deadline: Instant) -> Result<(), Complaint> {
        loop {
            let answered = self.tasks.iter().all(JoinHandle::is_finished);
            let held = self.held();
            if answered && held.is_empty() {
                break;
            }
            for lease in held {
                self.release(step, lease);
            }
            self.mend().await;
            within(deadline, "somebody is never answered, though everything has been given back").await?;
        }
        for task in &mut self.tasks {
            if !task.is_finished() || task.await.is_err_and(|error| error.is_panic()) {
                return Err("a call panicked".to_owned());
            }
        }
        self.tasks.iter_mut().for_each(|task| *task = tokio::spawn(async {}));
        Ok(())
    }

    /// What somebody may hold: what was told, or what nobody knows anything about, and no release was sent for since. One
    /// that was sent before may have been in vain: what was undone may be granted anew.
    fn held(&self) -> Vec<LeaseId> {
        let story = self.story.lock();
        let told = story.calls.iter().filter_map(|told| {
            let (lease, (back, answer)) = (story.lease_of(told.call)?, told.back.as_ref()?);
            match (told.call, answer) {
                (_, Reply::Lease { .. }) | (Call::Acquire(_), Reply::Refused("unavailable", _)) => Some((lease, *back)),
                _ => None,
            }
        });
        let released = |lease: LeaseId, since: Instant| {
            story.calls.iter().any(|told| told.call == Call::Release(lease) && told.sent > since)
        };
        let held: BTreeSet<_> =
            told.filter(|(lease, since)| !released(*lease, *since)).map(|(lease, _)| lease).collect();
        held.into_iter().collect()
    }

    /// Gives the bots the roles and the condition that they had; whether they have.
    async fn mend(&mut self) -> bool {
        let changed = self.stage.changed().await;
        for number in &changed {
            let labels = BotChanges { labels: Some(role(number % 2)), ..BotChanges::default() };
            let condition = BotChanges { condition: Some(Condition::Ready), ..BotChanges::default() };
            for changes in [labels, condition] {
                // Refused while somebody holds it.
                let _ = self.stage.farms[0].update(self.stage.ids[*number], changes).await;
            }
        }
        changed.is_empty()
    }
}

/// Pauses for a moment, unless it takes too long.
async fn within(deadline: Instant, complaint: &str) -> Result<(), Complaint> {
    if Instant::now() > deadline {
        return Err(complaint.to_owned());
    }
    sleep(Duration::from_millis(1)).await;
    Ok(())
}
