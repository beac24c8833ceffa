//! What a farm promises to those who hold it in their own process: a service before all.

use super::{
    answers::{lost, refused},
    trial::{Trial, text},
    waiter::{LONG, PATIENCE, in_time, until},
};
use crate::{
    BotFarmExt as _, BotRelease, Condition, EndReason, EndedRun, Ending, Error, Fingerprint, LeaseRequest, Origin,
    Owner, Revocation, RunEnding,
};

pub async fn bot_is_released_by_the_owner_of_its_lease_alone(trial: Trial) {
    let [bot, unowned] = trial.bots().await;
    let [mine, other]: [Owner; 2] = [text("me"), text("somebody else")];
    let by =
        |owner: &Owner| BotRelease { ending: Ending::broken(), owner: Some(owner.clone()), ..BotRelease::default() };
    let request = trial.ask(trial.named(&bot)).with_terms(|terms| terms.owner = Some(mine.clone()));
    let lease = trial.acquire(request.clone()).await.expect("it is free");
    let nobodys = trial.take(trial.named(&unowned)).await;
    for (bot, lease, owner) in [(&bot, &lease, &other), (&unowned, &nobodys, &mine)] {
        let seen = trial.look(bot).await;
        match trial.farm().release_bot(bot.id, by(owner)).await {
            Err(Error::NotHolder { bot: id, holder }) => {
                assert_eq!((id, &holder), (bot.id, &lease.terms.holder), "the error says who holds the bot");
            }
            answer => panic!("a bot is not released by an owner whose lease it is not: got {answer:?}"),
        }
        assert_eq!(trial.look(bot).await, seen, "a refused call has changed nothing");
        trial.lookup(lease).await.expect("a refused call has ended no lease");
    }
    let named = BotRelease { lease: Some(lease.id), ..by(&other) };
    refused(trial.farm().release_bot(bot.id, named).await, "not-holder", "to know the lease does not make an owner");
    trial.farm().release_bot(bot.id, by(&mine)).await.expect("the owner of the lease may release its bot");
    assert_eq!(trial.look(&bot).await.condition, Condition::Broken, "the bot is left as told");
    trial.farm().release_bot(bot.id, by(&other)).await.expect("a free bot may be released by anybody");
    trial.farm().release_bot(unowned.id, BotRelease::default()).await.expect("who names no owner releases any bot");
}

pub async fn lease_id_stands_for_one_fingerprint(trial: Trial) {
    let bots = trial.bots::<2>().await;
    let print = |byte| Some(Fingerprint([byte; 32]));
    let request = LeaseRequest { fingerprint: print(1), ..trial.ask(trial.any()) };
    let other = LeaseRequest { fingerprint: print(2), ..request.clone() };
    let lease = trial.acquire(request.clone()).await.expect("it is free");
    let promise = "a lease id does not stand for a request of another fingerprint";
    refused(trial.acquire(other.clone()).await, "key-reused", promise);
    refused(in_time(promise, trial.acquire(other.wait(LONG))).await, "key-reused", promise);
    let again = trial.acquire(request).await.expect("the same request gets the same lease");
    assert_eq!(again.bots, lease.bots, "the same request gets the same lease");
    let rest = trial.take(trial.any()).await;

    // Of one that waits, too.
    let request = LeaseRequest { fingerprint: print(3), ..trial.ask(trial.any()) };
    let other = LeaseRequest { fingerprint: print(4), ..request.clone() };
    let waiter = trial.park(request).await;
    refused(in_time(promise, trial.acquire(other.wait(LONG))).await, "key-reused", promise);
    trial.release(&lease).await;
    let served = waiter.lease("a waiter is served, whoever else used its lease id").await;
    trial.release(&served).await;
    trial.release(&rest).await;
    trial.prove_sound(&bots).await;
}

