//! What is seen of all bots together: the hand-outs that have ended, and the queue.

use std::time::Duration;

use super::{
    answers::shortage,
    policy,
    runs::new_run,
    trial::{Trial, text},
};
use crate::{EndReason, Ending, HandOut, HandOutFilter, Outcome, PageRequest, QueuedRequest, Revocation};

impl Trial {
    /// All hand-outs of this claim that pass a filter, in pages of this size.
    async fn hand_outs(&self, filter: HandOutFilter, limit: usize) -> Vec<HandOut> {
        let filter = HandOutFilter { project: Some(self.project()), ..filter };
        let (mut found, mut page) = (Vec::new(), PageRequest::first(limit));
        loop {
            let listed = self.farm().hand_outs(&filter, &page).await.expect("hand-outs can be listed");
            assert!(listed.items.len() <= limit, "a page has no more than was asked for");
            found.extend(listed.items);
            if listed.next.is_none() {
                return found;
            }
            page = page.after(listed.next);
        }
    }

    /// The requests of this claim that wait, in pages of this size.
    async fn queue(&self, limit: usize) -> Vec<QueuedRequest> {
        let (mut found, mut page) = (Vec::new(), PageRequest::first(limit));
        loop {
            let listed = self.farm().queue(&page).await.expect("the queue can be listed");
            assert!(listed.items.len() <= limit, "a page has no more than was asked for");
            found.extend(listed.items);
            if listed.next.is_none() {
                break;
            }
            page = page.after(listed.next);
        }
        let project = self.project();
        found.retain(|request| request.selectors.iter().any(|selector| selector.project.as_ref() == Some(&project)));
        found
    }
}

pub async fn hand_outs_are_listed_across_bots(trial: Trial) {
    let [one, other] = trial.bots().await;
    let run = new_run();
    let clean = trial.ask(trial.named(&one)).run(run.clone());
    let first = trial.acquire(clean.clone()).await.expect("it is free");
    trial.end(&first, Ending::clean()).await;
    let second = trial.take(trial.named(&other)).await;
    trial.end(&second, Ending::broken().note(text("locked out"))).await;
    let third = trial.acquire(trial.ask(trial.named(&one)).run(run.clone())).await.expect("it is free");
    let revocation = Revocation::new(text("needed"), trial.holder());
    trial.farm().revoke(one.id, revocation).await.expect("a held bot can be taken away");
    let fourth = trial.start(trial.ask(trial.named(&one)).ttl(policy().min_ttl));
    let fourth = fourth.lease("it has rested").await;
    trial.until_after(fourth.expires_at).await;
    let waiting = trial.start(trial.ask(trial.named(&one)));
    let in_force = waiting.lease("an expired lease stands in nobody's way").await;

    let of = |filter: HandOutFilter| async { trial.hand_outs(filter, 100).await };
    let fences =
        |found: &[HandOut]| found.iter().map(|found| (found.record.bot, found.record.fence)).collect::<Vec<_>>();
    let key = |lease: &crate::Lease| (lease.bot().bot.id, lease.bot().fence);
    let all = of(HandOutFilter::default()).await;
    assert_eq!(
        fences(&all),
        [&fourth, &third, &second, &first].map(key),
        "all that ended, those that ended last first"
    );
    let told: Vec<_> = all.iter().map(|found| found.record.end.as_ref().map(|end| end.reason)).collect();
    let reasons = [EndReason::Expired, EndReason::Revoked, EndReason::Released, EndReason::Released];
    assert_eq!(told, reasons.map(Some), "each says how it ended");
    assert_eq!((&all[2].login, &all[2].env), (&other.login, &other.env), "each says of which bot it was");
    let history = trial.history(other.id).await;
    assert_eq!(all[2].record, history[0], "it is told as in the history of the bot");
    assert_eq!(trial.hand_outs(HandOutFilter::default(), 1).await, all, "pages have neither gaps nor repeats");

    let only = |change: &dyn Fn(&mut HandOutFilter)| {
        let mut filter = HandOutFilter::default();
        change(&mut filter);
        of(filter)
    };
    assert_eq!(fences(&only(&|of| of.run = Some(run.clone())).await), [&third, &first].map(key), "those of a run");
    assert_eq!(fences(&only(&|of| of.bot = Some(other.id)).await), [&second].map(key), "those of a bot");
    let holder = &clean.terms.holder;
    assert_eq!(fences(&only(&|of| of.holder = Some(holder.clone())).await), [&first].map(key), "those of a holder");
    let broken = only(&|of| of.outcome = Some(Outcome::Broken)).await;
    assert_eq!(fences(&broken), [&second].map(key), "those with an outcome");
    let ended = third.acquired_at;
    let late = only(&|of| of.since = Some(ended)).await;
    assert_eq!(fences(&late), [&fourth, &third].map(key), "those that ended since then");
    let early = only(&|of| of.until = Some(ended)).await;
    assert_eq!(fences(&early), [&second, &first].map(key), "those that began before then");
    let both = only(&|of| (of.run, of.bot) = (Some(run.clone()), Some(other.id))).await;
    assert_eq!(both, [], "all that is given must match");
    trial.release(&in_force).await;
}

