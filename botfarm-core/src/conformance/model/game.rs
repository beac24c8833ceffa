//! One case: what is done to a farm is told to the model, and what the farm does is judged.

mod bots;
mod leases;
mod verdict;

use super::{
    Pace,
    judge::Complaint,
    op::Op,
    state::{Is, ModelLease, State, Window},
};
use crate::{
    Bot, BotId, BotRelease, Domain, EndReason, Error, Labels, Lease, LeaseId, LeasePolicy, LeaseRequest, NewBot,
    Outcome, Result as FarmResult, Revocation,
    conformance::{Trial, trial::text},
};
use std::time::Duration;
use tokio::{task::JoinHandle, time::Instant};

/// So many bots are kept at most.
const BOTS: usize = 7;

/// Where time cannot be paused: nothing may come due by itself within this of an operation's start.
const SLACK: Duration = Duration::from_millis(250);

/// Where time cannot be paused: how long a call waits that is to give up, and a lease lives that is to expire.
const BRIEF: Duration = Duration::from_millis(30);

/// Where time cannot be paused: how long leases and waiters last, longer than any case.
const LONG: Duration = Duration::from_mins(10);

/// Why a case ends early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The farm did what it promised not to.
    Found(Complaint),
    /// Something came due while it was judged: a busy machine proves nothing.
    Overrun,
}

impl From<Complaint> for Stop {
    fn from(complaint: Complaint) -> Self {
        Self::Found(complaint)
    }
}

type Played = Result<(), Stop>;

/// A call under way.
#[derive(Debug)]
struct Call {
    id: LeaseId,
    task: Option<JoinHandle<FarmResult<Lease>>>,
    answer: Option<FarmResult<Lease>>,
    /// From when on it may give up.
    over: Duration,
    may_be_undone: bool,
}

/// A farm, the model of it, and the calls under way.
#[derive(Debug)]
pub(super) struct Game {
    trial: Trial,
    state: State,
    pace: Pace,
    patience: Duration,
    start: Instant,
    /// When the operation under way began.
    begun: Duration,
    calls: Vec<Call>,
    /// The requests that waited, for those that ask again.
    asked: Vec<LeaseRequest>,
    /// A bot that nobody asks for, to ask after those who wait.
    sentinel: Option<Bot>,
    serial: u64,
}

impl Game {
    pub(super) fn new(trial: Trial, policy: LeasePolicy, pace: Pace, patience: Duration) -> Self {
        Self {
            trial,
            state: State::new(policy),
            pace,
            patience,
            start: Instant::now(),
            begun: Duration::ZERO,
            calls: Vec::new(),
            asked: Vec::new(),
            sentinel: None,
            serial: 0,
        }
    }

    /// Does it all, and judges after each operation. Leaves nothing behind.
    pub(super) async fn play(mut self, ops: Vec<Op>) -> Played {
        let played = self.play_all(ops).await;
        let swept = self.sweep().await;
        played.and(swept)
    }

