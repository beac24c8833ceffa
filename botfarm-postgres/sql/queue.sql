-- Who waits, and how they are served.

-- Since when a process must have been heard of to count as alive. Right after a restart of the server all count: they had
-- no chance to be heard.
create or replace function botfarm_heard_since(epoch epochs, at timestamptz) returns timestamptz language plpgsql immutable as $$
begin
    return case when epoch.takeover_after > at then '-infinity' else at end;
end $$;

-- Whether somebody waits for a lease: a process with a call that listens is alive.
create or replace function botfarm_waits(lease uuid, at timestamptz, heard_since timestamptz)
returns boolean language plpgsql stable as $$
begin
    return exists (
        select from waiters w
        join listeners l on l.lease_id = w.lease_id
        join processes p on p.id = l.process
        where w.lease_id = lease
            and w.until > at
            and p.alive_until > heard_since
    );
end $$;

-- Those of the pools for which somebody waits, or may.
create or replace function botfarm_awaited_pools(pools integer[]) returns integer[] language plpgsql stable as $$
begin
    return array(
        select p.id
        from pools p
        where p.id = any(pools)
            and exists (
                select from selectors x
                join wants k on k.selector_id = x.id
                where x.project = any(array[p.project, '*'])
                    and x.env = any(array[p.env, '*'])
                    and p.env <> all(x.not_envs)
                    and x.domain = any(array[p.domain, '*'])
            )
    );
end $$;

-- Nobody waits for a lease any more. Its place is kept until a time, or not at all: null. What passes have kept for one
-- that was parked is for others now: returns the pools of it for which somebody waits.
create or replace function botfarm_stop_waiting(lease uuid, keep_until timestamptz)
returns integer[] language plpgsql as $$
declare
    pools integer[] := array(
        select distinct p
        from waiters w
        join wants k on k.lease_id = w.lease_id
        join selectors s on s.id = k.selector_id
        cross join lateral unnest(botfarm_pools(s, botfarm_named(s))) p
        where w.lease_id = lease
            and w.parked
        limit 32
    );
begin
    delete from wants k where k.lease_id = lease;
    if keep_until is null then
        delete from waiters w where w.lease_id = lease;
    else
        update waiters w set kept_until = keep_until where w.lease_id = lease;
    end if;
    return botfarm_awaited_pools(pools);
end $$;

-- Whether somebody else waits who could have this bot: nobody passes it.
create or replace function botfarm_wanted(slot bot_slots, but_not uuid, at timestamptz, heard_since timestamptz)
returns boolean language plpgsql stable as $$
declare
    x selectors;
begin
    for x in
        select s.*
        from pools p
        join selectors s
            on s.project = any(array[p.project, '*'])
            and s.env = any(array[p.env, '*'])
            and p.env <> all(s.not_envs)
            and s.domain = any(array[p.domain, '*'])
        where p.id = slot.pool_id
            and s.condition = slot.condition
            and coalesce(s.bot_id, slot.bot_id) = slot.bot_id
    loop
        if exists (
            select from wants k
            join waiters w on w.lease_id = k.lease_id
            where k.selector_id = x.id
                and w.lease_id <> but_not
                and w.parked
                and slot.bot_id <> all(w.avoid)
                and botfarm_waits(w.lease_id, at, heard_since)
        ) and (
            x.labels = '{}'
            or exists (select from label_sets l where l.id = slot.label_set_id and l.labels @> x.labels)
        ) and (
            x.login_key is null
            or exists (select from bots b where b.id = slot.bot_id and b.login_key = x.login_key)
        ) then
            return true;
        end if;
    end loop;
    return false;
end $$;

-- Whether two sets of labels have no key with different values.
create or replace function botfarm_agree(one text[], other text[]) returns boolean language plpgsql immutable as $$
begin
    return one = '{}' or other = '{}' or not exists (
        select from unnest(one) i
        join unnest(other) j on split_part(i, ':', 1) = split_part(j, ':', 1) and i <> j
    );
end $$;

