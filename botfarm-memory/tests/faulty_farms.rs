//! The conformance suite can fail: its claims catch a farm that breaks one promise and keeps all others, and so does the
//! model, but for what it does not look at (pages, owners, fingerprints, who is shown a password).

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use botfarm_core::{
    ActiveLease, Bot, BotChanges, BotFarm, BotFarmExt, BotFilter, BotId, BotRelease, EndedRun, Ending, Error, Fence,
    HandOut, HandOutFilter, ImportReport, Lease, LeaseId, LeasePolicy, LeaseRecord, LeaseRequest, NewBot, Page,
    PageRequest, QueuedRequest, Result, Revocation, Run, RunEnding, Selector, Shortage, Stats,
    conformance::{
        self, Trial,
        model::{self, Pace},
    },
};
use botfarm_memory::MemoryFarm;
use tokio::{task::LocalSet, time::Instant};

/// The promise that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    AnswersAnOldHolder,
    AssignsGreedily,
    Cleans,
    CountsTheLeasedAsFree,
    ForgetsFences,
    ForgetsWhoWaitsForMany,
    GivesAwayHalfASet,
    HandsOutTwice,
    IgnoresAvoid,
    IgnoresFingerprints,
    IgnoresLeaseIds,
    IgnoresOwners,
    IgnoresSticky,
    ImportsRowByRow,
    KeepsDeadWaiters,
    LetsStaleHoldersRelease,
    NeverRests,
    OutlivesItsTtl,
    RepeatsABotOnTheNextPage,
    RevokesSilently,
    ServesAnybodyFirst,
    ServesTheLastFirst,
    ShowsPasswords,
    TellsHistoryBackwards,
    UpdatesByHalves,
    WaitsForTheImpossible,
}

#[derive(Clone)]
struct FaultyFarm {
    fault: Fault,
    farm: MemoryFarm,
    /// What the faults need to remember.
    passwords: Arc<Mutex<Vec<String>>>,
    granted: Arc<Mutex<Vec<Lease>>>,
    inner_ids: Arc<Mutex<HashMap<LeaseId, LeaseId>>>,
    waiting: Arc<Mutex<Vec<LeaseId>>>,
}

impl fmt::Debug for FaultyFarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::ShowsPasswords => write!(f, "{:?}", self.passwords),
            fault => write!(f, "a farm with the fault {fault:?}"),
        }
    }
}

/// Gone from the queue when it is dropped.
struct Place<'a>(&'a FaultyFarm, LeaseId);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting.lock().unwrap();
        let at = waiting.iter().position(|id| *id == self.1).unwrap();
        waiting.remove(at);
    }
}

impl FaultyFarm {
    fn new(fault: Fault, policy: &LeasePolicy) -> Self {
        let cooling = if fault == Fault::NeverRests { Duration::ZERO } else { policy.cooling };
        Self {
            fault,
            farm: MemoryFarm::with_policy(LeasePolicy { cooling, ..policy.clone() }),
            passwords: Arc::default(),
            granted: Arc::default(),
            inner_ids: Arc::default(),
            waiting: Arc::default(),
        }
    }

    fn inner_id(&self, id: LeaseId) -> LeaseId {
        self.inner_ids.lock().unwrap().get(&id).copied().unwrap_or(id)
    }

    fn lease_of(&self, id: LeaseId) -> Option<Lease> {
        self.granted.lock().unwrap().iter().rev().find(|lease| lease.id == id).cloned()
    }

    /// The last lease of so many bots of the same project.
    fn last_granted(&self, asked: &LeaseRequest) -> Option<Lease> {
        let alike = |lease: &&Lease| {
            lease.bots.len() == asked.selectors.len()
                && Some(&lease.bots[0].bot.project) == asked.selectors[0].project.as_ref()
        };
        self.granted.lock().unwrap().iter().rev().find(alike).cloned()
    }

