insert into countries (code, name, vat_rate) values
    ('at', 'Austria', 20), ('de', 'Germany', 19), ('fr', 'France', 20), ('gb', 'United Kingdom', 20), ('nl', 'Netherlands', 21);
insert into permissions (name, description)
    select what || '.' || how, 'may ' || how || ' ' || what
    from unnest('{orders,products,accounts,stock,reports}'::text[]) what, unnest('{read,write,delete}'::text[]) how;
insert into tenants (slug, name, country_code) values ('harbour', 'Harbour Supplies', 'gb'), ('quay', 'Quay & Sons', 'nl');
insert into roles (tenant_id, name) select id, unnest('{owner,clerk,viewer}'::text[]) from tenants;
insert into role_permissions (role_id, permission)
    select r.id, p.name from roles r, permissions p where r.name = 'owner' or p.name like '%.read';
insert into categories (tenant_id, name, position)
    select t.id, c.name, c.place from tenants t, unnest('{Ropes,Sails,Anchors,Lights,Charts,Paint}'::text[]) with ordinality as c(name, place);
insert into brands (tenant_id, name) select id, 'Brand ' || n from tenants, generate_series(1, 10) n;
insert into warehouses (tenant_id, name, country_code) select id, 'Main', country_code from tenants;
insert into products (tenant_id, title, description, state)
    select t.id, 'Product ' || n, repeat('A sturdy thing for a ship. ', 4), 'listed' from tenants t, generate_series(1, 150) n;
insert into product_categories (product_id, category_id)
    select p.id, c.id from products p join categories c on c.tenant_id = p.tenant_id and c.position = 1 + p.id % 6;
insert into variants (product_id, sku, weight_grams)
    select id, 'SKU-' || id || '-' || size, 100 * size from products, generate_series(1, 2) size;
insert into prices (variant_id, currency, amount)
    select id, currency, 5 + id % 90 from variants, unnest('{EUR,GBP}'::text[]) currency;
insert into stock (variant_id, warehouse_id, on_hand)
    select v.id, w.id, 100 from variants v join products p on p.id = v.product_id join warehouses w using (tenant_id);
insert into feature_flags (name, tenant_id, enabled)
    select flag, id, true from tenants, unnest('{reviews,coupons,webhooks}'::text[]) flag;
