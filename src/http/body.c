/* SPDX-License-Identifier: Apache-2.0 */
/* JSON to events: see body.h.  Unknown and repeated members are refused, so that a slip of the pen is not lost. */
#include "http/body.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/jtext.h"
#include "http/http_int.h"
#include "os/random.h"
#include "store/provenance.h"
#include "store/registry.h"

enum member {
    MEMBER_STREAM = 1,
    MEMBER_TYPE,
    MEMBER_ID,
    MEMBER_PAYLOAD,
    MEMBER_PAYLOAD_BASE64,
    MEMBER_META,
    MEMBER_AT,
    MEMBER_SCHEMA,
    MEMBER_PROVENANCE,
    MEMBER_SPECVERSION,
    MEMBER_SOURCE,
    MEMBER_DATACONTENTTYPE,
    MEMBER_SUBJECT,
    MEMBER_EXTENSION, /* of a CloudEvent: goes to meta */
};

static const struct {
    const char *name;
    enum member member;
    bool cloud;
} members[] = {
    {"stream", MEMBER_STREAM, false},
    {"type", MEMBER_TYPE, false},
    {"id", MEMBER_ID, false},
    {"payload", MEMBER_PAYLOAD, false},
    {"payload_base64", MEMBER_PAYLOAD_BASE64, false},
    {"meta", MEMBER_META, false},
    {"at", MEMBER_AT, false},
    {"schema", MEMBER_SCHEMA, false},
    {"provenance", MEMBER_PROVENANCE, false},
    {"specversion", MEMBER_SPECVERSION, true},
    {"id", MEMBER_ID, true},
    {"source", MEMBER_SOURCE, true},
    {"type", MEMBER_TYPE, true},
    {"time", MEMBER_AT, true},
    {"data", MEMBER_PAYLOAD, true},
    {"data_base64", MEMBER_PAYLOAD_BASE64, true},
    {"datacontenttype", MEMBER_DATACONTENTTYPE, true},
    {"subject", MEMBER_SUBJECT, true},
};

/* The characters of a string of *in* whose bytes between the quotes are *raw*.  Half of a surrogate pair is a fault: it
 * would be kept as another text than was sent. */
static struct banyan_str text_of(struct jtext_input *in, struct banyan_str raw, struct banyan_arena *arena)
{
    struct banyan_buf text = BANYAN_BUF_INIT(raw.size);
    struct banyan_str copy = raw;
    if (raw.size > 0 && memchr(raw.data, '\\', raw.size) != NULL) {
        if (!jtext_unescape(raw, &text))
            (void)jtext_fault(in, "the text has half of a surrogate pair");
        copy = banyan_arena_str(arena, banyan_buf_str(&text));
        banyan_buf_release(&text);
    }
    return copy;
}

static struct banyan_str unquoted(struct banyan_str string)
{
    return (struct banyan_str){string.data + 1, string.size - 2};
}

static bool any_value(struct jtext_input *in, struct banyan_str *ret, enum jtext_kind *ret_kind)
{
    *ret_kind = jtext_peek(in);
    return jtext_skip(in, ret);
}

/* What was found of one event. */
struct found {
    struct banyan_str text[MEMBER_EXTENSION + 1]; /* decoded where they are texts; data NULL: absent */
    struct banyan_buf extensions;                 /* ,"name":value of a CloudEvent */
    int32_t schema;                               /* -1: not said */
};

/* ---- ids ---- */

static struct banyan_uuid derived(const char *label, struct banyan_str a, struct banyan_str b, const char *c)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    struct banyan_buf text = BANYAN_BUF_INIT(1024 * 1024);
    banyan_buf_add(&text, label, strlen(label) + 1);
    banyan_buf_add_str(&text, a);
    banyan_buf_add_char(&text, '\0');
    banyan_buf_add_str(&text, b);
    if (c != NULL) {
        banyan_buf_add_char(&text, '\0');
        banyan_buf_add_text(&text, c);
    }
    (void)EVP_Digest(text.data, text.size, digest, NULL, EVP_sha256(), NULL); /* of memory: cannot fail */
    banyan_buf_release(&text);
    return banyan_uuid_v8(digest);
}

