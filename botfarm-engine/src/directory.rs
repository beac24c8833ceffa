//! Who may use a service of the farm.

use std::collections::{BTreeMap, HashMap};

use botfarm_core::{
    Holder, Login,
    operators::{Operator, OperatorId, PasswordHash, Role, SessionId, Token, TokenDigest, TokenId},
};

use crate::moment::Moment;

/// Operators, tokens, and the sessions that were ended.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    /// By login, folded.
    operators: BTreeMap<String, (Operator, PasswordHash)>,
    tokens: BTreeMap<Holder, (Token, TokenDigest)>,
    by_digest: HashMap<TokenDigest, Holder>,
    /// With when each may be forgotten.
    ended: HashMap<SessionId, Moment>,
}

impl Directory {
    /// Keeps an operator, in the place of the one of the same login.
    pub(crate) fn put_operator(&mut self, operator: Operator, password: PasswordHash) {
        self.operators.insert(operator.login.folded(), (operator, password));
    }

    /// By login.
    pub(crate) fn operators(&self) -> impl Iterator<Item = &Operator> {
        self.operators.values().map(|(operator, _)| operator)
    }

    pub(crate) fn operator(&self, login: &Login) -> Option<&(Operator, PasswordHash)> {
        self.operators.get(&login.folded())
    }

    pub(crate) fn operator_by_id(&self, id: OperatorId) -> Option<&(Operator, PasswordHash)> {
        self.operators.values().find(|(operator, _)| operator.id == id)
    }

    pub(crate) fn is_last_admin(&self, operator: &Operator) -> bool {
        operator.role == Role::Admin && self.operators().filter(|other| other.role == Role::Admin).count() == 1
    }

    pub(crate) fn remove_operator(&mut self, login: &Login) {
        self.operators.remove(&login.folded());
    }

    /// Keeps a token, in the place of the one of the same name.
    pub(crate) fn put_token(&mut self, token: Token, digest: TokenDigest) {
        self.by_digest.insert(digest, token.name.clone());
        self.tokens.insert(token.name.clone(), (token, digest));
    }

    /// By name.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.tokens.values().map(|(token, _)| token)
    }

    pub(crate) fn has_token(&self, name: &Holder) -> bool {
        self.tokens.contains_key(name)
    }

    pub(crate) fn token_mut(&mut self, digest: TokenDigest) -> Option<&mut Token> {
        let name = self.by_digest.get(&digest)?;
        self.tokens.get_mut(name).map(|(token, _)| token)
    }

    pub(crate) fn remove_token(&mut self, id: TokenId) -> bool {
        let Some(name) = self.tokens().find(|token| token.id == id).map(|token| token.name.clone()) else {
            return false;
        };
        if let Some((_, digest)) = self.tokens.remove(&name) {
            self.by_digest.remove(&digest);
        }
        true
    }

    pub(crate) fn has_ended(&self, session: SessionId) -> bool {
        self.ended.contains_key(&session)
    }

    /// Remembers that a session has ended, for at least so long. Gives until when.
    pub(crate) fn end_session(&mut self, session: SessionId, until: Moment) -> Moment {
        let ended = self.ended.entry(session).or_insert(until);
        *ended = until.max(*ended);
        *ended
    }

    /// Forgets the sessions that need not be remembered any more, and gives them.
    pub(crate) fn forget_sessions(&mut self, now: Moment) -> Vec<SessionId> {
        self.ended.extract_if(|_, until| *until <= now).map(|(session, _)| session).collect()
    }

    #[cfg(test)]
    pub(crate) fn remembered_sessions(&self) -> usize {
        self.ended.len()
    }
}
