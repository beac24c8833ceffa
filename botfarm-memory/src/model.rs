//! The farm against a naive model of it: everything in vectors, every question answered by a search.

use std::{collections::HashMap, time::Duration};

use botfarm_core::{
    Bot, BotChanges, BotFarm, BotId, BotState, Condition, Ending, Env, Error, Fence, Labels, Lease, LeaseId,
    LeasePolicy, LeaseRequest, NewBot, Outcome, PageRequest, ProjectId, Result, Revocation, Selector, matching,
};
use proptest::prelude::*;
use tokio::{runtime::Builder, task::JoinHandle, time::Instant};

use crate::MemoryFarm;

const COOLING: u64 = 3_000;
const PLACE_KEPT: u64 = 4_000;

/// Times are in milliseconds. What is picked is picked by its number, modulo how many there are.
#[derive(Debug, Clone)]
enum Op {
    Create { kind: u8 },
    Update { bot: usize, kind: Option<u8>, condition: Option<Condition> },
    Delete { bot: usize },
    Acquire { wants: Vec<Want>, wait: u64, ttl: u64, avoid: Option<usize>, sticky: Option<u8> },
    HangUp { waiter: usize },
    AskAgain { gone: usize, wait: u64 },
    Release { lease: usize, outcome: Outcome },
    Revoke { bot: usize },
    Renew { lease: usize, ttl: u64 },
    Sleep { seconds: u64 },
}

