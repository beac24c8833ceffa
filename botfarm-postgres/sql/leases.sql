-- Leases in force. Whoever works on a lease locks its id first, then its rows in the order of the bots, then looks at the
-- clock, and judges once for all of them.

-- Locks a lease id until the end of the transaction: from here on nobody else claims, receives, renews, ends or undoes it.
create or replace function botfarm_lock(lease uuid) returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtextextended(lease::text, 7238461));
end $$;

-- A bot of a lease as its holder gets it. In sql, so that it becomes a part of the statement that calls it.
create or replace function botfarm_given(s bot_slots, b bots, p pools) returns json language sql volatile as $$
    select json_build_object(
        'id', b.id,
        'login', b.login,
        'sealed', encode(b.sealed, 'hex'),
        'generation', b.generation,
        'project', p.project,
        'env', p.env,
        'domain', p.domain,
        'labels', b.labels,
        'condition', coalesce(s.leased_as, s.condition),
        'created_at', b.created_at,
        'alias', s.alias,
        'fence', s.fence,
        'terms', s.terms,
        'ttl', (extract(epoch from s.ttl) * 1000000)::bigint,
        'leased_at', s.leased_at,
        'expires_at', s.expires_at,
        'remaining', greatest((extract(epoch from s.expires_at - clock_timestamp()) * 1000000)::bigint, 0)
    )
$$;

-- Hands out bots whose rows are locked and free, and returns the lease. Whoever had one until it expired gets the end of it
-- into the history.
create or replace function botfarm_hand_out(
    lease uuid,
    chosen bot_slots[],
    aliases text[],
    carried jsonb,
    its_ttl interval,
    print bytea,
    sticky_key text,
    as_phase text,
    as_taker uuid,
    lives interval,
    rests interval,
    bump bigint,
    dirty_envs text[]
)
returns json language plpgsql as $$
declare
    at timestamptz := clock_timestamp();
    slot bot_slots;
    bot json;
    given json[] := '{}';
begin
    foreach slot in array chosen loop
        if slot.lease_id is not null and slot.phase <> 'offered' then
            insert into history (bot_id, fence, lease_id, terms, leased_at, ended_at, reason)
            values (slot.bot_id, slot.fence, slot.lease_id, slot.terms, slot.leased_at, slot.expires_at, 'expired');
        end if;
        with granted as (
            update bot_slots s
            set version = s.version + 1,
                lease_id = lease,
                ord = cardinality(given),
                alias = aliases[cardinality(given) + 1],
                leased_as = s.condition,
                condition = botfarm_after_expiry(s, dirty_envs),
                phase = as_phase,
                taker = as_taker,
                size = cardinality(chosen),
                terms = carried,
                ttl = its_ttl,
                fingerprint = print,
                sticky = sticky_key,
                leased_at = at,
                expires_at = at + lives,
                was_free_at = s.free_at,
                free_at = at + lives + rests,
                fence = botfarm_next_fence(s.fence, bump)
            where s.bot_id = slot.bot_id
                and s.version = slot.version
            returning *
        )
        select botfarm_given(g::bot_slots, b, p) into bot
        from granted g
        join bots b on b.id = g.bot_id
        join pools p on p.id = g.pool_id;
        if not found then
            raise 'bot % was changed while its row was locked', slot.bot_id;
        end if;
        given := given || bot;
    end loop;
    return array_to_json(given);
end $$;

-- Locks all rows of a lease, and returns them if it lives, all of it: null if not. A clock that was set back does not revive
-- the rest of a lease of which others took a part.
create or replace function botfarm_living(lease uuid) returns bot_slots[] language plpgsql as $$
declare
    slots bot_slots[];
    slot bot_slots;
    at timestamptz;
begin
    slots := array(select s from bot_slots s where s.lease_id = lease order by s.bot_id for no key update);
    at := clock_timestamp();
    foreach slot in array slots loop
        if slot.expires_at <= at or slot.size <> cardinality(slots) then
            return null;
        end if;
    end loop;
    return nullif(slots, '{}');
end $$;

-- Receives a lease that lives, and with renews makes it live on: an offer begins to live from now on. Null when it does
-- not live. Call: who acquires; null: who looks it up or renews it.
create or replace function botfarm_receive(
    lease uuid, call uuid, new_ttl interval, renews boolean, cooling interval, dirty_envs text[]
)
returns json language plpgsql as $$
declare
    at timestamptz;
    slots bot_slots[];
    slot bot_slots;
    as_phase text;
    given json;
begin
    perform botfarm_lock(lease);
    slots := botfarm_living(lease);
    if slots is null then
        return null;
    end if;
    slot := slots[1];
    as_phase := case
        when slot.phase = 'offered' and call is not null or slot.phase = 'granted' and slot.taker = call then 'granted'
        else 'seen'
    end;
    if slot.phase <> as_phase or renews then
        at := clock_timestamp();
        update bot_slots s
        set version = s.version + 1,
            phase = as_phase,
            taker = case when as_phase = 'granted' then call end,
            ttl = coalesce(new_ttl, s.ttl),
            condition = case when s.phase = 'offered' then botfarm_after_expiry(s, dirty_envs) else s.condition end,
            leased_at = case when s.phase = 'offered' then at else s.leased_at end,
            expires_at = case when renews or s.phase = 'offered' then at + coalesce(new_ttl, s.ttl) else s.expires_at end,
            free_at = case
                when renews or s.phase = 'offered' then at + coalesce(new_ttl, s.ttl) + cooling
                else s.free_at
            end
        where s.lease_id = lease;
    end if;
    select json_agg(botfarm_given(s, b, p) order by s.ord) into given
    from bot_slots s
    join bots b on b.id = s.bot_id
    join pools p on p.id = s.pool_id
    where s.lease_id = lease;
    return given;
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
            free_at = coalesce(rests_until, s.was_free_at),
            condition = coalesce(left_as, s.leased_as, s.condition)
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
    if botfarm_living(lease) is null then
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
            if slot.phase = 'granted' and botfarm_living(lease) is not null then
                update bot_slots s
                set version = s.version + 1,
                    phase = 'offered',
                    taker = null,
                    condition = coalesce(s.leased_as, s.condition),
                    expires_at = at + offer,
                    free_at = at + offer
                where s.lease_id = lease;
            end if;
            return '{}';
        elsif botfarm_living(lease) is not null then
            pools := botfarm_free_all(lease, at, 'undone', null, null, null, null, null);
            update pools p set put_back_at = at where p.id = any(pools) and p.put_back_at < at - interval '1 s';
        end if;
    elsif exists (select from listeners l where l.lease_id = lease) then
        return '{}';
    end if;
    if stood then
        return botfarm_awaited_pools(pools) || botfarm_stop_waiting(lease, at + keeps);
    end if;
    return botfarm_awaited_pools(pools);
end $$;
