//! What is otherwise in an env.

use std::sync::Arc;

use botfarm_core::conformance::envs;
use botfarm_memory::MemoryFarm;

#[tokio::test]
async fn each_env_has_a_policy_of_its_own() {
    envs::each_env_has_a_policy_of_its_own(Arc::new(MemoryFarm::with_policy(envs::policy()))).await;
}
