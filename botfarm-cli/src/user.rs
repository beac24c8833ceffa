//! USER: how people name an account on the command line.

use botfarm_core::{Bot, BotFarm, BotFilter, BotId, Env, PageRequest, nearest};

use crate::{failure::Failure, output::named};

/// Finds the bot by its id, its login, or its env and login: `stage/qa-7`.
///
/// # Errors
/// When there is none, or several.
pub(crate) async fn find(farm: &dyn BotFarm, user: &str) -> Result<Bot, Failure> {
    if let Ok(id) = user.parse::<BotId>() {
        return Ok(farm.get(id).await?);
    }
    let mut found = Vec::new();
    if let Some((Ok(env), Ok(login))) = user.split_once('/').map(|(env, login)| (env.parse::<Env>(), login.parse())) {
        let filter = BotFilter { env: Some(env), login: Some(login), ..BotFilter::default() };
        found = farm.list(&filter, &PageRequest::default()).await?.items;
    }
    if found.is_empty() {
        // A login may have a slash of its own. It is unique within an env, so a page is all.
        let login = user.parse().map_err(|error| Failure::usage(format!("USER: a login {error}")))?;
        let filter = BotFilter { login: Some(login), ..BotFilter::default() };
        found = farm.list(&filter, &PageRequest::default()).await?.items;
    }
    match <[Bot; 1]>::try_from(found) {
        Ok([bot]) => Ok(bot),
        Err(none) if none.is_empty() => {
            let others = farm.list(&BotFilter::default(), &PageRequest::first(PageRequest::MAX)).await?.items;
            let login = user.split_once('/').map_or(user, |(_, login)| login);
            let meant = nearest(login, others.iter().map(|bot| bot.login.as_str()));
            let hint = match meant {
                Some(meant) => format!("did you mean {meant}? `botfarm users` lists those that there are"),
                None => "`botfarm users` lists those that there are".to_owned(),
            };
            Err(Failure::new(format!("there is no user {user}; {hint}")))
        }
        Err(several) => {
            let names: Vec<_> = several.iter().map(named).collect();
            Err(Failure::usage(format!("there are {} users {user}; say which: {}", names.len(), names.join(", "))))
        }
    }
}
