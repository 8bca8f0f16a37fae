/* SPDX-License-Identifier: Apache-2.0 */
/* The strict parser: what is a request, what is none, and that it makes no difference in which pieces it comes. */
#include "http/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "os/random.h"
#include "support/test_domain.h"

static enum wire_result parse(const char *text, size_t size, struct wire_head *ret)
{
    const char *fault = NULL;
    enum wire_result result = wire_request((struct banyan_str){text, size}, ret, &fault);
    assert_true(result == WIRE_OK || fault != NULL);
    return result;
}

#define LINE "GET /a?b=c HTTP/1.1\r\n"
#define HOST "Host: x\r\n"

static void requests_are_read(void **state)
{
    static const char text[] = "POST /streams/a%2Fb HTTP/1.1\r\nHost: localhost\r\nX-Empty:\r\nX-Text: \t a b \t\r\n"
                               "content-length: 12\r\nConnection: close, x\r\nExpect: 100-Continue\r\n\r\nrest";
    struct wire_head head;
    assert_int_equal(parse(text, sizeof(text) - 1, &head), WIRE_OK);
    assert_true(banyan_str_equal(head.method, BANYAN_STR("POST")));
    assert_true(banyan_str_equal(head.target, BANYAN_STR("/streams/a%2Fb")));
    assert_true(head.has_length && head.length == 12 && !head.chunked && !head.keep_alive && head.expects_continue);
    assert_true(banyan_str_equal(wire_find(&head, "x-text"), BANYAN_STR("a b")));
    assert_int_equal(wire_find(&head, "X-Empty").size, 0);
    assert_non_null(wire_find(&head, "X-Empty").data);
    assert_null(wire_find(&head, "X-None").data);
    assert_int_equal(head.size, sizeof(text) - 1 - 4);
    for (size_t size = 0; size < head.size; size++) { /* every beginning is a beginning */
        struct wire_head part;
        assert_int_equal(parse(text, size, &part), WIRE_MORE);
    }
}

