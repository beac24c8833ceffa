//! A farm that does as another one does.

/// Implements [`BotFarm`](crate::BotFarm) or [`Operators`](crate::operators::Operators) for a type by handing every call
/// on to something that has the same methods. For wrappers: with it they cannot forget one.
///
/// ```
/// use botfarm_core::{BotFarm, delegate};
///
/// #[derive(Debug)]
/// struct Named<F> {
///     name: String,
///     farm: F,
/// }
///
/// delegate!([F: BotFarm] BotFarm for Named<F>, this => this.farm);
/// ```
#[macro_export]
macro_rules! delegate {
    ($trait:ident for $type:ty, $this:ident => $target:expr) => {
        $crate::delegate!([] $trait for $type, $this => $target);
    };
    ([$($generics:tt)*] BotFarm for $type:ty, $this:ident => $target:expr) => {
        $crate::delegate!(@impl [$($generics)*] $crate::BotFarm, $type, $this => $target, {
            create(bot: $crate::NewBot) -> $crate::Bot;
            import(bots: Vec<$crate::NewBot>, dry_run: bool) -> $crate::ImportReport;
            get(id: $crate::BotId) -> $crate::Bot;
            list(filter: &$crate::BotFilter, page: &$crate::PageRequest) -> $crate::Page<$crate::Bot>;
            update(id: $crate::BotId, changes: $crate::BotChanges) -> $crate::Bot;
            delete(id: $crate::BotId) -> ();
            acquire(request: $crate::LeaseRequest) -> $crate::Lease;
            lookup(id: $crate::LeaseId) -> $crate::Lease;
            renew(id: $crate::LeaseId, ttl: Option<std::time::Duration>) -> $crate::Lease;
            release(id: $crate::LeaseId, ending: $crate::Ending) -> ();
            release_bot(bot: $crate::BotId, release: $crate::BotRelease) -> ();
            revoke(bot: $crate::BotId, revocation: $crate::Revocation) -> ();
            end_run(run: &$crate::Run, ending: $crate::RunEnding) -> $crate::EndedRun;
            leases_of_run(
                run: &$crate::Run,
                page: &$crate::PageRequest
            ) -> $crate::Page<$crate::ActiveLease>;
            leases(page: &$crate::PageRequest) -> $crate::Page<$crate::ActiveLease>;
            history(bot: $crate::BotId, page: &$crate::PageRequest) -> $crate::Page<$crate::LeaseRecord>;
            hand_outs(
                filter: &$crate::HandOutFilter,
                page: &$crate::PageRequest
            ) -> $crate::Page<$crate::HandOut>;
            queue(page: &$crate::PageRequest) -> $crate::Page<$crate::QueuedRequest>;
            stats() -> $crate::Stats;
            check() -> ();
        });
    };
    ([$($generics:tt)*] Operators for $type:ty, $this:ident => $target:expr) => {
        $crate::delegate!(@impl [$($generics)*] $crate::operators::Operators, $type, $this => $target, {
            add_operator(
                login: $crate::Login,
                password: $crate::operators::PasswordHash,
                role: $crate::operators::Role
            ) -> $crate::operators::Operator;
            operators() -> Vec<$crate::operators::Operator>;
            operator(login: &$crate::Login) -> Option<(
                $crate::operators::Operator,
                $crate::operators::PasswordHash,
            )>;
            set_password(
                id: $crate::operators::OperatorId,
                from: Option<$crate::operators::PasswordHash>,
                to: $crate::operators::PasswordHash
            ) -> Option<$crate::operators::Operator>;
            refresh_password(
                id: $crate::operators::OperatorId,
                from: $crate::operators::PasswordHash,
                to: $crate::operators::PasswordHash
            ) -> bool;
            end_sessions(id: $crate::operators::OperatorId) -> Option<$crate::operators::Operator>;
            remove_operator(id: $crate::operators::OperatorId) -> bool;
            add_token(token: $crate::operators::NewToken) -> $crate::operators::Token;
            tokens() -> Vec<$crate::operators::Token>;
            token(digest: $crate::operators::TokenDigest) -> Option<$crate::operators::Token>;
            remove_token(id: $crate::operators::TokenId) -> bool;
            session(
                session: $crate::operators::SessionId,
                operator: $crate::operators::OperatorId
            ) -> Option<$crate::operators::Operator>;
            end_session(session: $crate::operators::SessionId, until: $crate::Timestamp) -> ();
        });
    };
    (@impl [$($generics:tt)*] $trait:path, $type:ty, $this:ident => $target:expr, {
        $($method:ident($($argument:ident: $of:ty),*) -> $answer:ty;)*
    }) => {
        #[$crate::__async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<$($generics)*> $trait for $type {
            $(
                async fn $method(&self, $($argument: $of),*) -> $crate::Result<$answer> {
                    let $this = self;
                    ($target).$method($($argument),*).await
                }
            )*
        }
    };
}