pub async fn queue_is_listed_in_its_order_with_what_keeps_each(trial: Trial) {
    let bot = trial.bot().await;
    let run = new_run();
    let before = trial.now().await;
    let lease = trial.acquire(trial.ask(trial.any()).run(run.clone())).await.expect("it is free");
    let requests = [
        trial.ask(trial.named(&bot)).run(run.clone()).note(text("the first")),
        trial.ask(trial.any()).url(text("https://ci.test/2")),
        trial.ask(trial.any()),
    ];
    let mut waiters = Vec::new();
    for request in &requests {
        waiters.push(trial.park(request.clone()).await);
    }
    let queue = trial.queue(100).await;
    assert_eq!(queue.len(), requests.len(), "all that wait are listed: {queue:?}");
    for (queued, request) in queue.iter().zip(&requests) {
        assert_eq!((&queued.terms.holder, &queued.terms.run), (&request.terms.holder, &request.terms.run), "in order");
        assert_eq!((&queued.terms.note, &queued.terms.url), (&request.terms.note, &request.terms.url), "as asked for");
        assert_eq!(queued.selectors, request.selectors, "it says what is wanted");
        assert!(queued.alive && queued.since >= before, "it says since when: {queued:?}");
        let reason = queued.reason.as_deref().expect("it says what keeps it");
        let holder = &lease.terms.holder;
        assert!(reason.contains("1 leased") && reason.contains(&format!("held by {holder}")), "{reason}");
    }
    assert!(queue.windows(2).all(|pair| pair[0].place < pair[1].place && pair[0].since <= pair[1].since));
    assert_eq!(queue.iter().map(|queued| queued.holds).collect::<Vec<_>>(), [1, 0, 0], "it says what the run holds");
    let places = |queue: &[QueuedRequest]| queue.iter().map(|of| of.terms.holder.clone()).collect::<Vec<_>>();
    assert_eq!(places(&trial.queue(2).await), places(&queue), "pages have neither gaps nor repeats");

    let told = trial.acquire(trial.ask(trial.any()).wait(Duration::from_millis(50))).await;
    let told = shortage(told, "its time is up before its turn");
    assert_eq!((told.place, told.waiting), (Some(4), 3), "whoever has waited is told its place");
    let told = shortage(trial.acquire(trial.ask(trial.any())).await, "nothing is free");
    assert_eq!((told.place, told.waiting), (None, 3), "who does not wait has no place");
    for waiter in waiters {
        trial.unpark(waiter).await;
    }
    assert_eq!(trial.queue(100).await, [], "who has gone is not listed");
    trial.release(&lease).await;
    trial.prove_sound(&[bot]).await;
}
