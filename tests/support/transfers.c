/* SPDX-License-Identifier: Apache-2.0 */
/* See transfers.h. */
#include "support/transfers.h"

#include <stdio.h>

bool transfers_broken;
void (*transfers_interfere)(void);

/* ---- records ---- */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define RECORD(name, fields)                                                                                           \
    static const struct banyan_record name##_record = {#name, sizeof(struct transfers_##name), fields, COUNT(fields)}

static const struct banyan_field opened_fields[] = {BANYAN_FIELD_INT(struct transfers_opened, balance, 0)};
RECORD(opened, opened_fields);
static const struct banyan_field withdrawn_fields[] = {
    BANYAN_FIELD_INT(struct transfers_withdrawn, transfer, 0),
    BANYAN_FIELD_INT(struct transfers_withdrawn, amount, 0),
};
RECORD(withdrawn, withdrawn_fields);
static const struct banyan_field deposited_fields[] = {
    BANYAN_FIELD_INT(struct transfers_deposited, transfer, 0),
    BANYAN_FIELD_INT(struct transfers_deposited, amount, 0),
    BANYAN_FIELD_BOOL(struct transfers_deposited, back, 0),
};
RECORD(deposited, deposited_fields);
static const struct banyan_field frozen_fields[] = {BANYAN_FIELD_BOOL(struct transfers_frozen, frozen, 0)};
RECORD(frozen, frozen_fields);
static const struct banyan_field asked_fields[] = {
    BANYAN_FIELD_INT(struct transfers_asked, from, 0),
    BANYAN_FIELD_INT(struct transfers_asked, to, 0),
    BANYAN_FIELD_INT(struct transfers_asked, amount, 0),
};
RECORD(asked, asked_fields);
static const struct banyan_field started_fields[] = {
    BANYAN_FIELD_INT(struct transfers_started, from, 0),
    BANYAN_FIELD_INT(struct transfers_started, to, 0),
    BANYAN_FIELD_INT(struct transfers_started, amount, 0),
};
RECORD(started, started_fields);
static const struct banyan_field waiting_fields[] = {BANYAN_FIELD_TIME(struct transfers_waiting, until, 0)};
RECORD(waiting, waiting_fields);
static const struct banyan_field ended_fields[] = {BANYAN_FIELD_STRING(struct transfers_ended, outcome, 0)};
RECORD(ended, ended_fields);

static const struct banyan_field account_fields[] = {
    BANYAN_FIELD_BOOL(struct transfers_account, open, 0),    BANYAN_FIELD_BOOL(struct transfers_account, frozen, 0),
    BANYAN_FIELD_INT(struct transfers_account, balance, 0),  BANYAN_FIELD_INT(struct transfers_account, withdrawals, 0),
    BANYAN_FIELD_INT(struct transfers_account, deposits, 0),
};
RECORD(account, account_fields);
static const struct banyan_field transfer_fields[] = {
    BANYAN_FIELD_INT(struct transfers_transfer, from, 0),
    BANYAN_FIELD_INT(struct transfers_transfer, to, 0),
    BANYAN_FIELD_INT(struct transfers_transfer, amount, 0),
};
RECORD(transfer, transfer_fields);
static const struct banyan_field mover_fields[] = {
    BANYAN_FIELD_INT(struct transfers_mover, stage, 0),
    BANYAN_FIELD_INT(struct transfers_mover, from, 0),
    BANYAN_FIELD_INT(struct transfers_mover, to, 0),
    BANYAN_FIELD_INT(struct transfers_mover, amount, 0),
    BANYAN_FIELD_INT(struct transfers_mover, tries, 0),
    BANYAN_FIELD_TIME(struct transfers_mover, until, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct transfers_mover, outcome, 0),
};
RECORD(mover, mover_fields);

static const struct banyan_event_type events[TRANSFERS_EVENTS] = {
    [TRANSFERS_OPENED] = {"Opened", 1, &opened_record},
    [TRANSFERS_WITHDRAWN] = {"Withdrawn", 1, &withdrawn_record},
    [TRANSFERS_DEPOSITED] = {"Deposited", 1, &deposited_record},
    [TRANSFERS_FROZEN] = {"Frozen", 1, &frozen_record},
    [TRANSFERS_ASKED] = {"TransferAsked", 1, &asked_record},
    [TRANSFERS_STARTED] = {"MoveStarted", 1, &started_record},
    [TRANSFERS_WAITING] = {"MoveWaiting", 1, &waiting_record},
    [TRANSFERS_ENDED] = {"MoveEnded", 1, &ended_record},
};

static struct banyan_emit exact(enum transfers_event type, const void *payload, struct banyan_time at)
{
    return (struct banyan_emit){.type = type, .payload = payload, .at = at, .provenance = BANYAN_EXACT};
}

