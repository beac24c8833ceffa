//! Who may use a service of the farm.

use std::time::Duration;

use botfarm_core::{
    Error, Field, Login, Result, Timestamp,
    operators::{NewToken, Operator, OperatorId, PasswordHash, Role, SessionId, Token, TokenDigest, TokenId},
};
use chrono::SubsecRound as _;

use super::Engine;
use crate::{kept::Change, moment::Moment};

/// Ended sessions are remembered for longer than they could have lasted: whoever signs them has another clock.
const SKEW: Duration = Duration::from_hours(1);

/// How exactly it is known when a token was last used: so often is it written down.
const LAST_USE: Duration = Duration::from_mins(1);

impl Engine {
    /// Keeps a new operator, under this id.
    ///
    /// # Errors
    /// Those of [`Operators::add_operator`](botfarm_core::operators::Operators::add_operator).
    pub fn add_operator(
        &mut self,
        id: OperatorId,
        login: Login,
        password: PasswordHash,
        role: Role,
    ) -> Result<Operator> {
        if self.directory.operator(&login).is_some() {
            return Err(Error::invalid(Field::Login, "is taken by another operator"));
        }
        let operator = Operator { id, login, role, created_at: self.now.timestamp(), generation: 0 };
        self.put_operator(operator.clone(), password);
        Ok(operator)
    }

    fn put_operator(&mut self, operator: Operator, password: PasswordHash) {
        self.note(|_| Change::Operator(operator.clone(), password.clone()));
        self.directory.put_operator(operator, password);
    }

    /// All operators, by login.
    #[must_use]
    pub fn operators(&self) -> Vec<Operator> {
        self.directory.operators().cloned().collect()
    }

    /// The operator of this login, case aside, with what is kept of its password.
    #[must_use]
    pub fn operator(&self, login: &Login) -> Option<(Operator, PasswordHash)> {
        self.directory.operator(login).cloned()
    }

    /// Gives an operator another password, and ends all of its sessions; with `from`, only if that is what is kept.
    pub fn set_password(&mut self, id: OperatorId, from: Option<&PasswordHash>, to: PasswordHash) -> Option<Operator> {
        let (operator, kept) = self.directory.operator_by_id(id).cloned()?;
        if from.is_some_and(|from| *from != kept && to != kept) {
            return None;
        }
        Some(self.next_generation(operator, to))
    }

    /// Replaces the hash of a password by another of the same password; false when that is not what is kept.
    pub fn refresh_password(&mut self, id: OperatorId, from: &PasswordHash, to: PasswordHash) -> bool {
        let kept = self.directory.operator_by_id(id).filter(|(_, kept)| kept == from).cloned();
        kept.map(|(operator, _)| self.put_operator(operator, to)).is_some()
    }

    /// Ends all sessions of an operator; `None` when there is none.
    pub fn end_sessions(&mut self, id: OperatorId) -> Option<Operator> {
        let (operator, kept) = self.directory.operator_by_id(id).cloned()?;
        Some(self.next_generation(operator, kept))
    }

    fn next_generation(&mut self, operator: Operator, password: PasswordHash) -> Operator {
        let operator = Operator { generation: operator.generation.saturating_add(1), ..operator };
        self.put_operator(operator.clone(), password);
        operator
    }

    /// Forgets an operator; false when there is none.
    ///
    /// # Errors
    /// Those of [`Operators::remove_operator`](botfarm_core::operators::Operators::remove_operator).
    pub fn remove_operator(&mut self, id: OperatorId) -> Result<bool> {
        let Some((operator, _)) = self.directory.operator_by_id(id).cloned() else { return Ok(false) };
        if self.directory.is_last_admin(&operator) {
            return Err(Error::Forbidden { detail: "the last admin stays; add another admin first".to_owned() });
        }
        self.directory.remove_operator(&operator.login);
        self.note(|_| Change::OperatorRemoved(id));
        Ok(true)
    }

    /// Keeps a new token, under this id.
    ///
    /// # Errors
    /// Those of [`Operators::add_token`](botfarm_core::operators::Operators::add_token).
    pub fn add_token(&mut self, id: TokenId, token: NewToken) -> Result<Token> {
        let NewToken { name, role, scope, expires_at, digest } = token;
        if self.directory.has_token(&name) {
            return Err(Error::invalid(Field::Name, "is taken by another token"));
        }
        let (created_at, expires_at) = (self.now.timestamp(), expires_at.map(|at| at.trunc_subsecs(6)));
        let token = Token { id, name, role, scope, created_at, expires_at, last_used_at: None };
        self.directory.put_token(token.clone(), digest);
        self.note(|_| Change::Token(token.clone(), digest));
        Ok(token)
    }

    /// All tokens, by name.
    #[must_use]
    pub fn tokens(&self) -> Vec<Token> {
        self.directory.tokens().cloned().collect()
    }

    /// The token with this digest, unless it has expired. Takes note of its use.
    pub fn token(&mut self, digest: TokenDigest) -> Option<Token> {
        let now = self.now.timestamp();
        let token = self.directory.token_mut(digest)?;
        if token.expires_at.is_some_and(|at| at <= now) {
            return None;
        }
        let noted = token.last_used_at.map_or(Moment::default(), Moment::from);
        if noted.until(self.now) < LAST_USE {
            return Some(token.clone());
        }
        token.last_used_at = Some(now);
        let token = token.clone();
        self.note(|_| Change::Token(token.clone(), digest));
        Some(token)
    }

    /// Forgets a token; false when there is none.
    pub fn remove_token(&mut self, id: TokenId) -> bool {
        let removed = self.directory.remove_token(id);
        if removed {
            self.note(|_| Change::TokenRemoved(id));
        }
        removed
    }

    /// The operator of a session, unless the session was ended or the operator removed.
    #[must_use]
    pub fn session(&self, session: SessionId, operator: OperatorId) -> Option<Operator> {
        let kept = self.directory.operator_by_id(operator).filter(|_| !self.directory.has_ended(session));
        kept.map(|(operator, _)| operator.clone())
    }

    /// Ends a session. It may be forgotten some time after `until`, when it would have ended by itself.
    pub fn end_session(&mut self, session: SessionId, until: Timestamp) {
        for forgotten in self.directory.forget_sessions(self.now) {
            self.note(|_| Change::SessionForgotten(forgotten));
        }
        let until = self.directory.end_session(session, Moment::from(until).plus(SKEW));
        self.note(|_| Change::SessionEnded(session, until));
    }
}

#[cfg(test)]
mod tests {
    use botfarm_core::LeasePolicy;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn ended_session_is_forgotten_when_it_would_have_ended_long_ago() {
        let mut engine = Engine::new(LeasePolicy::default());
        engine.settle(Moment::from_micros(1_795_555_555_000_000));
        let now = engine.now().timestamp();
        for until in [now - chrono::TimeDelta::hours(2), now] {
            engine.end_session(SessionId(Uuid::new_v4()), until);
        }
        engine.end_session(SessionId(Uuid::new_v4()), now);
        assert_eq!(engine.directory.remembered_sessions(), 2);
    }
}
