//! A schedule, step by step.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use botfarm_core::{
    BotChanges, BotFarm, BotRelease, Condition, Ending, Fingerprint, Lease, LeaseId, LeaseRequest, NewBot, Note,
    Outcome, Result, Revocation, Selector,
};
use botfarm_postgres::PostgresFarm;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use postgres_lab::{Point, Stop};
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    judge::Complaint,
    schedule::{Asked, At, Choice, Fault, Op, Step},
    stage::{Stage, role},
    story::{Call, CallRecord, Reply, Request, Story},
};

/// How long a step has until the next one is taken, whether or not it was answered: others may stand in its way.
const STEP: Duration = Duration::from_millis(30);

/// A statement that stands somewhere, or is about to.
struct Hold {
    stop: Stop,
    fault: Fault,
    call: Option<usize>,
    /// The step in which it came there.
    since: Option<usize>,
}

/// A schedule that is being played.
pub(crate) struct Play<'a> {
    pub(crate) stage: &'a mut Stage,
    pub(crate) story: Arc<Mutex<Story>>,
    /// The tasks of the calls, by their numbers.
    pub(crate) tasks: Vec<JoinHandle<()>>,
    holds: Vec<Hold>,
}

impl<'a> Play<'a> {
    pub(crate) fn on(stage: &'a mut Stage) -> Self {
        Self { stage, story: Arc::default(), tasks: Vec::new(), holds: Vec::new() }
    }

    /// Takes all steps, and comes to an end.
    pub(crate) async fn all(mut self, steps: &[Step]) -> (Story, Result<(), Complaint>) {
        for (number, step) in steps.iter().enumerate() {
            self.let_go(number);
            self.take(number, step).await;
        }
        let holds = std::mem::take(&mut self.holds);
        self.finish(holds);
        let ended = self.end(steps.len()).await;
        // Of a call that is never answered, the task goes on.
        let story = self.story.lock().clone();
        (story, ended)
    }

    /// Takes a step: until it is answered, or stands somewhere, or waits, or its time is over.
    async fn take(&mut self, number: usize, step: &Step) {
        let held = step.fault.clone().map(|fault| {
            let point = match fault.at {
                At::Request => Point::Request,
                At::Commit => Point::Commit,
                At::Reply => Point::Reply,
            };
            let import = ["for no key update of s", "update bots b", "COMMIT"];
            let proxy = &self.stage.proxies[step.at];
            let mark = match step.op {
                Op::Import { .. } => proxy.stop_at(point, import[fault.nth % import.len()]),
                _ => proxy.stop_at_nth(point, "botfarm_", fault.nth),
            };
            (mark, fault)
        });
        let call = self.start(number, step).await;
        let waits = match call.map(|call| self.story.lock().calls[call].call) {
            Some(Call::Acquire(request)) => Some(self.story.lock().requests[request].asks.id),
            _ => None,
        };
        let deadline = Instant::now() + STEP;
        loop {
            let stands = held.as_ref().is_some_and(|(stop, _)| stop.reached().now_or_never().is_some());
            let answered = call.is_none_or(|call| self.tasks[call].is_finished());
            if stands || answered || Instant::now() > deadline {
                break;
            }
            if let Some(lease) = waits
                && self.stage.standing(&[lease]).await == [lease]
            {
                break;
            }
            sleep(Duration::from_micros(500)).await;
        }
        self.holds.extend(held.map(|(stop, fault)| Hold { stop, fault, call, since: None }));
        self.see(number);
    }

    /// Notices which statements have come to where they are to stand.
    fn see(&mut self, number: usize) {
        for hold in &mut self.holds {
            if hold.since.is_none() && hold.stop.reached().now_or_never().is_some() {
                hold.since = Some(number);
                if let Some(call) = hold.call.filter(|_| hold.fault.hangs_up) {
                    hang_up(&self.story, &self.tasks, call);
                }
            }
        }
    }

    /// Lets go what has stood for long enough.
    fn let_go(&mut self, number: usize) {
        self.see(number);
        let due = |hold: &Hold| hold.since.is_some_and(|since| since + hold.fault.steps < number);
        let (due, holds) = std::mem::take(&mut self.holds).into_iter().partition(due);
        self.holds = holds;
        self.finish(due);
    }

    fn finish(&self, holds: Vec<Hold>) {
        for Hold { stop, fault, since, .. } in holds {
            if fault.cuts && since.is_some() {
                self.story.lock().cuts += 1;
                stop.cut();
            } else {
                stop.resume();
            }
        }
    }

