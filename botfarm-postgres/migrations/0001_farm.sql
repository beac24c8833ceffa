-- What selectors tell bots apart by, apart from labels: a handful of rows. It turns a selector with absent fields into
-- a few exact probes of an index, one for each pool.
create table pools (
    id integer generated always as identity primary key,
    project_id uuid not null,
    env text not null check (env in ('prod', 'preprod', 'stage')),
    domain text not null check (domain in ('canary', 'regular')),
    constraint pools_key unique (project_id, env, domain)
);

-- Cold: never written by a lease.
create table bots (
    id uuid primary key,
    pool_id integer not null references pools,
    env text not null,
    login text not null,
    -- The login as logins are compared. Folded by the client, so that every backend folds alike.
    login_key text not null,
    sealed bytea not null,
    -- 'key:value', sorted. Keys have no colon.
    labels text[] not null,
    created_at timestamptz not null default now(),
    constraint bots_login unique (env, login_key)
);
create index bots_list on bots (pool_id, id);

create sequence waiter_tickets;

-- Hot: what a lease changes, in a narrow table of its own.
create table bot_slots (
    bot_id uuid primary key references bots on delete cascade,
    pool_id integer not null references pools,
    labels text[] not null,
    condition text not null default 'ready' check (condition in ('ready', 'dirty', 'broken')),
    -- Not to be had before: the end of the rest that follows the lease's end while held, the end of the rest while not.
    free_at timestamptz not null default now(),
    fence bigint not null default 0,
    sticky text,
    -- The lease that holds it, or that held it until expires_at without anybody having said so yet.
    lease_id uuid,
    ord smallint not null default 0,
    role text,
    holder text,
    owner text,
    note text,
    url text,
    ttl interval,
    fingerprint bytea,
    leased_at timestamptz,
    expires_at timestamptz,
    -- Granted to a waiter who has not taken it yet.
    offered boolean not null default false,
    -- To how many callers the lease was given: a lease that two twins have received is not undone by one of them.
    answers smallint not null default 0
) with (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0
);
create index bot_slots_claim on bot_slots (pool_id, condition, free_at);
create unique index bot_slots_lease on bot_slots (lease_id, ord) where lease_id is not null;
create index bot_slots_sticky on bot_slots (sticky) where sticky is not null;

-- One row for each ended hand-out of a bot. Append-only; rows of deleted bots stay, so that their leases stay ended.
create table history (
    bot_id uuid not null,
    fence bigint not null,
    lease_id uuid not null,
    holder text not null,
    note text,
    url text,
    leased_at timestamptz not null,
    ended_at timestamptz not null,
    reason text not null check (reason in ('released', 'expired', 'revoked')),
    outcome text,
    ended_by text,
    end_note text,
    primary key (bot_id, fence)
);
create index history_lease on history (lease_id);