/* ---- accounts ---- */

static void account_evolve(void *state, unsigned type, const void *payload, struct banyan_time at)
{
    struct transfers_account *account = state;

    (void)at;
    switch (type) {
    case TRANSFERS_OPENED:
        account->open = true;
        account->balance += ((const struct transfers_opened *)payload)->balance;
        break;
    case TRANSFERS_WITHDRAWN:
        account->balance -= ((const struct transfers_withdrawn *)payload)->amount;
        account->withdrawals++;
        break;
    case TRANSFERS_DEPOSITED:
        account->balance += ((const struct transfers_deposited *)payload)->amount;
        account->deposits++;
        break;
    case TRANSFERS_FROZEN:
        account->frozen = ((const struct transfers_frozen *)payload)->frozen;
        break;
    default:
        break;
    }
}

enum {
    COMMAND_OPEN,
    COMMAND_WITHDRAW,
    COMMAND_DEPOSIT,
    COMMAND_FREEZE,
};

static bool refuse(struct banyan_refusal *ret, const char *code)
{
    *ret = (struct banyan_refusal){code, banyan_str_of(code)};
    return false;
}

static bool account_decide(const void *state, bool exists, const struct banyan_command *command,
                           struct banyan_emitter *out, struct banyan_refusal *ret)
{
    static const enum transfers_event types[] = {TRANSFERS_OPENED, TRANSFERS_WITHDRAWN, TRANSFERS_DEPOSITED,
                                                 TRANSFERS_FROZEN};
    const struct transfers_account *account = state;
    struct banyan_emit event = exact(types[command->type], command->fields, command->now);
    const struct transfers_withdrawn *withdrawn = command->fields;
    const struct transfers_deposited *deposited = command->fields;

    if (command->type == COMMAND_WITHDRAW) {
        void (*interfere)(void) = __atomic_exchange_n(&transfers_interfere, NULL, __ATOMIC_SEQ_CST);

        if (interfere != NULL)
            interfere();
    }
    if (command->type != COMMAND_OPEN && !account->open)
        return refuse(ret, "closed");
    if (command->type == COMMAND_OPEN && exists)
        return true;
    if (command->type == COMMAND_WITHDRAW && account->balance < withdrawn->amount)
        return refuse(ret, "poor");
    if (command->type == COMMAND_DEPOSIT && account->frozen && !deposited->back)
        return refuse(ret, "frozen");
    if (command->type == COMMAND_WITHDRAW && withdrawn->amount == TRANSFERS_BAD_AMOUNT &&
        __atomic_load_n(&transfers_broken, __ATOMIC_RELAXED))
        event.at.us = BANYAN_TIME_NULL;
    banyan_emit(out, &event);
    return true;
}

static const struct banyan_command_type account_commands[] = {{"Open", &opened_record},
                                                              {"Withdraw", &withdrawn_record},
                                                              {"Deposit", &deposited_record},
                                                              {"Freeze", &frozen_record}};

/* ---- transfers ---- */

static void transfer_evolve(void *state, unsigned type, const void *payload, struct banyan_time at)
{
    (void)at;
    if (type == TRANSFERS_ASKED)
        *(struct transfers_transfer *)state = *(const struct transfers_transfer *)payload; /* the same fields */
}

static bool transfer_decide(const void *state, bool exists, const struct banyan_command *command,
                            struct banyan_emitter *out, struct banyan_refusal *ret)
{
    struct banyan_emit event = exact(TRANSFERS_ASKED, command->fields, command->now);

    (void)state;
    (void)ret;
    if (!exists)
        banyan_emit(out, &event);
    return true;
}

static const struct banyan_command_type transfer_commands[] = {{"Ask", &asked_record}};

static const struct banyan_aggregate aggregates[] = {
    {.category = "account",
     .state = &account_record,
     .evolve = account_evolve,
     .version = 1,
     .commands = account_commands,
     .command_count = COUNT(account_commands),
     .decide = account_decide},
    {.category = "transfer",
     .state = &transfer_record,
     .evolve = transfer_evolve,
     .version = 1,
     .commands = transfer_commands,
     .command_count = COUNT(transfer_commands),
     .decide = transfer_decide},
};

/* ---- the process ---- */

static void mover_evolve(void *state, unsigned type, const void *payload, struct banyan_time at)
{
    struct transfers_mover *mover = state;
    const struct transfers_started *started = payload;

    (void)at;
    switch (type) {
    case TRANSFERS_STARTED:
        mover->stage = TRANSFERS_STAGE_STARTED;
        mover->from = started->from;
        mover->to = started->to;
        mover->amount = started->amount;
        break;
    case TRANSFERS_WAITING:
        mover->stage = TRANSFERS_STAGE_WAITING;
        mover->tries++;
        mover->until = ((const struct transfers_waiting *)payload)->until;
        break;
    case TRANSFERS_ENDED:
        mover->stage = TRANSFERS_STAGE_ENDED;
        mover->outcome = ((const struct transfers_ended *)payload)->outcome;
        break;
    default:
        break;
    }
}

