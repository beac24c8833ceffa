//! Many at once, and never two holders.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::task::JoinSet;

use super::{
    answers::lost,
    trial::Trial,
    waiter::{LONG, in_time},
};
use crate::{Bot, BotFarm, BotId, Ending, Lease, LeaseRequest, Selector};

/// Who has what just now, as the holders themselves see it.
#[derive(Debug, Default, Clone)]
struct Held(Arc<Mutex<HashSet<BotId>>>);

impl Held {
    /// Uses the bots for a moment: nobody else may at the same time.
    async fn alone(&self, lease: &Lease) {
        for leased in &lease.bots {
            let first = self.0.lock().expect("nobody panics with it").insert(leased.bot.id);
            assert!(first, "between acquire and release nobody else gets the bot");
        }
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let mut held = self.0.lock().expect("nobody panics with it");
        for leased in &lease.bots {
            held.remove(&leased.bot.id);
        }
    }
}

async fn use_once(farm: &Arc<dyn BotFarm>, held: &Held, request: LeaseRequest) {
    let lease = farm.acquire(request.wait(LONG)).await.expect("everybody who waits is served");
    held.alone(&lease).await;
    farm.release(lease.id, Ending::clean()).await.expect("a lease in force is released");
}

async fn all_done(contenders: JoinSet<()>) {
    in_time("everybody who waits is served", contenders.join_all()).await;
}

pub async fn one_bot_has_one_holder_among_many_contenders(trial: Trial) {
    let bot = trial.bot().await;
    let (held, mut contenders) = (Held::default(), JoinSet::new());
    for turn in 0..16 {
        let (farm, held) = (trial.farm(), held.clone());
        let selector = if turn % 4 == 0 { trial.named(&bot) } else { trial.any() };
        let requests = [(); 4].map(|()| trial.ask(selector.clone()));
        contenders.spawn(async move {
            for request in requests {
                use_once(&farm, &held, request).await;
            }
        });
    }
    all_done(contenders).await;
    assert_eq!(trial.history(bot.id).await.len(), 16 * 4, "each grant is one hand-out");
    trial.prove_sound(&[bot]).await;
}

pub async fn one_of_many_who_try_once_gets_the_bot(trial: Trial) {
    let bot = trial.bot().await;
    for _ in 0..5 {
        let mut contenders = JoinSet::new();
        for _ in 0..12 {
            let (farm, request) = (trial.farm(), trial.ask(trial.any()));
            contenders.spawn(async move { farm.acquire(request).await });
        }
        let answers = in_time("who tries once is answered at once", contenders.join_all()).await;
        let (granted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!(granted.len(), 1, "of many who ask for the one free bot, one gets it: {granted:?}");
        for refusal in refused {
            assert_eq!(refusal.map_err(|error| error.code()), Err("exhausted"), "the others are told that it is taken");
        }
        trial.release(granted[0].as_ref().expect("granted")).await;
    }
    trial.prove_sound(&[bot]).await;
}

pub async fn pool_is_shared_without_a_collision(trial: Trial) {
    let bots = trial.bots::<4>().await;
    let (held, mut contenders) = (Held::default(), JoinSet::new());
    for turn in 0..12 {
        let (farm, held) = (trial.farm(), held.clone());
        let selectors: Vec<Selector> = match turn % 4 {
            0 => vec![trial.named(&bots[turn % 3])],
            1 => vec![trial.any(), trial.named(&bots[3])],
            2 => vec![trial.any(); 3],
            _ => vec![trial.any()],
        };
        let requests = [(); 5].map(|()| trial.ask_many(selectors.clone()));
        contenders.spawn(async move {
            for request in requests {
                use_once(&farm, &held, request).await;
            }
        });
    }
    all_done(contenders).await;
    trial.prove_sound(&bots).await;
}

pub async fn crashes_and_hang_ups_lose_no_bot(trial: Trial) {
    let bots: [Bot; 3] = trial.bots().await;
    let (held, mut contenders) = (Held::default(), JoinSet::new());
    for turn in 0..9_u64 {
        let (farm, held) = (trial.farm(), held.clone());
        let wanted = 1 + usize::from(turn % 5 == 0);
        let requests = [(); 4].map(|()| trial.ask_many(vec![trial.any(); wanted]));
        contenders.spawn(async move {
            for (round, request) in (0..).zip(requests) {
                match (turn + round) % 3 {
                    // Hangs up, sometime, and asks again.
                    0 => {
                        let moment = Duration::from_millis(turn * 3 + round);
                        let call = farm.acquire(request.clone().wait(LONG));
                        let lease = match tokio::time::timeout(moment, call).await {
                            Ok(answer) => answer.expect("everybody who waits is served"),
                            Err(_) => match farm.acquire(request.wait(LONG)).await {
                                Ok(lease) => lease,
                                undone => {
                                    lost(undone, "a lease is had by its id, or was undone");
                                    continue;
                                }
                            },
                        };
                        held.alone(&lease).await;
                        farm.release(lease.id, Ending::clean()).await.expect("a lease in force is released");
                    }
                    // Crashes with the bots in its hands.
                    1 => {
                        let request = request.ttl(Duration::from_millis(150)).wait(LONG);
                        let _ = farm.acquire(request).await;
                    }
                    _ => use_once(&farm, &held, request).await,
                }
            }
        });
    }
    all_done(contenders).await;
    trial.prove_sound(&bots).await;
}
