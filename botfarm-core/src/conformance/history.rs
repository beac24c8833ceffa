//! Who had a bot, and how that ended.

use std::sync::Arc;

use super::{
    policy,
    trial::{Trial, text},
};
use crate::{
    BotChanges, EndReason, Ending, LeaseEnd, LeaseRecord, NewBot, Outcome, Page, PageRequest, ProjectId, Revocation,
    Terms,
};

pub async fn history_tells_every_hand_out_newest_first(trial: Trial) {
    let bot = trial.bot().await;
    assert_eq!(trial.history(bot.id).await, [], "a new bot has no history");
    let clean = trial.ask(trial.any()).note(text("n")).run(text("run 7")).url(text("https://ci.test/1"));
    let clean = trial.acquire(clean).await.expect("free");
    trial.end(&clean, Ending::clean().note(text("all well"))).await;
    let expired = trial.acquire(trial.ask(trial.any()).ttl(policy().min_ttl)).await.expect("it is free");
    let revoked = trial.take_in_time(trial.any()).await;
    let revocation = Revocation::new(text("needed"), trial.holder());
    trial.farm().revoke(bot.id, revocation).await.expect("a held bot can be taken away");
    let dirty = trial.take_in_time(trial.any()).await;
    trial.end(&dirty, Ending::dirty()).await;
    let held = trial.take(trial.any().condition(crate::Condition::Dirty)).await;
    trial.renew(&held, None).await.expect("it is in force");

    let records = trial.history(bot.id).await;
    let leases = [&held, &dirty, &revoked, &expired, &clean];
    assert_eq!(records.len(), leases.len(), "one record for each hand-out: {records:?}");
    for (record, lease) in records.iter().zip(leases) {
        let wanted = LeaseRecord {
            bot: bot.id,
            fence: lease.bot().fence,
            project: bot.project.clone(),
            // A service knows more of a request than its client sends.
            terms: Arc::new(Terms {
                owner: record.terms.owner.clone(),
                origin: record.terms.origin.clone(),
                ..Terms::clone(&lease.terms)
            }),
            from: lease.acquired_at,
            end: record.end.clone(),
        };
        assert_eq!(*record, wanted, "a record tells who had the bot, since when, and what for; newest first");
    }
    let ends: Vec<_> = records.iter().map(|record| record.end.as_ref()).collect();
    let end = |n: usize| -> LeaseEnd { ends[n].cloned().expect("it has ended") };
    assert_eq!(ends[0], None, "the lease in force has no end");
    let by_holder = |n: usize, outcome, note: Option<&str>| LeaseEnd {
        at: end(n).at,
        reason: EndReason::Released,
        outcome: Some(outcome),
        by: None,
        note: note.map(text),
    };
    assert_eq!(end(1), by_holder(1, Outcome::Dirty, None), "a release tells its outcome");
    assert_eq!(end(4), by_holder(4, Outcome::Clean, Some("all well")), "a release tells its remark");
    let end = end(2);
    assert_eq!((end.reason, end.outcome), (EndReason::Revoked, None), "a revocation has no outcome");
    assert_eq!(end.note.as_deref(), Some("needed"), "a revocation tells why");
    assert!(end.by.is_some(), "a revocation tells who");
    let wanted = LeaseEnd { at: expired.expires_at, reason: EndReason::Expired, outcome: None, by: None, note: None };
    assert_eq!(ends[3], Some(&wanted), "an expiry is at the lease's end");
}

pub async fn expiry_stands_in_the_history_though_nobody_wants_the_bot(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.acquire(trial.ask(trial.any()).ttl(policy().min_ttl)).await.expect("it is free");
    trial.until_after(lease.expires_at).await;
    let end = trial.history(bot.id).await[0].end.clone().expect("a lease is over at its end, asked for or not");
    assert_eq!((end.at, end.reason), (lease.expires_at, EndReason::Expired), "it says when and how");
}

pub async fn history_comes_in_pages_without_gaps_or_repeats(trial: Trial) {
    let bot = trial.bot().await;
    let mut fences = Vec::new();
    let hand_out = async || {
        let lease = trial.take(trial.any()).await;
        trial.release(&lease).await;
        lease.bot().fence
    };
    for _ in 0..7 {
        fences.insert(0, hand_out().await);
    }
    for limit in [1, 3, 7, 50] {
        let (mut seen, mut page) = (Vec::new(), PageRequest::first(limit));
        let start = fences.len();
        let mut newer = Vec::new();
        loop {
            let Page { items, next } = trial.farm().history(bot.id, &page).await.expect("it can be read");
            seen.extend(items.iter().map(|record| record.fence));
            assert_eq!(next.is_some(), seen.len() < start, "a page has a cursor when there is more, and none when not");
            if next.is_none() {
                break;
            }
            page = page.after(next);
            newer.insert(0, hand_out().await);
        }
        assert_eq!(seen, fences, "every hand-out is listed once, newest first, though others come meanwhile");
        fences.splice(0..0, newer);
    }
}

pub async fn history_keeps_the_latest_hundred(trial: Trial) {
    let bot = trial.bot().await;
    let mut fences = Vec::new();
    for _ in 0..103 {
        let lease = trial.take(trial.any()).await;
        trial.release(&lease).await;
        fences.insert(0, lease.bot().fence);
    }
    let seen: Vec<_> = trial.history(bot.id).await.iter().map(|record| record.fence).collect();
    assert!(seen.len() >= 100, "a farm forgets none of the latest hundred hand-outs: {} are left", seen.len());
    assert_eq!(seen, fences[..seen.len()], "what a farm forgets is the oldest");
}

pub async fn history_tells_the_project_that_the_bot_was_in(trial: Trial) {
    let new = trial.new_bot();
    let bot = trial.keep(new.clone()).await;
    let [home, away, gone] = [trial.project(), ProjectId::new(), ProjectId::new()];
    let hand_out = async |project: &ProjectId| trial.take(trial.named(&bot).project(project.clone())).await;
    let move_to = async |project: &ProjectId| {
        let changes = BotChanges { project: Some(project.clone()), ..BotChanges::default() };
        trial.farm().update(bot.id, changes).await.expect("a bot that nobody holds may move");
    };
    for _ in 0..2 {
        trial.release(&hand_out(&home).await).await;
    }
    move_to(&away).await;
    // To where nobody leases it.
    move_to(&gone).await;
    let moved = NewBot { project: away.clone(), ..new };
    trial.farm().import(vec![moved], false).await.expect("an import may move a bot");
    trial.release(&hand_out(&away).await).await;
    // Expired, without anybody having noticed.
    let short = trial.ask(trial.named(&bot).project(away.clone())).ttl(policy().min_ttl);
    let expired = trial.acquire(short).await.expect("it is free");
    trial.until_after(expired.expires_at).await;
    move_to(&home).await;
    let again = trial.start(trial.ask(trial.named(&bot))).lease("an expired lease stands in nobody's way").await;

    let projects =
        async || -> Vec<_> { trial.history(bot.id).await.into_iter().map(|record| record.project).collect() };
    let expected = [&home, &away, &away, &home, &home].map(Clone::clone);
    assert_eq!(projects().await, expected, "a record tells the project that the bot was in when it was handed out");
    trial.release(&again).await;
    move_to(&gone).await;
    assert_eq!(projects().await, expected, "a record stays as it is, wherever the bot goes");
}
