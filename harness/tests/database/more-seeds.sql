insert into orders (customer) values ('Ada');