pub async fn what_an_owner_has_leased_is_taken_away_from_it_alone(trial: Trial) {
    let bots = trial.bots::<5>().await;
    let [gone, other]: [Owner; 2] = [0, 1].map(|_| text(&format!("owner {}", uuid::Uuid::new_v4())));
    let take = async |owner: Option<&Owner>, bots: &[&crate::Bot]| {
        let selectors = bots.iter().map(|bot| trial.named(bot));
        let request = trial.ask_many(selectors).with_terms(|terms| terms.owner = owner.cloned());
        trial.acquire(request).await.expect("they are free")
    };
    let pair = take(Some(&gone), &[&bots[3], &bots[0]]).await;
    let one = take(Some(&gone), &[&bots[1]]).await;
    let others = [take(Some(&other), &[&bots[2]]).await, take(None, &[&bots[4]]).await];
    let revocation = || Revocation::new(text("its token was revoked"), text("the admin"));

    let meant = Revocation { owner: Some(gone.clone()), ..revocation() };
    trial.farm().revoke(bots[2].id, meant).await.expect("a bot of another owner's is left to it");
    trial.lookup(&others[0]).await.expect("a revocation that means another owner ends no lease");

    let ended = trial.farm().revoke_all_of(&gone, revocation()).await.expect("leases can be taken away");
    assert_eq!(ended, 2, "it is told how many leases those were");
    for lease in [&pair, &one] {
        let told = lost(trial.renew(lease, None).await, "what the owner has leased is taken away");
        assert_eq!((told.reason, told.note.as_deref()), (EndReason::Revoked, Some("its token was revoked")));
    }
    for lease in &others {
        trial.renew(lease, None).await.expect("others' leases stay in force");
    }
    let again = trial.farm().revoke_all_of(&gone, revocation()).await.expect("leases can be taken away");
    assert_eq!(again, 0, "a lease ends once");
    for lease in &others {
        trial.release(lease).await;
    }
    trial.prove_sound(&bots).await;
}

pub async fn run_of_another_owner_is_left_to_it(trial: Trial) {
    let bots = trial.bots::<3>().await;
    let run = super::runs::new_run();
    let [one, other]: [Owner; 2] = [0, 1].map(|_| text(&format!("owner {}", uuid::Uuid::new_v4())));
    let of =
        |owner: &Owner| trial.ask(trial.any()).run(run.clone()).with_terms(|terms| terms.owner = Some(owner.clone()));
    let own = trial.acquire(of(&one)).await.expect("it is free");
    let others = [trial.acquire(of(&other)).await, trial.acquire(trial.ask(trial.any()).run(run.clone())).await];
    let others = others.map(|lease| lease.expect("it is free"));
    let (sent_away, stays) = (trial.park(of(&one)).await, trial.park(of(&other)).await);

    let by = trial.holder();
    let meant = RunEnding::new(by.clone()).owner(Some(one));
    let ended = trial.farm().end_run(&run, meant).await.expect("a run can be ended");
    assert_eq!(ended, EndedRun { leases: 1, waiters: 1 }, "it is the owner's own");
    let told = lost(trial.renew(&own, None).await, "what the owner has leased has ended");
    assert_eq!((told.reason, told.by.as_ref()), (EndReason::Taken, Some(&by)), "the holder is told by whom");
    lost(sent_away.answer("the owner's waiter is sent away").await, "it gets no lease");
    let served = stays.lease("another owner's waiter is served").await;
    for lease in &others {
        trial.renew(lease, None).await.expect("others' leases stay in force");
    }
    let ended = trial.farm().end_run(&run, RunEnding::new(by)).await.expect("a run can be ended");
    assert_eq!(ended, EndedRun { leases: 3, waiters: 0 }, "who names no owner means everybody's");
    lost(trial.lookup(&served).await, "who names no owner means everybody's");
    trial.prove_sound(&bots).await;
}

pub async fn revocation_tells_who_did_it(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    let by = trial.holder();
    let revocation = Revocation::new(text("needed"), by.clone());
    trial.farm().revoke(bot.id, revocation).await.expect("a held bot can be taken away");
    let told = lost(trial.renew(&lease, None).await, "a revoked lease is lost");
    assert_eq!((told.reason, told.by.as_ref()), (EndReason::Revoked, Some(&by)), "the holder is told by whom");
    let end = trial.history(bot.id).await[0].end.clone().expect("it has ended");
    assert_eq!((end.reason, end.by, end.at), (EndReason::Revoked, Some(by), told.at), "the history tells who");
}

pub async fn history_tells_whose_hand_out_it_was_and_where_it_came_from(trial: Trial) {
    let bot = trial.bot().await;
    let of = |number: u8| {
        let address = Some(std::net::IpAddr::from([192, 0, 2, number]));
        let origin = Origin { address, request: Some(text(&format!("request-{number}"))) };
        let owner = Some(text(&format!("token {number}")));
        trial.ask(trial.any()).with_terms(|terms| (terms.owner, terms.origin) = (owner, origin))
    };
    let ended = of(1);
    trial.release(&trial.acquire(ended.clone()).await.expect("it is free")).await;
    let expired = of(2).ttl(super::policy().min_ttl);
    let lease = trial.acquire(expired.clone()).await.expect("it is free");
    trial.until_after(lease.expires_at).await;
    // One that had to wait, and one of nobody.
    let [queued, nobodys] = [of(3), trial.ask(trial.any())];
    let lease = trial.start(queued.clone()).lease("an expired lease stands in nobody's way").await;
    let waiter = trial.park(nobodys.clone()).await;
    trial.release(&lease).await;
    waiter.lease("a waiter is served").await;
    let told: Vec<_> = trial
        .history(bot.id)
        .await
        .into_iter()
        .map(|record| (record.terms.holder.clone(), record.terms.owner.clone(), record.terms.origin.clone()))
        .collect();
    let asked = [nobodys, queued, expired, ended]
        .map(|request| (request.terms.holder.clone(), request.terms.owner.clone(), request.terms.origin.clone()));
    assert_eq!(told, asked, "a record tells the caller who was given the bot, and where the request came from");
}

