create table shop.orders (
    id uuid primary key,
    customer text not null,
    item text not null,
    quantity integer not null check (quantity > 0),
    state text not null check (state in ('placed', 'fulfilled')),
    -- Grows with every change of state, so that old news can be told from new.
    version integer not null,
    created_at timestamptz not null default clock_timestamp()
);

-- A ledger: one row per fulfilment that was recorded. It has no unique key on purpose, since only the queue's fencing
-- stands between a zombie and a second row, and the scenarios look for one.
create table shop.fulfilment (
    id bigint generated always as identity primary key,
    order_id uuid not null references shop.orders,
    -- The shipping label, as the printer takes it: a picture of some kilobytes.
    label bytea not null,
    at timestamptz not null default clock_timestamp()
);

-- Changes of state that are still to be published.
create table shop.outbox (
    id bigint generated always as identity primary key,
    order_id uuid not null,
    state text not null,
    version integer not null
);
