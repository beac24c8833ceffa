-- How a call gets its lease, or a place in the queue.

-- Locks the free bot that a selector fits best, passing over what others have locked: the one last leased with the sticky
-- key, or the least recently used. At first of those that are free since no earlier than since, where a caller knows that
-- there is hardly one before: what was free then has left dead rows, which a long transaction keeps in the way.
create or replace function botfarm_take(
    s selectors,
    pools integer[],
    named uuid[],
    sets integer[],
    but_not uuid[],
    sticky_key text,
    at timestamptz,
    since timestamptz,
    may_take_over boolean
)
returns bot_slots language plpgsql as $$
declare
    slot bot_slots;
    bot uuid;
    p integer;
    l integer;
begin
    if named is not null then
        if cardinality(named) > 1 then
            -- A login of several envs: the one last leased with the key, or the least recently used.
            named := array(
                select b
                from unnest(named) b
                cross join lateral (select * from bot_slots where bot_id = b order by version desc limit 1) f
                order by coalesce(f.sticky = sticky_key, false) desc, f.free_at
            );
        end if;
        foreach bot in array named loop
            select * into slot from bot_slots b where b.bot_id = bot order by b.version desc limit 1;
            if slot.condition = s.condition
                and slot.free_at <= at
                and (slot.lease_id is null or may_take_over)
                and bot <> all(but_not)
            then
                perform from bot_slots b
                where b.bot_id = bot
                    and b.version = slot.version
                for no key update skip locked;
                if found then
                    return slot;
                end if;
            end if;
        end loop;
        return null;
    end if;
    if sticky_key is not null then
        select * into slot
        from bot_slots b
        where b.sticky = sticky_key
            and b.pool_id = any(pools)
            and b.condition = s.condition
            and b.free_at <= at
            and (
                sets is null
                or exists (select from label_sets x where x.id = b.label_set_id and x.labels @> s.labels)
            )
            and (b.lease_id is null or may_take_over)
            and b.bot_id <> all(but_not)
        order by b.leased_at desc
        limit 1
        for no key update skip locked;
        if found then
            return slot;
        end if;
    end if;
    if cardinality(pools) = 1 and sets is null then
        select * into slot
        from bot_slots b
        where b.pool_id = pools[1]
            and b.condition = s.condition
            and b.free_at <= at
            and b.free_at >= since
            and (b.lease_id is null or may_take_over)
            and b.bot_id <> all(but_not)
        order by b.free_at
        limit 1
        for no key update skip locked;
        if found or since = '-infinity' then
            return slot;
        end if;
    end if;
    -- From one pool and set of labels after the other, in the order of their first bots.
    for p, l in
        select c.p, c.l
        from (
            select pool as p, set_id as l
            from unnest(pools) pool
            cross join unnest(case when cardinality(sets) <= 64 then sets else array[null::integer] end) set_id
        ) c
        left join lateral (
            select b.free_at
            from bot_slots b
            where cardinality(pools) > 1
                and c.l is null
                and b.pool_id = c.p
                and b.condition = s.condition
                and b.free_at <= at
                and b.free_at >= since
            order by b.free_at
            limit 1
        ) f on true
        left join lateral (
            select b.free_at
            from bot_slots b
            where c.l is not null
                and cardinality(pools) * cardinality(sets) > 1
                and b.pool_id = c.p
                and b.label_set_id = c.l
                and b.condition = s.condition
                and b.free_at <= at
                and b.free_at >= since
            order by b.free_at
            limit 1
        ) g on true
        order by coalesce(f.free_at, g.free_at)
    loop
        if l is null then
            select * into slot
            from bot_slots b
            where b.pool_id = p
                and b.condition = s.condition
                and b.free_at <= at
                and b.free_at >= since
                and (
                    sets is null
                    or exists (select from label_sets x where x.id = b.label_set_id and x.labels @> s.labels)
                )
                and (b.lease_id is null or may_take_over)
                and b.bot_id <> all(but_not)
            order by b.free_at
            limit 1
            for no key update skip locked;
        else
            select * into slot
            from bot_slots b
            where b.pool_id = p
                and b.label_set_id = l
                and b.condition = s.condition
                and b.free_at <= at
                and b.free_at >= since
                and (b.lease_id is null or may_take_over)
                and b.bot_id <> all(but_not)
            order by b.free_at
            limit 1
            for no key update skip locked;
        end if;
        if found then
            return slot;
        end if;
    end loop;
    if since > '-infinity' then
        return botfarm_take(s, pools, named, sets, but_not, sticky_key, at, '-infinity', may_take_over);
    end if;
    return null;
end $$;

