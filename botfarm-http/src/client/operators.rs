//! Operators and tokens of a service, which an admin looks after.

use botfarm_core::{
    Result,
    operators::{OperatorId, TokenId},
};
use http::Method;

use super::{HttpFarm, retry::Repeat, send::Call};
use crate::wire::{EndedLeases, IssuedToken, NewOperator, NewPassword, NewToken, Operator, Token};

/// Operators and tokens of the service. It takes an unconfined admin.
///
/// Every call gives `Unauthenticated` or `Forbidden` to who is no such admin, and `Unavailable` when the service cannot be
/// reached. On a service that asks nobody who they are, there is nothing to look after: `Backend` says so.
impl HttpFarm {
    /// All operators, by login.
    ///
    /// # Errors
    /// See above.
    pub async fn operators(&self) -> Result<Vec<Operator>> {
        self.service.send(Call::new(Method::GET, "/api/v1/operators")).await?.json()
    }

    /// Adds an operator.
    ///
    /// # Errors
    /// `Invalid` when there is one of this login, case aside.
    pub async fn add_operator(&self, operator: &NewOperator) -> Result<Operator> {
        self.service
            .send(Call::new(Method::POST, "/api/v1/operators").json(operator)?.repeat(Repeat::Unseen))
            .await?
            .json()
    }

    /// Removes an operator, and ends its sessions.
    ///
    /// # Errors
    /// `Forbidden` for the last admin; `Backend` when there is no such operator.
    pub async fn remove_operator(&self, id: OperatorId) -> Result<()> {
        self.service
            .send(Call::new(Method::DELETE, format!("/api/v1/operators/{id}")).repeat(Repeat::Unseen))
            .await
            .map(drop)
    }

    /// Gives an operator another password, and ends all of its sessions.
    ///
    /// # Errors
    /// `Invalid` for a password that is none to have; `Backend` when there is no such operator.
    pub async fn reset_password(&self, id: OperatorId, password: &NewPassword) -> Result<()> {
        let call = Call::new(Method::PUT, format!("/api/v1/operators/{id}/password")).json(password)?;
        self.service.send(call.repeat(Repeat::Freely)).await.map(drop)
    }

    /// Ends all sessions of an operator.
    ///
    /// # Errors
    /// `Backend` when there is no such operator.
    pub async fn end_sessions(&self, id: OperatorId) -> Result<()> {
        let call = Call::new(Method::POST, format!("/api/v1/operators/{id}/sessions/end"));
        self.service.send(call.repeat(Repeat::Freely)).await.map(drop)
    }

    /// All tokens, by name.
    ///
    /// # Errors
    /// See above.
    pub async fn tokens(&self) -> Result<Vec<Token>> {
        self.service.send(Call::new(Method::GET, "/api/v1/tokens")).await?.json()
    }

    /// Has a token made. Its secret is in the answer, and can be had nowhere else.
    ///
    /// # Errors
    /// `Invalid` when there is one of this name.
    pub async fn add_token(&self, token: &NewToken) -> Result<IssuedToken> {
        self.service.send(Call::new(Method::POST, "/api/v1/tokens").json(token)?.repeat(Repeat::Unseen)).await?.json()
    }

    /// Revokes a token.
    ///
    /// # Errors
    /// `Backend` when there is no such token.
    pub async fn remove_token(&self, id: TokenId) -> Result<()> {
        self.service
            .send(Call::new(Method::DELETE, format!("/api/v1/tokens/{id}")).repeat(Repeat::Unseen))
            .await
            .map(drop)
    }

    /// Revokes a token, and ends the leases that it has acquired. Gives how many those were. Asked again after a failure,
    /// it ends what is left.
    ///
    /// # Errors
    /// `Backend` when there is no such token, and no lease of it.
    pub async fn remove_token_and_leases(&self, id: TokenId) -> Result<u64> {
        let path = format!("/api/v1/tokens/{id}?end_leases=true");
        let answer = self.service.send(Call::new(Method::DELETE, path).repeat(Repeat::Unseen)).await?;
        answer.json().map(|EndedLeases { ended }| ended)
    }
}
