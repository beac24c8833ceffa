-- Projects and envs are names of a team's own.
alter table tokens
    alter column project_id type text using project_id::text,
    drop constraint tokens_env_check;

-- The envs of which a selector takes no bot: those whose bots are leased to those alone who name the env or the bot, in a
-- selector that names neither.
alter table selectors add column not_envs text[] not null default '{}';
