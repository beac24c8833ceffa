//! What a lease is, and why there is none.

use std::time::Duration;

use super::{
    answers::{busy, faults, no_match, refused, shortage},
    policy,
    trial::{Trial, text},
    waiter::{LONG, in_time},
};
use crate::{BotId, BotState, Condition, Domain, Ending, Env, Labels, LeaseId, LeaseRequest, Selector};

pub async fn lease_is_as_asked_and_granted(trial: Trial) {
    let new = trial.new_bot();
    let bot = trial.keep(new.clone()).await;
    let request = trial
        .ask(trial.any().alias(text("admin")))
        .ttl(Duration::from_millis(90_500))
        .note(text("checks out\nwith \"quotes\" & ünïcödé"))
        .run(text("nightly #4711"))
        .url(text("https://ci.test/job/4711?tab=log#L7"));
    let before = trial.now().await;
    let lease = trial.acquire(request.clone()).await.expect("it is free");
    assert_eq!((lease.id, &lease.terms), (request.id, &request.terms), "a lease carries what was asked for");
    assert_eq!(Some(lease.ttl), request.ttl, "a TTL within the limits is granted");
    let lives = (lease.expires_at - lease.acquired_at).to_std().expect("it ends after it began");
    assert_eq!(lives, lease.ttl, "a lease lives for its TTL");
    assert!(lease.remaining <= lease.ttl && lease.remaining > Duration::ZERO, "some of the TTL is left: {lease:?}");
    assert!(lease.acquired_at >= before && lease.acquired_at <= trial.now().await, "times are by the farm's clock");
    assert_eq!(lease.bots.len(), 1, "one selector, one bot");
    let leased = lease.by_alias("admin").expect("the bot carries the alias that it was asked for under");
    assert_eq!(leased.password, new.password, "the holder gets the real password");
    assert_eq!(leased.bot, trial.look(&bot).await, "a lease shows its bot as a look at it does");
    assert_eq!(leased.bot.state(), BotState::Leased, "a leased bot is leased");
    assert_eq!((&lease.login, lease.fence), (&bot.login, leased.fence), "a lease of one bot reads as that bot");
    let seen = trial.lookup(&lease).await.expect("the lease is in force");
    assert!(seen.remaining <= lease.remaining, "time passes");
    assert_eq!(crate::Lease { remaining: lease.remaining, ..seen }, lease, "a look-up gives what the grant gave");
}

pub async fn request_without_ttl_gets_the_default(trial: Trial) {
    trial.bot().await;
    assert_eq!(trial.take(trial.any()).await.ttl, policy().default_ttl, "who names no TTL gets the default");
}

pub async fn passwords_survive_whole(trial: Trial) {
    for password in ["p", "pä ss'\"\\ \t🔑\r\n; drop table bots; --", "%s{}$1&=+", &"long ".repeat(204)] {
        let new = crate::NewBot { password: super::trial::secret(password), ..trial.new_bot() };
        let bot = trial.keep(new.clone()).await;
        let lease = trial.take(trial.named(&bot)).await;
        assert_eq!(lease.bot().password, new.password, "the holder gets the real password, whatever is in it");
    }
}

pub async fn selector_gets_what_it_names(trial: Trial) {
    let labels = |pair| Labels::try_from([pair, ("team", "x")]).expect("valid");
    let plain = trial.bot().await;
    let regular = trial.keep(trial.new_bot().domain(Domain::REGULAR).labels(labels(("role", "admin")))).await;
    let prod = trial.keep(crate::NewBot { env: Env::PROD, ..trial.new_bot().labels(labels(("role", "member"))) }).await;
    let one = |pair| Labels::try_from([pair]).expect("valid");
    let cases = [
        (trial.any().env(Env::PROD), &prod),
        (trial.any().domain(Domain::REGULAR), &regular),
        (trial.any().labels(one(("role", "admin"))), &regular),
        (trial.any().env(Env::PROD).labels(labels(("role", "member"))), &prod),
        (trial.any().login(text(&plain.login.to_uppercase())), &plain),
        (trial.named(&prod), &prod),
        (Selector::bot(regular.id), &regular),
        (trial.named(&plain).login(plain.login.clone()).env(Env::STAGE).domain(Domain::CANARY), &plain),
    ];
    for (selector, wanted) in cases {
        let lease = trial.take(selector.clone()).await;
        assert_eq!(lease.bot().bot.id, wanted.id, "the bot granted is the one that matches all of: {selector}");
        trial.release(&lease).await;
    }
}

pub async fn what_no_bot_could_satisfy_is_refused_at_once(trial: Trial) {
    let bot = trial.bot().await;
    let _held = trial.take(trial.any()).await;
    let labels = Labels::try_from([("no", "such")]).expect("valid");
    let impossible = [
        trial.ask(trial.any().project(crate::ProjectId::new())),
        trial.ask(trial.any().env(Env::PREPROD)),
        trial.ask(trial.any().domain(Domain::REGULAR)),
        trial.ask(trial.any().labels(labels)),
        trial.ask(trial.any().login(trial.login())),
        trial.ask(Selector::bot(BotId::new())),
        trial.ask(trial.named(&bot).env(Env::PROD)),
        trial.ask(trial.any()).avoid([bot.id]),
    ];
    let promise = "a request that no bot could ever satisfy is refused, not waited for";
    for request in impossible {
        assert_eq!(no_match(in_time(promise, trial.acquire(request.clone().wait(LONG))).await, promise), 0);
        assert_eq!(no_match(trial.acquire(request.wait(Duration::ZERO)).await, promise), 0);
    }
}

