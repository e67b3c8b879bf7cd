create type product_state as enum ('draft', 'listed', 'withdrawn');

create table categories (
    id serial primary key,
    tenant_id bigint not null references tenants,
    parent_id int references categories,
    name text not null,
    position int not null default 0
);
create index categories_parent on categories (parent_id, position);

create table brands (
    id serial primary key,
    tenant_id bigint not null references tenants,
    name text not null,
    unique (tenant_id, name)
);

create table products (
    id bigint generated always as identity primary key,
    tenant_id bigint not null references tenants,
    brand_id int references brands,
    title text not null,
    description text not null default '',
    state product_state not null default 'draft',
    attributes jsonb not null default '{}',
    search tsvector generated always as (to_tsvector('english', title || ' ' || description)) stored,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index products_listed on products (tenant_id, created_at desc) where state = 'listed';
create index products_brand on products (brand_id);
create index products_search on products using gin (search);
create index products_attributes on products using gin (attributes jsonb_path_ops);
create trigger products_touch before update on products for each row execute function touch_updated_at();

create table product_categories (
    product_id bigint not null references products on delete cascade,
    category_id int not null references categories,
    primary key (product_id, category_id)
);
create index product_categories_category on product_categories (category_id);

create table variants (
    id bigint generated always as identity primary key,
    product_id bigint not null references products on delete cascade,
    sku text not null unique,
    options jsonb not null default '{}',
    weight_grams int check (weight_grams > 0)
);
create index variants_product on variants (product_id);

create table prices (
    id bigint generated always as identity primary key,
    variant_id bigint not null references variants on delete cascade,
    currency char(3) not null,
    amount numeric(12, 2) not null check (amount >= 0),
    valid tstzrange not null default tstzrange(now(), null)
);
create index prices_variant on prices (variant_id, currency);
create index prices_valid on prices using gist (valid);

create table images (
    id uuid primary key default gen_random_uuid(),
    product_id bigint not null references products on delete cascade,
    url text not null,
    position int not null default 0
);
create index images_product on images (product_id, position);

create table reviews (
    id bigint generated always as identity primary key,
    product_id bigint not null references products on delete cascade,
    account_id uuid not null references accounts,
    stars smallint not null check (stars between 1 and 5),
    body text not null default '',
    created_at timestamptz not null default now(),
    unique (product_id, account_id)
);
create index reviews_account on reviews (account_id);

create table warehouses (
    id serial primary key,
    tenant_id bigint not null references tenants,
    name text not null,
    country_code char(2) not null references countries
);

create table stock (
    variant_id bigint not null references variants,
    warehouse_id int not null references warehouses,
    on_hand int not null default 0,
    reserved int not null default 0 check (reserved >= 0),
    primary key (variant_id, warehouse_id)
);
create index stock_warehouse on stock (warehouse_id);

create view available as
    select variant_id, sum(on_hand - reserved) as pieces from stock group by variant_id;
