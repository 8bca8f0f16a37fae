// SPDX-License-Identifier: Apache-2.0
/* From order messages to writes.
 *
 * A line of the file is: id, timestamp, exchange.timestamp, price, volume, action, direction.  The volume is what is
 * left of the order in 1e-8; the line number is the order of the messages.
 *
 *   created                     place
 *   changed, lower volume       fill of the difference, at the message's price
 *   changed, other price        modify the price; with a lower volume, too, the price first and then the fill: such
 *                               orders walk through the book, and the message shows the price that they reached
 *   changed, higher volume      modify the quantity (not seen in the known recording)
 *   deleted, volume 0           fill of what was left
 *   deleted, volume above 0     cancel; a lower volume than before is filled first (not seen)
 *   first message not created   import: place what the message shows, then go on as above.  Of a deleted order with
 *                               volume 0 the quantity is not known: it gets the smallest, 0.00000001, which is filled
 *   any after the deleted       ignored: the recording delivers some messages late or twice
 *   same as an earlier one      ignored
 *   nothing new                 ignored (not seen)
 */
#include "messages.h"

#include "../common/money.h"

#include <inttypes.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRADERS 2000
#define SYMBOL "BTCUSD"

enum action { ACTION_CREATED = 1, ACTION_CHANGED, ACTION_DELETED };

struct message {
    int64_t order_id;
    size_t line;
    int64_t timestamp, exchange_timestamp;
    int64_t price, volume;
    enum action action;
    bool is_bid;
};

struct message_list {
    struct message *messages;
    size_t count, room;
};

/* What is known of the order whose messages are gone through. */
struct order_state {
    int64_t quantity, filled, price;
    bool known, imported, ended;
};

int64_t message_trader(int64_t order_id)
{
    return 1 + order_id % TRADERS;
}

static bool message_parse(char *line, struct message *message)
{
    char *fields[7], *rest = line, *end;
    int count = 0;

    line[strcspn(line, "\r\n")] = '\0';
    while (count < 7 && (fields[count] = strsep(&rest, ",")))
        count++;
    if (count != 7 || rest)
        return false;
    message->order_id = strtoll(fields[0], &end, 10);
    if (*end || message->order_id <= 0)
        return false;
    message->timestamp = strtoll(fields[1], NULL, 10);
    message->exchange_timestamp = strtoll(fields[2], NULL, 10);
    message->volume = strtoll(fields[4], &end, 10);
    if (*end || message->volume < 0 || !money_parse(fields[3], &message->price) || message->price == 0)
        return false;
    message->action = strcmp(fields[5], "created") == 0   ? ACTION_CREATED
                      : strcmp(fields[5], "changed") == 0 ? ACTION_CHANGED
                      : strcmp(fields[5], "deleted") == 0 ? ACTION_DELETED
                                                          : 0;
    message->is_bid = strcmp(fields[6], "bid") == 0;
    return message->action && (message->is_bid || strcmp(fields[6], "ask") == 0);
}

static bool messages_parse(FILE *in, const char *path, struct message_list *list)
{
    char line[256];

    for (size_t number = 1; fgets(line, sizeof(line), in); number++) {
        if (number == 1 && strncmp(line, "id,", 3) == 0)
            continue;
        if (list->count == list->room) {
            list->room = list->room ? list->room * 2 : 65536;
            list->messages = realloc(list->messages, list->room * sizeof(list->messages[0]));
            if (!list->messages)
                abort();
        }
        memset(&list->messages[list->count], 0, sizeof(list->messages[0]));
        list->messages[list->count].line = number;
        if (!message_parse(line, &list->messages[list->count++])) {
            fprintf(stderr, "legacy-load: %s:%zu: not an order message\n", path, number);
            return false;
        }
    }
    return true;
}