struct banyan_uuid body_derived_id(struct banyan_str stream, struct banyan_str key, uint64_t index)
{
    char number[24];
    (void)snprintf(number, sizeof(number), "%" PRIu64, index); /* fits */
    return derived("banyan-idempotency-1", stream, key, number);
}

struct banyan_uuid body_cloud_id(struct banyan_str source, struct banyan_str id)
{
    struct banyan_uuid uuid;
    if (id.size == BANYAN_UUID_TEXT_SIZE - 1 && banyan_uuid_parse(id, &uuid))
        return uuid;
    return derived("banyan-cloudevent-1", source, id, NULL);
}

/* ---- values ---- */

static bool decode_base64(struct banyan_str text, struct banyan_arena *arena, struct banyan_str *ret)
{
    char *data = banyan_arena_alloc(arena, text.size / 4 * 3 + 1);
    size_t size;
    if (!base64_decode(text, (unsigned char *)data, &size))
        return false;
    *ret = (struct banyan_str){data, size};
    return true;
}

static bool is_name(struct banyan_str text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f)
            return false;
    return text.size > 0;
}

static enum banyan_status parse_time(struct banyan_str text, struct banyan_arena *arena, struct banyan_time *ret,
                                     struct banyan_error *err)
{
    if (memchr(text.data, '\0', text.size) == NULL && memchr(text.data, ' ', text.size) == NULL &&
        http_parse_time(banyan_arena_str(arena, text).data, ret))
        return BANYAN_OK;
    return banyan_error_set(err, BANYAN_INVALID, "at: has to be a time such as 2015-05-01T00:00:04.518Z");
}

static enum banyan_status parse_provenance(struct banyan_str text, enum banyan_provenance *ret,
                                           struct banyan_error *err)
{
    for (int i = BANYAN_EXACT; i < PROVENANCE_COUNT; i++) {
        *ret = (enum banyan_provenance)i;
        if (banyan_str_equal(text, banyan_str_of(provenance_word(*ret))))
            return BANYAN_OK;
    }
    return banyan_error_set(err, BANYAN_INVALID, "provenance: has to be exact, inferred or reconciled");
}

enum banyan_status body_payload(const struct body_defaults *defaults, struct banyan_str json, int32_t schema,
                                struct banyan_arena *arena, struct store_event *event, struct banyan_error *err)
{
    struct banyan_buf binary = BANYAN_BUF_INIT(STORE_PAYLOAD_BYTES_MAX);
    struct banyan_error why = BANYAN_ERROR_INIT;
    uint16_t version = 0;
    event->payload = json;
    event->schema = 0;
    if (schema == 0 || (schema < 0 && defaults->registry == NULL))
        return BANYAN_OK;
    if (defaults->registry == NULL)
        return banyan_error_set(err, BANYAN_INVALID, "schema: there are no schemas here");
    enum banyan_status st = store_registry_from_json(defaults->registry, event->type, schema < 0 ? 0 : (uint16_t)schema,
                                                     json, &binary, &version, &why);
    if (st == BANYAN_OK) {
        event->payload = banyan_arena_str(arena, banyan_buf_str(&binary));
        event->schema = version;
    } else if (st == BANYAN_NOT_FOUND && schema < 0) {
        st = BANYAN_OK; /* a type without a schema: plain JSON */
    } else {
        st = banyan_error_set(err, st == BANYAN_LIMIT ? st : BANYAN_INVALID, "payload: %s", why.message);
        banyan_error_hint(err, "%s", why.hint);
    }
    banyan_buf_release(&binary);
    return st;
}

/* ---- one event ---- */

static enum member member_of(struct banyan_str name, bool cloud)
{
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        if (members[i].cloud == cloud && banyan_str_equal(name, banyan_str_of(members[i].name)))
            return members[i].member;
    if (!cloud || name.size == 0 || name.size > 64)
        return (enum member)0;
    for (size_t i = 0; i < name.size; i++) /* extensions are lower case letters and digits */
        if (!((name.data[i] >= 'a' && name.data[i] <= 'z') || (name.data[i] >= '0' && name.data[i] <= '9')))
            return (enum member)0;
    return MEMBER_EXTENSION;
}

