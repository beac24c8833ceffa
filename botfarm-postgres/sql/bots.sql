-- How bots come, change and go. Each of these returns the pools for which somebody waits who may be served now.

create or replace function botfarm_create(
    bot uuid,
    of_project text,
    of_env text,
    of_domain text,
    its_login text,
    its_login_key text,
    its_sealed bytea,
    its_labels text[]
)
returns table (created_at timestamptz, pools integer[]) language plpgsql as $$
declare
    pool integer := botfarm_pool(of_project, of_env, of_domain);
begin
    insert into bots as b (id, pool_id, env, login, login_key, sealed, labels)
    values (bot, pool, of_env, its_login, its_login_key, its_sealed, its_labels)
    returning b.created_at into created_at;
    insert into bot_slots (bot_id, pool_id, label_set_id) values (bot, pool, botfarm_label_set(its_labels));
    pools := botfarm_awaited_pools(array[pool]);
    return next;
end $$;

-- Found says whether there is such a bot, outrun that its password is not the one that was read, holder who holds it, where
-- that stands in the way: then nothing was changed. A call that asks again, since its answer was lost, changes nothing more.
create or replace function botfarm_update(
    bot uuid,
    its_call uuid,
    needs_a_free_bot boolean,
    to_project text,
    to_domain text,
    to_labels text[],
    to_condition text,
    to_sealed bytea,
    to_generation bigint,
    was_sealed bytea
)
returns table (is_found boolean, is_outrun boolean, holder text, held_until timestamptz, pools integer[]) language plpgsql as $$
declare
    slot bot_slots;
    pool pools;
begin
    select * into slot from bot_slots s where s.bot_id = bot order by s.version desc limit 1 for no key update;
    is_found := found;
    is_outrun := false;
    if not is_found then
        return next;
        return;
    end if;
    pools := array[slot.pool_id];
    if exists (select from bots b where b.id = bot and b.changed_by = its_call) then
        pools := botfarm_awaited_pools(pools);
        return next;
        return;
    end if;
    if needs_a_free_bot and slot.lease_id is not null and slot.expires_at > clock_timestamp() then
        holder := slot.terms->>'holder';
        held_until := slot.expires_at;
        return next;
        return;
    end if;
    if to_sealed is not null then
        perform from bots b where b.id = bot and b.sealed = was_sealed for no key update;
        is_outrun := not found;
        if is_outrun then
            return next;
            return;
        end if;
    end if;
    if to_project is not null or to_domain is not null then
        select * into pool from pools p where p.id = slot.pool_id;
        -- Of two moves without a hand-out between them, the first tells where the bot was when it was handed out.
        insert into moves (bot_id, fence, project)
        select bot, slot.fence, pool.project
        where to_project <> pool.project
            and slot.fence > 0
        on conflict do nothing;
        slot.pool_id := botfarm_pool(coalesce(to_project, pool.project), pool.env, coalesce(to_domain, pool.domain));
    end if;
    if to_labels is not null then
        slot.label_set_id := botfarm_label_set(to_labels);
    end if;
    update bot_slots s
    set version = s.version + 1,
        pool_id = slot.pool_id,
        label_set_id = slot.label_set_id,
        condition = coalesce(to_condition, s.condition)
    where s.bot_id = bot
        and s.version = slot.version;
    update bots b
    set pool_id = slot.pool_id,
        labels = coalesce(to_labels, b.labels),
        sealed = coalesce(to_sealed, b.sealed),
        generation = coalesce(to_generation, b.generation),
        changed_by = its_call
    where b.id = bot;
    update pools p
    set put_back_at = clock_timestamp()
    where p.id = slot.pool_id
        and p.put_back_at < clock_timestamp() - interval '1 s';
    pools := botfarm_awaited_pools(pools || slot.pool_id);
    return next;
end $$;

-- Sets a bot aside as broken, of which the password is not as the farm has written it: also while it is held. False when the
-- password is another by now.
create or replace function botfarm_set_aside(bot uuid, its_sealed bytea) returns boolean language plpgsql as $$
declare
    slot bot_slots;
begin
    select * into slot from bot_slots s where s.bot_id = bot order by s.version desc limit 1 for no key update;
    update bot_slots s
    set version = s.version + 1,
        condition = 'broken',
        leased_as = case when s.lease_id is not null then 'broken' else s.leased_as end
    where s.bot_id = bot
        and s.version = slot.version
        and exists (select from bots b where b.id = bot and b.sealed = its_sealed);
    return found;
end $$;

create or replace function botfarm_delete(bot uuid)
returns table (is_found boolean, holder text, held_until timestamptz) language plpgsql as $$
declare
    slot bot_slots;
begin
    select * into slot from bot_slots s where s.bot_id = bot order by s.version desc limit 1 for update;
    is_found := found;
    if slot.lease_id is not null and slot.expires_at > clock_timestamp() then
        holder := slot.terms->>'holder';
        held_until := slot.expires_at;
    elsif is_found then
        -- Its lease stays known to have ended.
        insert into history (bot_id, fence, lease_id, terms, leased_at, ended_at, reason)
        select slot.bot_id, slot.fence, slot.lease_id, slot.terms, slot.leased_at, slot.expires_at, 'expired'
        where slot.lease_id is not null
            and slot.phase <> 'offered';
        delete from bots b where b.id = bot;
    end if;
    return next;
end $$;
