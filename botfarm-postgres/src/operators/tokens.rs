//! The credentials of programs.

use botfarm_core::{
    Error as FarmError, Field, Pepper, Timestamp,
    operators::{NewToken, Scope, Token, TokenDigest, TokenId},
};
use chrono::SubsecRound as _;
use uuid::Uuid;

use crate::connection::{once, repeat};
use crate::{
    error::{Error, Result},
    farm::Farm,
    rows,
};

struct TokenRow {
    id: Uuid,
    name: String,
    role: String,
    project_id: Option<String>,
    env: Option<String>,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
    digest: Vec<u8>,
    seal: Vec<u8>,
}

impl TokenRow {
    /// `None` when something else than the farm has written it: it is none then, until it is removed.
    fn token(self, pepper: &Pepper) -> Result<Option<Token>> {
        let token = Token {
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
        };
        let digest = <[u8; 32]>::try_from(self.digest).map_err(|_| Error::corrupt("a digest has 32 bytes"))?;
        if self.seal == pepper.token_row(&token, TokenDigest(digest)) {
            return Ok(Some(token));
        }
        let Token { id, name, .. } = token;
        tracing::error!(%id, %name, "this API token was written by something else than the farm, and is none; revoke it");
        Ok(None)
    }
}

impl Farm {
    pub(super) async fn add_token(&self, token: &NewToken) -> Result<Token> {
        let NewToken { name, role, scope, expires_at, digest } = token.clone();
        let digest = self.pepper.token(digest);
        let id = TokenId(Uuid::now_v7());
        // As the database keeps it.
        let expires_at = expires_at.map(|at| at.trunc_subsecs(6));
        let created_at = Timestamp::UNIX_EPOCH;
        let mut new = Token { id, name, role, scope, created_at, expires_at, last_used_at: None };
        let seal = self.pepper.token_row(&new, digest);
        let added = once!(self.database, |connection| {
            Ok(sqlx::query_scalar!(
                "insert into tokens (id, name, role, project_id, env, digest, expires_at, seal)
                values ($1, $2, $3, $4, $5, $6, $7, $8)
                returning created_at",
                id.0,
                new.name.as_str(),
                role.as_str(),
                new.scope.project.as_deref(),
                new.scope.env.as_deref(),
                digest.0.as_slice(),
                expires_at,
                seal.as_slice(),
            )
            .fetch_one(&mut *connection)
            .await?)
        });
        match added {
            Err(error) if error.constraint() == Some("tokens_name") => {
                Err(FarmError::invalid(Field::Name, "is taken by another token").into())
            }
            added => {
                new.created_at = added?;
                Ok(new)
            }
        }
    }

    pub(super) async fn tokens(&self) -> Result<Vec<Token>> {
        let rows = repeat!(self.database, |connection| {
            Ok(sqlx::query_as!(
                TokenRow,
                r#"select id, name, role, project_id, env, created_at, expires_at, last_used_at, digest, seal
                from tokens
                order by name collate "C""#
            )
            .fetch_all(&mut *connection)
            .await?)
        })?;
        rows.into_iter().filter_map(|row| row.token(&self.pepper).transpose()).collect()
    }

    pub(super) async fn token(&self, digest: TokenDigest) -> Result<Option<Token>> {
        let digest = self.pepper.token(digest);
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
                    coalesce((select last_used_at from used), last_used_at) as last_used_at,
                    digest,
                    seal
                from tokens
                where digest = $1
                    and (expires_at is null or expires_at > now())",
                digest.0.as_slice(),
            )
            .fetch_optional(&mut *connection)
            .await?)
        })?;
        row.map_or(Ok(None), |row| row.token(&self.pepper))
    }

    pub(super) async fn remove_token(&self, id: TokenId) -> Result<bool> {
        let removed = once!(self.database, |connection| {
            Ok(sqlx::query!("delete from tokens where id = $1", id.0).execute(&mut *connection).await?.rows_affected())
        })?;
        Ok(removed == 1)
    }
}