static void what_is_ambiguous_is_refused(void **state)
{
    static const struct {
        const char *text;
        enum wire_result result;
    } cases[] = {
        {LINE HOST "\r\n", WIRE_OK},
        {"GET / HTTP/1.0\r\n\r\n", WIRE_OK},
        {LINE HOST "Transfer-Encoding: chunked\r\n\r\n", WIRE_OK},
        {LINE HOST "Content-Length: 0\r\n\r\n", WIRE_OK},
        {LINE "\r\n", WIRE_BAD},
        {LINE HOST HOST "\r\n", WIRE_BAD},
        {LINE HOST "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", WIRE_BAD},
        {LINE HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", WIRE_BAD},
        {LINE HOST "Content-Length: 1, 1\r\n\r\n", WIRE_BAD},
        {LINE HOST "Content-Length: +5\r\n\r\n", WIRE_BAD},
        {LINE HOST "Content-Length: -5\r\n\r\n", WIRE_BAD},
        {LINE HOST "Content-Length: 0x5\r\n\r\n", WIRE_BAD},
        {LINE HOST "Content-Length:\r\n\r\n", WIRE_BAD},
        {LINE HOST "Content-Length: 99999999999999999999\r\n\r\n", WIRE_BAD},
        {LINE HOST "Content-Length : 5\r\n\r\n", WIRE_BAD},
        {LINE "Host : x\r\n\r\n", WIRE_BAD},
        {LINE HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", WIRE_BAD},
        {LINE HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", WIRE_BAD},
        {LINE HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", WIRE_NOT_IMPLEMENTED},
        {LINE HOST "Transfer-Encoding: xchunked\r\n\r\n", WIRE_NOT_IMPLEMENTED},
        {"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", WIRE_BAD},
        {LINE HOST "A: b\n\r\n", WIRE_BAD},
        {LINE "Host: x\nA: b\r\n\r\n", WIRE_BAD},
        {"GET / HTTP/1.1\nHost: x\r\n\r\n", WIRE_BAD},
        {LINE HOST "A: b\rC: d\r\n\r\n", WIRE_BAD},
        {LINE HOST "A: b\r\n folded\r\n\r\n", WIRE_BAD},
        {LINE HOST " A: b\r\n\r\n", WIRE_BAD},
        {LINE HOST "A\x01: b\r\n\r\n", WIRE_BAD},
        {LINE HOST "A: \x01\r\n\r\n", WIRE_BAD},
        {LINE HOST ": b\r\n\r\n", WIRE_BAD},
        {LINE HOST "nothing\r\n\r\n", WIRE_BAD},
        {LINE HOST "Expect: something\r\n\r\n", WIRE_EXPECTATION},
        {"\r\n" LINE HOST "\r\n", WIRE_BAD},
        {"GET  / HTTP/1.1\r\n" HOST "\r\n", WIRE_BAD},
        {"GET / HTTP/1.1 \r\n" HOST "\r\n", WIRE_BAD},
        {"GET /\tx HTTP/1.1\r\n" HOST "\r\n", WIRE_BAD},
        {"GET /x#y HTTP/1.1\r\n" HOST "\r\n", WIRE_BAD},
        {"GET http://x/ HTTP/1.1\r\n" HOST "\r\n", WIRE_BAD},
        {"GET / HTTP/2.0\r\n" HOST "\r\n", WIRE_VERSION},
        {"GET / http/1.1\r\n" HOST "\r\n", WIRE_BAD},
        {"G(T / HTTP/1.1\r\n" HOST "\r\n", WIRE_BAD},
        {"GET /\r\n" HOST "\r\n", WIRE_BAD},
    };
    struct wire_head head;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (parse(cases[i].text, strlen(cases[i].text), &head) != cases[i].result)
            fail_msg("%s", cases[i].text);
    assert_int_equal(parse("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 28, &head), WIRE_BAD);
}

static void heads_are_bounded(void **state)
{
    struct banyan_buf text = BANYAN_BUF_INIT(1 << 20);
    struct wire_head head;
    banyan_buf_add_text(&text, LINE HOST);
    for (int i = 0; i < 200; i++)
        banyan_buf_printf(&text, "X-%d: y\r\n", i);
    banyan_buf_add_text(&text, "\r\n");
    assert_int_equal(parse(text.data, text.size, &head), WIRE_TOO_LARGE);
    banyan_buf_reset(&text);
    banyan_buf_add_text(&text, LINE HOST "X: ");
    while (text.size < WIRE_HEAD_BYTES_MAX)
        banyan_buf_add_char(&text, 'x');
    assert_int_equal(parse(text.data, text.size, &head), WIRE_TOO_LARGE);
    /* An answer that came in one piece, too. */
    for (int whole = 0; whole < 2; whole++) {
        const char *fault = NULL;
        banyan_buf_reset(&text);
        banyan_buf_add_text(&text, "HTTP/1.1 200 OK\r\nX: ");
        while (text.size < WIRE_HEAD_BYTES_MAX)
            banyan_buf_add_char(&text, 'x');
        if (whole == 1)
            banyan_buf_add_text(&text, "\r\n\r\n");
        assert_int_equal(wire_answer(banyan_buf_str(&text), &head, &fault), WIRE_TOO_LARGE);
        assert_non_null(strstr(fault, "too long"));
    }
    banyan_buf_release(&text);
}

/* *data* through the chunk reader in random pieces; WIRE_OK when it was whole. */
static enum wire_result unchunk(struct os_random *random, const char *data, size_t size, struct banyan_buf *ret)
{
    struct wire_chunks chunks = {.state = WIRE_CHUNK_SIZE};
    size_t there = 0, at = 0;
    while (chunks.state != WIRE_CHUNK_DONE) {
        size_t used;
        struct banyan_str body;
        enum wire_result result = wire_chunk(&chunks, (struct banyan_str){data + at, there - at}, &used, &body);
        if (result == WIRE_OK) {
            assert_true(used <= there - at && body.size <= used);
            banyan_buf_add_str(ret, body);
            at += used;
        } else if (result == WIRE_MORE && there < size) {
            there += 1 + os_random_below(random, size - there);
        } else {
            return result;
        }
    }
    return WIRE_OK;
}

static void chunks_are_read_in_any_pieces(void **state)
{
    static const char *const bad[] = {
        "5;a=b\r\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",    "5 \r\nhello\r\n0\r\n\r\n",  "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloo\r\n0\r\n\r\n",    "5\r\nhello\n0\r\n\r\n",     "\r\nhello\r\n0\r\n\r\n",
        "0\r\nA: b\r\n\r\n",           "fffffffffffffffff\r\n",     "ffffffffffffffff\r\n"};
    struct os_random random;
    os_random_seed(&random, test_seed());
    for (int round = 0; round < 200; round++) {
        struct banyan_buf body = BANYAN_BUF_INIT(1 << 20), wire = BANYAN_BUF_INIT(1 << 20),
                          got = BANYAN_BUF_INIT(1 << 20);
        for (uint64_t chunk = os_random_below(&random, 10); chunk > 0; chunk--) {
            size_t size = 1 + os_random_below(&random, 300), before = body.size;
            for (size_t i = 0; i < size; i++)
                banyan_buf_add_char(&body, (char)os_random_next(&random));
            banyan_buf_printf(&wire, "%04zX\r\n", size);
            banyan_buf_add(&wire, body.data + before, size);
            banyan_buf_add_text(&wire, "\r\n");
        }
        banyan_buf_add_text(&wire, "0\r\n\r\n");
        assert_int_equal(unchunk(&random, wire.data, wire.size, &got), WIRE_OK);
        assert_true(banyan_str_equal(banyan_buf_str(&got), banyan_buf_str(&body)));
        banyan_buf_reset(&got);
        assert_int_equal(unchunk(&random, wire.data, wire.size - 1, &got), WIRE_MORE);
        banyan_buf_release(&body);
        banyan_buf_release(&wire);
        banyan_buf_release(&got);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct banyan_buf got = BANYAN_BUF_INIT(1 << 20);
        if (unchunk(&random, bad[i], strlen(bad[i]), &got) != WIRE_BAD)
            fail_msg("%s", bad[i]);
        banyan_buf_release(&got);
    }
}

static void escapes_are_undone(void **state)
{
    static const struct {
        const char *text, *wanted;
    } cases[] = {{"a%2Fb+c", "a/b c"},
                 {"%41%c3%A4", "A\xc3\xa4"},
                 {"", ""},
                 {"%", NULL},
                 {"%4", NULL},
                 {"%zz", NULL},
                 {"a%00", NULL},
                 {"%%41", NULL}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char to[64];
        size_t size;
        bool good = wire_decode(banyan_str_of(cases[i].text), true, to, &size);
        assert_int_equal(good, cases[i].wanted != NULL);
        if (good)
            assert_string_equal(to, cases[i].wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_read),  cmocka_unit_test(what_is_ambiguous_is_refused),
        cmocka_unit_test(heads_are_bounded),  cmocka_unit_test(chunks_are_read_in_any_pieces),
        cmocka_unit_test(escapes_are_undone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