    /// A queue that is none: whoever may try does so again and again.
    async fn wait_unfairly(&self, request: LeaseRequest, may_try: impl Fn(&[LeaseId]) -> bool) -> Result<Lease> {
        self.waiting.lock().unwrap().push(request.id);
        let _place = Place(self, request.id);
        let over = Instant::now() + request.wait;
        loop {
            let turn = may_try(&self.waiting.lock().unwrap());
            match self.farm.acquire(LeaseRequest { wait: Duration::ZERO, ..request.clone() }).await {
                Err(Error::Exhausted(_) | Error::Busy(_)) if Instant::now() < over => {}
                Ok(lease) if !turn => self.farm.release(lease.id, Ending::clean()).await?,
                answer => return answer,
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn shortage(selector: usize) -> Error {
    let mut shortage = Shortage::new(selector);
    (shortage.matching, shortage.leased, shortage.retry_after) = (1, 1, Duration::from_secs(1));
    Error::Exhausted(Box::new(shortage))
}

#[async_trait]
impl BotFarm for FaultyFarm {
    async fn create(&self, bot: NewBot) -> Result<Bot> {
        self.passwords.lock().unwrap().push(bot.password.expose().to_owned());
        self.farm.create(bot).await
    }

    async fn import(&self, bots: Vec<NewBot>, dry_run: bool) -> Result<ImportReport> {
        if self.fault != Fault::ImportsRowByRow {
            return self.farm.import(bots, dry_run).await;
        }
        let mut report = ImportReport::default();
        for bot in bots {
            let ImportReport { created, updated, unchanged } = self.farm.import(vec![bot], dry_run).await?;
            report.created += created;
            report.updated += updated;
            report.unchanged += unchanged;
        }
        Ok(report)
    }

    async fn get(&self, id: BotId) -> Result<Bot> {
        self.farm.get(id).await
    }

    async fn list(&self, filter: &BotFilter, page: &PageRequest) -> Result<Page<Bot>> {
        let mut listed = self.farm.list(filter, page).await?;
        if self.fault == Fault::RepeatsABotOnTheNextPage && page.limit > 1 && listed.next.is_some() {
            let before = &listed.items[listed.items.len() - 2];
            listed.next = Some(botfarm_core::Cursor::after_bot(before.id));
        }
        Ok(listed)
    }

    async fn update(&self, id: BotId, changes: BotChanges) -> Result<Bot> {
        if self.fault == Fault::UpdatesByHalves {
            let harmless = BotChanges { labels: changes.labels.clone(), ..BotChanges::default() };
            self.farm.update(id, harmless).await?;
        }
        self.farm.update(id, changes).await
    }

    async fn delete(&self, id: BotId) -> Result<()> {
        self.farm.delete(id).await
    }

    async fn acquire(&self, request: LeaseRequest) -> Result<Lease> {
        let (asked, inner) = (request.clone(), LeaseId::new());
        let request = match self.fault {
            Fault::IgnoresAvoid => LeaseRequest { avoid: vec![], ..request },
            Fault::IgnoresFingerprints => LeaseRequest { fingerprint: None, ..request },
            Fault::IgnoresLeaseIds => LeaseRequest { id: inner, ..request },
            Fault::IgnoresSticky => LeaseRequest { sticky: None, ..request },
            Fault::OutlivesItsTtl => LeaseRequest { ttl: Some(conformance::policy().max_ttl), ..request },
            _ => request,
        };
        if self.fault == Fault::IgnoresLeaseIds {
            self.inner_ids.lock().unwrap().insert(asked.id, inner);
        }
        let single = request.selectors.len() == 1;
        let waits = !request.wait.is_zero();
        let answer = match self.fault {
            Fault::ServesTheLastFirst if waits => {
                self.wait_unfairly(request, |waiting| waiting.last() == Some(&asked.id)).await
            }
            Fault::ServesAnybodyFirst if waits => self.wait_unfairly(request, |_| true).await,
            Fault::ForgetsWhoWaitsForMany if waits && !single => self.wait_unfairly(request, |_| true).await,
            Fault::KeepsDeadWaiters => {
                let farm = self.farm.clone();
                tokio::spawn(async move { farm.acquire(request).await }).await.unwrap()
            }
            Fault::AssignsGreedily if !single => {
                let mut free: Vec<_> = self.farm.list_all(&BotFilter::default()).await?;
                free.retain(|bot| bot.holding.is_none());
                let mut greedy = request.clone();
                for (index, selector) in greedy.selectors.iter_mut().enumerate() {
                    let first = free.iter().position(|bot| selector.fits(bot)).ok_or_else(|| shortage(index))?;
                    selector.id = Some(free.remove(first).id);
                }
                self.farm.acquire(greedy).await
            }
            Fault::GivesAwayHalfASet if !single => match self.farm.acquire(request.clone()).await {
                Err(Error::Exhausted(_)) => {
                    let half =
                        |selector: &Selector| LeaseRequest { selectors: vec![selector.clone()], ..request.clone() };
                    let mut answer = Err(shortage(0));
                    for selector in &request.selectors {
                        answer = answer.or(self.farm.acquire(half(selector)).await);
                    }
                    answer
                }
                answer => answer,
            },
            _ => self.farm.acquire(request).await,
        };
        let lease = match answer {
            Ok(lease) => Lease { id: asked.id, ..lease },
            Err(Error::Exhausted(_))
                if self.fault == Fault::HandsOutTwice
                    && asked.selectors[0].condition.as_str() == "ready"
                    && let Some(granted) = self.last_granted(&asked) =>
            {
                Lease { id: asked.id, terms: asked.terms, ..granted }
            }
            Err(Error::Exhausted(mut told)) if !self.waiting.lock().unwrap().is_empty() => {
                let distinct: HashSet<_> = self.waiting.lock().unwrap().iter().copied().collect();
                told.waiting += distinct.len() as u64;
                return Err(Error::Exhausted(told));
            }
            Err(Error::NoMatch { selector, .. }) if self.fault == Fault::WaitsForTheImpossible => {
                tokio::time::sleep(asked.wait).await;
                return Err(shortage(selector));
            }
            refused => return refused,
        };
        self.granted.lock().unwrap().push(lease.clone());
        Ok(match self.fault {
            Fault::ForgetsFences => Lease {
                bots: lease
                    .bots
                    .into_iter()
                    .map(|leased| botfarm_core::LeasedBot { fence: Fence(1), ..leased })
                    .collect(),
                ..lease
            },
            Fault::OutlivesItsTtl => {
                let ttl = asked.ttl.unwrap_or(conformance::policy().default_ttl);
                Lease { ttl, expires_at: lease.acquired_at + ttl, ..lease }
            }
            _ => lease,
        })
    }

    async fn lookup(&self, id: LeaseId) -> Result<Lease> {
        self.farm.lookup(self.inner_id(id)).await
    }

    async fn renew(&self, id: LeaseId, ttl: Option<Duration>) -> Result<Lease> {
        match self.farm.renew(self.inner_id(id), ttl).await {
            Err(Error::LeaseLost(_)) if self.fault == Fault::AnswersAnOldHolder => Ok(self.lease_of(id).unwrap()),
            answer => answer,
        }
    }

    async fn release(&self, id: LeaseId, ending: Ending) -> Result<()> {
        let ending = if self.fault == Fault::Cleans { Ending::clean() } else { ending };
        match self.farm.release(self.inner_id(id), ending.clone()).await {
            Err(Error::LeaseLost(_)) if self.fault == Fault::LetsStaleHoldersRelease => {
                let release = BotRelease { ending, ..BotRelease::default() };
                self.farm.release_bot(self.lease_of(id).unwrap().bot().bot.id, release).await
            }
            answer => answer,
        }
    }

    async fn release_bot(&self, bot: BotId, release: BotRelease) -> Result<()> {
        let owner = release.owner.filter(|_| self.fault != Fault::IgnoresOwners);
        self.farm.release_bot(bot, BotRelease { owner, ..release }).await
    }

    async fn revoke(&self, bot: BotId, revocation: Revocation) -> Result<()> {
        if self.fault == Fault::RevokesSilently {
            return self.farm.release_bot(bot, BotRelease::default()).await;
        }
        let owner = revocation.owner.filter(|_| self.fault != Fault::IgnoresOwners);
        self.farm.revoke(bot, Revocation { owner, ..revocation }).await
    }

    async fn end_run(&self, run: &Run, ending: RunEnding) -> Result<EndedRun> {
        self.farm.end_run(run, ending).await
    }

    async fn leases_of_run(&self, run: &Run, page: &PageRequest) -> Result<Page<ActiveLease>> {
        self.farm.leases_of_run(run, page).await
    }

    async fn leases(&self, page: &PageRequest) -> Result<Page<ActiveLease>> {
        self.farm.leases(page).await
    }

    async fn history(&self, bot: BotId, page: &PageRequest) -> Result<Page<LeaseRecord>> {
        let mut records = self.farm.history(bot, page).await?;
        if self.fault == Fault::TellsHistoryBackwards {
            records.items.reverse();
        }
        Ok(records)
    }

    async fn hand_outs(&self, filter: &HandOutFilter, page: &PageRequest) -> Result<Page<HandOut>> {
        self.farm.hand_outs(filter, page).await
    }

    async fn queue(&self, page: &PageRequest) -> Result<Page<QueuedRequest>> {
        self.farm.queue(page).await
    }

    async fn stats(&self) -> Result<Stats> {
        let mut stats = self.farm.stats().await?;
        if self.fault == Fault::CountsTheLeasedAsFree {
            stats.pools.iter_mut().for_each(|pool| pool.free += pool.leased);
        }
        Ok(stats)
    }

    async fn check(&self) -> Result<()> {
        self.farm.check().await
    }
}

/// Tries one claim. Time is paused, so that what would be waited for in vain is seen at once.
async fn tried<F: Future<Output = ()> + 'static>(fault: Fault, claim: fn(Trial) -> F) -> Result<(), String> {
    let trial = Trial::on(&FaultyFarm::new(fault, &conformance::policy()));
    let local = LocalSet::new();
    let claim = local.spawn_local(claim(trial));
    local.await;
    claim.await.map_err(|error| {
        let panic = error.into_panic();
        panic.downcast::<String>().map_or_else(|panic| (*panic.downcast::<&str>().unwrap()).to_owned(), |text| *text)
    })
}

macro_rules! catches {
    ($($test:ident: $fault:ident => $claim:ident, $promise:literal;)+) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $test() {
                let caught = tried(Fault::$fault, conformance::$claim).await.expect_err("the claim fails");
                assert!(caught.contains($promise), "it fails for what is broken: {caught}");
            }
        )+

        #[tokio::test(start_paused = true)]
        async fn the_same_claims_pass_without_the_fault() {
            $(assert_eq!(tried(Fault::None, conformance::$claim).await, Ok(()), stringify!($claim));)+
        }
    };
}

catches! {
    catches_a_farm_that_answers_an_old_holder:
        AnswersAnOldHolder => lease_is_over_at_its_end_though_nobody_wants_the_bot, "a late renewal is refused";
    catches_a_farm_that_assigns_greedily:
        AssignsGreedily => set_is_granted_where_only_one_assignment_fits, "an assignment is found whenever there is one";
    catches_a_farm_that_counts_a_bot_twice:
        CountsTheLeasedAsFree => stats_count_each_bot_once, "each bot is counted once";
    catches_a_farm_that_forgets_fences:
        ForgetsFences => released_bot_is_free_at_once, "a strictly larger fence";
    catches_a_farm_that_forgets_outcomes:
        Cleans => dirty_bot_is_for_the_cleaner_alone, "a dirty bot is free, and dirty";
    catches_a_farm_that_gives_away_half_a_set:
        GivesAwayHalfASet => set_is_refused_whole, "a set is granted whole or not at all";
    catches_a_farm_that_hands_a_bot_out_twice:
        HandsOutTwice => one_of_many_who_try_once_gets_the_bot, "one gets it";
    catches_a_farm_that_ignores_avoid:
        IgnoresAvoid => avoided_bot_is_not_granted, "a bot to avoid is not granted";
    catches_a_farm_that_ignores_fingerprints:
        IgnoresFingerprints => lease_id_stands_for_one_fingerprint, "a request of another fingerprint";
    catches_a_farm_that_ignores_lease_ids:
        IgnoresLeaseIds => same_lease_id_gets_the_same_lease, "a lease in force is given again";
    catches_a_farm_that_ignores_owners:
        IgnoresOwners => bot_is_released_by_the_owner_of_its_lease_alone, "an owner whose lease it is not";
    catches_a_farm_that_ignores_sticky_keys:
        IgnoresSticky => sticky_key_gets_its_last_bot, "a sticky key gets the bot last leased with it";
    catches_a_farm_that_imports_row_by_row:
        ImportsRowByRow => import_that_names_an_account_twice_is_refused_whole, "one row for an account";
    catches_a_farm_that_is_not_undone_by_who_hangs_up:
        KeepsDeadWaiters => grant_that_nobody_received_is_undone, "every bot can be leased";
    catches_a_farm_that_keeps_dead_waiters:
        KeepsDeadWaiters => waiter_who_has_gone_blocks_nobody, "`waiting` of a shortage comes to 2";
    catches_a_farm_that_lets_a_request_for_many_starve:
        ForgetsWhoWaitsForMany => waiting_set_holds_no_bot_but_keeps_it_from_those_who_come_later, "is kept from those";
    catches_a_farm_that_lets_stale_holders_release:
        LetsStaleHoldersRelease => stale_holder_cannot_harm_the_next, "a late release is refused";
    catches_a_farm_that_never_lets_go:
        OutlivesItsTtl => expired_lease_frees_the_bot, "who waits for it";
    catches_a_farm_that_never_rests:
        NeverRests => revoked_bot_rests_before_the_next_holder, "a bot rests after a revocation";
    catches_a_farm_that_repeats_a_bot_on_the_next_page:
        RepeatsABotOnTheNextPage => pages_hold_every_bot_once_oldest_first, "a page is full, unless the list ends";
    catches_a_farm_that_revokes_whosever_lease_it_is:
        IgnoresOwners => what_an_owner_has_leased_is_taken_away_from_it_alone, "means another owner ends no lease";
    catches_a_farm_that_revokes_silently:
        RevokesSilently => revoked_holder_is_told_why, "told that the lease was revoked";
    catches_a_farm_that_serves_anybody_first:
        ServesAnybodyFirst => nobody_who_asks_passes_a_waiter, "nobody who asks passes a waiter";
    catches_a_farm_that_serves_the_last_first:
        ServesTheLastFirst => waiters_are_served_first_come_first_served, "first come first served";
    catches_a_farm_that_shows_passwords:
        ShowsPasswords => secrets_are_shown_to_the_holder_alone, "redacted in `Debug`";
    catches_a_farm_that_tells_history_backwards:
        TellsHistoryBackwards => history_tells_every_hand_out_newest_first, "newest first";
    catches_a_farm_that_updates_by_halves:
        UpdatesByHalves => held_bot_is_neither_moved_nor_deleted, "a refused call has changed nothing";
    catches_a_farm_that_waits_for_the_impossible:
        WaitsForTheImpossible => what_no_bot_could_satisfy_is_refused_at_once, "no bot could ever satisfy";
}

/// Lets the model look for the fault. Time is paused, so that what would be waited for in vain is seen at once.
async fn found(fault: Fault, pace: Pace) -> Option<String> {
    let [policy, _] = model::policies(pace);
    model::find(&FaultyFarm::new(fault, &policy), &policy, pace, 1, 256).await
}

macro_rules! finds {
    ($($test:ident: $fault:ident, $pace:ident => $complaint:literal;)+) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $test() {
                let finding = found(Fault::$fault, Pace::$pace).await.expect("the model finds the fault");
                assert!(finding.contains($complaint), "it finds what is broken: {finding}");
            }
        )+
    };
}