-- How many others wait with a selector that overlaps this one, as far as the two tell; 10,000 at most.
create or replace function botfarm_rivals(s selectors, but_not uuid, at timestamptz, heard_since timestamptz)
returns bigint language plpgsql stable as $$
begin
    return (
        select count(*)
        from (
            select distinct k.lease_id
            from selectors x
            join wants k on k.selector_id = x.id
            join waiters w on w.lease_id = k.lease_id and w.parked
            where k.lease_id <> but_not
                and (s.project = '*' or x.project in (s.project, '*'))
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

-- Waits for the place of somebody who asks again or leaves at this moment: one short statement has it locked. False when it
-- is locked for longer.
create or replace function botfarm_wait_for_place(lease uuid)
returns boolean language plpgsql set lock_timeout = '100ms' as $$
begin
    perform from waiters w where w.lease_id = lease for no key update;
    return found;
exception
    when lock_not_available then
        return false;
end $$;

-- Serves those who wait for bots of some pools: first come first served among those whom a free bot fits. Grants are
-- offers, to be taken up in time. What a request for many cannot use yet is kept from those behind it. A pass waits for
-- another pass over the same pools, and for a moment for whoever asks again or leaves, so that nobody behind is served
-- before; for nothing else. It ends after so many grants, or after 200 ms, with what it has done; then its last row tells
-- where to go on: after which ticket, and which bots are kept for those before it. Of each selector it looks at so many
-- free bots at least; when that was too few for somebody, its last row has no ticket: begin again, and look at more.
create or replace function botfarm_match(
    pools integer[], after_ticket bigint, kept uuid[], at_least integer, offer interval, grace interval, most integer
)
returns table (lease uuid, told uuid[], ticket bigint) language plpgsql as $$
declare
    stop timestamptz;
    epoch epochs := botfarm_epoch(grace);
    heard_since timestamptz;
    at timestamptz;
    here integer[];
    by_selector bigint[];
    by_bot uuid[];
    by_version bigint[];
    by_sticky text[];
    by_leased timestamptz[];
    -- The selectors that fit more free bots than were looked at.
    cut_off bigint[];
    used uuid[] := kept;
    w waiters;
    stands boolean;
    n integer;
    -- The requests that some bots could satisfy, if all were free, and those that none could.
    request text;
    could text[] := '{}';
    never text[] := '{}';
    edge_want integer[];
    edge_bot uuid[];
    chosen uuid[];
    slots bot_slots[];
    served integer := 0;
begin
    -- A request for many is judged by all the pools that it wants bots of.
    here := array(
        select unnest(pools)
        union
        select unnest(botfarm_pools(y, botfarm_named(y)))
        from selectors y
        where y.id in (
            select l.selector_id
            from wants l
            where l.lease_id in (
                select k.lease_id
                from pools p
                join selectors x
                    on x.project = any(array[p.project, '*'])
                    and x.env = any(array[p.env, '*'])
                    and p.env <> all(x.not_envs)
                    and x.domain = any(array[p.domain, '*'])
                join wants k on k.selector_id = x.id and k.size > 1
                where p.id = any(pools)
            )
        )
        order by 1
    );
    if cardinality(here) > 32 then
        perform pg_advisory_xact_lock(7238461, 0);
    else
        perform pg_advisory_xact_lock_shared(7238461, 0);
        perform pg_advisory_xact_lock(7238461, p) from unnest(here) p;
    end if;
    at := clock_timestamp();
    stop := at + interval '200 ms';
    heard_since := botfarm_heard_since(epoch, at);
    -- One statement looks at all free bots of use, so that who came later gets none that was not there for who came before:
    -- of each selector as many as those who wait could take or avoid.
    select
        array_agg(f.id), array_agg(f.bot_id), array_agg(f.version), array_agg(f.sticky), array_agg(f.leased_at),
        array_agg(distinct f.id) filter (where f.found = f.enough and f.enough < 4096)
    into by_selector, by_bot, by_version, by_sticky, by_leased, cut_off
    from (
        select a.id, a.enough, count(*) over (partition by a.id) as found, f.*
        from (
            select
                x.id,
                x as selector,
                least(4096, greatest(at_least, sum(k.size)) + max(cardinality(v.avoid)) + cardinality(kept))::integer
                    as enough
            from pools p
            join selectors x
                on x.project = any(array[p.project, '*'])
                and x.env = any(array[p.env, '*'])
                and p.env <> all(x.not_envs)
                and x.domain = any(array[p.domain, '*'])
            join wants k on k.selector_id = x.id
            join waiters v on v.lease_id = k.lease_id
            where p.id = any(here)
            group by x.id
        ) a
        cross join lateral botfarm_free(a.selector, here, '{}', at, epoch.takeover_after <= at, a.enough) f
    ) f;
    if by_selector is null then
        return;
    end if;
    for w in
        select x.*
        from waiters x
        join (
            select distinct c.lease_id
            from (select distinct unnest(by_selector) as id) u
            cross join lateral (
                select k.lease_id
                from wants k
                where k.selector_id = u.id
                    and k.ticket > after_ticket
                    and botfarm_waits(k.lease_id, at, heard_since)
                order by k.ticket
                limit cardinality(by_selector) + 1000
            ) c
        ) c on c.lease_id = x.lease_id
        order by x.ticket
    loop
        -- However long it took to come here, it gets further by one.
        if ticket is not null and (served >= most or clock_timestamp() > stop) then
            lease := null;
            told := used;
            return next;
            return;
        end if;
        ticket := w.ticket;
        n := (select count(*) from wants k where k.lease_id = w.lease_id);
        loop
            select
                array_agg(k.ord + 1 order by k.ord, f.preferred desc, f.leased desc, f.place),
                array_agg(f.bot order by k.ord, f.preferred desc, f.leased desc, f.place)
            into edge_want, edge_bot
            from wants k
            join (
                select
                    c.selector,
                    c.bot,
                    c.place,
                    coalesce(c.sticky = w.sticky, false) as preferred,
                    case when c.sticky = w.sticky then c.leased end as leased
                from unnest(by_selector, by_bot, by_sticky, by_leased)
                    with ordinality c (selector, bot, sticky, leased, place)
                where c.bot <> all(used)
                    and c.bot <> all(w.avoid)
            ) f on f.selector = k.selector_id
            where k.lease_id = w.lease_id;
            chosen := botfarm_assign(n, coalesce(edge_want, '{}'), coalesce(edge_bot, '{}'));
            if array_position(chosen, null) is not null then
                if exists (
                    select from wants k
                    where k.lease_id = w.lease_id
                        and chosen[k.ord + 1] is null
                        and k.selector_id = any(cut_off)
                ) then
                    -- There may be another that fits.
                    lease := null;
                    ticket := null;
                    return next;
                    return;
                end if;
                chosen := array_remove(chosen, null);
                exit when not w.parked or chosen = '{}';
                -- Nothing is kept for who can never have all: its process is told, so that it asks, and hears it. Equal
                -- requests are judged once.
                request := array(select k.selector_id from wants k where k.lease_id = w.lease_id order by k.ord)::text
                    || w.avoid::text;
                if request <> all(could || never) then
                    if botfarm_lacking(
                        array(
                            select x from wants k join selectors x on x.id = k.selector_id
                            where k.lease_id = w.lease_id
                        ),
                        w.avoid
                    ) is null then
                        could := could || request;
                    else
                        never := never || request;
                    end if;
                end if;
                if request = any(could) then
                    used := used || chosen;
                    exit;
                end if;
                lease := w.lease_id;
                told := array(select distinct l.process from listeners l where l.lease_id = lease);
                return next;
                exit;
            end if;
            -- Whoever joins or leaves at this moment asks for another pass.
            perform from waiters x where x.lease_id = w.lease_id for no key update skip locked;
            stands := found or botfarm_wait_for_place(w.lease_id);
            -- In a statement of its own, which sees what became of it in the meantime.
            if not stands or not exists (select from wants k where k.lease_id = w.lease_id) then
                -- What was meant for it is kept from those behind.
                used := used || chosen;
                exit;
            end if;
            slots := array(
                select s
                from (
                    select distinct c.bot, c.version
                    from unnest(by_bot, by_version) c (bot, version)
                    where c.bot = any(chosen)
                ) c
                join bot_slots s on s.bot_id = c.bot and s.version = c.version
                order by array_position(chosen, c.bot)
                for no key update of s skip locked
            );
            if cardinality(slots) < n then
                -- Somebody is changing one of them, or has: take another, before others come.
                used := used || array(
                    select c from unnest(chosen) c where c <> all(array(select s.bot_id from unnest(slots) s))
                );
                continue when clock_timestamp() < stop;
                lease := null;
                told := used;
                ticket := w.ticket - 1;
                return next;
                return;
            end if;
            used := used || chosen;
            lease := w.lease_id;
            told := array(select distinct l.process from listeners l where l.lease_id = lease);
            perform botfarm_hand_out(
                lease,
                slots,
                array(select k.alias from wants k where k.lease_id = w.lease_id order by k.ord),
                w.terms, w.ttl, w.fingerprint, w.sticky, 'offered', null, offer, '0', epoch.bump, '{}'
            );
            delete from wants k where k.lease_id = w.lease_id;
            served := served + 1;
            return next;
            exit;
        end loop;
    end loop;
end $$;