-- Asks for a lease, at first or again. How: park, to wait for it; try, to wait for no more than one pass over the queue;
-- stop, to wait no longer. The verdicts:
--   granted   with the lease, and since when its first bot was free, in microseconds since 1970, as free_since is
--   waiting   it stands in the queue, and its process is told when there is news; a pass over the pools may serve it
--   refused   nothing is free that it could have
--   passed    the same, but for a free bot that somebody else had locked: another try may do
--   lacking   no bots could ever satisfy it
--   lost      the lease of this id has ended
--   reused    the id stands for another request
create or replace function botfarm_acquire(
    lease uuid,
    its_call uuid,
    process uuid,
    how text,
    wanted jsonb,
    but_not uuid[],
    sticky_key text,
    carried jsonb,
    print bytea,
    its_ttl interval,
    cooling interval,
    waits_for interval,
    keeps interval,
    alive interval,
    grace interval,
    free_since bigint,
    dirty_envs text[],
    out verdict text,
    out given json,
    out was_free_since bigint,
    out pools integer[]
)
language plpgsql as $$
declare
    at timestamptz;
    epoch epochs;
    heard_since timestamptz;
    slot bot_slots;
    waiter waiters;
    asked selectors[] := '{}';
    selector selectors;
    aliases text[] := '{}';
    named uuid[];
    taken uuid[] := '{}';
    n integer := jsonb_array_length(wanted);
    chosen bot_slots[] := '{}';
    gated boolean := false;
    passed boolean := false;
    since timestamptz := coalesce(timestamptz 'epoch' + free_since * interval '1 microsecond', '-infinity');
begin
    perform botfarm_lock(lease);
    if exists (select from waiters w where w.lease_id = lease)
        or exists (select from bot_slots s where s.lease_id = lease)
        or exists (select from history h where h.lease_id = lease and h.reason <> 'undone')
    then
        -- The waiter's row first: whoever grants something to it has this row locked. Then the bots, then the history:
        -- whoever takes over an expired bot moves its lease from there to here, without the lock of that lease's id.
        select * into waiter from waiters w where w.lease_id = lease for no key update;
        select * into slot from bot_slots s where s.lease_id = lease limit 1;
        if found then
            if slot.fingerprint <> print then
                verdict := 'reused';
                return;
            end if;
            given := botfarm_receive(lease, its_call, null, false, cooling, dirty_envs);
            if given is not null then
                delete from listeners l where l.lease_id = lease and l.call = its_call;
                update waiters w
                set kept_until = clock_timestamp() + keeps
                where w.lease_id = lease
                    and not exists (select from listeners l where l.lease_id = lease);
                verdict := 'granted';
                return;
            elsif slot.phase <> 'offered' then
                verdict := 'lost';
                return;
            end if;
            -- An offer that was not taken up in time: nobody has had it.
            update bot_slots s
            set version = s.version + 1,
                lease_id = null,
                phase = null
            where s.lease_id = lease;
        end if;
        if exists (select from history h where h.lease_id = lease and h.reason <> 'undone') then
            verdict := 'lost';
            return;
        end if;
        if waiter.kept_until < clock_timestamp() then
            delete from waiters w where w.lease_id = lease;
            waiter := null;
        end if;
        if waiter.fingerprint <> print then
            verdict := 'reused';
            return;
        end if;
    end if;
    at := clock_timestamp();
    epoch := botfarm_epoch(grace);
    heard_since := botfarm_heard_since(epoch, at);
    for i in 0..n - 1 loop
        asked := asked || botfarm_selector(wanted->i);
        aliases := aliases || (wanted->i->>'alias');
    end loop;

    if waiter.lease_id is null then
        -- The straight way: what is free, unless somebody waits who could have it.
        foreach selector in array asked loop
            named := botfarm_named(selector);
            pools := case when named is null then botfarm_pools(selector, null) end;
            if since > '-infinity' and exists (
                select from pools p where p.id = any(pools) and p.put_back_at > at - interval '2 s'
            ) then
                since := '-infinity';
            end if;
            slot := botfarm_take(
                selector, pools, named,
                botfarm_label_sets(selector.labels), but_not || taken, sticky_key, at, since, epoch.takeover_after <= at
            );
            exit when slot.bot_id is null;
            chosen := chosen || slot;
            taken := taken || slot.bot_id;
        end loop;
        pools := null;
        if cardinality(chosen) < n and n > 1 then
            -- One after the other did not do; an assignment may.
            select r.slots, r.others into chosen, passed
            from botfarm_take_many(asked, but_not, at, epoch.takeover_after <= at) r;
        end if;
        foreach slot in array chosen loop
            gated := gated or botfarm_wanted(slot, lease, at, heard_since);
        end loop;
        if cardinality(chosen) = n and not gated then
            was_free_since := extract(epoch from chosen[1].free_at) * 1000000;
            given := botfarm_hand_out(
                lease, chosen, aliases, carried, its_ttl, print, sticky_key, 'granted', its_call, its_ttl, cooling,
                epoch.bump, dirty_envs
            );
            verdict := 'granted';
            return;
        end if;
    end if;

    if how <> 'stop' and botfarm_lacking(asked, but_not) is not null then
        -- Others who listen for it find out by themselves.
        delete from listeners l where l.lease_id = lease and l.call = its_call;
        if not exists (select from listeners l where l.lease_id = lease) then
            pools := botfarm_stop_waiting(lease, null);
        end if;
        verdict := 'lacking';
    elsif how = 'park' or how = 'try' and (gated or waiter.lease_id is not null) then
        perform botfarm_stand(
            lease, its_call, process, how = 'park', at + waits_for, asked, wanted, but_not, sticky_key, carried, print, its_ttl
        );
        if not exists (select from processes p where p.id = process and p.alive_until > at + alive / 2) then
            insert into processes (id, alive_until) values (process, at + alive)
            on conflict (id) do update set alive_until = excluded.alive_until;
        end if;
        -- Whoever has a place may be served by what is free.
        pools := array(
            select distinct f.pool_id
            from generate_series(1, n) i
            cross join lateral botfarm_free(asked[i], null, but_not, at, epoch.takeover_after <= at, 1) f
            where gated or waiter.lease_id is not null
        );
        verdict := 'waiting';
    else
        verdict := case
            when passed or waiter.lease_id is null and not gated and n = 1 and exists (
                select from botfarm_free(asked[1], null, but_not, at, epoch.takeover_after <= at, 1)
            ) then 'passed'
            else 'refused'
        end;
        -- Whoever waited for real keeps the place for a while.
        delete from listeners l where l.lease_id = lease and l.call = its_call;
        if waiter.lease_id is not null and not exists (select from listeners l where l.lease_id = lease) then
            pools := botfarm_stop_waiting(lease, case when waiter.parked then at + keeps end);
        end if;
    end if;
