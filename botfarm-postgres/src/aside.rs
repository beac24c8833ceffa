//! Sets bots aside whose passwords somebody else than the farm has written.

use crate::connection::repeat;
use crate::{error::Result, farm::Farm, unreadable::Unreadable};

impl Farm {
    /// Sets a bot aside as broken whose password somebody else has written, and says so in the log. False when there is no
    /// reason to, or none any more: it has been written anew meanwhile.
    pub(crate) async fn set_aside(&self, unreadable: &Unreadable) -> Result<bool> {
        let Unreadable { bot, login, sealed, source } = unreadable;
        if !source.is_tampering() {
            tracing::error!(%bot, %login, error = %source, "the password of an account cannot be read");
            return Ok(false);
        }
        let is_aside = repeat!(self.database, |connection| {
            Ok(sqlx::query_scalar!(r#"select botfarm_set_aside($1, $2) as "is_aside!""#, bot.as_uuid(), sealed)
                .fetch_one(&mut *connection)
                .await?)
        })?;
        if is_aside {
            tracing::error!(%bot, %login, error = %source, "an account is broken: its password cannot be read");
        }
        Ok(is_aside)
    }
}
