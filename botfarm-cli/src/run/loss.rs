//! Keeps the lease alive while the command runs, and says when to stop the command.

use std::time::Duration;

use botfarm_core::{Beat, BootTime, BotFarm, EndReason, Error, Heartbeat, Stopped};

use super::say;

/// How long the command has between TERM and KILL.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// How long before the end of the lease the command is gone.
const MARGIN: Duration = Duration::from_secs(1);

/// At most this long until a revocation is noticed: the bots rest for 15 seconds after it, and the command needs 5 of
/// them to end.
pub(crate) const BEAT: Duration = Duration::from_secs(5);

/// Why the command must end, and by when it must be gone.
#[derive(Debug)]
pub(crate) struct Loss {
    /// For people.
    pub(crate) why: String,
    /// When to kill what is left.
    pub(crate) kill_at: BootTime,
}

/// Resolves when the command must be stopped: when the lease has ended, or in time before it does because the farm is out
/// of reach.
pub(crate) async fn loss(heartbeat: Heartbeat, farm: &dyn BotFarm) -> Loss {
    let said = |beat| match beat {
        Beat::Failed { trouble, tried_for } => {
            say(format_args!("the lease could not be renewed ({trouble}); trying again for {} s", tried_for.as_secs()));
        }
        Beat::Recovered => say("the lease is renewed again"),
    };
    let Stopped { lost, trouble, deadline, ttl, .. } =
        heartbeat.keep(farm, |ttl| GRACE.min(ttl / 4) + margin(ttl), said).await;
    let kill_at = deadline.before(margin(ttl));
    match lost {
        Some(Error::LeaseLost(lost)) if lost.reason == EndReason::Released => {
            // As its holder would: by the command itself, or by somebody who was asked to. No reason to kill.
            say("the lease was released while the command runs; its bots may be somebody else's now");
            std::future::pending().await
        }
        Some(error) => Loss { why: error.to_string(), kill_at: BootTime::now().after(GRACE).min(kill_at) },
        None => {
            let trouble = trouble.unwrap_or_else(|| "this machine stood still".to_owned());
            Loss { why: format!("the lease is about to end and cannot be renewed: {trouble}"), kill_at }
        }
    }
}

fn margin(ttl: Duration) -> Duration {
    MARGIN.min(ttl / 10)
}
