/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See owner.h.
 *
 * What everybody asks is one word, read without a lock: epoch, mode, what CLOSING came from, and whether a change is
 * being made durable.  A permit waits for that change; whoever was permitted just before it finds out at the append,
 * whose condition names the epoch.
 *
 * Thread note: *change* orders changes, *lock* guards what waits for one, each shard of a set has its own; they are
 * taken in this order.  Nobody waits for the disk but owner_change() and who has to know its result.
 */
#include "rollout/owner.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/jtext.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/thread.h"

enum {
    SHARDS = 64,
    PAYLOAD_BYTES_MAX = 64 * 1024,
    MODE_BITS = 4,
    CHANGING = 1 << 8, /* of the word */
    EPOCH_SHIFT = 16,
};

static const char stream_prefix[] = "$owner-";

/* Keys of one category that are Banyan's in SHARED. */
struct shard {
    pthread_mutex_t lock;
    struct hash keys;
};

struct category {
    struct banyan_str name;
    bool has_sequence; /* its new keys come from one */
    struct shard shards[SHARDS];
};

/* What the events of the stream say. */
struct ownership {
    uint64_t epoch;
    enum owner_mode mode;
    enum owner_mode from;         /* of CLOSING: what it was before */
    struct banyan_position since; /* of the event that ended LEGACY, or that began it */
};

struct owner {
    struct store *store;
    const struct banyan_domain *domain;
    struct banyan_str stream;
    struct category *categories;
    size_t category_count;
    pthread_mutex_t change;
    uint64_t word; /* atomic */
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        struct ownership now;
        /* A change that was submitted, and of which it is not known whether it is durable; position 0: none. */
        struct ownership pending;
        struct banyan_position pending_at;
    } shared;
};

const char *owner_mode_name(enum owner_mode mode)
{
    static const char *const names[] = {"none", "legacy", "shared", "closing", "banyan"};

    return (unsigned)mode < sizeof(names) / sizeof(names[0]) ? names[mode] : "unknown";
}

static enum owner_mode mode_of_name(struct banyan_str name)
{
    for (unsigned mode = OWNER_LEGACY; mode <= OWNER_BANYAN; mode++) {
        if (banyan_str_equal(banyan_str_of(owner_mode_name(mode)), name))
            return mode;
    }
    return OWNER_NONE;
}

/* ---- the word ---- */

static uint64_t word_of(const struct ownership *ownership)
{
    return ownership->epoch << EPOCH_SHIFT | (uint64_t)ownership->from << MODE_BITS | ownership->mode;
}

static struct ownership seen(uint64_t word)
{
    return (struct ownership){
        .epoch = word >> EPOCH_SHIFT,
        .mode = word & ((1U << MODE_BITS) - 1),
        .from = word >> MODE_BITS & ((1U << MODE_BITS) - 1),
    };
}

static uint64_t look(const struct owner *owner)
{
    return __atomic_load_n(&owner->word, __ATOMIC_SEQ_CST);
}

static void show(struct owner *owner, uint64_t word)
{
    __atomic_store_n(&owner->word, word, __ATOMIC_SEQ_CST);
}

/* ---- the keys that are Banyan's ---- */

static struct category *find_category(struct owner *owner, struct banyan_str name)
{
    for (size_t i = 0; i < owner->category_count; i++) {
        if (banyan_str_equal(owner->categories[i].name, name))
            return &owner->categories[i];
    }
    return NULL;
}

static struct shard *shard_of(struct category *category, int64_t key)
{
    return &category->shards[hash_mix((uint64_t)key) >> 32 & (SHARDS - 1)];
}

static bool has_key(struct category *category, int64_t key)
{
    struct shard *shard = shard_of(category, key);
    bool has;

    pthread_mutex_lock(&shard->lock);
    has = hash_get(&shard->keys, key) != NULL;
    pthread_mutex_unlock(&shard->lock);
    return has;
}

/* Was it not there? */
static bool add_key(struct category *category, int64_t key)
{
    struct shard *shard = shard_of(category, key);
    bool added;

    pthread_mutex_lock(&shard->lock);
    added = hash_put(&shard->keys, key, shard) == NULL;
    pthread_mutex_unlock(&shard->lock);
    return added;
}

