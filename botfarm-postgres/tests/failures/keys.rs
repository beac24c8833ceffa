//! Two requests under one id.

use botfarm_core::{BotFarm, Ending, Fingerprint, LeaseRequest, NewBot};

use crate::ground::{Ground, LONG, holder, in_time, labels, refusal};

/// Who uses another's id for another request is refused, and the other's stands as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_reuse_of_an_id_changes_nothing() {
    let ground = Ground::new().await;
    let [farm, other] = [ground.farm().await, ground.farm().await];
    let role = |role: &str| ground.any().labels(labels("role", role));
    for name in ["admin", "user"] {
        farm.create(NewBot { labels: labels("role", name), ..ground.new_bot(name) }).await.unwrap();
    }
    let of = |name: &str, digest: u8| LeaseRequest {
        fingerprint: Some(Fingerprint([digest; 32])),
        ..LeaseRequest::new(holder(name), role(name))
    };
    let [admin, user] = [farm.acquire(of("admin", 1)).await.unwrap(), farm.acquire(of("user", 2)).await.unwrap()];
    let request = of("admin", 3).wait(LONG);
    let id = request.id;
    let waiter = tokio::spawn({
        let farm = farm.clone();
        async move { farm.acquire(request).await }
    });
    ground.until_waiting(1).await;
    for wait in [LONG, std::time::Duration::ZERO] {
        assert_eq!(refusal(other.acquire(of("user", 4).id(id).wait(wait)).await), "key-reused");
    }
    ground.until_waiting(1).await;
    farm.release(user.id, Ending::clean()).await.unwrap();
    farm.release(admin.id, Ending::clean()).await.unwrap();
    let lease = in_time("it is served", waiter).await.unwrap().unwrap();
    assert_eq!(lease.bot().bot.labels, labels("role", "admin"));
    assert_eq!(lease.terms.holder, holder("admin"));
    // Nor when it has its lease.
    assert_eq!(refusal(other.acquire(of("user", 4).id(id)).await), "key-reused");
    assert_eq!(other.lookup(id).await.unwrap().bot().fence, lease.bot().fence);
}