#[derive(Debug, Clone)]
enum Want {
    Any,
    Kind(u8),
    Dirty,
    Id(usize),
    Login(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let want = || {
        prop_oneof![
            3 => Just(Want::Any),
            4 => (0..3_u8).prop_map(Want::Kind),
            1 => Just(Want::Dirty),
            1 => any::<usize>().prop_map(Want::Id),
            1 => any::<usize>().prop_map(Want::Login),
        ]
    };
    let wants = prop_oneof![3 => prop::collection::vec(want(), 1), 2 => prop::collection::vec(want(), 2..4)];
    let outcome = || prop_oneof![4 => Just(Outcome::Clean), 1 => Just(Outcome::Dirty), 1 => Just(Outcome::Broken)];
    let condition = || prop_oneof![2 => Just(Condition::Ready), 1 => Just(Condition::Dirty)];
    let seconds = || prop_oneof![1 => Just(0), 3 => 1..20_u64];
    prop_oneof![
        2 => (0..3_u8).prop_map(|kind| Op::Create { kind }),
        1 => (any::<usize>(), prop::option::of(0..3_u8), prop::option::of(condition()))
            .prop_map(|(bot, kind, condition)| Op::Update { bot, kind, condition }),
        1 => any::<usize>().prop_map(|bot| Op::Delete { bot }),
        12 => (wants, seconds(), 2..30_u64, prop::option::weighted(0.2, any::<usize>()), prop::option::weighted(0.3, 0..2_u8))
            .prop_map(|(wants, wait, ttl, avoid, sticky)| Op::Acquire { wants, wait, ttl, avoid, sticky }),
        2 => any::<usize>().prop_map(|waiter| Op::HangUp { waiter }),
        2 => (any::<usize>(), seconds()).prop_map(|(gone, wait)| Op::AskAgain { gone, wait }),
        6 => (any::<usize>(), outcome()).prop_map(|(lease, outcome)| Op::Release { lease, outcome }),
        1 => any::<usize>().prop_map(|bot| Op::Revoke { bot }),
        1 => (any::<usize>(), 2..30_u64).prop_map(|(lease, ttl)| Op::Renew { lease, ttl }),
        3 => (1..6_u64).prop_map(|seconds| Op::Sleep { seconds }),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Is {
    Free,
    Reserved(LeaseId),
    Held(LeaseId),
    Cooling,
}

#[derive(Debug)]
struct ModelBot {
    bot: Bot,
    is: Is,
    since: u64,
    fence: i64,
    sticky: Option<String>,
    ended: usize,
}

#[derive(Debug, Clone)]
struct ModelWaiter {
    ticket: u64,
    request: LeaseRequest,
    reserved: Vec<Option<BotId>>,
}

/// What a request comes to: the bots with their fences, or the code of the error.
type Fate = std::result::Result<Vec<(BotId, Fence)>, &'static str>;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Due {
    Expired(LeaseId),
    Rested(BotId),
    Forgotten(LeaseId),
    /// A waiter has waited long enough.
    Over(LeaseId),
}

#[derive(Debug, Default)]
struct Model {
    now: u64,
    counter: u64,
    reuse_delay: u64,
    bots: Vec<ModelBot>,
    leases: Vec<(LeaseRequest, Vec<BotId>)>,
    line: Vec<ModelWaiter>,
    kept: HashMap<LeaseId, u64>,
    due: Vec<(u64, u64, Due)>,
    fates: HashMap<LeaseId, Fate>,
}

impl Model {
    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn at(&mut self, at: u64, due: Due) {
        let order = self.count();
        self.due.push((at, order, due));
    }

    fn cancel(&mut self, due: Due) {
        self.due.retain(|(_, _, other)| *other != due);
    }

    fn bot(&mut self, id: BotId) -> &mut ModelBot {
        self.bots.iter_mut().find(|bot| bot.bot.id == id).unwrap()
    }

    /// The first moment at which something happens by itself.
    fn next(&self) -> Option<u64> {
        self.due.iter().map(|(at, ..)| *at).min()
    }

    fn settle(&mut self) {
        loop {
            let now = self.now;
            // Who has waited long enough tries once more when all else is done.
            let due = self.due.iter().filter(|(at, ..)| *at <= now);
            let first = due.min_by_key(|(at, order, due)| (matches!(due, Due::Over(_)), *at, *order));
            let Some(&(at, _, due)) = first else { return };
            self.cancel(due);
            match due {
                Due::Expired(id) => self.end(id, at, None),
                Due::Rested(id) => {
                    let since = self.count();
                    let bot = self.bot(id);
                    (bot.is, bot.since) = (Is::Free, since);
                    self.offer(id);
                }
                Due::Forgotten(id) => drop(self.kept.remove(&id)),
                Due::Over(id) => {
                    let waiter = self.line.iter().find(|waiter| waiter.request.id == id).unwrap();
                    let fate = self.refusal(&waiter.request);
                    self.leave(id);
                    self.fates.insert(id, Err(fate));
                }
            }
        }
    }

    fn offer(&mut self, id: BotId) {
        self.line.sort_by_key(|waiter| waiter.ticket);
        for index in 0..self.line.len() {
            let ModelWaiter { request, reserved, .. } = &self.line[index];
            let offered: Vec<_> = reserved.iter().flatten().copied().chain([id]).collect();
            let fitting = |selector: &Selector| {
                let fits = |id: &&BotId| {
                    let bot = &self.bots.iter().find(|bot| bot.bot.id == **id).unwrap().bot;
                    selector.fits(bot) && !request.avoid.contains(id)
                };
                offered.iter().filter(fits).copied().collect::<Vec<_>>()
            };
            let choice = matching::assign(&request.selectors.iter().map(fitting).collect::<Vec<_>>());
            if choice.iter().flatten().count() == offered.len() {
                return self.reserve(request.id, choice);
            }
        }
    }

    fn reserve(&mut self, id: LeaseId, choice: Vec<Option<BotId>>) {
        let index = self.line.iter().position(|waiter| waiter.request.id == id).unwrap();
        if choice.iter().all(Option::is_some) {
            let waiter = self.line.remove(index);
            self.cancel(Due::Over(id));
            let fate = self.grant(waiter.request, choice.into_iter().flatten().collect());
            self.fates.insert(id, Ok(fate));
        } else {
            for bot in choice.iter().flatten() {
                self.bot(*bot).is = Is::Reserved(id);
            }
            self.line[index].reserved = choice;
        }
    }

    fn grant(&mut self, request: LeaseRequest, bots: Vec<BotId>) -> Vec<(BotId, Fence)> {
        let id = request.id;
        self.at(self.now + millis(request.ttl.unwrap()), Due::Expired(id));
        let mut got = Vec::new();
        for bot in &bots {
            let bot = self.bot(*bot);
            (bot.is, bot.fence) = (Is::Held(id), bot.fence + 1);
            got.push((bot.bot.id, Fence(bot.fence)));
        }
        self.leases.push((request, bots));
        got
    }

    /// All free bots that fit, those last leased with the key first, in the order of becoming free.
    fn free(&self, request: &LeaseRequest, selector: &Selector) -> Vec<BotId> {
        let mut free: Vec<_> = self.bots.iter().filter(|bot| bot.is == Is::Free && selector.fits(&bot.bot)).collect();
        free.retain(|bot| !request.avoid.contains(&bot.bot.id));
        let key = request.sticky.as_ref().map(|key| key.as_str().to_owned());
        free.sort_by_key(|bot| (key.is_none() || bot.sticky != key, bot.since));
        free.into_iter().map(|bot| bot.bot.id).collect()
    }

    fn choose(&self, request: &LeaseRequest) -> Vec<Option<BotId>> {
        let wishes: Vec<_> = request.selectors.iter().map(|selector| self.free(request, selector)).collect();
        matching::assign(&wishes)
    }

    fn could_match(&self, request: &LeaseRequest) -> bool {
        let members = |selector: &Selector| {
            let bots = self.bots.iter().filter(|bot| request.could_take(selector, &bot.bot));
            bots.map(|bot| bot.bot.id).collect::<Vec<_>>()
        };
        matching::assign(&request.selectors.iter().map(members).collect::<Vec<_>>()).iter().all(Option::is_some)
    }

    fn refusal(&self, request: &LeaseRequest) -> &'static str {
        let [selector] = &request.selectors[..] else { return "exhausted" };
        let count = self.bots.iter().filter(|bot| request.could_take(selector, &bot.bot)).count();
        if selector.names_a_bot() && count == 1 { "busy" } else { "exhausted" }
    }

    /// `None` when it is parked.
    fn acquire(&mut self, request: LeaseRequest) -> Option<Fate> {
        let id = request.id;
        let kept = self.kept.remove(&id);
        self.cancel(Due::Forgotten(id));
        let over = self.now + millis(request.wait);
        let reserved = vec![None; request.selectors.len()];
        if let Some(ticket) = kept.filter(|_| !self.line.is_empty()) {
            self.at(over, Due::Over(id));
            self.line.push(ModelWaiter { ticket, request, reserved });
            self.rematch();
            return None;
        }
        let choice = self.choose(&request);
        if choice.iter().all(Option::is_some) {
            return Some(Ok(self.grant(request, choice.into_iter().flatten().collect())));
        }
        if !self.could_match(&request) {
            return Some(Err("no-match"));
        }
        if request.wait.is_zero() {
            return Some(Err(self.refusal(&request)));
        }
        self.at(over, Due::Over(id));
        let ticket = kept.unwrap_or_else(|| self.count());
        self.line.push(ModelWaiter { ticket, request, reserved });
        self.reserve(id, choice);
        None
    }

    fn leave(&mut self, id: LeaseId) {
        let Some(index) = self.line.iter().position(|waiter| waiter.request.id == id) else { return };
        let waiter = self.line.remove(index);
        self.cancel(Due::Over(id));
        self.kept.insert(id, waiter.ticket);
        self.at(self.now + PLACE_KEPT, Due::Forgotten(id));
        let mut bots: Vec<_> = waiter.reserved.into_iter().flatten().collect();
        bots.sort_by_key(|id| self.bot(*id).since);
        for bot in &bots {
            self.bot(*bot).is = Is::Free;
        }
        for bot in bots {
            self.offer(bot);
        }
    }

    fn rematch(&mut self) {
        for bot in &mut self.bots {
            if matches!(bot.is, Is::Reserved(_)) {
                bot.is = Is::Free;
            }
        }
        self.line.sort_by_key(|waiter| waiter.ticket);
        for waiter in &mut self.line {
            waiter.reserved.fill(None);
        }
        for ModelWaiter { request, .. } in self.line.clone() {
            let choice = self.choose(&request);
            if choice.iter().all(Option::is_some) || self.could_match(&request) {
                self.reserve(request.id, choice);
            } else {
                self.line.retain(|waiter| waiter.request.id != request.id);
                self.cancel(Due::Over(request.id));
                self.fates.insert(request.id, Err("no-match"));
            }
        }
    }

    fn end(&mut self, id: LeaseId, at: u64, outcome: Option<Outcome>) {
        let index = self.leases.iter().position(|(request, _)| request.id == id).unwrap();
        let (request, bots) = self.leases.remove(index);
        self.cancel(Due::Expired(id));
        let rest = match outcome {
            None => COOLING,
            Some(Outcome::Clean) => self.reuse_delay,
            Some(_) => 0,
        };
        for id in &bots {
            let since = self.count();
            let bot = self.bot(*id);
            bot.sticky = request.sticky.as_ref().map(|key| key.as_str().to_owned());
            bot.ended += 1;
            bot.bot.condition = match outcome {
                None => bot.bot.condition,
                Some(Outcome::Clean) => Condition::Ready,
                Some(Outcome::Dirty) => Condition::Dirty,
                Some(Outcome::Broken) => Condition::Broken,
            };
            (bot.is, bot.since) = (if rest == 0 { Is::Free } else { Is::Cooling }, since);
            if rest > 0 {
                self.at(at + rest, Due::Rested(*id));
            }
        }
        for id in bots {
            if rest == 0 {
                self.offer(id);
            }
        }
    }
}

/// The farm, the model, and the calls under way.
struct Both {
    farm: MemoryFarm,
    model: Model,
    start: Instant,
    calls: Vec<(LeaseId, JoinHandle<Result<Lease>>)>,
    /// The requests that were parked, for those that ask again.
    asked: Vec<LeaseRequest>,
    project: ProjectId,
    serial: u64,
}

impl Both {
    fn new(reuse_delay: u64) -> Self {
        let policy = LeasePolicy {
            min_ttl: Duration::from_secs(1),
            reuse_delay: Duration::from_millis(reuse_delay),
            cooling: Duration::from_millis(COOLING),
            place_kept: Duration::from_millis(PLACE_KEPT),
            ..LeasePolicy::default()
        };
        Self {
            farm: MemoryFarm::with_policy(policy),
            model: Model { reuse_delay, ..Model::default() },
            start: Instant::now(),
            calls: Vec::new(),
            asked: Vec::new(),
            project: ProjectId::new(),
            serial: 0,
        }
    }

