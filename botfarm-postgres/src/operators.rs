//! Who may use a service of this farm.

mod sessions;
mod tokens;

use async_trait::async_trait;
use botfarm_core::{
    Error as FarmError, Field, Login, Pepper, Result as FarmResult, Timestamp,
    operators::{
        NewToken, Operator, OperatorId, Operators, PasswordHash, Role, SessionId, Token, TokenDigest, TokenId,
    },
};
use uuid::Uuid;

use crate::connection::{once, repeat};
use crate::{error::Result, farm::Farm, postgres_farm::PostgresFarm, rows};

struct OperatorRow {
    id: Uuid,
    login: String,
    role: String,
    created_at: Timestamp,
    generation: i64,
    password_hash: String,
    seal: Vec<u8>,
}

impl OperatorRow {
    /// `None` when something else than the farm has written it: it is nobody then, until it is removed.
    fn operator(self, pepper: &Pepper) -> Result<Option<(Operator, PasswordHash)>> {
        let operator = Operator {
            id: OperatorId(self.id),
            login: rows::text(&self.login)?,
            role: rows::text(&self.role)?,
            created_at: self.created_at,
            generation: self.generation,
        };
        let password = PasswordHash::from_phc(self.password_hash);
        if self.seal == pepper.operator_row(&operator, &password) {
            return Ok(Some((operator, password)));
        }
        let Operator { id, login, .. } = operator;
        tracing::error!(%id, %login, "this operator was written by something else than the farm, and is nobody; remove it");
        Ok(None)
    }
}

impl Farm {
    async fn add_operator(&self, login: &Login, password: &PasswordHash, role: Role) -> Result<Operator> {
        let id = OperatorId(Uuid::now_v7());
        let mut new = Operator { id, login: login.clone(), role, created_at: Timestamp::UNIX_EPOCH, generation: 0 };
        let seal = self.pepper.operator_row(&new, password);
        let added = once!(self.database, |connection| {
            Ok(sqlx::query_scalar!(
                "insert into operators (id, login, login_key, password_hash, role, seal)
                values ($1, $2, $3, $4, $5, $6)
                returning created_at",
                id.0,
                login.as_str(),
                login.folded(),
                password.expose(),
                role.as_str(),
                seal.as_slice(),
            )
            .fetch_one(&mut *connection)
            .await?)
        });
        match added {
            Err(error) if error.constraint() == Some("operators_login") => {
                Err(FarmError::invalid(Field::Login, "is taken by another operator").into())
            }
            added => {
                new.created_at = added?;
                Ok(new)
            }
        }
    }

    async fn operators(&self) -> Result<Vec<Operator>> {
        let rows = repeat!(self.database, |connection| {
            Ok(sqlx::query_as!(
                OperatorRow,
                r#"select id, login, role, created_at, generation, password_hash, seal
                from operators
                order by login_key collate "C""#
            )
            .fetch_all(&mut *connection)
            .await?)
        })?;
        let operators = rows.into_iter().filter_map(|row| row.operator(&self.pepper).transpose());
        operators.map(|kept| kept.map(|(operator, _)| operator)).collect()
    }

    async fn operator(&self, login: &Login) -> Result<Option<(Operator, PasswordHash)>> {
        let row = repeat!(self.database, |connection| {
            Ok(sqlx::query_as!(
                OperatorRow,
                "select id, login, role, created_at, generation, password_hash, seal
                from operators
                where login_key = $1",
                login.folded(),
            )
            .fetch_optional(&mut *connection)
            .await?)
        })?;
        row.map_or(Ok(None), |row| row.operator(&self.pepper))
    }

    async fn operator_by_id(&self, id: OperatorId) -> Result<Option<(Operator, PasswordHash)>> {
        let row = repeat!(self.database, |connection| {
            Ok(sqlx::query_as!(
                OperatorRow,
                "select id, login, role, created_at, generation, password_hash, seal
                from operators
                where id = $1",
                id.0,
            )
            .fetch_optional(&mut *connection)
            .await?)
        })?;
        row.map_or(Ok(None), |row| row.operator(&self.pepper))
    }

    async fn set_password(
        &self,
        id: OperatorId,
        from: Option<&PasswordHash>,
        to: &PasswordHash,
    ) -> Result<Option<Operator>> {
        loop {
            let Some((operator, kept)) = self.operator_by_id(id).await? else { return Ok(None) };
            if from.is_some_and(|from| *from != kept && *to != kept) {
                return Ok(None);
            }
            if let Some(changed) = self.change_operator(&operator, &kept, operator.generation + 1, to).await? {
                return Ok(Some(changed));
            }
            // Somebody else was quicker.
        }
    }

    async fn refresh_password(&self, id: OperatorId, from: &PasswordHash, to: &PasswordHash) -> Result<bool> {
        let Some((operator, kept)) = self.operator_by_id(id).await? else { return Ok(false) };
        Ok(kept == *from && self.change_operator(&operator, &kept, operator.generation, to).await?.is_some())
    }

