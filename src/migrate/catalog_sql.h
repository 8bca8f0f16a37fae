/* SPDX-License-Identifier: Apache-2.0 */
/* The statements of catalog.c. */
#ifndef MIGRATE_CATALOG_SQL_H
#define MIGRATE_CATALOG_SQL_H

#define SHOWN(oid)                                                                                                     \
    "(SELECT CASE WHEN pg_table_is_visible(x.oid) THEN x.relname ELSE xn.nspname || '.' || x.relname END "             \
    "FROM pg_class x JOIN pg_namespace xn ON xn.oid = x.relnamespace WHERE x.oid = " oid ")"
/* A domain that refuses something, or whose base domain does. */
#define CONSTRAINED(type)                                                                                              \
    "(" type ".typtype = 'd' AND (" type ".typnotnull OR EXISTS (SELECT FROM pg_constraint dc WHERE "                  \
    "dc.contypid = " type ".oid) OR EXISTS (SELECT FROM pg_type bd WHERE bd.oid = " type ".typbasetype "               \
    "AND bd.typtype = 'd' AND (bd.typnotnull OR EXISTS (SELECT FROM pg_constraint bc WHERE bc.contypid = bd.oid)))))"
#define BASE_NAME(type)                                                                                                \
    "(SELECT coalesce((SELECT bb.typname FROM pg_type bb WHERE bb.oid = b.typbasetype), b.typname) "                   \
    "FROM pg_type b WHERE b.oid = CASE WHEN " type ".typtype = 'd' THEN " type ".typbasetype ELSE " type ".oid END)"

static const char catalog_sql_table[] = "SELECT n.nspname, c.relname, " SHOWN(
    "c.oid") ", c.relkind, c.relpersistence, c.reltuples::bigint, "
             "CASE WHEN c.relkind IN ('r', 'm', 'i') THEN pg_relation_size(c.oid) ELSE 0 END, c.relispartition, "
             "coalesce((SELECT partdefid FROM pg_partitioned_table WHERE partrelid = c.oid), 0), "
             "coalesce((SELECT indrelid FROM pg_index WHERE indexrelid = c.oid), "
             "(SELECT inhparent FROM pg_inherits WHERE inhrelid = c.oid ORDER BY inhseqno LIMIT 1), 0), "
             "pg_get_partition_constraintdef(c.oid), "
             "(SELECT partattrs FROM pg_partitioned_table WHERE partrelid = c.oid), c.relreplident "
             "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::oid";

/* From 18 on NOT NULL may hold for new rows only (NOT VALID); before, no constraint has the kind 'n'. */
#define PROVEN                                                                                                         \
    "NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND NOT "               \
    "k.convalidated AND k.conkey = ARRAY[a.attnum])"

static const char catalog_sql_columns[] =
    "SELECT a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), " BASE_NAME(
        "t") ", "
             "CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, t.typtype = 'd', " CONSTRAINED(
                 "t") ", "
                      "t.typcategory = 'A', a.attnotnull AND " PROVEN
                      ", a.atthasdef AND a.attgenerated = '', a.attidentity <> '', "
                      "a.attgenerated <> '', a.attinhcount > 0, "
                      "(SELECT co.collname FROM pg_collation co WHERE co.oid = a.attcollation AND a.attcollation <> "
                      "t.typcollation), "
                      "coalesce((SELECT d.objid FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = "
                      "'S' "
                      "WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = "
                      "a.attrelid "
                      "AND d.refobjsubid = a.attnum LIMIT 1), 0), "
                      "(SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d WHERE d.adrelid = a.attrelid AND "
                      "d.adnum = a.attnum), a.attidentity = 'a', a.attgenerated = 'v' "
                      "FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
                      "WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

static const char catalog_sql_indexes[] = "SELECT i.indexrelid, " SHOWN(
    "i.indexrelid") ", i.indisunique, i.indisprimary, i.indisvalid, "
                    "i.indpred IS NOT NULL, i.indexprs IS NOT NULL, i.indisexclusion, i.indkey, "
                    "(SELECT string_agg(d.refobjsubid::text, ' ') FROM pg_depend d WHERE d.classid = "
                    "'pg_class'::regclass "
                    "AND d.objid = i.indexrelid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid), "
                    "CASE WHEN c.relkind = 'i' THEN pg_relation_size(c.oid) ELSE 0 END, "
                    "EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', "
                    "'x')), pg_get_indexdef(i.indexrelid) "
                    "FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = $1::oid ORDER BY 1";

static const char catalog_sql_constraints[] =
    "SELECT conname, contype, convalidated, conrelid, confrelid, conkey, confkey, conindid, "
    "CASE WHEN contype = 'c' THEN pg_get_expr(conbin, conrelid) END, coninhcount > 0, pg_get_constraintdef(oid), "
    "to_jsonb(pg_constraint)->>'conenforced' = 'false' "
    "FROM pg_constraint WHERE conrelid = $1::oid OR confrelid = $1::oid ORDER BY oid";

