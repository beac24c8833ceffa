-- Runs: what a CI run or a test session has leased and waits for.

-- Whether what carries these terms is a part of a run. Its_owner: only that owner's; null: whosever.
create or replace function botfarm_is_of_run(terms jsonb, of_run text, its_owner text)
returns boolean language plpgsql immutable as $$
begin
    return coalesce(terms->>'run' = of_run, false) and (its_owner is null or coalesce(terms->>'owner' = its_owner, false));
end $$;

-- Ends what there is of some lease ids that were found to be of a run, as somebody else than its holders: leases that
-- live, and places in the queue, of which what was offered is undone. Who is sent away is told so, and its id stays
-- refused until its place would be forgotten. Rests: how long bots rest, by their env; else as rests_elsewhere. Returns
-- which ids had a lease, which had a place, the processes that are to be told, and the pools for which somebody waits.
create or replace function botfarm_end_run(
    leases uuid[],
    of_run text,
    its_owner text,
    rests_elsewhere interval,
    rests jsonb,
    left_as text,
    said_outcome text,
    said_by text,
    said_note text,
    keeps interval,
    out ended uuid[],
    out sent_away uuid[],
    out told uuid[],
    out pools integer[]
)
language plpgsql as $$
declare
    lease uuid;
    slot bot_slots;
    freed integer[];
    rests_for interval;
    at timestamptz;
begin
    ended := '{}';
    sent_away := '{}';
    told := '{}';
    pools := '{}';
    -- In the order of the locks, so that two that end the same do not wait for each other in a circle.
    for lease in select l from unnest(leases) l order by hashtextextended(l::text, 7238461) loop
        perform botfarm_lock(lease);
    end loop;
    perform from waiters w where w.lease_id = any(leases) order by w.lease_id for no key update;
    perform from bot_slots s where s.lease_id = any(leases) order by s.bot_id for no key update;
    at := clock_timestamp();
    foreach lease in array leases loop
        select * into slot from bot_slots s where s.lease_id = lease limit 1;
        if slot.phase in ('granted', 'seen') then
            if botfarm_living(lease) is not null and botfarm_is_of_run(slot.terms, of_run, its_owner) then
                select max(coalesce((rests->>b.env)::interval, rests_elsewhere)) into rests_for
                from bot_slots s
                join bots b on b.id = s.bot_id
                where s.lease_id = lease;
                freed := botfarm_free_all(
                    lease, at, 'taken', at + rests_for, left_as, said_outcome, said_by, said_note
                );
                pools := pools || botfarm_awaited_pools(freed);
                ended := ended || lease;
            end if;
        elsif exists (
            select from waiters w
            where w.lease_id = lease
                and w.ended_at is null
                and coalesce(w.kept_until > at, true)
                and botfarm_is_of_run(w.terms, of_run, its_owner)
        ) and not exists (select from history h where h.lease_id = lease and h.reason <> 'undone') then
            if slot.phase = 'offered' and botfarm_living(lease) is not null then
                freed := botfarm_free_all(lease, at, 'undone', null, null, null, null, null);
                update pools p set put_back_at = at where p.id = any(freed) and p.put_back_at < at - interval '1 s';
                pools := pools || botfarm_awaited_pools(freed);
            end if;
            told := told || array(select distinct l.process from listeners l where l.lease_id = lease);
            pools := pools || botfarm_stop_waiting(lease, at + keeps);
            update waiters w
            set ended_at = at,
                ended_by = said_by,
                end_note = said_note
            where w.lease_id = lease;
            sent_away := sent_away || lease;
        end if;
    end loop;
end $$;
