//! How leases are asked for, and how they end.

use super::super::{
    Pace,
    op::{Asked, Stale, Want},
    state::Window,
};
use super::{BRIEF, Call, Game, LONG, Played, Stop, expect, labels, pick, same, same_end, same_lease};
use crate::{
    BotRelease, Condition, Domain, EndReason, Ending, Error, LeaseId, LeaseRequest, Outcome, Selector,
    conformance::trial::text,
};
use std::time::Duration;
use tokio::time::Instant;

impl Game {
    pub(super) fn request(&self, asked: &Asked) -> LeaseRequest {
        let selectors: Vec<_> = asked.wants.iter().map(|want| self.selector(want)).collect();
        let ttl = if self.pace == Pace::Exact { Duration::from_secs(asked.ttl) } else { LONG };
        let mut request = self.trial.ask_many(selectors).wait(self.wait(asked.wait)).ttl(ttl);
        let avoid = asked.avoid.and_then(|avoid| pick(&self.state.bots, avoid));
        request.avoid = avoid.into_iter().map(|bot| bot.bot.id).collect();
        request.sticky = asked.sticky.map(|key| text(&format!("{key} of {}", self.trial.project())));
        request
    }

    pub(super) fn selector(&self, want: &Want) -> Selector {
        let any = self.trial.any().domain(Domain::CANARY);
        let nth = |index| pick(&self.state.bots, index).map(|bot| &bot.bot);
        match want {
            Want::Any => any,
            Want::Kind(kind) => any.labels(labels(*kind)),
            Want::Dirty => any.condition(Condition::Dirty),
            Want::Id(index) => Selector { id: nth(*index).map(|bot| bot.id), ..any },
            Want::Login(index) => Selector { login: nth(*index).map(|bot| bot.login.clone()), ..any },
        }
    }

    /// No two give up at once where time is paused: which of them comes first is not said.
    pub(super) fn wait(&self, units: u64) -> Duration {
        match (self.pace, units) {
            (_, 0) => Duration::ZERO,
            (Pace::Exact, _) => Duration::from_secs(units) + Duration::from_millis(self.serial),
            (Pace::Patient, 1..4) => BRIEF,
            (Pace::Patient, _) => LONG,
        }
    }

    pub(super) fn ask(&mut self, request: LeaseRequest) {
        self.asked.retain(|other| other.id != request.id);
        if !request.wait.is_zero() {
            self.asked.push(request.clone());
        }
        self.state.join(request.clone());
        self.call(request);
    }

    pub(super) fn call(&mut self, request: LeaseRequest) -> &mut Call {
        // A short wait may be over at any time, where time cannot be paused.
        let over = if request.wait == BRIEF { self.begun } else { self.begun + request.wait };
        let (farm, id) = (self.trial.farm(), request.id);
        let task = Some(tokio::spawn(async move { farm.acquire(request).await }));
        self.calls.push(Call { id, task, answer: None, over, may_be_undone: false });
        self.calls.last_mut().expect("it has just been put there")
    }

    /// Whoever sees the lease by its id after the hang-up holds it. Who does not, asks again.
    pub(super) async fn ask_and_hang_up(&mut self, request: LeaseRequest, after: u8) -> Played {
        self.state.join(LeaseRequest { wait: Duration::ZERO, ..request.clone() });
        let id = request.id;
        self.call(request.clone());
        for _ in 0..after {
            match self.pace {
                Pace::Exact => tokio::task::yield_now().await,
                Pace::Patient => tokio::time::sleep(Duration::from_micros(250)).await,
            }
        }
        let Some(Call { task: Some(task), .. }) = self.calls.pop() else { return Ok(()) };
        task.abort();
        let answer = match task.await {
            Ok(answer) => Some(answer),
            Err(_) => match self.trial.farm().renew(id, None).await {
                Ok(lease) => Some(Ok(lease)),
                Err(Error::LeaseLost(_) | Error::NoSuchLease) => None,
                Err(error) => return Err(Stop::Found(format!("a lease that was hung up on is {error:?}"))),
            },
        };
        if answer.is_some() {
            self.calls.push(Call { id, task: None, answer, over: self.begun, may_be_undone: false });
        } else {
            self.call(LeaseRequest { wait: Duration::ZERO, ..request }).may_be_undone = true;
        }
        Ok(())
    }