#[tokio::test(start_paused = true)]
async fn the_model_finds_nothing_without_a_fault() {
    assert_eq!(found(Fault::None, Pace::Exact).await, None);
    assert_eq!(found(Fault::None, Pace::Patient).await, None);
}

finds! {
    the_model_finds_a_farm_that_answers_an_old_holder:
        AnswersAnOldHolder, Exact => "who uses the id of a lease that has ended";
    the_model_finds_a_farm_that_assigns_greedily:
        AssignsGreedily, Exact => "was told exhausted; could match: false";
    the_model_finds_a_farm_that_counts_a_bot_twice:
        CountsTheLeasedAsFree, Exact => "the bots are counted as";
    the_model_finds_a_farm_that_forgets_fences:
        ForgetsFences, Exact => "the fence of";
    the_model_finds_a_farm_that_forgets_outcomes:
        Cleans, Exact => "a bot is seen as";
    the_model_finds_a_farm_that_gives_away_half_a_set:
        GivesAwayHalfASet, Exact => "was granted a part";
    the_model_finds_a_farm_that_hands_a_bot_out_twice:
        HandsOutTwice, Exact => "which is not free";
    the_model_finds_a_farm_that_ignores_avoid:
        IgnoresAvoid, Exact => "which does not fit";
    the_model_finds_a_farm_that_ignores_lease_ids:
        IgnoresLeaseIds, Exact => "2 are said to wait, but 1 do";
    the_model_finds_a_farm_that_ignores_sticky_keys:
        IgnoresSticky, Exact => "was not granted the bot last leased with its sticky key";
    the_model_finds_a_farm_that_imports_row_by_row:
        ImportsRowByRow, Exact => "which does not fit";
    the_model_finds_a_farm_that_keeps_dead_waiters:
        KeepsDeadWaiters, Patient => "are said to wait";
    the_model_finds_a_farm_that_lets_a_request_for_many_starve:
        ForgetsWhoWaitsForMany, Patient => "which is for somebody before it";
    the_model_finds_a_farm_that_lets_stale_holders_release:
        LetsStaleHoldersRelease, Exact => "who uses the id of a lease that has ended";
    the_model_finds_a_farm_that_never_lets_go:
        OutlivesItsTtl, Exact => "a bot is seen as";
    the_model_finds_a_farm_that_never_rests:
        NeverRests, Exact => "a bot is seen as";
    the_model_finds_a_farm_that_revokes_silently:
        RevokesSilently, Exact => "a bot is seen as";
    the_model_finds_a_farm_that_serves_anybody_first:
        ServesAnybodyFirst, Patient => "which is for somebody before it";
    the_model_finds_a_farm_that_serves_the_last_first:
        ServesTheLastFirst, Patient => "which is for somebody before it";
    the_model_finds_a_farm_that_tells_history_backwards:
        TellsHistoryBackwards, Exact => "the history of a bot, newest first";
    the_model_finds_a_farm_that_updates_by_halves:
        UpdatesByHalves, Exact => "a bot is seen as";
    the_model_finds_a_farm_that_waits_for_the_impossible:
        WaitsForTheImpossible, Exact => "could match: false";
}