    async fn play_all(&mut self, ops: Vec<Op>) -> Played {
        let sentinel = self.trial.new_bot().labels(sentinel());
        let sentinel = NewBot { domain: Domain::REGULAR, ..sentinel };
        self.sentinel = Some(expect(self.trial.farm().create(sentinel).await, "create")?);
        for op in ops {
            self.serial += 1;
            self.quiet().await?;
            self.begun = self.now();
            self.apply(op).await?;
            self.judge().await?;
        }
        self.finish().await
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// From the start of the operation until now.
    fn window(&self) -> Window {
        Window { from: self.begun, to: self.now() }
    }

    async fn apply(&mut self, op: Op) -> Played {
        match op {
            Op::Create { kind } => self.create(kind).await,
            Op::Import { bot, kind } => self.import(bot, kind).await,
            Op::Update { bot, kind, condition } => self.update(bot, kind, condition).await,
            Op::Delete { bot } => self.delete(bot).await,
            Op::Acquire(asked) => {
                let request = self.request(&asked);
                self.ask(request);
                Ok(())
            }
            Op::AcquireAndHangUp { asked, after } => {
                let request = self.request(&asked);
                self.ask_and_hang_up(request, after).await
            }
            Op::Twin { waiter } => {
                let Some(call) = pick(&self.calls, waiter) else { return Ok(()) };
                let waiter = self.state.line.iter().find(|waiter| waiter.request.id == call.id);
                let Some(waiter) = waiter else { return Ok(()) };
                let request = LeaseRequest { wait: self.wait(self.serial % 20 + 1), ..waiter.request.clone() };
                self.call(request);
                Ok(())
            }
            Op::HangUp { waiter } => self.hang_up(waiter).await,
            Op::AskAgain { gone, wait } => {
                let idle = |request: &&LeaseRequest| {
                    let id = request.id;
                    let waits = self.calls.iter().any(|call| call.id == id);
                    let ended = self.state.ended.iter().any(|(lease, _)| lease.request.id == id);
                    !waits && !ended && self.state.lease(id).is_none()
                };
                let gone_ones: Vec<_> = self.asked.iter().filter(idle).collect();
                let Some(request) = pick(&gone_ones, gone) else { return Ok(()) };
                let request = LeaseRequest { wait: self.wait(wait), ..(*request).clone() };
                self.ask(request);
                Ok(())
            }
            Op::Replay { lease } => {
                let Some(lease) = pick(&self.state.leases, lease) else { return Ok(()) };
                let request = LeaseRequest { wait: Duration::ZERO, ..lease.request.clone() };
                same_lease(lease, &expect(self.trial.acquire(request).await, "acquire again")?)
            }
            Op::Lookup { lease } => {
                let Some(lease) = pick(&self.state.leases, lease) else { return Ok(()) };
                same_lease(lease, &expect(self.trial.farm().lookup(lease.request.id).await, "lookup")?)
            }
            Op::Renew { lease, ttl } => {
                let ttl = if self.pace == Pace::Exact { Duration::from_secs(ttl) } else { LONG };
                self.renew(lease, ttl).await.map(drop)
            }
            Op::Expire { lease } => {
                let brief = if self.pace == Pace::Exact { Duration::from_secs(1) } else { BRIEF };
                let Some((id, ends)) = self.renew(lease, brief).await? else { return Ok(()) };
                self.expire(id, ends).await
            }
            Op::Release { lease, outcome, by_bot } => self.release(lease, outcome, by_bot).await,
            Op::Revoke { bot } => {
                let Some(bot) = pick(&self.state.bots, bot) else { return Ok(()) };
                let (id, is) = (bot.bot.id, bot.is);
                let revocation = Revocation::new(text("needed"), text("the admin"));
                expect(self.trial.farm().revoke(id, revocation).await, "revoke")?;
                if let Is::Held(lease) = is {
                    self.state.end(lease, self.window(), EndReason::Revoked, None);
                }
                Ok(())
            }
            Op::Stale { lease, call } => self.stale(lease, call).await,
            Op::Sleep { units } => match self.pace {
                Pace::Exact => self.sleep(Duration::from_secs(units)).await,
                Pace::Patient => self.rest().await,
            },
        }
    }

    /// Lets time pass where it is paused: from one moment at which something happens by itself to the next.
    async fn sleep(&mut self, span: Duration) -> Played {
        let until = self.now() + span;
        while self.now() < until {
            let overs = self.calls.iter().map(|call| call.over).filter(|over| *over > self.now());
            let next = overs.chain(self.state.next()).chain([until]).min().unwrap_or(until);
            tokio::time::sleep_until(self.start + next).await;
            same(&self.now(), &next, "the paused time")?;
            self.begun = next;
            self.state.pass(next);
            self.judge().await?;
        }
        Ok(())
    }

    /// Where time cannot be paused: lets pass whatever would come due while the next operation is judged.
    async fn quiet(&mut self) -> Played {
        while self.pace == Pace::Patient && self.state.next().is_some_and(|next| next < self.now() + SLACK) {
            self.rest().await?;
            self.judge().await?;
        }
        Ok(())
    }

    /// Where time cannot be paused: waits until no bot rests.
    async fn rest(&mut self) -> Played {
        let long = |lease: &ModelLease| lease.ends.from > self.now() + self.patience;
        if !self.state.leases.iter().all(long) {
            return Err(Stop::Overrun);
        }
        if let Some(until) = self.state.rests().map(|until| until.to).max() {
            tokio::time::sleep_until(self.start + until + Duration::from_millis(5)).await;
        }
        self.begun = self.now();
        self.state.pass(self.begun);
        Ok(())
    }

    /// Where time cannot be paused: something has come due by itself, or is about to.
    fn is_overrun(&self) -> bool {
        self.pace == Pace::Patient && self.state.next().is_some_and(|next| next <= self.now())
    }

    /// Ends everything, and compares the history.
    async fn finish(&mut self) -> Played {
        self.quiet().await?;
        self.begun = self.now();
        while !self.calls.is_empty() {
            self.hang_up(0).await?;
            self.judge().await?;
        }
        while !self.state.leases.is_empty() {
            self.begun = self.now();
            self.release(0, Outcome::Clean, false).await?;
            self.judge().await?;
        }
        for bot in &self.state.bots {
            let records = self.trial.history(bot.bot.id).await;
            let told: Vec<_> = records
                .into_iter()
                .map(|record| {
                    (record.fence, record.terms.holder.clone(), record.end.map(|end| (end.reason, end.outcome)))
                })
                .collect();
            let hand_outs = bot.hand_outs.iter().rev().cloned();
            let wanted: Vec<_> = hand_outs.map(|hand_out| (hand_out.fence, hand_out.holder, hand_out.end)).collect();
            same(&told, &wanted, "the history of a bot, newest first")?;
        }
        Ok(())
    }

    /// Leaves nothing behind for the cases to come.
    async fn sweep(&mut self) -> Played {
        for call in self.calls.drain(..) {
            if let Some(task) = call.task {
                task.abort();
                drop(task.await);
            }
        }
        let farm = self.trial.farm();
        let bots: Vec<BotId> =
            self.state.bots.iter().map(|bot| bot.bot.id).chain(self.sentinel.iter().map(|bot| bot.id)).collect();
        for bot in bots {
            drop(farm.release_bot(bot, BotRelease::default()).await);
            drop(farm.delete(bot).await);
        }
        Ok(())
    }
}

/// The outcome of a task that has ended.
fn now<T>(task: JoinHandle<T>) -> Option<Result<T, tokio::task::JoinError>> {
    futures_util::FutureExt::now_or_never(task)
}

fn pick<T>(from: &[T], index: usize) -> Option<&T> {
    (!from.is_empty()).then(|| &from[index % from.len()])
}

fn labels(kind: u8) -> Labels {
    Labels::try_from([("kind", kind.to_string().as_str())]).expect("valid")
}

fn sentinel() -> Labels {
    Labels::try_from([("sentinel", "yes")]).expect("valid")
}

fn code<T>(answer: &FarmResult<T>) -> Option<&'static str> {
    answer.as_ref().err().map(Error::code)
}

fn expect<T>(answer: FarmResult<T>, call: &str) -> Result<T, Stop> {
    answer.map_err(|error| Stop::Found(format!("{call} was refused: {error:?}")))
}

fn same<T: PartialEq + std::fmt::Debug>(told: &T, wanted: &T, what: &str) -> Played {
    if told == wanted { Ok(()) } else { Err(Stop::Found(format!("{what} is {told:?}, not {wanted:?}"))) }
}

fn same_end<T: std::fmt::Debug>(answer: FarmResult<T>, reason: EndReason) -> Played {
    match answer {
        Err(Error::LeaseLost(lost)) if lost.reason == reason => Ok(()),
        answer => Err(Stop::Found(format!("who uses the id of a lease that has ended ({reason}) got {answer:?}"))),
    }
}

fn same_lease(lease: &ModelLease, told: &Lease) -> Played {
    let bots: Vec<_> = told.bots.iter().map(|leased| (leased.bot.id, leased.fence)).collect();
    same(&(told.id, &bots), &(lease.request.id, &lease.bots), "a lease in force")
}
