//! Bots are kept, changed and forgotten.

use futures_util::future::join_all;

use super::{
    answers::{lost, no_match, refused},
    trial::{Trial, text},
};
use crate::{
    Bot, BotChanges, BotId, BotRelease, BotState, Condition, Domain, Env, Error, Labels, Login, NewBot, PageRequest,
    ProjectId, Revocation,
};

pub async fn created_bot_is_kept_as_given(trial: Trial) {
    let labels = Labels::try_from([("role", "admin"), ("team", "Grün & Söhne"), ("empty", "")]).expect("valid");
    let new = trial.new_bot().domain(Domain::REGULAR).labels(labels.clone());
    let before = trial.now().await;
    let bot = trial.keep(new.clone()).await;
    let Bot { id, login, project, env, domain, labels, condition, created_at, holding, cooling_until } = bot.clone();
    assert_eq!(
        NewBot { password: new.password.clone(), login, project, env, domain, labels },
        new,
        "a bot is what it was created as"
    );
    assert_eq!(
        (condition, holding, cooling_until),
        (Condition::Ready, None, None),
        "a new bot is ready, and nobody holds it"
    );
    assert_eq!(created_at.timestamp_subsec_nanos() % 1_000, 0, "times are in whole microseconds");
    assert!(created_at >= before && created_at <= trial.now().await, "times are by the farm's clock");
    assert_eq!(trial.farm().get(id).await.expect("it is kept"), bot, "a look gives what the creation gave");
}

pub async fn logins_are_unique_within_their_env_case_aside(trial: Trial) {
    let login: Login = text(&format!("Ötzi.{}", trial.login()));
    trial.keep(NewBot { login: login.clone(), ..trial.new_bot() }).await;
    for (taken, project) in [
        (login.clone(), trial.project()),
        (text(&login.to_lowercase()), trial.project()),
        (text(&login.to_uppercase()), ProjectId::new()),
    ] {
        let twin = NewBot { login: taken.clone(), project, ..trial.new_bot() };
        match trial.farm().create(twin).await {
            Err(Error::LoginTaken { login, env }) => {
                assert_eq!((login, env), (taken, Env::STAGE), "the error names the account as it was asked for");
            }
            other => panic!("one env has one bot of a login, whatever its case and project: got {other:?}"),
        }
    }
    let elsewhere = NewBot { login: login.clone(), env: Env::PROD, ..trial.new_bot() };
    assert_eq!(trial.keep(elsewhere).await.login, login, "the same login in another env is another account");
}

pub async fn one_of_many_creations_of_a_login_succeeds(trial: Trial) {
    let login = trial.login();
    let creations = (0..8).map(|_| {
        let (farm, twin) = (trial.farm(), NewBot { login: login.clone(), ..trial.new_bot() });
        async move { farm.create(twin).await }
    });
    let (created, refused): (Vec<_>, Vec<_>) = join_all(creations).await.into_iter().partition(Result::is_ok);
    assert_eq!(created.len(), 1, "one of several who create the same account at once succeeds: {created:?}");
    for refusal in refused {
        assert_eq!(refusal.map_err(|error| error.code()), Err("login-taken"), "the others are told so");
    }
}

pub async fn unknown_bot_is_named_in_the_refusal(trial: Trial) {
    let (farm, unknown) = (trial.farm(), BotId::new());
    let revocation = Revocation::new(text("no reason"), trial.holder());
    let answers = [
        farm.get(unknown).await.map(drop),
        farm.update(unknown, BotChanges::default()).await.map(drop),
        farm.delete(unknown).await,
        farm.release_bot(unknown, BotRelease::default()).await,
        farm.revoke(unknown, revocation).await,
        farm.history(unknown, &PageRequest::default()).await.map(drop),
    ];
    for answer in answers {
        match answer {
            Err(Error::NoSuchBot { id }) => assert_eq!(id, unknown, "the error names the id that was asked for"),
            other => panic!("what the farm does not have is NoSuchBot: got {other:?}"),
        }
    }
}

pub async fn update_changes_what_is_given_and_nothing_else(trial: Trial) {
    let bot = trial.keep(trial.new_bot().labels(Labels::try_from([("old", "1")]).expect("valid"))).await;
    let (labels, project) = (Labels::try_from([("new", "2")]).expect("valid"), ProjectId::new());
    let changes = BotChanges::default;
    let relabelled = Bot { labels: labels.clone(), ..bot.clone() };
    let spoilt = Bot { condition: Condition::Dirty, ..relabelled.clone() };
    let regular = Bot { domain: Domain::REGULAR, ..spoilt.clone() };
    let moved = Bot { project: project.clone(), ..regular.clone() };
    for (changes, wanted) in [
        (BotChanges { labels: Some(labels), ..changes() }, relabelled),
        (BotChanges { condition: Some(Condition::Dirty), ..changes() }, spoilt),
        (BotChanges { domain: Some(Domain::REGULAR), ..changes() }, regular),
        (BotChanges { project: Some(project.clone()), ..changes() }, moved.clone()),
        (changes(), moved),
    ] {
        let updated = trial.farm().update(bot.id, changes.clone()).await.expect("a free bot may be changed");
        assert_eq!(updated, wanted, "what was given has changed, and nothing else, by {changes:?}");
        assert_eq!(trial.look(&bot).await, wanted, "a look gives what the update gave");
    }
    no_match(trial.acquire(trial.ask(trial.any())).await, "a bot that has moved is of its former project no longer");
    let moved = trial.any().project(project).condition(Condition::Dirty);
    assert_eq!(trial.take(moved).await.bot().bot.id, bot.id, "a bot that has moved is leased where it is now");
}

