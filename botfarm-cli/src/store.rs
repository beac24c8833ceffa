//! The farm that a URL names, with what a service needs besides.

use std::sync::Arc;

use botfarm::{BotFarm, Keyring, MemoryFarm, PostgresFarm, PostgresOptions, operators::Operators};

use crate::failure::Failure;

/// A farm, and what a service needs besides.
pub(crate) struct Store {
    pub(crate) farm: Arc<dyn BotFarm>,
    /// Who may use a service of it; `None` when the farm does not keep that.
    pub(crate) operators: Option<Arc<dyn Operators>>,
    /// The farm's keys, where it has any.
    pub(crate) keyring: Option<Keyring>,
}

impl Store {
    /// Opens the farm at `url`.
    ///
    /// # Errors
    /// Those of [`botfarm::connect`].
    pub(crate) async fn open(url: &str) -> Result<Self, Failure> {
        if url == "memory:" {
            let farm = MemoryFarm::new();
            return Ok(Self { operators: Some(Arc::new(farm.clone())), farm: Arc::new(farm), keyring: None });
        }
        if !is_database(url) {
            return Ok(Self { farm: botfarm::connect(url).await?, operators: None, keyring: None });
        }
        let options = PostgresOptions::new(url)?;
        let keyring = Keyring::from_env().map_err(|error| Failure::usage(error.to_string()))?;
        let farm = PostgresFarm::connect(options, keyring.clone()).await?;
        Ok(Self { operators: Some(Arc::new(farm.clone())), farm: Arc::new(farm), keyring: Some(keyring) })
    }
}

/// Whether `url` names a database, rather than a service in front of one.
pub(crate) fn is_database(url: &str) -> bool {
    url.starts_with("postgres:") || url.starts_with("postgresql:")
}
