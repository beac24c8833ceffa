-- Tables and what they are for. The functions that work on them are in sql/, and are laid anew whenever they change.
-- docs/postgres.md says who may change what, and under which lock.

-- What selectors tell bots apart by, apart from labels.
create table pools (
    id integer generated always as identity primary key,
    project text not null,
    env text not null,
    domain text not null,
    -- When a bot was last put back to where it stood among the free ones, to the second.
    put_back_at timestamptz not null default '-infinity',
    constraint pools_key unique (project, env, domain)
);

-- The distinct sets of labels that bots have: what a selector with labels is looked up in.
create table label_sets (
    id integer generated always as identity primary key,
    -- The SHA-256 of the labels: they may be longer than what an index takes.
    key bytea not null constraint label_sets_key unique,
    -- 'key:value', sorted. Keys have no colon.
    labels text[] not null
);
create index label_sets_labels on label_sets using gin (labels);

-- Cold: never written by a lease.
create table bots (
    id uuid primary key,
    pool_id integer not null references pools,
    env text not null,
    login text not null,
    -- The login as logins are compared. Folded by the client, so that every backend folds alike.
    login_key text not null,
    -- The password, for this id, env, login, project and generation.
    sealed bytea not null,
    -- Greater whenever the password is another, or is sealed for something else.
    generation bigint not null default 0,
    labels text[] not null,
    created_at timestamptz not null default now(),
    -- The call that changed it last: it is told so, should it ask again.
    changed_by uuid,
    constraint bots_login unique (login_key, env)
);
create index bots_list on bots (pool_id, id);

-- Hot: what a lease changes, in a narrow table of its own. One row for each bot.
create table bot_slots (
    bot_id uuid not null references bots on delete cascade,
    -- Counts the changes. With it a row is found past its dead versions, however many a long transaction keeps.
    version bigint not null default 0,
    pool_id integer not null references pools,
    -- Null: it has no labels.
    label_set_id integer references label_sets,
    condition text not null default 'ready' check (condition in ('ready', 'dirty', 'broken')),
    -- Not to be had before: the end of the rest that follows the lease's end while held, the end of the rest while not.
    free_at timestamptz not null default clock_timestamp(),
    -- What that was before it was handed out: a lease that is undone puts it back to where it stood.
    was_free_at timestamptz,
    fence bigint not null default 0,
    -- The key of the last lease, for whoever prefers the bots that it had.
    sticky text,
    -- The lease that holds it, or that held it until expires_at without anybody having said so yet.
    lease_id uuid,
    -- Which selector of the lease it is for, from 0, and what it is called there.
    ord smallint not null default 0,
    alias text,
    -- The condition in which it was handed out. While its lease is in force, condition is what an expiry leaves.
    leased_as text,
    phase text check (phase in ('offered', 'granted', 'seen')),
    -- While it is granted: the only call that was told of it. Whoever is told besides makes it seen.
    taker uuid,
    -- How many bots the lease has.
    size smallint,
    -- What the lease only carries along: {"holder", "owner", "address", "request", "note", "url"}.
    terms jsonb,
    ttl interval,
    fingerprint bytea,
    leased_at timestamptz,
    expires_at timestamptz,
    constraint bot_slots_phase check ((lease_id is null) = (phase is null))
) with (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0
);
-- Not unique by bot alone: such an index looks at all dead versions whenever a row changes.
create unique index bot_slots_bot on bot_slots (bot_id, version desc);
create index bot_slots_pool on bot_slots (pool_id, condition, free_at);
create index bot_slots_labels on bot_slots (label_set_id, pool_id, condition, free_at) where label_set_id is not null;
create unique index bot_slots_lease on bot_slots (lease_id, ord) where lease_id is not null;
create index bot_slots_run on bot_slots ((terms->>'run')) where lease_id is not null and terms->>'run' is not null;
create index bot_slots_sticky on bot_slots (sticky, leased_at desc) where sticky is not null;

