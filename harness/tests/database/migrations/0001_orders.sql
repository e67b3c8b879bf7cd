create table orders (id serial primary key, customer text not null);
