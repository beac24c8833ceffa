//! How the farm is doing, and who has its bots.

use std::sync::Arc;

use super::{
    policy,
    trial::{Trial, text},
};
use crate::{ActiveLease, Bot, Domain, Ending, Env, NewBot, Page, PageRequest, PoolStats, Revocation};

async fn pools(trial: &Trial) -> Vec<PoolStats> {
    let all = trial.farm().stats().await.expect("a farm counts its bots").pools;
    let keys: Vec<_> = all.iter().map(|pool| (&pool.project, &pool.env, &pool.domain)).collect();
    assert!(keys.is_sorted_by(|one, next| one < next), "pools come by project, env and domain");
    for pool in &all {
        let PoolStats { total, free, leased, cooling, dirty, broken, .. } = *pool;
        assert_eq!(total, free + leased + cooling + dirty + broken, "each bot is counted once: {pool:?}");
    }
    all.into_iter().filter(|pool| pool.project == trial.project()).collect()
}

pub async fn stats_count_each_bot_once(trial: Trial) {
    assert_eq!(pools(&trial).await, [], "a project without bots has no pool");
    let [_free, held, dirty, broken, dirty_held] = trial.bots().await;
    let prod = trial.keep(NewBot { env: Env::PROD, ..trial.new_bot() }).await;
    trial.keep(trial.new_bot().domain(Domain::REGULAR)).await;
    for (bot, ending) in [(&dirty, Ending::dirty()), (&dirty_held, Ending::dirty()), (&broken, Ending::broken())] {
        let lease = trial.take(trial.named(bot)).await;
        trial.end(&lease, ending).await;
    }
    let leases = [
        trial.take(trial.named(&held)).await,
        trial.take(trial.named(&dirty_held).condition(crate::Condition::Dirty)).await,
    ];
    let pool = |env, domain, total, free| PoolStats {
        project: trial.project(),
        env,
        domain,
        total,
        free,
        leased: 0,
        cooling: 0,
        dirty: 0,
        broken: 0,
    };
    let prods = pool(Env::PROD, Domain::CANARY, 1, 1);
    let regulars = pool(Env::STAGE, Domain::REGULAR, 1, 1);
    let wanted = [
        prods.clone(),
        PoolStats { leased: 2, dirty: 1, broken: 1, ..pool(Env::STAGE, Domain::CANARY, 5, 1) },
        regulars.clone(),
    ];
    assert_eq!(pools(&trial).await, wanted, "each bot is counted once, for what it is just now");
    for lease in &leases {
        trial.release(lease).await;
    }
    trial.farm().delete(prod.id).await.expect("a free bot may be deleted");
    let wanted = [PoolStats { dirty: 1, broken: 1, ..pool(Env::STAGE, Domain::CANARY, 5, 3) }, regulars];
    assert_eq!(pools(&trial).await, wanted, "the counts are those of just now");
}

pub async fn expired_lease_is_counted_no_longer(trial: Trial) {
    trial.bot().await;
    let lease = trial.acquire(trial.ask(trial.any()).ttl(policy().min_ttl)).await.expect("it is free");
    trial.until_after(lease.expires_at).await;
    let pool = trial.pool().await;
    assert_eq!((pool.leased, pool.free + pool.cooling), (0, 1), "a lease is over at its end, asked for or not");
    assert_eq!(
        in_force(&trial, std::slice::from_ref(&lease.terms.holder)).await,
        [],
        "a lease that is over is listed no longer"
    );
    trial.until_after(lease.expires_at + policy().cooling).await;
    assert_eq!((trial.pool().await.free, trial.pool().await.cooling), (1, 0), "a bot rests for so long, and no longer");
}

/// The leases in force of these holders, page by page, and proof that all of them come in order.
async fn in_force(trial: &Trial, holders: &[crate::Holder]) -> Vec<ActiveLease> {
    let (mut seen, mut page, mut before) = (Vec::new(), PageRequest::first(5), None);
    loop {
        let Page { items, next } = trial.farm().leases(&page).await.expect("leases can be listed");
        for lease in items {
            let least = lease.bots.iter().map(|(_, bot)| bot.id).min();
            assert!(least > before, "leases come by the least id among their bots");
            before = least;
            if holders.contains(&lease.terms.holder) {
                seen.push(lease);
            }
        }
        if next.is_none() {
            return seen;
        }
        page = page.after(next);
    }
}

pub async fn leases_in_force_are_listed(trial: Trial) {
    let bots = trial.bots::<9>().await;
    let pair = |one: &Bot, other: &Bot| [trial.named(one).alias(text("boss")), trial.named(other)];
    let request = trial.ask_many(pair(&bots[8], &bots[0])).note(text("n")).url(text("https://ci.test/1"));
    let mut leases = vec![trial.acquire(request).await.expect("both are free")];
    for bot in &bots[1..8] {
        leases.push(trial.take(trial.named(bot)).await);
    }
    let released = leases.remove(3);
    trial.release(&released).await;
    let revoked = leases.remove(4);
    let revocation = Revocation::new(text("needed"), trial.holder());
    trial.farm().revoke(revoked.bot().bot.id, revocation).await.expect("a held bot can be taken away");
    leases[2] = trial.renew(&leases[2], None).await.expect("it is in force");

    let mut holders: Vec<_> = leases.iter().map(|lease| lease.terms.holder.clone()).collect();
    holders.extend([released.terms.holder.clone(), revoked.terms.holder.clone()]);
    let listed = in_force(&trial, &holders).await;
    let wanted: Vec<_> = leases
        .iter()
        .map(|lease| ActiveLease {
            terms: Arc::clone(&lease.terms),
            acquired_at: lease.acquired_at,
            expires_at: lease.expires_at,
            bots: lease.bots.iter().map(|leased| (leased.alias.clone(), leased.bot.clone())).collect(),
        })
        .collect();
    assert_eq!(listed, wanted, "every lease in force is listed once, as it is now, with its bots as they are now");
    for lease in &leases {
        trial.release(lease).await;
    }
    assert_eq!(in_force(&trial, &holders).await, [], "a lease that has ended is listed no longer");
    trial.take_in_time(trial.named(&revoked.bot().bot)).await;
}

pub async fn leases_have_neither_gaps_nor_repeats_while_others_come_and_go(trial: Trial) {
    let mut bots = trial.bots::<8>().await.to_vec();
    let mut leases = Vec::new();
    for bot in &bots {
        leases.push(trial.take(trial.named(bot)).await);
    }
    let holders: Vec<_> = leases.iter().map(|lease| lease.terms.holder.clone()).collect();
    let changing = [trial.bot().await, trial.bot().await];
    let churn = async {
        for turn in 0..20 {
            let lease = trial.take(trial.named(&changing[turn % 2])).await;
            tokio::task::yield_now().await;
            trial.release(&lease).await;
        }
    };
    let listings = async {
        for _ in 0..3 {
            let listed = in_force(&trial, &holders).await;
            let listed: Vec<_> = listed.into_iter().map(|lease| lease.terms.holder.clone()).collect();
            assert_eq!(listed, holders, "every lease that is in force throughout is listed exactly once");
        }
    };
    tokio::join!(churn, listings);
    for lease in &leases {
        trial.release(lease).await;
    }
    bots.extend(changing);
    trial.prove_sound(&bots).await;
}
