//! Why a request got nothing.

use botfarm_core::{
    Busy, Error as FarmError, LeaseRequest, Oldest, Shortage,
    rules::{self, Place},
};

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
        match first {
            Some(bot) if rules::is_told_busy(request, shortage.matching) => Ok(FarmError::Busy(Box::new(bot))),
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
                        waiting as "waiting!",
                        botfarm_place(botfarm_selector($1), $3, $4) as place
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
            (Some(bot), Some(condition)) => {
                let mut busy = Busy::new(bot.into(), rows::text(condition)?);
                (busy.holder, busy.since) = (holder.clone(), row.since);
                busy.expires_at = row.until.or(row.bot_free_at.filter(|_| row.cooling > 0));
                Some(busy)
            }
            _ => None,
        };
        let ends_in = row.ends_in.as_ref().map(rows::duration).unwrap_or_default();
        let mut shortage = Shortage::new(selector);
        shortage.matching = number(row.matching);
        shortage.leased = number(row.leased);
        shortage.cooling = number(row.cooling);
        shortage.out_of_service = number(row.out_of_service);
        shortage.place = row.place.map(number);
        shortage.waiting = number(row.waiting);
        shortage.oldest = holder.zip(row.since).map(|(holder, since)| Oldest::new(holder, since));
        shortage.retry_after = rules::retry_after(ends_in);
        Ok(Standing { shortage, free: number(row.free), first })
    }
}
