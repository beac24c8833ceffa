//! Lists, page by page.

use std::collections::HashSet;

use tokio::task::JoinSet;

use super::{
    answers::{faults, refused},
    trial::{Trial, text},
};
use crate::{
    Bot, BotFilter, BotState, Condition, Cursor, Domain, Ending, Env, Fence, Field, HandOutFilter, Labels, NewBot,
    Page, PageRequest, Result, Timestamp,
};

fn own(trial: &Trial) -> BotFilter {
    BotFilter { project: Some(trial.project()), ..BotFilter::default() }
}

async fn page(trial: &Trial, page: &PageRequest) -> Page<Bot> {
    trial.farm().list(&own(trial), page).await.expect("bots can be listed")
}

pub async fn pages_hold_every_bot_once_oldest_first(trial: Trial) {
    let bots = trial.bots::<7>().await;
    for limit in [1, 3, 7, 8, PageRequest::MAX] {
        let (mut seen, mut request) = (Vec::new(), PageRequest::first(limit));
        loop {
            let Page { items, next } = page(&trial, &request).await;
            let left = bots.len() - seen.len();
            assert_eq!(items.len(), left.min(limit), "a page is full, unless the list ends");
            assert_eq!(next.is_some(), left > limit, "a page has a cursor when there is more, and none when not");
            seen.extend(items);
            if next.is_none() {
                break;
            }
            // As a service hands it out, and gets it back.
            request = request.after(next.map(|cursor| Cursor::from_text(cursor.as_str())));
        }
        assert_eq!(seen, bots, "the pages of {limit} hold every bot once, oldest first");
    }
}

pub async fn pages_have_neither_gaps_nor_repeats_while_bots_come_and_go(trial: Trial) {
    let old = trial.bots::<30>().await;
    let (stayed, gone) = old.split_at(24);
    let mut inserting = JoinSet::new();
    for _ in 0..4 {
        let (farm, bots) = (trial.farm(), [(); 25].map(|()| trial.new_bot()));
        inserting.spawn(async move {
            for bot in bots {
                farm.create(bot).await.expect("a bot of a new login is created");
                tokio::task::yield_now().await;
            }
        });
    }
    let (mut seen, mut request) = (Vec::new(), PageRequest::first(5));
    for turn in 0.. {
        let Page { items, next } = page(&trial, &request).await;
        seen.extend(items);
        if next.is_none() {
            break;
        }
        request = request.after(next);
        if let Some(leaving) = gone.get(turn) {
            trial.bot().await;
            trial.farm().delete(leaving.id).await.expect("a free bot may be deleted");
        }
    }
    inserting.join_all().await;
    let distinct: HashSet<_> = seen.iter().map(|bot| bot.id).collect();
    assert_eq!(distinct.len(), seen.len(), "no bot is listed twice");
    let seen: Vec<_> = seen.iter().map(|bot| bot.id).filter(|id| stayed.iter().any(|bot| bot.id == *id)).collect();
    let wanted: Vec<_> = stayed.iter().map(|bot| bot.id).collect();
    assert_eq!(seen, wanted, "every bot that exists throughout is listed exactly once, in its order");
}

pub async fn list_after_a_deleted_bot_goes_on(trial: Trial) {
    let bots = trial.bots::<4>().await;
    let first = page(&trial, &PageRequest::first(2)).await;
    trial.farm().delete(bots[1].id).await.expect("a free bot may be deleted");
    let rest = page(&trial, &PageRequest::first(10).after(first.next)).await;
    assert_eq!(rest.items, bots[2..], "a list goes on where it was, though the bot that its cursor names is gone");
    assert_eq!(rest.next, None, "the last page has no cursor");
}