    async fn apply(&mut self, op: Op) {
        self.serial += 1;
        match op {
            Op::Create { kind } => {
                if self.model.bots.len() < 7 {
                    self.create(kind).await;
                }
            }
            Op::Update { bot, kind, condition } => self.update(bot, kind, condition).await,
            Op::Delete { bot } => {
                let Some(bot) = self.pick(bot) else { return };
                let held = matches!(self.model.bot(bot).is, Is::Held(_));
                assert_eq!(code(self.farm.delete(bot).await), held.then_some("in-use"));
                if !held {
                    self.model.bots.retain(|other| other.bot.id != bot);
                    for waiter in &mut self.model.line {
                        waiter.reserved.iter_mut().for_each(|reserved| *reserved = reserved.filter(|id| *id != bot));
                    }
                    self.model.cancel(Due::Rested(bot));
                    self.model.rematch();
                }
            }
            Op::Acquire { wants, wait, ttl, avoid, sticky } => {
                let selectors: Vec<_> = wants.iter().map(|want| self.selector(want)).collect();
                let mut request = LeaseRequest::many("somebody".parse().unwrap(), selectors);
                // No two give up at once: which of them comes first is not said.
                let wait = if wait == 0 { 0 } else { wait * 1_000 + self.serial };
                request = request.wait(Duration::from_millis(wait)).ttl(Duration::from_secs(ttl));
                request.avoid = avoid.and_then(|avoid| self.pick(avoid)).into_iter().collect();
                request.sticky = sticky.map(|key| format!("key {key}").parse().unwrap());
                self.ask(request);
            }
            Op::HangUp { waiter } => {
                if self.calls.is_empty() {
                    return;
                }
                let (id, call) = self.calls.remove(waiter % self.calls.len());
                call.abort();
                assert!(call.await.unwrap_err().is_cancelled());
                self.model.leave(id);
            }
            Op::AskAgain { gone, wait } => {
                let waits = |id| {
                    let mut ids = self.calls.iter().map(|(id, _)| *id);
                    ids.any(|other| other == id) || self.model.leases.iter().any(|(request, _)| request.id == id)
                };
                let gone_ones: Vec<_> = self.asked.iter().filter(|request| !waits(request.id)).collect();
                if gone_ones.is_empty() {
                    return;
                }
                let mut request = gone_ones[gone % gone_ones.len()].clone();
                if matches!(self.model.fates.get(&request.id), Some(Ok(_))) {
                    // It was served, and its lease has ended since.
                    assert_eq!(code(self.farm.acquire(request).await), Some("lease-lost"));
                    return;
                }
                self.model.fates.remove(&request.id);
                request.wait = Duration::from_millis(if wait == 0 { 0 } else { wait * 1_000 + self.serial });
                self.ask(request);
            }
            Op::Release { lease, outcome } => {
                let Some(id) = self.pick_lease(lease) else { return };
                self.farm.release(id, Ending { outcome, note: None }).await.unwrap();
                self.model.end(id, self.model.now, Some(outcome));
            }
            Op::Revoke { bot } => {
                let Some(bot) = self.pick(bot) else { return };
                let revocation = Revocation { reason: "over".parse().unwrap(), by: "admin".parse().unwrap() };
                self.farm.revoke(bot, revocation).await.unwrap();
                if let Is::Held(id) = self.model.bot(bot).is {
                    self.model.end(id, self.model.now, None);
                }
            }
            Op::Renew { lease, ttl } => {
                let Some(id) = self.pick_lease(lease) else { return };
                let renewed = self.farm.renew(id, Some(Duration::from_secs(ttl))).await.unwrap();
                assert_eq!(renewed.remaining, Duration::from_secs(ttl));
                self.model.cancel(Due::Expired(id));
                self.model.at(self.model.now + ttl * 1_000, Due::Expired(id));
            }
            Op::Sleep { seconds } => {
                let until = (self.model.now / 1_000 + seconds) * 1_000;
                while self.model.now < until {
                    let next = self.model.next().map_or(until, |next| next.min(until));
                    tokio::time::advance(Duration::from_millis(next - self.model.now)).await;
                    self.model.now = next;
                    self.model.settle();
                    self.compare().await;
                }
            }
        }
    }

