//! Who may use a service of this farm.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use botfarm_core::{
    Error, Holder, Login, Result, Timestamp,
    operators::{
        NewToken, Operator, OperatorId, Operators, PasswordHash, Role, SessionId, Token, TokenDigest, TokenId,
    },
};
use chrono::{SubsecRound as _, TimeDelta};
use uuid::Uuid;

use crate::farm::MemoryFarm;

/// Ended sessions are remembered for longer than they could have lasted: whoever signs them has another clock.
const SKEW: TimeDelta = TimeDelta::hours(1);

/// Operators, tokens, and the sessions that were ended.
#[derive(Debug, Default)]
pub(crate) struct Staff {
    /// By login, folded.
    operators: BTreeMap<String, (Operator, PasswordHash)>,
    tokens: BTreeMap<Holder, Token>,
    digests: HashMap<TokenDigest, Holder>,
    /// With when each may be forgotten.
    ended: HashMap<SessionId, Timestamp>,
}

impl Staff {
    fn by_id(&self, id: OperatorId) -> Option<&Operator> {
        self.operators.values().map(|(operator, _)| operator).find(|operator| operator.id == id)
    }

    fn admins(&self) -> usize {
        self.operators.values().filter(|(operator, _)| operator.role == Role::Admin).count()
    }
}

impl MemoryFarm {
    fn now(&self) -> Timestamp {
        self.0.turn(|state| state.clock.shown(state.clock.now))
    }
}

#[async_trait]
impl Operators for MemoryFarm {
    async fn add_operator(&self, login: Login, password: PasswordHash, role: Role) -> Result<Operator> {
        let (key, created_at) = (login.folded(), self.now());
        let mut staff = self.0.staff();
        if staff.operators.contains_key(&key) {
            return Err(Error::invalid("/login", "is taken by another operator"));
        }
        let operator = Operator { id: OperatorId(Uuid::now_v7()), login, role, created_at };
        staff.operators.insert(key, (operator.clone(), password));
        Ok(operator)
    }

    async fn operators(&self) -> Result<Vec<Operator>> {
        Ok(self.0.staff().operators.values().map(|(operator, _)| operator.clone()).collect())
    }

    async fn operator(&self, login: &Login) -> Result<Option<(Operator, PasswordHash)>> {
        Ok(self.0.staff().operators.get(&login.folded()).cloned())
    }

    async fn set_password(&self, id: OperatorId, password: PasswordHash) -> Result<bool> {
        let mut staff = self.0.staff();
        let kept = staff.operators.values_mut().find(|(operator, _)| operator.id == id);
        Ok(kept.map(|(_, kept)| *kept = password).is_some())
    }

    async fn remove_operator(&self, id: OperatorId) -> Result<bool> {
        let mut staff = self.0.staff();
        let Some(operator) = staff.by_id(id).cloned() else { return Ok(false) };
        if operator.role == Role::Admin && staff.admins() == 1 {
            return Err(Error::Forbidden { detail: "the last admin stays; add another admin first".to_owned() });
        }
        staff.operators.remove(&operator.login.folded());
        Ok(true)
    }

    async fn add_token(&self, token: NewToken) -> Result<Token> {
        let created_at = self.now();
        let NewToken { name, role, scope, expires_at, digest } = token;
        let mut staff = self.0.staff();
        if staff.tokens.contains_key(&name) {
            return Err(Error::invalid("/name", "is taken by another token"));
        }
        let id = TokenId(Uuid::now_v7());
        let expires_at = expires_at.map(|at| at.trunc_subsecs(6));
        let token = Token { id, name: name.clone(), role, scope, created_at, expires_at, last_used_at: None };
        staff.digests.insert(digest, name.clone());
        staff.tokens.insert(name, token.clone());
        Ok(token)
    }

    async fn tokens(&self) -> Result<Vec<Token>> {
        Ok(self.0.staff().tokens.values().cloned().collect())
    }

    async fn token(&self, digest: TokenDigest) -> Result<Option<Token>> {
        let now = self.now();
        let mut staff = self.0.staff();
        let Staff { tokens, digests, .. } = &mut *staff;
        let Some(token) = digests.get(&digest).and_then(|name| tokens.get_mut(name)) else { return Ok(None) };
        if token.expires_at.is_some_and(|at| at <= now) {
            return Ok(None);
        }
        token.last_used_at = Some(now);
        Ok(Some(token.clone()))
    }

    async fn remove_token(&self, id: TokenId) -> Result<bool> {
        let mut staff = self.0.staff();
        let Some(name) = staff.tokens.values().find(|token| token.id == id).map(|token| token.name.clone()) else {
            return Ok(false);
        };
        staff.tokens.remove(&name);
        staff.digests.retain(|_, of| *of != name);
        Ok(true)
    }

    async fn session(&self, session: SessionId, operator: OperatorId) -> Result<Option<Operator>> {
        let staff = self.0.staff();
        Ok(staff.by_id(operator).filter(|_| !staff.ended.contains_key(&session)).cloned())
    }

    async fn end_session(&self, session: SessionId, until: Timestamp) -> Result<()> {
        let now = self.now();
        let forget_at = until.checked_add_signed(SKEW).unwrap_or(Timestamp::MAX_UTC);
        let mut staff = self.0.staff();
        staff.ended.retain(|_, forget_at| now < *forget_at);
        let ended = staff.ended.entry(session).or_insert(forget_at);
        *ended = forget_at.max(*ended);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ended_session_is_forgotten_when_it_would_have_ended_long_ago() {
        let farm = MemoryFarm::new();
        let long_ago = farm.now() - TimeDelta::hours(2);
        for until in [long_ago, farm.now()] {
            farm.end_session(SessionId(Uuid::new_v4()), until).await.unwrap();
        }
        farm.end_session(SessionId(Uuid::new_v4()), farm.now()).await.unwrap();
        assert_eq!(farm.0.staff().ended.len(), 2);
    }
}
