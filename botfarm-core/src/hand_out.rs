//! Hand-outs that have ended, across all bots.

use crate::{
    ending::Outcome,
    id::BotId,
    lease::LeaseRecord,
    name::{Env, ProjectId},
    text::{Holder, Login, Run},
    time::Timestamp,
};

/// A hand-out that has ended, and of which bot it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOut {
    /// The login of the bot, as it is now.
    pub login: Login,
    /// The env of the bot.
    pub env: Env,
    /// Who had it, and how that ended.
    pub record: LeaseRecord,
}

/// Which hand-outs to list: whatever is given must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandOutFilter {
    /// By this holder.
    pub holder: Option<Holder>,
    /// As a part of this run.
    pub run: Option<Run>,
    /// Of this bot.
    pub bot: Option<BotId>,
    /// Of a bot that was in this project then.
    pub project: Option<ProjectId>,
    /// Of a bot of this env.
    pub env: Option<Env>,
    /// That ended at this time or later.
    pub since: Option<Timestamp>,
    /// That began before this time.
    pub until: Option<Timestamp>,
    /// That left the bot like this, as the holder said.
    pub outcome: Option<Outcome>,
}

impl HandOutFilter {
    /// Whether a hand-out is one of those wanted.
    #[must_use]
    pub fn passes(&self, HandOut { env, record, .. }: &HandOut) -> bool {
        let Self { holder, run, bot, project, env: only, since, until, outcome } = self;
        let end = record.end.as_ref();
        holder.as_ref().is_none_or(|holder| *holder == record.terms.holder)
            && run.as_ref().is_none_or(|run| record.terms.run.as_ref() == Some(run))
            && bot.is_none_or(|bot| bot == record.bot)
            && project.as_ref().is_none_or(|project| *project == record.project)
            && only.as_ref().is_none_or(|only| only == env)
            && since.is_none_or(|since| end.is_some_and(|end| end.at >= since))
            && until.is_none_or(|until| record.from < until)
            && outcome.is_none_or(|outcome| end.is_some_and(|end| end.outcome == Some(outcome)))
    }
}

/// So many hand-outs are looked at for one page, however few pass the filter.
pub const LOOKED_AT: usize = 10_000;
