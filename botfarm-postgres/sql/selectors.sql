-- All in plpgsql: a function in sql is planned anew at each call.

-- From selectors to bots. A selector is a row of the table selectors, whether or not it is kept there.

-- A selector as the client writes it.
create or replace function botfarm_selector(wanted jsonb) returns selectors language plpgsql immutable as $$
declare
    s selectors;
begin
    s.project := coalesce(wanted->>'project', '*');
    s.env := coalesce(wanted->>'env', '*');
    s.domain := coalesce(wanted->>'domain', '*');
    s.labels := case
        when wanted->'labels' = '[]' then '{}'
        else array(select jsonb_array_elements_text(wanted->'labels'))
    end;
    s.condition := wanted->>'condition';
    s.bot_id := (wanted->>'bot')::uuid;
    s.login_key := wanted->>'login';
    s.not_envs := case
        when wanted ? 'not_envs' then array(select jsonb_array_elements_text(wanted->'not_envs'))
        else '{}'
    end;
    return s;
end $$;

-- The sets of labels with all of these, 65 at most: more are not worth being looked up one by one. Null: any, with or
-- without labels.
create or replace function botfarm_label_sets(wanted text[]) returns integer[] language plpgsql stable as $$
begin
    if wanted = '{}' then
        return null;
    end if;
    return array(select l.id from label_sets l where l.labels @> wanted limit 65);
end $$;

-- The set of exactly these labels, which is made if there is none. Null: none.
create or replace function botfarm_label_set(those text[]) returns integer language plpgsql as $$
declare
    digest bytea := sha256(convert_to(those::text, 'UTF8'));
    found_id integer;
begin
    if those = '{}' then
        return null;
    end if;
    -- Locked, so that it is not cleared away before the bot is there.
    select l.id into found_id from label_sets l where l.key = digest for key share;
    if not found then
        insert into label_sets (key, labels) values (digest, those) on conflict do nothing;
        select l.id into found_id from label_sets l where l.key = digest for key share;
    end if;
    return found_id;
end $$;

-- The pool of these names, which is made if there is none.
create or replace function botfarm_pool(of_project text, of_env text, of_domain text) returns integer language plpgsql as $$
declare
    found_id integer;
begin
    select p.id into found_id
    from pools p
    where p.project = of_project
        and p.env = of_env
        and p.domain = of_domain
    for key share;
    if not found then
        insert into pools (project, env, domain) values (of_project, of_env, of_domain) on conflict do nothing;
        select p.id into found_id
        from pools p
        where p.project = of_project
            and p.env = of_env
            and p.domain = of_domain
        for key share;
    end if;
    return found_id;
end $$;

-- The bots that a selector names by id or login, whatever their condition. Null: it names none.
create or replace function botfarm_named(s selectors) returns uuid[] language plpgsql stable as $$
declare
    named uuid[];
begin
    if s.bot_id is null and s.login_key is null then
        return null;
    end if;
    if s.bot_id is not null then
        named := array[s.bot_id];
    else
        named := array(select b.id from bots b where b.login_key = s.login_key);
        if (s.project, s.env, s.domain, s.labels) = ('*', '*', '*', '{}'::text[]) then
            return named;
        end if;
    end if;
    return array(
        select b.id
        from bots b
        join pools p on p.id = b.pool_id
        where b.id = any(named)
            and b.login_key = coalesce(s.login_key, b.login_key)
            and s.project in (p.project, '*')
            and s.env in (p.env, '*')
            and s.domain in (p.domain, '*')
            and b.labels @> s.labels
    );
end $$;

-- The pools that a selector chooses from; of one that names its bots, their pools.
create or replace function botfarm_pools(s selectors, named uuid[]) returns integer[] language plpgsql stable as $$
begin
    if named is not null then
        return array(select distinct b.pool_id from bots b where b.id = any(named));
    elsif s.project <> '*' then
        return array(
            select p.id
            from pools p
            where p.project = s.project
                and s.env in (p.env, '*')
                and p.env <> all(s.not_envs)
                and s.domain in (p.domain, '*')
        );
    end if;
    return array(
        select p.id
        from pools p
        where s.env in (p.env, '*')
            and p.env <> all(s.not_envs)
            and s.domain in (p.domain, '*')
    );
end $$;

-- The first n free bots that a selector fits, least recently used first. Stable: all of one statement's calls see the farm
-- at the same moment. At most those of some pools, unless within is null.
create or replace function botfarm_free(
    s selectors, within integer[], but_not uuid[], at timestamptz, may_take_over boolean, n integer
)
returns setof bot_slots language plpgsql stable as $$
declare
    named uuid[] := botfarm_named(s);
    pools integer[] := botfarm_pools(s, named);
    sets integer[] := botfarm_label_sets(s.labels);
