/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan init: asks the database what it can and writes a commented banyan.yaml.
 *
 * Nothing is changed at the server.  The file is written whole or not at all, mode 0600 (a connection string may hold a
 * password), and never over an existing one unless told so.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "banyan/buf.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/output.h"
#include "pg/conn.h"

struct init_options {
    const char *conninfo;
    const char *output;
    const char *domain;
    bool force, dry_run;
};

enum {
    OPTION_CONNINFO = 0x200,
    OPTION_DOMAIN,
    OPTION_FORCE,
    OPTION_DRY_RUN,
    FILE_BYTES_MAX = 64 * 1024,
};

static const struct argp_option init_option_list[] = {
    {"conninfo", OPTION_CONNINFO, "CONNINFO", 0,
     "The legacy database, as libpq takes it: \"host=db dbname=oms user=banyan\" or a URI; PG* variables and .pgpass "
     "fill what is missing",
     0},
    {"domain", OPTION_DOMAIN, "NAME", 0, "Domain that maps its tables (default: the first linked in)", 0},
    {"output", 'o', "FILE", 0, "File to write (default: banyan.yaml)", 0},
    {"force", OPTION_FORCE, NULL, 0, "Write over an existing file", 0},
    {"dry-run", OPTION_DRY_RUN, NULL, 0, "Print the file, write nothing", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_init(int key, char *argument, struct argp_state *state)
{
    struct init_options *options = state->input;
    switch (key) {
    case OPTION_CONNINFO:
        options->conninfo = argument;
        return 0;
    case OPTION_DOMAIN:
        options->domain = argument;
        return 0;
    case 'o':
        options->output = argument;
        return 0;
    case OPTION_FORCE:
        options->force = true;
        return 0;
    case OPTION_DRY_RUN:
        options->dry_run = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* What the server answered; strings borrowed from the result. */
struct findings {
    struct pg_result *result;
    struct banyan_str database, version, wal_level, role, replication, size;
};

static enum banyan_status ask(struct pg_conn *conn, struct findings *ret, struct banyan_error *err)
{
    enum banyan_status st =
        pg_exec(conn,
                "SELECT current_database(), current_setting('server_version'), current_setting('wal_level'), "
                "current_user, (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user)::text, "
                "pg_size_pretty(pg_database_size(current_database()))",
                NULL, 0, &ret->result, err);
    if (st != BANYAN_OK)
        return st;
    ret->database = pg_text(ret->result, 0, 0);
    ret->version = pg_text(ret->result, 0, 1);
    ret->wal_level = pg_text(ret->result, 0, 2);
    ret->role = pg_text(ret->result, 0, 3);
    ret->replication = pg_text(ret->result, 0, 4);
    ret->size = pg_text(ret->result, 0, 5);
    return BANYAN_OK;
}

/* A YAML single-quoted scalar: a quote is doubled; line breaks cannot be in a connection string. */
static void add_quoted(struct banyan_buf *buf, const char *text)
{
    banyan_buf_add_char(buf, '\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            banyan_buf_add_char(buf, '\'');
        banyan_buf_add_char(buf, *text);
    }
    banyan_buf_add_char(buf, '\'');
}

static void add_views(struct banyan_buf *file, const struct banyan_domain *domain)
{
    banyan_buf_add_text(file, "\n# Read models.  Without this list every projection of the domain is kept in SQLite "
                              "under data/views.\nviews:\n");
    for (size_t i = 0; i < domain->projection_count; i++) {
        banyan_buf_printf(file, "  - projection: %s\n    store: %s\n", domain->projections[i].name,
                          domain->projections[i].in_memory ? "memory" : "sqlite");
        banyan_buf_printf(file,
                          "  # The same in PostgreSQL, beside it:\n  # - name: %s_pg\n  #   projection: %s\n"
                          "  #   store: postgres\n  #   conninfo: 'host=reporting dbname=views user=banyan'\n"
                          "  #   schema: banyan\n  #   keep_generations: 1\n  #   rebuild_events_per_second: 0\n"
                          "  # Or in Redis:\n  #   store: redis\n  #   address: 127.0.0.1:6379\n",
                          domain->projections[i].name, domain->projections[i].name);
    }
}

/* Commented: the sections are for the day when traffic goes through Banyan. */
static void add_rollout(struct banyan_buf *file)
{
    banyan_buf_add_text(
        file,
        "\n# HTTP in front of the legacy application: `banyan rollout` moves its traffic in steps.  docs/ROLLOUT.md\n"
        "# gateway:\n#   listen: 127.0.0.1:7080\n#   upstream: http://127.0.0.1:8080\n"
        "#   threads: 1\n#   connections_max: 1000\n#   upstream_connections_max: 64\n"
        "#   upstream_timeout_seconds: 30\n"
        "#   # Bodies of requests that the domain understands; answers that are compared in the shadow.\n"
        "#   request_kib_max: 1024\n#   compare_kib_max: 1024\n"
        "#   # A write waits this long at most while the ownership moves.\n#   hold_ms_max: 5000\n"
        "#   drain_seconds: 10\n"
        "#   # A write of aggregates of both sides: in two parts, each atomic by itself; or answered 409.\n"
        "#   split: false\n#   # The header Banyan-Served-By in each answer.\n#   tell_side: false\n"
        "#   # What may differ between two answers, as JSON pointers.\n#   ignored: []\n"
        "# rollout:\n#   steps_percent: [5, 25, 50, 100]\n"
        "#   # Steps forward without being asked, where every check passes.  Back is always automatic.\n"
        "#   automatic: false\n#   samples_min: 100\n#   window_seconds: 30\n#   step_seconds_min: 300\n"
        "#   failures_percent_max: 1\n#   latency_p99_percent_max: 150\n#   latency_p50_percent_max: 150\n"
        "#   latency_floor_ms: 5\n#   mismatch_percent_max: 0.1\n#   lag_ms_max: 1000\n"
        "#   lag_ms_breach: 30000\n#   mirror_backlog_max: 1000\n#   conflicts_max: 0\n"
        "#   verify_age_minutes_max: 1440\n#   verify_every_minutes: 60\n"
        "#   # The longest pause of writes in a cutover, and how often its locks are tried.\n"
        "#   pause_ms_max: 1000\n#   lock_tries: 20\n#   keys_block: 256\n");
}

static void write_config(struct banyan_buf *file, const struct init_options *options,
                         const struct banyan_domain *domain, const struct findings *found)
{
    banyan_buf_printf(file,
                      "# Banyan.  Every key is explained in docs/CONFIGURATION.md.\n"
                      "# Written for database %.*s (PostgreSQL %.*s, %.*s) as role %.*s.\n\n"
                      "# What is particular to the business: events, legacy mapping, read models.\ndomain: %s\n\n"
                      "# Folder of the log, the read models and spooled transactions.  Put it on a disk that you "
                      "trust.\ndata: banyan-data\n\n"
                      "# HTTP.  Another address than loopback needs tokens (`banyan token create`) and a certificate.\n"
                      "listen: 127.0.0.1:7070\n# http:\n#   tokens_file: banyan.tokens\n"
                      "#   certificate_file: banyan.crt\n#   key_file: banyan.key\n#   insecure: false\n"
                      "#   connections_max: 1000\n#   subscribers_max: 256\n\n"
                      "# The legacy database.  Banyan makes one publication and one replication slot in it, nothing "
                      "else.\nsource:\n  name: legacy\n  conninfo: ",
                      (int)found->database.size, found->database.data, (int)found->version.size, found->version.data,
                      (int)found->size.size, found->size.data, (int)found->role.size, found->role.data, domain->name);
    add_quoted(file, options->conninfo);
    banyan_buf_add_text(
        file, "\n  slot: banyan\n  publication: banyan\n"
              "  # Keys that one backfill step reads in one short snapshot, and how many steps run at once.\n"
              "  backfill_chunk_rows: 10000\n  backfill_workers: 2\n"
              "  # An idle source still moves its slot this often, so that it keeps no WAL.\n"
              "  heartbeat_seconds: 10\n"
              "  # Making the slot waits for older transactions at most this long.\n  lock_timeout_seconds: 10\n"
              "  # A legacy transaction larger than this is spooled to disk while it is open.\n"
              "  spool_memory_mib: 8\n");
    add_rollout(file);
    add_views(file, domain);
}

static enum banyan_status save(const struct init_options *options, const struct banyan_buf *file,
                               struct banyan_error *err)
{
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (options->force ? O_TRUNC : O_EXCL);
    int fd = open(options->output, flags, 0600);
    if (fd < 0 && errno == EEXIST) {
        banyan_error_set(err, BANYAN_CONFIG, "%s is there already", options->output);
        banyan_error_hint(err, "--force writes over it, --output names another file, --dry-run only prints");
        return BANYAN_CONFIG;
    }
    if (fd < 0)
        return banyan_error_errno(err, errno, "cannot write %s", options->output);
    enum banyan_status st = BANYAN_OK;
    size_t done = 0;
    while (done < file->size) {
        ssize_t wrote = write(fd, file->data + done, file->size - done);
        if (wrote < 0) {
            st = banyan_error_errno(err, errno, "cannot write %s", options->output);
            break;
        }
        done += (size_t)wrote;
    }
    if (close(fd) != 0 && st == BANYAN_OK)
        st = banyan_error_errno(err, errno, "cannot write %s", options->output);
    if (st != BANYAN_OK)
        (void)unlink(options->output); /* half a file helps nobody; the first error is reported */
    return st;
}

static void tell(const struct init_options *options, const struct findings *found)
{
    bool logical = banyan_str_equal(found->wal_level, BANYAN_STR("logical"));
    bool replication = banyan_str_equal(found->replication, BANYAN_STR("true"));
    printf("%-22s %.*s (PostgreSQL %.*s, %.*s)\n", "database", (int)found->database.size, found->database.data,
           (int)found->version.size, found->version.data, (int)found->size.size, found->size.data);
    printf("%-22s %.*s%s\n", "wal_level", (int)found->wal_level.size, found->wal_level.data,
           logical ? "" : "   (has to be logical: ALTER SYSTEM SET wal_level = logical, then restart the server)");
    printf("%-22s %.*s%s\n", "role", (int)found->role.size, found->role.data,
           replication ? ", may replicate" : ", may NOT replicate (ALTER ROLE … REPLICATION)");
    printf("%-22s %s\n", "wrote", options->output);
    printf("\nNext: banyan legacy check --config %s\n", options->output);
}

enum banyan_status cmd_init(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct init_options options = {.conninfo = "", .output = "banyan.yaml"};
    const struct argp argp = {
        init_option_list,
        parse_init,
        NULL,
        "Ask the legacy database what it can and write a commented configuration.  Nothing is changed at the server.",
        NULL,
        NULL,
        NULL};
    const struct banyan_domain *domain = NULL;
    struct findings found = {.result = NULL};
    struct banyan_buf file = BANYAN_BUF_INIT(FILE_BYTES_MAX);
    struct pg_conn *conn = NULL;

    options_parse(&argp, "banyan init", argc, argv, &options);
    if (options.domain == NULL && cli->domain_count > 0)
        options.domain = cli->domains[0]->name;
    enum banyan_status st = cli_domain(cli, options.domain == NULL ? "" : options.domain, &domain, err);
    if (st != BANYAN_OK)
        goto out;
    st = pg_connect(&(struct pg_options){.conninfo = options.conninfo, .application_name = "banyan/init"}, &conn, err);
    if (st == BANYAN_OK)
        st = ask(conn, &found, err);
    if (st != BANYAN_OK)
        goto out;
    write_config(&file, &options, domain, &found);
    if (options.dry_run)
        fputs(file.data, stdout);
    else
        st = save(&options, &file, err);
    if (st == BANYAN_OK && !options.dry_run)
        tell(&options, &found);
out:
    pg_result_free(found.result);
    pg_close(conn);
    banyan_buf_release(&file);
    return st;
}
