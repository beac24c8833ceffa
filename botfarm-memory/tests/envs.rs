//! What is otherwise in an env.

use std::sync::Arc;

use botfarm_core::conformance::envs;
use botfarm_memory::MemoryFarm;

#[tokio::test]
async fn each_env_has_a_policy_of_its_own() {
    envs::each_env_has_a_policy_of_its_own(Arc::new(MemoryFarm::with_policy(envs::policy()))).await;
}

#[tokio::test]
async fn bot_that_is_left_dirty_or_broken_does_not_rest() {
    envs::bot_that_is_left_dirty_or_broken_does_not_rest(Arc::new(MemoryFarm::with_policy(envs::policy()))).await;
}

#[tokio::test]
async fn expired_lease_leaves_its_bots_in_the_condition_that_the_env_says() {
    let farm = Arc::new(MemoryFarm::with_policy(envs::policy()));
    envs::expired_lease_leaves_its_bots_in_the_condition_that_the_env_says(farm).await;
}
