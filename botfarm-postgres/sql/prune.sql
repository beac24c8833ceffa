-- Clears away what nobody needs any more, a little at a time, so that nobody notices.

-- One step of a round over the history, bot by bot: of each bot, all rows stay that are younger than before, and the last
-- hundred; of a bot that is gone only the younger ones. Null rows: the round is over.
create or replace function botfarm_prune_history(before timestamptz, most_bots integer, most_rows integer)
returns integer language plpgsql as $$
declare
    place uuid;
    last_kept bigint;
    gone integer;
    removed integer := 0;
begin
    -- One round at a time; whoever finds another at it has nothing to do.
    if not pg_try_advisory_xact_lock(7238464) then
        return null;
    end if;
    insert into history_cursor (bot_id) values ('00000000-0000-0000-0000-000000000000') on conflict do nothing;
    select c.bot_id into place from history_cursor c;
    for i in 1..most_bots loop
        select h.bot_id into place from history h where h.bot_id > place order by h.bot_id limit 1;
        if not found then
            update history_cursor set bot_id = '00000000-0000-0000-0000-000000000000';
            return case when removed > 0 then removed end;
        end if;
        last_kept := null;
        if exists (select from bots b where b.id = place) then
            select h.fence into last_kept from history h where h.bot_id = place order by h.fence desc offset 99 limit 1;
            if not found then
                last_kept := 0;
            end if;
        end if;
        with old as (
            select h.fence
            from history h
            where h.bot_id = place
                and (last_kept is null or h.fence < last_kept)
                and h.ended_at < before
            order by h.fence
            limit most_rows - removed
        )
        delete from history h using old where h.bot_id = place and h.fence = old.fence;
        get diagnostics gone = row_count;
        removed := removed + gone;
        -- More of the same bot comes next time.
        exit when removed >= most_rows;
        -- Where it was before its oldest hand-out, nobody asks.
        delete from moves m
        where m.bot_id = place
            and m.fence < (select h.fence from history h where h.bot_id = place order by h.fence limit 1);
        update history_cursor set bot_id = place;
    end loop;
    return removed;
end $$;

-- Removes so many entries of the audit trail at most that are older than before. Returns how many.
create or replace function botfarm_prune_audit(before timestamptz, most integer) returns integer language plpgsql as $$
declare
    removed integer;
begin
    delete from audit a
    where a.id in (
        select o.id
        from audit o
        where o.at < before
        order by o.at
        limit most
        for update skip locked
    );
    get diagnostics removed = row_count;
    return removed;
end $$;

-- Removes what became of changes long ago, the places that nobody comes back for, selectors that nobody waits with,
-- processes that have gone, and pools and label sets without bots; so many of each at most. Returns how many.
create or replace function botfarm_prune_queue(most integer, silent interval, known_for interval)
returns integer language plpgsql as $$
declare
    at timestamptz := clock_timestamp();
    gone integer;
    removed integer := 0;
begin
    delete from changes c
    using (select o.caller, o.key from changes o where o.begun_at < at - known_for limit most for update skip locked) old
    where c.caller = old.caller
        and c.key = old.key;
    get diagnostics gone = row_count;
    removed := removed + gone;
    delete from waiters w
    where w.lease_id in (
        select v.lease_id
        from waiters v
        where v.kept_until < at
            or v.until < at - silent
            or v.kept_until is null
                and not exists (
                    select from listeners l
                    join processes p on p.id = l.process
                    where l.lease_id = v.lease_id
                        and p.alive_until > at - silent
                )
        limit most
        for update skip locked
    );
    get diagnostics gone = row_count;
    removed := removed + gone;
    delete from selectors s
    where s.id in (
        select x.id
        from selectors x
        where not exists (select from wants k where k.selector_id = x.id)
        limit most
        for update skip locked
    );
    get diagnostics gone = row_count;
    removed := removed + gone;
    delete from processes p where p.alive_until < at - silent;
    get diagnostics gone = row_count;
    removed := removed + gone;
    delete from pools p
    where p.id in (
        select x.id
        from pools x
        where not exists (select from bots b where b.pool_id = x.id)
            and not exists (select from bot_slots s where s.pool_id = x.id)
        limit most
        for update skip locked
    );
    get diagnostics gone = row_count;
    removed := removed + gone;
    delete from label_sets l
    where l.id in (
        select x.id
        from label_sets x
        where not exists (select from bot_slots s where s.label_set_id = x.id)
        limit most
        for update skip locked
    );
    get diagnostics gone = row_count;
    removed := removed + gone;
    delete from epochs e
    where e.started_at <> pg_postmaster_start_time()
        and e.started_at < at - interval '30 days'
        and e.bump < (select max(bump) from epochs);
    return removed;
end $$;