pub async fn list_gives_what_the_filter_names(trial: Trial) {
    let labels = |pairs: &[(&str, &str)]| {
        Labels::try_from(
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<std::collections::BTreeMap<_, _>>(),
        )
        .expect("valid")
    };
    let plain = trial.bot().await;
    let regular = trial.keep(trial.new_bot().domain(Domain::REGULAR).labels(labels(&[("a", "1"), ("b", "2")]))).await;
    let prod = trial.keep(NewBot { env: Env::PROD, ..trial.new_bot().labels(labels(&[("a", "1")])) }).await;
    let [dirty, held] = trial.bots().await;
    let lease = trial.take(trial.named(&dirty)).await;
    trial.end(&lease, Ending::dirty()).await;
    let _lease = trial.take(trial.named(&held)).await;

    let login = text(&regular.login.to_uppercase());
    let cases = [
        (own(&trial), vec![&plain, &regular, &prod, &dirty, &held]),
        (BotFilter { env: Some(Env::PROD), ..own(&trial) }, vec![&prod]),
        (BotFilter { domain: Some(Domain::REGULAR), ..own(&trial) }, vec![&regular]),
        (BotFilter { login: Some(login), ..own(&trial) }, vec![&regular]),
        (BotFilter { condition: Some(Condition::Dirty), ..own(&trial) }, vec![&dirty]),
        (BotFilter { condition: Some(Condition::Broken), ..own(&trial) }, vec![]),
        (BotFilter { state: Some(BotState::Free), ..own(&trial) }, vec![&plain, &regular, &prod, &dirty]),
        (BotFilter { state: Some(BotState::Leased), ..own(&trial) }, vec![&held]),
        (BotFilter { state: Some(BotState::Cooling), ..own(&trial) }, vec![]),
        (BotFilter { labels: labels(&[("a", "1")]), ..own(&trial) }, vec![&regular, &prod]),
        (BotFilter { labels: labels(&[("a", "1"), ("b", "2")]), ..own(&trial) }, vec![&regular]),
        (BotFilter { labels: labels(&[("a", "2")]), ..own(&trial) }, vec![]),
        (BotFilter { env: Some(Env::PROD), labels: labels(&[("a", "1")]), ..own(&trial) }, vec![&prod]),
    ];
    for (filter, wanted) in cases {
        for limit in [1, 50] {
            let (mut seen, mut request) = (Vec::new(), PageRequest::first(limit));
            loop {
                let Page { items, next } = trial.farm().list(&filter, &request).await.expect("bots can be listed");
                seen.extend(items.into_iter().map(|bot| bot.id));
                if next.is_none() {
                    break;
                }
                request = request.after(next);
            }
            let wanted: Vec<_> = wanted.iter().map(|bot| bot.id).collect();
            assert_eq!(seen, wanted, "a list holds the bots that match all of {filter:?}");
        }
    }
}

pub async fn list_shows_bots_as_a_look_does(trial: Trial) {
    let bots = trial.bots::<3>().await;
    let _held = trial.take(trial.named(&bots[0])).await;
    let expired = trial.acquire(trial.ask(trial.named(&bots[1])).ttl(super::policy().min_ttl)).await.expect("free");
    // Rested, too.
    trial.until_after(expired.expires_at + super::policy().cooling).await;
    let listed = page(&trial, &PageRequest::default()).await.items;
    for bot in &listed {
        assert_eq!(*bot, trial.look(bot).await, "a list shows a bot as a look at it does");
    }
    let states: Vec<_> = listed.iter().map(Bot::state).collect();
    assert_eq!(states, [BotState::Leased, BotState::Free, BotState::Free], "a lease is over at its end");
}

pub async fn bad_pages_are_refused(trial: Trial) {
    let bot = trial.bot().await;
    for _ in 0..2 {
        let lease = trial.take(trial.any()).await;
        trial.release(&lease).await;
    }
    let farm = trial.farm();
    let all = async |page: &PageRequest| -> [Result<()>; 5] {
        [
            farm.list(&own(&trial), page).await.map(drop),
            farm.leases(page).await.map(drop),
            farm.history(bot.id, page).await.map(drop),
            farm.hand_outs(&HandOutFilter::default(), page).await.map(drop),
            farm.queue(page).await.map(drop),
        ]
    };
    for limit in [0, PageRequest::MAX + 1] {
        for answer in all(&PageRequest::first(limit)).await {
            let faults = faults(answer, "a page has 1 to 1,000 items");
            assert_eq!(faults[0].at, Field::Limit.into(), "the fault says where it is: {faults:?}");
        }
    }
    for junk in ["junk", "💥", "YmFk", "../../etc/passwd", "' or 1=1 --"] {
        for answer in all(&PageRequest::first(5).after(Some(Cursor::from_text(junk)))).await {
            refused(answer, "malformed", "what is no cursor is refused as such");
        }
    }
    let too_early = Cursor::before_end(Timestamp::MIN_UTC, bot.id, Fence(1));
    let answer = farm.hand_outs(&HandOutFilter::default(), &PageRequest::first(5).after(Some(too_early))).await;
    refused(answer, "malformed", "nothing has ended before there were farms");
    let of_history = farm.history(bot.id, &PageRequest::first(1)).await.expect("it has a history").next;
    let foreign = farm.list(&own(&trial), &PageRequest::first(5).after(of_history)).await;
    refused(foreign, "malformed", "a cursor of another list is refused");
}
