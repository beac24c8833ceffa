//! Why a request got nothing.

use std::time::Duration;

use botfarm_core::{Busy, Error as FarmError, LeaseRequest, Oldest, Place, Shortage};

use crate::connection::repeat;
use crate::{
    error::{Error, Result},
    farm::Farm,
    rows::{self, interval},
    selector::Asked,
};

/// How the bots stand that one selector fits.
struct Standing {
    shortage: Shortage,
    /// How many of them could be had.
    free: u64,
    /// The first of them.
    first: Option<Busy>,
}

impl Farm {
    /// What a request is told for which nothing was free.
    pub(crate) async fn shortage(&self, request: &LeaseRequest, asked: &Asked) -> Result<FarmError> {
        let mut worst: Option<Standing> = None;
        for selector in 0..request.selectors.len() {
            let standing = self.standing(request, asked, selector).await?;
            if worst.as_ref().is_none_or(|worst| worst.free > 0 && standing.free == 0) {
                worst = Some(standing);
            }
        }
        let Some(Standing { shortage, first, .. }) = worst else { return Err(Error::corrupt("no selector")) };
        if shortage.matching == 0 {
            // They have been deleted or changed since the request was refused.
            return self.lacking(request, asked).await;
        }
        match (request.selectors.as_slice(), first) {
            ([selector], Some(bot)) if selector.names_a_bot() && shortage.matching == 1 => {
                Ok(FarmError::Busy(Box::new(bot)))
            }
            _ => Ok(FarmError::Exhausted(Box::new(shortage))),
        }
    }

    /// What a request is told that no bots could ever satisfy.
    pub(crate) async fn lacking(&self, request: &LeaseRequest, asked: &Asked) -> Result<FarmError> {
        let row = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"with asked as (
                        select array(select botfarm_selector(w) from jsonb_array_elements($1) w) as selectors
                    ),
                    lacking as (select botfarm_lacking(a.selectors, $2) as selector, a.selectors from asked a)
                    select
                        l.selector,
                        (
                            select count(*)
                            from botfarm_existing(l.selectors[l.selector + 1], $2, cardinality(l.selectors))
                        ) as "there_are!"
                    from lacking l"#,
                asked.selectors,
                &asked.avoid,
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        let selector = row.selector.and_then(|selector| usize::try_from(selector).ok()).unwrap_or_default();
        if selector >= request.selectors.len() {
            return Err(Error::corrupt("no selector"));
        }
        let fitting = usize::try_from(row.there_are).unwrap_or_default();
        let places = if fitting == 0 { self.places().await? } else { Vec::new() };
        Ok(self.policy.no_match(request, selector, fitting, &places))
    }

    /// Where there are bots, as far as it is worth telling.
    async fn places(&self) -> Result<Vec<Place>> {
        let rows = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                "select p.project, p.env, p.domain
                from pools p
                where exists (select from bots b where b.pool_id = p.id)
                order by p.id
                limit 10000"
            )
            .fetch_all(&mut *connection)
            .await?)
        })?;
        let place = |project: &str, env: &str, domain: &str| {
            Ok(Place { project: rows::text(project)?, env: rows::text(env)?, domain: rows::text(domain)? })
        };
        rows.iter().map(|row| place(&row.project, &row.env, &row.domain)).collect()
    }

    async fn standing(&self, request: &LeaseRequest, asked: &Asked, selector: usize) -> Result<Standing> {
        let row = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"select
                        matching as "matching!",
                        leased as "leased!",
                        cooling as "cooling!",
                        out_of_service as "out_of_service!",
                        free as "free!",
                        ends_in,
                        holder,
                        since,
                        until,
                        bot_id,
                        bot_free_at,
                        bot_condition,
                        waiting as "waiting!"
                    from botfarm_standing($1, $2, $3, $4)"#,
                asked.selectors[selector],
                &asked.avoid,
                request.id.as_uuid(),
                interval(self.takeover_grace),
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        let number = |count: i64| u64::try_from(count).unwrap_or(0);
        let holder = row.holder.as_deref().map(rows::text::<botfarm_core::Holder>).transpose()?;
        let first = match (row.bot_id, &row.bot_condition) {
            (Some(bot), Some(condition)) => Some(Busy {
                bot: bot.into(),
                holder: holder.clone(),
                since: row.since,
                expires_at: row.until.or(row.bot_free_at.filter(|_| row.cooling > 0)),
                condition: rows::text(condition)?,
            }),
            _ => None,
        };
        let oldest = holder.zip(row.since).map(|(holder, since)| Oldest { holder, since });
        // Leases are given back long before they end, as a rule.
        let ends_in = row.ends_in.as_ref().map(rows::duration).unwrap_or_default();
        let shortage = Shortage {
            selector,
            matching: number(row.matching),
            leased: number(row.leased),
            cooling: number(row.cooling),
            out_of_service: number(row.out_of_service),
            waiting: number(row.waiting),
            oldest,
            retry_after: ends_in.clamp(Duration::from_secs(1), Duration::from_secs(5)),
        };
        Ok(Standing { shortage, free: number(row.free), first })
    }
}
