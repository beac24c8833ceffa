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
        select distinct k.selector_id from wants k where k.lease_id in (select lease_id from mine)
    ),
    -- Bots that somebody cannot do without have gone: to be told so, it has to ask again. Equal requests are judged once.
    bereft as (
        select unnest(q.leases) as lease_id
        from (
            select k.wanted, k.avoid, array_agg(k.lease_id) as leases
            from (
                select w.lease_id, w.avoid, array_agg(k.selector_id order by k.selector_id) as wanted
                from wants k
                join waiters w on w.lease_id = k.lease_id
                where k.lease_id in (select lease_id from mine)
                group by w.lease_id
            ) k
            group by 1, 2
        ) q
        where botfarm_lacking(
            array(select x from unnest(q.wanted) i join selectors x on x.id = i), q.avoid
        ) is not null
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
