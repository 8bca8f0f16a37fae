/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events of some 200 bytes of JSON between their forms, in ns each; JSON lines on stdout.  The reference is the record
 * codec in the same run, which knows the C struct of the event: JSON is compared with its JSON, binary with decode and
 * encode.
 *
 *   codec_check       is it a value in its one form;           decode of the record
 *   codec_copy        resolve under the same schema;           decode and encode of the record
 *   codec_resolve     resolve an older version (a field more, one wider, another order); the same
 *   codec_to_json     binary → JSON;                           decode and JSON of the record
 *   codec_old_to_json binary of an older version → JSON;       the same
 *   codec_from_json   JSON → binary;                           encode of the record: records read no JSON
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "banyan/record.h"
#include "schema/avro.h"

enum {
    ROUNDS = 200000,
    BLOCKS = 9,
    BYTES_MAX = 4096,
};

struct filled {
    struct banyan_str order_id, symbol, side, venue, note;
    int64_t fill, account;
    struct banyan_decimal price, quantity, fee;
    struct banyan_time at;
    bool maker;
};

static const struct banyan_field fields[] = {
    BANYAN_FIELD_STRING(struct filled, order_id, 0),
    BANYAN_FIELD_STRING(struct filled, symbol, 0),
    BANYAN_FIELD_STRING(struct filled, side, 0),
    BANYAN_FIELD_INT(struct filled, fill, 0),
    BANYAN_FIELD_INT(struct filled, account, 0),
    BANYAN_FIELD_DECIMAL(struct filled, price, 0, 8),
    BANYAN_FIELD_DECIMAL(struct filled, quantity, 0, 8),
    BANYAN_FIELD_DECIMAL(struct filled, fee, BANYAN_FIELD_OPTIONAL, 8),
    BANYAN_FIELD_TIME(struct filled, at, 0),
    BANYAN_FIELD_BOOL(struct filled, maker, 0),
    BANYAN_FIELD_STRING(struct filled, venue, 0),
    BANYAN_FIELD_STRING(struct filled, note, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_record record = {"Filled", sizeof(struct filled), fields,
                                            sizeof(fields) / sizeof(fields[0])};

/* The reader that old events are read by: one field is new, one wider, two have changed places. */
static const char newer[] =
    "{\"type\":\"record\",\"name\":\"Filled\",\"fields\":["
    "{\"name\":\"symbol\",\"type\":\"string\"},{\"name\":\"order_id\",\"type\":\"string\"},"
    "{\"name\":\"side\",\"type\":\"string\"},{\"name\":\"fill\",\"type\":\"double\"},{\"name\":\"account\",\"type\":"
    "\"long\"},"
    "{\"name\":\"price\",\"type\":{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":38,\"scale\":8}},"
    "{\"name\":\"quantity\",\"type\":{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":38,\"scale\":8}},"
    "{\"name\":\"fee\",\"type\":[\"null\",{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":38,\"scale\":8}"
    "]},"
    "{\"name\":\"at\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}},"
    "{\"name\":\"maker\",\"type\":\"boolean\"},{\"name\":\"venue\",\"type\":\"string\"},"
    "{\"name\":\"note\",\"type\":[\"null\",\"string\"],\"default\":null},"
    "{\"name\":\"tags\",\"type\":{\"type\":\"array\",\"items\":\"string\"},\"default\":[]}]}";

struct bench {
    struct avro_schema *schema, *newer;
    struct avro_plan *same, *older;
    struct filled value;
    struct banyan_buf binary, json; /* the event in both forms */
    struct banyan_buf out;
};

static void must(enum banyan_status st, const char *what)
{
    if (st == BANYAN_OK)
        return;
    (void)fprintf(stderr, "%s: %s\n", what, banyan_status_name(st));
    exit(1);
}

/* ---- what is measured ---- */

static void check(struct bench *b)
{
    must(avro_check(b->schema, banyan_buf_str(&b->binary), NULL), "check");
}

static void copy(struct bench *b)
{
    must(avro_resolve(b->same, banyan_buf_str(&b->binary), &b->out, NULL), "copy");
}

static void resolve(struct bench *b)
{
    must(avro_resolve(b->older, banyan_buf_str(&b->binary), &b->out, NULL), "resolve");
}

static void to_json(struct bench *b)
{
    must(avro_to_json(b->same, banyan_buf_str(&b->binary), &b->out, NULL), "to_json");
}

static void old_to_json(struct bench *b)
{
    must(avro_to_json(b->older, banyan_buf_str(&b->binary), &b->out, NULL), "old_to_json");
}

static void from_json(struct bench *b)
{
    must(avro_from_json(b->schema, banyan_buf_str(&b->json), &b->out, NULL), "from_json");
}

static void decode(struct bench *b)
{
    must(banyan_record_decode(&record, banyan_buf_str(&b->binary), &b->value, NULL), "decode");
}

static void encode(struct bench *b)
{
    must(banyan_record_encode(&record, &b->value, &b->out, NULL), "encode");
}

static void decode_encode(struct bench *b)
{
    decode(b);
    encode(b);
}

static void decode_json(struct bench *b)
{
    decode(b);
    banyan_record_json(&record, &b->value, &b->out);
}

/* ---- measuring: in turns, the median block ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of this thread's processor time: nothing here waits, and other programs do not count. */
static double now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now); /* cannot fail here */
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double block_ns(struct bench *b, void (*work)(struct bench *))
{
    double start = now_ns();
    for (unsigned i = 0; i < ROUNDS; i++) {
        banyan_buf_reset(&b->out);
        work(b);
    }
    return (now_ns() - start) / ROUNDS;
}

static void measure(struct bench *b, const char *name, void (*work)(struct bench *), void (*reference)(struct bench *),
                    double bar_ns)
{
    double ours[BLOCKS], theirs[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++) {
        ours[i] = block_ns(b, work);
        theirs[i] = block_ns(b, reference);
    }
    qsort(ours, BLOCKS, sizeof(ours[0]), compare);
    qsort(theirs, BLOCKS, sizeof(theirs[0]), compare);
    double value = ours[BLOCKS / 2], other = theirs[BLOCKS / 2];
    (void)printf("{\"name\":\"%s\",\"value\":%.1f,\"unit\":\"ns/event\",\"reference\":%.1f,\"ratio\":%.3f,"
                 "\"bar\":%g,\"ok\":%s}\n",
                 name, value, other, value / other, bar_ns, value <= bar_ns ? "true" : "false");
    (void)fflush(stdout);
}

static void prepare(struct bench *b)
{
    struct banyan_buf text = BANYAN_BUF_INIT(BYTES_MAX);
    banyan_record_init(&record, &b->value);
    b->value = (struct filled){
        .order_id = BANYAN_STR("0f9a7c3e-51"),
        .symbol = BANYAN_STR("BTC-USD"),
        .side = BANYAN_STR("buy"),
        .venue = BANYAN_STR("bitstamp"),
        .fill = 3,
        .account = 1209945,
        .price = banyan_decimal_of(23456780000000, 8),
        .quantity = banyan_decimal_of(12500000, 8),
        .fee = banyan_decimal_of(2932098, 8),
        .at = {1430438404518000},
        .maker = true,
    };
    banyan_record_schema(&record, &text);
    must(avro_parse(banyan_buf_str(&text), &b->schema, NULL), "schema");
    must(avro_parse(banyan_str_of(newer), &b->newer, NULL), "newer schema");
    must(avro_plan(b->schema, b->schema, &b->same, NULL), "plan");
    must(avro_plan(b->schema, b->newer, &b->older, NULL), "plan");
    must(banyan_record_encode(&record, &b->value, &b->binary, NULL), "encode");
    must(avro_to_json(b->same, banyan_buf_str(&b->binary), &b->json, NULL), "to_json");
    (void)fprintf(stderr, "%zu bytes of binary, %zu of JSON: %s\n", b->binary.size, b->json.size, b->json.data);
    banyan_buf_release(&text);
}

int main(void)
{
    struct bench b = {
        .binary = BANYAN_BUF_INIT(BYTES_MAX), .json = BANYAN_BUF_INIT(BYTES_MAX), .out = BANYAN_BUF_INIT(BYTES_MAX)};
    prepare(&b);
    measure(&b, "codec_check", check, decode, 1000);
    measure(&b, "codec_copy", copy, decode_encode, 1000);
    measure(&b, "codec_resolve", resolve, decode_encode, 1000);
    measure(&b, "codec_to_json", to_json, decode_json, 1000);
    measure(&b, "codec_old_to_json", old_to_json, decode_json, 1000);
    measure(&b, "codec_from_json", from_json, encode, 1000);
    avro_plan_free(b.same);
    avro_plan_free(b.older);
    avro_schema_free(b.schema);
    avro_schema_free(b.newer);
    banyan_buf_release(&b.binary);
    banyan_buf_release(&b.json);
    banyan_buf_release(&b.out);
    return 0;
}
