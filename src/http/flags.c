/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /ofrep/v1/evaluate/flags: the decisions of the rollout as feature flags, for applications that ask before they send a
 * request: the OpenFeature Remote Evaluation Protocol.  docs/FLAGS.md lists the flags.
 *
 * Fed by what the gateway asks, too: who owns an aggregate, and the buckets.  Each mapped category has three flags,
 *
 *     <domain>.<category>.new     boolean: does a new aggregate go to Banyan?
 *     <domain>.<category>.read    boolean: does Banyan answer this read?
 *     <domain>.<category>.owner   "legacy", "banyan" or "held": who may write this aggregate now?
 *
 * A flag is asked for with a targeting key always, also where the answer is the same for all: an application that sends
 * none shall learn it before the canary begins.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/jtext.h"
#include "http/http_int.h"
#include "rollout/owner.h"
#include "rollout/routing.h"

enum {
    NAME_BYTES_MAX = 512,
    KEY_BYTES_MAX = 4096, /* of a targeting key */
};

enum flag_kind {
    FLAG_NEW,
    FLAG_READ,
    FLAG_OWNER,
    FLAG_KINDS,
};
static const char *const kind_names[] = {"new", "read", "owner"};

/* What one request is decided by: looked at once, so that all its flags are of one moment. */
struct outlook {
    const struct routing *routing; /* NULL: there is no rollout */
    struct owner *owner;
    struct routing_decisions decisions;
    enum owner_mode mode;
    struct banyan_str key; /* the targeting key */
    int64_t number;        /* the same as the key of an aggregate */
    bool is_number;
};

struct evaluation {
    bool banyan, held;
    const char *reason; /* as OpenFeature names it */
    bool by_bucket;     /* *bucket* and *share* had a say */
    uint32_t bucket, share;
};

/* ---- failures ---- */

static void add_failure(struct banyan_buf *ret, const char *name, const char *code, const char *details)
{
    banyan_buf_add_char(ret, '{');
    if (name != NULL) {
        banyan_buf_add_text(ret, "\"key\":");
        banyan_buf_add_json(ret, banyan_str_of(name));
        banyan_buf_add_char(ret, ',');
    }
    banyan_buf_printf(ret, "\"errorCode\":\"%s\",\"errorDetails\":", code);
    banyan_buf_add_json(ret, banyan_str_of(details));
    banyan_buf_add_char(ret, '}');
}

static void fail(struct http_call *call, int status, const char *name, const char *code, const char *details)
{
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_SMALL_BODY_BYTES_MAX);
    add_failure(&body, name, code, details);
    banyan_buf_add_char(&body, '\n');
    http_reply(call, status, "application/json", &body);
    banyan_buf_release(&body);
}

/* ---- what is asked ---- */

/* Why a context cannot be used; both NULL: it can. */
struct fault {
    const char *code, *details;
};

/* The targeting key of {"targetingKey": "…", …}; other members are the application's. */
static struct fault read_context(struct jtext_input *in, struct banyan_arena *arena, struct banyan_str *ret_key)
{
    struct banyan_str name, raw;
    bool found = false;
    if (jtext_peek(in) != JTEXT_OBJECT && jtext_peek(in) != JTEXT_NONE)
        return (struct fault){"INVALID_CONTEXT", "context has to be an object"};
    if (!jtext_object(in))
        return (struct fault){NULL, NULL}; /* the input has the fault */
    while (jtext_member(in, &name)) {
        if (!jtext_is(name, "targetingKey")) {
            (void)jtext_skip(in, &raw); /* a fault stays in the input */
            continue;
        }
        if (found || (jtext_peek(in) != JTEXT_STRING && jtext_peek(in) != JTEXT_NONE))
            return (struct fault){"INVALID_CONTEXT", "context.targetingKey has to be one string"};
        if (!jtext_string(in, &raw))
            break;
        struct banyan_buf text = BANYAN_BUF_INIT(KEY_BYTES_MAX);
        bool whole = jtext_unescape(raw, &text) && !text.overflow;
        *ret_key = banyan_arena_str(arena, banyan_buf_str(&text));
        banyan_buf_release(&text);
        if (!whole)
            return (struct fault){"INVALID_CONTEXT", "context.targetingKey is too long, or half a character"};
        found = true;
    }
    return (struct fault){NULL, NULL};
}

