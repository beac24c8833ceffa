-- The life of the server that this is, noticed if nobody has. After a restart or promotion, expired leases are left alone
-- for the grace, so that their holders can renew or hear of it.
create or replace function botfarm_epoch(grace interval) returns epochs language plpgsql as $$
declare
    epoch epochs;
    latest epochs;
begin
    select * into epoch from epochs where started_at = pg_postmaster_start_time();
    if found then
        return epoch;
    end if;
    select * into latest from epochs order by bump desc, started_at desc limit 1;
    epoch.started_at := pg_postmaster_start_time();
    epoch.timeline := ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint;
    epoch.system := (select system_identifier from pg_control_system());
    if latest is null then
        epoch.takeover_after := clock_timestamp();
        epoch.bump := epoch.timeline;
    else
        epoch.takeover_after := clock_timestamp() + grace;
        -- What the former server granted last may be missing here: every fence from now on is larger than those.
        epoch.bump := case
            when (latest.timeline, latest.system) = (epoch.timeline, epoch.system) then latest.bump
            else greatest(latest.bump + 1, epoch.timeline)
        end;
    end if;
    insert into epochs values (epoch.*) on conflict do nothing;
    select * into epoch from epochs where started_at = pg_postmaster_start_time();
    return epoch;
end $$;

-- The fence after this one: larger than it, than those of a deleted account of the same login, and than those of a server
-- that was lost. Microseconds since 1970; below 2^53, so that JSON numbers hold it. 2^40 microseconds are 13 days.
create or replace function botfarm_next_fence(fence bigint, bump bigint) returns bigint language sql volatile as $$
    select greatest(fence + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint + (bump << 40))
$$;

-- What the farm is doing with a bot at this moment.
create or replace function botfarm_state(slot bot_slots) returns text language sql stable as $$
    select case
        when slot.lease_id is not null and slot.expires_at > now() then 'leased'
        when slot.free_at > now() then 'cooling'
        else 'free'
    end
$$;

-- The condition of a bot: while it is leased, the one that it was handed out in.
create or replace function botfarm_condition(slot bot_slots) returns text language sql stable as $$
    select case
        when slot.lease_id is not null and slot.expires_at > now() then coalesce(slot.leased_as, slot.condition)
        else slot.condition
    end
$$;

-- In which condition a bot of a pool is left that was ready, if its lease expires.
create or replace function botfarm_after_expiry(slot bot_slots, dirty_envs text[]) returns text language sql stable as $$
    select case
        when slot.condition = 'ready'
            and dirty_envs <> '{}'
            and exists (select from pools p where p.id = slot.pool_id and p.env = any(dirty_envs))
        then 'dirty'
        else slot.condition
    end
$$;
