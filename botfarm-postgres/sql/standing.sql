-- How the bots stand that a selector fits, for an answer that explains itself. Counts the first 10,000 of them.
create or replace function botfarm_standing(wanted jsonb, but_not uuid[], lease uuid, grace interval)
returns table (
    matching bigint,
    leased bigint,
    cooling bigint,
    out_of_service bigint,
    free bigint,
    -- Until the lease ends of whoever has held one of them for the longest.
    ends_in interval,
    -- Whoever has held one of them for the longest.
    holder text,
    since timestamptz,
    until timestamptz,
    -- The first of them.
    bot_id uuid,
    bot_free_at timestamptz,
    bot_condition text,
    -- How many others wait for such a bot.
    waiting bigint
)
language plpgsql as $$
declare
    s selectors := botfarm_selector(wanted);
    named uuid[] := botfarm_named(s);
    pools integer[] := botfarm_pools(s, named);
    sets integer[] := botfarm_label_sets(s.labels);
    at timestamptz := clock_timestamp();
begin
    return query
        with bots as materialized (
            select b.*
            from unnest(named) n
            cross join lateral (select * from bot_slots where bot_slots.bot_id = n order by version desc limit 1) b
            where b.bot_id <> all(but_not)
            union all
            select b.*
            from unnest(pools) p
            cross join unnest(sets) l
            cross join lateral (
                select *
                from bot_slots
                where pool_id = p
                    and label_set_id = l
                    and bot_slots.bot_id <> all(but_not)
                limit 10000
            ) b
            where named is null
            union all
            select b.*
            from unnest(pools) p
            cross join lateral (
                select *
                from bot_slots
                where pool_id = p
                    and bot_slots.bot_id <> all(but_not)
                limit 10000
            ) b
            where named is null
                and sets is null
            limit 10000
        ),
        standing as (
            select
                b.*,
                b.lease_id is not null and b.expires_at > at as is_leased,
                b.free_at > at as rests
            from bots b
        ),
        oldest as (
            select o.terms->>'holder' as holder, o.leased_at, o.expires_at
            from standing o
            where o.is_leased
            order by o.leased_at
            limit 1
        ),
        first as (select f.bot_id, f.free_at, botfarm_condition(x) as condition from standing f join bot_slots x on x.bot_id = f.bot_id limit 1)
        select
            count(*),
            count(*) filter (where b.is_leased),
            count(*) filter (where b.rests and not b.is_leased),
            count(*) filter (where not b.rests and b.condition <> s.condition),
            count(*) filter (where not b.rests and b.condition = s.condition),
            (select o.expires_at - at from oldest o),
            (select o.holder from oldest o),
            (select o.leased_at from oldest o),
            (select o.expires_at from oldest o),
            (select f.bot_id from first f),
            (select f.free_at from first f),
            (select f.condition from first f),
            botfarm_rivals(s, lease, at, botfarm_heard_since(botfarm_epoch(grace), at))
        from standing b;
end $$;