static struct fault read_body(struct http_call *call, struct banyan_str *ret_key)
{
    struct jtext_input in = jtext_input(banyan_buf_str(&call->body));
    struct banyan_str name, raw;
    struct fault fault = {NULL, NULL};
    bool found = false;
    *ret_key = (struct banyan_str){NULL, 0};
    if (jtext_object(&in)) {
        while (jtext_member(&in, &name)) {
            if (!jtext_is(name, "context"))
                (void)jtext_skip(&in, &raw); /* as above */
            else if (found)
                return (struct fault){"PARSE_ERROR", "context comes twice"};
            else if ((fault = read_context(&in, &call->arena, ret_key)).code != NULL)
                return fault;
            else
                found = true;
        }
    }
    if (!jtext_end(&in)) {
        unsigned line, column;
        jtext_place(&in, &line, &column);
        fault =
            (struct fault){"PARSE_ERROR", banyan_arena_printf(&call->arena, "line %u, column %u: %s", line, column,
                                                              in.fault == NULL ? "nothing more is expected" : in.fault)
                                              .data};
    } else if (ret_key->size == 0) {
        fault = (struct fault){"TARGETING_KEY_MISSING", "context.targetingKey: the aggregate's key, or the user"};
    }
    return fault;
}

/* False: answered. */
static bool look_out(struct http_call *call, const char *name, struct outlook *ret)
{
    static const char *const none[] = {NULL};
    const struct http_options *options = &call->server->options;
    struct banyan_str key;
    if (!http_only(call, none))
        return false;
    if (!http_is_type(http_asked(call, "Content-Type"), "application/json")) {
        http_problem(call, 415, "application/json", "this content type is not taken here");
        return false;
    }
    struct fault fault = read_body(call, &key);
    if (fault.code != NULL) {
        fail(call, 400, name, fault.code, fault.details);
        return false;
    }
    *ret = (struct outlook){.key = key, .owner = options->owner, .routing = options->routing};
    ret->is_number = memchr(key.data, 0, key.size) == NULL && http_parse_key(key.data, &ret->number);
    if (ret->routing != NULL)
        routing_get(ret->routing, &ret->decisions);
    if (ret->owner != NULL)
        ret->mode = owner_mode(ret->owner, NULL);
    return true;
}

/* ---- evaluation ---- */

static void by_bucket(const struct outlook *outlook, enum routing_flag flag, struct banyan_str category,
                      struct evaluation *ret)
{
    ret->share = flag == ROUTING_NEW ? outlook->decisions.new_share : outlook->decisions.read_share;
    ret->bucket = routing_bucket(outlook->routing, flag, category, outlook->key);
    ret->by_bucket = true;
    ret->banyan = ret->bucket < ret->share;
    ret->reason = ret->share == 0 || ret->share == ROUTING_SHARE_ALL ? "STATIC" : "SPLIT";
}

static void evaluate(const struct outlook *outlook, enum flag_kind kind, struct banyan_str category,
                     struct evaluation *ret)
{
    *ret = (struct evaluation){.reason = "DISABLED"};
    if (outlook->routing == NULL || outlook->owner == NULL)
        return; /* no rollout: everything is the legacy application's */
    enum owner_side side = OWNER_SIDE_LEGACY;
    if (outlook->is_number)
        side = owner_side(outlook->owner, category, outlook->number);
    ret->reason = "STATIC";
    if (kind == FLAG_OWNER) {
        ret->banyan = side == OWNER_SIDE_BANYAN;
        ret->held = side == OWNER_SIDE_HELD || outlook->decisions.hold_writes;
        if (outlook->mode == OWNER_SHARED || outlook->mode == OWNER_CLOSING)
            ret->reason = "TARGETING_MATCH";
    } else if (outlook->mode == OWNER_BANYAN) {
        ret->banyan = true;
    } else if (kind == FLAG_READ && (side == OWNER_SIDE_BANYAN || side == OWNER_SIDE_HELD)) {
        ret->banyan = true; /* the newest is there */
        ret->reason = "TARGETING_MATCH";
    } else if (kind == FLAG_READ) {
        /* Users have buckets of their own, the same for all categories: as the gateway looks for them. */
        by_bucket(outlook, ROUTING_READ, outlook->is_number ? category : BANYAN_STR("user"), ret);
    } else if (outlook->mode == OWNER_SHARED) {
        by_bucket(outlook, ROUTING_NEW, category, ret);
    }
}

static const char *const owner_needs_number = "context.targetingKey has to be the aggregate's key: an integer";

