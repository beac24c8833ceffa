-- Changes that come with an idempotency key. Under way from begin to end; answered, or nobody knows; refused ones go.

-- Begins a change, unless something is known of it.
create or replace function botfarm_begin(
    its_caller bytea, its_key bytea, its_request bytea, its_attempt uuid, longest interval, kept interval, most integer,
    out known text, out answer bytea
)
language plpgsql as $$
declare
    at timestamptz := clock_timestamp();
    change changes;
begin
    delete from changes c where c.caller = its_caller and c.key = its_key and c.begun_at < at - kept;
    insert into changes (caller, key, request, attempt, begun_at) values (its_caller, its_key, its_request, its_attempt, at)
    on conflict do nothing;
    if found then
        known := 'new';
        -- The oldest of the same caller make room. Two calls that find the same ones do not wait for each other.
        delete from changes c
        where c.caller = its_caller
            and c.key in (
                select o.key
                from changes o
                where o.caller = its_caller
                    and o.key = any(array(
                        select x.key from changes x where x.caller = its_caller order by x.begun_at desc offset most limit 10
                    ))
                for update skip locked
            );
        return;
    end if;
    select * into change from changes c where c.caller = its_caller and c.key = its_key;
    answer := change.answer;
    known := case
        -- It was refused this very moment: whoever asks again finds it gone.
        when change.key is null then 'under way'
        when change.request <> its_request then 'reused'
        when change.answer is not null then 'answered'
        when change.unknown then 'unknown'
        when change.attempt = its_attempt then 'new'
        when change.begun_at < at - longest then 'unknown'
        else 'under way'
    end;
end $$;
