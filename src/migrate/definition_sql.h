/* SPDX-License-Identifier: Apache-2.0 */
/* The statements of definition.c. */
#ifndef MIGRATE_DEFINITION_SQL_H
#define MIGRATE_DEFINITION_SQL_H

static const char definition_sql_index[] =
    "SELECT n.nspname, c.relname, pg_get_indexdef(c.oid), obj_description(c.oid, 'pg_class'), i.indisclustered, "
    "i.indisreplident FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n "
    "ON n.oid = c.relnamespace WHERE i.indexrelid = $1::oid";

static const char definition_sql_constraint[] =
    "SELECT pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint'), "
    "CASE WHEN condeferred THEN ' DEFERRABLE INITIALLY DEFERRED' WHEN condeferrable THEN ' DEFERRABLE' ELSE '' END "
    "FROM pg_constraint WHERE conrelid = $1::oid AND conname = $2";

static const char definition_sql_column[] =
    "SELECT pg_get_expr(d.adbin, d.adrelid), a.attidentity, s.nspname, s.relname, s.options, "
    "CASE WHEN coalesce(a.attstattarget, -1) >= 0 THEN 'SET STATISTICS ' || a.attstattarget END, "
    /* The two that a user can set: a server that notes something of its own there does so for the new column, too. */
    "(SELECT 'SET (' || string_agg(o, ', ') || ')' FROM unnest(a.attoptions) o WHERE o LIKE 'n\\_distinct%'), "
    "col_description(a.attrelid, a.attnum) "
    "FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
    "LEFT JOIN LATERAL (SELECT n.nspname, c.relname, format('START WITH %s INCREMENT BY %s MINVALUE %s %s CACHE %s "
    "%s', "
    "q.seqstart, q.seqincrement, q.seqmin, CASE WHEN q.seqmax IN (32767, 2147483647, 9223372036854775807) "
    "THEN 'NO MAXVALUE' ELSE 'MAXVALUE ' || q.seqmax END, q.seqcache, "
    "CASE WHEN q.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END) AS options "
    "FROM pg_depend e JOIN pg_sequence q ON q.seqrelid = e.objid JOIN pg_class c ON c.oid = e.objid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE e.classid = 'pg_class'::regclass "
    "AND e.refclassid = 'pg_class'::regclass AND e.refobjid = a.attrelid AND e.refobjsubid = a.attnum "
    "AND e.deptype IN ('a', 'i') LIMIT 1) s ON true "
    "WHERE a.attrelid = $1::oid AND a.attnum = $2::int";

static const char definition_sql_grants[] =
    "SELECT g.privilege_type, CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END, "
    "g.is_grantable FROM pg_attribute a, aclexplode(a.attacl) g WHERE a.attrelid = $1::oid AND a.attnum = $2::int "
    "ORDER BY 2, 1";

/* $2: column numbers, "{1,2}". */
#define VIEWS                                                                                                          \
    "WITH RECURSIVE reader(oid, depth) AS (SELECT DISTINCT r.ev_class, 1 FROM pg_depend d JOIN pg_rewrite r "          \
    "ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid WHERE d.refclassid = 'pg_class'::regclass "             \
    "AND d.refobjid = $1::oid AND d.refobjsubid = ANY ($2::int[]) AND r.ev_class <> $1::oid "                          \
    "UNION SELECT r.ev_class, reader.depth + 1 FROM reader JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass "   \
    "AND d.refobjid = reader.oid JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid "         \
    "WHERE r.ev_class <> reader.oid), "                                                                                \
    "view(oid, depth) AS (SELECT oid, max(depth) FROM reader GROUP BY oid) "

static const char definition_sql_views[] =
    VIEWS "SELECT v.oid, n.nspname, c.relname, c.relkind FROM view v JOIN pg_class c ON c.oid = v.oid "
          "JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY v.depth, v.oid";

static const char definition_sql_obstacles[] =
    VIEWS "SELECT pg_describe_object(d.classid, d.objid, d.objsubid) FROM view v JOIN pg_depend d "
          "ON d.refclassid = 'pg_class'::regclass AND d.refobjid = v.oid AND d.deptype = 'n' "
          "AND d.classid NOT IN ('pg_rewrite'::regclass) AND NOT (d.classid = 'pg_class'::regclass AND EXISTS "
          "(SELECT FROM view w WHERE w.oid = d.objid)) AND NOT (d.classid = 'pg_trigger'::regclass AND EXISTS "
          "(SELECT FROM pg_trigger g JOIN view w ON w.oid = g.tgrelid WHERE g.oid = d.objid)) "
          "AND NOT (d.classid = 'pg_attrdef'::regclass) "
          "UNION ALL SELECT pg_describe_object('pg_class'::regclass, c.oid, 0) FROM view v JOIN pg_class c "
          "ON c.oid = v.oid WHERE c.relkind <> 'v' ORDER BY 1 LIMIT 1";