/* Runs xz with its output in a pipe; 0 when it cannot be started. */
static pid_t xz_start(const char *path, FILE **ret_out)
{
    char program[] = "xz", flags[] = "-dc", end_of_flags[] = "--";
    char *const arguments[] = {program, flags, end_of_flags, (char *)path, NULL};
    posix_spawn_file_actions_t actions;
    int ends[2];
    pid_t pid = 0;

    if (pipe(ends) != 0)
        return 0;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    if (posix_spawnp(&pid, "xz", &actions, NULL, arguments, environ) != 0)
        pid = 0;
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (pid)
        *ret_out = fdopen(ends[0], "r");
    else
        close(ends[0]);
    return pid;
}

static bool messages_read(const char *path, struct message_list *list)
{
    size_t length = strlen(path);
    bool packed = length > 3 && strcmp(path + length - 3, ".xz") == 0, done;
    FILE *in = NULL;
    pid_t pid = 0;
    int status = 0;

    if (packed)
        pid = xz_start(path, &in);
    else
        in = fopen(path, "r");
    if (!in) {
        perror(path);
        return false;
    }
    done = messages_parse(in, path, list);
    fclose(in);
    if (pid && (waitpid(pid, &status, 0) != pid || status != 0) && done) {
        fprintf(stderr, "legacy-load: xz could not unpack %s\n", path);
        done = false;
    }
    return done;
}

static int message_compare(const void *a, const void *b)
{
    const struct message *x = a, *y = b;

    if (x->order_id != y->order_id)
        return x->order_id < y->order_id ? -1 : 1;
    return (x->line > y->line) - (x->line < y->line);
}

static void write_add(struct message_writes *writes, const struct message *message, struct order_write write)
{
    if (writes->count == writes->room) {
        writes->room = writes->room ? writes->room * 2 : 65536;
        writes->writes = realloc(writes->writes, writes->room * sizeof(writes->writes[0]));
        if (!writes->writes)
            abort();
    }
    write.order_id = message->order_id;
    write.number = message->line * 4; /* a message makes up to three writes */
    if (writes->count && writes->writes[writes->count - 1].order_id == write.order_id &&
        writes->writes[writes->count - 1].number >= write.number)
        write.number = writes->writes[writes->count - 1].number + 1;
    write.is_buy = message->is_bid;
    writes->writes[writes->count++] = write;
}

static void place(struct message_writes *writes, struct order_state *order, const struct message *message)
{
    order->known = true;
    order->imported = message->action != ACTION_CREATED;
    order->quantity = message->volume ? message->volume : 1;
    order->price = message->price;
    writes->counts.created += !order->imported;
    writes->counts.imported += order->imported;
    writes->counts.imported_without_quantity += message->volume == 0;
    write_add(writes, message,
              (struct order_write){.kind = WRITE_PLACE, .quantity = order->quantity, .price = order->price});
}

static void fill(struct message_writes *writes, struct order_state *order, const struct message *message,
                 int64_t quantity)
{
    order->filled += quantity;
    order->ended = order->filled == order->quantity;
    writes->counts.filled += order->ended;
    writes->counts.created_filled += order->ended && !order->imported;
    writes->counts.partially_filled += !order->ended;
    write_add(writes, message,
              (struct order_write){.kind = WRITE_FILL,
                                   .quantity = quantity,
                                   .price = order->price,
                                   .filled = order->filled,
                                   .remaining = order->quantity - order->filled});
}

/* A changed or deleted of an order that is open. */
static void change(struct message_writes *writes, struct order_state *order, const struct message *message)
{
    size_t before = writes->count;
    int64_t remaining = order->quantity - order->filled;

    if (message->price != order->price) {
        write_add(writes, message,
                  (struct order_write){.kind = WRITE_MODIFY_PRICE, .price = message->price, .old = order->price});
        order->price = message->price;
        writes->counts.modified++;
    }
    if (message->action == ACTION_CHANGED && message->volume > remaining) {
        write_add(writes, message,
                  (struct order_write){.kind = WRITE_MODIFY_QUANTITY,
                                       .quantity = order->filled + message->volume,
                                       .old = order->quantity});
        order->quantity = order->filled + message->volume;
        writes->counts.modified++;
    }
    if (message->volume < remaining)
        fill(writes, order, message, remaining - message->volume);
    if (message->action == ACTION_DELETED && !order->ended) {
        write_add(writes, message, (struct order_write){.kind = WRITE_CANCEL, .filled = order->filled});
        order->ended = true;
        writes->counts.canceled++;
        writes->counts.created_canceled += !order->imported;
    }
    writes->counts.ignored_unchanged += writes->count == before;
}