    async fn create(&mut self, kind: u8) {
        let login = format!("bot-{}", self.serial).parse().unwrap();
        let new = NewBot::new(login, "pw".try_into().unwrap(), self.project, Env::Stage).labels(labels(kind));
        let bot = self.farm.create(new).await.unwrap();
        let (id, since) = (bot.id, self.model.count());
        self.model.bots.push(ModelBot { bot, is: Is::Free, since, fence: 0, sticky: None, ended: 0 });
        self.model.offer(id);
    }

    async fn update(&mut self, bot: usize, kind: Option<u8>, condition: Option<Condition>) {
        let Some(id) = self.pick(bot) else { return };
        let changes = BotChanges { labels: kind.map(labels), condition, ..BotChanges::default() };
        let bot = self.model.bot(id);
        let in_use = matches!(bot.is, Is::Held(_)) && condition.is_some();
        assert_eq!(code(self.farm.update(id, changes).await), in_use.then_some("in-use"));
        if !in_use {
            bot.bot.labels = kind.map_or(bot.bot.labels.clone(), labels);
            bot.bot.condition = condition.unwrap_or(bot.bot.condition);
            self.model.rematch();
        }
    }

    fn ask(&mut self, request: LeaseRequest) {
        let (farm, id) = (self.farm.clone(), request.id);
        let fate = self.model.acquire(request.clone());
        let asked = request.clone();
        let call = tokio::spawn(async move { farm.acquire(asked).await });
        self.calls.push((id, call));
        self.asked.retain(|other| other.id != id);
        self.asked.push(request);
        if let Some(fate) = fate {
            self.model.fates.insert(id, fate);
        }
        // Who asks again without waiting gives up in this turn.
        self.model.settle();
    }

