create type membership as enum ('junior', 'full');

create table members (
    id bigint generated always as identity primary key,
    name varchar(80) not null,
    card char(6) not null unique,
    membership membership not null,
    joined_at timestamptz not null default now()
);

create table books (
    id bigint generated always as identity primary key,
    title text not null
);

create table loans (
    id bigint generated always as identity primary key,
    member_id bigint not null references members,
    book_id bigint not null references books,
    days integer not null check (days between 1 and 60)
);
