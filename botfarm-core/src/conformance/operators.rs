//! Proves what keeps the operators of a farm: one named test for each claim of [`Operators`].
//!
//! ```
//! # use std::sync::Arc;
//! # use botfarm_core::operators::Operators;
//! # fn my_farm() -> Vec<Arc<dyn Operators>> { unimplemented!() }
//! async fn farm() -> Vec<Arc<dyn Operators>> {
//!     my_farm()
//! }
//!
//! botfarm_core::conformance_operators!(farm);
//! ```
//!
//! `farm` is called once for each test, and may give whatever is an [`OperatorsFixture`]. Each test needs a farm of its
//! own, without operators: there is one last admin in a farm.

use std::{
    collections::HashSet,
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    answers::{faults, refused},
    trial::text,
    waiter::until,
};
use crate::{
    Env, Field, Holder, Login, ProjectId, Result, Timestamp,
    operators::{NewToken, Operator, Operators, PasswordHash, Role, Scope, SessionId, Token, TokenDigest},
};

/// What keeps the operators under test, and whatever has to live as long.
pub trait OperatorsFixture {
    /// Handles to one and the same store, at least one. A claim goes through all of them in turn.
    fn handles(&self) -> Vec<Arc<dyn Operators>>;
}

impl<O: Operators + Clone> OperatorsFixture for O {
    fn handles(&self) -> Vec<Arc<dyn Operators>> {
        vec![Arc::new(self.clone()), Arc::new(self.clone())]
    }
}

impl OperatorsFixture for Vec<Arc<dyn Operators>> {
    fn handles(&self) -> Vec<Arc<dyn Operators>> {
        self.clone()
    }
}

/// Lists the claims, and makes a macro that makes tests of them.
macro_rules! claims {
    ($d:tt $($claim:ident,)+) => {
        /// Makes a test of each claim about operators. See [`operators`](crate::conformance::operators).
        #[macro_export]
        macro_rules! conformance_operators {
            ($d make:expr) => {
                $(
                    #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $claim() {
                        let fixture = ($d make)().await;
                        let ground = $d crate::conformance::operators::Ground::on(&fixture);
                        $d crate::conformance::operators::$claim(ground).await;
                    }
                )+
            };
        }
    };
}

claims! { $
    ended_session_is_over_on_every_handle,
    ended_session_stays_ended,
    ended_sessions_are_those_of_all_earlier_generations,
    expired_token_is_refused_and_still_listed,
    hashes_are_not_shown,
    last_admin_stays,
    new_password_takes_the_place_of_the_old_and_ends_all_sessions,
    one_of_many_admins_who_remove_each_other_stays,
    one_of_many_who_take_a_name_gets_it,
    one_of_many_who_change_a_password_does,
    operator_is_kept_as_given,
    operators_are_listed_by_login,
    operators_have_logins_of_their_own_case_aside,
    refreshed_password_hash_ends_no_session,
    removed_operator_is_gone_with_its_sessions,
    removed_token_is_refused,
    token_is_found_by_its_digest,
    token_is_kept_as_given,
    tokens_are_listed_by_name,
    tokens_have_names_of_their_own,
    use_of_a_token_is_noted,
}

/// The ground that one claim is tried on.
#[derive(Debug)]
pub struct Ground {
    handles: Vec<Arc<dyn Operators>>,
    turn: AtomicUsize,
}

impl Ground {
    /// The fixture's store.
    ///
    /// # Panics
    /// When the fixture has no handle.
    #[must_use]
    pub fn on(fixture: &impl OperatorsFixture) -> Self {
        let handles = fixture.handles();
        assert!(!handles.is_empty(), "a fixture has at least one handle to its store");
        Self { handles, turn: AtomicUsize::new(0) }
    }

    /// The store, by one handle after the other.
    fn store(&self) -> &Arc<dyn Operators> {
        &self.handles[self.turn.fetch_add(1, Ordering::Relaxed) % self.handles.len()]
    }

