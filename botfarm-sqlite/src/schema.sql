-- What the farm is known by, and what it is sealed with.
create table settings (
  name text primary key,
  value blob not null
) strict, without rowid;

create table bots (
  id blob primary key,
  login text not null,
  project text not null,
  env text not null,
  domain text not null,
  labels text not null, -- a JSON object
  sealed blob not null, -- the password, for this id, login, project, env and generation
  generation integer not null, -- greater whenever it is sealed for something else, or is another
  created_at integer not null, -- microseconds since 1970, as all times here
  condition text not null,
  fence integer not null, -- unless a lease in force says more
  sticky text,
  place integer not null, -- among the free ones: the least was free first
  rests_until integer
) strict, without rowid;

-- The leases in force. One row says all of a lease: there is no half of one.
create table leases (
  id blob primary key, -- not the id that its holder has, which is nowhere in this file
  terms text not null, -- a JSON object: who holds it, and what else it carries along
  sticky text,
  fingerprint blob,
  acquired_at integer not null,
  ttl integer not null, -- microseconds
  expires_at integer not null,
  bots text not null -- a JSON array of [id, fence, alias or null], in the order of the selectors
) strict, without rowid;

-- The hand-outs that have ended, in the order of their ends.
create table history (
  number integer primary key,
  lease blob not null,
  bot blob, -- null: it was deleted
  fence integer not null,
  project text not null, -- that the bot was in
  terms text not null, -- a JSON object
  acquired_at integer not null,
  ended_at integer not null,
  reason text not null,
  outcome text,
  ended_by text,
  remark text
) strict;

create unique index history_of_bot on history (bot, fence);

create table operators (
  id blob primary key,
  login text not null,
  role text not null,
  password text not null, -- Argon2id
  created_at integer not null,
  generation integer not null, -- how often all of its sessions have been ended
  seal blob not null -- over the rest of the row
) strict, without rowid;

create table tokens (
  id blob primary key,
  name text not null,
  role text not null,
  project text,
  env text,
  digest blob not null,
  created_at integer not null,
  expires_at integer,
  last_used_at integer,
  seal blob not null -- over the rest of the row, but the last use
) strict, without rowid;

-- Sessions that have ended before their time.
create table sessions (
  id blob primary key,
  remember_until integer not null
) strict, without rowid;

-- What became of changes that came with an idempotency key, for ten minutes.
create table changes (
  caller blob not null,
  key blob not null,
  request blob not null,
  attempt blob not null,
  begun_at integer not null,
  answer blob, -- null: it is under way, or unknown
  unknown integer not null default 0,
  primary key (caller, key)
) strict, without rowid;

-- Who did what, beside what the history tells.
create table audit (
  id blob primary key, -- later ones are greater
  at integer not null,
  principal text,
  name text,
  action text not null,
  object text,
  address text,
  request text,
  result text not null,
  count integer not null
) strict, without rowid;

create index audit_at on audit (at);

create index changes_begun_at on changes (begun_at);
create index changes_of_caller on changes (caller, begun_at);
