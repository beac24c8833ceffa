//! What became of changes that came with an idempotency key.

use async_trait::async_trait;
use botfarm_core::{
    Result as FarmResult,
    idempotency::{ChangeEnd, Idempotency, KEPT, KeyedChange, Known, LONGEST, OWN},
};

use crate::connection::repeat;
use crate::{
    error::{Error, Result},
    farm::Farm,
    postgres_farm::PostgresFarm,
    rows::interval,
};

impl Farm {
    async fn begin(&self, change: &KeyedChange) -> Result<Known> {
        let row = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"select known as "known!", answer from botfarm_begin($1, $2, $3, $4, $5, $6, $7)"#,
                change.caller.as_slice(),
                change.key.as_slice(),
                change.request.as_slice(),
                change.attempt,
                interval(LONGEST),
                interval(KEPT),
                i32::try_from(OWN).unwrap_or(i32::MAX),
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        match (row.known.as_str(), row.answer) {
            ("new", _) => Ok(Known::New),
            ("under way", _) => Ok(Known::UnderWay),
            ("answered", Some(answer)) => Ok(Known::Answered(answer)),
            ("unknown", _) => Ok(Known::Unknown),
            ("reused", _) => Ok(Known::Reused),
            _ => Err(Error::corrupt("what is known of a change is none of its states")),
        }
    }

    async fn end_change(&self, change: &KeyedChange, how: ChangeEnd) -> Result<()> {
        let refused = how == ChangeEnd::Refused;
        let answer = if let ChangeEnd::Answered(answer) = how { Some(answer) } else { None };
        repeat!(self.database, |connection| {
            sqlx::query!(
                "with refused as (
                    delete from changes
                    where caller = $1
                        and key = $2
                        and attempt = $3
                        and $5
                )
                update changes
                set answer = $4::bytea,
                    unknown = $4 is null
                where caller = $1
                    and key = $2
                    and attempt = $3
                    and not $5",
                change.caller.as_slice(),
                change.key.as_slice(),
                change.attempt,
                answer.as_deref(),
                refused,
            )
            .execute(&mut *connection)
            .await?;
            Ok(())
        })
    }
}

#[async_trait]
impl Idempotency for PostgresFarm {
    async fn begin(&self, change: &KeyedChange) -> FarmResult<Known> {
        let change = *change;
        self.run(async move |farm| farm.begin(&change).await).await
    }

    async fn end(&self, change: &KeyedChange, how: ChangeEnd) -> FarmResult<()> {
        let change = *change;
        self.run(async move |farm| farm.end_change(&change, how).await).await
    }
}