    async fn add(&self, name: &str, role: Role) -> Operator {
        let added = self.store().add_operator(login(name), hash(name), role).await;
        added.expect("an operator of a new login is kept")
    }

    async fn add_token(&self, token: &NewToken) -> Token {
        self.store().add_token(token.clone()).await.expect("a token of a new name is kept")
    }

    async fn token(&self, token: &NewToken) -> Option<Token> {
        self.store().token(token.digest).await.expect("a token can be looked for")
    }

    async fn session(&self, session: SessionId, operator: &Operator) -> Option<Operator> {
        self.store().session(session, operator.id).await.expect("a session can be looked for")
    }

    async fn operators(&self) -> Vec<Operator> {
        self.store().operators().await.expect("operators can be listed")
    }

    async fn tokens(&self) -> Vec<Token> {
        self.store().tokens().await.expect("tokens can be listed")
    }
}

fn login(name: &str) -> Login {
    text(name)
}

fn hash(of: &str) -> PasswordHash {
    PasswordHash::from_phc(format!("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$hash-of-{of}"))
}

fn new_session() -> SessionId {
    SessionId(Uuid::new_v4())
}

/// A token for everything, for ever.
fn new_token(name: &str) -> NewToken {
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(Uuid::new_v4().as_bytes());
    digest[16..].copy_from_slice(Uuid::new_v4().as_bytes());
    let name: Holder = text(name);
    NewToken { name, role: Role::Tester, scope: Scope::default(), expires_at: None, digest: TokenDigest(digest) }
}

/// An hour from now, about.
fn later(now: Timestamp) -> Timestamp {
    now + Duration::from_hours(1)
}

/// That one field is at fault.
#[track_caller]
fn fault_at<T: Debug>(answer: Result<T>, field: Field, promise: &str) {
    let places: Vec<_> = faults(answer, promise).into_iter().map(|fault| fault.at).collect();
    assert_eq!(places, [field.into()], "{promise}");
}

pub async fn operator_is_kept_as_given(ground: Ground) {
    for (name, role) in [("Ada@Example.com", Role::Viewer), ("bob", Role::Tester), ("Äda", Role::Admin)] {
        let added = ground.add(name, role).await;
        assert_eq!((&added.login, added.role), (&login(name), role), "an operator is kept as it was given");
        for spelling in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
            let found = ground.store().operator(&login(&spelling)).await.expect("an operator can be looked for");
            assert_eq!(found, Some((added.clone(), hash(name))), "an operator is found by its login, case aside");
        }
        assert!(ground.operators().await.contains(&added), "an operator is listed as it was given");
    }
    let unknown = ground.store().operator(&login("eve")).await.expect("an operator can be looked for");
    assert_eq!(unknown, None, "nobody is found by a login that nobody has");
}

pub async fn operators_are_listed_by_login(ground: Ground) {
    assert_eq!(ground.operators().await, [], "a farm begins without operators");
    for name in ["cy", "Bob", "ada", "Zoe", "dan_a", "dan-b", "Ödön"] {
        ground.add(name, Role::Viewer).await;
    }
    let logins: Vec<_> = ground.operators().await.into_iter().map(|operator| operator.login.to_string()).collect();
    assert_eq!(logins, ["ada", "Bob", "cy", "dan-b", "dan_a", "Zoe", "Ödön"], "operators are listed by login");
}

pub async fn operators_have_logins_of_their_own_case_aside(ground: Ground) {
    let ada = ground.add("Ada", Role::Tester).await;
    let promise = "a login that differs in case alone is taken";
    for spelling in ["Ada", "ada", "ADA"] {
        let again = ground.store().add_operator(login(spelling), hash("other"), Role::Admin).await;
        fault_at(again, Field::Login, promise);
    }
    let kept = ground.store().operator(&ada.login).await.expect("an operator can be looked for");
    assert_eq!(kept, Some((ada.clone(), hash("Ada"))), "a refused call has changed nothing");
    assert_eq!(ground.operators().await, [ada], "a refused call has changed nothing");
}

