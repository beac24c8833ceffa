-- What is seen of all bots together: the hand-outs that have ended, and the queue.

-- The hand-outs that have ended, at most so many, those that ended last first: from before one of them on, and of a bot, a
-- run or a holder where one is given. One that has expired is among them before anybody has taken note.
create or replace function botfarm_ended(
    of_bot uuid,
    of_run text,
    of_holder text,
    since timestamptz,
    before_at timestamptz,
    before_bot uuid,
    before_fence bigint,
    most integer
)
returns setof history language plpgsql stable as $$
declare
    at timestamptz := clock_timestamp();
    noted history[];
begin
    -- Each way has an index of its own.
    if of_bot is not null then
        noted := array(
            select h
            from history h
            where h.bot_id = of_bot
                and h.ended_at >= since
                and (h.ended_at, h.bot_id, h.fence) < (before_at, before_bot, before_fence)
            order by h.ended_at desc, h.fence desc
            limit most
        );
    elsif of_run is not null then
        noted := array(
            select h
            from history h
            where h.terms->>'run' = of_run
                and h.ended_at >= since
                and h.ended_at <= before_at
                and (h.ended_at, h.bot_id, h.fence) < (before_at, before_bot, before_fence)
            order by h.ended_at desc, h.bot_id desc, h.fence desc
            limit most
        );
    elsif of_holder is not null then
        noted := array(
            select h
            from history h
            where h.terms->>'holder' = of_holder
                and h.ended_at >= since
                and h.ended_at <= before_at
                and (h.ended_at, h.bot_id, h.fence) < (before_at, before_bot, before_fence)
            order by h.ended_at desc, h.bot_id desc, h.fence desc
            limit most
        );
    else
        noted := array(
            select h
            from history h
            where h.ended_at >= since
                and h.ended_at <= before_at
                and (h.ended_at, h.bot_id, h.fence) < (before_at, before_bot, before_fence)
            order by h.ended_at desc, h.bot_id desc, h.fence desc
            limit most
        );
    end if;
    return query
        select e.*
        from (
            select n.* from unnest(noted) n
            union all
            select
                s.bot_id, s.fence, s.lease_id, s.terms, s.leased_at, s.expires_at, 'expired', null::text, null::text, null::text
            from bot_slots s
            where s.lease_id is not null
                and s.phase <> 'offered'
                and s.expires_at <= at
                and s.expires_at >= since
                and (s.expires_at, s.bot_id, s.fence) < (before_at, before_bot, before_fence)
        ) e
        where coalesce(e.bot_id = of_bot, true)
            and coalesce(e.terms->>'run' = of_run, of_run is null)
            and coalesce(e.terms->>'holder' = of_holder, true)
        order by e.ended_at desc, e.bot_id desc, e.fence desc
        limit most;
end $$;

-- The place of a lease's request among those that wait with a selector that overlaps this one, itself included, from 1.
-- Null: it has none.
create or replace function botfarm_place(s selectors, lease uuid, grace interval) returns bigint language plpgsql as $$
declare
    its_ticket bigint := (
        select w.ticket from waiters w where w.lease_id = lease and w.parked and w.ended_at is null
    );
    at timestamptz := clock_timestamp();
    heard_since timestamptz;
begin
    if its_ticket is null then
        return null;
    end if;
    heard_since := botfarm_heard_since(botfarm_epoch(grace), at);
    return 1 + (
        select count(*)
        from (
            select distinct k.lease_id
            from selectors x
            join wants k on k.selector_id = x.id and k.ticket < its_ticket
            join waiters w on w.lease_id = k.lease_id and w.parked
            where (s.project = '*' or x.project in (s.project, '*'))
                and (s.env = '*' or x.env in (s.env, '*'))
                and (s.domain = '*' or x.domain in (s.domain, '*'))
                and coalesce(x.bot_id <> s.bot_id, false) = false
                and coalesce(x.login_key <> s.login_key, false) = false
                and botfarm_agree(x.labels, s.labels)
                and botfarm_waits(k.lease_id, at, heard_since)
            limit 10000
        ) r
    );
end $$;

-- A selector that is kept, as the client writes it.
create or replace function botfarm_written(s selectors) returns jsonb language sql immutable as $$
    select jsonb_build_object(
        'project', nullif(s.project, '*'),
        'env', nullif(s.env, '*'),
        'domain', nullif(s.domain, '*'),
        'labels', s.labels,
        'condition', s.condition,
        'bot', s.bot_id,
        'login', s.login_key,
        'not_envs', s.not_envs
    )
$$;

-- Who waits, in the order of the queue, after a ticket. For the first so many it is told how the bots stand that keep them
-- waiting: those of the first selector that nothing is free for.
create or replace function botfarm_queue(after_ticket bigint, most integer, looked_into integer, grace interval)
returns table (
    ticket bigint,
    place bigint,
    terms jsonb,
    since timestamptz,
    alive boolean,
    wanted jsonb,
    holds bigint,
    reason jsonb
)
language plpgsql as $$
#variable_conflict use_column
declare
    at timestamptz := clock_timestamp();
    heard_since timestamptz := botfarm_heard_since(botfarm_epoch(grace), at);
begin
    return query
        with line as (
            select w.*, row_number() over (order by w.ticket) as place
            from waiters w
            where w.parked
                and exists (select from wants k where k.lease_id = w.lease_id)
        ),
        page as materialized (
            select l.*, row_number() over (order by l.ticket) as number
            from line l
            where l.ticket > after_ticket
            order by l.ticket
            limit most
        )
        select
            p.ticket,
            p.place,
            p.terms,
            p.since,
            botfarm_waits(p.lease_id, at, heard_since),
            (
                select jsonb_agg(botfarm_written(x) || jsonb_build_object('alias', k.alias) order by k.ord)
                from wants k
                join selectors x on x.id = k.selector_id
                where k.lease_id = p.lease_id
            ),
            (
                select count(distinct s.lease_id)
                from bot_slots s
                where s.lease_id is not null
                    and s.terms->>'run' = p.terms->>'run'
                    and s.phase <> 'offered'
                    and s.expires_at > at
            ),
            r.reason
        from page p
        left join lateral (
            select jsonb_build_object(
                'selector', k.ord,
                'matching', t.matching,
                'leased', t.leased,
                'cooling', t.cooling,
                'out_of_service', t.out_of_service,
                'waiting', t.waiting,
                'place', botfarm_place(x, p.lease_id, grace),
                'holder', t.holder,
                'since', t.since
            ) as reason
            from wants k
            join selectors x on x.id = k.selector_id
            cross join lateral botfarm_standing(botfarm_written(x), p.avoid, p.lease_id, grace) t
            where k.lease_id = p.lease_id
                and p.number <= looked_into
            order by t.free > 0, k.ord
            limit 1
        ) r on true
        order by p.ticket;
end $$;