static const char *wrong_kind(enum member member, enum jtext_kind kind)
{
    switch (member) {
    case MEMBER_PAYLOAD:
        return NULL;
    case MEMBER_META:
        return kind == JTEXT_OBJECT ? NULL : "has to be an object";
    case MEMBER_SCHEMA:
        return kind == JTEXT_NUMBER ? NULL : "has to be a number";
    case MEMBER_EXTENSION:
        return kind == JTEXT_OBJECT || kind == JTEXT_ARRAY ? "an extension is a text, a number or a truth value" : NULL;
    default:
        return kind == JTEXT_STRING ? NULL : "has to be a text";
    }
}

static enum banyan_status read_member(struct jtext_input *in, bool cloud, struct banyan_str key,
                                      struct banyan_arena *arena, struct found *found, struct banyan_error *err)
{
    struct banyan_str name = text_of(in, key, arena), value;
    enum member member = member_of(name, cloud);
    enum jtext_kind kind = JTEXT_NONE;
    uint64_t schema = 0;
    int shown = (int)(name.size > 60 ? 60 : name.size);
    if (!any_value(in, &value, &kind))
        return BANYAN_INVALID; /* the caller says where */
    if (member == (enum member)0) {
        banyan_error_set(err, BANYAN_INVALID, "%.*s: an event has no such member", shown, name.data);
        banyan_error_hint(err, cloud ? "extensions are named with lower case letters and digits"
                                     : "what belongs to the event goes into payload, what is about it into meta");
        return BANYAN_INVALID;
    }
    const char *wrong = wrong_kind(member, kind);
    if (wrong != NULL)
        return banyan_error_set(err, BANYAN_INVALID, "%.*s: %s", shown, name.data, wrong);
    if (member == MEMBER_EXTENSION) {
        banyan_buf_printf(&found->extensions, ",\"%.*s\":", (int)name.size, name.data);
        banyan_buf_add_str(&found->extensions, value);
        return BANYAN_OK;
    }
    if (found->text[member].data != NULL)
        return banyan_error_set(err, BANYAN_INVALID, "%.*s: is there twice", shown, name.data);
    if (member == MEMBER_SCHEMA && (!wire_number(value, &schema) || schema > UINT16_MAX))
        return banyan_error_set(err, BANYAN_INVALID, "schema: has to be a number from 0 to 65535");
    if (member == MEMBER_SCHEMA)
        found->schema = (int32_t)schema;
    found->text[member] =
        kind == JTEXT_STRING && member != MEMBER_PAYLOAD ? text_of(in, unquoted(value), arena) : value;
    return in->fault == NULL ? BANYAN_OK : BANYAN_INVALID;
}

/* meta of a CloudEvent: where it came from, and its extensions. */
static void cloud_meta(struct found *found, struct banyan_arena *arena, struct store_event *event)
{
    struct banyan_buf meta = BANYAN_BUF_INIT(2 * STORE_META_BYTES_MAX);
    banyan_buf_add_text(&meta, "{\"source\":");
    banyan_buf_add_json(&meta, found->text[MEMBER_SOURCE]);
    if (found->text[MEMBER_SUBJECT].data != NULL) {
        banyan_buf_add_text(&meta, ",\"subject\":");
        banyan_buf_add_json(&meta, found->text[MEMBER_SUBJECT]);
    }
    banyan_buf_add_str(&meta, banyan_buf_str(&found->extensions));
    banyan_buf_add_char(&meta, '}');
    event->meta = banyan_arena_str(arena, banyan_buf_str(&meta));
    banyan_buf_release(&meta);
}

static enum banyan_status fill_cloud(struct found *found, struct banyan_arena *arena, struct store_event *event,
                                     struct banyan_error *err)
{
    const struct banyan_str *text = found->text;
    if (!banyan_str_equal(text[MEMBER_SPECVERSION], BANYAN_STR("1.0")))
        return banyan_error_set(err, BANYAN_INVALID, "specversion: has to be \"1.0\"");
    if (text[MEMBER_ID].size == 0 || text[MEMBER_SOURCE].size == 0)
        return banyan_error_set(err, BANYAN_INVALID, "a CloudEvent needs id and source");
    event->id = body_cloud_id(text[MEMBER_SOURCE], text[MEMBER_ID]);
    cloud_meta(found, arena, event);
    return BANYAN_OK;
}

