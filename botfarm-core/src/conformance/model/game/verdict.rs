//! What the farm did, and whether the model says the same.

use super::super::{
    Pace,
    judge::{Complaint, Fate},
    state::Is,
};
use super::{Call, Game, Played, Stop, now, sentinel};
use crate::{BotFilter, Condition, Domain, Env, Error, PageRequest, PoolStats};
use std::time::Duration;
use tokio::{task::JoinHandle, time::Instant};

impl Game {
    /// Waits until the farm has done what it has to do, and what it has done is what the model says.
    pub(super) async fn judge(&mut self) -> Played {
        let until = Instant::now() + self.patience;
        let mut pause = Duration::from_millis(2);
        loop {
            if self.pace == Pace::Exact {
                // Everybody who was woken has a turn.
                for _ in 0..40 {
                    tokio::task::yield_now().await;
                }
            }
            // Who waits may be served still, where either is right: all is looked at anew.
            let judged = match self.explain() {
                Ok(()) => match self.take_note() {
                    Err(_) if self.is_overrun() => return Err(Stop::Overrun),
                    Err(complaint) => return Err(Stop::Found(complaint)),
                    Ok(()) => self.compare().await,
                },
                complaint => complaint,
            };
            match judged {
                Ok(()) => return Ok(()),
                Err(_) if self.is_overrun() => return Err(Stop::Overrun),
                Err(complaint) if self.pace == Pace::Exact || Instant::now() > until => {
                    return Err(Stop::Found(format!("{complaint}; {}", self.state)));
                }
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 3 / 2).min(Duration::from_millis(50));
        }
    }

    /// Explains what the calls have been told.
    pub(super) fn explain(&mut self) -> Result<(), Complaint> {
        for call in &mut self.calls {
            if call.task.as_ref().is_some_and(JoinHandle::is_finished)
                && let Some(task) = call.task.take()
            {
                let answer = now(task).ok_or("a call that has ended has no answer")?;
                call.answer = Some(answer.map_err(|error| format!("an acquire panicked: {error}"))?);
            }
        }
        let now = self.now();
        let fate = |id| {
            let mut fate = Fate::default();
            for call in self.calls.iter().filter(|call| call.id == id) {
                fate.may_be_undone |= call.may_be_undone;
                match &call.answer {
                    Some(answer) => fate.answers.push((answer, call.over <= now)),
                    None if call.over <= now => fate.late += 1,
                    None => fate.pending += 1,
                }
            }
            fate
        };
        let fates: Vec<_> = self.state.line.iter().map(|waiter| fate(waiter.request.id)).collect();
        self.state.explain(0, &fates, &self.state.free())
    }

    /// Takes note of what the calls have been told, which is explained.
    pub(super) fn take_note(&mut self) -> Result<(), Complaint> {
        let (window, since) = (self.window(), self.state.count());
        for waiter in &mut self.state.line {
            waiter.new = false;
        }
        let (told, calls): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.calls).into_iter().partition(|call| call.answer.is_some());
        self.calls = calls;
        // Whoever gives up is told how things stand before what was kept for it goes to others, or after.
        let refusals = told.iter().filter_map(|call| {
            let waiter = self.state.line.iter().find(|waiter| waiter.request.id == call.id)?;
            let error = call.answer.as_ref()?.as_ref().err()?;
            Some((call.id, self.state.check_refusal(&waiter.request, error)))
        });
        let before: Vec<_> = refusals.collect();
        let mut refused = Vec::new();
        for Call { id, answer, .. } in told {
            let waiter = self.state.line.iter().find(|waiter| waiter.request.id == id);
            let (Some(request), Some(answer)) = (waiter.map(|waiter| waiter.request.clone()), answer) else {
                continue;
            };
            match answer {
                Ok(lease) => {
                    let bots = lease.bots.iter().map(|leased| (leased.bot.id, leased.fence)).collect();
                    self.state.leave(id, None);
                    self.state.grant(request, bots, since, window);
                }
                Err(error) => {
                    if self.calls.iter().all(|call| call.id != id) {
                        let keeps = matches!(error, Error::Busy(_) | Error::Exhausted(_)) && !request.wait.is_zero();
                        self.state.leave(id, keeps.then_some(window));
                    }
                    refused.push((request, error));
                }
            }
        }
        for (request, error) in refused {
            if !before.iter().any(|(id, told)| *id == request.id && told.is_ok()) {
                self.state.check_refusal(&request, &error)?;
            }
        }
        Ok(())
    }

    /// Compares what everybody may see.
    pub(super) async fn compare(&mut self) -> Result<(), Complaint> {
        let farm = self.trial.farm();
        let filter =
            BotFilter { project: Some(self.trial.project()), domain: Some(Domain::CANARY), ..BotFilter::default() };
        let shown = farm.list(&filter, &PageRequest::first(PageRequest::MAX)).await;
        let shown = shown.map_err(|error| format!("bots cannot be listed: {error:?}"))?.items;
        for bot in &shown {
            self.state.check_bot(bot)?;
        }
        if shown.len() != self.state.bots.len() {
            return Err(format!("{} bots are listed of {}", shown.len(), self.state.bots.len()));
        }
        // Nothing overlaps the least, and nobody is granted a ready bot as a broken one.
        let probe = self.trial.any().labels(sentinel()).condition(Condition::Broken);
        let waiting = match farm.acquire(self.trial.ask(probe)).await {
            Err(Error::Exhausted(told)) => told.waiting,
            answer => return Err(format!("nobody is granted a bot that is ready as one that is broken: {answer:?}")),
        };
        if waiting != self.state.line.len() as u64 {
            return Err(format!("{waiting} are said to wait, but {} do", self.state.line.len()));
        }
        let counted = farm.stats().await.map_err(|error| format!("bots cannot be counted: {error:?}"))?;
        let ours = |pool: &&PoolStats| pool.project == self.trial.project() && pool.domain == Domain::CANARY;
        let told = counted.pools.iter().find(ours).cloned();
        let wanted = self.pool();
        if told == wanted { Ok(()) } else { Err(format!("the bots are counted as {told:?}, they are {wanted:?}")) }
    }

    pub(super) fn pool(&self) -> Option<PoolStats> {
        let bots = &self.state.bots;
        let count = |counts: &dyn Fn(Is, Condition) -> bool| {
            bots.iter().filter(|bot| counts(bot.is, bot.bot.condition)).count() as u64
        };
        let free = |wanted| count(&move |is, condition| is == Is::Free && condition == wanted);
        (!bots.is_empty()).then(|| PoolStats {
            project: self.trial.project(),
            env: Env::STAGE,
            domain: Domain::CANARY,
            total: bots.len() as u64,
            free: free(Condition::Ready),
            leased: count(&|is, _| matches!(is, Is::Held(_))),
            cooling: count(&|is, _| matches!(is, Is::Resting(_))),
            dirty: free(Condition::Dirty),
            broken: free(Condition::Broken),
        })
    }
}