pub async fn what_may_change_by_itself_is_no_reason_to_refuse_for_good(trial: Trial) {
    let [held, broken] = trial.bots().await;
    let lease = trial.take(trial.named(&broken)).await;
    trial.end(&lease, Ending::broken()).await;
    let _held = trial.take(trial.named(&held)).await;
    let promise = "neither a bot's condition nor its holder makes a request impossible";
    for condition in Condition::ALL.iter().filter(|condition| **condition != Condition::Broken) {
        shortage(trial.acquire(trial.ask(trial.any().condition(*condition))).await, promise);
    }
}

pub async fn busy_bot_is_named_with_its_holder(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    let by_login = trial.any().env(bot.env.clone()).login(bot.login.clone());
    for selector in [trial.named(&bot), by_login] {
        let busy = busy(trial.acquire(trial.ask(selector)).await, "one bot was asked for by name, and somebody has it");
        assert_eq!(busy.bot, bot.id, "the error says which bot");
        assert_eq!(
            (busy.holder, busy.since, busy.expires_at, busy.condition),
            (Some(lease.terms.holder.clone()), Some(lease.acquired_at), Some(lease.expires_at), Condition::Ready),
            "the error says who has it, since when and until when"
        );
    }
    trial.end(&lease, Ending::broken()).await;
    let busy = busy(trial.acquire(trial.ask(trial.named(&bot))).await, "the bot asked for by name is broken");
    assert_eq!(
        (busy.holder, busy.since, busy.expires_at, busy.condition),
        (None, None, None, Condition::Broken),
        "the error says that nobody has it, and why it cannot be had"
    );
}

pub async fn shortage_counts_the_bots_that_match(trial: Trial) {
    let labels = Labels::try_from([("kind", "rare")]).expect("valid");
    let rare = async || trial.keep(trial.new_bot().labels(labels.clone())).await;
    let [first, second, dirty] = [rare().await, rare().await, rare().await];
    trial.bot().await;
    let oldest = trial.take(trial.named(&first)).await;
    trial.take(trial.named(&second)).await;
    let lease = trial.take(trial.named(&dirty)).await;
    trial.end(&lease, Ending::dirty()).await;
    let told = shortage(trial.acquire(trial.ask(trial.any().labels(labels))).await, "no bot that fits is free");
    assert_eq!(
        (told.selector, told.matching, told.leased, told.cooling, told.out_of_service, told.waiting),
        (0, 3, 2, 0, 1, 0),
        "the counts are of the bots that match, whatever their condition: {told:?}"
    );
    let told = told.oldest.expect("somebody holds one");
    assert_eq!(
        (told.holder, told.since),
        (oldest.terms.holder.clone(), oldest.acquired_at),
        "the error says who has held for longest"
    );
}

pub async fn invalid_request_is_refused_with_every_fault(trial: Trial) {
    let bot = trial.bot().await;
    let twice = [trial.any().alias(text("a")), trial.any().alias(text("b")), trial.any().alias(text("a"))];
    let (short, long) = (policy().min_ttl / 2, policy().max_ttl + Duration::from_secs(1));
    let cases: [(LeaseRequest, &[&str]); 6] = [
        (trial.ask_many([]), &["selectors"]),
        (trial.ask_many((0..33).map(|_| trial.any())), &["selectors"]),
        (trial.ask_many(twice), &["selectors[2].alias"]),
        (trial.ask(trial.any()).ttl(short), &["ttl"]),
        (trial.ask(trial.any()).ttl(long), &["ttl"]),
        (trial.ask_many([]).ttl(long).avoid((0..1_001).map(|_| BotId::new())), &["avoid", "selectors", "ttl"]),
    ];
    for (request, expected) in cases {
        let faults = faults(trial.acquire(request).await, "what is wrong is refused");
        let mut places: Vec<_> = faults.iter().map(|fault| fault.at.to_string()).collect();
        places.sort_unstable();
        assert_eq!(places, expected, "every fault is named, and nothing else");
    }
    assert_eq!(trial.look(&bot).await, bot, "a refused call has changed nothing");
}

pub async fn least_recently_used_bot_is_granted_first(trial: Trial) {
    let [a, b, c] = trial.bots().await;
    let mut leases = Vec::new();
    for wanted in [&a, &b, &c] {
        leases.push(trial.take(trial.any()).await);
        let granted = leases.last().expect("pushed").bot().bot.id;
        assert_eq!(granted, wanted.id, "of the free bots that fit, the one that became free first is granted");
    }
    for turn in [1, 2, 0] {
        trial.release(&leases[turn]).await;
    }
    for wanted in [&b, &c, &a] {
        let granted = trial.take(trial.any()).await.bot().bot.id;
        assert_eq!(granted, wanted.id, "of the free bots that fit, the one that became free first is granted");
    }
}

pub async fn unknown_lease_is_refused(trial: Trial) {
    let (farm, id) = (trial.farm(), LeaseId::new());
    let promise = "a lease that was never granted is unknown";
    refused(farm.lookup(id).await, "no-such-lease", promise);
    refused(farm.renew(id, None).await, "no-such-lease", promise);
    refused(farm.release(id, Ending::clean()).await, "no-such-lease", promise);
}

pub async fn shortage_says_when_to_try_again(trial: Trial) {
    trial.bot().await;
    let lease = trial.take(trial.any()).await;
    let told = shortage(trial.acquire(trial.ask(trial.any())).await, "it is leased");
    let promise = "leases are given back long before they end: it is worth trying again after 5 seconds";
    assert_eq!(told.retry_after, std::time::Duration::from_secs(5), "{promise}");
    trial.release(&lease).await;
}
