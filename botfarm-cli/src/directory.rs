//! Operators and tokens, looked after in the database itself, or through a service.

use std::sync::Arc;

use botfarm::{HttpFarm, Store, audit::Audit, operators::Operators};
use botfarm_core::{
    BotFarm, BotFarmExt as _, Error, LeasePolicy, Login, Note, Page, PageRequest, Revocation, Secret,
    audit::{AuditEntry, AuditFilter},
    operators::{OperatorId, Role, Scope, TokenId},
};
use botfarm_http::{
    auth::{ApiToken, hash_password},
    wire::{IssuedToken, NewOperator, NewPassword, NewToken, Operator, Password, Token},
};

use chrono::Utc;

use crate::{
    client,
    config::Config,
    failure::Failure,
    holder::Job,
    store::{self, Reach},
};

/// Where the operators and tokens of a farm are kept.
pub(crate) enum Directory {
    Store(Arc<dyn Operators>, Arc<dyn BotFarm>, Option<Arc<dyn Audit>>),
    Service(HttpFarm),
}

impl Directory {
    /// That of the farm that was named, or of the service on this machine.
    ///
    /// # Errors
    /// When it cannot be reached, or is in memory.
    pub(crate) async fn open(config: &Config) -> Result<Self, Failure> {
        let url = client::url(config)?;
        if Store::is_at(url) {
            store::refuse_found(config)?;
            let store = Reach::default().open(url, LeasePolicy::default()).await?;
            let operators = store.operators.ok_or_else(|| Failure::new("this farm keeps no operators"))?;
            return Ok(Self::Store(operators, store.farm, store.audit));
        }
        client::refuse_found(config)?;
        Ok(Self::Service(client::service(config)?.build()?))
    }

    pub(crate) async fn audit(&self, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditEntry>, Failure> {
        Ok(match self {
            Self::Store(_, _, Some(trail)) => trail.recorded(filter, page).await?,
            Self::Store(_, _, None) => {
                return Err(Failure::new("a farm in memory has a trail within its service alone"));
            }
            Self::Service(service) => service.audit(filter, page).await?,
        })
    }

    pub(crate) async fn operators(&self) -> Result<Vec<Operator>, Failure> {
        Ok(match self {
            Self::Store(store, ..) => store.operators().await?.into_iter().map(Operator::from).collect(),
            Self::Service(service) => service.operators().await?,
        })
    }

    pub(crate) async fn add_operator(&self, login: Login, password: Secret, role: Role) -> Result<Operator, Failure> {
        Ok(match self {
            Self::Store(store, ..) => {
                let hash = hash_password(&login, &password)?;
                store.add_operator(login, hash, role).await?.into()
            }
            Self::Service(service) => {
                service.add_operator(&NewOperator { login, password: Password(password), role }).await?
            }
        })
    }

    /// Gives an operator another password, and ends all of its sessions.
    pub(crate) async fn set_password(&self, operator: &Operator, password: Secret) -> Result<(), Failure> {
        match self {
            Self::Store(store, ..) => {
                let hash = hash_password(&operator.login, &password)?;
                drop(store.set_password(operator.id, None, hash).await?);
            }
            Self::Service(service) => {
                service.reset_password(operator.id, &NewPassword { password: Password(password) }).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn end_sessions(&self, id: OperatorId) -> Result<(), Failure> {
        match self {
            Self::Store(store, ..) => drop(store.end_sessions(id).await?),
            Self::Service(service) => service.end_sessions(id).await?,
        }
        Ok(())
    }

    pub(crate) async fn remove_operator(&self, id: OperatorId) -> Result<(), Failure> {
        match self {
            Self::Store(store, ..) => drop(store.remove_operator(id).await?),
            Self::Service(service) => service.remove_operator(id).await?,
        }
        Ok(())
    }

    pub(crate) async fn tokens(&self) -> Result<Vec<Token>, Failure> {
        Ok(match self {
            Self::Store(store, ..) => store.tokens().await?.into_iter().map(Token::from).collect(),
            Self::Service(service) => service.tokens().await?,
        })
    }

    pub(crate) async fn add_token(&self, token: NewToken) -> Result<IssuedToken, Failure> {
        let store = match self {
            Self::Store(store, ..) => store,
            Self::Service(service) => return Ok(service.add_token(&token).await?),
        };
        let NewToken { name, role, project_id, env, expires_at } = token;
        let secret = ApiToken::generate()?;
        let new = botfarm_core::operators::NewToken {
            name,
            role,
            scope: Scope { project: project_id, env },
            expires_at: NewToken::end(expires_at, Utc::now()),
            digest: secret.digest(),
        };
        Ok(IssuedToken { token: store.add_token(new).await?.into(), secret: Password(secret.secret().clone()) })
    }

    pub(crate) async fn remove_token(&self, id: TokenId) -> Result<(), Failure> {
        match self {
            Self::Store(store, ..) => drop(store.remove_token(id).await?),
            Self::Service(service) => service.remove_token(id).await?,
        }
        Ok(())
    }

    /// Removes a token, and ends the leases that it has acquired. Gives how many those were.
    pub(crate) async fn remove_token_and_leases(&self, id: TokenId) -> Result<u64, Failure> {
        let (store, farm) = match self {
            Self::Store(store, farm, _) => (store, farm),
            Self::Service(service) => return Ok(service.remove_token_and_leases(id).await?),
        };
        store.remove_token(id).await?;
        let reason = Note::try_from("the API token that leased it was revoked").map_err(Error::backend)?;
        Ok(farm.revoke_all_of(&id.owner(), Revocation::new(reason, Job::found().holder)).await?)
    }
}
