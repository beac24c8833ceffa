//! How a bot is, and what is done with it.

use crate::words::word_enum;

word_enum! {
    /// Whether the bot is fit for use.
    #[derive(Default)]
    Condition {
        /// Fit for use. The default, of new bots and of what a selector asks for.
        #[default]
        Ready = "ready",
        /// Left changed by a test; a cleaner leases it by asking for `dirty`, and releases it as clean.
        Dirty = "dirty",
        /// Of no use until somebody has looked at it.
        Broken = "broken",
    }
}

word_enum! {
    /// What the farm is doing with a bot.
    BotState {
        /// Nobody holds it.
        Free = "free",
        /// Somebody holds it.
        Leased = "leased",
        /// Its last lease has ended, and it rests before the next.
        Cooling = "cooling",
    }
}