pub async fn one_of_many_who_take_a_name_gets_it(ground: Ground) {
    let mut tries = JoinSet::new();
    for turn in 0..8 {
        let store = ground.store().clone();
        tries.spawn(async move {
            let operator = store.add_operator(login("ada"), hash(&turn.to_string()), Role::Viewer).await;
            let token = store.add_token(new_token("ci")).await;
            (operator.is_ok(), token.is_ok())
        });
    }
    let tries = tries.join_all().await;
    let got =
        (tries.iter().filter(|(operator, _)| *operator).count(), tries.iter().filter(|(_, token)| *token).count());
    assert_eq!(got, (1, 1), "of many who take one login or name at once, one gets it");
    assert_eq!((ground.operators().await.len(), ground.tokens().await.len()), (1, 1), "the others left nothing behind");
}

/// What is kept of `operator` and its password.
async fn kept(ground: &Ground, operator: &Operator) -> Option<(Operator, PasswordHash)> {
    ground.store().operator(&operator.login).await.expect("an operator can be looked for")
}

pub async fn new_password_takes_the_place_of_the_old_and_ends_all_sessions(ground: Ground) {
    let [ada, bob] = [ground.add("ada", Role::Tester).await, ground.add("bob", Role::Tester).await];
    let session = new_session();
    let set = async |from: Option<&str>, to: &str| {
        let set = ground.store().set_password(ada.id, from.map(hash), hash(to)).await;
        set.expect("a password can be replaced")
    };
    let mut now = ada.clone();
    for (from, to) in [(None, "reset"), (Some("reset"), "changed"), (Some("changed"), "changed")] {
        let changed = set(from, to).await.expect("the operator is there");
        assert_eq!(changed.generation, now.generation + 1, "another password begins another generation of sessions");
        now = changed;
        assert_eq!(Operator { generation: 0, ..now.clone() }, ada, "a new password changes nothing else");
        assert_eq!(kept(&ground, &ada).await, Some((now.clone(), hash(to))), "the new password is kept");
        for store in &ground.handles {
            let seen = store.session(session, ada.id).await.expect("a session can be looked for");
            assert_eq!(seen, Some(now.clone()), "every handle tells the generation in which sessions go on");
        }
    }
    assert_eq!(set(Some("reset"), "stolen").await, None, "a password is changed from what is kept alone");
    assert_eq!(kept(&ground, &ada).await, Some((now, hash("changed"))), "a refused call has changed nothing");
    assert_eq!(
        kept(&ground, &bob).await,
        Some((bob.clone(), hash("bob"))),
        "one operator's password is replaced alone"
    );
    assert!(ground.store().remove_operator(bob.id).await.expect("a tester can be removed"), "the operator was there");
    let set = ground.store().set_password(bob.id, None, hash("new")).await.expect("a password can be replaced");
    assert_eq!(set, None, "an operator who has gone has no password");
    assert_eq!(kept(&ground, &bob).await, None, "a new password does not bring an operator back");
}

pub async fn one_of_many_who_change_a_password_does(ground: Ground) {
    let ada = ground.add("ada", Role::Tester).await;
    let mut tries = JoinSet::new();
    for turn in 0..8 {
        let store = ground.store().clone();
        tries.spawn(async move { store.set_password(ada.id, Some(hash("ada")), hash(&turn.to_string())).await });
    }
    let tries = tries.join_all().await.into_iter();
    let done = tries.filter_map(|changed| changed.expect("a password can be replaced")).count();
    assert_eq!(done, 1, "of many who change a password from what it was, one does");
}

