//! What is convenient for those who use a farm.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    bot::Bot,
    error::{Error, Result},
    farm::BotFarm,
    guard::{self, LeaseGuard},
    lease::{Lease, LeaseRequest, Revocation},
    page::{BotFilter, Page, PageRequest},
    text::Owner,
};

/// What is convenient for those who use a farm. Every farm that can be cloned has it, `Arc<dyn BotFarm>` too.
#[async_trait]
pub trait BotFarmExt: BotFarm + Clone {
    /// Leases bots, and keeps the lease alive until the guard is released or dropped.
    ///
    /// ```
    /// # use botfarm_core::{BotFarm, BotFarmExt, Env, LeaseRequest, Selector};
    /// # async fn doc(farm: std::sync::Arc<dyn BotFarm>) -> Result<(), Box<dyn std::error::Error>> {
    /// let request = LeaseRequest::new("checkout test".parse()?, Selector::any().env(Env::STAGE));
    /// let lease = farm.lease(request).await?;
    /// println!("logging in as {}", lease.login);
    /// lease.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`BotFarm::acquire`].
    async fn lease(&self, request: LeaseRequest) -> Result<LeaseGuard> {
        LeaseGuard::acquire(Arc::new(self.clone()), request).await
    }

    /// Leases bots for as long as `body` runs, and gives them back whether it succeeds, fails or panics. When the lease
    /// is lost meanwhile, `body` is dropped and the result is the error that says who took it and why.
    ///
    /// # Errors
    /// What `body` gives; what [`BotFarm::acquire`] and [`BotFarm::release`] give; [`LeaseLost`] as it happens.
    ///
    /// [`LeaseLost`]: crate::Error::LeaseLost
    async fn with_lease<T, E, B, F>(&self, request: LeaseRequest, body: B) -> Result<T, E>
    where
        B: FnOnce(Lease) -> F + Send,
        F: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: From<crate::Error> + Send,
    {
        guard::with_lease(self.lease(request).await?, body).await
    }

    /// Lists all bots that match, page by page.
    ///
    /// # Errors
    /// Those of [`BotFarm::list`].
    async fn list_all(&self, filter: &BotFilter) -> Result<Vec<Bot>> {
        let mut bots = Vec::new();
        let mut page = PageRequest::first(PageRequest::MAX);
        loop {
            let Page { items, next } = self.list(filter, &page).await?;
            bots.extend(items);
            if next.is_none() {
                return Ok(bots);
            }
            page = page.after(next);
        }
    }

    /// Takes away all that was leased by an owner. Gives how many leases those were; one that ends by itself meanwhile may
    /// be among them. Others' leases stay, whoever has a bot by then.
    ///
    /// What the owner leases meanwhile may escape: first see to it that it leases nothing. To do it again ends what is
    /// left. A client of a service sees no owners, and ends nothing.
    ///
    /// # Errors
    /// Those of [`BotFarm::leases`] and [`BotFarm::revoke`]. Some leases may have ended by then.
    async fn revoke_all_of(&self, owner: &Owner, revocation: Revocation) -> Result<u64> {
        let (mut page, mut ended) = (PageRequest::first(PageRequest::MAX), 0);
        loop {
            let Page { items, next } = self.leases(&page).await?;
            let theirs = items.into_iter().filter(|lease| lease.terms.owner.as_ref() == Some(owner));
            for (_, bot) in theirs.filter_map(|lease| lease.bots.into_iter().next()) {
                let revocation = Revocation { owner: Some(owner.clone()), ..revocation.clone() };
                match self.revoke(bot.id, revocation).await {
                    // It has been given back, and is no more.
                    Ok(()) | Err(Error::NoSuchBot { .. }) => ended += 1,
                    Err(error) => return Err(error),
                }
            }
            if next.is_none() {
                return Ok(ended);
            }
            page = page.after(next);
        }
    }
}

impl<F: BotFarm + Clone> BotFarmExt for F {}
