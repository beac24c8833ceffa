//! Proves what keeps the audit trail: one named test for each claim of [`Audit`].
//!
//! `botfarm_core::conformance_audit!(trails)` makes the tests. `trails` is called once for each, and gives handles to one
//! and the same trail, and whatever has to live as long: see [`AuditFixture`].

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    Cursor, Origin, PageRequest,
    audit::{Act, Audit, AuditEntry, AuditFilter, LOOKED_AT},
};

/// The trail under test, and whatever has to live as long.
pub trait AuditFixture {
    /// Handles to one and the same trail, at least one.
    fn trails(&self) -> Vec<Arc<dyn Audit>>;
}

impl<A: Audit + Clone> AuditFixture for A {
    fn trails(&self) -> Vec<Arc<dyn Audit>> {
        vec![Arc::new(self.clone()), Arc::new(self.clone())]
    }
}

/// Lists the claims, and makes a macro that makes tests of them.
macro_rules! claims {
    ($d:tt $($claim:ident,)+) => {
        /// Makes a test of each claim about the audit trail. See [`audit`](crate::conformance::audit).
        #[macro_export]
        macro_rules! conformance_audit {
            ($d make:expr) => {
                $(
                    #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $claim() {
                        use $d crate::conformance::audit::AuditFixture as _;
                        let fixture = ($d make)().await;
                        $d crate::conformance::audit::$claim(&fixture.trails()).await;
                    }
                )+
            };
        }
    };
}

claims! { $
    act_is_recorded_once_and_as_it_was,
    acts_are_listed_as_they_are_asked_for,
    acts_come_in_pages_without_gaps_or_repeats,
    act_that_few_are_like_is_looked_for_some_at_a_time,
    bad_pages_are_refused,
}

type Trails = [Arc<dyn Audit>];

/// Something that `who` has done.
fn act(who: &str, object: &str) -> Act {
    let text = "words of few letters are texts";
    Act {
        principal: Some(format!("token {who}").parse().expect(text)),
        name: Some(who.parse().expect(text)),
        object: Some(object.parse().expect(text)),
        ..Act::new("DELETE /users/{id}".parse().expect(text), "done".parse().expect(text))
    }
}

async fn listed(trails: &Trails, filter: AuditFilter) -> Vec<AuditEntry> {
    let mut lists = Vec::new();
    for trail in trails {
        lists.push(trail.recorded(&filter, &PageRequest::first(1_000)).await.expect("it can be read").items);
    }
    assert!(lists.windows(2).all(|two| two[0] == two[1]), "every handle sees the same");
    lists.pop().expect("a fixture has at least one handle")
}

pub async fn act_is_recorded_once_and_as_it_was(trails: &Trails) {
    let origin = Origin {
        address: Some("2001:db8::7".parse().expect("an address")),
        request: Some("build-7".parse().expect("an id")),
    };
    let whole = Act { origin, count: 7, ..act("ada", "user 1") };
    let nobodys = Act::new("POST /login".parse().expect("a text"), "unauthenticated".parse().expect("a text"));
    let acts = vec![whole.clone(), nobodys.clone()];
    for trail in trails {
        // Again by the next handle, as when an answer was lost.
        trail.record(acts.clone()).await.expect("acts are recorded");
        let other = Act { name: None, count: 1, ..whole.clone() };
        trail.record(vec![other]).await.expect("an act may be recorded again");
    }
    let entries = listed(trails, AuditFilter::default()).await;
    assert!(entries.iter().all(|entry| (entry.at - chrono::Utc::now()).num_minutes().abs() < 60), "it tells when");
    let kept: Vec<_> = entries.into_iter().map(|entry| entry.act).collect();
    assert_eq!(kept, [nobodys, whole], "an act is recorded once, stays as it is, and the newest comes first");
}

