//! Runs are listed, and end as one.

use super::{
    answers::lost,
    policy,
    trial::{Trial, text},
    waiter::LONG,
};
use crate::{Condition, EndReason, EndedRun, Ending, LostLease, PageRequest, Run, RunEnding};

/// A run that nobody else has.
pub(super) fn new_run() -> Run {
    text(&format!("run {}", uuid::Uuid::new_v4()))
}

/// What who holds or waits is told.
fn was_taken(told: &LostLease, note: &str) {
    assert_eq!(
        (told.reason, told.note.as_deref()),
        (EndReason::Taken, Some(note)),
        "it is told that it was taken, and why"
    );
    assert!(told.by.is_some(), "it is told by whom");
}

pub async fn run_ends_with_its_leases_and_waiters_alone(trial: Trial) {
    let bots = trial.bots::<4>().await;
    let [run, other] = [(); 2].map(|()| new_run());
    let of = |run: &Run| trial.ask(trial.any()).run(run.clone());
    let pair = trial.ask_many([trial.any(), trial.any()]).run(run.clone());
    let pair = trial.acquire(pair).await.expect("both are free");
    let one = trial.acquire(of(&run)).await.expect("it is free");
    let others = trial.acquire(of(&other)).await.expect("it is free");
    let sent_away = trial.park(of(&run)).await;
    let stays = trial.park(of(&other)).await;

    let ending = || RunEnding::new(trial.holder()).ending(Ending::clean().note(text("it was cancelled")));
    let ended = trial.farm().end_run(&run, ending()).await.expect("a run can be ended");
    assert_eq!(ended, EndedRun { leases: 2, waiters: 1 }, "it is told what the run had");

    let id = sent_away.id;
    was_taken(
        &lost(sent_away.answer("who waits as a part of it is sent away").await, "it gets no lease"),
        "it was cancelled",
    );
    let again = trial.acquire(of(&run).id(id).wait(LONG)).await;
    was_taken(&lost(again, "who was sent away stays away"), "it was cancelled");
    for lease in [&pair, &one] {
        was_taken(&lost(trial.renew(lease, None).await, "its leases have ended"), "it was cancelled");
        let released = trial.farm().release(lease.id, Ending::broken()).await;
        was_taken(&lost(released, "what was taken is not given back"), "it was cancelled");
    }
    for leased in &pair.bots {
        let records = trial.history(leased.bot.id).await;
        let record = records.iter().find(|record| record.fence == leased.fence).expect("the hand-out is told");
        let end = record.end.as_ref().expect("it has ended");
        assert_eq!((end.reason, end.outcome), (EndReason::Taken, Some(crate::Outcome::Clean)), "the history tells how");
    }
    let served = stays.lease("who waits as a part of another run is served").await;
    trial.renew(&others, None).await.expect("leases of other runs stay in force");
    let next = trial.acquire(of(&run)).await.expect("its bots are free, and its name is not taken");
    let again = trial.farm().end_run(&run, ending()).await.expect("a run can be ended again");
    assert_eq!(again, EndedRun { leases: 1, waiters: 0 }, "a lease ends once");
    lost(trial.lookup(&next).await, "a run that begins again can be ended again");
    for lease in [&served, &others] {
        trial.release(lease).await;
    }
    trial.prove_sound(&bots).await;
}

pub async fn ended_run_leaves_its_bots_as_it_is_told(trial: Trial) {
    let bots = trial.bots::<2>().await;
    let run = new_run();
    for (bot, ending, left) in
        [(&bots[0], Ending::dirty(), Condition::Dirty), (&bots[1], Ending::broken(), Condition::Broken)]
    {
        trial.acquire(trial.ask(trial.named(bot)).run(run.clone())).await.expect("it is free");
        trial.farm().end_run(&run, RunEnding::new(trial.holder()).ending(ending)).await.expect("it can be ended");
        let seen = trial.look(bot).await;
        assert_eq!((seen.condition, seen.holding, seen.cooling_until), (left, None, None), "it is left as was said");
    }
}

pub async fn run_that_nobody_knows_ends_nothing(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    let ended = trial.farm().end_run(&new_run(), RunEnding::new(trial.holder())).await;
    assert_eq!(ended.expect("to end nothing succeeds"), EndedRun::default());
    trial.renew(&lease, None).await.expect("a lease without a run is a part of none");
    trial.release(&lease).await;
    trial.prove_sound(&[bot]).await;
}

pub async fn place_kept_for_a_waiter_of_an_ended_run_is_gone(trial: Trial) {
    let bot = trial.bot().await;
    let run = new_run();
    let lease = trial.take(trial.any()).await;
    let request = trial.ask(trial.any()).run(run.clone());
    let waiter = trial.park(request.clone()).await;
    trial.unpark(waiter).await;
    let ended = trial.farm().end_run(&run, RunEnding::new(trial.holder())).await.expect("a run can be ended");
    assert_eq!(ended, EndedRun { leases: 0, waiters: 1 }, "a place that is kept is a part of the run");
    lost(trial.acquire(request).await, "who comes back to a run that has ended is sent away");
    trial.release(&lease).await;
    trial.prove_sound(&[bot]).await;
}

pub async fn leases_of_a_run_are_listed_alone(trial: Trial) {
    trial.bots::<5>().await;
    let [run, other] = [(); 2].map(|()| new_run());
    let mut taken = Vec::new();
    for run in [&run, &other, &run, &run] {
        let lease = trial.acquire(trial.ask(trial.any()).run(run.clone())).await.expect("it is free");
        taken.push((run.clone(), lease));
    }
    let brief = trial.ask(trial.any()).run(run.clone()).ttl(policy().min_ttl);
    let brief = trial.acquire(brief).await.expect("it is free");
    trial.until_after(brief.expires_at).await;
    let mut expected: Vec<_> = taken.iter().filter(|(of, _)| *of == run).map(|(_, lease)| lease.bot().bot.id).collect();
    expected.sort_unstable();
    let (mut listed, mut page) = (Vec::new(), PageRequest::first(2));
    loop {
        let found = trial.farm().leases_of_run(&run, &page).await.expect("the leases of a run can be listed");
        assert!(found.items.len() <= 2, "a page has no more than was asked for");
        assert!(found.items.iter().all(|lease| lease.terms.run.as_ref() == Some(&run)), "they are its own");
        listed.extend(found.items.into_iter().map(|lease| lease.bots[0].1.id));
        if found.next.is_none() {
            break;
        }
        page = page.after(found.next);
    }
    assert_eq!(listed, expected, "all of them are listed once, and what has expired is not");
    let nobodys = trial.farm().leases_of_run(&new_run(), &PageRequest::default()).await;
    assert_eq!(nobodys.expect("a run that nobody knows has no leases").items, []);
    for (_, lease) in &taken {
        trial.release(lease).await;
    }
}
