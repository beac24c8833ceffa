//! Who may use a service of this farm.

use async_trait::async_trait;
use botfarm_core::{
    Error as FarmError, Login, Result as FarmResult, Timestamp,
    operators::{
        NewToken, Operator, OperatorId, Operators, PasswordHash, Role, Scope, SessionId, Token, TokenDigest, TokenId,
    },
};
use uuid::Uuid;

use crate::connection::{once, repeat};
use crate::{
    error::Result,
    farm::{Farm, PostgresFarm},
    rows,
};

struct OperatorRow {
    id: Uuid,
    login: String,
    role: String,
    created_at: Timestamp,
    generation: i64,
}

impl OperatorRow {
    fn operator(self) -> Result<Operator> {
        Ok(Operator {
            id: OperatorId(self.id),
            login: rows::text(&self.login)?,
            role: rows::text(&self.role)?,
            created_at: self.created_at,
            generation: self.generation,
        })
    }
}

struct TokenRow {
    id: Uuid,
    name: String,
    role: String,
    project_id: Option<String>,
    env: Option<String>,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
}

impl TokenRow {
    fn token(self) -> Result<Token> {
        Ok(Token {
            id: TokenId(self.id),
            name: rows::text(&self.name)?,
            role: rows::text(&self.role)?,
            scope: Scope {
                project: self.project_id.as_deref().map(rows::text).transpose()?,
                env: self.env.as_deref().map(rows::text).transpose()?,
            },
            created_at: self.created_at,
            expires_at: self.expires_at,
            last_used_at: self.last_used_at,
        })
    }
}

impl Farm {
    async fn add_operator(&self, login: &Login, password: &PasswordHash, role: Role) -> Result<Operator> {
        let added = once!(self.database, |connection| {
            Ok(sqlx::query_as!(
                OperatorRow,
                "insert into operators (id, login, login_key, password_hash, role)
                values ($1, $2, $3, $4, $5)
                returning id, login, role, created_at, generation",
                Uuid::now_v7(),
                login.as_str(),
                login.folded(),
                password.expose(),
                role.as_str(),
            )
            .fetch_one(&mut *connection)
            .await?)
        });
        match added {
            Err(error) if error.constraint() == Some("operators_login") => {
                Err(FarmError::invalid("/login", "is taken by another operator").into())
            }
            added => added?.operator(),
        }
    }

    async fn operators(&self) -> Result<Vec<Operator>> {
        let rows = repeat!(self.database, |connection| {
            Ok(sqlx::query_as!(
                OperatorRow,
                r#"select id, login, role, created_at, generation
                from operators
                order by login_key collate "C""#
            )
            .fetch_all(&mut *connection)
            .await?)
        })?;
        rows.into_iter().map(OperatorRow::operator).collect()
    }

