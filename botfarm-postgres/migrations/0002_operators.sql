-- Who may use a service of this farm. Kept beside the bots, so that all its replicas know the same.
create table operators (
    id uuid primary key,
    login text not null,
    -- The login as logins are compared, folded by the client.
    login_key text not null,
    password_hash text not null,
    role text not null check (role in ('viewer', 'tester', 'admin')),
    created_at timestamptz not null default now(),
    -- How often all of its sessions have been ended: those of an earlier generation are over.
    generation bigint not null default 0,
    -- Over the rest of the row, but created_at: whoever writes into the database makes no admin.
    seal bytea not null,
    constraint operators_login unique (login_key)
);

create table tokens (
    id uuid primary key,
    name text not null,
    role text not null check (role in ('viewer', 'tester', 'admin')),
    -- To what it is confined; null: to nothing.
    project_id text,
    env text,
    -- Computed with the farm's pepper: whoever writes into the database makes no token.
    digest bytea not null check (octet_length(digest) = 32),
    -- Over the rest of the row, but created_at and last_used_at.
    seal bytea not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    last_used_at timestamptz,
    constraint tokens_name unique (name),
    constraint tokens_digest unique (digest)
);

-- Sessions that were ended before they ended by themselves.
create table ended_sessions (
    id uuid primary key,
    until timestamptz not null
);
create index ended_sessions_until on ended_sessions (until);

-- Who did what, beside what the history tells. It only grows, until its entries are old.
create table audit (
    -- Made by whoever records it; later ones are greater.
    id uuid primary key,
    at timestamptz not null,
    principal text,
    name text,
    action text not null,
    object text,
    address text,
    request text,
    result text not null,
    count integer not null check (count > 0)
);
create index audit_at on audit (at);

-- What became of changes that came with an idempotency key, for ten minutes. Digests of who asked, the key, and what for.
create table changes (
    caller bytea not null,
    key bytea not null,
    request bytea not null,
    attempt uuid not null,
    begun_at timestamptz not null,
    -- Null: it is under way, or unknown.
    answer bytea,
    unknown boolean not null default false,
    primary key (caller, key)
);
create index changes_begun_at on changes (begun_at);
create index changes_caller on changes (caller, begun_at desc);
