create type order_state as enum ('open', 'placed', 'paid', 'shipped', 'delivered', 'cancelled');
create type payment_state as enum ('authorised', 'captured', 'failed', 'refunded');
create sequence order_numbers start with 100000;

create table addresses (
    id bigint generated always as identity primary key,
    account_id uuid not null references accounts on delete cascade,
    lines text[] not null,
    city text not null,
    postcode text not null,
    country_code char(2) not null references countries
);
create index addresses_account on addresses (account_id);

create table carts (
    id uuid primary key default gen_random_uuid(),
    account_id uuid references accounts on delete cascade,
    updated_at timestamptz not null default now()
);
create index carts_account on carts (account_id);
create trigger carts_touch before update on carts for each row execute function touch_updated_at();

create table cart_lines (
    cart_id uuid not null references carts on delete cascade,
    variant_id bigint not null references variants,
    quantity int not null check (quantity > 0),
    primary key (cart_id, variant_id)
);
create index cart_lines_variant on cart_lines (variant_id);

create table coupons (
    id serial primary key,
    tenant_id bigint not null references tenants,
    code text not null,
    percent numeric(5, 2) not null check (percent between 0 and 100),
    valid daterange not null,
    unique (tenant_id, code)
);

create table orders (
    id bigint generated always as identity primary key,
    number text not null unique default 'O-' || nextval('order_numbers'),
    tenant_id bigint not null references tenants,
    account_id uuid not null references accounts,
    address_id bigint references addresses,
    coupon_id int references coupons,
    state order_state not null default 'open',
    total numeric(12, 2) not null default 0,
    placed_at timestamptz,
    updated_at timestamptz not null default now()
);
create index orders_account on orders (account_id, placed_at desc);
create index orders_tenant_state on orders (tenant_id, state);
create index orders_placed on orders using brin (placed_at);
create trigger orders_touch before update on orders for each row execute function touch_updated_at();

create table order_lines (
    order_id bigint not null references orders on delete cascade,
    position int not null,
    variant_id bigint not null references variants,
    quantity int not null check (quantity > 0),
    unit_price numeric(12, 2) not null,
    primary key (order_id, position)
);
create index order_lines_variant on order_lines (variant_id);

create function sum_order() returns trigger language plpgsql as $$
begin
    update orders set total = (
        select coalesce(sum(quantity * unit_price), 0) from order_lines where order_id = coalesce(new.order_id, old.order_id)
    ) where id = coalesce(new.order_id, old.order_id);
    return null;
end
$$;
create trigger order_lines_sum after insert or update or delete on order_lines
    for each row execute function sum_order();

create table payments (
    id uuid primary key default gen_random_uuid(),
    order_id bigint not null references orders,
    provider text not null,
    reference text not null,
    state payment_state not null,
    amount numeric(12, 2) not null,
    created_at timestamptz not null default now(),
    unique (provider, reference)
);
create index payments_order on payments (order_id);

create table refunds (
    id bigint generated always as identity primary key,
    payment_id uuid not null references payments,
    amount numeric(12, 2) not null check (amount > 0),
    reason text not null
);
create index refunds_payment on refunds (payment_id);

create table shipments (
    id bigint generated always as identity primary key,
    order_id bigint not null references orders,
    warehouse_id int not null references warehouses,
    tracking text unique,
    shipped_at timestamptz
);
create index shipments_order on shipments (order_id);

create table shipment_lines (
    shipment_id bigint not null references shipments on delete cascade,
    order_id bigint not null,
    position int not null,
    quantity int not null check (quantity > 0),
    primary key (shipment_id, order_id, position),
    foreign key (order_id, position) references order_lines
);

create table invoices (
    id bigint generated always as identity primary key,
    order_id bigint not null unique references orders,
    issued_on date not null default current_date,
    document bytea
);