static void add_flag(const struct outlook *outlook, const char *name, enum flag_kind kind, struct banyan_str category,
                     struct banyan_buf *ret)
{
    struct evaluation evaluation;
    if (kind == FLAG_OWNER && !outlook->is_number) {
        add_failure(ret, name, "INVALID_CONTEXT", owner_needs_number);
        return;
    }
    evaluate(outlook, kind, category, &evaluation);
    const char *variant = evaluation.held ? "held" : evaluation.banyan ? "banyan" : "legacy";
    banyan_buf_add_text(ret, "{\"key\":");
    banyan_buf_add_json(ret, banyan_str_of(name));
    if (kind == FLAG_OWNER)
        banyan_buf_printf(ret, ",\"value\":\"%s\"", variant);
    else
        banyan_buf_printf(ret, ",\"value\":%s", evaluation.banyan ? "true" : "false");
    banyan_buf_printf(ret, ",\"reason\":\"%s\",\"variant\":\"%s\",\"metadata\":{\"ownership\":\"%s\"",
                      evaluation.reason, variant, owner_mode_name(outlook->mode));
    if (evaluation.by_bucket)
        banyan_buf_printf(ret, ",\"bucket\":%" PRIu32 ",\"share\":%" PRIu32, evaluation.bucket, evaluation.share);
    banyan_buf_add_text(ret, "}}");
}

/* ---- the flags ---- */

struct flag {
    char name[NAME_BYTES_MAX];
    enum flag_kind kind;
    struct banyan_str category;
};

/* The next flag of the domain from *at* = 0 on; false at the end. */
static bool flag_next(const struct banyan_domain *domain, size_t *at, struct flag *ret)
{
    if (domain == NULL || *at >= domain->mapping_count * FLAG_KINDS)
        return false;
    const char *category = domain->mappings[*at / FLAG_KINDS].aggregate->category;
    ret->kind = *at % FLAG_KINDS;
    ret->category = banyan_str_of(category);
    (void)snprintf(ret->name, sizeof(ret->name), "%s.%s.%s", domain->name, category, kind_names[ret->kind]);
    (*at)++;
    return true;
}

void http_flag(struct http_call *call)
{
    const char *name = banyan_arena_str(&call->arena, call->segments[4]).data;
    struct outlook outlook;
    struct flag flag;
    size_t at = 0;
    bool found = false;
    if (!look_out(call, name, &outlook))
        return;
    while (!found && flag_next(call->server->options.domain, &at, &flag))
        found = banyan_str_equal(banyan_str_of(flag.name), call->segments[4]);
    if (!found) {
        fail(call, 404, name, "FLAG_NOT_FOUND", "flags are named <domain>.<category>.new, .read and .owner");
    } else if (flag.kind == FLAG_OWNER && !outlook.is_number) {
        fail(call, 400, name, "INVALID_CONTEXT", owner_needs_number);
    } else {
        struct banyan_buf body = BANYAN_BUF_INIT(HTTP_SMALL_BODY_BYTES_MAX);
        add_flag(&outlook, flag.name, flag.kind, flag.category, &body);
        banyan_buf_add_char(&body, '\n');
        http_reply(call, 200, "application/json", &body);
        banyan_buf_release(&body);
    }
}

/* Does If-None-Match name this tag?  A list of tags, weak ones too, or a star. */
static bool is_known(struct http_call *call, const char *tag)
{
    const char *at = http_asked(call, "If-None-Match");
    while (at != NULL && *at != '\0') {
        at += strspn(at, " \t,");
        if (at[0] == '*')
            return true;
        at += strncmp(at, "W/", 2) == 0 ? 2 : 0;
        size_t size = strcspn(at, ",");
        while (size > 0 && (at[size - 1] == ' ' || at[size - 1] == '\t'))
            size--;
        if (size == strlen(tag) && memcmp(at, tag, size) == 0)
            return true;
        at += strcspn(at, ",");
    }
    return false;
}

void http_flags(struct http_call *call)
{
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    struct outlook outlook;
    struct flag flag;
    char tag[24];
    if (!look_out(call, NULL, &outlook))
        return;
    banyan_buf_add_text(&body, "{\"flags\":[");
    for (size_t at = 0; flag_next(call->server->options.domain, &at, &flag);) {
        banyan_buf_add_text(&body, at > 1 ? "," : "");
        add_flag(&outlook, flag.name, flag.kind, flag.category, &body);
    }
    banyan_buf_add_text(&body, "]}\n");
    /* The tag is that of the content: it stays when decisions were set anew as they were, and over restarts. */
    (void)snprintf(tag, sizeof(tag), "\"%016" PRIx64 "\"", (uint64_t)XXH3_64bits(body.data, body.size));
    http_header(call, "ETag", "%s", tag);
    if (is_known(call, tag))
        http_reply(call, 304, NULL, NULL);
    else
        http_reply(call, 200, "application/json", &body);
    banyan_buf_release(&body);
}
