-- A process looks after the calls that wait in it: it says that it lives, and hears which of its calls wait, and which pools
-- have a free bot for one of them. Nobody tells when a lease expires, and what is told may be lost. After a silence, in
-- which the database could not be reached, others may have been cut off as well: expired leases are left alone for a
-- while, and all who wait count as alive.
create or replace function botfarm_look(
    process uuid, waits boolean, after_silence boolean, alive interval, grace interval
)
returns table (leases uuid[], calls uuid[], waiting boolean[], pools integer[]) language plpgsql as $$
#variable_conflict use_column
declare
    epoch epochs := botfarm_epoch(grace);
    at timestamptz;
begin
    if after_silence then
        update epochs e
        set takeover_after = clock_timestamp() + grace
        where e.started_at = epoch.started_at
        returning * into epoch;
    end if;
    if waits then
        insert into processes as p (id, alive_until)
        values (botfarm_look.process, clock_timestamp() + alive)
        on conflict (id) do update
        set alive_until = excluded.alive_until
        where p.alive_until < excluded.alive_until - alive / 3;
    end if;
    at := clock_timestamp();
    with mine as materialized (
        select l.lease_id, l.call from listeners l where l.process = botfarm_look.process
    ),
    asked as materialized (
        select k.selector_id, max(k.count) as count, array_agg(k.lease_id) as leases
        from (
            select k.selector_id, k.lease_id, count(*) as count
            from wants k
            where k.lease_id in (select lease_id from mine)
            group by 1, 2
        ) k
        group by 1
    ),
    -- Bots that somebody cannot do without have gone: to be told so, it has to ask again.
    bereft as (
        select unnest(a.leases) as lease_id
        from asked a
        join selectors x on x.id = a.selector_id
        where (select count(*) from botfarm_existing(x, '{}', a.count::integer)) < a.count
    )
    select
        array_agg(m.lease_id),
        array_agg(m.call),
        array_agg(
            exists (select from wants k where k.lease_id = m.lease_id)
            and m.lease_id not in (select lease_id from bereft)
        ),
        array(
            select distinct f.pool_id
            from asked a
            join selectors x on x.id = a.selector_id
            cross join lateral botfarm_free(x, null, '{}', at, epoch.takeover_after <= at, 1) f
        )
    into leases, calls, waiting, pools
    from mine m;
    return next;
end $$;
