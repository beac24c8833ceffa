-- How a call gets its lease, or a place in the queue.

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
        if waiter.ended_at is not null and waiter.kept_until >= clock_timestamp() then
            delete from listeners l where l.lease_id = lease and l.call = its_call;
            verdict := 'lost';
            return;
        end if;
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