    pub(super) async fn hang_up(&mut self, waiter: usize) -> Played {
        if self.calls.is_empty() {
            return Ok(());
        }
        let Call { id, task, .. } = self.calls.remove(waiter % self.calls.len());
        if let Some(task) = task {
            task.abort();
            if let Ok(answer) = task.await {
                return Err(Stop::Found(format!("somebody who waits for nothing that is free got {answer:?}")));
            }
        }
        if self.calls.iter().all(|call| call.id != id) {
            self.state.leave(id, Some(self.window()));
        }
        Ok(())
    }

    /// Gives the lease that was renewed, and when it ends.
    pub(super) async fn renew(&mut self, lease: usize, ttl: Duration) -> Result<Option<(LeaseId, Window)>, Stop> {
        let Some(lease) = pick(&self.state.leases, lease) else { return Ok(None) };
        let id = lease.request.id;
        let before = chrono::Utc::now();
        match self.trial.farm().renew(id, Some(ttl)).await {
            // It was renewed, but the answer was lost: it was asked again when the brief time was over.
            Err(Error::LeaseLost(lost))
                if ttl == BRIEF && lost.reason == EndReason::Expired && lost.at >= before + ttl => {}
            answer => {
                let renewed = expect(answer, "renew")?;
                same_lease(lease, &renewed)?;
                same(&renewed.ttl, &ttl, "the TTL of a renewed lease")?;
            }
        }
        let ends = self.window().plus(ttl);
        if let Some(lease) = self.state.leases.iter_mut().find(|lease| lease.request.id == id) {
            (lease.request.ttl, lease.ends) = (Some(ttl), ends);
        }
        Ok(Some((id, ends)))
    }

    pub(super) async fn expire(&mut self, id: LeaseId, ends: Window) -> Played {
        if self.pace == Pace::Exact {
            self.judge().await?;
            return self.sleep(Duration::from_secs(1)).await;
        }
        let until = Instant::now() + self.patience;
        loop {
            match self.trial.farm().lookup(id).await {
                Ok(_) if Instant::now() > until => return Err(Stop::Found("a lease does not expire".to_owned())),
                Ok(_) => tokio::time::sleep(Duration::from_millis(3)).await,
                answer => {
                    same_end(answer, EndReason::Expired)?;
                    self.state.end(id, ends, EndReason::Expired, None);
                    return Ok(());
                }
            }
        }
    }

    pub(super) async fn release(&mut self, lease: usize, outcome: Outcome, by_bot: bool) -> Played {
        let Some(lease) = pick(&self.state.leases, lease) else { return Ok(()) };
        let (id, ending) = (lease.request.id, Ending { outcome, note: None });
        let answer = match lease.bots.first() {
            Some((bot, _)) if by_bot => {
                self.trial.farm().release_bot(*bot, BotRelease { ending, ..BotRelease::default() }).await
            }
            _ => self.trial.farm().release(id, ending).await,
        };
        expect(answer, "release")?;
        self.state.end(id, self.window(), EndReason::Released, Some(outcome));
        Ok(())
    }

    pub(super) async fn stale(&mut self, lease: usize, call: Stale) -> Played {
        let Some((lease, reason)) = pick(&self.state.ended, lease) else { return Ok(()) };
        let (farm, id) = (self.trial.farm(), lease.request.id);
        let ending = Ending::broken();
        match call {
            Stale::Acquire => same_end(farm.acquire(lease.request.clone()).await, *reason),
            Stale::Lookup => same_end(farm.lookup(id).await, *reason),
            Stale::Renew => same_end(farm.renew(id, None).await, *reason),
            Stale::Release if *reason == EndReason::Released => {
                expect(farm.release(id, ending).await, "release of a released lease")
            }
            Stale::Release => same_end(farm.release(id, ending).await, *reason),
            Stale::ReleaseBot => {
                let Some((bot, _)) = lease.bots.first() else { return Ok(()) };
                let release = BotRelease { ending, lease: Some(id), ..BotRelease::default() };
                same_end(farm.release_bot(*bot, release).await, *reason)
            }
        }
    }
}
