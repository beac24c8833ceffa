//! Several bots in one lease: whole, or not at all.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::future::join_all;

use super::{
    answers::{busy, no_match, shortage},
    trial::{Trial, text},
    waiter::{LONG, in_time},
};
use crate::{Bot, BotState, Ending, Labels, Lease, Selector};

fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    Labels::try_from(pairs).expect("valid")
}

fn ids(lease: &Lease) -> Vec<crate::BotId> {
    lease.bots.iter().map(|leased| leased.bot.id).collect()
}

pub async fn set_is_granted_whole(trial: Trial) {
    let member = trial.keep(trial.new_bot().labels(labels([("role", "member")]))).await;
    let admin = trial.keep(trial.new_bot().labels(labels([("role", "admin")]))).await;
    let plain = trial.bot().await;
    let request = trial.ask_many([
        trial.any().labels(labels([("role", "admin")])).alias(text("boss")),
        trial.named(&plain),
        trial.any().labels(labels([("role", "member")])).alias(text("staff")),
    ]);
    let lease = trial.acquire(request).await.expect("all are free");
    assert_eq!(ids(&lease), [admin.id, plain.id, member.id], "a lease has one bot for each selector, in their order");
    let aliases: Vec<_> = lease.bots.iter().map(|leased| leased.alias.as_deref()).collect();
    assert_eq!(aliases, [Some("boss"), None, Some("staff")], "each bot carries the alias that it was asked for under");
    assert_eq!(lease.by_alias("staff").map(|leased| leased.bot.id), Some(member.id), "a bot is found by its alias");
    let passwords: HashSet<_> = lease.bots.iter().map(|leased| leased.password.expose()).collect();
    assert_eq!(passwords.len(), 3, "each bot has its own password");
    for bot in [&member, &admin, &plain] {
        let holding = trial.look(bot).await.holding.expect("it is held");
        assert_eq!(
            (holding.terms.holder.clone(), holding.since, holding.expires_at),
            (lease.terms.holder.clone(), lease.acquired_at, lease.expires_at),
            "all bots of a lease are held alike"
        );
    }
    let seen = trial.lookup(&lease).await.expect("it is in force");
    assert_eq!(seen.bots, lease.bots, "a look-up gives the same bots in the same order");
    trial.release(&lease).await;
    trial.prove_sound(&[member, admin, plain]).await;
}

pub async fn set_is_refused_whole(trial: Trial) {
    let [free, held] = trial.bots().await;
    let lease = trial.take(trial.named(&held)).await;
    for (set, missing) in [([&free, &held], 1), ([&held, &free], 0)] {
        let told = trial.acquire(trial.ask_many(set.map(|bot| trial.named(bot)))).await;
        let told = shortage(told, "a set is granted whole or not at all");
        assert_eq!(
            (told.selector, told.matching, told.leased),
            (missing, 1, 1),
            "it is told what is missing: {told:?}"
        );
        assert_eq!(trial.look(&free).await, free, "of a set that cannot be had, no bot is taken");
        let other = trial.take(trial.named(&free)).await;
        trial.release(&other).await;
    }
    trial.release(&lease).await;
    trial.prove_sound(&[free, held]).await;
}

pub async fn set_gets_distinct_bots(trial: Trial) {
    let bots = trial.bots::<4>().await;
    let lease = trial.acquire(trial.ask_many((0..4).map(|_| trial.any()))).await.expect("all are free");
    assert_eq!(ids(&lease).into_iter().collect::<HashSet<_>>().len(), 4, "no bot is granted twice within a lease");
    let _ = shortage(trial.acquire(trial.ask(trial.any())).await, "all are leased");
    trial.release(&lease).await;
    trial.prove_sound(&bots).await;
}

pub async fn set_that_no_bots_could_satisfy_is_refused_at_once(trial: Trial) {
    let bot = trial.keep(trial.new_bot().labels(labels([("role", "admin")]))).await;
    trial.bot().await;
    let _held = trial.take(trial.any()).await;
    let admin = || trial.any().labels(labels([("role", "admin")]));
    let impossible = [
        (trial.ask_many([trial.any(), trial.any().labels(labels([("role", "none")]))]), Some(1)),
        (trial.ask_many([trial.any(), trial.any(), trial.any()]), Some(2)),
        (trial.ask_many([admin(), trial.any(), trial.named(&bot)]), None),
        (trial.ask_many([trial.any(), trial.any()]).avoid([bot.id]), Some(1)),
    ];
    let promise = "a set for which there are too few bots is refused, not waited for";
    for (request, wanted) in impossible {
        let selector = no_match(in_time(promise, trial.acquire(request.wait(LONG))).await, promise);
        assert!(wanted.is_none_or(|wanted| wanted == selector), "the error names what cannot be had, not {selector}");
    }
}

