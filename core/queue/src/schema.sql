-- What was asked for. A row never changes.
create table seaworthy_queue.job (
    id bigint generated always as identity primary key,
    queue text not null,
    kind text not null,
    args jsonb not null,
    priority smallint not null,
    max_attempts integer not null check (max_attempts > 0),
    created_at timestamptz not null default clock_timestamp()
);

-- What can be claimed now, narrow because it is written twice per job.
create table seaworthy_queue.ready (
    queue text not null,
    priority smallint not null,
    id bigint not null,
    attempt integer not null,
    primary key (queue, priority, id)
);

-- What becomes ready later.
create table seaworthy_queue.scheduled (
    id bigint primary key,
    run_at timestamptz not null,
    attempt integer not null
);
create index on seaworthy_queue.scheduled (run_at);

-- A worker lives as long as its heartbeats keep coming.
create table seaworthy_queue.worker (
    id uuid primary key,
    beat_at timestamptz not null default clock_timestamp(),
    lease_timeout interval not null
);

-- One row per claim. The token is the fence: once the row is gone, the claim is void.
create table seaworthy_queue.lease_batch (
    token uuid primary key,
    worker uuid not null references seaworthy_queue.worker,
    job_ids bigint[] not null,
    attempts integer[] not null
);
create index on seaworthy_queue.lease_batch (worker);

-- What became of claimed jobs; append-only, the history of every attempt.
create table seaworthy_queue.done_batch (
    token uuid not null,
    outcome text not null check (outcome in ('completed', 'retried', 'dead', 'rescued')),
    job_ids bigint[] not null,
    detail text,
    at timestamptz not null default clock_timestamp()
);
-- Unique, so that a completion that is repeated while the first try is still on its way is recorded once. A claim takes 256 jobs at
-- most, whose numbers fit into an index entry.
create unique index on seaworthy_queue.done_batch (token, job_ids);

-- What was given up.
create table seaworthy_queue.dead_letter (
    id bigint primary key,
    attempt integer not null,
    error text not null,
    at timestamptz not null default clock_timestamp()
);