static enum banyan_status fill_plain(const struct found *found, const struct body_defaults *defaults, uint64_t index,
                                     struct store_event *event, struct banyan_error *err)
{
    struct banyan_str id = found->text[MEMBER_ID];
    if (id.data == NULL && defaults->idempotency_key.data != NULL)
        event->id = body_derived_id(event->stream, defaults->idempotency_key, index);
    else if (id.data == NULL)
        event->id = os_uuid_new();
    else if (!banyan_uuid_parse(id, &event->id))
        return banyan_error_set(err, BANYAN_INVALID,
                                "id: has to be a UUID such as 018f3b6e-7c1a-7d2e-9b0f-2a1c3d4e5f60");
    event->meta = found->text[MEMBER_META].data == NULL ? BANYAN_STR("") : found->text[MEMBER_META];
    return BANYAN_OK;
}

static enum banyan_status fill(struct found *found, const struct body_defaults *defaults, uint64_t index,
                               struct banyan_arena *arena, struct store_event *event, struct banyan_error *err)
{
    const struct banyan_str *text = found->text;
    enum banyan_status st = BANYAN_OK;
    struct banyan_str bytes = {NULL, 0};
    *event = (struct store_event){.provenance = BANYAN_EXACT, .at = defaults->now, .type = text[MEMBER_TYPE]};
    event->stream = text[MEMBER_STREAM].data != NULL ? text[MEMBER_STREAM] : defaults->stream;
    if (text[MEMBER_STREAM].data != NULL && defaults->stream.data != NULL)
        return banyan_error_set(err, BANYAN_INVALID, "stream: the path names the stream");
    if (!is_name(event->stream))
        return banyan_error_set(err, BANYAN_INVALID, "stream: an event needs one, without control characters");
    if (event->stream.data[0] == '$') {
        banyan_error_set(err, BANYAN_INVALID, "stream: names that begin with $ are the engine's own");
        return BANYAN_INVALID;
    }
    if (!is_name(event->type))
        return banyan_error_set(err, BANYAN_INVALID, "type: an event needs one, without control characters");
    if (text[MEMBER_PAYLOAD].data != NULL && text[MEMBER_PAYLOAD_BASE64].data != NULL)
        return banyan_error_set(err, BANYAN_INVALID, "an event has either JSON or base64, not both");
    if (text[MEMBER_AT].data != NULL)
        st = parse_time(text[MEMBER_AT], arena, &event->at, err);
    if (st == BANYAN_OK && text[MEMBER_PROVENANCE].data != NULL)
        st = parse_provenance(text[MEMBER_PROVENANCE], &event->provenance, err);
    if (st == BANYAN_OK)
        st = defaults->cloud ? fill_cloud(found, arena, event, err) : fill_plain(found, defaults, index, event, err);
    if (st == BANYAN_OK && text[MEMBER_PAYLOAD_BASE64].data != NULL) {
        if (!decode_base64(text[MEMBER_PAYLOAD_BASE64], arena, &bytes))
            return banyan_error_set(err, BANYAN_INVALID, "payload_base64: is no base64 (RFC 4648, with padding)");
        event->payload = bytes;
    } else if (st == BANYAN_OK) {
        st = body_payload(defaults, text[MEMBER_PAYLOAD].data == NULL ? BANYAN_STR("{}") : text[MEMBER_PAYLOAD],
                          found->schema, arena, event, err);
    }
    return st;
}

static enum banyan_status read_event(struct jtext_input *in, const struct body_defaults *defaults, uint64_t index,
                                     struct banyan_arena *arena, struct store_event *ret, struct banyan_error *err)
{
    struct found found = {.extensions = BANYAN_BUF_INIT(STORE_META_BYTES_MAX), .schema = -1};
    struct banyan_str key;
    enum banyan_status st = jtext_object(in) ? BANYAN_OK : BANYAN_INVALID;
    while (st == BANYAN_OK && jtext_member(in, &key))
        st = read_member(in, defaults->cloud, key, arena, &found, err);
    if (in->fault != NULL)
        st = banyan_error_set(err, BANYAN_INVALID, "%s (at byte %zu)", in->fault, (size_t)(in->at - in->begin));
    if (st == BANYAN_OK)
        st = fill(&found, defaults, index, arena, ret, err);
    banyan_buf_release(&found.extensions);
    return st;
}

