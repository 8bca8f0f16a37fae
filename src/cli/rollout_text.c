/* SPDX-License-Identifier: Apache-2.0 */
/* Tables and lines for people; --json prints the answers as they are. */
#include "cli/rollout_text.h"

#include <inttypes.h>
#include <string.h>

#include "cli/client.h"
#include "cli/output.h"
#include "cli/table.h"

enum {
    CELL_SIZE = 200,
    SEVERITY_PASS = 3,
};

/* ---- parts of JSON ---- */

static double real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static bool is(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static const char *count(const json_t *object, const char *key, char ret[OUTPUT_TEXT_SIZE])
{
    return output_count(answer_number(object, key), ret);
}

static const char *ms(const json_t *object, const char *key, char ret[OUTPUT_TEXT_SIZE])
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? output_duration((int64_t)(json_number_value(value) * 1e3), ret) : "not known";
}

static void print_error(const json_t *object)
{
    const json_t *error = json_object_get(object, "error");
    if (!json_is_object(error))
        return;
    printf("  error: %s\n", answer_text(error, "message"));
    if (answer_text(error, "detail")[0] != '\0')
        printf("  detail: %s\n", answer_text(error, "detail"));
    if (answer_text(error, "hint")[0] != '\0')
        printf("  hint: %s\n", answer_text(error, "hint"));
}

/* "canary, 5 % of new aggregates"; "prepared" */
static void print_state(const json_t *machine)
{
    printf("%s", answer_text(machine, "state"));
    if (strcmp(answer_text(machine, "state"), "canary") == 0 || strcmp(answer_text(machine, "state"), "ramp") == 0)
        printf(", %g %% of new aggregates", real(machine, "share_percent"));
}

void rollout_print_line(const json_t *rollout)
{
    if (!json_is_object(rollout))
        return;
    printf("rollout   ");
    print_state(rollout);
    printf("%s, owner %s", is(rollout, "paused") ? ", paused" : "", answer_text(rollout, "owner"));
    if (answer_text(rollout, "refusal")[0] != '\0')
        printf("; next step: %s", answer_text(rollout, "refusal"));
    putchar('\n');
}

/* ---- checks ---- */

static int severity(const json_t *check)
{
    static const char *const verdicts[] = {"breach", "wait", "hold", "pass"};
    for (int i = 0; i < 4; i++)
        if (strcmp(answer_text(check, "verdict"), verdicts[i]) == 0)
            return i;
    return 4;
}

void rollout_print_checks(const json_t *checks, bool passed, FILE *out)
{
    static const char *const columns[] = {"check", "verdict", "figures"};
    struct table *table = table_new("checks", columns, 3);
    const json_t *check;
    size_t i;
    size_t rows = 0;
    for (int wanted = 0; wanted < 5; wanted++) {
        json_array_foreach (checks, i, check) {
            const char *row[] = {answer_text(check, "name"), answer_text(check, "verdict"), answer_text(check, "text")};
            if (severity(check) != wanted || (!passed && wanted == SEVERITY_PASS))
                continue;
            table_add(table, row);
            rows++;
        }
    }
    if (rows > 0)
        table_print(table, out, false);
    table_free(table);
}

/* ---- status ---- */

static void print_traffic(const json_t *traffic)
{
    static const char *const columns[] = {"answered by", "kind", "requests", "failures", "p50", "p99", "max"};
    static const char *const sides[] = {"legacy", "banyan"}, *const kinds[] = {"reads", "writes"};
    struct table *table = table_new("traffic", columns, 7);
    char a[OUTPUT_TEXT_SIZE], b[OUTPUT_TEXT_SIZE];
    size_t rows = 0;
    for (size_t side = 0; side < 2; side++) {
        for (size_t kind = 0; kind < 2; kind++) {
            const json_t *figures = json_object_get(json_object_get(traffic, sides[side]), kinds[kind]);
            char cells[5][OUTPUT_TEXT_SIZE];
            if (answer_number(figures, "requests") == 0)
                continue;
            const char *row[] = {sides[side],
                                 kinds[kind],
                                 count(figures, "requests", cells[0]),
                                 count(figures, "failures", cells[1]),
                                 ms(figures, "ms_p50", cells[2]),
                                 ms(figures, "ms_p99", cells[3]),
                                 ms(figures, "ms_max", cells[4])};
            table_add(table, row);
            rows++;
        }
    }
    printf("traffic   last %.0f s: %s answers compared, %s differ", real(traffic, "seconds"),
           count(traffic, "compared", a), count(traffic, "different", b));
    printf(" (noise: %s of %s); %" PRIu64 " writes held, longest %.1f ms, %" PRIu64 " refused\n",
           count(traffic, "noise_different", a), count(traffic, "noise_compared", b), answer_number(traffic, "held"),
           real(traffic, "held_ms_max"), answer_number(traffic, "held_refused"));
    if (rows > 0)
        table_print(table, stdout, false);
    table_free(table);
}