pub async fn refreshed_password_hash_ends_no_session(ground: Ground) {
    let ada = ground.add("ada", Role::Tester).await;
    let refresh = async |from: &str, to: &str| {
        let refreshed = ground.store().refresh_password(ada.id, hash(from), hash(to)).await;
        refreshed.expect("a hash can be replaced")
    };
    assert!(refresh("ada", "ada, better").await, "it is what is kept");
    assert_eq!(kept(&ground, &ada).await, Some((ada.clone(), hash("ada, better"))), "sessions go on");
    assert!(!refresh("ada", "ada, late").await, "another hash is kept by now");
    let changed = ground.store().set_password(ada.id, None, hash("new")).await.expect("a password can be replaced");
    assert!(!refresh("ada, better", "ada, best").await, "a new password is not replaced by the old one");
    assert_eq!(kept(&ground, &ada).await, changed.map(|ada| (ada, hash("new"))), "a refused call has changed nothing");
}

pub async fn ended_sessions_are_those_of_all_earlier_generations(ground: Ground) {
    let [ada, bob] = [ground.add("ada", Role::Tester).await, ground.add("bob", Role::Tester).await];
    let session = new_session();
    for generation in 1..3 {
        let ended = ground.store().end_sessions(ada.id).await.expect("sessions can be ended");
        let now = Operator { generation, ..ada.clone() };
        assert_eq!(ended, Some(now.clone()), "all sessions of earlier generations are over");
        for store in &ground.handles {
            let seen = store.session(session, ada.id).await.expect("a session can be looked for");
            assert_eq!(seen, Some(now.clone()), "every handle tells the generation in which sessions go on");
        }
        assert_eq!(kept(&ground, &ada).await, Some((now, hash("ada"))), "the password stays");
    }
    assert_eq!(ground.session(session, &bob).await, Some(bob.clone()), "others' sessions go on");
    assert!(ground.store().remove_operator(bob.id).await.expect("a tester can be removed"), "the operator was there");
    let ended = ground.store().end_sessions(bob.id).await.expect("sessions can be ended");
    assert_eq!(ended, None, "an operator who has gone has no sessions");
}

pub async fn removed_operator_is_gone_with_its_sessions(ground: Ground) {
    let [ada, bob] = [ground.add("ada", Role::Tester).await, ground.add("bob", Role::Tester).await];
    let session = new_session();
    assert_eq!(ground.session(session, &ada).await, Some(ada.clone()), "a session is its operator's");
    assert!(ground.store().remove_operator(ada.id).await.expect("a tester can be removed"), "the operator was there");
    for store in &ground.handles {
        let over = store.session(session, ada.id).await.expect("a session can be looked for");
        assert_eq!(over, None, "the sessions of an operator who has gone are over");
    }
    assert_eq!(ground.operators().await, [bob], "one operator has gone, and no other");
    let again = ground.store().remove_operator(ada.id).await.expect("it has gone already");
    assert!(!again, "who has gone cannot be removed");
    let new = ground.add("ada", Role::Viewer).await;
    assert_ne!(new.id, ada.id, "an id is not used again");
    assert_eq!(ground.session(session, &ada).await, None, "a new operator of the login does not get old sessions");
}

pub async fn last_admin_stays(ground: Ground) {
    let [ada, bob] = [ground.add("ada", Role::Admin).await, ground.add("bob", Role::Tester).await];
    refused(ground.store().remove_operator(ada.id).await, "forbidden", "the last admin stays");
    assert_eq!(ground.operators().await, [ada.clone(), bob.clone()], "a refused call has changed nothing");
    let cy = ground.add("cy", Role::Admin).await;
    for gone in [ada, bob] {
        let removed = ground.store().remove_operator(gone.id).await;
        assert!(removed.expect("others than the last admin can be removed"), "the operator was there");
    }
    refused(ground.store().remove_operator(cy.id).await, "forbidden", "the last admin stays");
}

pub async fn one_of_many_admins_who_remove_each_other_stays(ground: Ground) {
    let mut removals = JoinSet::new();
    let mut admins = Vec::new();
    for turn in 0..8 {
        admins.push(ground.add(&format!("admin {turn}"), Role::Admin).await);
    }
    for admin in &admins {
        let (store, id) = (ground.store().clone(), admin.id);
        removals.spawn(async move { store.remove_operator(id).await });
    }
    let mut removed = 0;
    for removal in removals.join_all().await {
        match removal {
            Ok(true) => removed += 1,
            other => drop(refused(other, "forbidden", "an admin is removed unless it is the last")),
        }
    }
    assert_eq!((removed, ground.operators().await.len()), (7, 1), "one admin stays");
}