    async fn operator(&self, login: &Login) -> Result<Option<(Operator, PasswordHash)>> {
        let row = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                "select id, login, role, created_at, generation, password_hash
                from operators
                where login_key = $1",
                login.folded(),
            )
            .fetch_optional(&mut *connection)
            .await?)
        })?;
        let Some(row) = row else { return Ok(None) };
        let operator = OperatorRow {
            id: row.id,
            login: row.login,
            role: row.role,
            created_at: row.created_at,
            generation: row.generation,
        };
        Ok(Some((operator.operator()?, PasswordHash::from_phc(row.password_hash))))
    }

    async fn set_password(
        &self,
        id: OperatorId,
        from: Option<&PasswordHash>,
        to: &PasswordHash,
    ) -> Result<Option<Operator>> {
        let row = repeat!(self.database, |connection| {
            Ok(sqlx::query_as!(
                OperatorRow,
                "update operators
                set password_hash = $3,
                    generation = generation + 1
                where id = $1
                    and (
                        $2::text is null
                        or password_hash = $2
                        -- By this very call, whose first answer was lost: no two hashes are the same.
                        or password_hash = $3
                    )
                returning id, login, role, created_at, generation",
                id.0,
                from.map(PasswordHash::expose),
                to.expose(),
            )
            .fetch_optional(&mut *connection)
            .await?)
        })?;
        row.map(OperatorRow::operator).transpose()
    }

    async fn refresh_password(&self, id: OperatorId, from: &PasswordHash, to: &PasswordHash) -> Result<bool> {
        let updated = repeat!(self.database, |connection| {
            Ok(sqlx::query!(
                "update operators
                set password_hash = $3
                where id = $1
                    and password_hash in ($2, $3)",
                id.0,
                from.expose(),
                to.expose(),
            )
            .execute(&mut *connection)
            .await?
            .rows_affected())
        })?;
        Ok(updated == 1)
    }

    async fn end_sessions(&self, id: OperatorId) -> Result<Option<Operator>> {
        let row = repeat!(self.database, |connection| {
            Ok(sqlx::query_as!(
                OperatorRow,
                "update operators
                set generation = generation + 1
                where id = $1
                returning id, login, role, created_at, generation",
                id.0,
            )
            .fetch_optional(&mut *connection)
            .await?)
        })?;
        row.map(OperatorRow::operator).transpose()
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

    async fn add_token(&self, token: &NewToken) -> Result<Token> {
        let NewToken { name, role, scope, expires_at, digest } = token;
        let added = once!(self.database, |connection| {
            Ok(sqlx::query_as!(
                TokenRow,
                "insert into tokens (id, name, role, project_id, env, digest, expires_at)
                values ($1, $2, $3, $4, $5, $6, $7)
                returning id, name, role, project_id, env, created_at, expires_at, last_used_at",
                Uuid::now_v7(),
                name.as_str(),
                role.as_str(),
                scope.project.as_deref(),
                scope.env.as_deref(),
                digest.0.as_slice(),
                *expires_at,
            )
            .fetch_one(&mut *connection)
            .await?)
        });
        match added {
            Err(error) if error.constraint() == Some("tokens_name") => {
                Err(FarmError::invalid("/name", "is taken by another token").into())
            }
            added => added?.token(),
        }
    }

    async fn tokens(&self) -> Result<Vec<Token>> {
        let rows = repeat!(self.database, |connection| {
            Ok(sqlx::query_as!(
                TokenRow,
                r#"select id, name, role, project_id, env, created_at, expires_at, last_used_at
                from tokens
                order by name collate "C""#
            )
            .fetch_all(&mut *connection)
            .await?)
        })?;
        rows.into_iter().map(TokenRow::token).collect()
    }

    async fn token(&self, digest: TokenDigest) -> Result<Option<Token>> {
        let row = repeat!(self.database, |connection| {
            Ok(sqlx::query_as!(
                TokenRow,
                "with used as (
                    update tokens
                    set last_used_at = now()
                    where digest = $1
                        and (expires_at is null or expires_at > now())
                        -- Every call of every test comes by here: a row is written once a minute, not once a call.
                        and (last_used_at is null or last_used_at <= now() - interval '1 minute')
                    returning last_used_at
                )
                select
                    id,
                    name,
                    role,
                    project_id,
                    env,
                    created_at,
                    expires_at,
                    coalesce((select last_used_at from used), last_used_at) as last_used_at
                from tokens
                where digest = $1
                    and (expires_at is null or expires_at > now())",
                digest.0.as_slice(),
            )
            .fetch_optional(&mut *connection)
            .await?)
        })?;
        row.map(TokenRow::token).transpose()
    }

    async fn remove_token(&self, id: TokenId) -> Result<bool> {
        let removed = once!(self.database, |connection| {
            Ok(sqlx::query!("delete from tokens where id = $1", id.0).execute(&mut *connection).await?.rows_affected())
        })?;
        Ok(removed == 1)
    }

    async fn session(&self, session: SessionId, operator: OperatorId) -> Result<Option<Operator>> {
        let row = repeat!(self.database, |connection| {
            Ok(sqlx::query_as!(
                OperatorRow,
                "select id, login, role, created_at, generation
                from operators
                where id = $2
                    and not exists (select from ended_sessions where id = $1)",
                session.0,
                operator.0,
            )
            .fetch_optional(&mut *connection)
            .await?)
        })?;
        row.map(OperatorRow::operator).transpose()
    }

    async fn end_session(&self, session: SessionId, until: Timestamp) -> Result<()> {
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