static bool is_duplicate(const struct message *first, const struct message *message)
{
    for (const struct message *earlier = first; earlier < message; earlier++)
        if (earlier->timestamp == message->timestamp && earlier->exchange_timestamp == message->exchange_timestamp &&
            earlier->price == message->price && earlier->volume == message->volume &&
            earlier->action == message->action && earlier->is_bid == message->is_bid)
            return true;
    return false;
}

/* All messages of one order. */
static void order_go_through(struct message_writes *writes, const struct message *first, const struct message *end)
{
    struct message_counts *counts = &writes->counts;
    struct order_state order = {0};

    for (const struct message *message = first; message < end; message++) {
        counts->messages++;
        counts->messages_created += message->action == ACTION_CREATED;
        counts->messages_changed += message->action == ACTION_CHANGED;
        counts->messages_deleted += message->action == ACTION_DELETED;
        counts->price_unlike_first += message->action == ACTION_CHANGED && message->price != first->price;
        if (is_duplicate(first, message)) {
            counts->ignored_duplicate++;
        } else if (order.ended) {
            counts->ignored_after_end++;
            counts->ignored_created_after_end += message->action == ACTION_CREATED;
        } else if (!order.known) {
            place(writes, &order, message);
            if (message->action == ACTION_DELETED)
                change(writes, &order, message);
        } else if (message->action == ACTION_CREATED) {
            counts->ignored_unchanged++;
        } else {
            change(writes, &order, message);
        }
    }
}

bool message_writes_read(const char *path, struct message_writes *ret_writes)
{
    struct message_list list = {0};
    bool done = messages_read(path, &list);

    if (done) {
        qsort(list.messages, list.count, sizeof(list.messages[0]), message_compare);
        for (size_t first = 0, end; first < list.count; first = end) {
            for (end = first + 1; end < list.count && list.messages[end].order_id == list.messages[first].order_id;)
                end++;
            order_go_through(ret_writes, &list.messages[first], &list.messages[end]);
        }
    }
    free(list.messages);
    return done;
}

void message_writes_release(struct message_writes *writes)
{
    free(writes->writes);
    *writes = (struct message_writes){0};
}

void message_writes_print(const struct message_writes *writes, FILE *out)
{
    for (size_t i = 0; i < writes->count; i++) {
        const struct order_write *write = &writes->writes[i];
        char quantity[MONEY_TEXT_MAX], price[MONEY_TEXT_MAX], old[MONEY_TEXT_MAX], filled[MONEY_TEXT_MAX],
            remaining[MONEY_TEXT_MAX];

        money_format(quantity, write->quantity);
        money_format(price, write->price);
        money_format(old, write->old);
        money_format(filled, write->filled);
        money_format(remaining, write->remaining);
        fprintf(out, "%" PRId64 "\t", write->order_id);
        if (write->kind == WRITE_PLACE)
            fprintf(out, "OrderCreated\ttrader_id=%" PRId64 "\tsymbol=" SYMBOL "\tside=%s\tquantity=%s\tprice=%s\n",
                    message_trader(write->order_id), write->is_buy ? "BUY" : "SELL", quantity, price);
        else if (write->kind == WRITE_FILL)
            fprintf(out, "%s\tquantity=%s\tprice=%s\tfilled=%s\tremaining=%s\n",
                    write->remaining ? "OrderPartiallyFilled" : "OrderFilled", quantity, price, filled, remaining);
        else if (write->kind == WRITE_CANCEL)
            fprintf(out, "OrderCanceled\tstatus=%s\n", write->filled ? "PARTIALLY_FILLED" : "NEW");
        else if (write->kind == WRITE_MODIFY_PRICE)
            fprintf(out, "OrderModified\tfield=price\told=%s\tnew=%s\n", old, price);
        else
            fprintf(out, "OrderModified\tfield=quantity\told=%s\tnew=%s\n", old, quantity);
    }
}
