//! What may have been meant by a selector.

use std::collections::BTreeSet;

use crate::{
    farm::BotFarm,
    page::{BotFilter, PageRequest},
    rules::nearest,
    selector::Selector,
};

/// So many bots are looked at.
const LOOKED_AT: usize = 250;

/// What may have been meant by a selector that no bot of `farm` could match: a login or a label that there is in that
/// project, env and domain, such as `role=admin`. Looks at some of the bots, not at all of a large farm. `None` when
/// nothing is near, or the farm cannot be asked.
pub async fn meant_by(selector: &Selector, farm: &dyn BotFarm) -> Option<String> {
    if selector.login.is_none() && selector.labels.is_empty() {
        return None;
    }
    let Selector { project, env, domain, .. } = selector.clone();
    let filter = BotFilter { project, env, domain, ..BotFilter::default() };
    let bots = farm.list(&filter, &PageRequest::first(LOOKED_AT)).await.ok()?.items;
    if let Some(login) = &selector.login
        && !bots.iter().any(|bot| bot.login.folded() == login.folded())
        && let Some(meant) = nearest(login.as_str(), bots.iter().map(|bot| bot.login.as_str()))
    {
        return Some(meant.to_owned());
    }
    selector.labels.iter().find_map(|(key, value)| {
        let values: BTreeSet<_> = bots.iter().filter_map(|bot| bot.labels.get(key)).collect();
        if values.contains(value) {
            return None;
        }
        if !values.is_empty() {
            return nearest(value, values).map(|meant| format!("{key}={meant}"));
        }
        let keys: BTreeSet<_> = bots.iter().flat_map(|bot| bot.labels.iter().map(|(key, _)| key)).collect();
        nearest(key, keys).map(|meant| format!("the label {meant}"))
    })
}
