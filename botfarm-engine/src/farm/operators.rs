//! Who may use a service of the farm.

use botfarm_core::{
    Login, Result, Timestamp,
    operators::{NewToken, Operator, OperatorId, PasswordHash, Role, SessionId, Token, TokenDigest, TokenId},
};
use uuid::Uuid;

use super::{EngineFarm, Journal};

#[expect(clippy::missing_errors_doc, reason = "they are those of the trait's method of the same name")]
impl<J: Journal> EngineFarm<J> {
    /// As [`Operators::add_operator`](botfarm_core::operators::Operators::add_operator).
    pub async fn add_operator(&self, login: Login, password: PasswordHash, role: Role) -> Result<Operator> {
        self.answer(|engine| engine.add_operator(OperatorId(Uuid::now_v7()), login, password, role)).await
    }

    /// As [`Operators::operators`](botfarm_core::operators::Operators::operators).
    pub async fn operators(&self) -> Result<Vec<Operator>> {
        self.answer(|engine| Ok(engine.operators())).await
    }

    /// As [`Operators::operator`](botfarm_core::operators::Operators::operator).
    pub async fn operator(&self, login: &Login) -> Result<Option<(Operator, PasswordHash)>> {
        self.answer(|engine| Ok(engine.operator(login))).await
    }

    /// As [`Operators::set_password`](botfarm_core::operators::Operators::set_password).
    pub async fn set_password(
        &self,
        id: OperatorId,
        from: Option<PasswordHash>,
        to: PasswordHash,
    ) -> Result<Option<Operator>> {
        self.answer(|engine| Ok(engine.set_password(id, from.as_ref(), to))).await
    }

    /// As [`Operators::refresh_password`](botfarm_core::operators::Operators::refresh_password).
    pub async fn refresh_password(&self, id: OperatorId, from: PasswordHash, to: PasswordHash) -> Result<bool> {
        self.answer(|engine| Ok(engine.refresh_password(id, &from, to))).await
    }

    /// As [`Operators::end_sessions`](botfarm_core::operators::Operators::end_sessions).
    pub async fn end_sessions(&self, id: OperatorId) -> Result<Option<Operator>> {
        self.answer(|engine| Ok(engine.end_sessions(id))).await
    }

    /// As [`Operators::remove_operator`](botfarm_core::operators::Operators::remove_operator).
    pub async fn remove_operator(&self, id: OperatorId) -> Result<bool> {
        self.answer(|engine| engine.remove_operator(id)).await
    }

    /// As [`Operators::add_token`](botfarm_core::operators::Operators::add_token).
    pub async fn add_token(&self, token: NewToken) -> Result<Token> {
        self.answer(|engine| engine.add_token(TokenId(Uuid::now_v7()), token)).await
    }

    /// As [`Operators::tokens`](botfarm_core::operators::Operators::tokens).
    pub async fn tokens(&self) -> Result<Vec<Token>> {
        self.answer(|engine| Ok(engine.tokens())).await
    }

    /// As [`Operators::token`](botfarm_core::operators::Operators::token).
    pub async fn token(&self, digest: TokenDigest) -> Result<Option<Token>> {
        self.answer(|engine| Ok(engine.token(digest))).await
    }

    /// As [`Operators::remove_token`](botfarm_core::operators::Operators::remove_token).
    pub async fn remove_token(&self, id: TokenId) -> Result<bool> {
        self.answer(|engine| Ok(engine.remove_token(id))).await
    }

    /// As [`Operators::session`](botfarm_core::operators::Operators::session).
    pub async fn session(&self, session: SessionId, operator: OperatorId) -> Result<Option<Operator>> {
        self.answer(|engine| Ok(engine.session(session, operator))).await
    }

    /// As [`Operators::end_session`](botfarm_core::operators::Operators::end_session).
    pub async fn end_session(&self, session: SessionId, until: Timestamp) -> Result<()> {
        self.answer(|engine| {
            engine.end_session(session, until);
            Ok(())
        })
        .await
    }
}
