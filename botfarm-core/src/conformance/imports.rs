//! Many bots at once, all or nothing.

use super::{
    answers::{faults, no_match},
    trial::Trial,
};
use crate::{
    Bot, BotFilter, BotState, Condition, Domain, Ending, Env, Fault, Field, ImportReport, Labels, Location, Login,
    NewBot, PageRequest,
};

async fn listed(trial: &Trial) -> Vec<Bot> {
    let filter = BotFilter { project: Some(trial.project()), ..BotFilter::default() };
    trial.farm().list(&filter, &PageRequest::first(PageRequest::MAX)).await.expect("bots can be listed").items
}

/// The rows that faults are found with.
fn rows(faults: &[Fault]) -> Vec<usize> {
    let row = |fault: &Fault| fault.at.as_row();
    faults.iter().map(|fault| row(fault).unwrap_or_else(|| panic!("a fault starts with its row: {fault:?}"))).collect()
}

fn labels(value: &str) -> Labels {
    Labels::try_from([("k", value)]).expect("valid")
}

pub async fn import_creates_updates_and_counts(trial: Trial) {
    let [same, relabelled, moved, repassworded] = [(); 4].map(|()| trial.new_bot());
    for bot in [&same, &relabelled, &moved, &repassworded] {
        trial.keep(bot.clone()).await;
    }
    let upper = |login: &Login| super::trial::text(&login.to_uppercase());
    let rows = vec![
        same.clone(),
        NewBot { labels: labels("v"), login: upper(&relabelled.login), ..relabelled.clone() },
        trial.new_bot().labels(labels("new")),
        NewBot { domain: Domain::REGULAR, ..moved.clone() },
        NewBot { password: trial.new_bot().password, ..repassworded.clone() },
        NewBot { env: Env::PREPROD, ..same.clone() },
    ];
    let before = listed(&trial).await;
    let wanted = ImportReport { created: 2, updated: 3, unchanged: 1 };
    let report = trial.farm().import(rows.clone(), true).await.expect("the rows have no fault");
    assert_eq!(report, wanted, "a dry run tells what an import would do");
    assert_eq!(listed(&trial).await, before, "a dry run does nothing");

    let report = trial.farm().import(rows.clone(), false).await.expect("the rows have no fault");
    assert_eq!(report, wanted, "an import tells what it did");
    let after = listed(&trial).await;
    assert_eq!(after.len(), 6, "known accounts are updated, unknown ones created");
    for (old, new) in before.iter().zip(&after) {
        assert_eq!((old.id, old.created_at), (new.id, new.created_at), "an updated bot stays the same bot");
    }
    for row in &rows {
        let is_row = |bot: &&Bot| bot.env == row.env && bot.login.folded() == row.login.folded();
        let bot = after.iter().find(is_row).expect("each row is a bot");
        assert_eq!(
            (&bot.domain, &bot.labels, &bot.project),
            (&row.domain, &row.labels, &row.project),
            "each row is kept"
        );
        let lease = trial.take(trial.named(bot)).await;
        assert_eq!(lease.bot().password, row.password, "each row's password is kept");
        trial.release(&lease).await;
    }
    let report = trial.farm().import(rows, false).await.expect("the rows have no fault");
    assert_eq!(report, ImportReport { unchanged: 6, ..ImportReport::default() }, "importing again changes nothing");
    assert_eq!(trial.farm().import(vec![], false).await.expect("no rows, no fault"), ImportReport::default());
}

pub async fn import_leaves_lease_and_condition_alone(trial: Trial) {
    let rows = [(); 2].map(|()| trial.new_bot());
    let [held, dirty] = rows.clone();
    let (held, dirty) = (trial.keep(held).await, trial.keep(dirty).await);
    let lease = trial.take(trial.named(&dirty)).await;
    trial.end(&lease, Ending::dirty()).await;
    let lease = trial.take(trial.named(&held)).await;
    let holding = trial.look(&held).await.holding;

    let rows = rows.map(|row| NewBot { labels: labels("new"), password: trial.new_bot().password, ..row });
    let report = trial.farm().import(rows.to_vec(), false).await.expect("labels and password may change at any time");
    assert_eq!(report, ImportReport { updated: 2, ..ImportReport::default() });
    let (held, dirty) = (trial.look(&held).await, trial.look(&dirty).await);
    assert_eq!((held.labels, held.holding), (labels("new"), holding), "an import ends no lease");
    assert_eq!((dirty.labels, dirty.condition), (labels("new"), Condition::Dirty), "an import cleans no bot");
    let seen = trial.lookup(&lease).await.expect("an import ends no lease");
    assert_eq!(seen.bot().password, rows[0].password, "the holder sees the new password");
}