end $$;

-- Locks free bots for several selectors at once, by an assignment, passing over what others have locked: all, or none that
-- counts. Others: some were passed over.
create or replace function botfarm_take_many(
    asked selectors[], but_not uuid[], at timestamptz, may_take_over boolean, out slots bot_slots[], out others boolean
)
language plpgsql as $$
declare
    n integer := cardinality(asked);
    edge_want integer[];
    edge_bot uuid[];
    chosen uuid[];
begin
    others := false;
    for try in 1..3 loop
        select array_agg(i order by i, f.free_at), array_agg(f.bot_id order by i, f.free_at)
        into edge_want, edge_bot
        from generate_series(1, n) i
        cross join lateral botfarm_free(asked[i], null, but_not, at, may_take_over, n) f;
        slots := '{}';
        chosen := botfarm_assign(n, coalesce(edge_want, '{}'), coalesce(edge_bot, '{}'));
        if array_position(chosen, null) is not null then
            return;
        end if;
        slots := array(
            select s
            from unnest(chosen) with ordinality c (bot, ord)
            cross join lateral (select version from bot_slots where bot_id = c.bot order by version desc limit 1) l
            join bot_slots s on s.bot_id = c.bot and s.version = l.version
            where s.free_at <= at
            order by c.ord
            for no key update of s skip locked
        );
        exit when cardinality(slots) = n;
        others := true;
        but_not := but_not || array(
            select c from unnest(chosen) c where c <> all(array(select s.bot_id from unnest(slots) s))
        );
    end loop;
end $$;

-- Stands in the queue: joins those who listen for the same id, takes the place that was kept, or a new one.
create or replace function botfarm_stand(
    lease uuid,
    its_call uuid,
    process uuid,
    parks boolean,
    its_until timestamptz,
    asked selectors[],
    wanted jsonb,
    but_not uuid[],
    sticky_key text,
    carried jsonb,
    print bytea,
    its_ttl interval
)
returns void language plpgsql as $$
declare
    its_ticket bigint;
    digest bytea;
    i integer;
begin
    update waiters w
    set parked = w.parked or parks,
        until = greatest(w.until, its_until),
        kept_until = null
    where w.lease_id = lease
    returning w.ticket into its_ticket;
    if its_ticket is null then
        insert into waiters (lease_id, parked, until, avoid, sticky, terms, ttl, fingerprint)
        values (lease, parks, its_until, but_not, sticky_key, carried, its_ttl, print)
        returning ticket into its_ticket;
    end if;
    insert into listeners (lease_id, call, process) values (lease, its_call, process) on conflict do nothing;
    if exists (select from wants k where k.lease_id = lease) then
        -- What it waits for stands.
        return;
    end if;
    update waiters w
    set avoid = but_not,
        sticky = sticky_key,
        terms = carried,
        ttl = its_ttl
    where w.lease_id = lease;
    -- In the order of their digests: two calls that make the same ones do not wait for each other in a circle.
    for digest, i in
        select
            sha256(convert_to(
                row(s.project, s.env, s.domain, s.labels, s.condition, s.bot_id, s.login_key, s.not_envs)::text, 'UTF8'
            )) as d,
            s.ord
        from unnest(asked) with ordinality
            s (id, key, project, env, domain, labels, condition, bot_id, login_key, not_envs, ord)
        order by d
    loop
        if not exists (select from selectors x where x.key = digest) then
            insert into selectors (key, project, env, domain, labels, condition, bot_id, login_key, not_envs)
            select digest, s.project, s.env, s.domain, s.labels, s.condition, s.bot_id, s.login_key, s.not_envs
            from unnest(asked[i:i]) s
            on conflict do nothing;
        end if;
        insert into wants (selector_id, ticket, lease_id, ord, alias, size)
        select x.id, its_ticket, lease, i - 1, wanted->(i - 1)->>'alias', cardinality(asked)
        from selectors x
        where x.key = digest;
    end loop;
end $$;
