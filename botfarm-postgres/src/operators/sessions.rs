//! Logins that were ended before their time.

use botfarm_core::{
    Timestamp,
    operators::{Operator, OperatorId, SessionId},
};

use super::OperatorRow;
use crate::connection::repeat;
use crate::{error::Result, farm::Farm};

impl Farm {
    pub(super) async fn session(&self, session: SessionId, operator: OperatorId) -> Result<Option<Operator>> {
        let row = repeat!(self.database, |connection| {
            Ok(sqlx::query_as!(
                OperatorRow,
                "select id, login, role, created_at, generation, password_hash, seal
                from operators
                where id = $2
                    and not exists (select from ended_sessions where id = $1)",
                session.0,
                operator.0,
            )
            .fetch_optional(&mut *connection)
            .await?)
        })?;
        let kept = row.map_or(Ok(None), |row| row.operator(&self.pepper))?;
        Ok(kept.map(|(operator, _)| operator))
    }

    pub(super) async fn end_session(&self, session: SessionId, until: Timestamp) -> Result<()> {
        repeat!(self.database, |connection| {
            sqlx::query!(
                "with swept as (
                    delete from ended_sessions
                    where id in (
                        select id
                        from ended_sessions
                        -- Whoever signs sessions has another clock.
                        where until < now() - interval '1 hour'
                            and id <> $1
                        limit 1000
                        for update skip locked
                    )
                )
                insert into ended_sessions (id, until)
                values ($1, $2)
                on conflict (id) do update set until = greatest(ended_sessions.until, excluded.until)",
                session.0,
                until,
            )
            .execute(&mut *connection)
            .await?;
            Ok(())
        })
    }
}