begin
    if within is not null then
        pools := array(select unnest(pools) intersect select unnest(within));
    end if;
    if named is not null then
        return query
            select f.*
            from unnest(named) b
            cross join lateral (select * from bot_slots where bot_id = b order by version desc limit 1) f
            where f.pool_id = any(pools)
                and f.condition = s.condition
                and f.free_at <= at
                and (f.lease_id is null or may_take_over)
                and f.bot_id <> all(but_not)
            order by f.free_at
            limit n;
    elsif cardinality(sets) <= 64 then
        return query
            select f.*
            from unnest(pools) p
            cross join unnest(sets) l
            cross join lateral (
                select b.*
                from bot_slots b
                where b.pool_id = p
                    and b.label_set_id = l
                    and b.condition = s.condition
                    and b.free_at <= at
                    and (b.lease_id is null or may_take_over)
                    and b.bot_id <> all(but_not)
                order by b.free_at
                limit n
            ) f
            order by f.free_at
            limit n;
    else
        return query
            select f.*
            from unnest(pools) p
            cross join lateral (
                select b.*
                from bot_slots b
                where b.pool_id = p
                    and b.condition = s.condition
                    and b.free_at <= at
                    and (
                        sets is null
                        or exists (select from label_sets l where l.id = b.label_set_id and l.labels @> s.labels)
                    )
                    and (b.lease_id is null or may_take_over)
                    and b.bot_id <> all(but_not)
                order by b.free_at
                limit n
            ) f
            order by f.free_at
            limit n;
    end if;
end $$;

-- The first n bots that a selector fits, whatever their condition and whoever holds them.
create or replace function botfarm_existing(s selectors, but_not uuid[], n integer)
returns setof uuid language plpgsql stable as $$
declare
    named uuid[] := botfarm_named(s);
begin
    if named is not null then
        return query select b from unnest(named) b where b <> all(but_not) limit n;
    elsif s.labels = '{}' or cardinality(botfarm_label_sets(s.labels)) > 64 then
        return query
            select b.id
            from unnest(botfarm_pools(s, null)) p
            cross join lateral (
                select id from bots where pool_id = p and labels @> s.labels and id <> all(but_not) limit n
            ) b
            limit n;
    else
        return query
            select b.bot_id
            from unnest(botfarm_pools(s, null)) p
            cross join unnest(botfarm_label_sets(s.labels)) l
            cross join lateral (
                select bot_id from bot_slots where pool_id = p and label_set_id = l and bot_id <> all(but_not) limit n
            ) b
            limit n;
    end if;
end $$;

-- Distinct candidates for as many of n wants as can be, null for the others: maximum bipartite matching by augmenting
-- paths. Candidate number i is for the want edge_want[i], from 1. By Hall's theorem n candidates for each want are enough.
create or replace function botfarm_assign(n integer, edge_want integer[], edge_bot uuid[])
returns uuid[] language plpgsql immutable as $$
declare
    chosen uuid[] := array_fill(null::uuid, array[n]);
    line integer[];
    seen uuid[];
    seen_from integer[];
    found uuid;
    previous uuid;
    current integer;
begin
    -- Most often, who comes first takes the first that is left.
    for e in 1..cardinality(edge_bot) loop
        if chosen[edge_want[e]] is null and array_position(chosen, edge_bot[e]) is null then
            chosen[edge_want[e]] := edge_bot[e];
        end if;
    end loop;
    for w in 1..n loop
        continue when chosen[w] is not null or array_position(edge_want, w) is null;
        line := array[w];
        seen := '{}';
        seen_from := '{}';
        found := null;
        while cardinality(line) > 0 and found is null loop
            current := line[1];
            line := line[2:];
            for e in 1..cardinality(edge_bot) loop
                continue when edge_want[e] <> current or edge_bot[e] = any(seen);
                seen := seen || edge_bot[e];
                seen_from := seen_from || current;
                if array_position(chosen, edge_bot[e]) is null then
                    found := edge_bot[e];
                    exit;
                end if;
                line := line || array_position(chosen, edge_bot[e]);
            end loop;
        end loop;
        while found is not null loop
            current := seen_from[array_position(seen, found)];
            previous := chosen[current];
            chosen[current] := found;
            exit when current = w;
            found := previous;
        end loop;
    end loop;
    return chosen;
end $$;

-- Which of the selectors, from 0, lacks a bot of its own, whatever the condition of the bots and whoever holds them. Null:
-- there is one for each.
create or replace function botfarm_lacking(wanted selectors[], but_not uuid[]) returns integer language plpgsql stable as $$
declare
    n integer := cardinality(wanted);
    edge_want integer[];
    edge_bot uuid[];
begin
    select array_agg(s.ord order by s.ord), array_agg(e.bot order by s.ord) into edge_want, edge_bot
    from unnest(wanted) with ordinality s (id, key, project, env, domain, labels, condition, bot_id, login_key, not_envs, ord)
    cross join lateral botfarm_existing(wanted[s.ord], but_not, n) e (bot);
    return array_position(botfarm_assign(n, coalesce(edge_want, '{}'), coalesce(edge_bot, '{}')), null) - 1;
end $$;