static const char catalog_sql_dependents[] =
    "SELECT kind, name, oid, string_agg(number::text, ' ') FROM ("
    "SELECT c.relkind::text AS kind, " SHOWN(
        "r.ev_class") "::text AS name, r.ev_class AS oid, "
                      "d.refobjsubid AS number FROM pg_depend d JOIN pg_rewrite r ON d.classid = "
                      "'pg_rewrite'::regclass "
                      "AND r.oid = d.objid JOIN pg_class c ON c.oid = r.ev_class WHERE d.refclassid = "
                      "'pg_class'::regclass "
                      "AND d.refobjid = $1::oid AND r.ev_class <> $1::oid "
                      "UNION ALL SELECT 'u', r.rulename, r.oid, d.refobjsubid FROM pg_depend d JOIN pg_rewrite r "
                      "ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid WHERE d.refclassid = "
                      "'pg_class'::regclass "
                      "AND d.refobjid = $1::oid AND r.ev_class = $1::oid AND d.refobjsubid > 0 "
                      "UNION ALL SELECT 'p', p.polname, p.oid, d.refobjsubid FROM pg_depend d JOIN pg_policy p "
                      "ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid WHERE d.refclassid = "
                      "'pg_class'::regclass "
                      "AND d.refobjid = $1::oid AND d.refobjsubid > 0 "
                      "UNION ALL SELECT 't', g.tgname, g.oid, d.refobjsubid FROM pg_depend d JOIN pg_trigger g "
                      "ON d.classid = 'pg_trigger'::regclass AND g.oid = d.objid WHERE d.refclassid = "
                      "'pg_class'::regclass "
                      "AND d.refobjid = $1::oid AND d.refobjsubid > 0 AND NOT g.tgisinternal "
                      "UNION ALL SELECT 'g', a.attname, a.attnum::int::oid, d.refobjsubid FROM pg_depend d JOIN "
                      "pg_attrdef f "
                      "ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid JOIN pg_attribute a ON a.attrelid = "
                      "f.adrelid "
                      "AND a.attnum = f.adnum AND a.attgenerated <> '' WHERE d.refclassid = 'pg_class'::regclass "
                      "AND d.refobjid = $1::oid AND f.adrelid = $1::oid AND d.refobjsubid NOT IN (0, f.adnum) "
                      "UNION ALL SELECT 'g', a.attname, a.attnum::int::oid, d.refobjsubid FROM pg_depend d JOIN "
                      "pg_attribute a "
                      "ON a.attrelid = d.objid AND a.attnum = d.objsubid AND a.attgenerated <> '' "
                      "WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = "
                      "$1::oid "
                      "AND d.objid = $1::oid AND d.refobjsubid > 0 AND d.refobjsubid <> d.objsubid"
                      ") all_of_them GROUP BY kind, name, oid ORDER BY 1, 2";

static const char catalog_sql_children[] = "SELECT inhrelid FROM pg_inherits WHERE inhparent = $1::oid ORDER BY 1";

static const char catalog_sql_triggers[] =
    "SELECT tgname FROM pg_trigger WHERE tgrelid = $1::oid AND NOT tgisinternal ORDER BY 1";

static const char catalog_sql_function[] =
    "SELECT p.provolatile, CASE WHEN l.lanname = 'sql' AND p.prokind = 'f' AND NOT p.proretset AND NOT p.prosecdef "
    "AND p.proconfig IS NULL AND p.prosqlbody IS NULL AND p.pronargs = 0 THEN p.prosrc END "
    "FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang JOIN pg_namespace n ON n.oid = p.pronamespace "
    "WHERE p.proname = $2 AND (CASE WHEN $1 = '' THEN pg_function_is_visible(p.oid) ELSE n.nspname = $1 END) "
    "AND (p.provariadic <> 0 OR $3::int BETWEEN p.pronargs - p.pronargdefaults AND p.pronargs)";

static const char catalog_sql_type[] =
    "SELECT " BASE_NAME("t") ", CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE -1 END, t.typtype = 'd', " CONSTRAINED(
        "t") ", t.typcategory = 'A' FROM pg_type t WHERE t.oid = to_regtype($1)::oid";

/* b: binary, f: function, i: by text, -: none. */
static const char catalog_sql_cast[] =
    "SELECT coalesce((SELECT CASE WHEN NOT ($3::bool OR k.castcontext IN ('a', 'i')) THEN '-' ELSE k.castmethod::text "
    "END FROM pg_cast k WHERE k.castsource = f.oid AND k.casttarget = t.oid), "
    "CASE WHEN t.typcategory = 'S' OR ($3::bool AND f.typcategory = 'S') THEN 'i' "
    "WHEN f.typelem <> 0 AND t.typelem <> 0 AND f.typcategory = 'A' AND t.typcategory = 'A' THEN '?' ELSE '-' END) "
    "FROM pg_type f, pg_type t WHERE f.typname = $1 AND pg_type_is_visible(f.oid) "
    "AND t.typname = $2 AND pg_type_is_visible(t.oid)";

static const char catalog_sql_view_sources[] =
    "SELECT DISTINCT d.refobjid FROM pg_depend d JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass "
    "AND r.oid = d.objid WHERE r.ev_class = $1::oid AND d.refclassid = 'pg_class'::regclass "
    "AND d.refobjid <> $1::oid ORDER BY 1";

static const char catalog_sql_domain_users[] =
    "SELECT DISTINCT a.attrelid FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'm') "
    "WHERE a.atttypid = to_regtype($1)::oid AND NOT a.attisdropped ORDER BY 1";

#undef SHOWN
#undef CONSTRAINED
#undef BASE_NAME

#endif