    /// Begins a call; gives its number.
    async fn start(&mut self, number: usize, step: &Step) -> Option<usize> {
        let farm = self.stage.farms[step.at].clone();
        let bot = |bot: usize| self.stage.ids[bot];
        let note: Note = format!("call {}", self.tasks.len()).parse().unwrap();
        let ending = |dirty| {
            let outcome = if dirty { Outcome::Dirty } else { Outcome::Clean };
            Ending { outcome, note: Some(note.clone()) }
        };
        match &step.op {
            Op::Acquire(asked) => {
                let request = self.request(asked, None).await;
                Some(self.acquire(number, farm, request))
            }
            Op::Reuse { request, asked } => {
                let id = self.id(*request)?;
                let request = self.request(asked, Some(id)).await;
                Some(self.acquire(number, farm, request))
            }
            Op::Again { request } => {
                let request = self.nth(*request)?;
                Some(self.acquire(number, farm, request))
            }
            Op::HangUp { request } => {
                let request = self.nth(*request)?;
                let calls = self.story.lock().calls.clone();
                let runs = |call: &usize| !self.tasks[*call].is_finished() && !calls[*call].hung_up;
                let call = (0..calls.len()).filter(|call| calls[*call].call == Call::Acquire(request)).find(runs)?;
                hang_up(&self.story, &self.tasks, call);
                None
            }
            Op::Renew { request } => {
                let id = self.id(*request)?;
                Some(self.call(number, Call::Renew(id), async move { farm.renew(id, None).await.map(Some) }))
            }
            Op::Lookup { request } => {
                let id = self.id(*request)?;
                Some(self.call(number, Call::Lookup(id), async move { farm.lookup(id).await.map(Some) }))
            }
            Op::Release { request, dirty } => {
                let (id, ending) = (self.id(*request)?, ending(*dirty));
                Some(self.call(number, Call::Release(id), async move { farm.release(id, ending).await.map(nothing) }))
            }
            Op::ReleaseBot { bot: index, named } => {
                let (bot, named) = (bot(*index), named.and_then(|named| self.id(named)));
                let release = BotRelease { ending: ending(false), lease: named, ..BotRelease::default() };
                let call = Call::ReleaseBot(bot, named);
                Some(self.call(number, call, async move { farm.release_bot(bot, release).await.map(nothing) }))
            }
            Op::Revoke { bot: index } => {
                let (bot, by) = (bot(*index), "admin".parse().unwrap());
                let revocation = Revocation::new(note.clone(), by);
                Some(self.call(
                    number,
                    Call::Revoke(bot),
                    async move { farm.revoke(bot, revocation).await.map(nothing) },
                ))
            }
            Op::Change { bot: index, role: to, ready } => {
                let bot = bot(*index);
                let condition = ready.then_some(Condition::Ready);
                let changes = BotChanges { labels: Some(role(*to)), condition, ..BotChanges::default() };
                Some(self.call(number, Call::Change(bot), async move { farm.update(bot, changes).await.map(nothing) }))
            }
            Op::Import { bot, role: to } => {
                let rows = vec![NewBot { labels: role(*to), ..self.stage.bots[*bot].clone() }];
                Some(self.call(number, Call::Import, async move { farm.import(rows, false).await.map(nothing) }))
            }
            Op::Pause => {
                sleep(Asked::BRIEF * 5 / 4).await;
                None
            }
        }
    }

    fn nth(&self, request: usize) -> Option<usize> {
        request.checked_rem(self.story.lock().requests.len())
    }

    fn id(&self, request: usize) -> Option<LeaseId> {
        let request = self.nth(request)?;
        Some(self.story.lock().requests[request].asks.id)
    }

    /// A new request.
    pub(crate) async fn request(&mut self, asked: &Asked, id: Option<LeaseId>) -> usize {
        let others: Vec<_> = self.story.lock().requests.iter().map(|it| it.asks.id).collect();
        let behind = self.stage.standing(&others).await;
        let any = Selector::any().project(self.stage.project.clone());
        let selectors = asked.selectors.iter().map(|selector| match selector {
            Choice::Any => any.clone(),
            Choice::Role(number) => any.clone().labels(role(*number)),
            Choice::Bot(number) => Selector::bot(self.stage.ids[*number]),
        });
        let mut story = self.story.lock();
        let number = story.requests.len();
        let mut request = LeaseRequest::many(format!("client {number}").parse().unwrap(), selectors);
        request.id = id.unwrap_or(request.id);
        request.ttl = asked.brief.then_some(Asked::BRIEF);
        request.wait = asked.wait.span();
        request.fingerprint = Some(Fingerprint([u8::try_from(number).unwrap_or(u8::MAX); 32]));
        story.requests.push(Request { asked: asked.clone(), asks: request, behind, reuses: id.is_some() });
        number
    }

    pub(crate) fn acquire(&mut self, step: usize, farm: PostgresFarm, number: usize) -> usize {
        let request = self.story.lock().requests[number].asks.clone();
        self.call(step, Call::Acquire(number), async move { farm.acquire(request).await.map(Some) })
    }

    /// Begins a call; gives its number.
    pub(crate) fn call(
        &mut self,
        step: usize,
        call: Call,
        answer: impl Future<Output = Result<Option<Lease>>> + Send + 'static,
    ) -> usize {
        let (story, number, sent) = (self.story.clone(), self.tasks.len(), Instant::now());
        story.lock().calls.push(CallRecord { step, call, sent, back: None, hung_up: false });
        self.tasks.push(tokio::spawn(async move {
            let answer = match answer.await {
                Ok(Some(lease)) => Reply::Lease {
                    holder: lease.terms.holder.to_string(),
                    bots: lease.bots.iter().map(|leased| (leased.bot.id, leased.fence.0)).collect(),
                    until: sent + lease.remaining,
                },
                Ok(None) => Reply::Done,
                Err(error) => Reply::Refused(error.code(), format!("{error:?}")),
            };
            story.lock().calls[number].back = Some((Instant::now(), answer));
        }));
        number
    }
}

/// Has who asked go without an answer. Only those who ask for a lease: whatever else was asked is carried out all the same,
/// whenever that may be.
fn hang_up(story: &Mutex<Story>, tasks: &[JoinHandle<()>], call: usize) {
    let mut story = story.lock();
    let told = &mut story.calls[call];
    if matches!(told.call, Call::Acquire(_)) && told.back.is_none() {
        told.hung_up = true;
        tasks[call].abort();
    }
}

/// The answer of a call that gives no lease.
pub(crate) fn nothing<T>(_: T) -> Option<Lease> {
    None
}