static void remove_key(struct category *category, int64_t key)
{
    struct shard *shard = shard_of(category, key);

    pthread_mutex_lock(&shard->lock);
    (void)hash_remove(&shard->keys, key);
    pthread_mutex_unlock(&shard->lock);
}

static void forget_keys(struct owner *owner)
{
    for (size_t i = 0; i < owner->category_count * SHARDS; i++) {
        struct shard *shard = &owner->categories[i / SHARDS].shards[i % SHARDS];

        pthread_mutex_lock(&shard->lock);
        hash_release(&shard->keys);
        pthread_mutex_unlock(&shard->lock);
    }
}

/* A key as the streams of mapped aggregates have it: the shortest form of an integer. */
static bool parse_key(struct banyan_str text, int64_t *ret)
{
    bool negative = text.size > 0 && text.data[0] == '-';
    size_t at = negative ? 1 : 0;
    uint64_t value = 0, max = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;

    if (at == text.size || text.size > 20 || (text.data[at] == '0' && text.size > 1))
        return false;
    for (; at < text.size; at++) {
        unsigned digit = (unsigned char)text.data[at] - (unsigned)'0';

        if (digit > 9 || value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *ret = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

/* ---- the stream ---- */

static bool may_follow(const struct ownership *now, enum owner_mode mode)
{
    switch (mode) {
    case OWNER_LEGACY:
        return now->mode == OWNER_NONE || now->mode == OWNER_CLOSING;
    case OWNER_SHARED:
        return now->mode == OWNER_NONE || now->mode == OWNER_LEGACY ||
               (now->mode == OWNER_CLOSING && now->from == OWNER_SHARED);
    case OWNER_CLOSING:
        return now->mode == OWNER_SHARED || now->mode == OWNER_BANYAN;
    case OWNER_BANYAN:
        return now->mode == OWNER_NONE || now->mode == OWNER_LEGACY || now->mode == OWNER_SHARED ||
               (now->mode == OWNER_CLOSING && now->from == OWNER_BANYAN);
    default:
        return false;
    }
}

/* The ownership behind one more event. */
static struct ownership next_ownership(const struct ownership *now, enum owner_mode mode,
                                       struct banyan_position position)
{
    bool begins = mode == OWNER_LEGACY || now->mode == OWNER_LEGACY || now->mode == OWNER_NONE;

    return (struct ownership){
        .epoch = now->epoch + 1,
        .mode = mode,
        .from = mode == OWNER_CLOSING ? now->mode : OWNER_NONE,
        .since = begins ? position : now->since,
    };
}

static enum owner_mode parse_change(const struct store_event *event)
{
    struct jtext_input in = jtext_input(event->payload);
    struct banyan_str name, value;
    enum owner_mode mode = OWNER_NONE;

    if (!banyan_str_equal(event->type, BANYAN_STR("OwnerChanged")) || !jtext_object(&in))
        return OWNER_NONE;
    while (jtext_member(&in, &name)) {
        if (!jtext_is(name, "mode"))
            (void)jtext_skip(&in, &value); /* a fault is seen at the end */
        else if (jtext_string(&in, &value))
            mode = mode_of_name(value);
    }
    return jtext_end(&in) ? mode : OWNER_NONE;
}

static enum banyan_status fold_stream(struct owner *owner, struct store_reader *reader, struct banyan_error *err)
{
    struct ownership *now = &owner->shared.now;
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct store_read_event event;
    enum banyan_status status = store_reader_stream(reader, owner->stream, (struct banyan_version){0}, &why);

    while (status == BANYAN_OK) {
        enum owner_mode mode;

        status = store_reader_next(reader, &event, &why);
        if (status != BANYAN_OK)
            break;
        mode = parse_change(&event.event);
        if (mode == OWNER_NONE)
            return banyan_error_set(err, BANYAN_CORRUPT, "stream %.*s, version %" PRIu64 ": no change of the owner",
                                    (int)owner->stream.size, owner->stream.data, event.version.value);
        *now = next_ownership(now, mode, event.position);
    }
    if (status == BANYAN_NOT_FOUND)
        return BANYAN_OK;
    if (err != NULL)
        *err = why;
    return status;
}

/* Did a command cause it?  What the source itself wrote has no such member. */
static bool of_command(struct banyan_str meta)
{
    struct jtext_input in = jtext_input(meta);
    struct banyan_str name, value;
    bool found = false;

    if (meta.size == 0 || !jtext_object(&in))
        return false;
    while (!found && jtext_member(&in, &name)) {
        found = jtext_is(name, "command");
        (void)jtext_skip(&in, &value); /* a fault ends the loop */
    }
    return found;
}

static void fold_event(struct owner *owner, const struct store_read_event *event)
{
    struct banyan_str stream = event->event.stream;
    const char *dash = memchr(stream.data, '-', stream.size);
    size_t size = dash == NULL ? 0 : (size_t)(dash - stream.data);
    struct category *category = find_category(owner, (struct banyan_str){stream.data, size});
    int64_t key;

    if (event->version.value == 1 && category != NULL &&
        parse_key((struct banyan_str){dash + 1, stream.size - size - 1}, &key) && of_command(event->event.meta))
        (void)add_key(category, key);
}

/* Which streams did commands begin, in SHARED? */
static enum banyan_status fold_log(struct owner *owner, struct store_reader *reader, struct banyan_error *err)
{
    struct banyan_str *names = alloc_zeroed(owner->category_count + 1, sizeof(*names));
    struct store_filter filter = {.categories = names, .category_count = owner->category_count};
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct store_read_event event;
    enum banyan_status status;

    for (size_t i = 0; i < owner->category_count; i++)
        names[i] = owner->categories[i].name;
    store_reader_filter(reader, &filter);
    status = store_reader_seek(reader, (struct banyan_position){owner->shared.now.since.value + 1}, &why);
    while (status == BANYAN_OK) {
        status = store_reader_next(reader, &event, &why);
        if (status == BANYAN_OK)
            fold_event(owner, &event);
    }
    free(names);
    if (status == BANYAN_NOT_FOUND)
        return BANYAN_OK;
    if (err != NULL)
        *err = why;
    return status;
}

/* ---- life ---- */

static void add_category(struct owner *owner, const struct banyan_legacy_mapping *mapping)
{
    struct category *category = &owner->categories[owner->category_count];
    struct category *known = find_category(owner, banyan_str_of(mapping->aggregate->category));

    if (known != NULL) {
        known->has_sequence = known->has_sequence || mapping->key_sequence != NULL;
        return;
    }
    category->name = banyan_str_of(mapping->aggregate->category);
    category->has_sequence = mapping->key_sequence != NULL;
    for (size_t i = 0; i < SHARDS; i++)
        pthread_mutex_init(&category->shards[i].lock, NULL);
    owner->category_count++;
}

enum banyan_status owner_open(const struct owner_options *options, struct owner **ret, struct banyan_error *err)
{
    const struct banyan_domain *domain = options->domain;
    struct owner *owner = alloc_zeroed(1, sizeof(*owner));
    size_t prefix = strlen(stream_prefix), size = strlen(options->source);
    char *stream = alloc_zeroed(1, prefix + size + 1);
    struct store_reader *reader = store_reader_open(options->store);
    enum banyan_status status;

    memcpy(stream, stream_prefix, prefix);
    memcpy(stream + prefix, options->source, size);
    owner->stream = (struct banyan_str){stream, prefix + size};
    owner->store = options->store;
    owner->domain = domain;
    owner->categories = alloc_zeroed(domain->mapping_count + 1, sizeof(*owner->categories));
    for (size_t i = 0; i < domain->mapping_count; i++)
        add_category(owner, &domain->mappings[i]);
    pthread_mutex_init(&owner->change, NULL);
    pthread_mutex_init(&owner->shared.lock, NULL);
    os_cond_init(&owner->shared.changed);

    status = fold_stream(owner, reader, err);
    const struct ownership *now = &owner->shared.now;
    if (status == BANYAN_OK && owner->category_count > 0 &&
        (now->mode == OWNER_SHARED || (now->mode == OWNER_CLOSING && now->from == OWNER_SHARED)))
        status = fold_log(owner, reader, err);
    store_reader_close(reader);
    if (status != BANYAN_OK) {
        banyan_error_context(err, "ownership of %s", options->source);
        owner_close(owner);
        return status;
    }
    show(owner, word_of(now));
    *ret = owner;
    return BANYAN_OK;
}

void owner_close(struct owner *owner)
{
    if (owner == NULL)
        return;
    forget_keys(owner);
    for (size_t i = 0; i < owner->category_count * SHARDS; i++)
        pthread_mutex_destroy(&owner->categories[i / SHARDS].shards[i % SHARDS].lock);
    pthread_cond_destroy(&owner->shared.changed);
    pthread_mutex_destroy(&owner->shared.lock);
    pthread_mutex_destroy(&owner->change);
    free(owner->categories);
    free((char *)owner->stream.data);
    free(owner);
}

/* ---- changing ---- */

/* The new ownership counts.  Under the lock. */
static void adopt(struct owner *owner, const struct ownership *next)
{
    bool begins = owner->shared.now.mode == OWNER_NONE || owner->shared.now.mode == OWNER_LEGACY;

    owner->shared.now = *next;
    owner->shared.pending_at.value = 0;
    if (next->mode == OWNER_LEGACY || (begins && next->mode == OWNER_SHARED))
        forget_keys(owner);
    show(owner, word_of(next));
    pthread_cond_broadcast(&owner->shared.changed);
}

/* Has the disk taken what it could not take before?  Under the lock. */
static void settle(struct owner *owner)
{
    uint64_t at = owner->shared.pending_at.value;

    if (at != 0 && store_durable(owner->store).value >= at)
        adopt(owner, &owner->shared.pending);
}

/* It is not known whether the change counts: until it is, nobody writes what either side may own. */
static void hold(struct owner *owner, const struct ownership *next, struct banyan_position position)
{
    struct ownership held = owner->shared.now;

    if (next->mode != OWNER_SHARED) {
        held.from = next->mode == OWNER_BANYAN || held.mode == OWNER_BANYAN || held.from == OWNER_BANYAN ? OWNER_BANYAN
                                                                                                         : OWNER_SHARED;
        held.mode = OWNER_CLOSING;
    }
    owner->shared.pending = *next;
    owner->shared.pending_at = position;
    show(owner, word_of(&held));
    pthread_cond_broadcast(&owner->shared.changed);
}

static enum banyan_status submit_change(struct owner *owner, const struct ownership *now, enum owner_mode mode,
                                        const char *reason, struct banyan_position *ret, struct banyan_error *err)
{
    struct banyan_buf payload = BANYAN_BUF_INIT(PAYLOAD_BYTES_MAX);
    struct store_condition condition = {owner->stream, STORE_EXPECT_VERSION, {now->epoch}};
    struct store_event event = {
        .id = os_uuid_new(),
        .stream = owner->stream,
        .type = BANYAN_STR("OwnerChanged"),
        .provenance = BANYAN_EXACT,
        .at = os_clock_now(os_clock_real()),
    };
    struct store_append append = {.events = &event, .event_count = 1, .conditions = &condition, .condition_count = 1};
    struct store_appended appended;
    enum banyan_status status;

    banyan_buf_printf(&payload, "{\"mode\":\"%s\",\"from\":\"%s\",\"reason\":", owner_mode_name(mode),
                      owner_mode_name(now->mode));
    banyan_buf_add_json(&payload, banyan_str_of(reason == NULL ? "" : reason));
    banyan_buf_add_char(&payload, '}');
    event.payload = banyan_buf_str(&payload);
    status = payload.overflow ? banyan_error_set(err, BANYAN_LIMIT, "the reason is too long")
                              : store_submit(owner->store, &append, &appended, err);
    if (status == BANYAN_OK)
        *ret = appended.last;
    banyan_buf_release(&payload);
    return status;
}

/* The present ownership, when it is the one that the caller knows and the change makes sense; permits wait from now. */
static enum banyan_status begin_change(struct owner *owner, uint64_t epoch, enum owner_mode mode, struct ownership *ret,
                                       struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;

    pthread_mutex_lock(&owner->shared.lock);
    settle(owner);
    *ret = owner->shared.now;
    if (owner->shared.pending_at.value != 0)
        status = banyan_error_set(err, BANYAN_BUSY, "the change of the owner before this one is not durable yet");
    else if (ret->epoch != epoch)
        status = banyan_error_set(err, BANYAN_CONFLICT, "the owner is %s of epoch %" PRIu64 ", not of epoch %" PRIu64,
                                  owner_mode_name(ret->mode), ret->epoch, epoch);
    else if (!may_follow(ret, mode))
        status = banyan_error_set(err, BANYAN_INVALID, "the owner cannot become %s: it is %s", owner_mode_name(mode),
                                  owner_mode_name(ret->mode));
    else
        show(owner, word_of(ret) | CHANGING);
    pthread_mutex_unlock(&owner->shared.lock);
    return status;
}

enum banyan_status owner_change(struct owner *owner, uint64_t epoch, enum owner_mode mode, const char *reason,
                                uint64_t *ret_epoch, struct banyan_error *err)
{
    struct ownership now, next;
    struct banyan_position position = {0};
    enum banyan_status status;

    pthread_mutex_lock(&owner->change);
    status = begin_change(owner, epoch, mode, &now, err);
    if (status == BANYAN_OK) {
        status = submit_change(owner, &now, mode, reason, &position, err);
        next = next_ownership(&now, mode, position);
        if (status == BANYAN_OK)
            status = store_wait(owner->store, position, INT64_MAX, err);
        pthread_mutex_lock(&owner->shared.lock);
        if (status == BANYAN_OK)
            adopt(owner, &next);
        else if (position.value != 0)
            hold(owner, &next, position);
        else
            show(owner, word_of(&now));
        pthread_cond_broadcast(&owner->shared.changed);
        pthread_mutex_unlock(&owner->shared.lock);
        if (status != BANYAN_OK)
            banyan_error_context(err, "owner to %s", owner_mode_name(mode));
        else if (ret_epoch != NULL)
            *ret_epoch = next.epoch;
    }
    pthread_mutex_unlock(&owner->change);
    return status;
}

/* ---- asking ---- */

enum owner_mode owner_mode(struct owner *owner, uint64_t *ret_epoch)
{
    enum owner_mode mode;

    pthread_mutex_lock(&owner->shared.lock);
    settle(owner);
    mode = seen(look(owner)).mode;
    if (ret_epoch != NULL)
        *ret_epoch = owner->shared.now.epoch;
    pthread_mutex_unlock(&owner->shared.lock);
    return mode;
}

struct banyan_position owner_since(struct owner *owner)
{
    struct banyan_position since;

    pthread_mutex_lock(&owner->shared.lock);
    since = owner->shared.now.since;
    pthread_mutex_unlock(&owner->shared.lock);
    return since;
}

static enum owner_side side_of(struct category *category, int64_t key, const struct ownership *now)
{
    enum owner_mode mode = now->mode == OWNER_CLOSING ? now->from : now->mode;
    bool banyan = mode == OWNER_BANYAN || (mode == OWNER_SHARED && has_key(category, key));

    if (!banyan)
        return OWNER_SIDE_LEGACY;
    return now->mode == OWNER_CLOSING ? OWNER_SIDE_HELD : OWNER_SIDE_BANYAN;
}

enum owner_side owner_side(struct owner *owner, struct banyan_str category, int64_t key)
{
    struct category *mapped = find_category(owner, category);
    struct ownership now = seen(look(owner));

    return mapped == NULL ? OWNER_SIDE_NONE : side_of(mapped, key, &now);
}

uint64_t owner_count(struct owner *owner)
{
    uint64_t count = 0;

    for (size_t i = 0; i < owner->category_count * SHARDS; i++) {
        struct shard *shard = &owner->categories[i / SHARDS].shards[i % SHARDS];

        pthread_mutex_lock(&shard->lock);
        count += shard->keys.count;
        pthread_mutex_unlock(&shard->lock);
    }
    return count;
}

enum banyan_status owner_wait(struct owner *owner, uint64_t epoch, int64_t timeout_us, struct banyan_error *err)
{
    struct os_clock *clock = os_clock_real();
    int64_t start_us = os_clock_monotonic_us(clock), left_us = timeout_us;
    bool over = false;

    pthread_mutex_lock(&owner->shared.lock);
    while (owner->shared.now.epoch <= epoch && !over) {
        settle(owner);
        over = owner->shared.now.epoch <= epoch && !os_cond_wait(&owner->shared.changed, &owner->shared.lock, left_us);
        left_us = timeout_us - (os_clock_monotonic_us(clock) - start_us);
        over = over || left_us <= 0;
    }
    over = owner->shared.now.epoch <= epoch;
    pthread_mutex_unlock(&owner->shared.lock);
    return over ? banyan_error_set(err, BANYAN_TIMEOUT, "the owner is still of epoch %" PRIu64, epoch) : BANYAN_OK;
}

/* Wait out a change that is being made durable. */
static uint64_t settled_word(struct owner *owner)
{
    uint64_t word = look(owner);

    if ((word & CHANGING) == 0)
        return word;
    pthread_mutex_lock(&owner->shared.lock);
    while (((word = look(owner)) & CHANGING) != 0)
        pthread_cond_wait(&owner->shared.changed, &owner->shared.lock);
    pthread_mutex_unlock(&owner->shared.lock);
    return word;
}

static enum banyan_status refuse(enum owner_side side, struct banyan_str category, struct banyan_str key,
                                 struct banyan_error *err)
{
    if (side == OWNER_SIDE_HELD) {
        (void)banyan_error_set(err, BANYAN_BUSY, "%.*s %.*s is being handed back", (int)category.size, category.data,
                               (int)key.size, key.data);
        banyan_error_hint(err, "try again: it takes a moment, then the legacy application owns it");
        return BANYAN_BUSY;
    }
    (void)banyan_error_set(err, BANYAN_CONFLICT, "%.*s %.*s is the legacy application's", (int)category.size,
                           category.data, (int)key.size, key.data);
    banyan_error_hint(err, "send it to the legacy application, or through the gateway, which knows the owner; where it "
                           "makes a new one, let Banyan choose the key (docs/HTTP.md)");
    return BANYAN_CONFLICT;
}

/* The key becomes Banyan's, if there is no such aggregate yet. */
static enum banyan_status claim(const struct owner *owner, struct category *category, int64_t number,
                                struct banyan_str key, struct banyan_arena *arena, bool *ret_added,
                                struct banyan_error *err)
{
    struct banyan_str stream;
    struct store_head head;
    enum banyan_status status;

    if (has_key(category, number))
        return BANYAN_OK;
    stream =
        banyan_arena_printf(arena, "%.*s-%.*s", (int)category->name.size, category->name.data, (int)key.size, key.data);
    status = store_head(owner->store, stream, &head, err);
    if (status != BANYAN_OK)
        return status;
    if (head.version.value != 0)
        return refuse(OWNER_SIDE_LEGACY, category->name, key, err);
    *ret_added = add_key(category, number);
    return BANYAN_OK;
}

enum banyan_status owner_permit(struct owner *owner, struct banyan_str category, struct banyan_str key, bool creates,
                                struct banyan_arena *arena, struct store_condition *ret, struct banyan_error *err)
{
    struct category *mapped = find_category(owner, category);
    enum banyan_status status;
    enum owner_side side;
    int64_t number;
    uint64_t word;

    if (mapped == NULL) {
        *ret = (struct store_condition){.expect = STORE_EXPECT_NONE};
        return BANYAN_OK;
    }
    if (!parse_key(key, &number))
        return banyan_error_set(err, BANYAN_INVALID, "key %.*s of %.*s is no integer, as the legacy tables have it",
                                (int)key.size, key.data, (int)category.size, category.data);
    for (;;) {
        struct ownership now;
        bool added = false;

        word = settled_word(owner);
        now = seen(word);
        if (creates && now.mode == OWNER_SHARED) {
            status = claim(owner, mapped, number, key, arena, &added, err);
            if (status != BANYAN_OK)
                return status;
        }
        side = creates && now.mode == OWNER_CLOSING ? OWNER_SIDE_HELD : side_of(mapped, number, &now);
        if (!added || look(owner) == word)
            break;
        remove_key(mapped, number); /* it was not SHARED any more, and may be again */
    }
    if (side != OWNER_SIDE_BANYAN)
        return refuse(side, category, key, err);
    *ret = (struct store_condition){owner->stream, STORE_EXPECT_VERSION, {word >> EPOCH_SHIFT}};
    return BANYAN_OK;
}

/* ---- keys of the sender's, and events that no command made ---- */

static enum banyan_status check_event(const struct owner *owner, const struct store_event *event,
                                      struct banyan_error *err)
{
    static const char captured[] = "{\"xid\"";
    bool known = false;

    if (event->meta.size >= sizeof(captured) - 1 && memcmp(event->meta.data, captured, sizeof(captured) - 1) == 0)
        return banyan_error_set(err, BANYAN_INVALID,
                                "the metadata of an event of stream %.*s begins as that of captured ones",
                                (int)event->stream.size, event->stream.data);
    for (size_t i = 0; i < owner->domain->event_count; i++)
        known = known || banyan_str_equal(banyan_str_of(owner->domain->events[i].name), event->type);
    return known
               ? BANYAN_OK
               : banyan_error_set(err, BANYAN_INVALID, "stream %.*s: the domain has no event %.*s",
                                  (int)event->stream.size, event->stream.data, (int)event->type.size, event->type.data);
}

/* A new aggregate of which the key was chosen by the sender. */
static enum banyan_status check_begun(const struct owner *owner, const struct category *category,
                                      struct banyan_str stream, struct banyan_error *err)
{
    struct store_head head = {.version = {0}};
    enum banyan_status status = category->has_sequence ? store_head(owner->store, stream, &head, err) : BANYAN_OK;

    if (status != BANYAN_OK || !category->has_sequence || head.version.value != 0)
        return status;
    (void)banyan_error_set(err, BANYAN_INVALID, "there is no %.*s, and a new %.*s gets its key from a sequence",
                           (int)stream.size, stream.data, (int)category->name.size, category->name.data);
    banyan_error_hint(err, "let Banyan choose the key: send the command that makes it to \"new\" instead of a key");
    return BANYAN_INVALID;
}

enum banyan_status owner_may_begin(struct owner *owner, struct banyan_str category, struct banyan_str key,
                                   struct banyan_error *err)
{
    const struct category *mapped = find_category(owner, category);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    enum banyan_status status = BANYAN_OK;

    if (mapped == NULL || !mapped->has_sequence)
        return BANYAN_OK;
    status = check_begun(
        owner, mapped,
        banyan_arena_printf(&arena, "%.*s-%.*s", (int)category.size, category.data, (int)key.size, key.data), err);
    banyan_arena_release(&arena);
    return status;
}

enum banyan_status owner_permit_event(struct owner *owner, const struct store_event *event, struct banyan_arena *arena,
                                      struct store_condition *ret, struct banyan_error *err)
{
    struct banyan_str stream = event->stream;
    const char *dash = stream.size == 0 ? NULL : memchr(stream.data, '-', stream.size);
    size_t size = dash == NULL ? stream.size : (size_t)(dash - stream.data);
    struct category *mapped = find_category(owner, (struct banyan_str){stream.data, size});
    struct banyan_str key = {stream.data + size, 0};
    enum banyan_status status;

    *ret = (struct store_condition){.expect = STORE_EXPECT_NONE};
    if (mapped == NULL)
        return BANYAN_OK;
    if (dash != NULL)
        key = (struct banyan_str){dash + 1, stream.size - size - 1};
    status = owner_permit(owner, mapped->name, key, false, arena, ret, err);
    if (status == BANYAN_OK)
        status = check_event(owner, event, err);
    return status == BANYAN_OK ? check_begun(owner, mapped, stream, err) : status;
}
