//! The changes of every turn add up to the farm: restored from them at any time, it is what it was.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use botfarm_core::{
    ActiveLease, Bot, BotChanges, BotFilter, BotId, Condition, Ending, Env, Fence, Labels, Lease, LeaseId, LeasePolicy,
    LeaseRecord, LeaseRequest, NewBot, Outcome, PageRequest, ProjectId, Revocation, Selector, Stats,
};
use botfarm_engine::{Acquired, Change, Engine, KeptBot, KeptHandOut, KeptLease, Moment, Snapshot};
use proptest::prelude::*;

/// What a journal keeps, in maps.
#[derive(Debug, Clone, Default)]
struct Ledger {
    bots: BTreeMap<BotId, KeptBot>,
    leases: HashMap<LeaseId, KeptLease>,
    ended: Vec<KeptHandOut>,
}

impl Ledger {
    fn keep(&mut self, change: Change) {
        match change {
            Change::Bot(kept) => drop(self.bots.insert(kept.bot.id, kept)),
            Change::Status(status) => {
                self.bots.entry(status.bot).and_modify(|kept| kept.status = status);
            }
            Change::BotDeleted(id) => {
                self.bots.remove(&id).unwrap();
                self.ended.iter_mut().filter(|ended| ended.bot == id).for_each(|ended| {
                    ended.bot = uuid::Uuid::nil().into();
                });
            }
            Change::Lease(lease) => drop(self.leases.insert(lease.id, lease)),
            Change::Renewed { id, ttl, expires_at } => {
                let lease = self.leases.get_mut(&id).unwrap();
                (lease.ttl, lease.expires_at) = (ttl, expires_at);
            }
            Change::LeaseOver(id) => drop(self.leases.remove(&id).unwrap()),
            Change::Ended(ended) => self.ended.push(ended),
            other => panic!("nobody did that: {other:?}"),
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            bots: self.bots.values().cloned().collect(),
            leases: self.leases.values().cloned().collect(),
            ended: self.ended.clone(),
            ..Snapshot::default()
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Create(u8),
    Acquire { kinds: Vec<u8>, wait: bool, ttl: u64, sticky: Option<u8> },
    Leave { index: usize, received: bool },
    Release(usize, Outcome),
    Revoke(usize),
    Renew(usize, u64),
    Update(usize, u8, Option<Condition>),
    Delete(usize),
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let kinds = prop_oneof![4 => prop::collection::vec(0..4_u8, 1), 1 => prop::collection::vec(0..4_u8, 2..4)];
    let outcome = prop_oneof![4 => Just(Outcome::Clean), 1 => Just(Outcome::Dirty), 1 => Just(Outcome::Broken)];
    let condition = prop::option::of(prop_oneof![Just(Condition::Ready), Just(Condition::Broken)]);
    prop_oneof![
        2 => (0..3_u8).prop_map(Op::Create),
        12 => (kinds, any::<bool>(), 5..60_u64, prop::option::of(0..2_u8))
            .prop_map(|(kinds, wait, ttl, sticky)| Op::Acquire { kinds, wait, ttl, sticky }),
        6 => (any::<usize>(), prop::bool::weighted(0.7)).prop_map(|(index, received)| Op::Leave { index, received }),
        8 => (any::<usize>(), outcome).prop_map(|(index, outcome)| Op::Release(index, outcome)),
        1 => any::<usize>().prop_map(Op::Revoke),
        2 => (any::<usize>(), 5..90_u64).prop_map(|(index, ttl)| Op::Renew(index, ttl)),
        1 => (any::<usize>(), 0..3_u8, condition).prop_map(|(index, kind, condition)| Op::Update(index, kind, condition)),
        1 => any::<usize>().prop_map(Op::Delete),
        4 => (1..40_u64).prop_map(Op::Pass),
    ]
}

fn labels(kind: u8) -> Labels {
    Labels::try_from([("kind", kind.to_string().as_str())]).unwrap()
}

/// All that anybody may see of a farm, and what its holders may see; but not the queue.
#[derive(Debug, PartialEq)]
struct Sight {
    bots: Vec<(BotId, Bot)>,
    leases: Vec<(BotId, ActiveLease)>,
    histories: Vec<Vec<LeaseRecord>>,
    held: Vec<Lease>,
    lost: Vec<String>,
    stats: Stats,
}

impl Sight {
    fn of(engine: &mut Engine, ids: &[LeaseId]) -> Self {
        let (mut bots, mut leases) = (Vec::new(), Vec::new());
        assert_eq!(engine.list(&BotFilter::default(), None, 1_000, &mut bots), None);
        assert_eq!(engine.leases(None, 1_000, &mut leases), None);
        let history = |(id, _): &(BotId, Bot)| engine.history(*id, &PageRequest::default()).unwrap();
        let histories = bots.iter().map(history).collect();
        let (held, lost): (Vec<_>, Vec<_>) = ids.iter().map(|id| engine.lookup(*id)).partition(Result::is_ok);
        let held = held.into_iter().map(Result::unwrap).collect();
        let lost = lost.into_iter().map(|lost| lost.unwrap_err().to_string()).collect();
        let stats = Stats::new(engine.stats().pools, 0);
        Self { bots, leases, histories, held, lost, stats }
    }
}

/// The order in which the free bots of each kind and condition are handed out, found by taking them all.
fn order_of(engine: &mut Engine) -> Vec<(BotId, Fence)> {
    let mut order = Vec::new();
    for condition in Condition::ALL {
        loop {
            let request = LeaseRequest::new("last".parse().unwrap(), Selector::any().condition(*condition));
            let Ok(Acquired::Granted { lease, .. }) = engine.acquire(request) else { break };
            order.push((lease.bot().bot.id, lease.bot().fence));
        }
    }
    order
}

struct Farm {
    engine: Engine,
    ledger: Ledger,
    now: Moment,
    project: ProjectId,
    serial: u64,
    /// Those who have asked and have not gone.
    listening: Vec<LeaseId>,
    ids: Vec<LeaseId>,
}

fn policy() -> LeasePolicy {
    LeasePolicy { reuse_delay: Duration::from_secs(2), ..LeasePolicy::default() }
}

impl Farm {
    fn new() -> Self {
        let now = Moment::from_micros(1_795_555_555_000_000);
        let engine = Engine::restore(policy(), Snapshot::default(), now, Duration::ZERO).unwrap();
        let (ledger, project) = (Ledger::default(), ProjectId::new());
        Self { engine, ledger, now, project, serial: 0, listening: Vec::new(), ids: Vec::new() }
    }

    fn bot(&self, index: usize) -> BotId {
        let bots: Vec<_> = self.ledger.bots.keys().collect();
        bots.get(index % bots.len().max(1)).map_or_else(BotId::new, |id| **id)
    }

    fn lease(&self, index: usize) -> LeaseId {
        self.ids.get(index % self.ids.len().max(1)).copied().unwrap_or_else(LeaseId::new)
    }

    fn apply(&mut self, op: Op) {
        self.serial += 1;
        self.engine.settle(self.now);
        match op {
            Op::Create(kind) => {
                let login = format!("bot-{}", self.serial).parse().unwrap();
                let bot =
                    NewBot::new(login, "pw".try_into().unwrap(), self.project.clone(), Env::STAGE).labels(labels(kind));
                self.engine.create(BotId::new(), bot).unwrap();
            }
            Op::Acquire { kinds, wait, ttl, sticky } => {
                let selectors = kinds.iter().map(|kind| match kind {
                    3 => Selector::any(),
                    kind => Selector::any().labels(labels(*kind)),
                });
                let mut request = LeaseRequest::many(format!("test {}", self.serial).parse().unwrap(), selectors);
                request = request.ttl(Duration::from_secs(ttl)).wait(Duration::from_secs(u64::from(wait)));
                request.sticky = sticky.map(|key| format!("key {key}").parse().unwrap());
                let id = request.id;
                if self.engine.acquire(request).is_ok() {
                    self.listening.push(id);
                    self.ids.push(id);
                }
            }
            Op::Leave { index, received } if !self.listening.is_empty() => {
                let id = self.listening.remove(index % self.listening.len());
                if received && matches!(self.engine.outcome(id), Some(Ok(_))) {
                    self.engine.received(id);
                }
                self.engine.leave(id);
            }
            Op::Leave { .. } => {}
            Op::Release(index, outcome) => {
                drop(self.engine.release(self.lease(index), Ending { outcome, note: Some("done".parse().unwrap()) }));
            }
            Op::Revoke(index) => {
                let revocation = Revocation::new("over".parse().unwrap(), "admin".parse().unwrap());
                drop(self.engine.revoke(self.bot(index), revocation));
            }
            Op::Renew(index, ttl) => drop(self.engine.renew(self.lease(index), Some(Duration::from_secs(ttl)))),
            Op::Update(index, kind, condition) => {
                let changes = BotChanges { labels: Some(labels(kind)), condition, ..BotChanges::default() };
                drop(self.engine.update(self.bot(index), changes));
            }
            Op::Delete(index) => drop(self.engine.delete(self.bot(index))),
            Op::Pass(seconds) => {
                self.now = self.now.plus(Duration::from_secs(seconds));
                self.engine.settle(self.now);
            }
        }
        for change in self.engine.take_changes() {
            self.ledger.keep(change);
        }
        self.engine.audit();
    }

    /// The farm that the changes so far add up to.
    fn restored(&self) -> Engine {
        let mut restored = Engine::restore(policy(), self.ledger.snapshot(), self.now, Duration::ZERO).unwrap();
        restored.settle(self.now);
        restored.audit();
        restored
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn restored_farm_is_the_farm_that_was(ops in prop::collection::vec(op(), 1..80)) {
        let mut farm = Farm::new();
        for kind in 0..3 {
            farm.apply(Op::Create(kind));
        }
        for op in ops {
            farm.apply(op);
            let mut restored = farm.restored();
            prop_assert_eq!(Sight::of(&mut restored, &farm.ids), Sight::of(&mut farm.engine, &farm.ids));
        }
        // Nobody waits in the restored farm: when nobody does in the other, they serve alike.
        while !farm.listening.is_empty() {
            farm.apply(Op::Leave { index: 0, received: true });
        }
        let mut restored = farm.restored();
        prop_assert_eq!(order_of(&mut restored), order_of(&mut farm.engine));
    }

    #[test]
    fn told_the_same_it_does_the_same(ops in prop::collection::vec(op(), 1..60)) {
        // Ids are made by the test: leases and bots are compared by their names.
        let run = || {
            let mut farm = Farm::new();
            let mut seen = Vec::new();
            for op in ops.clone() {
                farm.apply(op);
                let (mut bots, mut leases) = (Vec::new(), Vec::new());
                farm.engine.list(&BotFilter::default(), None, 1_000, &mut bots);
                farm.engine.leases(None, 1_000, &mut leases);
                let bots: Vec<_> = bots.iter().map(|(_, bot)| (bot.login.clone(), bot.state(), bot.condition)).collect();
                let mut leases: Vec<_> = leases.iter().map(|(_, lease)| (lease.terms.holder.clone(), lease.expires_at)).collect();
                leases.sort();
                seen.push((bots, leases, farm.engine.next_due(), farm.engine.waiting()));
            }
            seen
        };
        // The order of bots in a list is that of their ids, which are made in the order of creation.
        prop_assert_eq!(run(), run());
    }
}

#[test]
fn lease_that_expired_meanwhile_lives_until_the_grace_is_over() {
    let mut farm = Farm::new();
    farm.apply(Op::Create(0));
    farm.apply(Op::Acquire { kinds: vec![0], wait: false, ttl: 10, sticky: None });
    let id = farm.ids[0];
    let (later, grace) = (farm.now.plus(Duration::from_hours(1)), Duration::from_secs(15));
    let mut restored = Engine::restore(policy(), farm.ledger.snapshot(), later, grace).unwrap();
    let renewed = restored.take_changes();
    assert!(
        matches!(renewed[..], [Change::Renewed { expires_at, .. }] if expires_at == later.plus(grace)),
        "{renewed:?}"
    );
    restored.settle(later.plus(Duration::from_secs(14)));
    assert_eq!(restored.lookup(id).unwrap().remaining, Duration::from_secs(1));
    restored.settle(later.plus(grace));
    assert_eq!(restored.lookup(id).unwrap_err().code(), "lease-lost");
}

#[test]
fn lease_that_nobody_received_before_the_end_is_had_by_its_id() {
    let mut farm = Farm::new();
    farm.apply(Op::Create(0));
    farm.apply(Op::Acquire { kinds: vec![0], wait: false, ttl: 10, sticky: None });
    let mut restored = farm.restored();
    let again = LeaseRequest::new("test 2".parse().unwrap(), Selector::any()).id(farm.ids[0]);
    let Ok(Acquired::Granted { lease, listens: false }) = restored.acquire(again) else { panic!("it is in force") };
    assert_eq!(lease.bot().fence, Fence(1));
}

#[test]
fn what_is_no_farm_is_refused() {
    let mut farm = Farm::new();
    farm.apply(Op::Create(0));
    farm.apply(Op::Acquire { kinds: vec![0], wait: false, ttl: 10, sticky: None });
    let whole = farm.ledger.snapshot();
    let lease = whole.leases[0].clone();
    let refused = |snapshot| {
        Engine::restore(policy(), snapshot, farm.now, Duration::ZERO).expect_err("it contradicts itself").to_string()
    };
    let twice = KeptLease { id: LeaseId::new(), ..lease.clone() };
    let bot = lease.bots[0].bot;
    let snapshot = Snapshot { leases: vec![lease.clone(), twice], ..farm.ledger.snapshot() };
    assert_eq!(refused(snapshot), format!("test 2 holds {bot}, which is not free"));
    let snapshot = Snapshot { bots: Vec::new(), ..farm.ledger.snapshot() };
    assert_eq!(refused(snapshot), format!("test 2 holds {bot}, which is not there"));
    let snapshot = Snapshot { leases: vec![KeptLease { bots: Vec::new(), ..lease }], ..farm.ledger.snapshot() };
    assert_eq!(refused(snapshot), "a lease of test 2 has no bot, or is there twice");
    let mut snapshot = farm.ledger.snapshot();
    snapshot.bots.push(whole.bots[0].clone());
    assert_eq!(refused(snapshot), "there are two bots bot-1 in stage");
}
