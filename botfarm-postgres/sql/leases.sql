-- Leases in force. Whoever works on a lease locks its id first, then its rows in the order of the bots, then looks at the
-- clock, and judges once for all of them.

-- Locks a lease id until the end of the transaction: from here on nobody else claims, receives, renews, ends or undoes it.
create or replace function botfarm_lock(lease uuid) returns void language sql volatile as $$
    select pg_advisory_xact_lock(hashtextextended(lease::text, 7238461))
$$;

-- A lease as its holder gets it, if it has one bot at least.
create or replace function botfarm_lease(lease uuid) returns json language sql volatile as $$
    select json_agg(json_build_object(
        'id', b.id,
        'login', b.login,
        'sealed', encode(b.sealed, 'hex'),
        'project', p.project,
        'env', p.env,
        'domain', p.domain,
        'labels', b.labels,
        'condition', s.condition,
        'created_at', b.created_at,
        'alias', s.alias,
        'fence', s.fence,
        'terms', s.terms,
        'ttl', (extract(epoch from s.ttl) * 1000000)::bigint,
        'leased_at', s.leased_at,
        'expires_at', s.expires_at,
        'remaining', greatest((extract(epoch from s.expires_at - clock_timestamp()) * 1000000)::bigint, 0)
    ) order by s.ord)
    from bot_slots s
    join bots b on b.id = s.bot_id
    join pools p on p.id = b.pool_id
    where s.lease_id = lease
$$;

-- Hands out bots whose rows are locked and free. Whoever had one until it expired gets the end of it into the history.
create or replace function botfarm_hand_out(
    lease uuid,
    chosen uuid[],
    aliases text[],
    carried jsonb,
    its_ttl interval,
    print bytea,
    sticky_key text,
    as_phase text,
    as_taker uuid,
    lives interval,
    rests interval,
    bump bigint
)
returns void language plpgsql as $$
declare
    at timestamptz := clock_timestamp();
begin
    for i in 1..cardinality(chosen) loop
        with before as materialized (
            select * from bot_slots where bot_id = chosen[i] order by version desc limit 1
        ),
        expired as (
            insert into history (bot_id, fence, lease_id, terms, leased_at, ended_at, reason)
            select b.bot_id, b.fence, b.lease_id, b.terms, b.leased_at, b.expires_at, 'expired'
            from before b
            where b.lease_id is not null
                and b.phase <> 'offered'
        )
        update bot_slots s
        set version = s.version + 1,
            lease_id = lease,
            ord = i - 1,
            alias = aliases[i],
            phase = as_phase,
            taker = as_taker,
            size = cardinality(chosen),
            terms = carried,
            ttl = its_ttl,
            fingerprint = print,
            sticky = sticky_key,
            leased_at = at,
            expires_at = at + lives,
            free_at = at + lives + rests,
            fence = botfarm_next_fence(s.fence, bump)
        from before b
        where s.bot_id = b.bot_id
            and s.version = b.version;
        if not found then
            raise 'bot % was changed while its row was locked', chosen[i];
        end if;
    end loop;
end $$;

-- Locks all rows of a lease, and tells whether it lives, all of it. A clock that was set back does not revive the rest of a
-- lease of which others took a part.
create or replace function botfarm_lives(lease uuid) returns boolean language plpgsql as $$
declare
    at timestamptz;
begin
    perform from bot_slots s where s.lease_id = lease order by s.bot_id for no key update;
    at := clock_timestamp();
    return (select bool_and(s.expires_at > at) and count(*) = max(s.size) from bot_slots s where s.lease_id = lease);
end $$;

-- Receives a lease that lives, and with renews makes it live on: an offer begins to live from now on. Null when it does
-- not live. Call: who acquires; null: who looks it up or renews it.
create or replace function botfarm_receive(lease uuid, call uuid, new_ttl interval, renews boolean, cooling interval)
returns json language plpgsql as $$
declare
    at timestamptz;
    slot bot_slots;
    as_phase text;