pub async fn new_password_reaches_the_holder(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    for turn in 0..2 {
        let password = trial.new_bot().password;
        let changes = BotChanges { password: Some(password.clone()), ..BotChanges::default() };
        trial.farm().update(bot.id, changes).await.expect("the password of a held bot may change");
        let seen = if turn == 0 { trial.lookup(&lease).await } else { trial.renew(&lease, None).await };
        let seen = seen.expect("the lease is in force");
        assert_eq!(seen.bot().password, password, "the holder sees a new password at the next look-up or renewal");
        assert_eq!(seen.bot().fence, lease.bot().fence, "a new password is not a new hand-out");
    }
}

pub async fn held_bot_is_neither_moved_nor_deleted(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    let held = trial.look(&bot).await;
    let labels = Some(Labels::try_from([("k", "v")]).expect("valid"));
    let password = Some(trial.new_bot().password);
    let too = || BotChanges { labels: labels.clone(), password: password.clone(), ..BotChanges::default() };
    let mut answers = vec![trial.farm().delete(bot.id).await];
    for changes in [
        BotChanges { condition: Some(Condition::Broken), ..too() },
        BotChanges { domain: Some(Domain::REGULAR), ..too() },
        BotChanges { project: Some(ProjectId::new()), ..too() },
    ] {
        answers.push(trial.farm().update(bot.id, changes).await.map(drop));
    }
    for answer in answers {
        match answer {
            Err(Error::InUse { bot: id, holder, expires_at }) => assert_eq!(
                (id, &holder, expires_at),
                (bot.id, &lease.terms.holder, lease.expires_at),
                "the error says who holds the bot, and until when"
            ),
            other => panic!("a bot stays where it is while somebody holds it: got {other:?}"),
        }
    }
    assert_eq!(trial.look(&bot).await, held, "a refused call has changed nothing");
    let seen = trial.lookup(&lease).await.expect("a refused call has ended no lease");
    assert_eq!(seen.bot().password, lease.bot().password, "a refused call has changed no password");

    let changes = BotChanges { labels: labels.clone(), ..BotChanges::default() };
    let updated = trial.farm().update(bot.id, changes).await.expect("the labels of a held bot may change");
    assert_eq!((Some(updated.labels), updated.holding), (labels, held.holding), "labels change, the lease stays");
    trial.release(&lease).await;
    trial.farm().delete(bot.id).await.expect("a bot that nobody holds any more may be deleted");
}

pub async fn expired_lease_stands_in_nobodys_way(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.acquire(trial.ask(trial.any()).ttl(super::policy().min_ttl)).await.expect("it is free");
    trial.until_after(lease.expires_at).await;
    let changes = BotChanges { domain: Some(Domain::REGULAR), ..BotChanges::default() };
    let updated = trial.farm().update(bot.id, changes).await.expect("a lease is over at its end, asked for or not");
    assert_eq!((updated.domain, updated.holding), (Domain::REGULAR, None), "nobody holds the bot any more");
    trial.farm().delete(bot.id).await.expect("a bot whose lease is over may be deleted");
    refused(trial.farm().get(bot.id).await, "no-such-user", "a deleted bot is gone");
}

pub async fn deleted_bot_is_gone(trial: Trial) {
    let bot = trial.bot().await;
    let lease = trial.take(trial.any()).await;
    trial.release(&lease).await;
    trial.farm().delete(bot.id).await.expect("a free bot may be deleted");
    let gone = "a deleted bot is gone";
    refused(trial.farm().get(bot.id).await, "no-such-user", gone);
    refused(trial.farm().delete(bot.id).await, "no-such-user", gone);
    refused(trial.farm().history(bot.id, &PageRequest::default()).await, "no-such-user", gone);
    no_match(trial.acquire(trial.ask(trial.any())).await, gone);
    no_match(trial.acquire(trial.ask(trial.named(&bot))).await, gone);
    lost(trial.lookup(&lease).await, "a lease that has ended stays ended when its bot is deleted");
    let again = trial.keep(NewBot { login: bot.login.clone(), ..trial.new_bot() }).await;
    assert_ne!(again.id, bot.id, "an id is not used again");
    assert_eq!(trial.take(trial.any()).await.bot().bot.id, again.id, "the login of a deleted bot is free again");
}

pub async fn bot_shows_who_holds_it(trial: Trial) {
    let bot = trial.bot().await;
    assert_eq!(trial.look(&bot).await.state(), BotState::Free, "a new bot is free");
    let request = trial.ask(trial.any()).note(text("logs in\nand out")).url(text("https://ci.test/job/1"));
    let lease = trial.acquire(request).await.expect("it is free");
    let seen = trial.look(&bot).await;
    assert_eq!(seen.state(), BotState::Leased, "a bot in a lease is leased");
    let holding = seen.holding.expect("somebody holds it");
    assert_eq!(
        (&holding.terms, holding.since, holding.expires_at),
        (&lease.terms, lease.acquired_at, lease.expires_at),
        "everybody sees who holds a bot, since when and until when"
    );
    let renewed = trial.renew(&lease, None).await.expect("the lease is in force");
    let holding = trial.look(&bot).await.holding.expect("somebody holds it");
    assert_eq!(holding.expires_at, renewed.expires_at, "everybody sees a renewal");
    trial.release(&lease).await;
    assert_eq!(trial.look(&bot).await, bot, "a bot is as it was after a clean release");
}

pub async fn farm_answers_its_check(trial: Trial) {
    for farm in trial.farms() {
        farm.check().await.expect("a farm that can serve says so");
    }
}
