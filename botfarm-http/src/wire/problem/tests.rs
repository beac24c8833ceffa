use botfarm_core::{Fault, Field, Location, Oldest};

use super::*;

/// Every failure that a farm can meet, the status it is answered with, and what is on the wire besides.
fn all() -> Vec<(Error, u16)> {
    let bot = BotId::new();
    let at = "2026-01-02T03:04:05.678901Z".parse().unwrap();
    let holder: Holder = "ada".parse().unwrap();
    let note: Note = "it hung".parse().unwrap();
    let after = Duration::from_millis(1_500);
    let shortage = |oldest| {
        let mut shortage = Shortage::new(3);
        (shortage.matching, shortage.leased, shortage.cooling) = (9, 5, 2);
        (shortage.out_of_service, shortage.place, shortage.waiting) = (1, Some(2), 7);
        (shortage.oldest, shortage.retry_after) = (oldest, after);
        shortage
    };
    let busy = |holder, since, expires_at| {
        let mut busy = Busy::new(bot, Condition::Dirty);
        (busy.holder, busy.since, busy.expires_at) = (holder, since, expires_at);
        busy
    };
    vec![
        (Error::Busy(Box::new(busy(Some(holder.clone()), Some(at), Some(at)))), 409),
        (Error::Busy(Box::new(busy(None, None, None))), 409),
        (Error::Exhausted(Box::new(shortage(Some(Oldest::new(holder.clone(), at))))), 409),
        (Error::Exhausted(Box::new(shortage(None))), 409),
        (Error::NoMatch { selector: 2, detail: "no bot has env=prod".into() }, 422),
        (Error::lost(EndReason::Revoked, at, Some(holder.clone()), Some(note)), 410),
        (Error::lost(EndReason::Expired, at, None, None), 410),
        (Error::lost(EndReason::Released, at, None, None), 410),
        (Error::LoginTaken { login: "ada".parse().unwrap(), env: Env::STAGE }, 400),
        (Error::NoSuchBot { id: bot }, 404),
        (Error::NoSuchLease, 404),
        (Error::InUse { bot, holder: holder.clone(), expires_at: at }, 409),
        (
            Error::Invalid {
                faults: vec![
                    Fault::new(Field::other("a"), "is bad"),
                    Fault::new(Location::from(Field::other("b")).item(0), "is worse"),
                ],
            },
            422,
        ),
        (Error::Malformed { detail: "not a cursor".into() }, 400),
        (Error::KeyReused, 422),
        (Error::OutcomeUnknown, 409),
        (Error::Unauthenticated { detail: "send a token".into() }, 401),
        (Error::Forbidden { detail: "needs the role admin".into() }, 403),
        (Error::NotHolder { bot, holder }, 403),
        (Error::Unavailable { detail: "the store is gone".into(), retry_after: after, source: None }, 503),
    ]
}

#[test]
fn every_error_survives_the_trip_whole() {
    for (error, status) in all() {
        let problem = Problem::from(&error);
        assert_eq!(problem.status, status, "{error:?}");
        let sent = serde_json::to_string(&problem).unwrap();
        let received: Problem = serde_json::from_str(&sent).unwrap();
        assert_eq!(received, problem);
        let code = serde_json::from_str::<serde_json::Value>(&sent).unwrap()["code"].clone();
        assert_eq!(code, error.code());
        let rebuilt = Error::from(received);
        assert_eq!(format!("{rebuilt:?}"), format!("{error:?}"));
        assert_eq!(rebuilt.to_string(), error.to_string());
    }
}

#[test]
fn a_cause_stays_at_home() {
    let error = Error::backend("select password from bots");
    let sent = serde_json::to_value(Problem::from(&error)).unwrap();
    let expected = serde_json::json!({
        "type": "about:blank", "title": "Internal Server Error", "status": 500,
        "detail": "the farm's store failed unexpectedly; its log has the details", "code": "internal",
    });
    assert_eq!(sent, expected);
}

#[test]
fn what_a_newer_service_adds_does_no_harm() {
    let text =
        r#"{"type": "https://x", "title": "t", "status": 404, "detail": "d", "code": "no-such-lease", "new": [1]}"#;
    assert!(matches!(Error::from(serde_json::from_str::<Problem>(text).unwrap()), Error::NoSuchLease));
}