-- The queue. A row lives from the first unsuccessful try to the grant's receipt, or until its place is not kept longer.
create table waiters (
    lease_id uuid primary key,
    ticket bigint not null default nextval('waiter_tickets'),
    -- Whom to notify.
    process uuid not null,
    -- Moved on by the waiting process; a waiter whose time has passed blocks nobody. -infinity: has left.
    alive_until timestamptz not null,
    -- Until when its ticket is kept for whoever comes back with the same lease id.
    kept_until timestamptz not null,
    granted boolean not null default false,
    -- Whether a pass has left it empty-handed. Until then it does not stand in the way of those who find a bot by
    -- themselves: otherwise a busy farm with bots to spare would queue for them.
    parked boolean not null default false,
    -- Waiters of equal shape are served by the same bots.
    shape text not null,
    -- [{"ids", "project_id", "env", "domain", "labels", "condition", "role"}]
    wants jsonb not null,
    avoid uuid[] not null,
    sticky text,
    holder text not null,
    owner text,
    note text,
    url text,
    ttl interval not null,
    fingerprint bytea
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
create index waiters_queue on waiters (ticket) where not granted;

-- Each life of the server that somebody has noticed: a restart or a promotion begins another.
create table epochs (
    timeline bigint not null,
    started_at timestamptz not null,
    takeover_after timestamptz not null,
    primary key (timeline, started_at)
);

-- A value sealed with the farm's key, so that a wrong key is found out before it seals anything.
create table key_check (
    one boolean primary key default true check (one),
    sealed bytea not null
);

-- What the farm is doing with a bot at this moment.
create function botfarm_state(slot bot_slots) returns text language sql stable as $$
    select case
        when slot.lease_id is not null and slot.expires_at > now() then 'leased'
        when slot.free_at > now() then 'cooling'
        else 'free'
    end
$$;

-- The timeline of the write-ahead log. It grows with every promotion of a replica.
create function botfarm_timeline() returns bigint language sql volatile as $$
    select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint
$$;

-- The fence after this one. The timeline stands above the count, so that every grant after a promotion compares higher
-- than all before it, also than those that the replica has never heard of.
create function botfarm_next_fence(fence bigint) returns bigint language sql volatile as $$
    select greatest(fence, botfarm_timeline() << 40) + 1
$$;

-- Whether expired leases may be taken over: the server has been up for long enough that their holders could renew.
create function botfarm_may_take_over() returns boolean language sql stable as $$
    select exists (
        select from epochs
        where timeline = botfarm_timeline()
            and started_at = pg_postmaster_start_time()
            and takeover_after <= now()
    )
$$;

insert into epochs values (botfarm_timeline(), pg_postmaster_start_time(), now());

-- The first n bots that fit a want and were free when the snapshot was taken: those last leased with the sticky key,
-- then the least recently used.
create function botfarm_free(
    want jsonb, but_not uuid[], sticky_key text, at timestamptz, snapshot pg_snapshot, n integer
)
returns setof uuid language plpgsql stable as $$
declare
    wanted_labels text[] := array(select jsonb_array_elements_text(want->'labels'));
    wanted_ids uuid[];
    wanted_condition text := want->>'condition';
    may_take_over boolean := botfarm_may_take_over();
begin
    if jsonb_typeof(want->'ids') = 'array' then
        wanted_ids := array(select jsonb_array_elements_text(want->'ids')::uuid);
        return query
            select s.bot_id
            from bot_slots s
            where s.bot_id = any(wanted_ids)
                and s.condition = wanted_condition
                and s.free_at <= at
                and (s.lease_id is null or may_take_over)
                and pg_visible_in_snapshot(s.xmin::text::xid8, snapshot)
                and s.bot_id <> all(but_not)
            order by s.sticky is not distinct from sticky_key and sticky_key is not null desc, s.leased_at desc nulls last
            limit n;
        return;
    end if;
    if sticky_key is not null then
        return query
            select s.bot_id
            from bot_slots s
            join pools p on p.id = s.pool_id
            where s.sticky = sticky_key
                and p.project_id = coalesce((want->>'project_id')::uuid, p.project_id)
                and p.env = coalesce(want->>'env', p.env)
                and p.domain = coalesce(want->>'domain', p.domain)
                and s.condition = wanted_condition
                and s.free_at <= at
                and s.labels @> wanted_labels
                and (s.lease_id is null or may_take_over)
                and pg_visible_in_snapshot(s.xmin::text::xid8, snapshot)
                and s.bot_id <> all(but_not)
            order by s.leased_at desc
            limit n;
    end if;
    return query
        select f.bot_id
        from pools p
        cross join lateral (
            select s.bot_id, s.free_at
            from bot_slots s
            where s.pool_id = p.id
                and s.condition = wanted_condition
                and s.free_at <= at
                and s.labels @> wanted_labels
                and (s.lease_id is null or may_take_over)
                and pg_visible_in_snapshot(s.xmin::text::xid8, snapshot)
                and s.bot_id <> all(but_not)
            order by s.free_at
            limit n
        ) f
        where p.project_id = coalesce((want->>'project_id')::uuid, p.project_id)
            and p.env = coalesce(want->>'env', p.env)
            and p.domain = coalesce(want->>'domain', p.domain)
        order by f.free_at
        limit n;
end $$;

-- The first n bots that fit a want, whatever their condition and whoever holds them.
create function botfarm_existing(want jsonb, but_not uuid[], n integer)
returns setof uuid language plpgsql stable as $$
declare
    wanted_labels text[] := array(select jsonb_array_elements_text(want->'labels'));
    wanted_ids uuid[];
begin
    if jsonb_typeof(want->'ids') = 'array' then
        wanted_ids := array(select jsonb_array_elements_text(want->'ids')::uuid);
    end if;
    return query
        select b.id
        from pools p
        cross join lateral (
            select b.id
            from bots b
            where b.pool_id = p.id
                and b.labels @> wanted_labels
                and (wanted_ids is null or b.id = any(wanted_ids))
                and b.id <> all(but_not)
            order by b.id
            limit n
        ) b
        where p.project_id = coalesce((want->>'project_id')::uuid, p.project_id)
            and p.env = coalesce(want->>'env', p.env)
            and p.domain = coalesce(want->>'domain', p.domain)
        limit n;
end $$;

-- Distinct free bots for as many of the wants as can be, null for the others: maximum bipartite matching by augmenting
-- paths. For n wants the first n candidates of each are enough, by Hall's theorem. Without a time: of all bots that there
-- are, free or not.
create function botfarm_assign(wants jsonb, but_not uuid[], sticky_key text, at timestamptz, snapshot pg_snapshot)
returns uuid[] language plpgsql stable as $$
declare
    n integer := jsonb_array_length(wants);
    edge_want integer[] := '{}';
    edge_bot uuid[] := '{}';
    chosen uuid[] := array_fill(null::uuid, array[n]);
    candidates uuid[];
    line integer[];
    seen uuid[];
    seen_from integer[];
    found uuid;
    previous uuid;
    current integer;
begin
    for w in 1..n loop
        if at is null then
            candidates := array(select botfarm_existing(wants->(w - 1), but_not, n));
        else
            candidates := array(select botfarm_free(wants->(w - 1), but_not, sticky_key, at, snapshot, n));
        end if;
        edge_bot := edge_bot || candidates;
        edge_want := edge_want || array_fill(w, array[cardinality(candidates)]);
    end loop;
    for w in 1..n loop
        line := array[w];
        seen := '{}';
        seen_from := '{}';
        found := null;
        while cardinality(line) > 0 and found is null loop
            current := line[1];
            line := line[2:];
            for e in 1..cardinality(edge_bot) loop
                continue when edge_want[e] <> current or edge_bot[e] = any(seen);
                seen := seen || edge_bot[e];
                seen_from := seen_from || current;
                if array_position(chosen, edge_bot[e]) is null then
                    found := edge_bot[e];
                    exit;
                end if;
                line := line || array_position(chosen, edge_bot[e]);
            end loop;
        end loop;
        while found is not null loop
            current := seen_from[array_position(seen, found)];
            previous := chosen[current];
            chosen[current] := found;
            exit when current = w;
            found := previous;
        end loop;
    end loop;
    return chosen;
end $$;

-- Serves the queue: first come first served among those whom a free bot fits. One pass at a time; a pass never waits for
-- a bot, and touches none but free ones. A grant is an offer, for the waiter to take up in time; what a request for
-- many cannot use yet stays reserved for it for the rest of the pass, and for those after it.
create function botfarm_match(offer interval, most integer)
returns table (granted_lease uuid, granted_process uuid) language plpgsql as $$
declare
    w waiters;
    at timestamptz;
    seen pg_snapshot;
    newest bigint;
    last_ticket bigint := 0;
    served integer := 0;
    tries integer := 0;
    hopeless text[] := '{}';
    reserved uuid[] := '{}';
    chosen uuid[];
    locked integer;
begin
    perform pg_advisory_xact_lock(7238461);
    -- Who comes after this is for the next pass, and so is what is freed. Otherwise a bot could go to a waiter of this
    -- one's end, past those who were looked at before it was free.
    newest := (select max(ticket) from waiters);
    seen := pg_current_snapshot();
    while served < most loop
        at := clock_timestamp();
        select * into w
        from waiters
        where not granted
            and alive_until > at
            and ticket > last_ticket
            and ticket <= newest
            and shape <> all(hopeless)
        order by ticket
        limit 1;
        exit when not found;
        if exists (select from history h where h.lease_id = w.lease_id)
            or exists (
                select from bot_slots s
                where s.lease_id = w.lease_id
                    and not (s.offered and s.expires_at <= at)
            )
        then
            -- A twin had the lease without waiting. Let this one see what has become of it.
            update waiters x set granted = true where x.lease_id = w.lease_id;
            granted_lease := w.lease_id;
            granted_process := w.process;
            return next;
            continue;
        end if;
        chosen := botfarm_assign(w.wants, w.avoid || reserved, w.sticky, at, seen);
        if array_position(chosen, null) is not null then
            last_ticket := w.ticket;
            if array_position(botfarm_assign(w.wants, w.avoid, null, null, null), null) is not null then
                -- A bot that it cannot do without has gone. Nothing is kept for it; let it see.
                update waiters x set granted = true where x.lease_id = w.lease_id and not x.granted;
                granted_lease := w.lease_id;
                granted_process := w.process;
                return next;
            elsif cardinality(chosen) = 1 then
                hopeless := hopeless || w.shape;
            else
                reserved := reserved || array_remove(chosen, null);
            end if;
            continue;
        end if;
        -- Waits for a heartbeat of the same row. Both lock in the order of the tickets.
        perform from waiters
        where lease_id = w.lease_id
            and not granted
            and alive_until > at
        for no key update;
        if not found then
            last_ticket := w.ticket;
            continue;
        end if;
        perform from bot_slots
        where bot_id = any(chosen)
            and free_at <= at
        order by bot_id
        for no key update skip locked;
        get diagnostics locked = row_count;
        if locked < cardinality(chosen) then
            -- Somebody is claiming one of them at this moment. Look again; another pass comes soon in any case.
            tries := tries + 1;
            if tries > 20 then
                last_ticket := w.ticket;
                reserved := reserved || chosen;
            end if;
            continue;
        end if;
        begin
            insert into history (bot_id, fence, lease_id, holder, note, url, leased_at, ended_at, reason)
            select s.bot_id, s.fence, s.lease_id, s.holder, s.note, s.url, s.leased_at, s.expires_at, 'expired'
            from bot_slots s
            where s.bot_id = any(chosen)
                and s.lease_id is not null
                and not s.offered;
            at := clock_timestamp();
            update bot_slots s
            set lease_id = w.lease_id,
                ord = array_position(chosen, s.bot_id) - 1,
                role = w.wants->(array_position(chosen, s.bot_id) - 1)->>'role',
                holder = w.holder,
                owner = w.owner,
                note = w.note,
                url = w.url,
                ttl = w.ttl,
                fingerprint = w.fingerprint,
                sticky = w.sticky,
                leased_at = at,
                expires_at = at + offer,
                free_at = at + offer,
                fence = botfarm_next_fence(s.fence),
                offered = true,
                answers = 0
            where s.bot_id = any(chosen);
        exception when unique_violation then
            -- A twin is having the lease at this moment.
            null;
        end;
        update waiters x set granted = true where x.lease_id = w.lease_id;
        last_ticket := w.ticket;
        served := served + 1;
        granted_lease := w.lease_id;
        granted_process := w.process;
        return next;
    end loop;
    delete from waiters
    where lease_id in (select lease_id from waiters where kept_until < clock_timestamp() for update skip locked);
end $$;

-- Whether a bot is one of those that a want names, or it names none.
create function botfarm_named(want jsonb, bot uuid) returns boolean language sql immutable as $$
    select jsonb_typeof(want->'ids') is distinct from 'array' or want->'ids' ? bot::text
$$;

-- Whether one bot could be wanted by both, whatever its condition: as far as the wants tell, or, when one of them names
-- bots, as far as these are such bots.
create function botfarm_overlap(one jsonb, other jsonb) returns boolean language sql stable as $$
    select case when jsonb_typeof(one->'ids') = 'array' or jsonb_typeof(other->'ids') = 'array' then
        exists (
            select from bots b
            join pools p on p.id = b.pool_id
            cross join (values (one), (other)) w (want)
            where b.id in (
                    select jsonb_array_elements_text(
                        case when jsonb_typeof(one->'ids') = 'array' then one->'ids' else other->'ids' end
                    )::uuid
                )
                and botfarm_named(w.want, b.id)
                and p.project_id = coalesce((w.want->>'project_id')::uuid, p.project_id)
                and p.env = coalesce(w.want->>'env', p.env)
                and p.domain = coalesce(w.want->>'domain', p.domain)
                and b.labels @> array(select jsonb_array_elements_text(w.want->'labels'))
            group by b.id
            having count(*) = 2
        )
    else
        (one->>'project_id' is null or other->>'project_id' is null or one->>'project_id' = other->>'project_id')
        and (one->>'env' is null or other->>'env' is null or one->>'env' = other->>'env')
        and (one->>'domain' is null or other->>'domain' is null or one->>'domain' = other->>'domain')
        and not exists (
            select from jsonb_array_elements_text(one->'labels') i
            join jsonb_array_elements_text(other->'labels') j
                on split_part(i.value, ':', 1) = split_part(j.value, ':', 1)
                and i.value <> j.value
        )
    end
$$;
