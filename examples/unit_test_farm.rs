//! A test suite's own code on top of a farm, and its unit tests on a farm in memory: no server, no waiting, no state
//! that tests share.
//!
//! ```sh
//! cargo run --example unit_test_farm
//! cargo test --example unit_test_farm
//! ```

use std::{error::Error, sync::Arc, time::Duration};

use botfarm::{
    BotFarm, BotFarmExt, Env, Labels, LeaseGuard, LeaseRequest, MemoryFarm, NewBot, ProjectId, Result, Selector,
};

/// An admin and a member of staging, both or neither: what the tests of a chat need.
async fn admin_and_member(farm: &Arc<dyn BotFarm>, test: &str) -> Result<LeaseGuard, Box<dyn Error>> {
    let with_role = |role: &str| -> Result<Selector, Box<dyn Error>> {
        Ok(Selector::any().env(Env::STAGE).labels(Labels::try_from([("role", role)])?).alias(role.parse()?))
    };
    let request = LeaseRequest::many(test.parse()?, [with_role("admin")?, with_role("member")?]);
    Ok(farm.lease(request.wait(Duration::from_mins(1))).await?)
}

/// A farm with one made-up account for each of the roles.
fn farm_with(roles: &[&str]) -> Result<Arc<dyn BotFarm>, Box<dyn Error>> {
    let project = ProjectId::new();
    let mut bots = Vec::new();
    for role in roles {
        let login = format!("{role}@chat.example").parse()?;
        let bot = NewBot::new(login, "not-a-real-password".try_into()?, project.clone(), Env::STAGE);
        bots.push(bot.labels(Labels::try_from([("role", *role)])?));
    }
    Ok(Arc::new(MemoryFarm::with_bots(bots)?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let farm = farm_with(&["admin", "member"])?;
    let lease = admin_and_member(&farm, "chat test").await?;
    for leased in &lease.bots {
        println!("{} is {}", leased.alias.as_deref().unwrap_or_default(), leased.bot.login);
    }
    lease.release().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use botfarm::{EndReason, Error as FarmError};

    use super::*;

    #[tokio::test]
    async fn both_roles_come_in_one_lease() {
        let farm = farm_with(&["member", "admin"]).unwrap();
        let lease = admin_and_member(&farm, "chat test").await.unwrap();
        assert_eq!(lease.by_alias("admin").unwrap().bot.login.as_str(), "admin@chat.example");
        assert_eq!(lease.by_alias("member").unwrap().bot.login.as_str(), "member@chat.example");
    }

    #[tokio::test]
    async fn without_a_member_no_admin_is_taken_either() {
        let farm = farm_with(&["admin"]).unwrap();
        // Refused at once, for all the minute that it would wait: nobody could ever be the member.
        let error = admin_and_member(&farm, "chat test").await.unwrap_err();
        let error = error.downcast::<FarmError>().unwrap();
        assert_eq!(error.code(), "no-match");
        assert_eq!(farm.stats().await.unwrap().waiting, 0);
    }

    /// The farm in memory keeps tokio's time, so a minute is over as soon as tokio's clock says so.
    #[tokio::test(start_paused = true)]
    async fn an_account_that_nobody_renews_comes_back() {
        let farm = farm_with(&["admin"]).unwrap();
        let request = LeaseRequest::new("dead test".parse().unwrap(), Selector::any()).ttl(Duration::from_mins(1));
        let dead = farm.acquire(request).await.unwrap();

        let next = LeaseRequest::new("next test".parse().unwrap(), Selector::any()).wait(Duration::from_mins(5));
        let next = farm.acquire(next).await.unwrap();
        assert_eq!(next.bot().bot.id, dead.bot().bot.id);
        assert!(next.bot().fence > dead.bot().fence);

        match farm.renew(dead.id, None).await.unwrap_err() {
            FarmError::LeaseLost(lost) => assert_eq!(lost.reason, EndReason::Expired),
            other => panic!("{other}"),
        }
    }
}