-- One row for each ended hand-out of a bot. Rows of deleted bots stay, so that their leases stay ended.
create table history (
    bot_id uuid not null,
    fence bigint not null,
    lease_id uuid not null,
    terms jsonb not null,
    leased_at timestamptz not null,
    ended_at timestamptz not null,
    -- undone: nobody had been told of the lease, and nobody waited for it any more.
    reason text not null check (reason in ('released', 'expired', 'revoked', 'taken', 'undone')),
    outcome text,
    ended_by text,
    end_note text,
    primary key (bot_id, fence)
);
create index history_lease on history (lease_id);
-- What is looked for across all bots.
create index history_ended on history (ended_at);
create index history_run on history ((terms->>'run'), ended_at) where terms->>'run' is not null;
create index history_holder on history ((terms->>'holder'), ended_at);

-- The projects that bots have moved out of: up to which hand-out each was in it.
create table moves (
    bot_id uuid not null references bots (id) on delete cascade,
    fence bigint not null,
    project text not null,
    primary key (bot_id, fence)
);

-- How far the last round of clearing away old history has come.
create table history_cursor (
    one boolean primary key default true check (one),
    bot_id uuid not null
);

create sequence waiter_tickets;

-- The queue: the leases that calls wait for, and the places of those whose calls have gone. Who waits has wants; who was
-- granted its lease, was sent away, or has left, has none.
create table waiters (
    lease_id uuid primary key,
    -- Whose is smaller came first.
    ticket bigint not null default nextval('waiter_tickets'),
    -- When it first asked.
    since timestamptz not null default clock_timestamp(),
    -- False: it tries once. Nothing is kept for it.
    parked boolean not null,
    -- It waits for no longer, whatever has become of its calls.
    until timestamptz not null,
    -- Until when the ticket is kept for whoever asks again. Null while somebody listens.
    kept_until timestamptz,
    -- It was sent away: when, by whom, and with which remark.
    ended_at timestamptz,
    ended_by text,
    end_note text,
    avoid uuid[] not null,
    sticky text,
    terms jsonb not null,
    ttl interval not null,
    fingerprint bytea
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

create index waiters_run on waiters ((terms->>'run')) where terms->>'run' is not null;

-- The calls that wait for a lease: twins wait for the same one. A place goes with the last of its listeners.
create table listeners (
    lease_id uuid not null references waiters on delete cascade,
    call uuid not null,
    process uuid not null,
    primary key (lease_id, call)
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
create index listeners_process on listeners (process);

-- The distinct selectors that somebody waits for.
create table selectors (
    id bigint generated always as identity primary key,
    key bytea not null constraint selectors_key unique,
    -- '*': any. No name has an asterisk.
    project text not null,
    env text not null,
    domain text not null,
    labels text[] not null,
    condition text not null,
    bot_id uuid,
    login_key text,
    -- Envs of which it takes no bot: those whose bots are leased to those alone who name the env or the bot.
    not_envs text[] not null default '{}'
);
create index selectors_pool on selectors (project, env, domain);

-- What waiters wait for: a row for each selector of each.
create table wants (
    selector_id bigint not null constraint wants_selector references selectors,
    -- That of the waiter.
    ticket bigint not null,
    lease_id uuid not null references waiters on delete cascade,
    ord smallint not null,
    alias text,
    -- How many selectors the waiter has.
    size smallint not null,
    primary key (lease_id, ord)
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
create index wants_selector on wants (selector_id, ticket);

-- The processes with waiting calls, while they are alive.
create table processes (
    id uuid primary key,
    alive_until timestamptz not null
) with (fillfactor = 50);

-- Each life of the server that somebody has noticed: a restart or a promotion begins another.
create table epochs (
    started_at timestamptz primary key,
    timeline bigint not null,
    system bigint not null,
    takeover_after timestamptz not null,
    -- Grows with each promotion, and when the farm is restored on another server: the high bits of fences.
    bump bigint not null
);

-- A value sealed with the farm's key, so that a wrong key is found out before it seals anything.
create table key_check (
    one boolean primary key default true check (one),
    sealed bytea not null,
    -- By which the farm knows what it has written itself; sealed, too.
    pepper bytea not null
);

-- Which program laid the functions: an older one leaves those of a newer one alone.
create table functions (
    one boolean primary key default true check (one),
    version integer not null,
    digest bytea not null
);