pub async fn token_is_kept_as_given(ground: Ground) {
    let now = ground.add("clock", Role::Viewer).await.created_at;
    let scopes = [
        Scope::default(),
        Scope { project: Some(ProjectId::new()), env: None },
        Scope { project: None, env: Some(Env::PREPROD) },
        Scope { project: Some(ProjectId::new()), env: Some(Env::STAGE) },
        Scope { project: Some(text("shop")), env: Some(text("eu-west.stage")) },
    ];
    for (index, scope) in scopes.into_iter().enumerate() {
        let role = Role::ALL[index % Role::ALL.len()];
        let expires_at = (index % 2 == 0).then(|| later(now));
        let given = NewToken { role, scope: scope.clone(), expires_at, ..new_token(&format!("Token {index}")) };
        let kept = ground.add_token(&given).await;
        let expected = Token {
            id: kept.id,
            name: given.name.clone(),
            role,
            scope,
            created_at: kept.created_at,
            expires_at,
            last_used_at: None,
        };
        assert_eq!(kept, expected, "a token is kept as it was given, and unused");
        assert!(kept.created_at >= now, "a token is as old as the farm's clock says");
        assert!(ground.tokens().await.contains(&kept), "a token is listed as it was given");
    }
    let ids: HashSet<_> = ground.tokens().await.into_iter().map(|token| token.id).collect();
    assert_eq!(ids.len(), 5, "each token has an id of its own");
}

pub async fn tokens_are_listed_by_name(ground: Ground) {
    assert_eq!(ground.tokens().await, [], "a farm begins without tokens");
    for name in ["nightly", "CI", "ci-2", "ci_1"] {
        ground.add_token(&new_token(name)).await;
    }
    let names: Vec<_> = ground.tokens().await.into_iter().map(|token| token.name.to_string()).collect();
    assert_eq!(names, ["CI", "ci-2", "ci_1", "nightly"], "tokens are listed by name");
}

pub async fn tokens_have_names_of_their_own(ground: Ground) {
    let [first, second] = [new_token("ci"), new_token("ci")];
    let kept = ground.add_token(&first).await;
    fault_at(ground.store().add_token(second.clone()).await, Field::Name, "a token's name is taken");
    assert_eq!(ground.tokens().await, [kept], "a refused call has changed nothing");
    assert_eq!(ground.token(&second).await, None, "a refused call has changed nothing");
}

pub async fn token_is_found_by_its_digest(ground: Ground) {
    let given = [new_token("one"), new_token("two")];
    for token in &given {
        ground.add_token(token).await;
    }
    for token in &given {
        let found = ground.token(token).await.map(|found| found.name);
        assert_eq!(found.as_ref(), Some(&token.name), "a token is found by its own digest");
    }
    assert_eq!(ground.token(&new_token("one")).await, None, "no token is found by another digest");
}

pub async fn expired_token_is_refused_and_still_listed(ground: Ground) {
    let now = ground.add("clock", Role::Viewer).await.created_at;
    let over = NewToken { expires_at: Some(now), ..new_token("over") };
    let soon = NewToken { expires_at: Some(now + Duration::from_millis(200)), ..new_token("soon") };
    let live = NewToken { expires_at: Some(later(now)), ..new_token("live") };
    for token in [&over, &soon, &live] {
        ground.add_token(token).await;
    }
    assert_eq!(ground.token(&over).await, None, "a token that has expired is refused");
    until("a token expires by the farm's clock", async || ground.token(&soon).await.is_none()).await;
    assert!(ground.token(&live).await.is_some(), "a token is taken until it expires");
    assert_eq!(ground.tokens().await.len(), 3, "tokens that have expired are listed, too");
}

