//! Whether the service can serve.

use std::{sync::Arc, time::Duration};

use botfarm_core::BotFarm;
use botfarm_http::HttpFarm;
use serde_json::json;

use crate::service::{Rest, bot, project};

#[tokio::test]
async fn a_service_whose_farm_is_well_is_healthy_alive_and_ready() {
    let rest = Rest::empty();
    for path in ["/health", "/livez", "/readyz"] {
        let answer = rest.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"status": "healthy"})), "{path}");
    }
}

#[tokio::test]
async fn a_service_whose_store_is_gone_is_alive_alone() {
    // Nothing listens on port 1.
    let rest = Rest::over(Arc::new(HttpFarm::builder("http://127.0.0.1:1").retry_for(Duration::ZERO).build().unwrap()));
    for path in ["/health", "/readyz"] {
        let answer = rest.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (503, json!({"status": "unhealthy"})), "{path}");
    }
    assert_eq!(rest.get("/livez").await.status, 200);
}

#[tokio::test]
async fn the_stats_count_every_pool() {
    let rest = Rest::empty();
    for login in ["ada", "bob", "eve"] {
        rest.farm.create(bot(login)).await.unwrap();
    }
    rest.post("/api/v1/leases", json!({"users": [{"login": "ada"}]})).await;
    let expected = json!({
        "pools": [{
            "project_id": project(), "env": "stage", "domain": "canary", "total": 3, "free": 2, "leased": 1,
            "cooling": 0, "dirty": 0, "broken": 0,
        }],
        "waiting": 0,
    });
    assert_eq!(rest.get("/api/v1/stats").await.json(), expected);
}
