insert into orders (customer, paid) values ('Ada', true), ('Grace', false);
