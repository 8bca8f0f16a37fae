/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan migrate VERB: PostgreSQL migrations that stop nobody.  Needs no configuration and no store.
 */
#include "cli/cmd_migrate.h"

static const struct cli_command verbs[] = {
    {"lint", "what the statements of a migration do to a busy database", migrate_lint},
    {"explain-lock", "measure one statement on a throwaway copy of the schema", migrate_explain_lock},
    {"plan", "the steps that a migration is done in; changes nothing", migrate_plan},
    {"rehearse", "try it on a throwaway database, with old and new code", migrate_rehearse},
    {"start", "expand and backfill: afterwards old and new code both work", migrate_start},
    {"complete", "contract: what only old code needed is put aside", migrate_complete},
    {"rollback", "undo all of it, at any time until cleanup", migrate_rollback},
    {"cleanup", "drop what was put aside; no way back", migrate_cleanup},
    {"status", "how far it is, how fast, and who is in the way", migrate_status},
    {"pause", "let it wait", migrate_pause},
    {"resume", "go on where it stopped", migrate_resume},
    {"history", "the migrations of this database", migrate_history},
};

enum banyan_status cmd_migrate(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    return cli_verb(cli, "migrate", "PostgreSQL migrations: plain DDL, done in steps that stop nobody.", verbs,
                    sizeof(verbs) / sizeof(verbs[0]), argc, argv, err);
}