static const char definition_sql_view[] =
    "WITH v AS (SELECT c.*, format('%I.%I', n.nspname, c.relname) AS full_name FROM pg_class c JOIN pg_namespace n "
    "ON n.oid = c.relnamespace WHERE c.oid = $1::oid), "
    "g AS (SELECT g.*, CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END AS who "
    "FROM v, aclexplode(v.relacl) g WHERE g.grantee <> v.relowner), "
    "cg AS (SELECT a.attname, g.*, CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) "
    "END AS who FROM v JOIN pg_attribute a ON a.attrelid = v.oid, aclexplode(a.attacl) g) "
    "SELECT 1, '', format('CREATE VIEW %s%s AS %s', full_name, CASE WHEN reloptions IS NULL THEN '' ELSE ' WITH (' || "
    "array_to_string(reloptions, ', ') || ')' END, rtrim(pg_get_viewdef(oid), ';')) FROM v "
    "UNION ALL SELECT 2, a.attname, format('ALTER VIEW %s ALTER COLUMN %I SET DEFAULT %s', full_name, a.attname, "
    "pg_get_expr(d.adbin, d.adrelid)) FROM v JOIN pg_attrdef d ON d.adrelid = v.oid JOIN pg_attribute a "
    "ON a.attrelid = v.oid AND a.attnum = d.adnum "
    "UNION ALL SELECT 3, r.rulename, rtrim(pg_get_ruledef(r.oid), ';') FROM v JOIN pg_rewrite r ON r.ev_class = v.oid "
    "WHERE r.rulename <> '_RETURN' "
    "UNION ALL SELECT 4, t.tgname, pg_get_triggerdef(t.oid) FROM v JOIN pg_trigger t ON t.tgrelid = v.oid "
    "WHERE NOT t.tgisinternal "
    "UNION ALL SELECT 5, '', format('COMMENT ON VIEW %s IS %L', full_name, obj_description(oid, 'pg_class')) FROM v "
    "WHERE obj_description(oid, 'pg_class') IS NOT NULL "
    "UNION ALL SELECT 6, a.attname, format('COMMENT ON COLUMN %s.%I IS %L', full_name, a.attname, "
    "col_description(v.oid, a.attnum)) FROM v JOIN pg_attribute a ON a.attrelid = v.oid "
    "WHERE col_description(v.oid, a.attnum) IS NOT NULL "
    "UNION ALL SELECT 7, who, format('GRANT %s ON %s TO %s%s', privilege_type, full_name, who, "
    "CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) FROM v, g "
    "UNION ALL SELECT 8, who, format('GRANT %s (%I) ON %s TO %s%s', privilege_type, attname, full_name, who, "
    "CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) FROM v, cg "
    "UNION ALL SELECT 9, '', format('ALTER VIEW %s OWNER TO %I', full_name, pg_get_userbyid(relowner)) FROM v "
    "ORDER BY 1, 2, 3";

static const char definition_sql_statistics[] =
    "SELECT n.nspname, s.stxname, pg_get_statisticsobjdef(s.oid), "
    "CASE WHEN coalesce(s.stxstattarget, -1) >= 0 THEN format('ALTER STATISTICS %I.%I SET STATISTICS %s', n.nspname, "
    "s.stxname, s.stxstattarget) END, format('COMMENT ON STATISTICS %I.%I IS %L', n.nspname, s.stxname, "
    "obj_description(s.oid, 'pg_statistic_ext')), CASE WHEN s.stxowner <> (SELECT oid FROM pg_roles WHERE rolname = "
    "current_user) THEN format('ALTER STATISTICS %I.%I OWNER TO %I', n.nspname, s.stxname, "
    "pg_get_userbyid(s.stxowner)) END, obj_description(s.oid, 'pg_statistic_ext') IS NULL FROM pg_statistic_ext s "
    "JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE s.stxrelid = $1::oid AND EXISTS (SELECT FROM pg_depend d "
    "WHERE d.classid = 'pg_statistic_ext'::regclass AND d.objid = s.oid AND d.refclassid = 'pg_class'::regclass "
    "AND d.refobjid = s.stxrelid AND d.refobjsubid = ANY ($2::int[])) ORDER BY 1, 2";

static const char definition_sql_labels[] =
    "SELECT enumlabel FROM pg_enum WHERE enumtypid = to_regtype($1)::oid ORDER BY enumsortorder";

#undef VIEWS

#endif