/* ---- bodies ---- */

static enum banyan_status not_json(const struct jtext_input *in, struct banyan_error *err)
{
    return banyan_error_set(err, BANYAN_INVALID, "the body is not the JSON that is needed: %s (at byte %zu)",
                            in->fault == NULL ? "it is empty" : in->fault, (size_t)(in->at - in->begin));
}

/* Events grow in memory that is not the arena's: it would keep every size. */
static enum banyan_status read_events(struct jtext_input *in, const struct body_defaults *defaults,
                                      struct banyan_arena *arena, struct body_batch *ret, struct banyan_error *err)
{
    struct banyan_buf list = BANYAN_BUF_INIT(HTTP_BATCH_EVENTS_MAX * sizeof(struct store_event));
    enum banyan_status st = jtext_array(in) ? BANYAN_OK : BANYAN_INVALID;
    while (st == BANYAN_OK && jtext_element(in)) {
        struct store_event event;
        if (ret->event_count == HTTP_BATCH_EVENTS_MAX) {
            st = banyan_error_set(err, BANYAN_LIMIT, "one append holds at most %d events", HTTP_BATCH_EVENTS_MAX);
            banyan_error_hint(err, "POST /events with application/x-ndjson takes any number");
            break;
        }
        st = read_event(in, defaults, defaults->index + ret->event_count, arena, &event, err);
        if (st != BANYAN_OK) {
            banyan_error_context(err, "events[%zu]", ret->event_count);
            break;
        }
        banyan_buf_add(&list, &event, sizeof(event));
        ret->event_count++;
    }
    if (st == BANYAN_OK && in->fault != NULL)
        st = not_json(in, err);
    if (st == BANYAN_OK && ret->event_count == 0)
        st = banyan_error_set(err, BANYAN_INVALID, "events: there has to be at least one");
    if (st == BANYAN_OK) {
        ret->events = banyan_arena_alloc(arena, list.size);
        memcpy(ret->events, list.data, list.size);
    }
    banyan_buf_release(&list);
    return st;
}

enum banyan_status body_events(struct banyan_str body, const struct body_defaults *defaults, struct banyan_arena *arena,
                               struct body_batch *ret, struct banyan_error *err)
{
    struct jtext_input in = jtext_input(body);
    enum banyan_status st;
    *ret = (struct body_batch){.events = NULL};
    if (jtext_peek(&in) == JTEXT_ARRAY) {
        st = read_events(&in, defaults, arena, ret, err);
    } else {
        ret->events = banyan_arena_zalloc(arena, sizeof(*ret->events));
        ret->event_count = 1;
        st = read_event(&in, defaults, defaults->index, arena, ret->events, err);
    }
    if (st == BANYAN_OK && !jtext_end(&in))
        st = not_json(&in, err);
    return st;
}

enum banyan_status body_line(struct banyan_str line, const struct body_defaults *defaults, uint64_t index,
                             struct banyan_arena *arena, struct store_event *ret, struct banyan_error *err)
{
    struct jtext_input in = jtext_input(line);
    enum banyan_status st = read_event(&in, defaults, index, arena, ret, err);
    if (st == BANYAN_OK && !jtext_end(&in))
        st = banyan_error_set(err, BANYAN_INVALID, "%s", in.fault);
    return st;
}