begin
    perform botfarm_lock(lease);
    select * into slot from bot_slots s where s.lease_id = lease limit 1;
    if not found then
        return null;
    end if;
    as_phase := case
        when slot.phase = 'offered' and call is not null or slot.phase = 'granted' and slot.taker = call then 'granted'
        else 'seen'
    end;
    if slot.phase = as_phase and not renews then
        -- Nothing changes: nobody else changes a lease whose id is locked, but for its end by time.
        at := clock_timestamp();
        if (select bool_and(s.expires_at > at) and count(*) = max(s.size) from bot_slots s where s.lease_id = lease) then
            return botfarm_lease(lease);
        end if;
        return null;
    end if;
    if botfarm_lives(lease) is not true then
        return null;
    end if;
    at := clock_timestamp();
    update bot_slots s
    set version = s.version + 1,
        phase = as_phase,
        taker = case when as_phase = 'granted' then call end,
        ttl = coalesce(new_ttl, s.ttl),
        leased_at = case when s.phase = 'offered' then at else s.leased_at end,
        expires_at = case when renews or s.phase = 'offered' then at + coalesce(new_ttl, s.ttl) else s.expires_at end,
        free_at = case
            when renews or s.phase = 'offered' then at + coalesce(new_ttl, s.ttl) + cooling
            else s.free_at
        end
    where s.lease_id = lease;
    return botfarm_lease(lease);
end $$;

-- Frees the bots of a lease whose rows are locked, and remembers how it ended.
create or replace function botfarm_free_all(
    lease uuid,
    at timestamptz,
    how text,
    rests_until timestamptz,
    left_as text,
    said_outcome text,
    said_by text,
    said_note text
)
returns integer[] language plpgsql as $$
declare
    pools integer[];
begin
    with freed as (
        update bot_slots s
        set version = s.version + 1,
            lease_id = null,
            phase = null,
            taker = null,
            free_at = coalesce(rests_until, s.leased_at),
            condition = coalesce(left_as, s.condition)
        where s.lease_id = lease
        returning s.*
    ),
    kept as (
        insert into history (
            bot_id, fence, lease_id, terms, leased_at, ended_at, reason, outcome, ended_by, end_note
        )
        select f.bot_id, f.fence, lease, f.terms, f.leased_at, at, how, said_outcome, said_by, said_note
        from freed f
    )
    select array_agg(distinct f.pool_id) into pools from freed f;
    return pools;
end $$;

-- Ends a lease that lives. Null when it does not; else the pools of its bots for which somebody waits.
create or replace function botfarm_end(
    lease uuid, how text, rests interval, left_as text, said_outcome text, said_by text, said_note text
)
returns integer[] language plpgsql as $$
declare
    at timestamptz;
begin
    perform botfarm_lock(lease);
    if botfarm_lives(lease) is not true then
        return null;
    end if;
    at := clock_timestamp();
    return botfarm_awaited_pools(
        botfarm_free_all(lease, at, how, at + rests, left_as, said_outcome, said_by, said_note)
    );
end $$;

-- A call has gone that waited, or that was told of its lease and did not take the answer. With the last of those who
-- listen, an offer is undone, and so is what nobody but this very call was told of; while others listen, it is theirs to
-- take up. The place is kept. If_it_listens: only a call that waits. Returns the pools of which somebody else may get something now.
create or replace function botfarm_leave(lease uuid, its_call uuid, if_it_listens boolean, keeps interval, offer interval)
returns integer[] language plpgsql as $$
declare
    at timestamptz;
    stood boolean;
    slot bot_slots;
    pools integer[];
begin
    perform botfarm_lock(lease);
    -- Before the bots: whoever grants something to it has this row locked.
    perform from waiters w where w.lease_id = lease for no key update;
    stood := found;
    delete from listeners l where l.lease_id = lease and l.call = its_call;
    if if_it_listens and not found then
        -- It has taken up its lease meanwhile.
        return '{}';
    end if;
    select * into slot from bot_slots s where s.lease_id = lease limit 1;
    at := clock_timestamp();
    if slot.phase = 'granted' and slot.taker = its_call or slot.phase = 'offered' then
        if exists (select from listeners l where l.lease_id = lease) then
            if slot.phase = 'granted' and botfarm_lives(lease) then
                update bot_slots s
                set version = s.version + 1,
                    phase = 'offered',
                    taker = null,
                    expires_at = at + offer,
                    free_at = at + offer
                where s.lease_id = lease;
            end if;
            return '{}';
        elsif botfarm_lives(lease) then
            pools := botfarm_free_all(lease, at, 'undone', null, null, null, null, null);
        end if;
    elsif exists (select from listeners l where l.lease_id = lease) then
        return '{}';
    end if;
    if stood then
        -- What was kept for it is for others now.
        pools := pools || array(
            select distinct p
            from wants k
            join selectors s on s.id = k.selector_id
            cross join lateral unnest(botfarm_pools(s, botfarm_named(s))) p
            where k.lease_id = lease
            limit 32
        );
        delete from wants k where k.lease_id = lease;
        update waiters w set kept_until = at + keeps where w.lease_id = lease;
    end if;
    return botfarm_awaited_pools(pools);
end $$;