static void print_mirror(const json_t *mirror)
{
    char a[OUTPUT_TEXT_SIZE], b[OUTPUT_TEXT_SIZE], c[OUTPUT_TEXT_SIZE], d[OUTPUT_TEXT_SIZE];
    uint64_t written = answer_number(mirror, "written"), tail = answer_number(mirror, "tail");
    if (!is(mirror, "running")) {
        printf("mirror    off%s\n", is(mirror, "proven") ? ", proven" : "");
        return;
    }
    printf("mirror    %s events back in %s rows, %s behind, lag p50 %s, p99 %.1f ms, %" PRIu64 " conflicts\n",
           count(mirror, "events", a), count(mirror, "rows", b), output_count(tail > written ? tail - written : 0, c),
           ms(mirror, "lag_ms_p50", d), real(mirror, "lag_ms_p99"), answer_number(mirror, "conflicts"));
    print_error(mirror);
}

static void print_cutover(const json_t *cutover)
{
    char a[OUTPUT_TEXT_SIZE], b[OUTPUT_TEXT_SIZE];
    if (!json_is_object(cutover))
        return;
    printf("cutover   the last one %s%s: writes paused %s, tables locked %s, %" PRIu64 " tries\n",
           is(cutover, "done") ? "was done" : "ended at ", is(cutover, "done") ? "" : answer_text(cutover, "last"),
           ms(cutover, "pause_ms", a), ms(cutover, "locked_ms", b), answer_number(cutover, "lock_tries"));
}

static void print_gateway(const json_t *gateway)
{
    char a[OUTPUT_TEXT_SIZE], b[OUTPUT_TEXT_SIZE], c[OUTPUT_TEXT_SIZE], d[OUTPUT_TEXT_SIZE];
    if (!json_is_object(gateway)) {
        puts("gateway   none");
        return;
    }
    printf("gateway   %s, application %s, %s requests: %s passed through",
           answer_number(gateway, "connections") > 0 ? "used" : "idle",
           answer_number(gateway, "upstream_up") != 0 ? "up" : "DOWN", count(gateway, "requests", a),
           count(gateway, "passed", b));
    printf(", reads %s legacy, %s banyan", count(gateway, "reads_legacy", c), count(gateway, "reads_banyan", d));
    printf(", writes %s legacy, %s banyan\n", count(gateway, "writes_legacy", a), count(gateway, "writes_banyan", b));
}

static void print_facts(const json_t *facts)
{
    char a[OUTPUT_TEXT_SIZE], b[OUTPUT_TEXT_SIZE], c[OUTPUT_TEXT_SIZE];
    const json_t *differences = json_object_get(facts, "verify_differences");
    printf("lag       capture %s, read models %s\n", ms(facts, "capture_lag_ms", a), ms(facts, "view_lag_ms", b));
    if (json_is_integer(differences))
        printf("verified  %s ago, %" JSON_INTEGER_FORMAT " differences\n", ms(facts, "verify_age_ms", c),
               json_integer_value(differences));
    else
        puts("verified  never");
}

/* What `next` would do. */
static void print_next(const json_t *next)
{
    const json_t *event = json_object_get(next, "event");
    fputs("next      ", stdout);
    if (is(next, "moves")) {
        print_state(event);
        putchar('\n');
    } else {
        printf("%s\n", is(next, "refused") ? answer_text(next, "refusal") : "nothing to do");
    }
    rollout_print_checks(json_object_get(next, "checks"), true, stdout);
}

void rollout_print_status(const json_t *status)
{
    fputs("rollout   ", stdout);
    print_state(status);
    printf("%s, attempt %" PRIu64 ", since %s\n", is(status, "paused") ? ", PAUSED" : "",
           answer_number(status, "attempt"), answer_text(status, "since"));
    printf("owner     %s, epoch %" PRIu64, answer_text(status, "owner"), answer_number(status, "epoch"));
    if (strcmp(answer_text(status, "owner"), "shared") == 0)
        printf(", %" PRIu64 " aggregates are Banyan's", answer_number(status, "owned"));
    putchar('\n');
    print_gateway(json_object_get(status, "gateway"));
    print_traffic(json_object_get(status, "traffic"));
    print_facts(json_object_get(status, "facts"));
    print_mirror(json_object_get(status, "mirror"));
    print_cutover(json_object_get(status, "cutover"));
    print_error(status);
    print_next(json_object_get(status, "next"));
}

