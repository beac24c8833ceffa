//! How a call gets its lease: at once, or by way of the queue.

use std::time::Duration;

use botfarm_core::{BotId, Condition, Error as FarmError, Lease, LeaseRequest};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};
use uuid::Uuid;

use crate::connection::repeat;
use crate::{
    calls::ALIVE,
    error::{Error, Result},
    farm::Farm,
    rows::{self, interval},
    selector::Asked,
    unreadable::Unreadable,
};

/// For how long a request that is not to wait tries again while others have what it could get locked: an import that
/// changes free bots, for one.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// How much longer than it waits a request may stand in the queue: it leaves by itself, as a rule.
const SLACK: Duration = Duration::from_secs(3);

/// How often a request that waits asks again without having been woken.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Whoever waits for less does not rely on a pass that others are about to make.
const MOMENT: Duration = Duration::from_secs(1);

/// Before a request that waits asks again while the database is away.
const AWAY: Duration = Duration::from_millis(500);

/// So many bots of which the password cannot be read does one request meet.
const PASSED_OVER: usize = 100;

/// The bots that a request was not given since their passwords cannot be read.
#[derive(Default)]
struct Aside {
    bots: Vec<BotId>,
    /// Why, of one that others may be given.
    error: Option<Box<Unreadable>>,
}

/// What the farm says to a request.
enum Verdict {
    Granted(Box<Lease>),
    Waiting,
    Refused,
    /// Refused, but somebody else had a free bot locked.
    Passed,
    Lacking,
    Lost,
    Reused,
}

/// How far a request goes for its lease.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// It waits.
    Park,
    /// It waits for no more than one pass over the queue.
    Try,
    /// It waits no longer.
    Stop,
}

impl Farm {
    /// See [`BotFarm::acquire`](botfarm_core::BotFarm::acquire). To be run to its end in a task; while it waits, it
    /// notices when nobody waits for the `answer` any more.
    pub(crate) async fn acquire<A>(
        &self,
        request: &LeaseRequest,
        call: Uuid,
        answer: &mut oneshot::Sender<A>,
    ) -> Result<Lease> {
        let ttl = self.policy.check(request)?;
        let mut asked = Asked::of(request, &self.policy)?;
        let mut aside = Aside::default();
        let deadline = Instant::now() + request.wait;
        let mut patience = Patience::new();
        let call = self.calls.call(request.id, call);
        let mut how = if request.wait.is_zero() { How::Try } else { How::Park };
        let mut stands = false;
        loop {
            if answer.is_closed() {
                self.leave(request.id, call.id).await?;
                return Err(Error::Unanswered);
            }
            let (verdict, pools) = match self.ask(request, &asked, ttl, call.id, how, deadline).await {
                // Its place is kept: whoever waits anyway waits until the database is back.
                Err(error) if stands && how == How::Park && (error.lost_connection() || error.was_cut_short()) => {
                    sleep(AWAY).await;
                    if Instant::now() >= deadline {
                        how = How::Stop;
                    }
                    continue;
                }
                Err(Error::Sealed(unreadable)) => {
                    let bot = self.pass_over(request, call.id, unreadable, &mut aside).await?;
                    asked.avoid.extend(bot.map(|bot| bot.as_uuid()));
                    continue;
                }
                asked => asked?,
            };
            // Who waits for a moment has a pass of its own, as who does not wait: that of others may come too late.
            let hurries = how == How::Try || !stands && request.wait < MOMENT;
            if hurries && matches!(verdict, Verdict::Waiting) {
                for pool in pools {
                    if how == How::Try {
                        self.pass(pool).await?;
                    } else {
                        self.pass_if_possible(pool).await;
                    }
                }
                if how == How::Try {
                    how = How::Stop;
                    continue;
                }
            } else {
                self.serve(pools);
            }
            match verdict {
                Verdict::Granted(lease) => return Ok(*lease),
                Verdict::Waiting => {}
                Verdict::Passed if patience.pause().await => continue,
                Verdict::Refused | Verdict::Passed | Verdict::Lacking if aside.error.is_some() => {
                    return Err(aside.error.map_or(Error::Unanswered, Error::Sealed));
                }
                Verdict::Refused | Verdict::Passed => return Err(self.shortage(request, &asked).await?.into()),
                Verdict::Lacking => return Err(self.lacking(request, &asked).await?.into()),
                Verdict::Reused => return Err(FarmError::KeyReused.into()),
                Verdict::Lost => return Err(self.ended(request.id).await?.into()),
            }
            stands = true;
            // What was freed at this very moment may have missed it.
            self.calls.look_soon();
            tokio::select! {
                () = call.woken() => {}
                () = sleep_until(deadline) => how = How::Stop,
                // Whatever else may have been missed.
                () = sleep(ASK_AGAIN) => {}
                () = answer.closed() => {}
            }
        }
    }