pub async fn import_that_names_an_account_twice_is_refused_whole(trial: Trial) {
    let known = trial.new_bot();
    trial.keep(known.clone()).await;
    let before = listed(&trial).await;
    let twice = trial.new_bot();
    let again = NewBot { login: super::trial::text(&twice.login.to_lowercase()), ..trial.new_bot() };
    for dry_run in [true, false] {
        let twins =
            vec![NewBot { labels: labels("new"), ..known.clone() }, twice.clone(), trial.new_bot(), again.clone()];
        let faults = faults(trial.farm().import(twins, dry_run).await, "one import has one row for an account");
        assert_eq!(rows(&faults), [3], "the second row of a twin is at fault: {faults:?}");
        assert!(faults[0].detail.contains("row 2"), "it names the first, as people count: {faults:?}");
        assert_eq!(listed(&trial).await, before, "an import is done whole or not at all");
    }
    let elsewhere = NewBot { env: Env::PROD, ..again };
    let report = trial.farm().import(vec![twice, elsewhere], false).await.expect("another env, another account");
    assert_eq!(report, ImportReport { created: 2, ..ImportReport::default() });
}

pub async fn import_does_not_move_a_held_bot(trial: Trial) {
    let held = trial.new_bot();
    let bot = trial.keep(held.clone()).await;
    let lease = trial.take(trial.named(&bot)).await;
    let before = listed(&trial).await;
    let attempts = [
        NewBot { domain: Domain::REGULAR, ..held.clone() },
        NewBot { project: crate::ProjectId::new(), ..held.clone() },
    ];
    for moved in attempts {
        for dry_run in [true, false] {
            let rows = vec![trial.new_bot(), moved.clone(), trial.new_bot()];
            let faults = faults(
                trial.farm().import(rows, dry_run).await,
                "a row that would move a bot while somebody holds it is at fault",
            );
            assert_eq!(self::rows(&faults), [1], "the fault names its row: {faults:?}");
            assert_eq!(listed(&trial).await, before, "an import is done whole or not at all");
        }
    }
    trial.release(&lease).await;
    let moved = NewBot { domain: Domain::REGULAR, ..held };
    trial.farm().import(vec![moved], false).await.expect("a bot that nobody holds may move");
    assert_eq!(trial.look(&bot).await.domain, Domain::REGULAR);
    no_match(
        trial.acquire(trial.ask(trial.any().domain(Domain::CANARY))).await,
        "it is of its former domain no longer",
    );
}

pub async fn imported_bot_serves_a_waiter(trial: Trial) {
    let known = trial.new_bot();
    let bot = trial.keep(known.clone()).await;
    let lease = trial.take(trial.any()).await;
    let waiter = trial.park(trial.ask(trial.any())).await;
    let new = trial.new_bot();
    trial.farm().import(vec![known, new.clone()], false).await.expect("the rows have no fault");
    let served = waiter.lease("an import that adds a bot serves who waits for one").await;
    assert_eq!((&served.bot().bot.login, served.bot().bot.state()), (&new.login, BotState::Leased));
    trial.release(&lease).await;
    trial.release(&served).await;
    trial.prove_sound(&[bot, served.bot().bot.clone()]).await;
}

pub async fn import_that_changes_the_case_of_a_login_is_an_update(trial: Trial) {
    let known = trial.new_bot();
    let bot = trial.keep(known.clone()).await;
    let login: Login = super::trial::text(&known.login.to_uppercase());
    let rows = vec![NewBot { login: login.clone(), ..known }];
    let updated = ImportReport { updated: 1, ..ImportReport::default() };
    let unchanged = ImportReport { unchanged: 1, ..ImportReport::default() };
    for (dry_run, report, promise) in [
        (true, &updated, "a dry run counts another spelling as an update"),
        (false, &updated, "another spelling is an update"),
        (false, &unchanged, "the same spelling again is none"),
    ] {
        let told = trial.farm().import(rows.clone(), dry_run).await.expect("the rows have no fault");
        assert_eq!(told, *report, "{promise}");
    }
    assert_eq!(trial.look(&bot).await, Bot { login, ..bot }, "the account stays, and takes the spelling of the import");
}

pub async fn import_says_who_keeps_a_bot_from_moving(trial: Trial) {
    let held = trial.new_bot();
    let bot = trial.keep(held.clone()).await;
    let lease = trial.take(trial.named(&bot)).await;
    let moved = NewBot { domain: Domain::REGULAR, ..held };
    let faults = faults(trial.farm().import(vec![moved], false).await, "a bot that is held does not move");
    let detail = format!("must stay as it is while {} holds the bot", lease.terms.holder);
    assert_eq!(
        faults,
        [Fault::new(Location::row(0).field(Field::Domain), detail)],
        "every farm says it in the same words"
    );
}
