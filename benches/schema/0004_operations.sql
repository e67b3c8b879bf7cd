create type job_state as enum ('ready', 'running', 'done', 'dead');

create table jobs (
    id bigint generated always as identity primary key,
    queue text not null default 'default',
    kind text not null,
    args jsonb not null default '{}',
    state job_state not null default 'ready',
    attempts int not null default 0,
    run_at timestamptz not null default now()
);
create index jobs_ready on jobs (queue, run_at) where state = 'ready';

create table webhooks (
    id serial primary key,
    tenant_id bigint not null references tenants,
    url text not null,
    secret bytea not null,
    events text[] not null default '{}'
);
create index webhooks_events on webhooks using gin (events);

create table webhook_deliveries (
    id bigint generated always as identity primary key,
    webhook_id int not null references webhooks on delete cascade,
    payload jsonb not null,
    status int,
    delivered_at timestamptz
);
create index webhook_deliveries_webhook on webhook_deliveries (webhook_id, delivered_at);

create table outbox (
    id bigint generated always as identity primary key,
    topic text not null,
    payload jsonb not null,
    created_at timestamptz not null default now()
);
create index outbox_topic on outbox (topic, id);

create table audit_log (
    id bigint generated always as identity,
    tenant_id bigint not null references tenants,
    account_id uuid references accounts,
    action text not null,
    subject text not null,
    before jsonb,
    after jsonb,
    at timestamptz not null default now(),
    primary key (id)
);
create index audit_log_subject on audit_log (subject, at desc);
create index audit_log_account on audit_log (account_id);

create function audit_order() returns trigger language plpgsql as $$
begin
    insert into audit_log (tenant_id, account_id, action, subject, before, after)
    values (new.tenant_id, new.account_id, tg_op, 'orders/' || new.id, to_jsonb(old), to_jsonb(new));
    return null;
end
$$;
create trigger orders_audit after update of state on orders for each row execute function audit_order();

create table idempotency_keys (
    key text primary key,
    tenant_id bigint not null references tenants,
    answer jsonb,
    created_at timestamptz not null default now()
);
create index idempotency_keys_created on idempotency_keys (created_at);

create table notifications (
    id uuid primary key default gen_random_uuid(),
    account_id uuid not null references accounts on delete cascade,
    body text not null,
    read_at timestamptz
);
create index notifications_unread on notifications (account_id) where read_at is null;

create table feature_flags (
    name text not null,
    tenant_id bigint not null references tenants,
    enabled boolean not null default false,
    primary key (name, tenant_id)
);

create table files (
    id uuid primary key default gen_random_uuid(),
    tenant_id bigint not null references tenants,
    name text not null,
    size bigint not null check (size >= 0),
    sha256 bytea not null
);
create unique index files_sha256 on files (tenant_id, sha256);