static const struct banyan_aggregate mover = {
    .category = "mover", .state = &mover_record, .evolve = mover_evolve, .version = 1};

static bool mover_key(const struct banyan_seen *event, struct banyan_arena *arena, struct banyan_str *ret_key)
{
    const struct transfers_withdrawn *withdrawn = event->payload;

    *ret_key = banyan_arena_printf(arena, "%lld",
                                   (long long)(event->type == TRANSFERS_ASKED ? event->key : withdrawn->transfer));
    return true;
}

static bool command(struct banyan_reaction *out, int64_t account, unsigned type, const void *fields,
                    struct banyan_refusal *ret)
{
    char key[24];

    (void)snprintf(key, sizeof(key), "%lld", (long long)account);
    return banyan_react_command(out,
                                &(struct banyan_process_command){
                                    .category = "account", .key = banyan_str_of(key), .type = type, .fields = fields},
                                ret);
}

static void end(struct banyan_reaction *out, struct banyan_str outcome, struct banyan_time now)
{
    struct banyan_emit event = exact(TRANSFERS_ENDED, &(struct transfers_ended){outcome}, now);

    banyan_react_emit(out, &event);
}

static void begin(struct banyan_str key, const struct banyan_seen *seen, struct banyan_time now,
                  struct banyan_reaction *out)
{
    const struct transfers_asked *asked = seen->payload;
    struct transfers_started started = {asked->from, asked->to, asked->amount};
    struct transfers_withdrawn withdrawn = {seen->key, asked->amount};
    struct banyan_emit event = exact(TRANSFERS_STARTED, &started, now);
    struct banyan_refusal refusal;

    (void)key;
    banyan_react_emit(out, &event);
    if (!command(out, asked->from, COMMAND_WITHDRAW, &withdrawn, &refusal))
        end(out, banyan_str_of(refusal.code), now);
}

static void deposit(const struct transfers_mover *state, struct banyan_str key, struct banyan_time now,
                    struct banyan_reaction *out)
{
    struct transfers_deposited deposited = {.amount = state->amount};
    struct transfers_waiting waiting = {{now.us + TRANSFERS_WAIT_US}};
    struct banyan_emit wait = exact(TRANSFERS_WAITING, &waiting, now);
    struct banyan_refusal refusal;

    (void)sscanf(key.data, "%lld", (long long *)&deposited.transfer);
    if (command(out, state->to, COMMAND_DEPOSIT, &deposited, &refusal)) {
        end(out, BANYAN_STR("done"), now);
    } else if (banyan_str_equal(banyan_str_of(refusal.code), BANYAN_STR("frozen")) && state->tries < TRANSFERS_TRIES) {
        banyan_react_emit(out, &wait);
    } else {
        deposited.back = true;
        if (command(out, state->from, COMMAND_DEPOSIT, &deposited, &refusal))
            end(out, BANYAN_STR("back"), now);
    }
}

static void mover_react(const void *state, bool exists, struct banyan_str key, const struct banyan_seen *event,
                        struct banyan_time now, struct banyan_reaction *out)
{
    const struct transfers_mover *known = state;

    if (event == NULL) {
        if (known->stage == TRANSFERS_STAGE_WAITING)
            deposit(known, key, now, out);
    } else if (event->type == TRANSFERS_ASKED && !exists) {
        begin(key, event, now, out);
    } else if (event->type == TRANSFERS_WITHDRAWN && known->stage == TRANSFERS_STAGE_STARTED) {
        deposit(known, key, now, out);
    }
}

static struct banyan_time mover_wake(const void *state)
{
    const struct transfers_mover *known = state;

    return known->stage == TRANSFERS_STAGE_WAITING ? known->until : (struct banyan_time){BANYAN_TIME_NULL};
}

static const char *const categories[] = {"account", "transfer", NULL};
static const unsigned types[] = {TRANSFERS_ASKED, TRANSFERS_WITHDRAWN};

static const struct banyan_process processes[] = {{
    .name = "mover",
    .aggregate = &mover,
    .categories = categories,
    .types = types,
    .type_count = COUNT(types),
    .key = mover_key,
    .react = mover_react,
    .wake = mover_wake,
}};

const struct banyan_domain transfers_domain = {
    .abi = BANYAN_DOMAIN_ABI,
    .name = "transfers",
    .events = events,
    .event_count = TRANSFERS_EVENTS,
    .aggregates = aggregates,
    .aggregate_count = COUNT(aggregates),
    .processes = processes,
    .process_count = 1,
};