pub async fn grant_that_nobody_received_is_undone(trial: Trial) {
    let bots = trial.bots::<2>().await;
    for wanted in [1, 2] {
        let held = trial.acquire(trial.ask_many([trial.any(), trial.any()])).await.expect("both are free");
        let farm = trial.farm();
        let mut call = farm.acquire(trial.ask_many(vec![trial.any(); wanted]).wait(LONG));
        tokio::select! {
            answer = &mut call => panic!("a request that nothing is free for waits: got {answer:?}"),
            () = until("it waits", async || trial.waiting().await == 1) => {}
        }
        // Served, but not polled any more.
        trial.release(&held).await;
        until("who waits is served by a release, polled or not", async || trial.waiting().await == 0).await;
        drop(call);
        // Long before the TTL.
        trial.prove_sound(&bots).await;
    }
}

pub async fn dropped_acquire_is_undone_at_every_await(trial: Trial) {
    let bots = trial.bots::<2>().await;
    super::hang_ups::at_every_await(async |polls| {
        let call = trial.acquire(trial.ask_many([trial.any(), trial.any()]));
        let answer = super::hang_ups::dropped_after(polls, call).await;
        if let Some(answer) = &answer {
            trial.release(answer.as_ref().expect("both are free")).await;
        }
        // Long before the TTL.
        trial.prove_sound(&bots).await;
        answer
    })
    .await;
}

pub async fn calls_come_from_any_runtime(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    let [stays, gone] = [(); 2].map(|()| (trial.farm(), trial.ask(trial.any()).wait(LONG)));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    // A waiter whose runtime ends with it.
    let (farm, request) = gone;
    let thread = std::thread::spawn(move || {
        runtime()
            .block_on(async { tokio::time::timeout(std::time::Duration::from_millis(50), farm.acquire(request)).await })
    });
    let gone = tokio::task::spawn_blocking(|| thread.join()).await.expect("joined").expect("no call panics");
    assert!(gone.is_err(), "a request that nothing is free for waits");
    until("who has hung up waits no longer", async || trial.waiting().await == 0).await;
    // One that is served from another runtime, and serves this one.
    let (farm, request) = stays;
    let thread = std::thread::spawn(move || {
        runtime().block_on(async {
            let lease = farm.acquire(request).await.expect("a waiter is served from any runtime");
            farm.release(lease.id, Ending::clean()).await.expect("a lease in force is released");
        });
    });
    until("it waits", async || trial.waiting().await == 1).await;
    let here = trial.park(trial.ask(trial.any())).await;
    trial.release(&lease).await;
    let served = here.lease("a waiter is served from any runtime").await;
    tokio::task::spawn_blocking(|| thread.join()).await.expect("joined").expect("no call panics");
    trial.release(&served).await;
    trial.prove_sound(&[bot]).await;
}

pub async fn calls_go_on_while_the_first_runtime_is_blocked(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    let waiter = (trial.farm(), trial.ask(trial.any()).wait(LONG));
    let farm = trial.farm();
    let release = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.expect("a runtime starts").block_on(async move {
            let (waiting, request) = waiter;
            let waiter = tokio::spawn(async move { waiting.acquire(request).await });
            farm.release(lease.id, Ending::clean()).await.expect("a lease in force is released");
            let lease = waiter.await.expect("no call panics").expect("a waiter is served");
            farm.release(lease.id, Ending::clean()).await.expect("a lease in force is released");
        });
    });
    // Every thread of this runtime waits for the other.
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let end = std::sync::Arc::new(std::sync::Mutex::new(end));
    let workers = tokio::runtime::Handle::current().metrics().num_workers();
    let blocked: Vec<_> = (0..workers)
        .map(|_| {
            let end = end.clone();
            tokio::spawn(async move { drop(end.lock().map(|end| end.recv_timeout(PATIENCE))) })
        })
        .collect();
    let start = std::time::Instant::now();
    while !release.is_finished() && start.elapsed() < PATIENCE {
        std::hint::spin_loop();
        std::thread::yield_now();
    }
    let finished = release.is_finished();
    drop(ended);
    for task in blocked {
        task.await.expect("a task that only waits");
    }
    assert!(finished, "calls go on while the runtime that the farm was made on is blocked");
    release.join().expect("no call panics");
    trial.prove_sound(&[bot]).await;
}
