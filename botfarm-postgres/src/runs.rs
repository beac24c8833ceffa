//! What a run has leased and waits for, and how it is ended.

use std::collections::{BTreeMap, HashSet};

use botfarm_core::{EndedRun, Note, Outcome, Owner, Run, RunEnding};
use sqlx::postgres::types::PgInterval;

use crate::connection::repeat;
use crate::{
    error::{Error, Result},
    farm::Farm,
    rows::interval,
};

/// So many lease ids are locked in one transaction: a server has room for some thousands of locks.
const AT_ONCE: usize = 128;

impl Farm {
    pub(crate) async fn end_run(&self, run: &Run, RunEnding { ending, by, owner, .. }: &RunEnding) -> Result<EndedRun> {
        let owner = owner.as_ref().map(Owner::as_str);
        // What is to be ended is fixed before the first try: what the run leases meanwhile is another matter.
        let ids = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!(
                r#"select s.lease_id as "id!"
                from bot_slots s
                where s.lease_id is not null
                    and s.terms->>'run' = $1
                    and s.phase <> 'offered'
                    and s.expires_at > clock_timestamp()
                    and ($2::text is null or s.terms->>'owner' = $2)
                union
                select w.lease_id
                from waiters w
                where w.terms->>'run' = $1
                    and w.ended_at is null
                    and ($2::text is null or w.terms->>'owner' = $2)"#,
                run.as_str(),
                owner,
            )
            .fetch_all(&mut *connection)
            .await?)
        })?;
        let (rests_elsewhere, rests) = self.rests(ending.outcome)?;
        let (mut ended, mut waiters) = (0, 0);
        for some in ids.chunks(AT_ONCE) {
            let row = repeat!(self.database, |connection| {
                Ok(sqlx::query!(
                    r#"select ended as "ended!", sent_away as "sent_away!", told as "told!", pools as "pools!"
                    from botfarm_end_run($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"#,
                    some,
                    run.as_str(),
                    owner,
                    rests_elsewhere.clone(),
                    rests.clone(),
                    ending.outcome.condition().as_str(),
                    ending.outcome.as_str(),
                    by.as_str(),
                    ending.note.as_ref().map(Note::as_str),
                    interval(self.policy.place_kept),
                )
                .fetch_one(&mut *connection)
                .await?)
            })?;
            (ended, waiters) = (ended + row.ended.len() as u64, waiters + row.sent_away.len() as u64);
            for lease in row.sent_away {
                self.tell(lease.into(), row.told.clone());
            }
            self.serve(row.pools.into_iter().collect::<HashSet<_>>());
        }
        Ok(EndedRun { leases: ended, waiters })
    }

    /// How long bots rest that are left like this: in most envs, and in those that have a rest of their own.
    fn rests(&self, outcome: Outcome) -> Result<(PgInterval, serde_json::Value)> {
        let rest = |env| format!("{} microseconds", self.policy.aftermath(Some(outcome), [env]).rest.as_micros());
        let rests: BTreeMap<_, _> = self.policy.envs.keys().map(|env| (env.as_str(), rest(env))).collect();
        let elsewhere = interval(self.policy.aftermath(Some(outcome), []).rest);
        Ok((elsewhere, serde_json::to_value(rests).map_err(Error::corrupt)?))
    }
}
