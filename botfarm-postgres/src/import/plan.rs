//! What an import is to do.

use botfarm_core::{
    BotId, Fault, NewBot, SealedFor,
    rules::{self, Difference},
};
use sqlx::PgTransaction;

use super::BATCH;
use crate::{
    error::Result,
    farm::Farm,
    rows::{self, label_texts},
    seals,
};

/// What an import does to the farm.
#[derive(Default)]
pub(super) struct Plan<'a> {
    pub(super) new: Vec<Row<'a>>,
    /// Of which only what the pool does not care about changes: login and password.
    pub(super) changed: Vec<Row<'a>>,
    /// Of which project, domain or labels change.
    pub(super) moved: Vec<Row<'a>>,
    pub(super) unchanged: usize,
    /// By row.
    pub(super) faults: Vec<(usize, Fault)>,
}

/// What becomes of a bot, and what its password is sealed as so far.
pub(super) struct Row<'a> {
    pub(super) id: BotId,
    pub(super) bot: &'a NewBot,
    pub(super) generation: i64,
    pub(super) was: Vec<u8>,
}

impl Farm {
    /// Finds the accounts that the farm has already, and what about them differs.
    pub(super) async fn plan<'a>(&self, transaction: &mut PgTransaction<'_>, bots: &'a [NewBot]) -> Result<Plan<'a>> {
        let mut plan = Plan { faults: rules::twins(bots), ..Plan::default() };
        for (start, batch) in bots.chunks(BATCH).enumerate().map(|(index, batch)| (index * BATCH, batch)) {
            let envs: Vec<_> = batch.iter().map(|bot| bot.env.as_str().to_owned()).collect();
            let logins: Vec<_> = batch.iter().map(|bot| bot.login.folded()).collect();
            let rows = sqlx::query!(
                r#"select
                    n.row as "row!",
                    b.id as "id?",
                    b.login as "login?",
                    b.sealed as "sealed?",
                    b.generation as "generation?",
                    b.labels as "labels?",
                    p.project as "project?",
                    p.env as "env?",
                    p.domain as "domain?",
                    case when botfarm_state(s) = 'leased' then s.terms->>'holder' end as holder
                from unnest($1::text[], $2::text[]) with ordinality n (env, login_key, row)
                left join bots b on b.env = n.env and b.login_key = n.login_key
                left join pools p on p.id = b.pool_id
                left join bot_slots s on s.bot_id = b.id
                order by n.row"#,
                &envs,
                &logins,
            )
            .fetch_all(&mut **transaction)
            .await?;
            for row in rows {
                let at = usize::try_from(row.row).unwrap_or(1) - 1;
                let (Some(bot), number) = (batch.get(at), start + at) else { continue };
                let (Some(id), Some(sealed)) = (row.id, row.sealed) else {
                    plan.new.push(Row { id: BotId::new(), bot, generation: 0, was: Vec::new() });
                    continue;
                };
                let id = BotId::from(id);
                let of = SealedFor {
                    bot: id,
                    env: row.env.as_deref().unwrap_or_default(),
                    login: row.login.as_deref().unwrap_or_default(),
                    project: row.project.as_deref().unwrap_or_default(),
                    generation: row.generation.unwrap_or_default(),
                };
                // One that cannot be read gets the one that is given.
                let same_password = self.seals.open(&sealed, &of).is_ok_and(|password| password == bot.password);
                let generation = seals::after(of.generation);
                let difference = Difference {
                    project: row.project.as_deref() != Some(bot.project.as_str()),
                    domain: row.domain.as_deref() != Some(bot.domain.as_str()),
                    login: row.login.as_deref() != Some(bot.login.as_str()),
                    labels: row.labels != Some(label_texts(&bot.labels)),
                    password: !same_password,
                };
                if let Some(holder) = row.holder {
                    let holder = rows::text(&holder)?;
                    plan.faults.extend(difference.held(number, &holder).map(|fault| (number, fault)));
                }
                let kept = Row { id, bot, generation, was: sealed };
                if difference.project || difference.domain || difference.labels {
                    plan.moved.push(kept);
                } else if !difference.is_none() {
                    plan.changed.push(kept);
                } else {
                    plan.unchanged += 1;
                }
            }
        }
        Ok(plan)
    }
}