    fn selector(&self, want: &Want) -> Selector {
        let nth = |index: usize| self.model.bots.get(index % self.model.bots.len().max(1)).map(|bot| &bot.bot);
        match want {
            Want::Any => Selector::any(),
            Want::Kind(kind) => Selector::any().labels(labels(*kind)),
            Want::Dirty => Selector::any().condition(Condition::Dirty),
            Want::Id(index) => nth(*index).map_or(Selector::any(), |bot| Selector::bot(bot.id)),
            Want::Login(index) => nth(*index).map_or(Selector::any(), |bot| Selector::any().login(bot.login.clone())),
        }
    }

    fn pick(&self, index: usize) -> Option<BotId> {
        let bots = &self.model.bots;
        (!bots.is_empty()).then(|| bots[index % bots.len()].bot.id)
    }

    fn pick_lease(&self, index: usize) -> Option<LeaseId> {
        let leases = &self.model.leases;
        (!leases.is_empty()).then(|| leases[index % leases.len()].0.id)
    }

    /// Everybody who was rung has had their turn, and farm and model say the same of everything.
    async fn compare(&mut self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.start.elapsed(), Duration::from_millis(self.model.now));
        self.farm.0.turn(|engine| engine.audit());
        for (id, call) in std::mem::take(&mut self.calls) {
            let fate = self.model.fates.get(&id);
            assert_eq!(call.is_finished(), fate.is_some(), "the model says {fate:?}");
            let Some(fate) = fate else {
                self.calls.push((id, call));
                continue;
            };
            let got = call
                .await
                .unwrap()
                .map(|lease| lease.bots.iter().map(|leased| (leased.bot.id, leased.fence)).collect::<Vec<_>>());
            assert_eq!(got.map_err(|error| error.code()), *fate);
        }
        for bot in &self.model.bots {
            let state = match bot.is {
                Is::Free | Is::Reserved(_) => BotState::Free,
                Is::Held(_) => BotState::Leased,
                Is::Cooling => BotState::Cooling,
            };
            let seen = self.farm.get(bot.bot.id).await.unwrap();
            assert_eq!((seen.state(), seen.condition, &seen.labels), (state, bot.bot.condition, &bot.bot.labels));
            let hand_outs = self.farm.history(bot.bot.id, &PageRequest::default()).await.unwrap().items;
            assert_eq!(hand_outs.len(), bot.ended + usize::from(state == BotState::Leased));
        }
        let stats = self.farm.stats().await.unwrap();
        assert_eq!(stats.waiting, self.model.line.len() as u64);
    }
}

fn millis(span: Duration) -> u64 {
    span.as_millis().try_into().unwrap()
}

fn labels(kind: u8) -> Labels {
    Labels::try_from([("kind", kind.to_string().as_str())]).unwrap()
}

fn code<T>(result: Result<T>) -> Option<&'static str> {
    result.err().as_ref().map(Error::code)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn farm_does_what_the_naive_model_does(
        reuse_delay in prop_oneof![3 => Just(0), 1 => Just(2_000)],
        kinds in prop::collection::vec(0..3_u8, 1..5),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
            let mut both = Both::new(reuse_delay);
            for kind in kinds {
                both.apply(Op::Create { kind }).await;
            }
            for op in ops {
                both.apply(op).await;
                both.compare().await;
            }
        });
    }
}