static enum banyan_status read_condition(struct jtext_input *in, struct banyan_arena *arena,
                                         struct store_condition *ret, struct banyan_error *err)
{
    struct banyan_str key, value, stream = {NULL, 0}, expect = {NULL, 0};
    enum jtext_kind kind;
    bool has_version = false;
    uint64_t version = 0;
    if (!jtext_object(in))
        return BANYAN_INVALID;
    while (jtext_member(in, &key)) {
        struct banyan_str name = text_of(in, key, arena);
        if (!any_value(in, &value, &kind))
            return BANYAN_INVALID;
        if (banyan_str_equal(name, BANYAN_STR("stream")) && kind == JTEXT_STRING && stream.data == NULL)
            stream = text_of(in, unquoted(value), arena);
        else if (banyan_str_equal(name, BANYAN_STR("expect")) && kind == JTEXT_STRING && expect.data == NULL)
            expect = text_of(in, unquoted(value), arena);
        else if (banyan_str_equal(name, BANYAN_STR("version")) && wire_number(value, &version) && !has_version)
            has_version = true;
        else
            return banyan_error_set(err, BANYAN_INVALID,
                                    "a condition has stream, expect (version, exists, absent) and version");
    }
    if (in->fault != NULL)
        return BANYAN_INVALID;
    ret->stream = stream;
    ret->version.value = version;
    ret->expect = banyan_str_equal(expect, BANYAN_STR("exists"))   ? STORE_EXPECT_EXISTS
                  : banyan_str_equal(expect, BANYAN_STR("absent")) ? STORE_EXPECT_ABSENT
                                                                   : STORE_EXPECT_VERSION;
    bool is_version = expect.data == NULL || banyan_str_equal(expect, BANYAN_STR("version"));
    if (!is_name(stream) || (is_version ? !has_version : has_version || ret->expect == STORE_EXPECT_VERSION))
        return banyan_error_set(err, BANYAN_INVALID,
                                "a condition has stream, expect (version, exists, absent) and version");
    return BANYAN_OK;
}

static enum banyan_status read_conditions(struct jtext_input *in, struct banyan_arena *arena, struct body_batch *ret,
                                          struct banyan_error *err)
{
    struct banyan_buf list = BANYAN_BUF_INIT(HTTP_BATCH_EVENTS_MAX * sizeof(struct store_condition));
    enum banyan_status st = jtext_array(in) ? BANYAN_OK : BANYAN_INVALID;
    while (st == BANYAN_OK && jtext_element(in)) {
        struct store_condition condition;
        st = read_condition(in, arena, &condition, err);
        if (st != BANYAN_OK && in->fault == NULL)
            banyan_error_context(err, "conditions[%zu]", ret->condition_count);
        banyan_buf_add(&list, &condition, sizeof(condition));
        ret->condition_count++;
    }
    if (in->fault != NULL)
        st = not_json(in, err);
    if (st == BANYAN_OK && list.overflow)
        st = banyan_error_set(err, BANYAN_LIMIT, "one append holds at most %d conditions", HTTP_BATCH_EVENTS_MAX);
    if (st == BANYAN_OK && list.size > 0) {
        ret->conditions = banyan_arena_alloc(arena, list.size);
        memcpy(ret->conditions, list.data, list.size);
    }
    banyan_buf_release(&list);
    return st;
}

enum banyan_status body_batch(struct banyan_str body, const struct body_defaults *defaults, struct banyan_arena *arena,
                              struct body_batch *ret, struct banyan_error *err)
{
    struct jtext_input in = jtext_input(body);
    struct banyan_str key;
    enum banyan_status st = BANYAN_OK;
    bool conditions = false;
    *ret = (struct body_batch){.events = NULL};
    if (jtext_peek(&in) == JTEXT_ARRAY || defaults->cloud)
        return body_events(body, defaults, arena, ret, err);
    (void)jtext_object(&in); /* a fault is looked at below */
    while (st == BANYAN_OK && jtext_member(&in, &key)) {
        struct banyan_str name = text_of(&in, key, arena);
        if (banyan_str_equal(name, BANYAN_STR("events")) && ret->events == NULL) {
            st = read_events(&in, defaults, arena, ret, err);
        } else if (banyan_str_equal(name, BANYAN_STR("conditions")) && !conditions) {
            conditions = true;
            st = read_conditions(&in, arena, ret, err);
        } else {
            st = banyan_error_set(err, BANYAN_INVALID, "%.*s: the body has events and conditions, each once",
                                  (int)(name.size > 60 ? 60 : name.size), name.data);
            banyan_error_hint(err, "a single event is sent to /streams/{name}");
        }
    }
    if (st == BANYAN_OK && !jtext_end(&in))
        st = not_json(&in, err);
    if (st == BANYAN_OK && ret->event_count == 0)
        st = banyan_error_set(err, BANYAN_INVALID, "events: there has to be at least one");
    return st;
}
