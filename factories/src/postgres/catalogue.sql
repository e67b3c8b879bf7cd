with recursive wanted as (
    select name, ordinality as place, to_regclass(name) as relation from unnest($1::text[]) with ordinality as wanted (name, ordinality)
), attribute as (
    select wanted.place, wanted.relation, a.attname, a.attnum, a.atttypid, a.atttypmod, a.attnotnull, a.attidentity, a.attgenerated, d.oid as def
    from wanted
    left join pg_attribute a on a.attrelid = wanted.relation and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
), base as (
    -- What a domain is a domain of, through domains of domains.
    select distinct atttypid as original, atttypid as type, -1 as modifier, false as not_null, false as has_default
    from attribute where atttypid is not null
    union all
    select base.original, t.typbasetype, t.typtypmod, base.not_null or t.typnotnull, base.has_default or t.typdefault is not null
    from base join pg_type t on t.oid = base.type where t.typtype = 'd'
)
-- Spelled with -1: `bpchar` and `"bit"`, since `character` and `bit` by themselves are of one character and one bit.
select attribute.place, attribute.relation is not null as is_there, attribute.attname::text as name, attribute.attnotnull or base.not_null as not_null,
    (attribute.def is not null and attribute.attgenerated = '') or attribute.attidentity <> '' or base.has_default as has_default,
    attribute.attgenerated <> '' as is_generated,
    case when base.modifier >= 0 then base.modifier else attribute.atttypmod end as modifier,
    t.typname::text as type, t.typtype::text as kind, format_type(t.oid, -1) as spelled, t.oid::bigint as oid, t.typarray::bigint as array_oid,
    element.oid::bigint as element_oid, element.typname::text as element, element.typtype::text as element_kind,
    array(select e.enumlabel::text from pg_enum e where e.enumtypid in (t.oid, element.oid) order by e.enumsortorder) as labels,
    -- The sequence of an identity column, or the one that the default takes.
    (
        select dep.objid::regclass::text from pg_depend dep join pg_class s on s.oid = dep.objid and s.relkind = 'S'
        where dep.classid = 'pg_class'::regclass and dep.refclassid = 'pg_class'::regclass and dep.refobjid = attribute.relation
            and dep.refobjsubid = attribute.attnum and dep.deptype = 'i'
        union all
        select dep.refobjid::regclass::text from pg_depend dep join pg_class s on s.oid = dep.refobjid and s.relkind = 'S'
        where dep.classid = 'pg_attrdef'::regclass and dep.objid = attribute.def and dep.refclassid = 'pg_class'::regclass
        limit 1
    ) as sequence,
    array(
        select c.conname::text from pg_constraint c where c.contype in ('c', 'u', 'p', 'f', 'x')
            and ((c.conrelid = attribute.relation and attribute.attnum = any(c.conkey)) or c.contypid = nullif(attribute.atttypid, t.oid))
    ) as constraints
from attribute
left join base on base.original = attribute.atttypid and not exists (select from pg_type d where d.oid = base.type and d.typtype = 'd')
left join pg_type t on t.oid = base.type
left join pg_type element on element.oid = t.typelem and t.typlen = -1 and t.typcategory = 'A'
order by attribute.place, attribute.attnum