pub async fn use_of_a_token_is_noted(ground: Ground) {
    let [used, unused] = [new_token("used"), new_token("unused")];
    let created_at = ground.add_token(&used).await.created_at;
    ground.add_token(&unused).await;
    let now = ground.token(&used).await.expect("it is there").last_used_at.expect("it is in use just now");
    assert!(now >= created_at, "a token is used after it was made");
    let noted: Vec<_> = ground.tokens().await.into_iter().map(|token| (token.name, token.last_used_at)).collect();
    assert_eq!(noted, [(unused.name, None), (used.name, Some(now))], "the use of a token is noted for all to see");
}

pub async fn removed_token_is_refused(ground: Ground) {
    let [gone, other] = [new_token("gone"), new_token("other")];
    let id = ground.add_token(&gone).await.id;
    ground.add_token(&other).await;
    assert!(ground.token(&gone).await.is_some(), "a token is taken until it is removed");
    assert!(ground.store().remove_token(id).await.expect("a token can be removed"), "the token was there");
    for store in &ground.handles {
        let found = store.token(gone.digest).await.expect("a token can be looked for");
        assert_eq!(found, None, "a token that was removed is refused at once, on every handle");
    }
    assert!(!ground.store().remove_token(id).await.expect("it has gone already"), "the token has gone");
    let names: Vec<_> = ground.tokens().await.into_iter().map(|token| token.name).collect();
    assert_eq!(names, [other.name], "one token has gone, and no other");
    ground.add_token(&new_token("gone")).await;
    assert_eq!(ground.token(&gone).await, None, "a new token of the name does not bring the old one back");
}

pub async fn ended_session_is_over_on_every_handle(ground: Ground) {
    let ada = ground.add("ada", Role::Tester).await;
    let bob = ground.add("bob", Role::Admin).await;
    let [ended, other] = [new_session(), new_session()];
    for session in [ended, other] {
        assert_eq!(ground.session(session, &ada).await, Some(ada.clone()), "a session is its operator's");
    }
    ground.store().end_session(ended, later(ada.created_at)).await.expect("a session can be ended");
    for store in &ground.handles {
        let session = store.session(ended, ada.id).await.expect("a session can be looked for");
        assert_eq!(session, None, "an ended session is over at once, on every handle");
        let session = store.session(other, ada.id).await.expect("a session can be looked for");
        assert_eq!(session, Some(ada.clone()), "other sessions of the operator go on");
    }
    assert_eq!(ground.session(ended, &bob).await, None, "an ended session is nobody's");
    assert_eq!(ground.session(new_session(), &bob).await, Some(bob), "other operators' sessions go on");
}

pub async fn ended_session_stays_ended(ground: Ground) {
    let ada = ground.add("ada", Role::Tester).await;
    let session = new_session();
    // Ending it again, with whatever time, and ending others, some of them over already.
    for until in [later(ada.created_at), ada.created_at, later(ada.created_at)] {
        ground.store().end_session(session, until).await.expect("a session can be ended again");
        ground.store().end_session(new_session(), until).await.expect("a session can be ended");
        assert_eq!(ground.session(session, &ada).await, None, "an ended session stays ended");
    }
}

pub async fn hashes_are_not_shown(ground: Ground) {
    let token = new_token("ci");
    let digest = format!("{:?}", token.digest.0);
    ground.add("ada", Role::Tester).await;
    let kept = ground.add_token(&token).await;
    let again = ground.store().add_token(token.clone()).await.expect_err("the name is taken");
    let refused = ground.store().add_operator(login("ada"), hash("ada"), Role::Tester).await.expect_err("it is taken");
    let found = ground.store().operator(&login("ada")).await.expect("an operator can be looked for");
    let shown = format!("{:?} {token:?} {kept:?} {again:?} {again} {refused:?} {refused} {found:?}", ground.handles);
    for hidden in ["argon2id", "hash-of-ada", digest.trim_matches(['[', ']'])] {
        assert!(!shown.contains(hidden), "what is kept of a password or a token is shown nowhere: {shown}");
    }
}
