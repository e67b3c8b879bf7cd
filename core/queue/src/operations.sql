-- Jobs that are enqueued again and again.
create table seaworthy_queue.schedule (
    name text primary key,
    expression text not null,
    zone text not null,
    -- What becomes of occurrences that nobody could enqueue in time: 'skip', 'once' or 'all', and then so many at most.
    missed text not null check (missed in ('skip', 'once', 'all')),
    most integer not null check (most between 1 and 1000),
    -- The job that each occurrence is.
    queue text not null,
    kind text not null,
    args json not null,
    priority smallint not null,
    max_attempts smallint not null check (max_attempts > 0),
    expires_in bigint,
    unique_key text,
    unique_period bigint,
    unique_while_waiting boolean not null,
    limit_name text,
    limit_key text,
    version smallint not null,
    paused_at timestamptz,
    -- The first occurrence that was not enqueued yet: who enqueues it moves this on in the same transaction.
    next_at timestamptz not null,
    last_at timestamptz,
    last_job bigint
);
create index on seaworthy_queue.schedule (next_at) where paused_at is null;

-- What came of them: each occurrence is one job, whatever happens.
create table seaworthy_queue.occurrence (
    schedule text not null,
    at timestamptz not null,
    job bigint not null,
    primary key (schedule, at)
);
create index on seaworthy_queue.occurrence (job);

-- Who does what one worker alone has to do. The epoch is the fence: it grows with each change of the leader, and whoever does something as the leader looks first, in the
-- same transaction, whether the epoch is still its own.
create table seaworthy_queue.leader (
    is_only boolean primary key default true check (is_only),
    epoch bigint not null,
    worker uuid not null,
    until timestamptz not null
);

-- Who a worker is, for those who look after it.
alter table seaworthy_queue.worker
    add column started_at timestamptz not null default clock_timestamp(),
    add column host text,
    add column pid integer,
    add column queues text[],
    add column concurrency integer;

-- How long the handlers took, in seconds, in the order of the jobs; nothing where none ran.
alter table seaworthy_queue.done_batch add column ran real[];
-- One entry per record, which is of up to hundreds of jobs: what happened lately, and what is old enough to be forgotten.
create index done_batch_at on seaworthy_queue.done_batch (at);

-- Jobs whose dead letter was purged or replayed: they are forgotten with the history of that time.
create table seaworthy_queue.purged (
    id bigint primary key,
    at timestamptz not null default clock_timestamp()
);