pub async fn acts_are_listed_as_they_are_asked_for(trails: &Trails) {
    let trail = &trails[0];
    let mut acts = [act("ada", "user 1"), act("ada", "user 2"), act("bob", "user 2")];
    acts[2].action = "POST /users".parse().expect("a text");
    for act in &acts {
        trail.record(vec![act.clone()]).await.expect("acts are recorded");
    }
    let all = listed(trails, AuditFilter::default()).await;
    let filter = AuditFilter::default;
    for (filter, expected) in [
        (filter(), vec![2, 1, 0]),
        (AuditFilter { principal: acts[0].name.clone(), ..filter() }, vec![1, 0]),
        (AuditFilter { principal: Some("token bob".parse().expect("a text")), ..filter() }, vec![2]),
        (AuditFilter { principal: Some("tok".parse().expect("a text")), ..filter() }, vec![]),
        (AuditFilter { action: Some(acts[2].action.clone()), ..filter() }, vec![2]),
        (AuditFilter { object: acts[1].object.clone(), ..filter() }, vec![2, 1]),
        (AuditFilter { object: acts[1].object.clone(), principal: acts[0].name.clone(), ..filter() }, vec![1]),
        (
            AuditFilter { since: Some(all[0].at), ..filter() },
            (0..3).rev().filter(|n| all[2 - n].at >= all[0].at).collect(),
        ),
        (AuditFilter { since: Some(all[0].at + chrono::TimeDelta::microseconds(1)), ..filter() }, vec![]),
    ] {
        let found: Vec<_> = listed(trails, filter.clone()).await.into_iter().map(|entry| entry.act).collect();
        let expected: Vec<_> = expected.into_iter().map(|n| acts[n].clone()).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

pub async fn acts_come_in_pages_without_gaps_or_repeats(trails: &Trails) {
    let trail = &trails[0];
    let acts: Vec<_> = (0..7).map(|number| act("ada", &format!("user {number}"))).collect();
    trail.record(acts.clone()).await.expect("acts are recorded");
    for limit in [1, 3, 7, 50] {
        let (mut seen, mut page) = (Vec::new(), PageRequest::first(limit));
        let filter = AuditFilter { principal: acts[0].name.clone(), ..AuditFilter::default() };
        loop {
            let listed = trail.recorded(&filter, &page).await.expect("it can be read");
            seen.extend(listed.items.into_iter().map(|entry| entry.act.id));
            if listed.next.is_none() {
                break;
            }
            page = page.after(listed.next);
            // Others come meanwhile.
            trail.record(vec![act("ada", "user 8")]).await.expect("acts are recorded");
        }
        let expected: Vec<_> = acts.iter().rev().map(|act| act.id).collect();
        let start = seen.iter().position(|id| *id == expected[0]).expect("it is listed");
        assert_eq!(seen[start..], expected, "every act is listed once, newest first");
    }
}

pub async fn act_that_few_are_like_is_looked_for_some_at_a_time(trails: &Trails) {
    let trail = &trails[0];
    let rare = act("ada", "user 1");
    trail.record(vec![rare.clone()]).await.expect("acts are recorded");
    for _ in 0..LOOKED_AT / 1_000 {
        let others = (0..1_000).map(|_| act("bob", "user 2")).collect();
        trail.record(others).await.expect("acts are recorded");
    }
    let filter = AuditFilter { object: rare.object.clone(), ..AuditFilter::default() };
    let first = trail.recorded(&filter, &PageRequest::first(7)).await.expect("it can be read");
    assert_eq!(first.items, [], "as many were looked at as may be");
    let page = PageRequest::first(7).after(first.next);
    let second = trail.recorded(&filter, &page).await.expect("it can be read");
    let found: Vec<_> = second.items.into_iter().map(|entry| entry.act).collect();
    assert_eq!((found, second.next), (vec![rare], None), "the next page goes on from there");
    let none = AuditFilter { object: Some("user 3".parse().expect("a text")), ..filter };
    let last = trail.recorded(&none, &page).await.expect("it can be read");
    assert_eq!((last.items, last.next), (Vec::new(), None));
}

pub async fn bad_pages_are_refused(trails: &Trails) {
    for trail in trails {
        let refused = async |page: PageRequest| {
            trail.recorded(&AuditFilter::default(), &page).await.expect_err("it is refused").code()
        };
        for limit in [0, PageRequest::MAX + 1] {
            assert_eq!(refused(PageRequest::first(limit)).await, "invalid", "{limit}");
        }
        for cursor in [Cursor::from_text("x"), Cursor::after_bot(Uuid::nil().into())] {
            assert_eq!(refused(PageRequest::default().after(Some(cursor))).await, "malformed");
        }
    }
}