pub async fn set_is_granted_where_only_one_assignment_fits(trial: Trial) {
    // Each selector but the last fits a bot that a later one needs: only shifting all of them leads to the end.
    let mut bots = Vec::new();
    for n in 0..6 {
        let (one, next) = (format!("k{n}"), format!("k{}", n + 1));
        bots.push(trial.keep(trial.new_bot().labels(labels([(one.as_str(), ""), (next.as_str(), "")]))).await);
    }
    let by_key = |n: usize| trial.any().labels(labels([(format!("k{n}").as_str(), "")]));
    // k1 fits bots 0 and 1, …, k5 fits bots 4 and 5; k0 fits bot 0 alone.
    let selectors: Vec<Selector> = (1..6).chain([0]).map(by_key).collect();
    let lease = trial.acquire(trial.ask_many(selectors.clone())).await;
    let lease = lease.expect("an assignment is found whenever there is one");
    let wanted: Vec<_> = [1, 2, 3, 4, 5, 0].map(|n: usize| bots[n].id).to_vec();
    assert_eq!(ids(&lease), wanted, "each selector gets a bot that fits");
    trial.release(&lease).await;

    // The same out of what becomes free while it waits.
    let held = trial.take(trial.named(&bots[0])).await;
    let waiter = trial.park(trial.ask_many(selectors)).await;
    trial.release(&held).await;
    let lease = waiter.lease("an assignment is found as soon as there is one").await;
    assert_eq!(ids(&lease), wanted, "each selector gets a bot that fits");
    trial.release(&lease).await;
    trial.prove_sound(&bots).await;
}

pub async fn waiting_set_holds_no_bot_but_keeps_it_from_those_who_come_later(trial: Trial) {
    let [held, free] = trial.bots().await;
    let lease = trial.take(trial.named(&held)).await;
    let set = trial.park(trial.ask_many([trial.any(), trial.any()])).await;
    assert_eq!(trial.look(&free).await.state(), BotState::Free, "a set is granted whole or not at all");
    let kept = "what is free for a request for many that waits is kept from those who come later";
    shortage(trial.acquire(trial.ask(trial.any())).await, kept);
    busy(trial.acquire(trial.ask(trial.named(&free))).await, kept);
    let later = trial.park(trial.ask(trial.any())).await;
    trial.release(&lease).await;
    let set = set.lease("a set is granted as soon as all of it is free").await;
    assert!(later.still_waits(), "{kept}");
    trial.release(&set).await;
    let later = later.lease("who came later is served after the set").await;
    assert!(later.acquired_at >= set.acquired_at, "{kept}");
    trial.release(&later).await;
    trial.prove_sound(&[held, free]).await;
}

pub async fn waiting_set_is_in_the_way_of_those_alone_who_want_its_bots(trial: Trial) {
    let of = async |key| trial.keep(trial.new_bot().labels(labels([("kind", key)]))).await;
    let bots = [of("a").await, of("b").await, of("c").await];
    let by_key = |key| trial.any().labels(labels([("kind", key)]));
    let lease = trial.take(by_key("a")).await;
    let set = trial.park(trial.ask_many([by_key("a"), by_key("b")])).await;
    let other = trial.take(by_key("c")).await;
    shortage(trial.acquire(trial.ask(by_key("b"))).await, "what is free for a waiting set is kept for it");
    trial.unpark(set).await;
    let freed = trial.take(by_key("b")).await;
    for lease in [lease, other, freed] {
        trial.release(&lease).await;
    }
    trial.prove_sound(&bots).await;
}

pub async fn request_for_many_is_not_starved_by_requests_for_one(trial: Trial) {
    let bots = trial.bots::<3>().await;
    let served = AtomicBool::new(false);
    let singles = join_all((0..6).map(async |_| {
        let mut turns = 0;
        while !served.load(Ordering::Relaxed) {
            let waiter = trial.start(trial.ask(trial.any()));
            let lease = waiter.lease("requests for one are served, too").await;
            turns += 1;
            trial.release(&lease).await;
        }
        turns
    }));
    let many = async {
        for _ in 0..3 {
            let set = trial.start(trial.ask_many((0..3).map(|_| trial.any())));
            let set = set.lease("a request for many is not starved by a stream of requests for one").await;
            trial.release(&set).await;
        }
        served.store(true, Ordering::Relaxed);
    };
    let (turns, ()) = tokio::join!(singles, many);
    assert!(turns.iter().sum::<i32>() > 0, "requests for one are served, too");
    trial.prove_sound(&bots).await;
}

pub async fn sets_that_overlap_do_not_deadlock(trial: Trial) {
    let bots: [Bot; 3] = trial.bots().await;
    let orders = [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]];
    let contenders = orders.into_iter().cycle().take(8).map(async |order: [usize; 3]| {
        for turn in 0..6 {
            let wanted = order.into_iter().take(2 + turn % 2).map(|n| trial.named(&bots[n]));
            let set = trial.start(trial.ask_many(wanted)).lease("sets in any order do not wait for each other").await;
            let ending = trial.farm().release(set.id, Ending::clean()).await;
            ending.expect("a lease that nobody else can have taken is in force");
        }
    });
    join_all(contenders).await;
    trial.prove_sound(&bots).await;
}