/* ---- plan ---- */

void rollout_print_plan(const json_t *plan)
{
    static const char *const columns[] = {"", "state", "new aggregates", "existing ones", "reads", "mirror"};
    struct table *table = table_new("plan", columns, 6);
    const json_t *step;
    size_t i;
    json_array_foreach (json_object_get(plan, "steps"), i, step) {
        const json_t *wants = json_object_get(step, "wants");
        const char *owner = answer_text(wants, "owner");
        bool shared = strcmp(owner, "shared") == 0, banyan = strcmp(owner, "banyan") == 0;
        bool moves = strcmp(answer_text(step, "state"), "cutting-over") == 0;
        char fresh[CELL_SIZE], reads[CELL_SIZE];
        (void)snprintf(fresh, sizeof(fresh), "%g %% Banyan", real(wants, "new_percent"));
        (void)snprintf(reads, sizeof(reads), "%g %% Banyan", real(wants, "read_percent"));
        const char *row[] = {
            strcmp(answer_text(step, "place"), "now") == 0 ? ">" : "",
            answer_text(step, "state"),
            moves    ? "held"
            : shared ? fresh
            : banyan ? "Banyan"
                     : "legacy",
            moves    ? "held"
            : shared ? "their owner"
            : banyan ? "Banyan"
                     : "legacy",
            banyan                            ? "Banyan"
            : is(wants, "shadow_reads")       ? (real(wants, "read_percent") > 0 ? reads : "legacy, compared")
            : real(wants, "read_percent") > 0 ? reads
                                              : "legacy",
            is(wants, "mirror") ? "on" : "off",
        };
        table_add(table, row);
    }
    table_print(table, stdout, false);
    table_free(table);
    const json_t *limits = json_object_get(plan, "limits");
    printf("A step needs %" PRIu64
           " requests of Banyan's in %.0f s, %.0f s in the step before, at most %g %% more failures and %g %% "
           "more\ndifferent answers, latency within %g %% (p50) and %g %% (p99) of the legacy application's; it is "
           "taken %s.\n",
           answer_number(limits, "samples_min"), real(limits, "window_seconds"), real(limits, "step_seconds_min"),
           real(limits, "failures_percent_max"), real(limits, "mismatch_percent_max"),
           real(limits, "latency_p50_percent_max"), real(limits, "latency_p99_percent_max"),
           is(plan, "automatic") ? "by itself" : "by `banyan rollout next`");
}

/* ---- history, answers ---- */

void rollout_print_history(const json_t *history)
{
    static const char *const columns[] = {"version", "at", "event", "state", "share", "by", "reason"};
    struct table *table = table_new("history", columns, 7);
    const json_t *item;
    size_t i;
    json_array_foreach (json_object_get(history, "events"), i, item) {
        const json_t *event = json_object_get(item, "event");
        char version[OUTPUT_TEXT_SIZE], share[OUTPUT_TEXT_SIZE];
        (void)snprintf(version, sizeof(version), "%" PRIu64, answer_number(item, "version"));
        (void)snprintf(share, sizeof(share), "%g %%", real(event, "share_percent"));
        const char *row[] = {
            version, answer_text(event, "at"),    answer_text(event, "type"),  answer_text(event, "state"),
            share,   answer_text(event, "actor"), answer_text(event, "reason")};
        table_add(table, row);
    }
    if (json_array_size(json_object_get(history, "events")) == 0)
        puts("nothing was started yet");
    else
        table_print(table, stdout, false);
    table_free(table);
    if (json_is_integer(json_object_get(history, "next")))
        printf("more: --from %" PRIu64 "\n", answer_number(history, "next"));
}

void rollout_print_answer(const json_t *answer)
{
    const json_t *event = json_object_get(answer, "event");
    if (is(answer, "refused")) {
        printf("it would be refused: %s\n", answer_text(answer, "refusal"));
    } else if (!is(answer, "moves")) {
        puts("nothing to do");
    } else {
        fputs(is(answer, "dry_run") ? "it would become: " : "now: ", stdout);
        print_state(event);
        printf("%s\n", is(event, "paused") ? ", paused" : "");
    }
    if (is(answer, "dry_run"))
        rollout_print_checks(json_object_get(answer, "checks"), true, stdout);
}
