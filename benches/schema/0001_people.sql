create type account_state as enum ('invited', 'active', 'suspended', 'closed');
create type token_purpose as enum ('sign_in', 'reset_password', 'confirm_email', 'api');

create function touch_updated_at() returns trigger language plpgsql as $$
begin
    new.updated_at := now();
    return new;
end
$$;

create table countries (
    code char(2) primary key,
    name text not null unique,
    vat_rate numeric(5, 2) not null default 0
);

create table tenants (
    id bigint generated always as identity primary key,
    slug text not null unique check (slug ~ '^[a-z0-9-]{2,40}$'),
    name text not null,
    country_code char(2) not null references countries,
    settings jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create trigger tenants_touch before update on tenants for each row execute function touch_updated_at();

create table accounts (
    id uuid primary key default gen_random_uuid(),
    tenant_id bigint not null references tenants,
    email text not null,
    password_hash text,
    state account_state not null default 'invited',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create unique index accounts_email on accounts (tenant_id, lower(email));
create index accounts_state on accounts (state) where state <> 'active';
create trigger accounts_touch before update on accounts for each row execute function touch_updated_at();

create table profiles (
    account_id uuid primary key references accounts on delete cascade,
    full_name text not null,
    locale text not null default 'en',
    avatar bytea,
    preferences jsonb not null default '{}'
);
create index profiles_preferences on profiles using gin (preferences);

create table roles (
    id serial primary key,
    tenant_id bigint references tenants,
    name text not null,
    unique (tenant_id, name)
);

create table permissions (
    name text primary key,
    description text not null
);

create table role_permissions (
    role_id int not null references roles on delete cascade,
    permission text not null references permissions,
    primary key (role_id, permission)
);
create index role_permissions_permission on role_permissions (permission);

create table account_roles (
    account_id uuid not null references accounts on delete cascade,
    role_id int not null references roles,
    granted_at timestamptz not null default now(),
    primary key (account_id, role_id)
);
create index account_roles_role on account_roles (role_id);

create table sessions (
    id uuid primary key default gen_random_uuid(),
    account_id uuid not null references accounts on delete cascade,
    address inet,
    user_agent text,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index sessions_account on sessions (account_id, created_at desc);
create index sessions_expires on sessions (expires_at);

create table tokens (
    id bigint generated always as identity primary key,
    account_id uuid not null references accounts on delete cascade,
    purpose token_purpose not null,
    digest bytea not null unique,
    expires_at timestamptz not null
);
create index tokens_account on tokens (account_id, purpose);