    async fn end_sessions(&self, id: OperatorId) -> Result<Option<Operator>> {
        loop {
            let Some((operator, kept)) = self.operator_by_id(id).await? else { return Ok(None) };
            if let Some(changed) = self.change_operator(&operator, &kept, operator.generation + 1, &kept).await? {
                return Ok(Some(changed));
            }
        }
    }

    /// Gives an operator another generation and password hash; `None` when it is no longer as it was.
    async fn change_operator(
        &self,
        was: &Operator,
        kept: &PasswordHash,
        generation: i64,
        to: &PasswordHash,
    ) -> Result<Option<Operator>> {
        let changed = Operator { generation, ..was.clone() };
        let seal = self.pepper.operator_row(&changed, to);
        let updated = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                "update operators
                set password_hash = $4,
                    generation = $5,
                    seal = $6
                where id = $1
                    and (
                        password_hash = $2 and generation = $3
                        -- By this very call, whose first answer was lost: no two hashes are the same.
                        or password_hash = $4 and generation = $5 and $2 <> $4
                    )",
                was.id.0,
                kept.expose(),
                was.generation,
                to.expose(),
                generation,
                seal.as_slice(),
            )
            .execute(&mut *connection)
            .await?
            .rows_affected())
        })?;
        Ok((updated == 1).then_some(changed))
    }

    async fn remove_operator(&self, id: OperatorId) -> Result<bool> {
        let done = once!(self.database, |connection| {
            Ok(sqlx::query!(
                r#"with admins as materialized (
                    -- Locked, all of them in one order: of two who remove each other, the second sees the first's work.
                    select id
                    from operators
                    where role = 'admin'
                    order by id
                    for update
                ),
                last_admin as materialized (
                    select id
                    from admins
                    where id = $1
                        and (select count(*) from admins) = 1
                ),
                removed as (
                    delete from operators
                    where id = $1
                        and not exists (select from last_admin)
                    returning id
                )
                select
                    exists (select from removed) as "removed!",
                    exists (select from last_admin) as "last_admin!""#,
                id.0,
            )
            .fetch_one(&mut *connection)
            .await?)
        })?;
        if done.last_admin {
            let detail = "the last admin stays; add another admin first".to_owned();
            return Err(FarmError::Forbidden { detail }.into());
        }
        Ok(done.removed)
    }
}

#[async_trait]
impl Operators for PostgresFarm {
    async fn add_operator(&self, login: Login, password: PasswordHash, role: Role) -> FarmResult<Operator> {
        self.run(async move |farm| farm.add_operator(&login, &password, role).await).await
    }

    async fn operators(&self) -> FarmResult<Vec<Operator>> {
        self.run(async |farm| farm.operators().await).await
    }

    async fn operator(&self, login: &Login) -> FarmResult<Option<(Operator, PasswordHash)>> {
        let login = login.clone();
        self.run(async move |farm| farm.operator(&login).await).await
    }

    async fn set_password(
        &self,
        id: OperatorId,
        from: Option<PasswordHash>,
        to: PasswordHash,
    ) -> FarmResult<Option<Operator>> {
        self.run(async move |farm| farm.set_password(id, from.as_ref(), &to).await).await
    }

    async fn refresh_password(&self, id: OperatorId, from: PasswordHash, to: PasswordHash) -> FarmResult<bool> {
        self.run(async move |farm| farm.refresh_password(id, &from, &to).await).await
    }

    async fn end_sessions(&self, id: OperatorId) -> FarmResult<Option<Operator>> {
        self.run(async move |farm| farm.end_sessions(id).await).await
    }

    async fn remove_operator(&self, id: OperatorId) -> FarmResult<bool> {
        self.run(async move |farm| farm.remove_operator(id).await).await
    }

    async fn add_token(&self, token: NewToken) -> FarmResult<Token> {
        self.run(async move |farm| farm.add_token(&token).await).await
    }

    async fn tokens(&self) -> FarmResult<Vec<Token>> {
        self.run(async |farm| farm.tokens().await).await
    }

    async fn token(&self, digest: TokenDigest) -> FarmResult<Option<Token>> {
        self.run(async move |farm| farm.token(digest).await).await
    }

    async fn remove_token(&self, id: TokenId) -> FarmResult<bool> {
        self.run(async move |farm| farm.remove_token(id).await).await
    }

    async fn session(&self, session: SessionId, operator: OperatorId) -> FarmResult<Option<Operator>> {
        self.run(async move |farm| farm.session(session, operator).await).await
    }

    async fn end_session(&self, session: SessionId, until: Timestamp) -> FarmResult<()> {
        self.run(async move |farm| farm.end_session(session, until).await).await
    }
}