    /// A lease was granted of which a password cannot be read, and nobody was told of it: another bot may do. Gives the
    /// one that is to be avoided, unless it has been set aside for all.
    async fn pass_over(
        &self,
        request: &LeaseRequest,
        call: Uuid,
        unreadable: Box<Unreadable>,
        aside: &mut Aside,
    ) -> Result<Option<BotId>> {
        let (bot, known) = (unreadable.bot, aside.bots.contains(&unreadable.bot));
        if aside.bots.len() == PASSED_OVER {
            self.leave(request.id, call).await?;
            return Err(Error::Sealed(unreadable));
        }
        aside.bots.push(bot);
        let is_aside = self.set_aside(&unreadable).await?;
        if known && is_aside {
            // Somebody has been told of this lease before.
            self.take_unreadable(request.id, &unreadable).await?;
            return Ok(None);
        }
        if known && !unreadable.source.is_tampering() {
            return Err(Error::Sealed(unreadable));
        }
        self.leave(request.id, call).await?;
        let wants_broken = request.selectors.iter().any(|selector| selector.condition == Condition::Broken);
        if unreadable.source.is_tampering() && !wants_broken {
            return Ok(None);
        }
        aside.error = Some(unreadable);
        Ok(Some(bot))
    }

    async fn ask(
        &self,
        request: &LeaseRequest,
        asked: &Asked,
        ttl: Duration,
        call: Uuid,
        how: How,
        deadline: Instant,
    ) -> Result<(Verdict, Vec<i32>)> {
        let hint = self.hints.of(request);
        let how = match how {
            How::Park => "park",
            How::Try => "try",
            How::Stop => "stop",
        };
        let row = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"select verdict as "verdict!", given, was_free_since, pools
                from botfarm_acquire(
                    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17
                )"#,
                request.id.as_uuid(),
                call,
                self.process,
                how,
                asked.selectors,
                &asked.avoid,
                request.sticky.as_deref(),
                asked.terms,
                request.fingerprint.as_ref().map(|fingerprint| fingerprint.0.as_slice()),
                interval(ttl),
                interval(self.policy.cooling_of(request)),
                interval(deadline.saturating_duration_since(Instant::now()) + SLACK),
                interval(self.policy.place_kept),
                interval(ALIVE),
                interval(self.takeover_grace),
                hint,
                &self.dirty_envs(),
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        let verdict = match &*row.verdict {
            "granted" => {
                self.hints.learn(request, row.was_free_since);
                let given = row.given.ok_or_else(|| Error::corrupt("a granted lease is not there"))?;
                Verdict::Granted(Box::new(rows::lease(request.id, given, &self.seals)?))
            }
            "waiting" => Verdict::Waiting,
            "refused" => Verdict::Refused,
            "passed" => Verdict::Passed,
            "lacking" => Verdict::Lacking,
            "lost" => Verdict::Lost,
            "reused" => Verdict::Reused,
            other => return Err(Error::corrupt(format!("no verdict is called {other}"))),
        };
        Ok((verdict, row.pools.unwrap_or_default()))
    }
}

/// Pauses that grow, for as long as it is worth trying.
struct Patience {
    since: Instant,
    pause: Duration,
}

impl Patience {
    fn new() -> Self {
        Self { since: Instant::now(), pause: Duration::from_millis(2) }
    }

    /// False when it is time to give up.
    async fn pause(&mut self) -> bool {
        if self.since.elapsed() > PATIENCE {
            return false;
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(Duration::from_millis(100));
        true
    }
}
