-- How free bots are taken.

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
