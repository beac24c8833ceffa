//! Counting.

use botfarm_core::{PoolStats, Stats};

use crate::connection::repeat;
use crate::{error::Result, farm::Farm, rows};

impl Farm {
    pub(crate) async fn stats(&self) -> Result<Stats> {
        let rows = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"with counts as (
                        select
                            pool_id,
                            count(*) as total,
                            count(*) filter (where state = 'leased') as leased,
                            count(*) filter (where state = 'cooling') as cooling,
                            count(*) filter (where state = 'free' and condition = 'ready') as free,
                            count(*) filter (where state = 'free' and condition = 'dirty') as dirty,
                            count(*) filter (where state = 'free' and condition = 'broken') as broken
                        from (select s.pool_id, s.condition, botfarm_state(s) as state from bot_slots s) s
                        group by pool_id
                    )
                    select
                        p.project,
                        p.env,
                        p.domain,
                        c.total as "total!",
                        c.leased as "leased!",
                        c.cooling as "cooling!",
                        c.free as "free!",
                        c.dirty as "dirty!",
                        c.broken as "broken!"
                    from counts c
                    join pools p on p.id = c.pool_id"#
            )
            .fetch_all(&mut *connection)
            .await?)
        })?;
        let waiting = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!(
                r#"select count(*) as "waiting!"
                from waiters w
                where w.parked
                    and exists (select from wants k where k.lease_id = w.lease_id)
                    and botfarm_waits(w.lease_id, now(), now())"#
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        let number = |count: i64| u64::try_from(count).unwrap_or(0);
        let mut pools = Vec::with_capacity(rows.len());
        for row in rows {
            let mut pool = PoolStats::new(rows::text(&row.project)?, rows::text(&row.env)?, rows::text(&row.domain)?);
            pool.total = number(row.total);
            pool.free = number(row.free);
            pool.leased = number(row.leased);
            pool.cooling = number(row.cooling);
            pool.dirty = number(row.dirty);
            pool.broken = number(row.broken);
            pools.push(pool);
        }
        let names = |pool: &PoolStats| (pool.project.clone(), pool.env.clone(), pool.domain.clone());
        pools.sort_by_cached_key(names);
        Ok(Stats::new(pools, number(waiting)))
    }
}
